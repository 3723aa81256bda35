//! Tasks.
pub mod cred;
pub mod session;
pub mod siginfo;
