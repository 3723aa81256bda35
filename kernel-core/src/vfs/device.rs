//! Which driver opens a device node, by its number; and what opens FIFOs.

use alloc::sync::Arc;

use hashbrown::HashMap;

use crate::errno::{ENXIO, Result};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, OpenFlags};
use crate::vfs::inode::{Device, FileKind, Inode};
use crate::vfs::types::LookUp;

/// A device node or FIFO that is opened.
pub struct Special<'a> {
    /// Its number, if it is a device.
    pub device: Device,
    /// The node.
    pub inode: &'a Arc<dyn Inode>,
    /// How it is opened.
    pub flags: OpenFlags,
    /// For whom.
    pub caller: &'a dyn Caller,
    /// Finds what else is in its directory.
    pub beside: LookUp<'a>,
}

/// Opens device nodes of one driver, or FIFOs.
pub trait Opener: Send + Sync {
    /// Opens it.
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>>;
}

/// The drivers of an instance. Whoever has device numbers registers an opener at boot.
#[derive(Default)]
pub struct Devices {
    openers: Mutex<Openers>,
}

#[derive(Default)]
struct Openers {
    /// By exact number.
    one: HashMap<(Class, Device), Arc<dyn Opener>>,
    /// By major number alone.
    major: HashMap<(Class, u32), Arc<dyn Opener>>,
    fifo: Option<Arc<dyn Opener>>,
}

/// Character or block: the two have numbers of their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Char,
    Block,
}

impl Class {
    fn of(kind: FileKind) -> Option<Class> {
        match kind {
            FileKind::Char => Some(Class::Char),
            FileKind::Block => Some(Class::Block),
            _ => None,
        }
    }
}

impl Devices {
    /// From now on `opener` opens the character device `device`.
    pub fn register_char(&self, device: Device, opener: Arc<dyn Opener>) {
        self.openers.lock().one.insert((Class::Char, device), opener);
    }

    /// From now on `opener` opens all character devices of `major` that have no opener of their own.
    pub fn register_char_major(&self, major: u32, opener: Arc<dyn Opener>) {
        self.openers.lock().major.insert((Class::Char, major), opener);
    }

    /// From now on `opener` opens all block devices of `major`.
    pub fn register_block_major(&self, major: u32, opener: Arc<dyn Opener>) {
        self.openers.lock().major.insert((Class::Block, major), opener);
    }

    /// From now on `opener` opens FIFOs; the pipe is kept in [`Inode::attachment`]. It does not wait for the other
    /// side: [`FileOps::finish_open`] does.
    pub fn register_fifo(&self, opener: Arc<dyn Opener>) {
        self.openers.lock().fifo = Some(opener);
    }

    /// Opens a special file; `beside` finds what else is in its directory. ENXIO if nobody has that number.
    pub fn open(
        &self,
        beside: LookUp<'_>,
        inode: &Arc<dyn Inode>,
        flags: OpenFlags,
        caller: &dyn Caller,
    ) -> Result<Arc<dyn FileOps>> {
        let meta = inode.metadata();
        let opener = {
            let openers = self.openers.lock();
            match (meta.kind(), Class::of(meta.kind())) {
                (FileKind::Fifo, _) => openers.fifo.clone(),
                (_, Some(kind)) => openers
                    .one
                    .get(&(kind, meta.rdev))
                    .or_else(|| openers.major.get(&(kind, meta.rdev.major)))
                    .cloned(),
                _ => None,
            }
        };
        opener.ok_or(ENXIO)?.open(&Special { device: meta.rdev, inode, flags, caller, beside })
    }
}
