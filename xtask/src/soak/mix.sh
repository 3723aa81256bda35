# A mix of what systems do, in rounds: for each line on standard input one round, and when it is over a report of the
# guest's own figures, with a line `over` behind it. Everything that a round makes is gone by then.

work=/tmp/soak
round=0
set -- memory vm os cpu cpu-cache device filesystem interrupt io pipe scheduler

# Prints what the round did wrong.
complain() {
    echo "fault: round $round: $*"
}

forks() {
    i=0
    while [ "$i" -lt 2000 ]; do
        /bin/true || complain "true failed"
        i=$((i + 1))
    done
}

pipes() {
    lines=$(seq 20000 | sort -n | grep 7 | wc -l)
    [ "$lines" -eq 6878 ] || complain "a pipeline gave $lines lines"
}

files() {
    i=0
    while [ "$i" -lt 200 ]; do
        mkdir -p "$work/$i/a"
        echo "$i" > "$work/$i/a/file"
        mv "$work/$i/a/file" "$work/$i/moved"
        i=$((i + 1))
    done
    count=$(cat "$work"/*/moved | sort -u | wc -l)
    [ "$count" -eq 200 ] || complain "$count files were there"
    rm -r "$work"
}

memory() {
    mkdir -p "$work"
    head -c 67108864 /dev/zero > "$work/large"
    count=$(cat "$work/large" | wc -c)
    [ "$count" -eq 67108864 ] || complain "$count bytes were there"
    rm -r "$work"
}

signals() {
    i=0
    while [ "$i" -lt 50 ]; do
        sleep 1000 &
        kill "$!"
        wait "$!" 2>/dev/null
        i=$((i + 1))
    done
}

# One class of stress-ng's programs, a second each, where the root file system has them. As nobody, in a session of their
# own: when a fork fails, some of them kill whoever they may.
stress() {
    [ -x /usr/bin/stress-ng ] || return 0
    echo "class: $1"
    setsid su -s /bin/sh nobody -c "stress-ng --class $1 --seq 1 --timeout 1 --oomable --temp-path /tmp --log-brief" 2>&1 |
        while read -r line; do
            case $line in *fail:*|*"did not"*) echo "stress: $line" ;; esac
        done
}

while read -r go; do
    round=$((round + 1))
    forks
    pipes
    files
    memory
    signals
    stress "$1"
    rm -rf /tmp/* 2>/dev/null
    first=$1
    shift
    set -- "$@" "$first"
    awk '/^processes/ { print "forks: " $2 }' /proc/stat
    awk '/^MemTotal:/ { total = $2 } /^MemFree:/ { print "used: " (total - $2) * 1024 }
         /^Slab:/ { print "kernel: " $2 * 1024 }' /proc/meminfo
    echo "tasks: $(ls /proc | grep -c '^[0-9]')"
    echo over
done
