//! The file system `cgroup2`: groups as directories, [`files`] that show and change them. Sources: `cgroups(7)`,
//! `Documentation/admin-guide/cgroup-v2.rst`. What groups are and do is in `task/cgroup`.
//!
//! All mounts show the one hierarchy, from the root on of the cgroup namespace of whoever mounts. What one mount changes of the
//! names of groups another must see, so names are looked up again after each change ([`Inode::names_epoch`]).

pub mod attr;
mod dir;
pub mod file;
pub mod files;

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::errno::{EINVAL, Result};
use crate::sync::Mutex;
use crate::task::cgroup::Group;
use crate::task::cred::Caps;
use crate::task::namespaces::{INITIAL_CGROUP, Namespaces};
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::{Device, Inode, StatFs};
use crate::vfs::mount::FileSystem;
use crate::vfs::path::name_inside;
use crate::vfs::types::{FsType, NewFs};

use file::GroupFile;

/// `CGROUP2_SUPER_MAGIC`.
const MAGIC: u64 = 0x6367_7270;
const DEVICE: Device = Device::new(0, 18);

fn statfs() -> StatFs {
    StatFs { magic: MAGIC, block_size: 4096, id: DEVICE.raw(), ..StatFs::default() }
}

/// Who looks at groups, or changes them: the root of its namespace, and whether that is the initial one.
struct Viewer {
    root: Arc<Group>,
    is_initial: bool,
}

impl Viewer {
    /// For a caller who has come to `group`; `None`: that is being removed.
    fn of(caller: &dyn Caller, group: &Group) -> Option<Viewer> {
        let all = caller.namespaces();
        let is_initial = all.as_ref().is_none_or(|all| all.cgroup.ino == INITIAL_CGROUP);
        Some(Viewer { root: group.root_for(all.as_deref())?, is_initial })
    }
}

/// The type, for `mount(2)`.
pub struct CgroupType {
    root: Arc<Group>,
    /// What is mounted; a root has one file system, however often that is mounted, and another for the initial namespace.
    mounted: Mutex<Vec<Weak<CgroupFs>>>,
}

impl CgroupType {
    /// For the hierarchy with this root.
    pub fn new(root: Arc<Group>) -> CgroupType {
        CgroupType { root, mounted: Mutex::default() }
    }
}

impl Drop for CgroupType {
    fn drop(&mut self) {
        self.root.take_apart();
    }
}

impl FsType for CgroupType {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        let user_ns = caller.namespaces().map_or(UserNs::INITIAL, |all| all.cgroup.user_ns.clone());
        caller.cred().capable_in(&user_ns, Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let delegates = delegates(new.options)?;
        let viewer = Viewer::of(new.caller, &self.root).ok_or(EINVAL)?;
        if viewer.is_initial {
            self.root.set_delegates(delegates);
        }
        let mut mounted = self.mounted.lock();
        mounted.retain(|fs| fs.strong_count() > 0);
        let same =
            |fs: &Arc<CgroupFs>| Arc::ptr_eq(&fs.root, &viewer.root) && fs.is_initial == viewer.is_initial;
        if let Some(known) = mounted.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(known);
        }
        let fs = Arc::new(CgroupFs { root: viewer.root, is_initial: viewer.is_initial });
        mounted.push(Arc::downgrade(&fs));
        Ok(fs)
    }
}

/// Whether the options say `nsdelegate`; EINVAL for any other.
fn delegates(options: &[u8]) -> Result<bool> {
    let mut options = options.split(|byte| *byte == b',').filter(|option| !option.is_empty());
    options.try_fold(false, |_, option| if option == b"nsdelegate" { Ok(true) } else { Err(EINVAL) })
}

/// The hierarchy from a group on.
struct CgroupFs {
    root: Arc<Group>,
    /// Whether the initial namespace has mounted it: only that has a say in its options.
    is_initial: bool,
}

impl FileSystem for CgroupFs {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        DEVICE
    }

    fn options(&self) -> String {
        String::from(if self.root.delegates() { ",nsdelegate" } else { "" })
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        let delegates = delegates(options)?;
        if self.is_initial {
            self.root.set_delegates(delegates);
        }
        Ok(())
    }

    fn name_of_root(&self, root: &Arc<Dentry>, reader: Option<&Namespaces>) -> Vec<u8> {
        let Some(seen_from) = self.root.root_for(reader) else { return name_inside(root) };
        let inode = root.inode().as_any();
        match (inode.downcast_ref::<Group>(), inode.downcast_ref::<GroupFile>()) {
            (Some(group), _) => group.path_from(&seen_from),
            (_, Some(file)) => file.path_from(&seen_from).unwrap_or_else(|| name_inside(root)),
            _ => name_inside(root),
        }
    }
}
