//! What this process gives up before guests run, so that one who has taken it over has little of the host: rights,
//! descriptors, files that nobody named, and nearly all system calls.
//!
//! Capabilities and [`files`] are a thread's own matter, and the filter of calls is better not inherited by stubs. So there
//! are two times to do it: before the host starts, with one thread ([`descriptors`], [`dumps`], [`privileges`],
//! [`capabilities`], [`files`]); and when all is there that a guest needs, for all threads at once ([`calls`]).

pub mod calls;
pub mod capabilities;
pub mod descriptors;
pub mod dumps;
pub mod files;
pub mod privileges;
