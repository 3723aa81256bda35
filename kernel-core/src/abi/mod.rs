//! Layouts that Linux programs expect in memory: plain structures, no logic beyond conversion.
pub mod core_file;
pub mod rusage;
pub mod sigevent;
pub mod siginfo;
pub mod sysv;
pub mod time;
