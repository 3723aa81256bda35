//! `/proc/locks`: who has locked what. Source: `proc_locks(5)`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::Facts;
use crate::errno::Result;
use crate::vfs::caller::Caller;
use crate::vfs::inode::Device;
use crate::vfs::locks::{LOCK_END, LockKind, LockRange};

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockSort {
    /// By `F_SETLK`.
    Process,
    /// By `F_OFD_SETLK`.
    OpenFile,
    /// By `flock(2)`.
    Whole,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldLock {
    /// How it was taken.
    pub sort: LockSort,
    /// For reading or writing.
    pub kind: LockKind,
    /// The kernel's number of a process that has it.
    pub pid: u32,
    /// The file's device.
    pub device: Device,
    /// The file's number.
    pub ino: u64,
    /// What of the file.
    pub range: LockRange,
}

/// With the numbers of processes that the caller has; those of processes it cannot see are left out, as on Linux.
pub(super) fn locks(facts: &Facts, caller: &dyn Caller) -> Result<Vec<u8>> {
    let mut text = String::new();
    let mut number = 0;
    for lock in facts.source.locks() {
        let (sort, pid) = match (lock.sort, caller.pid_ns().shown(lock.pid)) {
            // It is nobody's in particular.
            (LockSort::OpenFile, _) => ("OFDLCK", -1),
            (_, 0) => continue,
            (LockSort::Process, pid) => ("POSIX ", i64::from(pid)),
            (LockSort::Whole, pid) => ("FLOCK ", i64::from(pid)),
        };
        number += 1;
        let kind = if lock.kind == LockKind::Write { "WRITE" } else { "READ" };
        let (device, ino, start) = (lock.device, lock.ino, lock.range.start);
        let _ = write!(text, "{number}: {sort} ADVISORY  {kind} {pid} ");
        let _ = write!(text, "{:02x}:{:02x}:{ino} {start} ", device.major, device.minor);
        let _ = match lock.range.end {
            LOCK_END => writeln!(text, "EOF"),
            end => writeln!(text, "{end}"),
        };
    }
    Ok(text.into_bytes())
}
