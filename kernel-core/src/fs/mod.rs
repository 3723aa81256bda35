//! File systems and special files.
