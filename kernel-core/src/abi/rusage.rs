//! `struct rusage`, `struct tms`, `struct timeval`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timeval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeVal {
    /// Seconds.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

impl TimeVal {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> TimeVal {
        TimeVal { sec: (ns / 1_000_000_000) as i64, usec: (ns % 1_000_000_000 / 1000) as i64 }
    }
}

/// `struct rusage`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rusage {
    user: TimeVal,
    system: TimeVal,
    /// Largest resident size in KiB.
    pub max_rss: i64,
    rest: [i64; 13],
}
static_assertions::const_assert_eq!(size_of::<Rusage>(), 144);

impl Rusage {
    /// With these counts: faults, and switches to other tasks, as it waited and as they could run.
    pub fn with_counts(mut self, [faults, waits, preemptions]: [u64; 3]) -> Rusage {
        (self.rest[3], self.rest[11], self.rest[12]) = (faults as i64, waits as i64, preemptions as i64);
        self
    }

    /// With these times in nanoseconds, user and system, and no counts.
    pub fn of_times((user, system): (u64, u64)) -> Rusage {
        Rusage { user: TimeVal::from_ns(user), system: TimeVal::from_ns(system), ..Rusage::default() }
    }
}
