//! Which system calls of the host this process may still make: a filter (`seccomp(2)`) that ends it at any other.
//!
//! Each backend adds what it needs to what all need. A call whose arguments are not looked at costs next to nothing: the host
//! keeps a table of these. So those that a guest's every call takes (`futex`, `ptrace`, `wait4`) are of this kind.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
pub use syscalls::Sysno;

/// A test of an argument: those bits of it that are in the mask have this value.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    argument: u8,
    mask: u64,
    value: u64,
}

impl Test {
    /// Argument number `argument`, from 0, is this integer of 32 bits.
    pub const fn is(argument: u8, value: u64) -> Test {
        Test { argument, mask: 0xffff_ffff, value }
    }

    /// It is exactly this.
    pub const fn is_exactly(argument: u8, value: u64) -> Test {
        Test { argument, mask: u64::MAX, value }
    }

    /// It has none of these bits.
    pub const fn lacks(argument: u8, mask: u64) -> Test {
        Test { argument, mask, value: 0 }
    }

    fn condition(self) -> Result<SeccompCondition, BackendError> {
        let how = SeccompCmpOp::MaskedEq(self.mask);
        SeccompCondition::new(self.argument, SeccompCmpArgLen::Qword, how, self.value)
    }
}

/// A call that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which one.
    pub call: Sysno,
    /// What for only, for people; empty if its arguments do not matter.
    pub only: &'static str,
    /// One of these tests has to hold, if there are any.
    tests: &'static [Test],
}

/// With any arguments.
pub const fn any(call: Sysno) -> Call {
    Call { call, only: "", tests: &[] }
}

/// With arguments for which one of the tests holds.
pub const fn only(call: Sysno, only: &'static str, tests: &'static [Test]) -> Call {
    Call { call, only, tests }
}

/// Of the flags of `open`: to write, to make a file.
const TO_WRITE: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | 0o20_000_000) as u64;
// The same as without the 2, as newer C libraries have them (<asm-generic/ioctls.h>).
const TCGETS2: u64 = 0x802c_542a;
const TCSETS2: u64 = 0x402c_542b;
const TCSETSW2: u64 = 0x402c_542c;
const TCSETSF2: u64 = 0x402c_542d;
/// Memory that is no code.
const NO_CODE: &[Test] = &[Test::lacks(2, libc::PROT_EXEC as u64)];

/// What every instance needs: its memory, its threads, streams, clocks, and files that are open or lie in `/proc`.
pub const BASE: &[Call] = &[
    any(Sysno::read),
    any(Sysno::write),
    any(Sysno::writev),
    any(Sysno::pread64),
    any(Sysno::pwrite64),
    any(Sysno::lseek),
    any(Sysno::close),
    any(Sysno::fcntl),
    any(Sysno::fstat),
    any(Sysno::newfstatat),
    any(Sysno::statx),
    any(Sysno::readlink),
    any(Sysno::getcwd),
    any(Sysno::ftruncate),
    any(Sysno::fallocate),
    any(Sysno::fsync),
    any(Sysno::fdatasync),
    only(Sysno::openat, "to read", &[Test::lacks(2, TO_WRITE)]),
    only(
        Sysno::ioctl,
        "modes and size of a terminal, what waits in a pipe",
        &[
            Test::is(1, libc::TCGETS),
            Test::is(1, libc::TCSETS),
            Test::is(1, libc::TCSETSW),
            Test::is(1, libc::TCSETSF),
            Test::is(1, TCGETS2),
            Test::is(1, TCSETS2),
            Test::is(1, TCSETSW2),
            Test::is(1, TCSETSF2),
            Test::is(1, libc::TIOCGWINSZ),
            Test::is(1, libc::FIONREAD),
        ],
    ),
    any(Sysno::recvfrom),
    only(Sysno::sendto, "to whom it is connected", &[Test::is_exactly(4, 0)]),
    any(Sysno::poll),
    any(Sysno::ppoll),
    any(Sysno::epoll_ctl),
    any(Sysno::epoll_wait),
    any(Sysno::epoll_pwait),
    any(Sysno::timerfd_settime),
    any(Sysno::timer_create),
    any(Sysno::timer_settime),
    any(Sysno::clock_gettime),
    any(Sysno::clock_nanosleep),
    any(Sysno::nanosleep),
    any(Sysno::getrandom),
    only(Sysno::mmap, "no code", NO_CODE),
    only(Sysno::mprotect, "no code", NO_CODE),
    any(Sysno::munmap),
    any(Sysno::mremap),
    any(Sysno::madvise),
    any(Sysno::brk),
    any(Sysno::futex),
    any(Sysno::sched_yield),
    any(Sysno::sched_getaffinity),
    any(Sysno::sched_setaffinity),
    any(Sysno::getcpu),
    any(Sysno::getpid),
    any(Sysno::gettid),
    any(Sysno::wait4),
    any(Sysno::tgkill),
    any(Sysno::rt_sigaction),
    any(Sysno::rt_sigprocmask),
    any(Sysno::rt_sigreturn),
    any(Sysno::rt_sigtimedwait),
    any(Sysno::sigaltstack),
    any(Sysno::restart_syscall),
    // Threads that have just been started.
    any(Sysno::rseq),
    any(Sysno::set_robust_list),
    only(Sysno::prctl, "PR_SET_NAME", &[Test::is(0, libc::PR_SET_NAME as u64)]),
    any(Sysno::exit),
    any(Sysno::exit_group),
];

