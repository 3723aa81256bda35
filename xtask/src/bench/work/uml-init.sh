#!/bin/sh
# PID 1 of User-mode Linux: runs one program, says how it ended, and halts.
PATH=/bin:/usr/bin
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev 2>/dev/null
busybox mount -t tmpfs tmp /tmp
echo "=== begin"
"$@"
echo "=== end $?"
busybox poweroff -f
