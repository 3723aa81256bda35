//! File systems and special files.
pub mod archive;
pub mod devpts;
pub mod dev;
pub mod proc;
pub mod stream;
pub mod tmpfs;
