//! What reads data of others, and the system calls, as targets for a fuzzer: functions of bytes that end, and do not panic.
//!
//! `cargo xtask fuzz` runs them under libFuzzer, which looks for bytes that lead to new code ([`main`](../main.rs));
//! `tests/replay.rs` runs every input that is kept in `corpus/` and `crashes/`, and changes of them ([`mutate`]), and needs
//! neither libFuzzer nor a C++ compiler.
//!
//! Most targets are system calls that a guest makes on FakeHost ([`instance`]), so what is tried is all that is behind them.

// The simulation: guests that do anything, and what must be true whatever they do.
#[path = "../../../kernel-core/examples/sim/guest.rs"]
mod guest;
#[path = "../../../kernel-core/examples/sim/invariants.rs"]
mod invariants;
#[path = "../../../kernel-core/examples/sim/machine.rs"]
mod machine;
#[path = "../../../kernel-core/examples/sim/random.rs"]
pub mod random;
#[path = "../../../kernel-core/examples/sim/simulation.rs"]
mod simulation;

mod archive;
mod call;
mod calls;
mod cow;
mod elf;
mod ext4;
mod instance;
mod mount;
pub mod mutate;
mod native;
mod partitions;
mod path;
mod processor;
mod seccomp;
mod sigreturn;
mod terminal;
mod zygote;

/// Something that is fed bytes.
pub struct Target {
    /// The folder of its inputs.
    pub name: &'static str,
    /// Takes any bytes. A panic is a fault.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    Target { name: "archive", run: archive::run },
    Target { name: "calls", run: calls::run },
    Target { name: "cow", run: cow::run },
    Target { name: "elf", run: elf::run },
    Target { name: "ext4", run: ext4::run },
    Target { name: "mount", run: mount::run },
    Target { name: "native", run: native::run },
    Target { name: "partitions", run: partitions::run },
    Target { name: "path", run: path::run },
    Target { name: "seccomp", run: seccomp::run },
    Target { name: "sigreturn", run: sigreturn::run },
    Target { name: "terminal", run: terminal::run },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
