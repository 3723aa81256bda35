//! Prints `docs/syscalls.md`: which system calls are there, from the table that dispatches them. `cargo xtask tidy` checks
//! that the page is up to date, `cargo xtask tidy --fix` writes it.

use kernel_core::host::fake::FakeHost;
use kernel_core::syscall::table::{Call, Support, Table};

/// What needs how much of Linux: a heading, and the calls that it takes beyond those before it.
struct Tier {
    what: &'static str,
    calls: &'static str,
}

/// Traced from real workloads, with what is known to be needed beside.
const TIERS: [Tier; 3] = [
    Tier {
        what: "a shell and its commands",
        calls: "access arch_prctl brk chdir chmod chown clock_nanosleep clone close dup2 execve exit_group fchmod \
            fchown fcntl getdents64 getegid geteuid getgid getgroups getpid getppid getrandom getuid ioctl kill lseek \
            mkdir mmap mprotect munmap newfstatat openat pipe2 poll prctl prlimit64 read readlink rename rmdir rseq \
            rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sendfile set_robust_list set_tid_address statfs \
            symlink sync sysinfo umask uname unlink utimensat wait4 write clone3 futex epoll_create1 epoll_ctl \
            epoll_wait eventfd2 socketpair sendto recvfrom pidfd_open waitid statx sched_getaffinity exit open stat \
            lstat fstat readv writev fork vfork dup dup3 pipe nanosleep clock_gettime gettimeofday select ppoll \
            pselect6 setpgid getpgid getpgrp setsid getsid tgkill tkill sigaltstack mount umount2 reboot sethostname \
            chroot pivot_root mknod mknodat setuid setgid setgroups setreuid setregid setresuid setresgid getresuid \
            getresgid times getrusage vhangup syslog settimeofday alarm pause sched_yield gettid",
    },
    Tier {
        what: "a distribution: bash, coreutils, git, gcc, make, dpkg, apt, perl, sqlite",
        calls: "creat link linkat symlinkat unlinkat mkdirat renameat renameat2 readlinkat fchdir fchmodat fchownat \
            lchown faccessat faccessat2 getcwd pread64 pwrite64 preadv pwritev fsync fdatasync sync_file_range syncfs \
            truncate ftruncate fallocate fadvise64 copy_file_range flock fstatfs madvise mremap msync mincore mlock \
            munlock getpriority setpriority timer_create timer_settime timer_gettime timer_delete getitimer setitimer \
            setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr \
            lremovexattr fremovexattr close_range sched_getparam sched_setparam sched_getscheduler \
            sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_getattr \
            sched_setattr sched_setaffinity personality capget capset clock_getres utime utimes futimesat",
    },
    Tier {
        what: "runtimes and servers: python, node, rust, go, java, redis, nginx, curl",
        calls: "socket bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt sendmsg \
            recvmsg sendmmsg recvmmsg shutdown epoll_pwait epoll_pwait2 eventfd inotify_init inotify_init1 \
            inotify_add_watch inotify_rm_watch timerfd_create timerfd_settime timerfd_gettime signalfd4 memfd_create \
            membarrier rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo getrlimit setrlimit splice tee vmsplice \
            preadv2 pwritev2 io_setup io_destroy io_submit io_cancel io_getevents shmget shmat shmctl shmdt semget \
            semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive \
            mq_notify mq_getsetattr getcpu mlock2 mlockall munlockall futex_waitv process_vm_readv \
            process_vm_writev pidfd_send_signal pidfd_getfd openat2",
    },
];

fn main() {
    let calls = Table::<FakeHost>::all();
    println!("# System calls\n");
    println!(
        "Made from the kernel's own table by `cargo xtask tidy --fix`. A call that is not listed here fails with\n\
         ENOSYS, and the guest's kernel log names it once. \"Full\" means all that programs can tell; where something is\n\
         missing it is refused as Linux would refuse it.\n"
    );
    let partial = calls.iter().filter(|call| call.support != Support::Full).count();
    println!("{} calls: {} in full, {partial} in part.\n", calls.len(), calls.len() - partial);
    println!("| what takes them | calls | there | in part | not there |\n|---|---|---|---|---|");
    for tier in &TIERS {
        println!("{}", row(tier, &calls));
    }
    println!("\n| number | name | support |\n|---|---|---|");
    for call in calls {
        let support = match call.support {
            Support::Full => "full".to_string(),
            Support::Partial(missing) => format!("in part: {missing}"),
        };
        println!("| {} | `{}` | {support} |", call.number, call.name);
    }
}

fn row(tier: &Tier, calls: &[&Call<FakeHost>]) -> String {
    let find = |name: &str| calls.iter().find(|call| call.name == name);
    let names: Vec<&str> = tier.calls.split_whitespace().collect();
    let missing: Vec<String> =
        names.iter().filter(|name| find(name).is_none()).map(|name| format!("`{name}`")).collect();
    let partial =
        names.iter().filter(|name| find(name).is_some_and(|call| call.support != Support::Full)).count();
    let missing_names = if missing.is_empty() { "none".to_string() } else { missing.join(" ") };
    let there = names.len() - missing.len();
    format!("| {} | {} | {there} | {partial} | {missing_names} |", tier.what, names.len())
}
