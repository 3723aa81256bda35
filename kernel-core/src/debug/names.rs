//! Names of numbers, for `--strace` and logs.

use alloc::format;
use alloc::string::{String, ToString};

use linux_raw_sys::general::*;
use linux_raw_sys::prctl::*;

pub mod io;

/// Names of bits or values.
pub type Names = &'static [(u64, &'static str)];

/// Constants of Linux with their names, so that neither can be wrong.
macro_rules! named {
    ($($name:ident),+ $(,)?) => { &[$(($name as u64, stringify!($name))),+] };
}
pub(crate) use named;

/// Options of `wait4` and `waitid`.
pub const WAIT: Names = &[
    (1, "WNOHANG"),
    (2, "WUNTRACED"),
    (4, "WEXITED"),
    (8, "WCONTINUED"),
    (0x0100_0000, "WNOWAIT"),
    (0x2000_0000, "__WNOTHREAD"),
    (0x4000_0000, "__WALL"),
    (0x8000_0000, "__WCLONE"),
];
/// Requests of `ptrace`.
pub const PTRACE: Names = &[
    (0, "PTRACE_TRACEME"),
    (1, "PTRACE_PEEKTEXT"),
    (2, "PTRACE_PEEKDATA"),
    (3, "PTRACE_PEEKUSER"),
    (4, "PTRACE_POKETEXT"),
    (5, "PTRACE_POKEDATA"),
    (6, "PTRACE_POKEUSER"),
    (7, "PTRACE_CONT"),
    (8, "PTRACE_KILL"),
    (9, "PTRACE_SINGLESTEP"),
    (12, "PTRACE_GETREGS"),
    (13, "PTRACE_SETREGS"),
    (14, "PTRACE_GETFPREGS"),
    (15, "PTRACE_SETFPREGS"),
    (16, "PTRACE_ATTACH"),
    (17, "PTRACE_DETACH"),
    (24, "PTRACE_SYSCALL"),
    (30, "PTRACE_ARCH_PRCTL"),
    (31, "PTRACE_SYSEMU"),
    (32, "PTRACE_SYSEMU_SINGLESTEP"),
    (0x4200, "PTRACE_SETOPTIONS"),
    (0x4201, "PTRACE_GETEVENTMSG"),
    (0x4202, "PTRACE_GETSIGINFO"),
    (0x4203, "PTRACE_SETSIGINFO"),
    (0x4204, "PTRACE_GETREGSET"),
    (0x4205, "PTRACE_SETREGSET"),
    (0x4206, "PTRACE_SEIZE"),
    (0x4207, "PTRACE_INTERRUPT"),
    (0x4208, "PTRACE_LISTEN"),
    (0x4209, "PTRACE_PEEKSIGINFO"),
    (0x420a, "PTRACE_GETSIGMASK"),
    (0x420b, "PTRACE_SETSIGMASK"),
    (0x420c, "PTRACE_SECCOMP_GET_FILTER"),
    (0x420e, "PTRACE_GET_SYSCALL_INFO"),
    (0x420f, "PTRACE_GET_RSEQ_CONFIGURATION"),
];
/// The first argument of `waitid`.
pub const WAITID: Names = &[(0, "P_ALL"), (1, "P_PID"), (2, "P_PGID"), (3, "P_PIDFD")];
/// The first argument of `rt_sigprocmask`.
pub const SIGMASK: Names = &[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")];
/// Resources.
pub const RLIMIT: Names = &[
    (0, "RLIMIT_CPU"),
    (1, "RLIMIT_FSIZE"),
    (2, "RLIMIT_DATA"),
    (3, "RLIMIT_STACK"),
    (4, "RLIMIT_CORE"),
    (5, "RLIMIT_RSS"),
    (6, "RLIMIT_NPROC"),
    (7, "RLIMIT_NOFILE"),
    (8, "RLIMIT_MEMLOCK"),
    (9, "RLIMIT_AS"),
    (10, "RLIMIT_LOCKS"),
    (11, "RLIMIT_SIGPENDING"),
    (12, "RLIMIT_MSGQUEUE"),
    (13, "RLIMIT_NICE"),
    (14, "RLIMIT_RTPRIO"),
    (15, "RLIMIT_RTTIME"),
];
/// Flags of `open` without the access mode.
pub const OPEN: Names = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4010000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (0o40000, "O_DIRECT"),
    (0o20200000, "O_TMPFILE"),
    (0o200000, "O_DIRECTORY"),
    (0o400000, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
    (0o10000000, "O_PATH"),
];
/// The access mode of `open`, its lowest two bits.
pub const OPEN_ACCESS: Names = &[(0, "O_RDONLY"), (1, "O_WRONLY"), (2, "O_RDWR")];
/// Protection of mappings.
pub const PROT: Names = &[
    (0, "PROT_NONE"),
    (1, "PROT_READ"),
    (2, "PROT_WRITE"),
    (4, "PROT_EXEC"),
    (0x0100_0000, "PROT_GROWSDOWN"),
];
/// Flags of `mmap`.
pub const MAP: Names = &[
    (0x03, "MAP_SHARED_VALIDATE"),
    (0x01, "MAP_SHARED"),
    (0x02, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x1_0000, "MAP_NONBLOCK"),
    (0x2_0000, "MAP_STACK"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];
/// Flags of the `*at` calls.
pub const AT: Names = &[
    (0x100, "AT_SYMLINK_NOFOLLOW"),
    (0x200, "AT_REMOVEDIR"),
    (0x400, "AT_SYMLINK_FOLLOW"),
    (0x800, "AT_NO_AUTOMOUNT"),
    (0x1000, "AT_EMPTY_PATH"),
];

/// Flags of `mremap`.
pub const MREMAP: Names = named![MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP];
/// Flags of `msync`.
pub const MSYNC: Names = named![MS_ASYNC, MS_INVALIDATE, MS_SYNC];
/// Flags of `mlockall`.
pub const MLOCKALL: Names = named![MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT];
/// Advice of `madvise`.
pub const MADVICE: Names = named![
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_REMOVE,
    MADV_DONTFORK,
    MADV_DOFORK,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    MADV_DONTDUMP,
    MADV_DODUMP,
    MADV_WIPEONFORK,
    MADV_KEEPONFORK,
    MADV_COLD,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
];
/// Flags of `clone` and `unshare`, without the signal in the lowest byte.
pub const CLONE: Names = named![
    CLONE_VM,
    CLONE_FS,
    CLONE_FILES,
    CLONE_SIGHAND,
    CLONE_PIDFD,
    CLONE_PTRACE,
    CLONE_VFORK,
    CLONE_PARENT,
    CLONE_THREAD,
    CLONE_NEWNS,
    CLONE_SYSVSEM,
    CLONE_SETTLS,
    CLONE_PARENT_SETTID,
    CLONE_CHILD_CLEARTID,
    CLONE_DETACHED,
    CLONE_UNTRACED,
    CLONE_CHILD_SETTID,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
    CLONE_IO,
];
/// The first argument of `prctl`.
pub const PRCTL: Names = named![
    PR_SET_PDEATHSIG,
    PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    PR_GET_KEEPCAPS,
    PR_SET_KEEPCAPS,
    PR_SET_NAME,
    PR_GET_NAME,
    PR_GET_SECCOMP,
    PR_SET_SECCOMP,
    PR_CAPBSET_READ,
    PR_CAPBSET_DROP,
    PR_GET_TSC,
    PR_SET_TSC,
    PR_GET_SECUREBITS,
    PR_SET_SECUREBITS,
    PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK,
    PR_SET_MM,
    PR_SET_PTRACER,
    PR_SET_CHILD_SUBREAPER,
    PR_GET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_TID_ADDRESS,
    PR_SET_THP_DISABLE,
    PR_GET_THP_DISABLE,
    PR_CAP_AMBIENT,
    PR_GET_SPECULATION_CTRL,
    PR_SET_SPECULATION_CTRL,
    PR_SET_VMA,
    PR_SET_MDWE,
    PR_GET_MDWE,
];
/// The first argument of `arch_prctl`.
pub const ARCH_PRCTL: Names = &[
    (0x1001, "ARCH_SET_GS"),
    (0x1002, "ARCH_SET_FS"),
    (0x1003, "ARCH_GET_FS"),
    (0x1004, "ARCH_GET_GS"),
    (0x3001, "ARCH_CET_STATUS"),
];
/// The first argument of `getpriority`.
pub const PRIORITY: Names = named![PRIO_PROCESS, PRIO_PGRP, PRIO_USER];
/// The first argument of `getrusage`.
pub const RUSAGE: Names = &[(0, "RUSAGE_SELF"), (1, "RUSAGE_THREAD"), (0xffff_ffff, "RUSAGE_CHILDREN")];
/// Scheduling policies.
pub const POLICY: Names = named![SCHED_NORMAL, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE];
/// Flags of `getrandom`.
pub const RANDOM: Names = named![GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE];
/// Commands of `reboot`.
pub const REBOOT: Names = named![
    LINUX_REBOOT_CMD_RESTART,
    LINUX_REBOOT_CMD_HALT,
    LINUX_REBOOT_CMD_CAD_ON,
    LINUX_REBOOT_CMD_CAD_OFF,
    LINUX_REBOOT_CMD_POWER_OFF,
    LINUX_REBOOT_CMD_RESTART2,
    LINUX_REBOOT_CMD_SW_SUSPEND,
    LINUX_REBOOT_CMD_KEXEC,
];
/// Flags of `rseq`.
pub const RSEQ: Names = &[(1, "RSEQ_FLAG_UNREGISTER")];

const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The name of a signal.
pub fn signal(number: u64) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => format!("SIG{name}"),
        None if (32..=64).contains(&number) => format!("SIGRT_{}", number - 32),
        None => number.to_string(),
    }
}

