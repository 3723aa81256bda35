//! What hostile programs get.

use super::{How, Row, Section};

/// What hostile programs get.
pub const SECTION: Section = Section { name: "exposure", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "demo-peek",
        title: "read another process's secret",
        what: "a guest program reads the memory of another one through a pointer",
        why: "On TT all windows are mapped in the one address space; on SKAS the other process's memory has no address.",
        how: How::Demo("peek"),
    },
    Row {
        name: "demo-poke",
        title: "change another's variable",
        what: "a guest program writes to the memory of another one through a pointer",
        why: "As peek: what is mapped writable for one is mapped writable for all.",
        how: How::Demo("poke"),
    },
    Row {
        name: "demo-kernel-read",
        title: "read the kernel's memory",
        what: "a guest program looks for another user's file in guest RAM and in the kernel's heap",
        why: "On TT guest RAM and the heap of the kernel lie in the address space of the guest; no stub of SKAS maps them.",
        how: How::Demo("kernel-read"),
    },
    Row {
        name: "demo-root",
        title: "become root by a write",
        what: "a guest program overwrites its own credentials in the kernel's memory",
        why: "Credentials are words in the kernel's heap, which TT cannot protect from the guest.",
        how: How::Demo("root"),
    },
    Row {
        name: "demo-crash",
        title: "crash the kernel",
        what: "a guest program scribbles over the kernel",
        why: "On TT the instance ends, with a report; on SKAS only the program that tried.",
        how: How::Demo("crash"),
    },
];
