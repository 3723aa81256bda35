//! Memory of the host.

use super::{How, Row, Section};

/// Memory of the host.
pub const SECTION: Section = Section { name: "memory of the host", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "idle-memory",
        title: "an idle system with a shell",
        what: "the proportional set size (PSS) of all host processes of an instance whose `sh` waits for input; natively \
               of that `sh` alone, without the kernel",
        why: "The kernel, its heap and the pages of the guest that were touched, init's and the shell's; on SKAS also the \
              spawner and a stub for each address space. All tasks of TT share one address space, which counts once.",
        how: How::IdleMemory,
    },
    Row {
        name: "waiting-memory",
        title: "a waiting program, nothing else",
        what: "the proportional set size (PSS) of all host processes of an instance whose only program waits; natively of \
               that program alone",
        why: "As idle-memory, without a shell and its pages.",
        how: How::WaitingMemory,
    },
    Row {
        name: "process-memory",
        title: "one more sleeping process",
        what: "what a sleeping program adds to the PSS of all host processes, measured with 32 of them; page tables and \
               what the host's kernel holds for a process are not in it",
        why: "The pages that the program wrote, what Lodger's kernel knows of a task, and on SKAS the stub's own pages.",
        how: How::ProcessMemory(32),
    },
];
