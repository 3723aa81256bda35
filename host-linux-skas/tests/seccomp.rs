//! Guests trapped by a filter of system calls.

use host_linux::backend::Trap;

mod either_trap;

const TRAP: Trap = Trap::Seccomp;
