set -e
cd /root
printf 'int twice(int n)\n{\n    return 2 * n;\n}\nint main(void)\n{\n    return twice(21) - 42;\n}\n' >a.c
gcc -g -O0 -o a a.c
gdb -q -batch -ex 'break twice' -ex run -ex bt -ex finish -ex continue ./a >log 2>&1
cat log
grep -q 'Breakpoint 1, twice (n=21)' log
grep -q '#1 .* in main ()' log
grep -q 'Value returned is .* = 42' log
grep -q 'exited normally' log
