//! Guest RAM: which physical ranges are free, reserved, committed and shared.

use alloc::sync::Arc;

use crate::host::Frames;

/// Guest RAM and its accounting.
pub struct Ram {
    /// The bytes.
    pub frames: Arc<dyn Frames>,
}
