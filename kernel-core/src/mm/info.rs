//! What `/proc` shows of an address space.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::host::{Host, Phys, Prot};
use crate::mm::Mm;
use crate::mm::backing::{Back, Inner, Kind};
use crate::mm::map::Object;
use crate::mm::vma::Vma;
pub use crate::mm::vma::VmaFlags;
use crate::vfs::file::OpenFile;
use crate::vfs::path::{Path, path_of};

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A file.
    File,
    /// Memory that relatives share (`MAP_SHARED | MAP_ANONYMOUS`).
    SharedMemory,
    /// What `brk` moves the end of.
    Heap,
    /// The first thread's stack.
    Stack,
    /// Other memory.
    Anonymous,
}

impl What {
    /// What `/proc/PID/maps` shows instead of a path.
    pub fn label(self) -> &'static str {
        match self {
            What::File | What::Anonymous => "",
            What::SharedMemory => "/dev/zero (deleted)",
            What::Heap => "[heap]",
            What::Stack => "[stack]",
        }
    }
}

/// One line of `/proc/PID/maps`.
pub struct MapInfo {
    /// Addresses.
    pub range: Range<u64>,
    /// Accesses allowed.
    pub prot: Prot,
    /// What it is like.
    pub flags: VmaFlags,
    /// Offset in the file; 0 without one.
    pub offset: u64,
    /// The file mapped, whose inode and path are shown.
    pub file: Option<Arc<OpenFile>>,
    /// What it is.
    pub what: What,
}

impl MapInfo {
    /// `s` rather than `p`.
    pub fn shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }

    /// The name that it has for a process whose root directory is `root`: the path of a file, or a label.
    pub fn name(&self, root: Option<&Path>) -> Vec<u8> {
        match (&self.file, root) {
            (Some(file), Some(root)) => match (&file.path, file.inode.anonymous_name()) {
                (Some(path), _) => path_of(path, root).shown(),
                (None, name) => name.unwrap_or_default(),
            },
            _ => self.what.label().as_bytes().to_vec(),
        }
    }
}

/// A part of a mapping that is in RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Addresses.
    pub range: Range<u64>,
    /// Where in guest RAM.
    pub phys: Phys,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The address space's own. Relatives share it until one of them writes.
    Process,
    /// A file's: whoever maps the file has the same.
    File,
}

/// How much of a mapping is in RAM, in bytes, for `/proc/PID/smaps`. Shared is what others have mapped too; a part of that is
/// what it is by the number of those who have. A file's pages count as clean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Of files, and shared.
    pub shared_clean: u64,
    /// Memory, and shared.
    pub shared_dirty: u64,
    /// Of files, and its own.
    pub private_clean: u64,
    /// Memory, and its own.
    pub private_dirty: u64,
    /// What is no file's and no shared memory.
    pub anonymous: u64,
    /// Its part of all.
    pub proportional: u64,
    /// Its part of what is dirty.
    pub proportional_dirty: u64,
    /// Its part of what is anonymous.
    pub proportional_anonymous: u64,
    /// Its part of shared memory.
    pub proportional_shared_memory: u64,
    /// What of it is locked.
    pub locked: u64,
}

impl Amounts {
    /// All that is in RAM.
    pub fn resident(&self) -> u64 {
        self.shared_clean + self.shared_dirty + self.private_clean + self.private_dirty
    }

    /// Adds those of another mapping.
    pub fn add(&mut self, other: &Amounts) {
        for (sum, more) in [
            (&mut self.shared_clean, other.shared_clean),
            (&mut self.shared_dirty, other.shared_dirty),
            (&mut self.private_clean, other.private_clean),
            (&mut self.private_dirty, other.private_dirty),
            (&mut self.anonymous, other.anonymous),
            (&mut self.proportional, other.proportional),
            (&mut self.proportional_dirty, other.proportional_dirty),
            (&mut self.proportional_anonymous, other.proportional_anonymous),
            (&mut self.proportional_shared_memory, other.proportional_shared_memory),
            (&mut self.locked, other.locked),
        ] {
            *sum += more;
        }
    }

    /// Counts pages that so many have mapped.
    fn count(&mut self, bytes: u64, mappers: u64, owner: Owner, what: What) {
        let part = bytes / mappers;
        let is_memory = owner == Owner::Process || what == What::SharedMemory;
        let sum = match (mappers > 1, is_memory) {
            (true, false) => &mut self.shared_clean,
            (true, true) => &mut self.shared_dirty,
            (false, false) => &mut self.private_clean,
            (false, true) => &mut self.private_dirty,
        };
        *sum += bytes;
        self.proportional += part;
        if is_memory {
            self.proportional_dirty += part;
        }
        if owner == Owner::Process {
            self.anonymous += bytes;
            self.proportional_anonymous += part;
        } else if what == What::SharedMemory {
            self.proportional_shared_memory += part;
        }
    }
}

