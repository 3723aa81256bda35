//! Page caches: the bytes of a file, kept in guest RAM so that they can be mapped.

/// The contents of one file, or of one piece of shared anonymous memory.
pub struct PageCache {}
