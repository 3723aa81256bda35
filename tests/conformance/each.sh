# each.sh FOLDER SECONDS JOBS: runs each program in FOLDER in a folder of its own, and says what its exit status means.
# 2 is unresolved, 4 unsupported, 5 untested: what cannot be told is no case.
export FOLDER=$1 SECONDS_EACH=$2
WORK=${TMPDIR:-/tmp}/each.$$
export WORK
ls "$FOLDER" | grep -E "${CASES:-.}" | xargs -P "$3" -n1 sh -c '
    mkdir -p "$WORK/$0" && cd "$WORK/$0" || exit 0
    timeout -s KILL "$SECONDS_EACH" "$FOLDER/$0" </dev/null >/dev/null 2>&1
    case $? in
    0) echo "PASS: $0" ;;
    2 | 4 | 5) ;;
    137) echo "FAIL: $0"; echo "    killed after $SECONDS_EACH s" ;;
    *) echo "FAIL: $0" ;;
    esac
    cd / && rm -rf "$WORK/$0"'
rm -rf "$WORK"
