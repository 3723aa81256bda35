# kselftest-run.sh FOLDER: runs each of the programs that FOLDER/list names, where it is, as root in namespaces of its own, and
# says what its exit status means. 4 is skipped. The one that is left out puts the machine to sleep.
export FOLDER=$1
cd / && grep -vx breakpoints:step_after_suspend_test "$FOLDER/list" | grep -E "${CASES:-.}" | xargs "-P$(nproc)" -n1 sh -c '
    cd "$FOLDER/${0%:*}" || exit 0
    log=/tmp/kselftest.$$
    unshare --mount --pid --ipc --fork --mount-proc sh -c "timeout -s KILL 150 \"\$0\"; exit \$?" "./${0#*:}" >$log 2>&1 </dev/null
    case $? in
    0) echo "PASS: $0" ;;
    4) echo "SKIPPED: $0"; tail -n 2 $log | sed "s/^/    /" ;;
    *) echo "FAIL: $0"; grep -aE "not ok|FAIL|rror|xpected" $log | head -n 12 | sed "s/^/    /"; tail -n 3 $log | sed "s/^/    /" ;;
    esac
    rm -f $log'
# What one of them leaves has a path as long as can be, which could not be copied elsewhere.
rm -rf "$FOLDER"/exec/xxxx*
