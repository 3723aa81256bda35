//! Processes and threads come and go.

use super::{How, Row, Section};

/// Processes and threads come and go.
pub const SECTION: Section = Section { name: "processes", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "fork-wait",
        title: "fork, exit, wait",
        what: "a child that ends at once, and the wait for it",
        why: "SKAS gives the child a stub that an ended process has left and maps its memory there in one batch; TT gives it a \
              ready thread and remaps only what differs between parent and child, which have the same addresses.",
        how: How::Inside,
    },
    Row {
        name: "fork-exec-wait",
        title: "fork, exec, exit, wait",
        what: "a child that executes a static program that ends at once, and the wait for it",
        why: "As fork, and the mappings of a new program, whose pages come from the page cache: on SKAS in a stub, on TT in \
              another window of the one address space.",
        how: How::Inside,
    },
    Row {
        name: "posix-spawn",
        title: "posix_spawn, exit, wait",
        what: "posix_spawn of a static program that ends at once, and the wait for it",
        why: "As fork-exec-wait without a copy of the address space, but before the exec the C library resets each signal: \
              some 120 calls more, which are cheap only where a call is.",
        how: How::Inside,
    },
    Row {
        name: "thread",
        title: "create and join a thread",
        what: "pthread_create of a thread that ends at once, and pthread_join",
        why: "Some ten trapped calls and two switches between threads of one address space.",
        how: How::Inside,
    },
    Row {
        name: "two-processes",
        title: "two processes compute at once",
        what: "1000 steps of arithmetic in each of two forked processes, until both have done them",
        why: "A guest has one virtual processor, so its processes take turns where native ones run side by side.",
        how: How::Parallel,
    },
    Row {
        name: "two-threads",
        title: "two threads compute at once",
        what: "the same in two threads of one process",
        why: "As with two processes.",
        how: How::Parallel,
    },
];
