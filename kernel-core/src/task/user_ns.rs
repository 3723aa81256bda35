//! User namespaces: ids and capabilities that mean something inside only. Source: `user_namespaces(7)`.
//!
//! In the kernel every id is what it is in the initial namespace; it is translated where a guest sees it, and only if the
//! guest's namespace is another. So the initial one is `None`, and costs the test of a pointer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;

use crate::errno::{EINVAL, ENOSPC, EPERM, Result};
use crate::sync::Mutex;
use crate::task::cred::{ALL_CAPS, Caps, Cred, SecureBits};
use crate::task::namespaces::{INITIAL_USER, NsCounts, NsKind};

/// What an id without a mapping shows as (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;
/// No id.
const NO_ID: u32 = u32::MAX;
/// Most lines of a map.
const EXTENTS_MAX: usize = 340;
/// How deep namespaces can be nested: a parent's level is at most this.
const LEVEL_MAX: u32 = 32;

pub use crate::task::namespaces::NsCount;

/// Which of a namespace's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Users.
    User,
    /// Groups.
    Group,
    /// Projects of quotas.
    Project,
}

/// A range of ids: `first` inside is `lower` in the initial namespace, and so on for `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first: u32,
    lower: u32,
    count: u32,
}

/// A map of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<Extent>);

fn within(start: u32, count: u32, id: u32) -> Option<u32> {
    id.checked_sub(start).filter(|offset| *offset < count)
}

impl IdMap {
    /// The kernel's id for one inside.
    fn down(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            within(extent.first, extent.count, id).map(|offset| extent.lower.wrapping_add(offset))
        })
    }

    /// The kernel's first id for a range inside, if the whole range is mapped by one line.
    fn down_range(&self, id: u32, count: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            let offset = within(extent.first, extent.count, id)?;
            (extent.count - offset >= count).then(|| extent.lower.wrapping_add(offset))
        })
    }

    /// The id inside for one of the kernel's.
    fn up(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            within(extent.lower, extent.count, id).map(|offset| extent.first.wrapping_add(offset))
        })
    }
}

/// Reads the lines of a map. EINVAL: not three numbers each, none or too many, or ranges that overlap.
fn parse(text: &[u8]) -> Result<Vec<Extent>> {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut extents: Vec<Extent> = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let mut words = line.split_ascii_whitespace();
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).ok_or(EINVAL);
        let extent = Extent { first: number()?, lower: number()?, count: number()? };
        if words.next().is_some() || extents.len() >= EXTENTS_MAX {
            return Err(EINVAL);
        }
        let ends = [extent.first, extent.lower].map(|start| start.checked_add(extent.count));
        if extent.first == NO_ID || extent.lower == NO_ID || extent.count == 0 || ends.contains(&None) {
            return Err(EINVAL);
        }
        let overlap = |a: u32, a_count: u32, b: u32, b_count: u32| a < b + b_count && b < a + a_count;
        let clashes = extents.iter().any(|other| {
            overlap(other.first, other.count, extent.first, extent.count)
                || overlap(other.lower, other.count, extent.lower, extent.count)
        });
        if clashes {
            return Err(EINVAL);
        }
        extents.push(extent);
    }
    Ok(extents)
}

/// A user namespace that is not the initial one.
pub struct UserNamespace {
    /// Identifies it.
    pub ino: u64,
    parent: UserNs,
    level: u32,
    /// Effective ids of who made it, as the kernel has them.
    pub owner: u32,
    users: Once<IdMap>,
    groups: Once<IdMap>,
    projects: Once<IdMap>,
    /// Serialises writers of maps.
    writing: Mutex<()>,
    allows_setgroups: AtomicBool,
    parent_could_setfcap: bool,
    count: NsCount,
}

/// A user namespace.
#[derive(Clone)]
pub struct UserNs(Option<Arc<UserNamespace>>);

impl PartialEq for UserNs {
    fn eq(&self, other: &UserNs) -> bool {
        self.ino() == other.ino()
    }
}

impl Eq for UserNs {}

