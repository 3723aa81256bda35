//! Namespaces: making and entering them. Sources: `unshare(2)`, `setns(2)`, `ioctl_ns(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{EINVAL, ENOTTY, EPERM, ESRCH, Result};
use crate::fs::nsfs::{AnyNs, NsFile};
use crate::fs::proc::source::TaskView;
use crate::host::Host;
use crate::ipc::pidfd::PidFd;
use crate::syscall::args::RawFd;
use crate::syscall::mount::all_contexts;
use crate::syscall::{Cx, SysResult};
use crate::task::access::Ids;
use crate::task::clone::{CloneArgs, CloneFlags};
use crate::task::cred::{Caps, Cred};
use crate::task::namespaces::{Namespaces, New, NsKind};
use crate::task::user_ns::{NsCount, UserNs};
use crate::task::view::View;
use crate::vfs::context::FsContext;
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::mount::Namespace;
use crate::vfs::path::Path;

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

/// All flags for namespaces, and what they make.
const KINDS: [(CloneFlags, NsKind); 7] = [
    (CloneFlags::NEWUSER, NsKind::User),
    (CloneFlags::NEWNS, NsKind::Mnt),
    (CloneFlags::NEWUTS, NsKind::Uts),
    (CloneFlags::NEWIPC, NsKind::Ipc),
    (CloneFlags::NEWNET, NsKind::Net),
    (CloneFlags::NEWPID, NsKind::Pid),
    (CloneFlags::NEWCGROUP, NsKind::Cgroup),
];

fn kinds_of(flags: CloneFlags) -> Vec<NsKind> {
    KINDS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, kind)| *kind).collect()
}

fn flag_of(kind: NsKind) -> CloneFlags {
    KINDS.iter().find(|(_, known)| *known == kind).map_or(CloneFlags::empty(), |(flag, _)| *flag)
}

/// What a task has of new namespaces.
#[derive(Default)]
pub struct NewNamespaces {
    /// Credentials in a new user namespace.
    pub cred: Option<Arc<Cred>>,
    /// Directories in a new mount namespace.
    pub fs: Option<Arc<FsContext>>,
    /// The others.
    pub others: Option<Arc<Namespaces>>,
}

impl<H: Host> Cx<'_, H> {
    /// The namespaces that `flags` ask for, for the caller or a child. EPERM: not allowed; ENOSPC: too many.
    pub(crate) fn new_namespaces(&self, flags: CloneFlags) -> Result<NewNamespaces> {
        let kinds = kinds_of(flags);
        let mut new = NewNamespaces::default();
        if kinds.is_empty() {
            return Ok(new);
        }
        let mut cred = self.cred();
        if kinds.contains(&NsKind::User) {
            if self.is_chrooted() {
                return Err(EPERM);
            }
            cred = Arc::new(UserNs::create(&cred, &self.kernel.ns_counts)?);
            new.cred = Some(cred.clone());
        }
        if kinds == [NsKind::User] {
            return Ok(new);
        }
        if !cred.capable_here(Caps::SYS_ADMIN) {
            return Err(EPERM);
        }
        let counted = New { counts: &self.kernel.ns_counts, user_ns: &cred.user_ns, uid: cred.euid };
        if kinds.contains(&NsKind::Mnt) {
            let count = counted.count(NsKind::Mnt)?;
            new.fs = Some(copy_mounts(&self.fs, counted.counts.next_ino(), &cred.user_ns, count)?);
        }
        new.others =
            Some(self.task.namespaces().with_new(&kinds, &counted, self.task.process.cgroup.group())?);
        Ok(new)
    }

    /// Whether its root directory is not that of its mount namespace.
    fn is_chrooted(&self) -> bool {
        !self.fs.namespace().root().is_some_and(|root| root.is(&self.fs.root()))
    }

    fn is_fs_shared(&self) -> bool {
        // The caller's own among them.
        all_contexts(self).iter().filter(|fs| Arc::ptr_eq(fs, &self.fs)).count() > 1
    }

    fn is_alone(&self) -> bool {
        self.task.process.threads().len() <= 1
    }
}

