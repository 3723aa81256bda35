//! `struct timespec` and its kin.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EINVAL, Result};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// `struct timespec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeSpec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: i64,
}

impl TimeSpec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> TimeSpec {
        TimeSpec { sec: (ns / SECOND_NS) as i64, nsec: (ns % SECOND_NS) as i64 }
    }

    /// In nanoseconds, as far as they go; EINVAL if it is negative or not normalised.
    pub fn to_ns(self) -> Result<u64> {
        let nsec = u64::try_from(self.nsec).ok().filter(|nsec| *nsec < SECOND_NS).ok_or(EINVAL)?;
        let sec = u64::try_from(self.sec).map_err(|_| EINVAL)?;
        Ok(sec.saturating_mul(SECOND_NS).saturating_add(nsec))
    }
}
