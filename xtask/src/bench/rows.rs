//! The table of rows: all that `bench` and `compare` measure, in the order in which it is shown.

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
    /// The whole life of the bench program that echoes a word, from outside.
    Life,
    /// A script of the userland's `sh` from outside, its start included.
    Script,
    /// A `sh` that waits for input: memory of all host processes of the instance.
    IdleMemory,
    /// What [`SLEEPERS`] sleeping programs add to that, divided by their number.
    ProcessMemory,
    /// The demo of that name.
    Demo(&'static str),
}

/// How many programs sleep in [`How::ProcessMemory`].
pub const SLEEPERS: usize = 32;

/// How often the script starts `true`.
pub const TRUES: usize = 1000;

impl Row {
    /// What its figures count.
    pub fn unit(&self) -> Unit {
        match self.how {
            How::Inside | How::Life | How::Script => Unit::Time,
            How::IdleMemory | How::ProcessMemory => Unit::Memory,
            How::Demo(_) => Unit::Exposure,
        }
    }
}

/// All rows.
pub const ALL: &[Row] = &[
    Row {
        name: "boot-echo",
        title: "boot to the end of echo",
        what: "the start of a program that prints a word, to its end; in a guest with the boot of the kernel before \
               and the end of the instance after it",
        why: "Lodger starts a host process, its kernel, init as PID 1 and then the program; nothing of the root file \
              system is copied before it is used.",
        how: How::Life,
    },
    Row {
        name: "getpid",
        title: "getpid",
        what: "the cheapest system call",
        why: "A call stops the traced thread of the guest and wakes the kernel's thread, and back again: two switches \
              of host threads and three ptrace requests, where native Linux enters its kernel once.",
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
    Row {
        name: "1000-true",
        title: "a shell starts true 1000 times",
        what: "a shell that starts the program `true` 1000 times and waits for each, with its own start (and the boot); \
               natively it is the same shell, the one of the default userland",
        why: "A thousand forks, execs and page-ins of a program of some megabytes, hundreds of calls each.",
        how: How::Script,
    },
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
        name: "process-memory",
        title: "one more sleeping process",
        what: "what a sleeping program adds to the PSS of all host processes, measured with 32 of them; page tables and \
               what the host's kernel holds for a process are not in it",
        why: "The pages that the program wrote, what Lodger's kernel knows of a task, and on SKAS the stub's own pages.",
        how: How::ProcessMemory,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_all_that_is_shown_of_them() {
        for (at, row) in ALL.iter().enumerate() {
            assert!(row.title.len() <= 32, "{} is too long a title", row.title);
            assert!(row.why.ends_with('.') && !row.what.is_empty(), "{}", row.name);
            assert!(ALL[..at].iter().all(|other| other.name != row.name), "{} is there twice", row.name);
        }
    }

    #[test]
    fn the_program_has_a_case_for_each_row_inside_it() {
        let cases = include_str!("../../../tests/bench/src/cases.rs");
        for row in ALL.iter().filter(|row| row.how == How::Inside) {
            assert!(cases.contains(&format!("Case {{ name: \"{}\"", row.name)), "{}", row.name);
        }
    }
}
