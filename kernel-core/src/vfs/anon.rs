//! Inodes of files that no directory knows: pipes, sockets, eventfd and the like.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Result;
use crate::sync::Mutex;
use crate::task::cred::Cred;
use crate::vfs::inode::{
    Attachment, Device, FileKind, Inode, Metadata, Owner, SetAttr, SetTime, StatFs, Timestamp,
};
use crate::vfs::locks::FileLocks;
use crate::vfs::mount::FileSystem;

/// `PIPEFS_MAGIC`, `SOCKFS_MAGIC`, `ANON_INODE_FS_MAGIC`.
const MAGIC: [u64; 3] = [0x5049_5045, 0x534f_434b, 0x0904_1934];

/// What kind of file has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonKind {
    /// A pipe: shows as `pipe:[ino]`.
    Pipe,
    /// A socket: shows as `socket:[ino]`.
    Socket,
    /// Anything else: shows as `anon_inode:` and this (`[eventfd]`, `[eventpoll]`).
    Other(&'static str),
}

/// The file system of one file that is in no directory.
pub(super) struct AnonFs {
    pub root: Arc<dyn Inode>,
}

impl FileSystem for AnonFs {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.root.metadata().dev
    }
}

/// Numbers the inodes of an instance that have no names. Part of [`crate::services::Services`].
#[derive(Default)]
pub struct AnonInodes {
    last: AtomicU64,
    /// On Linux all of [`AnonKind::Other`] are one inode: their locks exclude each other.
    locks: Arc<FileLocks>,
}

impl AnonInodes {
    /// A new inode, owned by the file system ids of `cred`.
    pub fn inode(&self, kind: AnonKind, cred: &Cred, now_ns: u64) -> Arc<AnonInode> {
        let (kind_bits, mode) = match kind {
            AnonKind::Pipe => (FileKind::Fifo, 0o600),
            AnonKind::Socket => (FileKind::Socket, 0o777),
            AnonKind::Other(_) => (FileKind::Anonymous, 0o600),
        };
        let now = Timestamp::from_ns(now_ns);
        Arc::new(AnonInode {
            kind,
            ino: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            state: Mutex::new(State {
                owner: Owner::new(kind_bits.mode_bits() | mode, cred.fsuid, cred.fsgid),
                atime: now,
                mtime: now,
                ctime: now,
            }),
            locks: match kind {
                AnonKind::Other(_) => Locks::Shared(self.locks.clone()),
                _ => Locks::Own(FileLocks::default()),
            },
            attachment: Mutex::new(None),
        })
    }
}

/// The inode of a file without a name.
pub struct AnonInode {
    kind: AnonKind,
    ino: u64,
    state: Mutex<State>,
    locks: Locks,
    attachment: Attachment,
}

enum Locks {
    Own(FileLocks),
    Shared(Arc<FileLocks>),
}

struct State {
    owner: Owner,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl AnonInode {
    fn class(&self) -> usize {
        match self.kind {
            AnonKind::Pipe => 0,
            AnonKind::Socket => 1,
            AnonKind::Other(_) => 2,
        }
    }
}

impl Inode for AnonInode {
    fn metadata(&self) -> Metadata {
        let state = self.state.lock();
        Metadata {
            dev: Device::new(0, 8 + self.class() as u32),
            ino: self.ino,
            mode: state.owner.mode,
            nlink: 1,
            uid: state.owner.uid,
            gid: state.owner.gid,
            rdev: Device::default(),
            size: 0,
            block_size: 4096,
            blocks: 0,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: state.ctime,
        }
    }

    fn owner(&self) -> Owner {
        self.state.lock().owner
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: MAGIC[self.class()], block_size: 4096, ..StatFs::default() }
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        if attr.size.is_some() {
            return Err(crate::errno::EINVAL);
        }
        let mut state = self.state.lock();
        state.owner.change(attr);
        if let Some(SetTime::To(time)) = attr.atime {
            state.atime = time;
        }
        if let Some(SetTime::To(time)) = attr.mtime {
            state.mtime = time;
        }
        Ok(())
    }

    fn locks(&self) -> Option<&FileLocks> {
        Some(match &self.locks {
            Locks::Own(locks) => locks,
            Locks::Shared(locks) => locks,
        })
    }

    fn attachment(&self) -> Option<&Attachment> {
        Some(&self.attachment)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(match self.kind {
            AnonKind::Pipe => format!("pipe:[{}]", self.ino).into_bytes(),
            AnonKind::Socket => format!("socket:[{}]", self.ino).into_bytes(),
            AnonKind::Other(name) => format!("anon_inode:{name}").into_bytes(),
        })
    }
}
