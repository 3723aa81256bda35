//! Control groups: a hierarchy, and which process is in which of its groups. Sources: `cgroups(7)`,
//! `Documentation/admin-guide/cgroup-v2.rst`.
//!
//! A [`Group`] does not know its processes: a process knows its group ([`member`]), which changes under the lock of the
//! process tree, and who wants a group's processes goes through that. What groups count is in atomics, so a fork walks
//! up its ancestors without a lock, and goes nowhere from the root, which counts nothing. [`control`] has the rules about
//! controllers, of which there is one, [`pids`]; [`members`] is what a group does to its processes; `fs/cgroup` shows all of it.
//!
//! Lock order: `process tree -> [`Group::serial`] -> state of a group -> a file's attributes`.

pub mod control;
pub mod member;
pub mod members;
pub mod pids;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::errno::{EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, Result};
use crate::fs::cgroup::attr::Attr;
use crate::fs::cgroup::file::GroupFile;
use crate::fs::cgroup::files;
use crate::services::Clock;
use crate::sync::{Mutex, MutexGuard};
use crate::task::cgroup::members::Members;
use crate::task::cgroup::pids::Pids;
use crate::task::namespaces::Namespaces;
use crate::vfs::inode::{FileKind, NewAttr, Timestamp};
use crate::vfs::notify::Notify;

/// The most groups of an instance, those that were removed and are still in use among them.
const MOST_GROUPS: usize = 4096;
/// `max` in `cgroup.max.depth` and `cgroup.max.descendants`.
pub const UNLIMITED: u32 = i32::MAX as u32;
/// Number of the root group, which is that of its directory.
const ROOT_ID: u64 = 1;

/// What all groups share.
struct Common {
    /// Taken by whoever changes the hierarchy, or who is in which group for another reason than birth or end.
    serial: Mutex<()>,
    members: Arc<dyn Members>,
    clock: Arc<dyn Clock>,
    notify: Arc<Notify>,
    /// How many groups exist, and the number of the last.
    groups: AtomicUsize,
    last_id: AtomicU64,
    /// Changes with each name that comes or goes in the file system.
    epoch: AtomicU64,
    /// `nsdelegate`: namespaces are boundaries of delegation.
    delegates: AtomicBool,
}

/// A group.
pub struct Group {
    me: Weak<Group>,
    common: Arc<Common>,
    parent: Option<Arc<Group>>,
    name: Box<[u8]>,
    /// Identifies it; the number of its directory.
    pub id: u64,
    /// Processes in it that have not ended.
    own: AtomicUsize,
    /// The same, and those in groups below.
    population: AtomicUsize,
    pids: Pids,
    /// CPU time of what left it or was waited for, and of the same below, in nanoseconds: in guests, in the kernel.
    spent: [AtomicU64; 2],
    /// Groups below that were removed and are still used.
    dying: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    removed: bool,
    children: BTreeMap<Box<[u8]>, Arc<Group>>,
    /// How many groups are below.
    descendants: usize,
    max_descendants: u32,
    max_depth: u32,
    /// Whether groups in it have the controller `pids` (`cgroup.subtree_control`).
    hands_on_pids: bool,
    attr: Attr,
    /// Who owns files of it that nobody has looked at.
    file_owner: (u32, u32),
    /// The same of those of the controller, which may have come later.
    pids_owner: (u32, u32),
    /// Its files as far as somebody has looked at them, by their place in the table.
    files: BTreeMap<usize, Arc<GroupFile>>,
}

/// Groups that became populated or empty: to be told once nothing is locked.
#[derive(Default)]
#[must_use]
pub struct Changes(Vec<Arc<Group>>);

impl Changes {
    /// Tells those who watch `cgroup.events`.
    pub fn tell(self) {
        for group in self.0 {
            group.changed("cgroup.events");
        }
    }
}

impl Group {
    /// The root of a hierarchy, for an instance with these processes.
    pub fn root(members: Arc<dyn Members>, clock: Arc<dyn Clock>, notify: Arc<Notify>) -> Arc<Group> {
        let common = Arc::new(Common {
            serial: Mutex::default(),
            members,
            notify,
            groups: AtomicUsize::new(1),
            last_id: AtomicU64::new(ROOT_ID),
            epoch: AtomicU64::new(0),
            delegates: AtomicBool::new(false),
            clock,
        });
        Group::new(common, None, b"", ROOT_ID, &NewAttr { mode: 0o755, uid: 0, gid: 0 })
    }

    fn new(
        common: Arc<Common>,
        parent: Option<Arc<Group>>,
        name: &[u8],
        id: u64,
        attr: &NewAttr,
    ) -> Arc<Group> {
        let owner = (attr.uid, attr.gid);
        let state = State {
            removed: false,
            children: BTreeMap::new(),
            descendants: 0,
            max_descendants: UNLIMITED,
            max_depth: UNLIMITED,
            hands_on_pids: false,
            attr: Attr::new(FileKind::Directory, attr, Timestamp::from_ns(common.clock.realtime_ns())),
            file_owner: owner,
            pids_owner: owner,
            files: BTreeMap::new(),
        };
        Arc::new_cyclic(|me| Group {
            me: me.clone(),
            common,
            parent,
            name: name.into(),
            id,
            own: AtomicUsize::new(0),
            population: AtomicUsize::new(0),
            pids: Pids::default(),
            spent: Default::default(),
            dying: AtomicUsize::new(0),
            state: Mutex::new(state),
        })
    }

