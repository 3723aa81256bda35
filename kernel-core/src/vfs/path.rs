//! Paths: a place in the tree of mounts.

/// A place in the tree: a mount and a directory entry in it.
#[derive(Clone)]
pub struct Path {}