impl core::fmt::Debug for UserNs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "user:[{}]", self.ino())
    }
}

impl Drop for UserNamespace {
    /// Parents in a loop, not one in another.
    fn drop(&mut self) {
        self.count.forget_limits(self.ino);
        let mut next = self.parent.0.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut parent| parent.parent.0.take());
        }
    }
}

impl UserNs {
    /// That of PID 1 at boot.
    pub const INITIAL: UserNs = UserNs(None);

    /// A namespace below that of `cred`, whose caller becomes its owner, and credentials in it: with all capabilities.
    /// ENOSPC: too many, or nested too deeply; EPERM: the caller's ids mean nothing in its own namespace.
    pub fn create(cred: &Cred, counts: &Arc<NsCounts>) -> Result<Cred> {
        let parent = &cred.user_ns;
        if parent.level() > LEVEL_MAX {
            return Err(ENOSPC);
        }
        let count = counts.count(NsKind::User, parent, cred.euid)?;
        if parent.uid_inside(cred.euid).is_none() || parent.gid_inside(cred.egid).is_none() {
            return Err(EPERM);
        }
        let namespace = UserNamespace {
            ino: counts.next_ino(),
            parent: parent.clone(),
            level: parent.level() + 1,
            owner: cred.euid,
            users: Once::new(),
            groups: Once::new(),
            projects: Once::new(),
            writing: Mutex::default(),
            allows_setgroups: AtomicBool::new(parent.allows_setgroups()),
            parent_could_setfcap: cred.effective.contains(Caps::SETFCAP),
            count,
        };
        Ok(UserNs(Some(Arc::new(namespace))).enter(cred))
    }

    /// What `cred` becomes in this namespace: it may do everything there.
    pub fn enter(&self, cred: &Cred) -> Cred {
        Cred {
            user_ns: self.clone(),
            effective: ALL_CAPS,
            permitted: ALL_CAPS,
            inheritable: Caps::empty(),
            bounding: ALL_CAPS,
            ambient: Caps::empty(),
            secure_bits: SecureBits::empty(),
            ..cred.clone()
        }
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.0.is_none()
    }

    /// Identifies it (`/proc/PID/ns/user`).
    pub fn ino(&self) -> u64 {
        self.0.as_ref().map_or(INITIAL_USER, |namespace| namespace.ino)
    }

    /// The one around it; `None` of the initial one.
    pub fn parent(&self) -> Option<&UserNs> {
        self.0.as_ref().map(|namespace| &namespace.parent)
    }

    /// Who made it, as the kernel has the id.
    pub fn owner(&self) -> u32 {
        self.0.as_ref().map_or(0, |namespace| namespace.owner)
    }

    /// How many are around it.
    pub fn level(&self) -> u32 {
        self.0.as_ref().map_or(0, |namespace| namespace.level)
    }