    /// The lock on the hierarchy.
    pub(crate) fn serial(&self) -> MutexGuard<'_, ()> {
        self.common.serial.lock()
    }

    /// Itself, its parent, and so on to the root.
    fn upwards(&self) -> impl Iterator<Item = &Group> {
        core::iter::successors(Some(self), |group| group.parent.as_deref())
    }

    /// The same without the root, of which nothing is counted.
    fn counted(&self) -> impl Iterator<Item = &Group> {
        self.upwards().take_while(|group| !group.is_root())
    }

    /// The root of the hierarchy.
    pub fn top(&self) -> Option<Arc<Group>> {
        self.upwards().last()?.this()
    }

    /// Whether it is the root of the hierarchy.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// The root of the hierarchy as it is seen in `namespaces`; `None`: in those at boot.
    pub(crate) fn root_for(&self, namespaces: Option<&Namespaces>) -> Option<Arc<Group>> {
        namespaces.map(|all| all.cgroup.root.clone()).or_else(|| self.top())
    }

    /// Whether it is `other` or below it. A parent has the lesser number.
    pub fn is_within(&self, other: &Group) -> bool {
        self.upwards().find(|group| group.id <= other.id).is_some_and(|group| group.id == other.id)
    }

    /// The group around both, or one of the two.
    pub(super) fn around<'a>(&'a self, other: &'a Group) -> &'a Group {
        let (mut one, mut two) = (self, other);
        while one.id != two.id {
            if one.id > two.id {
                core::mem::swap(&mut one, &mut two);
            }
            let Some(parent) = two.parent.as_deref() else { break };
            two = parent;
        }
        one
    }

    /// Whether it was removed.
    pub fn is_removed(&self) -> bool {
        self.state.lock().removed
    }

    /// Whether processes are in it or below it.
    pub fn is_populated(&self) -> bool {
        self.population.load(Ordering::Relaxed) != 0
    }

    /// Its path as somebody sees it whose namespace has `root` as its root.
    pub fn path_from(&self, root: &Group) -> Vec<u8> {
        let around = self.around(root);
        let mut path = b"/..".repeat(root.upwards().take_while(|group| group.id != around.id).count());
        let mut below: Vec<&Group> = self.upwards().take_while(|group| group.id != around.id).collect();
        below.reverse();
        for group in below {
            path.push(b'/');
            path.extend_from_slice(&group.name);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// How many groups there are below it, and how many were removed and are still used.
    pub fn descendants(&self) -> (usize, usize) {
        (self.state.lock().descendants, self.dying.load(Ordering::Relaxed))
    }

    /// `cgroup.max.depth` and `cgroup.max.descendants`.
    pub fn limits(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.max_depth, state.max_descendants)
    }

    /// Sets them; what is `None` stays.
    pub fn set_limits(&self, depth: Option<u32>, descendants: Option<u32>) {
        let mut state = self.state.lock();
        state.max_depth = depth.unwrap_or(state.max_depth);
        state.max_descendants = descendants.unwrap_or(state.max_descendants);
    }

    /// `mkdir(2)`. EAGAIN: there are too many; EEXIST, ENOENT, EINVAL.
    pub(crate) fn make_child(&self, name: &[u8], attr: &NewAttr) -> Result<Arc<Group>> {
        if name.contains(&b'\n') {
            return Err(EINVAL);
        }
        let _serial = self.serial();
        if self.is_removed() {
            return Err(ENOENT);
        }
        if files::find(self, name).is_some() || self.child(name).is_some() {
            return Err(EEXIST);
        }
        let fits = |(depth, group): (u32, &Group)| {
            let state = group.state.lock();
            state.descendants < state.max_descendants as usize && depth <= state.max_depth
        };
        if !(1..).zip(self.upwards()).all(fits) || self.common.groups.load(Ordering::Relaxed) >= MOST_GROUPS {
            return Err(EAGAIN);
        }
        self.common.groups.fetch_add(1, Ordering::Relaxed);
        let id = self.common.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let child = Group::new(self.common.clone(), self.me.upgrade(), name, id, attr);
        self.upwards().for_each(|group| group.state.lock().descendants += 1);
        self.state.lock().children.insert(name.into(), child.clone());
        self.names_changed();
        Ok(child)
    }

    /// `rmdir(2)`. EBUSY: it has processes, or groups below; ENOENT.
    pub(crate) fn remove_child(&self, name: &[u8]) -> Result<()> {
        let _serial = self.serial();
        let child = self.child(name).ok_or(ENOENT)?;
        {
            let mut state = child.state.lock();
            if child.is_populated() || !state.children.is_empty() {
                return Err(EBUSY);
            }
            state.removed = true;
        }
        for group in self.upwards() {
            group.state.lock().descendants -= 1;
            group.dying.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.state.lock().children.remove(name);
        self.names_changed();
        Ok(())
    }

    /// The group of this name in it.
    pub(crate) fn child(&self, name: &[u8]) -> Option<Arc<Group>> {
        self.state.lock().children.get(name).cloned()
    }

    /// How many groups are in it.
    pub(crate) fn child_count(&self) -> usize {
        self.state.lock().children.len()
    }

    /// The hierarchy ends: a group and those below keep each other until then.
    pub(crate) fn take_apart(&self) {
        let mut rest = vec![core::mem::take(&mut self.state.lock().children)];
        while let Some(children) = rest.pop() {
            rest.extend(
                children.into_values().map(|child| core::mem::take(&mut child.state.lock().children)),
            );
        }
    }

    /// The groups in it, by name.
    pub(crate) fn children(&self) -> Vec<Arc<Group>> {
        self.state.lock().children.values().cloned().collect()
    }

    /// Its name; empty for the root.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The group that it is in.
    pub(crate) fn parent(&self) -> Option<&Arc<Group>> {
        self.parent.as_ref()
    }

    /// A reference to it.
    pub(crate) fn this(&self) -> Option<Arc<Group>> {
        self.me.upgrade()
    }

    /// The time that it is, for attributes.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.common.clock.realtime_ns())
    }

    /// Looks at the attributes of its directory, or changes them.
    pub(crate) fn with_attr<R>(&self, change: impl FnOnce(&mut Attr) -> R) -> R {
        change(&mut self.state.lock().attr)
    }

    /// Its file number `index` of the table, made when somebody first looks at it.
    pub(crate) fn file(&self, index: usize) -> Arc<GroupFile> {
        let now = self.now();
        let mut state = self.state.lock();
        let owner = if files::is_of_pids(index) { state.pids_owner } else { state.file_owner };
        state
            .files
            .entry(index)
            .or_insert_with(|| GroupFile::new(self.me.clone(), self.id, index, owner, now))
            .clone()
    }

    /// Whether it is there and `file` is one of its files.
    pub(crate) fn has_file(&self, file: &GroupFile) -> bool {
        let state = self.state.lock();
        !state.removed && state.files.get(&file.index()).is_some_and(|known| core::ptr::eq(&**known, file))
    }

    /// Something changed that a file shows: tells those who watch it. Nothing is locked.
    fn changed(&self, file: &str) {
        let Some(index) = files::index(file) else { return };
        let known = self.state.lock().files.get(&index).cloned();
        if let (Some(known), Some(group)) = (known, self.this()) {
            known.tell(&self.common.notify, group);
        }
    }

    /// See [`Common::epoch`].
    pub(crate) fn names_epoch(&self) -> u64 {
        self.common.epoch.load(Ordering::Acquire)
    }

    fn names_changed(&self) {
        self.common.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether namespaces are boundaries of delegation (`nsdelegate`).
    pub fn delegates(&self) -> bool {
        self.common.delegates.load(Ordering::Relaxed)
    }

    /// Sets it for the whole hierarchy.
    pub fn set_delegates(&self, on: bool) {
        self.common.delegates.store(on, Ordering::Relaxed);
    }

    /// How many groups there are, those still used among them.
    pub fn count(&self) -> usize {
        self.common.groups.load(Ordering::Relaxed)
    }

    /// What its processes are.
    pub(crate) fn members(&self) -> &dyn Members {
        &*self.common.members
    }

    /// A process that has not ended comes.
    fn enter(&self, changes: &mut Changes) {
        if self.is_root() {
            return;
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        for group in self.counted() {
            if group.population.fetch_add(1, Ordering::Relaxed) == 0 {
                changes.0.extend(group.this());
            }
        }
    }

    /// It goes, or has ended.
    fn leave(&self, changes: &mut Changes) {
        if self.is_root() {
            return;
        }
        self.own.fetch_sub(1, Ordering::Relaxed);
        for group in self.counted() {
            if group.population.fetch_sub(1, Ordering::Relaxed) == 1 {
                changes.0.extend(group.this());
            }
        }
    }

    /// CPU time that a process has used in it, which is no longer there to be asked.
    fn spend(&self, ns: [u64; 2]) {
        for group in self.counted() {
            for (sum, ns) in group.spent.iter().zip(ns) {
                sum.fetch_add(ns, Ordering::Relaxed);
            }
        }
    }

    /// All groups below lose their names, as at the end of the instance.
    pub(crate) fn forget_all(&self) {
        let mut next = self.children();
        self.state.lock().children.clear();
        while let Some(group) = next.pop() {
            next.extend(core::mem::take(&mut group.state.lock().children).into_values());
        }
    }

    /// Lets go of its parent.
    fn end(&mut self) -> Option<Arc<Group>> {
        let parent = self.parent.take()?;
        self.common.groups.fetch_sub(1, Ordering::Relaxed);
        if self.is_removed() {
            parent.upwards().for_each(|group| {
                group.dying.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Some(parent)
    }
}

impl Drop for Group {
    /// Parents in a loop, not one in another.
    fn drop(&mut self) {
        let mut next = self.end();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut group| group.end());
        }
    }
}
