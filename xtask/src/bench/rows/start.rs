//! The life of the shortest program.

use super::{How, Row, Section};

/// The life of the shortest program.
pub const SECTION: Section = Section { name: "a start", rows: ROWS };

const ROWS: &[Row] = &[Row {
    name: "boot-echo",
    title: "boot to the end of echo",
    what: "the start of a program that prints a word, to its end; in a guest with the boot of the kernel before \
               and the end of the instance after it",
    why: "Lodger starts a host process, its kernel, init as PID 1 and then the program; nothing of the root file \
              system is copied before it is used.",
    how: How::Life,
}];
