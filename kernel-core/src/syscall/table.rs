//! The system call table: every call that is there, once. Dispatch, `--strace` and docs/syscalls.md come from it.

use alloc::vec::Vec;

use super::Arg::{
    CloneFlags, DirFd, Enum, Fd, Flags, Hex, In, Int, Out, Ptr, Signal, SignalSet, Size, Str, Strs, Time,
};
use super::{
    Arg, Args, Cx, SysError, SysResult, creds, memory, namespaces, prctl, priority, process, ptrace,
    resource, scheduling, seccomp, signals, system,
};
use crate::debug::{names, strace};
use crate::errno::ENOSYS;
use crate::host::Host;
use crate::task::clone::CloneArgs;
use crate::task::cred::Cred;

/// How much of a call is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All that programs can tell.
    Full,
    /// Not this.
    Partial(&'static str),
}
use Support::{Full, Partial};

/// A handler.
pub type Handler<H> = fn(&Cx<'_, H>, &Args) -> SysResult;

/// A system call.
pub struct Call<H: Host> {
    /// Its number on x86-64.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Its arguments, for `--strace`.
    pub args: &'static [Arg],
    /// How much of it is there.
    pub support: Support,
    /// What serves it.
    pub handler: Handler<H>,
}

pub(super) const fn sys<H: Host>(
    number: u32,
    name: &'static str,
    args: &'static [Arg],
    support: Support,
    handler: Handler<H>,
) -> Call<H> {
    Call { number, name, args, support, handler }
}

/// One more than the largest number in the table.
const NUMBERS: usize = 472;

/// Carries the table of calls for a host.
pub struct Table<H: Host>(core::marker::PhantomData<H>);

impl<H: Host> Table<H> {
    /// All families.
    pub const FAMILIES: &'static [&'static [Call<H>]] = &[
        Self::PROCESSES,
        Self::SCHEDULING,
        Self::CREDENTIALS,
        Self::RESOURCES,
        Self::SIGNALS,
        Self::SYSTEM,
        Self::MEMORY,
        Self::FILE_IO,
        Self::DESCRIPTORS,
        Self::FILE_INFO,
        Self::FILE_NAMES,
        Self::FILE_ATTRIBUTES,
        Self::XATTRS,
        Self::EVENTS,
        Self::TIME,
        Self::SOCKETS,
        Self::SYSV,
        Self::MORE_SCHEDULING,
        Self::REMOTE,
        Self::AIO,
        Self::OBSOLETE,
    ];

    const PROCESSES: &'static [Call<H>] = &[
        sys(39, "getpid", &[], Full, |cx, _| Ok(cx.task.process.own_pid.into())),
        sys(
            56,
            "clone",
            &[CloneFlags, Ptr, Ptr, Ptr, Hex],
            Partial("no network or time namespaces"),
            |cx, a| process::clone(cx, a.raw(0), a.ptr(1), a.ptr(2), a.ptr(3), a.raw(4)),
        ),
        sys(57, "fork", &[], Full, |cx, _| cx.clone_task(CloneArgs::fork())),
        sys(58, "vfork", &[], Full, |cx, _| cx.clone_task(CloneArgs::vfork())),
        sys(59, "execve", &[Str, Strs, Ptr], Full, |cx, a| {
            process::execveat(cx, linux_raw_sys::general::AT_FDCWD, a.ptr(0), a.ptr(1), a.ptr(2), 0)
        }),
        sys(60, "exit", &[Int], Full, |cx, a| process::exit(cx, a.int(0))),
        sys(61, "wait4", &[Int, Ptr, Flags(names::WAIT), Ptr], Full, |cx, a| {
            process::wait4(cx, a.int(0), a.ptr(1), a.uint(2), a.ptr(3))
        }),
        sys(
            101,
            "ptrace",
            &[Enum(names::PTRACE), Int, Ptr, Hex],
            Partial("no hardware breakpoints, no 32-bit tracees"),
            |cx, a| ptrace::ptrace(cx, a.uint(0), a.int(1), a.raw(2), a.raw(3)),
        ),
        sys(109, "setpgid", &[Int, Int], Full, |cx, a| process::setpgid(cx, a.int(0), a.int(1))),
        sys(110, "getppid", &[], Full, |cx, _| process::getppid(cx)),
        sys(111, "getpgrp", &[], Full, |cx, _| process::getpgid(cx, 0)),
        sys(112, "setsid", &[], Full, |cx, _| process::setsid(cx)),
        sys(153, "vhangup", &[], Full, |cx, _| process::vhangup(cx)),
        sys(121, "getpgid", &[Int], Full, |cx, a| process::getpgid(cx, a.int(0))),
        sys(124, "getsid", &[Int], Full, |cx, a| process::getsid(cx, a.int(0))),
        sys(
            157,
            "prctl",
            &[Enum(names::PRCTL), Hex, Hex, Hex, Hex],
            Partial("no PR_SET_MM, no names of memory, no trap on the time stamp counter"),
            |cx, a| prctl::prctl(cx, a.uint(0), [a.raw(1), a.raw(2), a.raw(3), a.raw(4)]),
        ),
        sys(158, "arch_prctl", &[Enum(names::ARCH_PRCTL), Ptr], Partial("FS and GS base"), |cx, a| {
            process::arch_prctl(cx, a.uint(0), a.ptr(1))
        }),
        sys(135, "personality", &[Hex], Partial("only PER_LINUX and ADDR_NO_RANDOMIZE"), |cx, a| {
            prctl::personality(cx, a.uint(0))
        }),
        sys(186, "gettid", &[], Full, |cx, _| Ok(cx.task.own_tid().into())),
        sys(218, "set_tid_address", &[Ptr], Full, |cx, a| process::set_tid_address(cx, a.ptr(0))),
        sys(231, "exit_group", &[Int], Full, |cx, a| process::exit_group(cx, a.int(0))),
        sys(247, "waitid", &[Enum(names::WAITID), Int, Ptr, Flags(names::WAIT), Ptr], Full, |cx, a| {
            process::waitid(cx, a.uint(0), a.int(1), a.ptr(2), a.uint(3), a.ptr(4))
        }),
        sys(272, "unshare", &[CloneFlags], Partial("no network or time namespaces"), |cx, a| {
            namespaces::unshare(cx, a.raw(0))
        }),
        sys(308, "setns", &[Fd, CloneFlags], Partial("no network or time namespaces"), |cx, a| {
            namespaces::setns(cx, a.fd(0), a.uint(1))
        }),
        sys(273, "set_robust_list", &[Ptr, Size], Full, |cx, a| {
            process::set_robust_list(cx, a.ptr(0), a.raw(1))
        }),
        sys(274, "get_robust_list", &[Int, Ptr, Ptr], Full, |cx, a| {
            process::get_robust_list(cx, a.int(0), a.ptr(1), a.ptr(2))
        }),
        sys(317, "seccomp", &[Int, Hex, Ptr], Partial("no listener (user notification)"), |cx, a| {
            seccomp::seccomp(cx, a.uint(0), a.uint(1), a.ptr(2))
        }),
        sys(322, "execveat", &[DirFd, Str, Strs, Ptr, Flags(names::AT)], Full, |cx, a| {
            process::execveat(cx, a.fd(0), a.ptr(1), a.ptr(2), a.ptr(3), a.uint(4))
        }),
        sys(334, "rseq", &[Ptr, Size, Flags(names::RSEQ), Hex], Full, |cx, a| {
            process::rseq(cx, a.ptr(0), a.uint(1), a.uint(2), a.uint(3))
        }),
        sys(424, "pidfd_send_signal", &[Fd, Signal, Ptr, Hex], Full, |cx, a| {
            process::pidfd_send_signal(cx, a.fd(0), a.int(1), a.ptr(2), a.uint(3))
        }),
        sys(434, "pidfd_open", &[Int, Hex], Full, |cx, a| process::pidfd_open(cx, a.int(0), a.uint(1))),
        sys(435, "clone3", &[Ptr, Size], Partial("no network or time namespaces"), |cx, a| {
            process::clone3(cx, a.ptr(0), a.size(1))
        }),
    ];

    const CREDENTIALS: &'static [Call<H>] = &[
        sys(102, "getuid", &[], Full, |cx, _| Ok(cx.task.with_cred(Cred::shown_uid).into())),
        sys(104, "getgid", &[], Full, |cx, _| Ok(cx.task.with_cred(Cred::shown_gid).into())),
        sys(105, "setuid", &[Int], Full, |cx, a| creds::setuid(cx, a.uint(0))),
        sys(106, "setgid", &[Int], Full, |cx, a| creds::setgid(cx, a.uint(0))),
        sys(107, "geteuid", &[], Full, |cx, _| Ok(cx.task.with_cred(Cred::shown_euid).into())),
        sys(108, "getegid", &[], Full, |cx, _| Ok(cx.task.with_cred(Cred::shown_egid).into())),
        sys(113, "setreuid", &[Int, Int], Full, |cx, a| creds::setreuid(cx, a.uint(0), a.uint(1))),
        sys(114, "setregid", &[Int, Int], Full, |cx, a| creds::setregid(cx, a.uint(0), a.uint(1))),
        sys(115, "getgroups", &[Int, Ptr], Full, |cx, a| creds::getgroups(cx, a.int(0), a.ptr(1))),
        sys(116, "setgroups", &[Int, Ptr], Full, |cx, a| creds::setgroups(cx, a.int(0), a.ptr(1))),
        sys(117, "setresuid", &[Int, Int, Int], Full, |cx, a| {
            creds::setresuid(cx, [a.uint(0), a.uint(1), a.uint(2)])
        }),
        sys(118, "getresuid", &[Ptr, Ptr, Ptr], Full, |cx, a| {
            creds::getresuid(cx, [a.ptr(0), a.ptr(1), a.ptr(2)])
        }),
        sys(119, "setresgid", &[Int, Int, Int], Full, |cx, a| {
            creds::setresgid(cx, [a.uint(0), a.uint(1), a.uint(2)])
        }),
        sys(120, "getresgid", &[Ptr, Ptr, Ptr], Full, |cx, a| {
            creds::getresgid(cx, [a.ptr(0), a.ptr(1), a.ptr(2)])
        }),
        sys(122, "setfsuid", &[Int], Full, |cx, a| creds::setfsuid(cx, a.uint(0))),
        sys(123, "setfsgid", &[Int], Full, |cx, a| creds::setfsgid(cx, a.uint(0))),
        sys(125, "capget", &[Ptr, Ptr], Full, |cx, a| creds::capget(cx, a.ptr(0), a.ptr(1))),
        sys(126, "capset", &[Ptr, Ptr], Full, |cx, a| creds::capset(cx, a.ptr(0), a.ptr(1))),
    ];

    const SCHEDULING: &'static [Call<H>] = &[
        sys(24, "sched_yield", &[], Full, |cx, _| scheduling::sched_yield(cx)),
        sys(142, "sched_setparam", &[Int, Ptr], Partial("no real-time policies"), |cx, a| {
            scheduling::sched_setparam(cx, a.int(0), a.ptr(1))
        }),
        sys(143, "sched_getparam", &[Int, Ptr], Full, |cx, a| {
            scheduling::sched_getparam(cx, a.int(0), a.ptr(1))
        }),
        sys(
            144,
            "sched_setscheduler",
            &[Int, Enum(names::POLICY), Ptr],
            Partial("no real-time policies"),
            |cx, a| scheduling::sched_setscheduler(cx, a.int(0), a.uint(1), a.ptr(2)),
        ),
        sys(145, "sched_getscheduler", &[Int], Full, |cx, a| scheduling::sched_getscheduler(cx, a.int(0))),
        sys(146, "sched_get_priority_max", &[Enum(names::POLICY)], Full, |_, a| {
            scheduling::priority_bound(a.uint(0), 99)
        }),
        sys(147, "sched_get_priority_min", &[Enum(names::POLICY)], Full, |_, a| {
            scheduling::priority_bound(a.uint(0), 1)
        }),
        sys(148, "sched_rr_get_interval", &[Int, Ptr], Full, |cx, a| {
            scheduling::sched_rr_get_interval(cx, a.int(0), a.ptr(1))
        }),
        sys(203, "sched_setaffinity", &[Int, Size, Ptr], Full, |cx, a| {
            scheduling::sched_setaffinity(cx, a.int(0), a.size(1), a.ptr(2))
        }),
        sys(204, "sched_getaffinity", &[Int, Size, Ptr], Full, |cx, a| {
            scheduling::sched_getaffinity(cx, a.int(0), a.size(1), a.ptr(2))
        }),
        sys(309, "getcpu", &[Ptr, Ptr], Full, |cx, a| scheduling::getcpu(cx, a.ptr(0), a.ptr(1))),
    ];

    const RESOURCES: &'static [Call<H>] = &[
        sys(97, "getrlimit", &[Enum(names::RLIMIT), Ptr], Full, |cx, a| {
            resource::prlimit(cx, 0, a.uint(0), 0, a.ptr(1))
        }),
        sys(98, "getrusage", &[Enum(names::RUSAGE), Ptr], Partial("no block I/O"), |cx, a| {
            resource::getrusage(cx, a.int(0), a.ptr(1))
        }),
        sys(99, "sysinfo", &[Ptr], Full, |cx, a| resource::sysinfo(cx, a.ptr(0))),
        sys(100, "times", &[Ptr], Full, |cx, a| resource::times(cx, a.ptr(0))),
        sys(140, "getpriority", &[Enum(names::PRIORITY), Int], Full, |cx, a| {
            priority::getpriority(cx, a.int(0), a.int(1))
        }),
        sys(141, "setpriority", &[Enum(names::PRIORITY), Int, Int], Full, |cx, a| {
            priority::setpriority(cx, a.int(0), a.int(1), a.int(2))
        }),
        sys(160, "setrlimit", &[Enum(names::RLIMIT), Ptr], Full, |cx, a| {
            resource::prlimit(cx, 0, a.uint(0), a.ptr(1), 0)
        }),
        sys(302, "prlimit64", &[Int, Enum(names::RLIMIT), Ptr, Ptr], Full, |cx, a| {
            resource::prlimit(cx, a.int(0), a.uint(1), a.ptr(2), a.ptr(3))
        }),
    ];

    const SIGNALS: &'static [Call<H>] = &[
        sys(13, "rt_sigaction", &[Signal, Ptr, Ptr, Size], Full, |cx, a| {
            signals::rt_sigaction(cx, a.int(0), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(14, "rt_sigprocmask", &[Enum(names::SIGMASK), SignalSet, Ptr, Size], Full, |cx, a| {
            signals::rt_sigprocmask(cx, a.uint(0), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(15, "rt_sigreturn", &[], Full, |cx, _| signals::rt_sigreturn(cx)),
        sys(34, "pause", &[], Full, |cx, _| signals::pause(cx)),
        sys(62, "kill", &[Int, Signal], Full, |cx, a| signals::kill(cx, a.int(0), a.int(1))),
        sys(127, "rt_sigpending", &[Ptr, Size], Full, |cx, a| {
            signals::rt_sigpending(cx, a.ptr(0), a.size(1))
        }),
        sys(128, "rt_sigtimedwait", &[SignalSet, Ptr, Time, Size], Full, |cx, a| {
            signals::rt_sigtimedwait(cx, a.ptr(0), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(129, "rt_sigqueueinfo", &[Int, Signal, Ptr], Full, |cx, a| {
            signals::rt_sigqueueinfo(cx, a.int(0), a.int(1), a.ptr(2))
        }),
        sys(130, "rt_sigsuspend", &[SignalSet, Size], Full, |cx, a| {
            signals::rt_sigsuspend(cx, a.ptr(0), a.size(1))
        }),
        sys(131, "sigaltstack", &[Ptr, Ptr], Full, |cx, a| signals::sigaltstack(cx, a.ptr(0), a.ptr(1))),
        sys(200, "tkill", &[Int, Signal], Full, |cx, a| signals::tkill(cx, a.int(0), a.int(1))),
        sys(219, "restart_syscall", &[], Full, |cx, _| signals::restart_syscall(cx)),
        sys(234, "tgkill", &[Int, Int, Signal], Full, |cx, a| {
            signals::tgkill(cx, a.int(0), a.int(1), a.int(2))
        }),
        sys(297, "rt_tgsigqueueinfo", &[Int, Int, Signal, Ptr], Full, |cx, a| {
            signals::rt_tgsigqueueinfo(cx, a.int(0), a.int(1), a.int(2), a.ptr(3))
        }),
    ];

    const MEMORY: &'static [Call<H>] = &[
        sys(9, "mmap", &[Ptr, Size, Flags(names::PROT), Flags(names::MAP), Fd, Hex], Full, |cx, a| {
            memory::mmap(cx, [a.ptr(0), a.raw(1), a.raw(5)], a.uint(2), a.uint(3), a.fd(4))
        }),
        sys(10, "mprotect", &[Ptr, Size, Flags(names::PROT)], Full, |cx, a| {
            memory::mprotect(cx, a.ptr(0), a.raw(1), a.raw(2))
        }),
        sys(11, "munmap", &[Ptr, Size], Full, |cx, a| memory::munmap(cx, a.ptr(0), a.raw(1))),
        sys(12, "brk", &[Ptr], Full, |cx, a| memory::brk(cx, a.ptr(0))),
        sys(25, "mremap", &[Ptr, Size, Size, Flags(names::MREMAP), Ptr], Full, |cx, a| {
            memory::mremap(cx, [a.ptr(0), a.raw(1), a.raw(2), a.raw(3), a.ptr(4)])
        }),
        sys(
            216,
            "remap_file_pages",
            &[Ptr, Size, Flags(names::PROT), Int, Flags(names::MAP)],
            Full,
            |cx, a| memory::remap_file_pages(cx, [a.ptr(0), a.raw(1), a.raw(2), a.raw(3)]),
        ),
        sys(26, "msync", &[Ptr, Size, Flags(names::MSYNC)], Full, |cx, a| {
            memory::msync(cx, a.ptr(0), a.raw(1), a.uint(2))
        }),
        sys(27, "mincore", &[Ptr, Size, Ptr], Full, |cx, a| {
            memory::mincore(cx, a.ptr(0), a.raw(1), a.ptr(2))
        }),
        sys(
            28,
            "madvise",
            &[Ptr, Size, Enum(names::MADVICE)],
            Partial("no huge pages, no page merging"),
            |cx, a| memory::madvise(cx, a.ptr(0), a.raw(1), a.uint(2)),
        ),
        sys(149, "mlock", &[Ptr, Size], Full, |cx, a| memory::mlock2(cx, a.ptr(0), a.raw(1), 0)),
        sys(150, "munlock", &[Ptr, Size], Full, |cx, a| memory::munlock(cx, a.ptr(0), a.raw(1))),
        sys(151, "mlockall", &[Flags(names::MLOCKALL)], Full, |cx, a| memory::mlockall(cx, a.uint(0))),
        sys(152, "munlockall", &[], Full, |cx, _| memory::munlockall(cx)),
        sys(325, "mlock2", &[Ptr, Size, Hex], Full, |cx, a| {
            memory::mlock2(cx, a.ptr(0), a.raw(1), a.uint(2))
        }),
    ];

    const SYSTEM: &'static [Call<H>] = &[
        sys(63, "uname", &[Ptr], Full, |cx, a| system::uname(cx, a.ptr(0))),
        sys(103, "syslog", &[Int, Ptr, Int], Partial("no blocking read"), |cx, a| {
            system::syslog(cx, a.int(0), a.ptr(1), a.int(2))
        }),
        sys(
            169,
            "reboot",
            &[Hex, Hex, Enum(names::REBOOT), Ptr],
            Partial("no kexec, no suspend"),
            |cx, a| system::reboot(cx, a.uint(0), a.uint(1), a.uint(2)),
        ),
        sys(170, "sethostname", &[In(1), Size], Full, |cx, a| system::sethostname(cx, a.ptr(0), a.int(1))),
        sys(171, "setdomainname", &[In(1), Size], Full, |cx, a| {
            system::setdomainname(cx, a.ptr(0), a.int(1))
        }),
        sys(318, "getrandom", &[Out, Size, Flags(names::RANDOM)], Full, |cx, a| {
            system::getrandom(cx, a.ptr(0), a.size(1), a.uint(2))
        }),
    ];

    /// The calls by number.
    const BY_NUMBER: &'static [Option<&'static Call<H>>; NUMBERS] = &{
        let mut table = [None; NUMBERS];
        let mut family = 0;
        while family < Self::FAMILIES.len() {
            let mut index = 0;
            while index < Self::FAMILIES[family].len() {
                let call = &Self::FAMILIES[family][index];
                assert!(table[call.number as usize].is_none(), "a number stands twice in the table");
                table[call.number as usize] = Some(call);
                index += 1;
            }
            family += 1;
        }
        table
    };

    /// The call with a number.
    pub fn get(number: u64) -> Option<&'static Call<H>> {
        usize::try_from(number).ok().and_then(|number| Self::BY_NUMBER.get(number).copied().flatten())
    }

    /// All calls, by number.
    pub fn all() -> Vec<&'static Call<H>> {
        Self::BY_NUMBER.iter().flatten().copied().collect()
    }
}

/// Serves a call.
pub(crate) fn dispatch<H: Host>(cx: &Cx<'_, H>, number: u64, args: &Args) -> SysResult {
    let Some(call) = Table::<H>::get(number) else {
        return unknown(cx, number, args);
    };
    match &cx.kernel.trace {
        None => (call.handler)(cx, args),
        Some(sink) => strace::traced(cx, sink, call, args),
    }
}

/// A call that is not there: ENOSYS, and a line in the log the first time.
fn unknown<H: Host>(cx: &Cx<'_, H>, number: u64, args: &Args) -> SysResult {
    if cx.kernel.is_first_unknown(number) {
        log::warn!("system call {} is not there: ENOSYS", names::syscall(number));
    }
    if let Some(sink) = &cx.kernel.trace {
        strace::untraceable(cx, sink, number, args);
    }
    Err(SysError::Errno(ENOSYS))
}
