//! Limits that `/proc/sys` shows and sets.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EINVAL, Result};

/// A limit that can be set.
pub struct Limit {
    value: AtomicU64,
    least: u64,
    most: u64,
}

impl Limit {
    /// A limit that can be set up to `most`.
    pub fn new(value: u64, most: u64) -> Limit {
        Limit::between(value, 0, most)
    }

    /// A limit that can be set from `least` to `most`.
    pub fn between(value: u64, least: u64, most: u64) -> Limit {
        Limit { value: AtomicU64::new(value), least, most }
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Sets it; EINVAL.
    pub fn set(&self, value: u64) -> Result<()> {
        if !(self.least..=self.most).contains(&value) {
            return Err(EINVAL);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}
