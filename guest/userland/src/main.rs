//! The default userland: not written yet.

fn main() {}