/// The name of a system call, whether it is there or not.
pub fn syscall(number: u64) -> String {
    let known = usize::try_from(number).ok().and_then(syscalls::Sysno::new);
    known.map_or_else(|| number.to_string(), |known| known.name().to_string())
}

/// Bits as names joined by `|`; what has none is in hexadecimal. Of no bits at all, the name of 0.
pub fn flags(value: u64, names: Names) -> String {
    let mut left = value;
    let mut text = String::new();
    for (bits, name) in names {
        if *bits != 0 && left & bits == *bits {
            left &= !bits;
            text.push_str(if text.is_empty() { "" } else { "|" });
            text.push_str(name);
        }
    }
    if text.is_empty() && left == 0 {
        return names.iter().find(|(bits, _)| *bits == 0).map_or("0", |(_, name)| name).to_string();
    }
    if left != 0 {
        text.push_str(if text.is_empty() { "" } else { "|" });
        text.push_str(&format!("{left:#x}"));
    }
    text
}

/// Flags of `open`, which have a number in their lowest two bits.
pub fn open(flags: u64) -> String {
    let access = value(flags & 3, OPEN_ACCESS);
    if flags & !3 == 0 { access } else { format!("{access}|{}", self::flags(flags & !3, OPEN)) }
}

/// Flags of `clone`, which have a signal in their lowest byte.
pub fn clone(flags: u64) -> String {
    let signal = flags & 0xff;
    match (flags & !0xff, signal) {
        (0, signal) => self::signal(signal),
        (flags, 0) => self::flags(flags, CLONE),
        (flags, signal) => format!("{}|{}", self::flags(flags, CLONE), self::signal(signal)),
    }
}