/// For directories of the host's.
pub const DIRECTORIES: &[Call] = &[
    any(Sysno::getdents64),
    any(Sysno::readlinkat),
    any(Sysno::fstatfs),
    any(Sysno::getxattr),
    any(Sysno::listxattr),
];

/// For those that are written to.
pub const CHANGES: &[Call] = &[
    any(Sysno::openat),
    any(Sysno::mkdirat),
    any(Sysno::symlinkat),
    any(Sysno::linkat),
    any(Sysno::unlinkat),
    any(Sysno::renameat2),
    any(Sysno::fchmodat),
    any(Sysno::fchownat),
    any(Sysno::utimensat),
    any(Sysno::setxattr),
    any(Sysno::removexattr),
];

/// A list of calls, without doubles: of two, the one counts that looks at no arguments, else the later one.
pub fn join(lists: &[&[Call]]) -> Vec<Call> {
    let mut all: BTreeMap<Sysno, Call> = BTreeMap::new();
    for call in lists.iter().copied().flatten() {
        let known = all.entry(call.call).or_insert(*call);
        if !known.tests.is_empty() {
            *known = *call;
        }
    }
    all.into_values().collect()
}

/// From now on, all threads of this process make these calls only. It cannot be undone.
pub fn allow_only(calls: &[Call]) -> seccompiler::Result<()> {
    seccompiler::apply_filter_all_threads(&compile(calls)?)
}

fn compile(calls: &[Call]) -> Result<BpfProgram, BackendError> {
    let rules = |call: &Call| {
        let rule = |test: &Test| SeccompRule::new(vec![test.condition()?]);
        call.tests.iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    let all = calls.iter().map(|call| Ok((i64::from(call.call.id()), rules(call)?)));
    let all = all.collect::<Result<BTreeMap<_, _>, BackendError>>()?;
    SeccompFilter::new(all, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const TRIED: &str = "LODGER_TEST_CALL";

    /// In the process that the test starts: a call under the filter.
    #[test]
    fn a_process_that_is_locked_down() {
        let Some(tried) = std::env::var_os(TRIED) else { return };
        allow_only(&join(&[BASE])).unwrap();
        let open = |flags| nix::fcntl::open("/dev/null", flags, nix::sys::stat::Mode::empty()).map(drop);
        let map = |protection| {
            let (length, flags) = (std::num::NonZeroUsize::MIN, nix::sys::mman::MapFlags::MAP_PRIVATE);
            // SAFETY: a new mapping replaces nothing.
            unsafe { nix::sys::mman::mmap_anonymous(None, length, protection, flags) }.map(drop)
        };
        use nix::fcntl::OFlag;
        use nix::sys::mman::ProtFlags;
        match tried.to_str().unwrap() {
            "read" => open(OFlag::O_RDONLY).unwrap(),
            "write" => open(OFlag::O_WRONLY).unwrap(),
            "data" => map(ProtFlags::PROT_READ).unwrap(),
            "code" => map(ProtFlags::PROT_READ | ProtFlags::PROT_EXEC).unwrap(),
            "socket" => drop(std::os::unix::net::UnixDatagram::unbound()),
            // SAFETY: the call has no preconditions; this is its number for x32.
            "x32" => _ = unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) },
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_not_on_the_list_ends_the_process() {
        for (tried, allowed) in [
            ("read", true),
            ("write", false),
            ("data", true),
            ("code", false),
            ("socket", false),
            ("x32", false),
        ] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let name = "lockdown::calls::tests::a_process_that_is_locked_down";
            command.args(["--exact", name, "--test-threads", "1"]).env(TRIED, tried);
            let output = command.output().unwrap();
            let ended = (output.status.success(), output.status.signal());
            let expected = if allowed { (true, None) } else { (false, Some(libc::SIGSYS)) };
            assert_eq!(ended, expected, "{tried}: {output:?}");
        }
    }

    #[test]
    fn the_wider_rule_counts() {
        let of = |lists: &[&[Call]]| {
            join(lists).into_iter().find(|call| call.call == Sysno::openat).map(|call| call.only)
        };
        assert_eq!(
            (of(&[BASE]), of(&[BASE, CHANGES]), of(&[CHANGES, BASE])),
            (Some("to read"), Some(""), Some(""))
        );
    }
}
