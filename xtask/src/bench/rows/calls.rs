//! Single system calls.

use super::{How, Row, Section};

/// Single system calls.
pub const SECTION: Section = Section { name: "system calls", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "getpid",
        title: "getpid",
        what: "the cheapest system call",
        why: "On SKAS the host turns a call into a signal, whose handler wakes the kernel's thread and sleeps until it may go \
              on; with ptrace, as on TT, the thread stops, and the kernel makes three ptrace requests. On one processor \
              that is two switches of host threads, where native Linux enters its kernel once. On two, and without \
              ptrace, a guest that calls often and the kernel look for each other's sign in memory instead.",
        how: How::Inside,
    },
    Row {
        name: "clock",
        title: "read the clock",
        what: "clock_gettime of the monotonic clock, through the vDSO where there is one",
        why: "On SKAS a guest has the host's pages for it and makes no call; TT has no vDSO for guests, as its own also \
              tells what they must not go by, and so pays for a call.",
        how: How::Inside,
    },
    Row {
        name: "write-null",
        title: "write 4 KiB to /dev/null",
        what: "write of 4 KiB to /dev/null",
        why: "The price of a trapped call alone: nothing looks at the bytes.",
        how: How::Inside,
    },
    Row {
        name: "pread-4k",
        title: "read 4 KiB of a cached file",
        what: "pread of 4 KiB of a file in memory, natively /dev/shm",
        why: "The price of a trapped call as in getpid, and one copy from the page cache straight to the guest's page.",
        how: How::Inside,
    },
    Row {
        name: "stat",
        title: "stat of a file",
        what: "stat of a file in memory, by a path of two names",
        why: "The price of a trapped call, and a path walk in Lodger's own kernel.",
        how: How::Inside,
    },
    Row {
        name: "open-close",
        title: "open and close a file",
        what: "open and close of a file in memory, by a path of three names",
        why: "Two trapped calls, a path walk and a descriptor.",
        how: How::Inside,
    },
    Row {
        name: "write-4k",
        title: "write 4 KiB of a cached file",
        what: "pwrite of 4 KiB of a file in memory, always to the same place",
        why: "As pread-4k, with the copy in the other direction.",
        how: How::Inside,
    },
    Row {
        name: "create-unlink",
        title: "create and remove a file",
        what: "open of a new file, close, unlink, in memory",
        why: "Three trapped calls; the file lives in the kernel's own tmpfs.",
        how: How::Inside,
    },
    Row {
        name: "rename",
        title: "rename a file",
        what: "rename of a file in memory in its folder",
        why: "One trapped call and two path walks.",
        how: How::Inside,
    },
    Row {
        name: "list-100",
        title: "list a folder of 100 files",
        what: "open, read and close of a folder of 100 files",
        why: "A few trapped calls, as one of them gives many names.",
        how: How::Inside,
    },
];
