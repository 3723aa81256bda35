//! What is drawn: who runs in which host address space, what lies in it, and who sees what. Nothing of it says on which
//! backend it was found but the title.

use serde::{Deserialize, Serialize};

/// The version of a saved picture.
pub const SCHEMA: &str = "lodger-map/1";

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// [`SCHEMA`].
    pub schema: String,
    /// The backend it was found on.
    pub backend: String,
    /// Who runs: the guest processes, and the kernel as the last.
    pub parties: Vec<Party>,
    /// Host address spaces; the kernel's is the last.
    pub spaces: Vec<Space>,
    /// What each party sees, in their order.
    pub sight: Vec<Sight>,
    /// Guest RAM in use, in bytes.
    pub ram_used: u64,
}

/// A guest process, or the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its process id in the guest; none of the kernel.
    pub pid: Option<u32>,
    /// The host process whose address space it runs in.
    pub host: i32,
    /// Bytes of memory that are its alone.
    pub bytes: u64,
    /// The addresses that it may map, first and one past the last; none of the kernel.
    pub window: Option<(u64, u64)>,
}

/// A host address space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The host process.
    pub host: i32,
    /// Which parties run in it.
    pub runs: Vec<usize>,
    /// What can be reached in it, by address.
    pub blocks: Vec<Block>,
}

/// Whose memory something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Whose {
    /// A party's.
    Party(usize),
    /// Guest RAM: the memory of all guests.
    Ram,
    /// What a host process that holds a guest needs itself.
    Stub,
    /// Of an address space that is gone: the next one that gets the addresses replaces it. Only where the kernel is, which
    /// sees all of RAM anyway.
    Left,
    /// Something that should not be there.
    Unexplained,
}

/// Neighbours that belong to the same party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Whose.
    pub whose: Whose,
    /// The first address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// What it consists of, by address.
    pub parts: Vec<Part>,
}

impl Block {
    /// Bytes that can be reached.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Mappings of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What they are, in a word or two.
    pub what: String,
    /// Within guest RAM: whose.
    pub of: Option<Whose>,
    /// The first address.
    pub start: u64,
    /// Their lengths together.
    pub bytes: u64,
    /// Whether any of them can be written.
    pub writable: bool,
}

/// What a party sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Of each party's memory.
    pub parties: Vec<View>,
    /// Of guest RAM.
    pub ram: View,
    /// Bytes that it sees and that nobody explains.
    pub unexplained: u64,
}

/// How much of some memory is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Bytes that can be read.
    pub read: u64,
    /// Bytes that can be written.
    pub write: u64,
    /// All bytes.
    pub of: u64,
}

impl View {
    /// All of it can be read, and there is something.
    pub fn sees_all(self) -> bool {
        self.of > 0 && self.read == self.of
    }

    /// None of it.
    pub fn is_nothing(self) -> bool {
        self.read == 0 && self.write == 0
    }
}

impl Picture {
    /// The kernel's place among the parties.
    pub fn kernel(&self) -> usize {
        self.parties.len().saturating_sub(1)
    }
}
