//! What the namespaces of a task have in common: numbers, limits, and who holds which. Source: `namespaces(7)`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{ENOSPC, Result};
use crate::ipc::sysv::IpcNamespace;
use crate::sync::Mutex;
use crate::task::cgroup::Group;
use crate::task::pid_ns::PidNs;
use crate::task::user_ns::UserNs;

/// Inode numbers of the namespaces that are there at boot, as Linux has them.
pub const INITIAL_IPC: u64 = 0xefff_ffff;
/// See [`INITIAL_IPC`].
pub const INITIAL_UTS: u64 = 0xefff_fffe;
/// See [`INITIAL_IPC`].
pub const INITIAL_USER: u64 = 0xefff_fffd;
/// See [`INITIAL_IPC`].
pub const INITIAL_PID: u64 = 0xefff_fffc;
/// See [`INITIAL_IPC`].
pub const INITIAL_CGROUP: u64 = 0xefff_fffb;
/// See [`INITIAL_IPC`].
pub const INITIAL_NET: u64 = 0xefff_fff9;
/// See [`INITIAL_IPC`].
pub const INITIAL_MNT: u64 = 0xefff_fff8;
/// The first number of those made later.
const FIRST_INO: u64 = 0xf000_0000;

/// The kinds of namespaces that are counted, in the order of [`NsKind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NsKind {
    /// `CLONE_NEWCGROUP`.
    Cgroup,
    /// `CLONE_NEWIPC`.
    Ipc,
    /// `CLONE_NEWNS`.
    Mnt,
    /// `CLONE_NEWNET`.
    Net,
    /// `CLONE_NEWPID`.
    Pid,
    /// `CLONE_NEWUSER`.
    User,
    /// `CLONE_NEWUTS`.
    Uts,
}

impl NsKind {
    /// All.
    pub const ALL: [NsKind; 7] =
        [NsKind::Cgroup, NsKind::Ipc, NsKind::Mnt, NsKind::Net, NsKind::Pid, NsKind::User, NsKind::Uts];

    /// As `/proc/PID/ns` has it.
    pub fn name(self) -> &'static str {
        match self {
            NsKind::Cgroup => "cgroup",
            NsKind::Ipc => "ipc",
            NsKind::Mnt => "mnt",
            NsKind::Net => "net",
            NsKind::Pid => "pid",
            NsKind::User => "user",
            NsKind::Uts => "uts",
        }
    }
}

/// A namespace's number, a user, a kind.
type CountKey = (u64, u32, NsKind);

#[derive(Default)]
struct Counted {
    used: BTreeMap<CountKey, u32>,
    limits: BTreeMap<(u64, NsKind), u32>,
}

/// How many namespaces each user has made, and may make (`/proc/sys/user/max_*_namespaces`).
pub struct NsCounts {
    counted: Mutex<Counted>,
    last_ino: AtomicU64,
    initial_limit: u32,
}

/// A namespace that counts until it is dropped.
pub struct NsCount {
    counts: Arc<NsCounts>,
    keys: Vec<CountKey>,
}

impl NsCounts {
    /// With this limit of each kind for the users of the initial user namespace.
    pub fn new(initial_limit: u32) -> Arc<NsCounts> {
        Arc::new(NsCounts { counted: Mutex::default(), last_ino: AtomicU64::new(FIRST_INO), initial_limit })
    }

    /// A number for a namespace.
    pub fn next_ino(&self) -> u64 {
        self.last_ino.fetch_add(1, Ordering::Relaxed)
    }

    /// How many of a kind each user of `user_ns` may have made.
    pub fn limit(&self, user_ns: &UserNs, kind: NsKind) -> u32 {
        let set = self.counted.lock().limits.get(&(user_ns.ino(), kind)).copied();
        let default = if user_ns.is_initial() { self.initial_limit } else { i32::MAX as u32 };
        set.unwrap_or(default)
    }

    /// Sets it.
    pub fn set_limit(&self, user_ns: &UserNs, kind: NsKind, limit: u32) {
        self.counted.lock().limits.insert((user_ns.ino(), kind), limit);
    }

    /// Counts a namespace that `uid` makes in `user_ns`: for that user there, and for the owner of each namespace around
    /// it. ENOSPC: one of them has too many.
    pub fn count(self: &Arc<NsCounts>, kind: NsKind, user_ns: &UserNs, uid: u32) -> Result<NsCount> {
        let mut guard = NsCount { counts: self.clone(), keys: Vec::new() };
        let (mut at, mut uid) = (Some(user_ns), uid);
        while let Some(namespace) = at {
            let limit = self.limit(namespace, kind);
            let key = (namespace.ino(), uid, kind);
            {
                let mut counted = self.counted.lock();
                let used = counted.used.entry(key).or_default();
                if *used >= limit {
                    if *used == 0 {
                        counted.used.remove(&key);
                    }
                    drop(counted);
                    return Err(ENOSPC);
                }
                *used += 1;
            }
            guard.keys.push(key);
            (at, uid) = (namespace.parent(), namespace.owner());
        }
        Ok(guard)
    }
}

