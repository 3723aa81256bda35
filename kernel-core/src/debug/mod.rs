//! Views of a running instance: what it holds ([`inspect`]), which calls it serves ([`strace`]).

pub mod inspect;
pub mod names;
pub mod strace;