/// Directories in a copy of the mount namespace.
fn copy_mounts(fs: &Arc<FsContext>, ino: u64, user_ns: &UserNs, count: NsCount) -> Result<Arc<FsContext>> {
    let (copy, pairs) = fs.namespace().copy(ino, user_ns.clone(), count)?;
    let moved = |path: Path| match pairs.iter().find(|(old, _)| Arc::ptr_eq(old, &path.mount)) {
        Some((_, mount)) => Path { mount: mount.clone(), dentry: path.dentry },
        None => path,
    };
    Ok(fs.moved(copy, moved(fs.root()), moved(fs.cwd())))
}

/// `unshare(2)`.
pub fn unshare<H: Host>(cx: &Cx<'_, H>, flags: u64) -> SysResult {
    let mut flags = CloneArgs::flags_from(flags)?;
    let of_threads = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let namespaces = KINDS.iter().fold(CloneFlags::empty(), |all, (flag, _)| all | *flag);
    let known = of_threads | CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM | namespaces;
    if !known.contains(flags) {
        return Err(EINVAL.into());
    }
    if flags.contains(CloneFlags::NEWUSER) {
        flags |= CloneFlags::THREAD | CloneFlags::FS;
    }
    if flags.contains(CloneFlags::NEWNS) {
        flags |= CloneFlags::FS;
    }
    if flags.intersects(of_threads) && !cx.is_alone() {
        return Err(EINVAL.into());
    }
    let new = cx.new_namespaces(flags)?;
    if flags.intersects(CloneFlags::SYSVSEM | CloneFlags::NEWIPC) {
        cx.leave_undo_list();
    }
    let fs = match new.fs {
        Some(fs) => Some(fs),
        None => flags.contains(CloneFlags::FS).then(|| cx.fs.copy()),
    };
    if let Some(fs) = fs {
        cx.task.replace_resources(|resources| resources.fs = fs);
    }
    if flags.contains(CloneFlags::FILES) {
        cx.task.replace_resources(|resources| resources.files = resources.files.copy());
    }
    if let Some(cred) = new.cred {
        cx.task.set_cred(Cred::clone(&cred));
    }
    if let Some(others) = new.others {
        cx.task.set_namespaces(others);
    }
    Ok(0)
}

/// `setns(2)`: enters the namespace of a file, or those of a process.
pub fn setns<H: Host>(cx: &Cx<'_, H>, fd: RawFd, kinds: u32) -> SysResult {
    let file = cx.file(fd)?;
    let flags = CloneFlags::from_bits(kinds.into()).ok_or(EINVAL)?;
    let wanted = kinds_of(flags);
    if let Some(NsFile(namespace)) = file.ops.as_any().downcast_ref::<NsFile>() {
        if kinds != 0 && flags != flag_of(namespace.kind()) {
            return Err(EINVAL.into());
        }
        return enter(cx, core::slice::from_ref(namespace));
    }
    let Some(pidfd) = file.ops.as_any().downcast_ref::<PidFd>() else { return Err(EINVAL.into()) };
    let only_kinds = wanted.iter().fold(CloneFlags::empty(), |all, kind| all | flag_of(*kind));
    if wanted.is_empty() || only_kinds != flags {
        return Err(EINVAL.into());
    }
    let view = View::of(cx.kernel.clone(), pidfd.pid).filter(|_| !pidfd.exit.is_reaped()).ok_or(ESRCH)?;
    let view = view.look(cx.caller(), Ids::Real).map_err(|_| EPERM)?;
    let all: Vec<AnyNs> = wanted
        .iter()
        .map(|kind| view.namespace(*kind).ok_or(if view.fs().is_some() { EINVAL } else { ESRCH }))
        .collect::<Result<_>>()?;
    enter(cx, &all)
}

