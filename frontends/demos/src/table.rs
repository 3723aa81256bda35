//! The list of demos: what each tries, what each backend promises, and why it can.

use crate::Kind;
use crate::judge::{self, Judge};

/// What a demo does.
pub enum Show {
    /// Runs the guest's attack of this name, and judges what came of it.
    Attack(Judge),
    /// Draws the live mappings of an instance.
    Map,
}

/// What a backend promises of a demo.
pub struct Promise {
    /// What will be seen.
    pub seen: &'static str,
    /// Why.
    pub because: &'static str,
}

/// A demo.
pub struct Demo {
    /// Its name, on the command line and for `guest/demos`.
    pub name: &'static str,
    /// What is tried, in one line.
    pub about: &'static str,
    /// The promise of skas.
    pub skas: Promise,
    /// The promise of tt.
    pub tt: Promise,
    /// How.
    pub show: Show,
}

impl Demo {
    /// What `kind` promises of it.
    pub fn promise(&self, kind: Kind) -> &Promise {
        match kind {
            Kind::Skas => &self.skas,
            Kind::Tt => &self.tt,
        }
    }
}

/// All of them, in the order in which they explain each other.
pub const DEMOS: [Demo; 6] = [
    Demo {
        name: "peek",
        about: "read another process's secret through a pointer",
        skas: Promise {
            seen: "SIGSEGV",
            because: "each process has a host address space of its own; in the attacker's, the victim's addresses \
                      lead nowhere",
        },
        tt: Promise {
            seen: "the attacker has the secret",
            because: "both processes are mapped in one host address space, and no page table stands between them",
        },
        show: Show::Attack(judge::peek),
    },
    Demo {
        name: "poke",
        about: "change another process's variable",
        skas: Promise {
            seen: "SIGSEGV; the variable stays",
            because: "the victim's memory is mapped for the victim and for the kernel, and for nobody else",
        },
        tt: Promise {
            seen: "the victim finds it changed",
            because: "the victim's memory is mapped writable in the address space where the attacker runs",
        },
        show: Show::Attack(judge::poke),
    },
    Demo {
        name: "kernel-read",
        about: "read another user's private file where the kernel keeps it",
        skas: Promise {
            seen: "SIGSEGV",
            because: "all of guest RAM is mapped in the kernel's process only; a guest's has the pages that the \
                      kernel gave it",
        },
        tt: Promise {
            seen: "the attacker has what is in the file",
            because: "the kernel maps all of guest RAM where the guests run too; a file's permissions are checked \
                      by open(2), and a pointer asks nobody",
        },
        show: Show::Attack(judge::kernel_read),
    },
    Demo {
        name: "root",
        about: "overwrite one's own credentials in the kernel, then read a file that only root may read",
        skas: Promise {
            seen: "SIGSEGV; EACCES as before",
            because: "credentials lie in the kernel's heap, and that is in no guest's address space",
        },
        tt: Promise {
            seen: "uid 0, and the file is read",
            because: "who a process is are a few numbers in the kernel's heap, and everybody can write there",
        },
        show: Show::Attack(judge::root),
    },
    Demo {
        name: "crash",
        about: "scribble over the kernel",
        skas: Promise {
            seen: "the attacker dies, all others live on",
            because: "the write faults in the attacker's own address space, and that is the attacker's SIGSEGV",
        },
        tt: Promise {
            seen: "the whole instance is down",
            because: "the kernel's stacks can be written by everybody, and it goes on with what it finds there",
        },
        show: Show::Attack(judge::crash),
    },
    Demo {
        name: "map",
        about: "who can see what, drawn from the live mappings",
        skas: Promise {
            seen: "a picture for each process, the kernel in none",
            because: "the host process of a guest has mapped what is that guest's, and a page or two of Lodger's",
        },
        tt: Promise {
            seen: "one picture with everything in it",
            because: "there is one host address space for all",
        },
        show: Show::Map,
    },
];
