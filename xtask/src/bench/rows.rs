//! The rows: all that `bench` and `compare` measure, by sections, in the order in which it is shown.

mod calls;
mod exchange;
mod exposure;
mod footprint;
mod pages;
mod processes;
mod scale;
mod start;
mod work;

use super::placement::Placement;

/// One thing that is measured.
pub struct Row {
    /// A short name: of the row in tables, and what `--filter` looks at.
    pub name: &'static str,
    /// For people, in a picture; at most 32 letters, which the picture has room for.
    pub title: &'static str,
    /// What exactly one operation is.
    pub what: &'static str,
    /// Why the figures are as they are: which mechanism makes them.
    pub why: &'static str,
    /// What is measured, and how.
    pub how: How,
}

/// Rows that have something in common, and a geometric mean.
pub struct Section {
    /// What it is about.
    pub name: &'static str,
    /// What is in it.
    pub rows: &'static [Row],
}

/// All of them.
pub const SECTIONS: &[Section] = &[
    start::SECTION,
    calls::SECTION,
    pages::SECTION,
    processes::SECTION,
    exchange::SECTION,
    work::SECTION,
    footprint::SECTION,
    scale::SECTION,
    exposure::SECTION,
];

/// What a figure counts; less is better in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Memory,
    /// No figure, but what a hostile program got.
    Exposure,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Inside the bench program, by its case of the same name.
    Inside,
    /// Likewise, but it is about more than one processor.
    Parallel,
    /// Likewise, but it is about size, so it takes long: so many samples, in one run.
    Scale {
        /// Samples in all.
        samples: usize,
    },
    /// The whole life of the bench program that echoes a word, from outside.
    Life,
    /// A script of the userland's `sh` from outside, its start included.
    Script,
    /// A script of busybox's `sh`, timed by the bench program.
    Work(Job),
    /// A `sh` that waits for input: memory of all host processes of the instance.
    IdleMemory,
    /// The bench program that waits: memory of all host processes of the instance.
    WaitingMemory,
    /// What so many sleeping programs add to an instance, divided by their number.
    ProcessMemory(usize),
    /// The demo of that name.
    Demo(&'static str),
}

/// A script of `bench/work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// A shell that starts a program again and again.
    Trues,
    /// An archive of a source tree.
    Tar,
    /// A search through many files.
    Find,
    /// A compression.
    Gzip,
    /// Many rows in one transaction.
    SqliteRows,
    /// Many transactions.
    SqliteCommits,
    /// A compiler.
    Gcc,
}

/// How often [`How::Script`] starts `true`.
pub const TRUES: usize = 1000;

impl Row {
    /// What its figures count.
    pub fn unit(&self) -> Unit {
        match self.how {
            How::IdleMemory | How::WaitingMemory | How::ProcessMemory(_) => Unit::Memory,
            How::Demo(_) => Unit::Exposure,
            _ => Unit::Time,
        }
    }

    /// Whether it says anything there.
    pub fn fits(&self, placement: Placement) -> bool {
        match (self.how, placement) {
            (How::Parallel, Placement::One(_)) => false,
            (How::Inside | How::Parallel | How::Life | How::Script | How::Work(_), _) => true,
            (_, Placement::One(_)) => true,
            // Size and memory do not depend on it, and attacks neither.
            (_, Placement::All(_)) => false,
        }
    }

    /// Whether one run is enough: it takes long, or comes to the same every time.
    pub fn once(&self) -> bool {
        matches!(self.how, How::Scale { .. } | How::Demo(_)) || self.is_scale()
    }

    /// Whether it shows how a figure grows with a number.
    pub fn is_scale(&self) -> bool {
        scale::SECTION.rows.iter().any(|row| row.name == self.name)
    }

    /// Whether other kernels are measured too: not in what only Lodger has to answer for, nor with its userland.
    pub fn is_for_peers(&self) -> bool {
        let how =
            matches!(self.how, How::Inside | How::Parallel | How::Life | How::Work(_) | How::WaitingMemory);
        how && !self.is_scale()
    }
}

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_all_that_is_shown_of_them() {
        let mut names: Vec<&str> = all().map(|row| row.name).collect();
        for row in all() {
            assert!(row.title.len() <= 32, "{} is too long a title", row.title);
            assert!(row.why.ends_with('.') && !row.what.is_empty(), "{}", row.name);
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn the_program_has_a_case_for_each_row_inside_it() {
        let cases = include_str!("../../../tests/bench/src/cases.rs");
        let inside = |row: &&Row| matches!(row.how, How::Inside | How::Parallel | How::Scale { .. });
        for row in all().filter(inside) {
            assert!(cases.contains(&format!("(\"{}\", ", row.name)), "{}", row.name);
        }
    }
}
