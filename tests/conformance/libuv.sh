# libuv.sh SOURCES TARGET: builds libuv's tests as one static program.
set -e
cd "$1"
mkdir -p "$2"
flags='-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_LARGEFILE_SOURCE'
unix=$(for name in async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process random-devurandom signal \
    stream tcp thread tty udp linux-core linux-inotify linux-syscalls procfs-exepath random-getrandom \
    random-sysctl-linux epoll proctitle random-getentropy; do
    [ ! -e "src/unix/$name.c" ] || echo "src/unix/$name.c"
done)
tests=$(ls test/*.c | grep -Ev '/(run-benchmarks|benchmark-.*|runner-win)\.c$')
# The tests have copies of some of its functions, so it has to be a library.
mkdir -p objects && (cd objects && cc -w -O1 -c -pthread $flags -I../include -I../src \
    $(for name in src/*.c $unix; do echo "../$name"; done))
ar rcs objects/libuv.a objects/*.o
cc -w -O1 -static -pthread $flags -Iinclude -Isrc -Itest -o "$2/uv_run_tests_a" $tests objects/libuv.a -ldl -lrt 2>/dev/null
cp -r test/fixtures "$2/"
