//! Views of a running instance.
pub mod names;
pub mod strace;
