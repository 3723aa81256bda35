# stress-ng.sh: runs each stressor of stress-ng that needs no network for a second, checking what it does. What says that it
# cannot be run here is no case.
cd /tmp || exit 1
of() {
    stress-ng --class "$1?" 2>/dev/null | sed 's/.*: *//' | tr ' ' '\n' | grep .
}
of network >/tmp/network
for class in cpu cpu-cache device filesystem gpu interrupt io memory os pipe scheduler security vm; do
    of $class
done | sort -u | grep -vxFf /tmp/network | grep -E "${CASES:-.}" | xargs -P2 -n1 sh -c '
    mkdir -p "/tmp/$0" && cd "/tmp/$0" || exit 0
    timeout -s KILL 90 stress-ng --$0 1 --timeout 1 --verify --oomable --temp-path . >log 2>&1 </dev/null
    status=$?
    if grep -qiE "skipp|not implemented" log; then
        :
    elif [ $status = 0 ]; then
        echo "PASS: $0"
    else
        echo "FAIL: $0"
        grep -E "fail|error" log | head -n 3 | sed "s/^/    /"
    fi
    cd / && rm -rf "/tmp/$0"'
