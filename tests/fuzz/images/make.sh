#!/bin/sh
# Makes ext4.gz and ext2.gz anew, beside itself; needs mke2fs. Small disks with a file of each kind.
set -eu
cd "$(dirname "$0")"
from=$(mktemp -d)
trap 'rm -r "$from"' EXIT
mkdir "$from/dir" "$from/many"
echo hello >"$from/file"
echo a >"$from/dir/a"
yes big | head -c 45000 >"$from/big"
ln -s dir/a "$from/link"
ln -s "$(printf '%0100d' 0)" "$from/long"
for n in $(seq 1 40); do : >"$from/many/$n"; done
make() {
    rm -f "$1"
    mke2fs -q -t "$1" -b 1024 -I 256 -N 64 -O "$2" -U 00000000-0000-0000-0000-000000000001 \
        -E hash_seed=00000000-0000-0000-0000-000000000002,lazy_itable_init=0,root_owner=0:0 -d "$from" "$1" "$3"
    gzip -9n "$1"
}
rm -f ext4.gz ext2.gz
make ext4 '^metadata_csum,^resize_inode' 2m
make ext2 '^metadata_csum,^resize_inode' 512k
