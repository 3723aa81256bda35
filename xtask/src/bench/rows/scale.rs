//! Many processes, large ones, a large folder.

use super::{How, Row, Section};

/// Many processes, large ones, a large folder.
pub const SECTION: Section = Section { name: "scale", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "fork-among-1",
        title: "fork while 1 other sleeps",
        what: "a fork, exit and wait while another process sleeps",
        why: "What there is beside the two processes should not matter.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-among-10",
        title: "fork while 10 others sleep",
        what: "a fork, exit and wait while 10 other processes sleep",
        why: "What there is beside the two processes should not matter.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-among-100",
        title: "fork while 100 others sleep",
        what: "a fork, exit and wait while 100 other processes sleep",
        why: "What there is beside the two processes should not matter.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-among-1000",
        title: "fork while 1000 others sleep",
        what: "a fork, exit and wait while 1000 other processes sleep",
        why: "What there is beside the two processes should not matter.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "switch-10",
        title: "switch in a ring of 10",
        what: "one hop round a ring of 10 forked processes joined by pipes",
        why: "What is not running should not matter, but for what the processor's caches hold.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "switch-100",
        title: "switch in a ring of 100",
        what: "one hop round a ring of 100 forked processes joined by pipes",
        why: "What is not running should not matter, but for what the processor's caches hold.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "switch-1000",
        title: "switch in a ring of 1000",
        what: "one hop round a ring of 1000 forked processes joined by pipes",
        why: "What is not running should not matter, but for what the processor's caches hold.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-1m",
        title: "fork of 1 MiB",
        what: "a fork, exit and wait by a process that has written to 1 MiB",
        why: "Lodger copies ranges, not pages; natively each page has an entry to be copied.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-16m",
        title: "fork of 16 MiB",
        what: "a fork, exit and wait by a process that has written to 16 MiB",
        why: "Lodger copies ranges, not pages; natively each page has an entry to be copied.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "fork-256m",
        title: "fork of 256 MiB",
        what: "a fork, exit and wait by a process that has written to 256 MiB",
        why: "Lodger copies ranges, not pages; natively each page has an entry to be copied.",
        how: How::Scale { samples: 3 },
    },
    Row {
        name: "dir-100k",
        title: "a file of a folder of 100,000",
        what: "a file created, looked up by name and removed, in a folder that grows to 100,000 files",
        why: "Four trapped calls, and lookups whose price must not depend on the size of the folder.",
        how: How::Scale { samples: 1 },
    },
    Row {
        name: "dir-100k-list",
        title: "an entry of a folder of 100,000",
        what: "a folder of 100,000 files listed, divided by their number",
        why: "One trapped call for each few hundred names.",
        how: How::Scale { samples: 1 },
    },
    Row {
        name: "memory-1",
        title: "memory of one process",
        what: "what one sleeping program adds to the PSS of all host processes",
        why: "As process-memory: it should not depend on how many there are.",
        how: How::ProcessMemory(1),
    },
    Row {
        name: "memory-10",
        title: "memory of one of 10 processes",
        what: "what a sleeping program adds to the PSS of all host processes, measured with 10 of them",
        why: "As process-memory: it should not depend on how many there are.",
        how: How::ProcessMemory(10),
    },
    Row {
        name: "memory-100",
        title: "memory of one of 100 processes",
        what: "what a sleeping program adds to the PSS of all host processes, measured with 100 of them",
        why: "As process-memory: it should not depend on how many there are.",
        how: How::ProcessMemory(100),
    },
    Row {
        name: "memory-1000",
        title: "memory of one of 1000 processes",
        what: "what a sleeping program adds to the PSS of all host processes, measured with 1000 of them",
        why: "As process-memory: it should not depend on how many there are.",
        how: How::ProcessMemory(1000),
    },
];
