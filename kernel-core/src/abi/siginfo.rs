//! `siginfo_t`, `stack_t` and `struct kernel_sigaction` as x86-64 programs see them.

use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EINVAL, Result};
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::AltStack;
use crate::task::signal::action::{ActionFlags, SignalAction};

/// `siginfo_t`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawSigInfo {
    signal: i32,
    errno: i32,
    code: i32,
    pad: i32,
    payload: [u64; 14],
}
const_assert_eq!(size_of::<RawSigInfo>(), 128);

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl RawSigInfo {
    /// As the guest reads it.
    pub fn new(info: &SigInfo) -> RawSigInfo {
        let mut raw = RawSigInfo {
            signal: i32::from(info.signal),
            errno: info.errno,
            code: info.code,
            ..RawSigInfo::default()
        };
        let words = &mut raw.payload;
        match info.payload {
            Payload::Sender { pid, uid, value } => {
                words[0] = pair(pid, uid);
                words[1] = value;
            }
            Payload::Child { pid, uid, status, utime, stime } => {
                words[0] = pair(pid, uid);
                words[1] = status as u32 as u64;
                words[2] = utime as u64;
                words[3] = stime as u64;
            }
            Payload::Address(addr) => words[0] = addr,
            Payload::Timer { id, overrun, value, .. } => {
                words[0] = pair(id as u32, overrun as u32);
                words[1] = value;
            }
            Payload::Poll { band, fd } => {
                words[0] = band as u64;
                words[1] = fd as u32 as u64;
            }
            Payload::Syscall { addr, nr, arch } => {
                words[0] = addr;
                words[1] = pair(nr as u32, arch);
            }
        }
        raw
    }

    /// What a guest passes to `rt_sigqueueinfo`, for `signal`.
    pub fn to_info(self, signal: u8) -> SigInfo {
        SigInfo {
            signal,
            errno: self.errno,
            code: self.code,
            payload: Payload::Sender {
                pid: self.payload[0] as u32,
                uid: (self.payload[0] >> 32) as u32,
                value: self.payload[1],
            },
        }
    }

    /// `si_signo`.
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// `si_code`.
    pub fn code(&self) -> i32 {
        self.code
    }
}

/// `stack_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawStack {
    base: u64,
    flags: u32,
    pad: u32,
    size: u64,
}
const_assert_eq!(size_of::<RawStack>(), 24);

const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;
const SS_AUTODISARM: u32 = 1 << 31;
/// `MINSIGSTKSZ`.
const MINIMUM: u64 = 2048;

impl RawStack {
    /// As the guest reads it, with its stack pointer at `sp`.
    pub fn new(stack: &AltStack, sp: u64) -> RawStack {
        let state = match stack {
            AltStack { size: 0, .. } => SS_DISABLE,
            _ if stack.contains(sp) => SS_ONSTACK,
            _ => 0,
        };
        let disarm = if stack.auto_disarm { SS_AUTODISARM } else { 0 };
        RawStack { base: stack.base, flags: state | disarm, pad: 0, size: stack.size }
    }

    /// What a guest sets. EINVAL for unknown flags, ENOMEM if it is too small.
    pub fn to_stack(self) -> Result<AltStack> {
        let mode = self.flags & !SS_AUTODISARM;
        if mode == SS_DISABLE {
            return Ok(AltStack::default());
        }
        if mode != 0 && mode != SS_ONSTACK {
            return Err(EINVAL);
        }
        if self.size < MINIMUM {
            return Err(crate::errno::ENOMEM);
        }
        Ok(AltStack { base: self.base, size: self.size, auto_disarm: self.flags & SS_AUTODISARM != 0 })
    }
}

/// `struct kernel_sigaction`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl From<SignalAction> for RawAction {
    fn from(action: SignalAction) -> RawAction {
        RawAction {
            handler: action.handler,
            flags: action.flags.bits(),
            restorer: action.restorer,
            mask: action.mask,
        }
    }
}

impl From<RawAction> for SignalAction {
    /// Unknown flags are dropped, as Linux does.
    fn from(raw: RawAction) -> SignalAction {
        SignalAction {
            handler: raw.handler,
            flags: ActionFlags::from_bits_truncate(raw.flags),
            restorer: raw.restorer,
            mask: raw.mask & !crate::task::signal::UNBLOCKABLE,
        }
    }
}
