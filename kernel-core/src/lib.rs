//! Lodger's kernel core: everything a kernel decides, and nothing about the machine it runs on.
//!
//! # Lock order
//!
//! Locks are taken from left to right, and none is held across a suspension:
//!
//! `process tree -> thread group -> what a tracer knows of a task -> file objects that are never mapped (pipe, socket,
//! terminal, epoll, semaphore set, message queue, futexes) ->
//! address space (mm) -> mounts (see vfs/mount) -> inode, shared memory segment and page cache -> ram -> wait queue ->
//! run queue, timers`
//!
//! The numbers of a PID namespace and the counts of namespaces have locks under which no other is taken.
//!
//! What was rewritten in an address space comes before the address space itself.
//!
//! A store ([`mm::cache::Store`]), and what of a page cache is held while it is used, come before the address space.
//!
//! A copy to or from a guest takes the lock of its address space and what is right of it. So an inode or page cache lock
//! must not be held across such a copy (pin the frames, unlock, copy), while a pipe's may. Wake after unlock.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod abi;
pub mod arch;
pub mod block;
pub mod boot;
pub mod debug;
pub mod errno;
pub mod fs;
pub mod host;
pub mod io;
pub mod ipc;
pub mod kernel;
pub mod log_ring;
pub mod mm;
#[cfg(test)]
mod model;
pub mod sched;
pub mod services;
pub mod sync;
pub mod syscall;
pub mod task;
#[cfg(test)]
mod tests;
pub mod tty;
pub mod vfs;
