//! `/proc`: the kernel's view of processes and of itself, as files. Source: `proc(5)`.
//!
//! [`tree`] has what is always there, [`task`] the directory of a process or thread, [`fds`] its descriptors. What is
//! true of tasks comes from a [`source::ProcessSource`], made when it is read.

mod fds;
mod hiding;
mod limits;
pub mod locks;
mod map_files;
mod mem;
mod namespaces;
mod net;
mod smaps;
pub mod source;
mod status;
mod sysctl;
mod system;
mod sysvipc;
mod task;
pub mod tree;

use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::block::Disks;
use crate::errno::{ENOENT, Result};
use crate::fs::proc::source::{ProcessSource, TaskView};
use crate::fs::pseudo::{Body, Listed, Listing, Node, NodeAttr};
use crate::services::Services;
use crate::task::cred::Caps;
use crate::task::pid_ns::PidNs;
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{Device, FileKind, Inode, LinkTarget, Timestamp};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::{FsType, FsTypes, NewFs};
use hiding::Hiding;
use tree::StaticDir;

/// `PROC_SUPER_MAGIC`.
const MAGIC: u64 = 0x9fa0;
const ROOT_INO: u64 = 1;
/// Keys of processes in the root's list come behind those of what is always there.
const FIRST_PID_KEY: u64 = 256;

/// What files of `/proc` and `/sys` are made from.
pub struct Facts {
    /// Tasks and the system.
    pub source: Arc<dyn ProcessSource>,
    /// RAM and time.
    pub services: Arc<Services>,
    /// File system types, for `/proc/filesystems`; weak, as `proc` is one of them.
    pub types: Weak<FsTypes>,
    /// Disks.
    pub disks: Arc<Disks>,
    /// Identifies this boot.
    boot_id: [u8; 16],
}

impl Facts {
    /// Facts of an instance.
    pub fn new(
        source: Arc<dyn ProcessSource>,
        services: Arc<Services>,
        types: &Arc<FsTypes>,
        disks: Arc<Disks>,
    ) -> Arc<Facts> {
        let mut boot_id = [0; 16];
        services.clock.entropy(&mut boot_id);
        Arc::new(Facts { source, services, types: Arc::downgrade(types), disks, boot_id })
    }
}

/// A file system made of facts: what all its nodes have in common.
#[derive(Clone)]
pub struct FactFs {
    /// The facts.
    pub facts: Arc<Facts>,
    /// Whose numbers of processes it has.
    pub pid_ns: PidNs,
    hiding: Arc<Hiding>,
    device: Device,
    magic: u64,
    time: Timestamp,
}

impl FactFs {
    /// For a file system with this device number and `f_type`.
    pub fn new(facts: &Arc<Facts>, device: Device, magic: u64) -> FactFs {
        let time = Timestamp::from_ns(facts.services.clock.realtime_ns());
        let hiding = Arc::new(Hiding::new(UserNs::INITIAL));
        FactFs { facts: facts.clone(), pid_ns: PidNs::INITIAL, hiding, device, magic, time }
    }

    /// Attributes of a node that belongs to the superuser.
    pub fn attr(&self, ino: u64, mode: u32) -> NodeAttr {
        NodeAttr { device: self.device, magic: self.magic, ino, mode, uid: 0, gid: 0, time: self.time }
    }
}

/// The type `proc`.
pub struct ProcType(pub Arc<Facts>);

impl FsType for ProcType {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable_in(&caller.pid_ns().user_ns(), Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let (device, hiding) = (new.device, Arc::new(Hiding::new(new.caller.cred().user_ns.clone())));
        hiding.set(new.options)?;
        let fs = FactFs { pid_ns: new.caller.pid_ns(), hiding, ..FactFs::new(&self.0, device, MAGIC) };
        let listing = Arc::new(Root { fixed: StaticDir::new(&fs, system::ROOT, ROOT_INO), fs: fs.clone() });
        let root = Node::new(fs.attr(ROOT_INO, 0o555), Body::Directory(listing));
        Ok(Arc::new(Proc { device, root, hiding: fs.hiding }))
    }
}

struct Proc {
    device: Device,
    root: Arc<Node>,
    hiding: Arc<Hiding>,
}

impl FileSystem for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.device
    }

    fn options(&self) -> String {
        self.hiding.options()
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        self.hiding.set(options)
    }
}

/// The root: what is always there, `self`, and the processes.
struct Root {
    fs: FactFs,
    fixed: StaticDir,
}

/// A decimal number without leading zeros; `None` for anything else.
fn number(name: &[u8]) -> Option<u32> {
    if name.first() == Some(&b'0') && name.len() > 1 || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

impl Listing for Root {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let link = |text: fn(u32, u32) -> String| -> Arc<dyn Inode> {
            let pid_ns = self.fs.pid_ns.clone();
            let read = move |caller: &dyn Caller| {
                let (pid, tid) = (pid_ns.shown(caller.pid()), pid_ns.shown(caller.tid()));
                if pid == 0 {
                    return Err(ENOENT);
                }
                Ok(LinkTarget::Text(text(pid, tid).into_bytes()))
            };
            Node::new(
                self.fs.attr(tree::ino(ROOT_INO, name), 0o777),
                Body::Link(alloc::boxed::Box::new(read)),
            )
        };
        match name {
            b"self" => return Ok(link(|pid, _| pid.to_string())),
            b"thread-self" => return Ok(link(|pid, tid| alloc::format!("{pid}/task/{tid}"))),
            _ => {}
        }
        if !self.fs.hiding.only_processes()
            && let Ok(found) = self.fixed.lookup(name)
        {
            return Ok(found);
        }
        let pid = number(name).ok_or(ENOENT)?;
        let view = self.fs.facts.source.process(&self.fs.pid_ns, pid).ok_or(ENOENT)?;
        Ok(task::directory(&self.fs, task::Whose { pid, tid: None }, &*view))
    }

    fn list(&self, caller: &dyn Caller) -> Vec<Listed> {
        let (source, hiding) = (&self.fs.facts.source, &self.fs.hiding);
        let mut all = if hiding.only_processes() { Vec::new() } else { self.fixed.list(caller) };
        for name in [&b"self"[..], b"thread-self"] {
            let ino = tree::ino(ROOT_INO, name);
            all.push(Listed { key: all.len() as u64, ino, kind: FileKind::Symlink, name: name.to_vec() });
        }
        let hides_names = hiding.hides_names();
        for pid in source.pids(&self.fs.pid_ns) {
            let is_found = |view: Arc<dyn TaskView>| hiding.check_found(&*view, caller).is_ok();
            if hides_names && !source.process(&self.fs.pid_ns, pid).is_some_and(is_found) {
                continue;
            }
            all.push(Listed {
                key: FIRST_PID_KEY + u64::from(pid),
                ino: task::Whose { pid, tid: None }.ino(),
                kind: FileKind::Directory,
                name: pid.to_string().into_bytes(),
            });
        }
        all
    }

    fn is_stable(&self) -> bool {
        false
    }
}