/// Sizes in bytes, for `/proc/PID/{statm,status,stat}` and `getrusage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `VmSize`: all mappings.
    pub virtual_size: u64,
    /// `VmPeak`.
    pub peak_virtual: u64,
    /// `RssAnon`.
    pub resident_anonymous: u64,
    /// `RssFile`.
    pub resident_file: u64,
    /// `VmHWM`.
    pub peak_resident: u64,
    /// `VmData`: writable private mappings but the stack.
    pub data: u64,
    /// `VmStk`.
    pub stack: u64,
    /// `VmExe` and `VmLib`: executable file mappings.
    pub text: u64,
    /// `VmLck`.
    pub locked: u64,
    /// How many faults were served (`ru_minflt`); a number, not bytes.
    pub faults: u64,
}

/// Where parts of a program are, for `/proc/PID/{stat,cmdline,environ,auxv}` and `prctl(PR_SET_MM)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Code.
    pub code: Range<u64>,
    /// Initialised data.
    pub data: Range<u64>,
    /// Where the heap starts.
    pub brk_start: u64,
    /// The top of the stack at the start.
    pub stack_start: u64,
    /// The arguments, each ended by a zero byte.
    pub args: Range<u64>,
    /// The environment, each variable ended by a zero byte.
    pub env: Range<u64>,
    /// The auxiliary vector, as on the stack.
    pub auxv: Vec<u8>,
}

impl<H: Host> Mm<H> {
    /// All mappings, by address.
    pub fn maps(&self) -> Vec<MapInfo> {
        let inner = self.contents.inner.lock();
        inner.vmas.iter().map(|(range, vma)| describe(&inner, range, vma)).collect()
    }

    /// All mappings, by address, and what of each is in RAM.
    pub fn resident_maps(&self) -> Vec<(MapInfo, Vec<Resident>)> {
        let inner = self.contents.inner.lock();
        let resident = |(range, back): (Range<u64>, Back)| Resident {
            range,
            phys: back.phys,
            owner: match back.kind {
                Kind::Anonymous => Owner::Process,
                Kind::File => Owner::File,
            },
        };
        let each = |(range, vma): (Range<u64>, &Vma)| {
            let parts = inner.backing.overlapping(range.clone()).map(resident).collect();
            (describe(&inner, range, vma), parts)
        };
        inner.vmas.iter().map(each).collect()
    }

    /// All mappings, by address, and how much of each is in RAM.
    pub fn amounts(&self) -> Vec<(MapInfo, Amounts)> {
        let amounts = |(map, parts): (MapInfo, Vec<Resident>)| {
            let mut amounts = Amounts::default();
            for Resident { range, phys, owner } in parts {
                for (bytes, holders) in self.ram().holders(phys, range.end - range.start) {
                    // A file holds its pages besides whoever has mapped them.
                    let mappers = if owner == Owner::File { holders - 1 } else { holders };
                    amounts.count(bytes, mappers.max(1), owner, map.what);
                }
            }
            if map.flags.contains(VmaFlags::LOCKED) {
                amounts.locked = amounts.proportional;
            }
            (map, amounts)
        };
        self.resident_maps().into_iter().map(amounts).collect()
    }

    /// Sizes now.
    pub fn usage(&self) -> Usage {
        let inner = self.contents.inner.lock();
        let mut usage = Usage {
            virtual_size: inner.vmas.bytes(),
            peak_virtual: inner.peak.0,
            peak_resident: inner.peak.1.max(inner.backing.covered()),
            faults: inner.faults,
            ..Usage::default()
        };
        for (range, vma) in inner.vmas.iter() {
            let len = range.end - range.start;
            if vma.is_data() {
                usage.data += len;
            }
            if vma.flags.contains(VmaFlags::GROWS_DOWN) {
                usage.stack += len;
            }
            if vma.prot.contains(Prot::EXEC) && matches!(vma.object, Object::File { .. }) {
                usage.text += len;
            }
            if vma.flags.contains(VmaFlags::LOCKED) {
                usage.locked += len;
            }
            for (part, back) in inner.backing.overlapping(range) {
                match back.kind {
                    Kind::Anonymous => usage.resident_anonymous += part.end - part.start,
                    Kind::File => usage.resident_file += part.end - part.start,
                }
            }
        }
        usage
    }

    /// Where parts of the program are.
    pub fn layout(&self) -> Layout {
        self.contents.inner.lock().layout.clone()
    }

    /// Changes where parts of the program are said to be.
    pub fn set_layout(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut self.contents.inner.lock().layout);
    }
}

fn describe(inner: &Inner, range: Range<u64>, vma: &Vma) -> MapInfo {
    let (file, offset) = match &vma.object {
        Object::Anonymous => (None, 0),
        Object::File { file, offset, .. } => (file.clone(), *offset),
    };
    let what = what(inner, &range, vma);
    MapInfo { range, prot: vma.prot, flags: vma.flags, offset, file, what }
}

fn what(inner: &Inner, range: &Range<u64>, vma: &Vma) -> What {
    let layout = &inner.layout;
    match &vma.object {
        Object::File { file: Some(_), .. } => What::File,
        Object::File { file: None, .. } if !vma.is_private() => What::SharedMemory,
        _ if range.start < inner.brk && range.end > layout.brk_start => What::Heap,
        _ if range.contains(&layout.stack_start.saturating_sub(1)) => What::Stack,
        _ => What::Anonymous,
    }
}
