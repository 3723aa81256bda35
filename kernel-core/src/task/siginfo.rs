//! What comes with a signal.

use linux_raw_sys::general as sys;

/// `siginfo_t` without its padding. Which field of the payload counts depends on `code`, see `sigaction(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// 1 to 64.
    pub signal: u8,
    /// `si_errno`.
    pub errno: i32,
    /// `SI_*`, `SEGV_*`, `CLD_*`.
    pub code: i32,
    /// The rest.
    pub payload: Payload,
}

/// The union of `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `kill`, `tgkill`, `sigqueue`: sender and value.
    Sender {
        /// Process id.
        pid: u32,
        /// Real user id.
        uid: u32,
        /// `si_value`.
        value: u64,
    },
    /// A child changed state.
    Child {
        /// Process id.
        pid: u32,
        /// Real user id.
        uid: u32,
        /// Exit status or signal.
        status: i32,
        /// User time in clock ticks.
        utime: i64,
        /// System time in clock ticks.
        stime: i64,
    },
    /// A fault at an address.
    Address(u64),
    /// A POSIX timer.
    Timer {
        /// The timer's id.
        id: i32,
        /// Missed expirations; known when the signal is taken.
        overrun: i32,
        /// `si_value`.
        value: u64,
        /// Which of the timer's settings it is of.
        setting: u32,
    },
    /// `SIGIO`: band event and descriptor.
    Poll {
        /// Events.
        band: i64,
        /// Descriptor.
        fd: i32,
    },
    /// A seccomp filter's trap.
    Syscall {
        /// Address of the call.
        addr: u64,
        /// Its number.
        nr: i32,
        /// `AUDIT_ARCH_*`.
        arch: u32,
    },
}

impl SigInfo {
    /// A signal of the kernel itself, without a sender.
    pub fn kernel(signal: u8) -> SigInfo {
        SigInfo {
            signal,
            errno: 0,
            code: sys::SI_KERNEL as i32,
            payload: Payload::Sender { pid: 0, uid: 0, value: 0 },
        }
    }

    /// A signal that a task sent, with `code` `SI_USER`, `SI_TKILL` or the like.
    pub fn sent(signal: u8, code: i32, pid: u32, uid: u32) -> SigInfo {
        SigInfo { signal, errno: 0, code, payload: Payload::Sender { pid, uid, value: 0 } }
    }

    /// With the user id that `translate` makes of it, if it has one.
    pub fn with_uid(mut self, translate: impl FnOnce(u32) -> u32) -> SigInfo {
        if let Payload::Sender { uid, .. } | Payload::Child { uid, .. } = &mut self.payload {
            *uid = translate(*uid);
        }
        self
    }

    /// With another process id, if it has one.
    pub fn with_pid(mut self, new: u32) -> SigInfo {
        if let Payload::Sender { pid, .. } | Payload::Child { pid, .. } = &mut self.payload {
            *pid = new;
        }
        self
    }

    /// Whether it came from a process that the receiver cannot see, or from the kernel.
    pub fn is_from_outside(&self) -> bool {
        matches!(self.payload, Payload::Sender { pid: 0, .. })
    }

    /// A fault at an address.
    pub fn fault(signal: u8, code: i32, addr: u64) -> SigInfo {
        SigInfo { signal, errno: 0, code, payload: Payload::Address(addr) }
    }

    /// The address that faulted, if that is what it tells of.
    pub fn fault_address(&self) -> Option<u64> {
        match self.payload {
            Payload::Address(addr) if matches!(u32::from(self.signal), sys::SIGSEGV | sys::SIGBUS) => {
                Some(addr)
            }
            _ => None,
        }
    }
}
