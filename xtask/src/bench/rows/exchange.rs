//! Processes tell each other something.

use super::{How, Row, Section};

/// Processes tell each other something.
pub const SECTION: Section = Section { name: "communication", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "pipe-ping-pong",
        title: "pipe ping-pong, 2 processes",
        what: "a byte to a forked process and one back: four calls, two switches",
        why: "Four trapped calls and two switches between processes: on SKAS another stub runs, on TT what differs between \
              parent and child is remapped, because a fork gives both the same addresses.",
        how: How::Inside,
    },
    Row {
        name: "futex-ping-pong",
        title: "futex ping-pong, 2 processes",
        what: "a word in shared memory handed to a forked process and back: four calls, two switches",
        why: "As the pipe: the switches cost what they cost there, the calls do less.",
        how: How::Inside,
    },
    Row {
        name: "signal-self",
        title: "a signal to oneself",
        what: "kill of the own process, the handler of the signal and its return",
        why: "Two trapped calls, kill and sigreturn, and a frame written to the guest's stack.",
        how: How::Inside,
    },
    Row {
        name: "segv-handler",
        title: "a handler of SIGSEGV",
        what: "a read of memory that may not be touched, the handler of SIGSEGV and its return",
        why: "A fault stops the guest as a call does; then a frame, the handler and a trapped sigreturn.",
        how: How::Inside,
    },
    Row {
        name: "pipe-64k",
        title: "64 KiB through a pipe",
        what: "64 KiB written to a pipe in one call and read by another process",
        why: "A trapped call a write, one or more a read, and as many switches as the pipe's buffer makes necessary.",
        how: How::Inside,
    },
    Row {
        name: "socket-64k",
        title: "64 KiB through a Unix socket",
        what: "64 KiB written to a Unix stream socket in one call and read by another process",
        why: "As the pipe, with the buffer of a socket.",
        how: How::Inside,
    },
    Row {
        name: "switch-2",
        title: "switch in a ring of 2 processes",
        what: "one hop round a ring of 2 forked processes joined by pipes: a write, a switch, a read",
        why: "Two trapped calls and a switch between copies of one program: another stub on SKAS, a remapping of what differs \
              on TT, where copies want the same addresses.",
        how: How::Inside,
    },
    Row {
        name: "switch-8",
        title: "switch in a ring of 8 processes",
        what: "the same with 8 forked processes",
        why: "As with 2: a hop concerns two processes, however many there are.",
        how: How::Inside,
    },
    Row {
        name: "switch-64",
        title: "switch in a ring of 64 processes",
        what: "the same with 64 forked processes",
        why: "As with 8, with more state than the processor's nearest caches hold.",
        how: How::Inside,
    },
    Row {
        name: "switch-8-exec",
        title: "switch in a ring of 8 programs",
        what: "the same with 8 processes that each executed the program anew",
        why: "The case that TT was made for: programs of their own lie side by side in the one address space, so a switch \
              remaps nothing; on SKAS it is the same as with forked processes.",
        how: How::Inside,
    },
];
