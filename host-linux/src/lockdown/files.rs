//! Which files of the host can be opened: Landlock (`landlock(7)`), as far as the host has it.
//!
//! Stubs belong to the same domain as the kernel process, or it could not trace them nor read what the host says of them. So
//! it is made before the first of them is. What is open already stays open.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::stat::{SFlag, fstat};

/// What the host says of itself, and of its processes.
const PROC: &str = "/proc";
/// The newest version of which everything is used.
const NEWEST: ABI = ABI::V6;

/// Why the host refuses it.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restricted {
    /// All of what was asked for, or as far as this version goes.
    On(ABI),
    /// The host has no Landlock.
    Missing,
    /// Its version cannot let files be moved between directories, and there is one that is written to.
    TooOld,
}

impl Restricted {
    /// Whether nothing of what was asked for is missing.
    pub fn is_complete(self) -> bool {
        matches!(self, Restricted::On(version) if version >= NEWEST)
    }
}

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restricted::On(version) if self.is_complete() => write!(f, "on (Landlock {version})"),
            Restricted::On(version) => write!(f, "on, as far as this host's Landlock {version} goes"),
            Restricted::Missing => f.write_str("not there: this host has no Landlock"),
            Restricted::TooOld => {
                f.write_str("not used: this host's Landlock is too old for directories that are written to")
            }
        }
    }
}

/// From now on, this thread and all that it starts open only what lies below `directories`, to write only where that is said
/// (true); `/proc`, to read; and `streams` again, if they are devices. It connects to nothing, and signals nobody but its own.
pub fn restrict(directories: &[(&Path, bool)], streams: &[BorrowedFd<'_>]) -> Result<Restricted, Refusal> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if directories.iter().any(|(_, write)| *write) {
        // Without this right, moving is always refused.
        let needed = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if needed.handle_access(AccessFs::Refer).is_err() {
            return Ok(Restricted::TooOld);
        }
    }
    rules = rules.handle_access(AccessNet::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
    let mut rules = rules.create()?.add_rule(PathBeneath::new(PathFd::new(PROC)?, read))?;
    for (directory, write) in directories {
        let access = if *write { read | writing() } else { read };
        rules = rules.add_rule(PathBeneath::new(PathFd::new(directory)?, access))?;
    }
    for stream in streams {
        let kind = fstat(stream).map(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT);
        if kind == Ok(SFlag::S_IFCHR) {
            rules = rules.add_rule(PathBeneath::new(stream, device))?;
        }
    }
    let status = rules.restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Restricted::Missing,
        (_, LandlockStatus::Available { effective_abi, .. }) => Restricted::On(effective_abi),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Restricted::Missing,
    })
}

/// What guests do to a directory of the host's: they make no devices, sockets or FIFOs there.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::Refer
}
