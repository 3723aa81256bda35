# trinity.sh MINUTES: makes calls with arguments that trinity thinks of, as whoever runs this. Every round has a seed, which it
# says; what is left of a round, and a system that no longer works, is a fault.
export HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin
end=$(($(date +%s) + 60 * $1))
# Root's calls must not end this script, or unmount what it needs.
apart= dangerous=
[ "$(id -u)" != 0 ] || apart='unshare --pid --mount --fork --kill-child --mount-proc' dangerous=--dangerous
# Nothing of /dev is needed: root may have removed it.
left() {
    grep -ls ^trinity /proc/[0-9]*/comm | tr -dc '0-9\n'
}
calls=0 round=0
while [ "$(date +%s)" -lt $end ]; do
    round=$((round + 1)) seed=$((RANDOM << 15 | RANDOM))
    work=/tmp/trinity.$round
    mkdir $work && cd $work || exit 1
    timeout -s KILL 60 $apart trinity -q -a 64 -l off --stats -C 6 -N 10000 -s $seed --disable-fds=perf --disable-fds=sockets $dangerous \
        >log 2>&1
    status=$?
    made=$(awk -F'attempted:' 'NF > 1 { sum += $2 } END { print sum + 0 }' log)
    calls=$((calls + made))
    echo "round $round: seed $seed, status $status, $made calls"
    # What is stopped, or waits for a file, is gone with a signal that nobody can hold up.
    for wait in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$(left)" ] || break
        kill -KILL $(left) 2>&1
        sleep 1
    done
    for process in $(left); do
        echo "fault: cannot be killed: $(tr '\n' ' ' </proc/$process/status)"
    done
    cd /tmp && chmod -R u+rwx $work && rm -rf $work
    [ "$(seq 1000 | sort -n | tail -n 1)" = 1000 ] || echo "fault: no pipeline works"
done
echo "made $calls calls in $round rounds"
