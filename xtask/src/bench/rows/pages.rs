//! Mappings and page faults.

use super::{How, Row, Section};

/// Mappings and page faults.
pub const SECTION: Section = Section { name: "memory", rows: ROWS };

const ROWS: &[Row] = &[
    Row {
        name: "mmap-munmap",
        title: "map and unmap an untouched page",
        what: "a page of anonymous memory mapped and unmapped, untouched",
        why: "Two trapped calls that change only the kernel's list of ranges: what was never touched is not mapped on \
              the host.",
        how: How::Inside,
    },
    Row {
        name: "page-touch",
        title: "touch an anonymous page",
        what: "the first write to a page of anonymous memory, with its share of mapping and unmapping 1024 pages",
        why: "One fault maps a chunk of 64 KiB, growing to 2 MiB, and the host fills all its pages at once; natively \
              each page is a fault of its own.",
        how: How::Inside,
    },
    Row {
        name: "file-page",
        title: "touch a page of a mapped file",
        what: "the first read of a page of a mapped file in memory, with its share of mapping and unmapping 1024 pages",
        why: "A fault maps what the page cache holds around it in one batch, as Linux does with its fault-around of 16 \
              pages.",
        how: How::Inside,
    },
];
