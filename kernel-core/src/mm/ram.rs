//! Guest RAM: which physical ranges are free, reserved, committed and shared.

use alloc::sync::Arc;
use core::ops::Range;

use crate::errno::Result;
use crate::host::{Frames, Phys};

/// Guest RAM and its accounting.
pub struct Ram {
    /// The bytes.
    pub frames: Arc<dyn Frames>,
    limit: u64,
}

impl Ram {
    /// RAM of which at most `limit_bytes` are committed at a time.
    pub fn new(frames: Arc<dyn Frames>, limit_bytes: u64) -> Arc<Ram> {
        Arc::new(Ram { frames, limit: limit_bytes })
    }

    /// Bytes that may be committed (`MemTotal`).
    pub fn total(&self) -> u64 {
        self.limit
    }

    /// Bytes that are not committed (`MemFree`).
    pub fn free(&self) -> u64 {
        self.limit
    }
}
