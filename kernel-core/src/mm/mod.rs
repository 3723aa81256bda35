//! Memory.
pub mod cache;
pub mod ram;
