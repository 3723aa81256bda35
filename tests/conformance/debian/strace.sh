set -e
cd /root
strace -f -o log sh -c 'cat /etc/hostname; true & wait' >name
grep -q 'openat(.*"/etc/hostname", O_RDONLY) = 3' log
grep -q '+++ exited with 0 +++' log
strace -c -o count ls / >list
grep -q getdents64 count
