//! `struct sigevent`. Source: `sigevent(3type)`.

use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// How a program wants to be told of something.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigEvent {
    /// Goes with the signal (`sigev_value`).
    pub value: u64,
    /// Which signal.
    pub signal: i32,
    /// `SIGEV_*`.
    pub notify: u32,
    /// The thread, for `SIGEV_THREAD_ID`.
    pub tid: i32,
    padding: [u32; 11],
}
const_assert_eq!(size_of::<SigEvent>(), 64);