/// A set of signals, as strace shows it: `[INT CHLD]`.
pub fn signal_set(set: u64) -> String {
    let mut text = String::from("[");
    for number in (1..=64).filter(|number| set & (1 << (number - 1)) != 0) {
        text.push_str(if text.len() > 1 { " " } else { "" });
        text.push_str(signal(number).trim_start_matches("SIG"));
    }
    text.push(']');
    text
}

/// The name of one value.
pub fn value(value: u64, names: Names) -> String {
    names
        .iter()
        .find(|(known, _)| *known == value)
        .map_or_else(|| format!("{value:#x}"), |(_, name)| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_their_names() {
        assert_eq!(flags(0x22, MAP), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(flags(0x8000_0000_0001, PROT), "PROT_READ|0x800000000000");
        assert_eq!(flags(0, PROT), "PROT_NONE");
        assert_eq!(flags(0, MAP), "0");
        assert_eq!(open(0o2000000), "O_RDONLY|O_CLOEXEC");
        assert_eq!(open(1), "O_WRONLY");
        assert_eq!(clone(0x120_0011), "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD");
        assert_eq!(signal_set(0x1_0002), "[INT CHLD]");
        assert_eq!(value(2, io::SOCKET), "SOCK_DGRAM");
        assert_eq!(flags(0o2000005, io::SOCKET), "SOCK_SEQPACKET|SOCK_CLOEXEC");
        assert_eq!(signal(11), "SIGSEGV");
        assert_eq!(syscall(39), "getpid");
    }
}
