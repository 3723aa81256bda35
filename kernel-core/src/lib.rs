//! Lodger's kernel core: everything a kernel decides, and nothing about the machine it runs on.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod host;
pub mod sync;