impl NsCount {
    /// User namespace `ino` is gone.
    pub fn forget_limits(&self, ino: u64) {
        self.counts.counted.lock().limits.retain(|(of, _), _| *of != ino);
    }
}

impl Drop for NsCount {
    fn drop(&mut self) {
        let mut counted = self.counts.counted.lock();
        for key in &self.keys {
            if let Some(used) = counted.used.get_mut(key) {
                *used -= 1;
                if *used == 0 {
                    counted.used.remove(key);
                }
            }
        }
    }
}

/// `uname`'s names that can be set.
#[derive(Clone, Debug)]
pub struct HostNames {
    /// `nodename`.
    pub host: Vec<u8>,
    /// `domainname`.
    pub domain: Vec<u8>,
}

/// A UTS namespace: host and domain name.
pub struct UtsNamespace {
    /// Identifies it.
    pub ino: u64,
    /// Whose administrator may change it.
    pub user_ns: UserNs,
    /// The names.
    pub names: Mutex<HostNames>,
    _count: Option<NsCount>,
}

impl UtsNamespace {
    /// The first one.
    pub fn initial(host: Vec<u8>) -> Arc<UtsNamespace> {
        Arc::new(UtsNamespace {
            ino: INITIAL_UTS,
            user_ns: UserNs::INITIAL,
            names: Mutex::new(HostNames { host, domain: b"(none)".to_vec() }),
            _count: None,
        })
    }

    fn copy(&self, new: &New<'_>) -> Result<Arc<UtsNamespace>> {
        Ok(Arc::new(UtsNamespace {
            ino: new.counts.next_ino(),
            user_ns: new.user_ns.clone(),
            names: Mutex::new(self.names.lock().clone()),
            _count: Some(new.count(NsKind::Uts)?),
        }))
    }
}

/// A cgroup namespace: who is in it sees groups from its root on.
pub struct CgroupNamespace {
    /// Identifies it.
    pub ino: u64,
    /// Whose administrator may enter it.
    pub user_ns: UserNs,
    /// The group that its maker was in.
    pub root: Arc<Group>,
    _count: Option<NsCount>,
}

/// Who makes namespaces: what they are counted for.
pub struct New<'a> {
    /// Where they are counted.
    pub counts: &'a Arc<NsCounts>,
    /// Whose they become.
    pub user_ns: &'a UserNs,
    /// The maker's effective user id.
    pub uid: u32,
}

impl New<'_> {
    /// Counts one.
    pub fn count(&self, kind: NsKind) -> Result<NsCount> {
        self.counts.count(kind, self.user_ns, self.uid)
    }
}

/// The namespaces of a task that are neither with its credentials nor with its directories.
#[derive(Clone)]
pub struct Namespaces {
    /// Names of the machine.
    pub uts: Arc<UtsNamespace>,
    /// The root of control groups.
    pub cgroup: Arc<CgroupNamespace>,
    /// System V objects and POSIX message queues.
    pub ipc: Arc<IpcNamespace>,
    /// Where processes that it makes get their numbers.
    pub pid_for_children: PidNs,
}

impl Namespaces {
    /// Those at boot.
    pub fn initial(hostname: Vec<u8>, ipc: Arc<IpcNamespace>, root: Arc<Group>) -> Arc<Namespaces> {
        let user_ns = UserNs::INITIAL;
        let cgroup = CgroupNamespace { ino: INITIAL_CGROUP, user_ns, root, _count: None };
        Arc::new(Namespaces {
            uts: UtsNamespace::initial(hostname),
            cgroup: Arc::new(cgroup),
            ipc,
            pid_for_children: PidNs::INITIAL,
        })
    }

    /// With new ones of these kinds, for whom is in `group`.
    pub fn with_new(&self, kinds: &[NsKind], new: &New<'_>, group: Arc<Group>) -> Result<Arc<Namespaces>> {
        let mut all = self.clone();
        if kinds.contains(&NsKind::Uts) {
            all.uts = self.uts.copy(new)?;
        }
        if kinds.contains(&NsKind::Cgroup) {
            all.cgroup = Arc::new(CgroupNamespace {
                ino: new.counts.next_ino(),
                user_ns: new.user_ns.clone(),
                root: group,
                _count: Some(new.count(NsKind::Cgroup)?),
            });
        }
        if kinds.contains(&NsKind::Ipc) {
            all.ipc = self.ipc.another(new)?;
        }
        if kinds.contains(&NsKind::Pid) {
            all.pid_for_children = self.pid_for_children.below(new)?;
        }
        Ok(Arc::new(all))
    }
}
