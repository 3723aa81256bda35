//! Namespaces as files: what the links in `/proc/PID/ns` lead to. Source: `namespaces(7)`, `ioctl_ns(2)`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use crate::errno::Result;
use crate::ipc::sysv::IpcNamespace;
use crate::task::namespaces::{CgroupNamespace, NsKind, UtsNamespace};
use crate::task::pid_ns::PidNs;
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, OpenFlags};
use crate::vfs::inode::{Device, FileKind, Inode, Metadata, Opened, StatFs, Timestamp};
use crate::vfs::mount::{FileSystem, Namespace};
use crate::vfs::path::Path;

/// `NSFS_MAGIC`.
const MAGIC: u64 = 0x6e73_6673;
/// Device number of all such files.
const DEVICE: Device = Device::new(0, 4);

/// A namespace of some kind; as long as this is held it exists.
#[derive(Clone)]
pub enum AnyNs {
    /// Mounts.
    Mnt(Arc<Namespace>),
    /// Host and domain name.
    Uts(Arc<UtsNamespace>),
    /// Users.
    User(UserNs),
    /// Control groups.
    Cgroup(Arc<CgroupNamespace>),
    /// System V objects and POSIX message queues.
    Ipc(Arc<IpcNamespace>),
    /// Processes.
    Pid(PidNs),
}

impl AnyNs {
    /// Its kind.
    pub fn kind(&self) -> NsKind {
        match self {
            AnyNs::Mnt(_) => NsKind::Mnt,
            AnyNs::Uts(_) => NsKind::Uts,
            AnyNs::User(_) => NsKind::User,
            AnyNs::Cgroup(_) => NsKind::Cgroup,
            AnyNs::Ipc(_) => NsKind::Ipc,
            AnyNs::Pid(_) => NsKind::Pid,
        }
    }

    /// Its number.
    pub fn ino(&self) -> u64 {
        match self {
            AnyNs::Mnt(namespace) => namespace.ino,
            AnyNs::Uts(namespace) => namespace.ino,
            AnyNs::User(namespace) => namespace.ino(),
            AnyNs::Cgroup(namespace) => namespace.ino,
            AnyNs::Ipc(namespace) => namespace.ino,
            AnyNs::Pid(namespace) => namespace.ino(),
        }
    }

    /// The user namespace that it belongs to; `None`: it is the initial one.
    pub fn owner(&self) -> Option<UserNs> {
        match self {
            AnyNs::Mnt(namespace) => Some(namespace.user_ns.clone()),
            AnyNs::Uts(namespace) => Some(namespace.user_ns.clone()),
            AnyNs::Cgroup(namespace) => Some(namespace.user_ns.clone()),
            AnyNs::Ipc(namespace) => Some(namespace.user_ns.clone()),
            AnyNs::Pid(namespace) => Some(namespace.user_ns()),
            AnyNs::User(namespace) => namespace.parent().cloned(),
        }
    }

    /// As the link in `/proc` and the file are named: `uts:[4026531838]`.
    pub fn name(&self) -> Vec<u8> {
        format!("{}:[{}]", self.kind().name(), self.ino()).into_bytes()
    }

    /// A place where its file is.
    pub fn path(self) -> Path {
        let mount_namespace = matches!(self, AnyNs::Mnt(_)).then(|| self.ino());
        let root: Arc<dyn Inode> = Arc::new(NsInode(self));
        Path::in_fs_of_one(Arc::new(NsFs { root, mount_namespace }))
    }
}

/// The file system of one namespace's file.
struct NsFs {
    root: Arc<dyn Inode>,
    mount_namespace: Option<u64>,
}

impl FileSystem for NsFs {
    fn name(&self) -> &'static str {
        "nsfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn mount_namespace(&self) -> Option<u64> {
        self.mount_namespace
    }

    fn device(&self) -> Device {
        DEVICE
    }
}

/// The file of a namespace.
pub struct NsInode(AnyNs);

impl Inode for NsInode {
    fn metadata(&self) -> Metadata {
        let time = Timestamp::default();
        Metadata {
            dev: DEVICE,
            ino: self.0.ino(),
            mode: FileKind::Regular.mode_bits() | 0o444,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: Device::default(),
            size: 0,
            block_size: 4096,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
        }
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(self.0.name())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: MAGIC, block_size: 4096, ..StatFs::default() }
    }

    fn open(&self, flags: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        if flags.writable() {
            return Err(crate::errno::EPERM);
        }
        Ok(Opened::File(Arc::new(NsFile(self.0.clone()))))
    }
}

/// A namespace's file, open.
pub struct NsFile(pub AnyNs);

impl FileOps for NsFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
