# posix.sh SOURCES TARGET: builds each program of the Open POSIX test suite that can be built and run.
set -e
cd "$1"
mkdir -p "$2"
find conformance -name '*.c' | sort | while read -r source; do
    # As the suite's own makefile: what has no main() is only to be compiled, and what ends so is for people.
    case $source in
    *-buildonly.c | */assertions* | */stubs/*) continue ;;
    esac
    grep -q 'main *(' "$source" || continue
    name=${source#conformance/}
    printf '%s %s\n' "$source" "$(echo "${name%.c}" | tr / .)"
done |
    xargs -P2 -L1 sh -c '
        cc -w -O1 -std=gnu99 -D_POSIX_C_SOURCE=200112L -D_GNU_SOURCE -Iinclude "-I$(dirname "$1")" \
            -o "$0/$2" "$1" -lpthread -lrt -lm 2>/dev/null || true' "$2"
