//! Programs that people run.

use super::{How, Job, Row, Section};

/// Programs that people run.
pub const SECTION: Section = Section { name: "real work", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "1000-true",
        title: "a shell starts true 1000 times",
        what: "a shell that starts the program `true` 1000 times and waits for each, with its own start (and the boot); \
               natively it is the same shell, the one of the default userland",
        why: "A thousand forks, execs and page-ins of a program of some megabytes, hundreds of calls each.",
        how: How::Script,
    },
    Row {
        name: "sh-1000-true",
        title: "sh starts true 1000 times",
        what: "a loop in busybox's `sh` that starts busybox's `true` 1000 times and waits for each",
        why: "A thousand forks and execs of a small static program.",
        how: How::Work(Job::Trues),
    },
    Row {
        name: "tar",
        title: "tar of a source tree",
        what: "busybox's `tar` of Lodger's own sources, from memory to memory",
        why: "Mostly calls: a stat, an open, a few reads and writes and a close a file.",
        how: How::Work(Job::Tar),
    },
    Row {
        name: "find-10k",
        title: "find over 10,000 files",
        what: "busybox's `find -type f` over 10,000 files in 100 folders, in memory",
        why: "A stat a file.",
        how: How::Work(Job::Find),
    },
    Row {
        name: "gzip",
        title: "gzip of that tar",
        what: "busybox's `gzip` of a tar of Lodger's own sources",
        why: "Arithmetic, which runs natively, and a read or write for every few KiB.",
        how: How::Work(Job::Gzip),
    },
    Row {
        name: "sqlite-rows",
        title: "sqlite, 100,000 rows",
        what: "the host's `sqlite3`: 100,000 rows inserted in one transaction, with an index, in memory",
        why: "Mostly arithmetic; the pages are written in the end.",
        how: How::Work(Job::SqliteRows),
    },
    Row {
        name: "sqlite-commits",
        title: "sqlite, 300 transactions",
        what: "the host's `sqlite3`: 300 rows, each in a transaction of its own, in memory",
        why: "Calls: each transaction writes a journal, syncs and removes it.",
        how: How::Work(Job::SqliteCommits),
    },
    Row {
        name: "gcc",
        title: "gcc compiles a file",
        what: "the host's `gcc -ffreestanding -O1 -c` of a file of 60 functions: the driver, the compiler, the assembler",
        why: "Mostly arithmetic; three execs, and the pages of a large program.",
        how: How::Work(Job::Gcc),
    },
];
