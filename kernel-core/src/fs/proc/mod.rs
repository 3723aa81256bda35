//! `/proc`: the kernel's view of processes and of itself, as files. Source: `proc(5)`.
pub mod source;
