//! A traced stub: the `ptrace(2)` requests that this host makes, each from the vCPU thread.

use kernel_core::host::Registers;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::trap::{Raised, Stopped, USER_CS, USER_SS, segment_base};

/// The register set of the XSAVE area.
const NT_X86_XSTATE: usize = 0x202;

/// Why a tracee stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry of a system call, which will not be made.
    Syscall,
    /// A signal is about to be delivered; it is not when the tracee is resumed.
    Signal(i32),
    /// Something of ptrace's own, such as the stop after attaching.
    Other,
    /// It is dead, and reaped.
    Died,
}

/// Kills a child and waits until it is gone: its memory is taken apart on this processor in any case.
pub fn kill_and_reap(pid: i32) {
    let pid = Pid::from_raw(pid);
    // It is not reaped yet, so the number is still its own; it may be dead already.
    let _ = kill(pid, Signal::SIGKILL);
    while let Err(Errno::EINTR) | Ok(WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)) =
        waitpid(pid, Some(WaitPidFlag::__WALL))
    {}
}

/// A process that this thread traces.
#[derive(Clone, Copy)]
pub struct Tracee {
    pid: Pid,
}

impl Tracee {
    /// Attaches to a process that stops itself, and waits until it has. It dies with the tracer.
    pub fn attach(pid: i32) -> Result<Tracee, Errno> {
        let tracee = Tracee { pid: Pid::from_raw(pid) };
        ptrace::seize(tracee.pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        match tracee.wait() {
            Stop::Died => Err(Errno::ESRCH),
            _ => Ok(tracee),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Lets it run until it makes a system call, which stops it and is not made.
    pub fn run_guest(&self) -> Result<(), Errno> {
        ptrace::sysemu(self.pid, None)
    }

    /// Lets it run and make system calls.
    pub fn run_stub(&self) -> Result<(), Errno> {
        ptrace::cont(self.pid, None)
    }

    /// Waits for the next stop.
    pub fn wait(&self) -> Stop {
        let mut status = 0;
        // SAFETY: `status` is a live integer.
        while unsafe { libc::waitpid(self.pid.as_raw(), &mut status, libc::__WALL) } == -1 {
            if Errno::last() != Errno::EINTR {
                return Stop::Died;
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Stop::Died;
        }
        match (libc::WSTOPSIG(status), status >> 16) {
            (signal, 0) if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
            (signal, 0) => Stop::Signal(signal),
            _ => Stop::Other,
        }
    }

    /// Its registers.
    pub fn registers(&self) -> Result<Stopped, Errno> {
        let raw = ptrace::getregs(self.pid)?;
        let regs = Registers {
            rax: raw.rax,
            rbx: raw.rbx,
            rcx: raw.rcx,
            rdx: raw.rdx,
            rsi: raw.rsi,
            rdi: raw.rdi,
            rbp: raw.rbp,
            rsp: raw.rsp,
            r8: raw.r8,
            r9: raw.r9,
            r10: raw.r10,
            r11: raw.r11,
            r12: raw.r12,
            r13: raw.r13,
            r14: raw.r14,
            r15: raw.r15,
            rip: raw.rip,
            rflags: raw.eflags,
            fs_base: raw.fs_base,
            gs_base: raw.gs_base,
        };
        Ok(Stopped { regs, orig_rax: raw.orig_rax, cs: raw.cs })
    }

    /// Sets its registers.
    ///
    /// `orig_rax` becomes -1, or the host would take a result such as -512 for an interrupted call of its own and
    /// restart it. A base that user code cannot have by a system call (it can with WRFSBASE) is refused by the host
    /// and becomes 0; flags that user code cannot change keep their value.
    pub fn set_registers(&self, regs: &Registers) -> Result<(), Errno> {
        ptrace::setregs(
            self.pid,
            libc::user_regs_struct {
                r15: regs.r15,
                r14: regs.r14,
                r13: regs.r13,
                r12: regs.r12,
                rbp: regs.rbp,
                rbx: regs.rbx,
                r11: regs.r11,
                r10: regs.r10,
                r9: regs.r9,
                r8: regs.r8,
                rax: regs.rax,
                rcx: regs.rcx,
                rdx: regs.rdx,
                rsi: regs.rsi,
                rdi: regs.rdi,
                orig_rax: u64::MAX,
                rip: regs.rip,
                cs: USER_CS,
                eflags: regs.rflags,
                rsp: regs.rsp,
                ss: USER_SS,
                fs_base: segment_base(regs.fs_base),
                gs_base: segment_base(regs.gs_base),
                ds: 0,
                es: 0,
                fs: 0,
                gs: 0,
            },
        )
    }

    /// About the signal that it stopped for.
    pub fn signal_info(&self) -> Result<Raised, Errno> {
        let info = ptrace::getsiginfo(self.pid)?;
        // SAFETY: the field is there for every signal; what it means depends on the code.
        let addr = unsafe { info.si_addr() }.addr() as u64;
        Ok(Raised { signal: info.si_signo, code: info.si_code, addr, page_fault: None })
    }

    /// Copies its XSAVE area to `area`; says how many bytes there are.
    pub fn xstate(&self, area: &mut [u8]) -> Result<usize, Errno> {
        let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
        // SAFETY: the vector names a live buffer, which the host fills at most as far as it goes.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_GETREGSET, self.pid.as_raw(), NT_X86_XSTATE, &raw mut vector)
        };
        Errno::result(result).map(|_| vector.iov_len)
    }

    /// Sets its XSAVE area; the host refuses an area that the processor would.
    pub fn set_xstate(&self, area: &[u8]) -> Result<(), Errno> {
        let mut vector = libc::iovec { iov_base: area.as_ptr().cast_mut().cast(), iov_len: area.len() };
        // SAFETY: the vector names a live buffer, which this request only reads.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_SETREGSET, self.pid.as_raw(), NT_X86_XSTATE, &raw mut vector)
        };
        Errno::result(result).map(drop)
    }
}
