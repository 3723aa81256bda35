//! Tasks (threads), processes (thread groups) and what happens to them.
//!
//! A [`Task`] is one thread: a fiber whose body is the loop in [`run`]. A [`Process`] is a thread group: what its threads
//! share. How processes are related (parents, groups, sessions, zombies) is in the one [`tree`].

pub mod access;
pub mod cgroup;
pub mod clone;
pub mod core_dump;
pub mod cred;
pub mod exec;
pub mod exec_cred;
pub mod exit;
pub mod heap;
pub mod namespaces;
mod oom;
pub mod pid_ns;
pub mod process;
pub mod rlimit;
pub mod rseq;
pub mod run;
pub mod seccomp;
pub mod session;
pub mod siginfo;
pub mod signal;
pub mod thread;
pub mod times;
pub mod trace;
pub mod tree;
pub mod user_dispatch;
pub mod user_ns;
pub mod view;
pub mod wait;
pub mod watched;

pub use process::Process;
pub use thread::Task;