    /// Whether it is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &UserNs) -> bool {
        let mut at = self;
        loop {
            if at == ancestor {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    fn map(&self, kind: IdKind) -> Option<Option<&IdMap>> {
        let namespace = self.0.as_ref()?;
        Some(match kind {
            IdKind::User => namespace.users.get(),
            IdKind::Group => namespace.groups.get(),
            IdKind::Project => namespace.projects.get(),
        })
    }

    /// The kernel's id for one inside; `None`: it is not mapped.
    pub fn id_down(&self, kind: IdKind, id: u32) -> Option<u32> {
        match self.map(kind) {
            None => (id != NO_ID).then_some(id),
            Some(map) => map?.down(id),
        }
    }

    /// The id inside for one of the kernel's; `None`: it is not mapped.
    pub fn id_up(&self, kind: IdKind, id: u32) -> Option<u32> {
        match self.map(kind) {
            None => Some(id),
            Some(map) => map?.up(id),
        }
    }

    /// The kernel's user id for one inside.
    pub fn uid(&self, id: u32) -> Option<u32> {
        self.id_down(IdKind::User, id)
    }

    /// The kernel's group id for one inside.
    pub fn gid(&self, id: u32) -> Option<u32> {
        self.id_down(IdKind::Group, id)
    }

    /// The user id inside for one of the kernel's.
    pub fn uid_inside(&self, id: u32) -> Option<u32> {
        self.id_up(IdKind::User, id)
    }

    /// The group id inside for one of the kernel's.
    pub fn gid_inside(&self, id: u32) -> Option<u32> {
        self.id_up(IdKind::Group, id)
    }

    /// The user id as a guest inside sees it: the overflow id if it has none there.
    pub fn shown_uid(&self, id: u32) -> u32 {
        self.uid_inside(id).unwrap_or(OVERFLOW_ID)
    }

    /// The group id as a guest inside sees it.
    pub fn shown_gid(&self, id: u32) -> u32 {
        self.gid_inside(id).unwrap_or(OVERFLOW_ID)
    }

    /// Whether `setgroups(2)` is allowed by `/proc/PID/setgroups`.
    pub fn allows_setgroups(&self) -> bool {
        self.0.as_ref().is_none_or(|namespace| namespace.allows_setgroups.load(Ordering::Relaxed))
    }

    /// Whether `setgroups(2)` can be used: it is allowed, and groups are mapped.
    pub fn may_setgroups(&self) -> bool {
        self.allows_setgroups() && self.0.as_ref().is_none_or(|namespace| namespace.groups.get().is_some())
    }

    /// Writes to `/proc/PID/setgroups`. EPERM: it cannot be allowed again, nor forbidden once groups are mapped.
    pub fn set_setgroups(&self, allow: bool) -> Result<()> {
        let Some(namespace) = &self.0 else { return if allow { Ok(()) } else { Err(EPERM) } };
        let _writing = namespace.writing.lock();
        let allowed = self.allows_setgroups();
        if allow && !allowed || !allow && allowed && namespace.groups.get().is_some() {
            return Err(EPERM);
        }
        namespace.allows_setgroups.store(allow, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a map, once: `cred` are those of who opened the file, and `writer` those of who writes. EPERM: it is there
    /// already, or they may not map these ids; EINVAL: the text is wrong.
    pub fn write_map(&self, kind: IdKind, text: &[u8], cred: &Cred, writer: &Cred) -> Result<()> {
        let Some(namespace) = &self.0 else { return Err(EPERM) };
        if cred.user_ns != *self && cred.user_ns != namespace.parent {
            return Err(EPERM);
        }
        let _writing = namespace.writing.lock();
        let (place, cap) = match kind {
            IdKind::User => (&namespace.users, Some(Caps::SETUID)),
            IdKind::Group => (&namespace.groups, Some(Caps::SETGID)),
            IdKind::Project => (&namespace.projects, None),
        };
        if place.get().is_some() || cap.is_some() && !cred.capable_in(self, Caps::SYS_ADMIN) {
            return Err(EPERM);
        }
        let mut extents = parse(text)?;
        if !self.may_map(namespace, kind, cap, &extents, [cred, writer]) {
            return Err(EPERM);
        }
        for extent in &mut extents {
            extent.lower = match namespace.parent.map(kind) {
                None => extent.lower,
                Some(map) => map.and_then(|map| map.down_range(extent.lower, extent.count)).ok_or(EPERM)?,
            };
        }
        place.call_once(|| IdMap(extents));
        Ok(())
    }

    /// Whether this may be a map, of who opened it and who writes it. `cap` is what lets one map any ids of the parent.
    fn may_map(
        &self,
        namespace: &UserNamespace,
        kind: IdKind,
        cap: Option<Caps>,
        extents: &[Extent],
        [cred, writer]: [&Cred; 2],
    ) -> bool {
        let parent = &namespace.parent;
        // Who maps the parent's superuser could leave file capabilities behind.
        let maps_root = extents.iter().any(|extent| extent.lower == 0);
        if kind == IdKind::User && maps_root {
            let may = if cred.user_ns == *self {
                namespace.parent_could_setfcap
            } else {
                cred.capable_in(parent, Caps::SETFCAP)
            };
            if !may {
                return false;
            }
        }
        // One's own id needs no privilege.
        if let [Extent { lower, count: 1, .. }] = extents
            && namespace.owner == cred.euid
        {
            match kind {
                IdKind::User if parent.uid(*lower) == Some(cred.euid) => return true,
                IdKind::Group if !self.allows_setgroups() && parent.gid(*lower) == Some(cred.egid) => {
                    return true;
                }
                _ => {}
            }
        }
        cap.is_none_or(|cap| [cred, writer].iter().all(|cred| cred.capable_in(parent, cap)))
    }

    /// The lines of a map as a reader in `reader` sees them: the lower ids are the reader's, or of the parent if the
    /// reader is inside.
    pub fn map_text(&self, kind: IdKind, reader: &UserNs) -> alloc::string::String {
        use core::fmt::Write;
        let mut text = alloc::string::String::new();
        let whole = IdMap(alloc::vec![Extent { first: 0, lower: 0, count: u32::MAX }]);
        let map = match self.map(kind) {
            None => Some(&whole),
            Some(map) => map,
        };
        let seen_from = match self.parent() {
            Some(parent) if reader == self => parent,
            _ => reader,
        };
        for extent in map.map_or(&[][..], |map| &map.0) {
            let lower = seen_from.id_up(kind, extent.lower).unwrap_or(NO_ID);
            let _ = writeln!(text, "{:10} {lower:10} {:10}", extent.first, extent.count);
        }
        text
    }
}

impl Cred {
    /// Whether it has `cap` over what belongs to `target`: in that namespace, or as the owner of one around it. Source:
    /// `user_namespaces(7)`, "Capabilities".
    pub fn capable_in(&self, target: &UserNs, cap: Caps) -> bool {
        let own = &self.user_ns;
        let mut at = target;
        loop {
            if at == own {
                return self.effective.contains(cap);
            }
            if at.level() <= own.level() {
                return false;
            }
            let Some(parent) = at.parent() else { return false };
            if parent == own && at.owner() == self.euid {
                return true;
            }
            at = parent;
        }
    }

    /// Whether it has `cap` in its own namespace, whichever that is.
    pub fn capable_here(&self, cap: Caps) -> bool {
        self.effective.contains(cap)
    }

    /// Whether it has `cap` over a file of this owner and group: both must be mapped in its namespace.
    pub fn capable_over(&self, uid: u32, gid: u32, cap: Caps) -> bool {
        self.effective.contains(cap)
            && (self.user_ns.is_initial()
                || self.user_ns.uid_inside(uid).is_some() && self.user_ns.gid_inside(gid).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> Arc<NsCounts> {
        NsCounts::new(1000)
    }

    fn user(uid: u32) -> Cred {
        let mut cred = Cred::root();
        (cred.uid, cred.euid, cred.suid, cred.fsuid) = (uid, uid, uid, uid);
        (cred.gid, cred.egid, cred.sgid, cred.fsgid) = (uid, uid, uid, uid);
        (cred.effective, cred.permitted) = (Caps::empty(), Caps::empty());
        cred
    }

    #[test]
    fn a_user_maps_itself_and_nobody_else() {
        let inside = UserNs::create(&user(7), &world()).unwrap();
        let ns = inside.user_ns.clone();
        assert_eq!((ns.shown_uid(7), ns.uid(0)), (OVERFLOW_ID, None));
        assert_eq!(ns.write_map(IdKind::User, b"0 8 1\n", &inside, &inside), Err(EPERM));
        assert_eq!(ns.write_map(IdKind::User, b"0 7 2\n", &inside, &inside), Err(EPERM));
        assert_eq!(ns.write_map(IdKind::User, b"0 7\n", &inside, &inside), Err(EINVAL));
        assert_eq!(ns.write_map(IdKind::User, b"0 7 1\n", &inside, &inside), Ok(()));
        assert_eq!(ns.write_map(IdKind::User, b"0 7 1\n", &inside, &inside), Err(EPERM));
        assert_eq!((ns.shown_uid(7), ns.uid(0), ns.uid(7)), (0, Some(7), None));
        assert_eq!(ns.write_map(IdKind::Group, b"0 7 1\n", &inside, &inside), Err(EPERM));
        ns.set_setgroups(false).unwrap();
        assert_eq!(ns.write_map(IdKind::Group, b"0 7 1\n", &inside, &inside), Ok(()));
        assert_eq!(ns.set_setgroups(true), Err(EPERM));
        assert_eq!(ns.map_text(IdKind::User, &ns), "         0          7          1\n");
    }

    #[test]
    fn who_opened_a_map_counts_too() {
        let ns = UserNs::create(&user(7), &world()).unwrap().user_ns;
        let (owner, root) = (user(7), Cred::root());
        assert_eq!(ns.write_map(IdKind::User, b"0 7 2\n", &owner, &root), Err(EPERM));
        assert_eq!(ns.write_map(IdKind::User, b"0 7 2\n", &root, &owner), Err(EPERM));
        assert_eq!(ns.write_map(IdKind::User, b"0 0 1\n", &owner, &root), Err(EPERM));
        assert_eq!(ns.write_map(IdKind::User, b"0 7 2\n", &root, &root), Ok(()));
    }

    #[test]
    fn capabilities_reach_down_and_not_up() {
        let counts = world();
        let inside = UserNs::create(&user(7), &counts).unwrap();
        assert!(inside.capable_in(&inside.user_ns, Caps::SYS_ADMIN));
        assert!(!inside.capable_in(&UserNs::INITIAL, Caps::SYS_ADMIN));
        assert!(!inside.capable(Caps::SYS_ADMIN));
        assert!(user(7).capable_in(&inside.user_ns, Caps::SYS_ADMIN), "the owner");
        assert!(!user(8).capable_in(&inside.user_ns, Caps::SYS_ADMIN));
        assert!(Cred::root().capable_in(&inside.user_ns, Caps::SYS_ADMIN));
    }

    #[test]
    fn nesting_and_numbers_are_limited() {
        let counts = NsCounts::new(40);
        let mut cred = Cred::root();
        let mut levels = 0;
        let refused = loop {
            match UserNs::create(&cred, &counts) {
                Ok(inside) => {
                    inside.user_ns.write_map(IdKind::User, b"0 0 1\n", &cred, &cred).unwrap();
                    inside.user_ns.write_map(IdKind::Group, b"0 0 1\n", &cred, &cred).unwrap();
                    cred = inside;
                    levels += 1;
                }
                Err(errno) => break errno,
            }
        };
        assert_eq!((levels, refused), (33, ENOSPC));
        let few = NsCounts::new(2);
        let kept = [UserNs::create(&Cred::root(), &few), UserNs::create(&Cred::root(), &few)];
        assert_eq!(UserNs::create(&Cred::root(), &few).err(), Some(ENOSPC));
        drop(kept);
        assert!(UserNs::create(&Cred::root(), &few).is_ok());
    }

    #[test]
    fn maps_are_of_maps() {
        let counts = world();
        let outer = UserNs::create(&Cred::root(), &counts).unwrap();
        outer
            .user_ns
            .write_map(IdKind::User, b"0 1000 10\n20 2000 5\n", &Cred::root(), &Cred::root())
            .unwrap();
        outer.user_ns.write_map(IdKind::Group, b"0 0 10\n", &Cred::root(), &Cred::root()).unwrap();
        let mut outer = outer;
        (outer.euid, outer.egid) = (1000, 0);
        let inner = UserNs::create(&outer, &counts).unwrap().user_ns;
        assert_eq!(inner.write_map(IdKind::User, b"0 8 3\n", &outer, &outer), Err(EPERM));
        inner.write_map(IdKind::User, b"0 5 3\n", &outer, &outer).unwrap();
        assert_eq!((inner.uid(2), inner.shown_uid(1006)), (Some(1007), 1));
        assert_eq!(inner.map_text(IdKind::User, &UserNs::INITIAL), "         0       1005          3\n");
        assert_eq!(inner.map_text(IdKind::User, &outer.user_ns), "         0          5          3\n");
    }
}
