# kselftest.sh FOLDER TARGET: builds those of the kernel's own tests that need no devices, from Debian's linux-source in FOLDER,
# with the libraries that lie beside it. What asks for more is no case.
set -e
work=$2.build
rm -rf "$work"
mkdir -p "$work/bin" "$work/lib" "$2"
for library in "$1"/libcap-dev_*.deb "$1"/libcap-ng-dev_*.deb "$1"/libpopt-dev_*.deb; do
    dpkg-deb -x "$library" "$work/lib"
done
dpkg-deb --fsys-tarfile "$1"/linux-source-6.1_*.deb | tar xO ./usr/src/linux-source-6.1.tar.xz | xz -dc |
    tar x -C "$work" --strip-components=1 --wildcards '*/scripts/subarch.include' '*/tools/include' '*/tools/arch/x86' '*/arch/x86/include/asm/desc_defs.h' \
        '*/tools/lib' '*/tools/scripts' '*/tools/testing/selftests'
# Static, as a guest need not have libraries, but for what is about them; and gcc has no static sanitizers.
cat >"$work/bin/cc" <<EOF2
#!/bin/sh
for word in "\$@"; do
    shift
    case \$word in -fsanitize=*) ;; *) set -- "\$@" "\$word" ;; esac
done
case " \$* " in *" -shared "* | *-pie" "* | *" -lrseq "*) ;; *) set -- -static "\$@" ;; esac
exec gcc -w "\$@" -isystem "$work/lib/usr/include" -L "$work/lib/usr/lib/x86_64-linux-gnu"
EOF2
printf '#!/bin/sh\nwhile case $1 in -*) ;; *) false ;; esac do shift; done\nexec cp -a "$@"\n' >"$work/bin/rsync"
chmod +x "$work"/bin/*
cd "$work/tools/testing/selftests"
targets="breakpoints capabilities clone3 core exec filesystems/epoll futex/functional ipc kcmp landlock membarrier memfd
    mincore mount mount_setattr move_mount_set_group mqueue nsfs openat2 pid_namespace pidfd prctl proc ptrace rlimits rseq
    sched seccomp sigaltstack size splice syscall_user_dispatch timens timers tmpfs vDSO x86"
for target in $targets; do
    PATH=$work/bin:$PATH make -s -k -C "$target" CC="$work/bin/cc" OUTPUT="$PWD/$target" all >&2 || true
    make -s -C "$target" OUTPUT="$PWD/$target" COLLECTION="$target" emit_tests | sed '/\.py$/d'
    mkdir -p "$2/$target"
    cp -a "$target/." "$2/$target"
done >"$2/list"
# These their makefiles do not list as programs.
printf '%s\n' mount_setattr:mount_setattr_test move_mount_set_group:move_mount_set_group_test >>"$2/list"
rm -rf "$work"