/// Enters namespaces, all or none; a user namespace comes first.
fn enter<H: Host>(cx: &Cx<'_, H>, all: &[AnyNs]) -> SysResult {
    let mut cred = Cred::clone(&cx.cred());
    let mut others = Namespaces::clone(&cx.task.namespaces());
    let mut mounts: Option<&Arc<Namespace>> = None;
    let mut entered_user = false;
    for namespace in all {
        if let AnyNs::User(user_ns) = namespace {
            if *user_ns == cred.user_ns || !cx.is_alone() || cx.is_fs_shared() {
                return Err(EINVAL.into());
            }
            if !cred.capable_in(user_ns, Caps::SYS_ADMIN) {
                return Err(EPERM.into());
            }
            cred = user_ns.enter(&cred);
            entered_user = true;
            continue;
        }
        let owner = namespace.owner().unwrap_or(UserNs::INITIAL);
        if !cred.capable_in(&owner, Caps::SYS_ADMIN) || !cred.capable_here(Caps::SYS_ADMIN) {
            return Err(EPERM.into());
        }
        match namespace {
            AnyNs::Mnt(namespace) => {
                if !cred.capable_here(Caps::SYS_CHROOT) {
                    return Err(EPERM.into());
                }
                if cx.is_fs_shared() {
                    return Err(EINVAL.into());
                }
                mounts = Some(namespace);
            }
            AnyNs::Uts(namespace) => others.uts = namespace.clone(),
            AnyNs::Cgroup(namespace) => others.cgroup = namespace.clone(),
            AnyNs::Ipc(namespace) => others.ipc = namespace.clone(),
            AnyNs::Pid(pid_ns) => {
                if !pid_ns.is_within(&cx.task.process.pid_ns) {
                    return Err(EINVAL.into());
                }
                others.pid_for_children = pid_ns.clone();
            }
            AnyNs::User(_) => {}
        }
    }
    if let Some(namespace) = mounts {
        let root = namespace.root().ok_or(EINVAL)?;
        let fs = cx.fs.moved(namespace.clone(), root.clone(), root);
        cx.task.replace_resources(|resources| resources.fs = fs);
    }
    if entered_user {
        cx.task.set_cred(cred);
    }
    if !Arc::ptr_eq(&others.ipc, &cx.task.namespaces().ipc) {
        cx.leave_undo_list();
    }
    cx.task.set_namespaces(Arc::new(others));
    Ok(0)
}

/// The requests that a namespace's file knows; ENOTTY for others.
pub fn ioctl<H: Host>(cx: &Cx<'_, H>, file: &OpenFile, command: u32, arg: u64) -> SysResult {
    let NsFile(namespace) = file.ops.as_any().downcast_ref().ok_or(ENOTTY)?;
    let related = match (command, namespace) {
        (NS_GET_USERNS, _) => namespace.owner(),
        (NS_GET_PARENT, AnyNs::User(user_ns)) => user_ns.parent().cloned(),
        (NS_GET_PARENT, AnyNs::Pid(pid_ns)) => {
            let parent = pid_ns.parent().filter(|parent| parent.is_within(&cx.task.process.pid_ns));
            return open(cx, AnyNs::Pid(parent.ok_or(EPERM)?.clone()));
        }
        (NS_GET_PARENT, _) => return Err(EINVAL.into()),
        (NS_GET_NSTYPE, _) => return Ok(flag_of(namespace.kind()).bits()),
        (NS_GET_OWNER_UID, AnyNs::User(user_ns)) => {
            let uid = cx.cred().user_ns.shown_uid(user_ns.owner());
            cx.user().set(arg, &uid)?;
            return Ok(0);
        }
        (NS_GET_OWNER_UID, _) => return Err(EINVAL.into()),
        _ => return Err(ENOTTY.into()),
    };
    // What is outside of one's own user namespace is not to be seen.
    let related = related.filter(|related| related.is_within(&cx.cred().user_ns)).ok_or(EPERM)?;
    open(cx, AnyNs::User(related))
}

/// A descriptor of a namespace.
fn open<H: Host>(cx: &Cx<'_, H>, namespace: AnyNs) -> SysResult {
    let path = namespace.clone().path();
    let inode = path.inode().clone();
    let file = OpenFile::new(Arc::new(NsFile(namespace)), inode, Some(path), OpenFlags::empty());
    cx.install_file(file, crate::vfs::fd::OnExec::Close)
}
