# python.sh: runs those modules of CPython's own tests that are about the system and need no network.
cd /tmp || exit 1
export HOME=/tmp
for module in atexit builtin bz2 c_locale_coercion cmd_line cmd_line_script compileall concurrent_futures ctypes curses \
    datetime dbm dbm_dumb dbm_gnu devpoll eintr embed epoll faulthandler fcntl file file_eintr filecmp fileinput fileio \
    fork1 gc genericpath getpass glob grp gzip hashlib import importlib io ioctl largefile linecache locale lzma mailbox \
    memoryio mimetypes mmap multiprocessing_fork multiprocessing_forkserver multiprocessing_main_handling \
    multiprocessing_spawn netrc openpty os pathlib pipes pkg pkgutil platform poll popen posix posixpath pty pwd py_compile \
    queue random readline regrtest repl resource runpy sched script_helper select selectors shelve shutil signal site \
    spwd stat subprocess support sys sysconfig syslog tarfile tempfile thread \
    threadedtempfile threading threading_local threadsignals time tracemalloc unicode_file unicode_file_functions \
    univnewlines utf8_mode uuid venv wait3 wait4 weakref zipapp zipfile zipimport zoneinfo; do
    echo test_$module
done | grep -E "${CASES:-.}" | xargs -P2 -n1 sh -c '
    mkdir -p "/tmp/$0" && cd "/tmp/$0" || exit 0
    TMPDIR=$PWD timeout -s KILL 400 python3 -m test -u all,-largefile,-cpu,-urlfetch,-network "$0" >log 2>&1 </dev/null
    status=$?
    if grep -qE "^(1 test skipped|.* skipped -- |No module named)" log || grep -q "resource denied" log; then
        :
    elif [ $status = 0 ]; then
        echo "PASS: $0"
    else
        echo "FAIL: $0"
        grep -E "^(FAIL|ERROR): |^[A-Za-z]*Error: " log | sort | uniq | head -n 12 | sed "s/^/    /"
    fi
    cd / && rm -rf "/tmp/$0"'
