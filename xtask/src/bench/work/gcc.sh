# A compiler and its assembler; freestanding, as there are no headers.
# ROOT setup|run FOLDER
PATH=/usr/local/bin:/usr/bin:/bin
export PATH TMPDIR="$3"
if [ "$2" = setup ]; then
    "${1}bin/busybox" awk 'BEGIN {
        for (n = 0; n < 60; n++) {
            printf "int f%d(int *p, int n) { int s = %d;", n, n
            print " for (int i = 0; i < n; i++) { if (p[i] & 1) s += p[i] * i; else s ^= p[i] << (i & 7); } return s; }"
        }
    }' >"$3/file.c"
else
    gcc -ffreestanding -O1 -c "$3/file.c" -o "$3/file.o"
fi
