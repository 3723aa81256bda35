//! Guests trapped by tracing.

use host_linux::backend::Trap;

mod either_trap;

const TRAP: Trap = Trap::Ptrace;
