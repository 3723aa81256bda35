//! Mounts by descriptors: `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`, `fspick(2)`, `open_tree(2)`, `move_mount(2)`,
//! `mount_setattr(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::mount::{check_not_revealing, make, privileged};
use crate::errno::{E2BIG, EBUSY, EINVAL, ENODATA, EOPNOTSUPP, EPERM, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::io::Sink;
use crate::sync::Mutex;
use crate::syscall::anon;
use crate::syscall::args::RawFd;
use crate::syscall::paths::check_flags;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::vfs::anon::AnonKind;
use crate::vfs::fd::OnExec;
use crate::vfs::file::{FileOps, Op, OpenFile, OpenFlags};
use crate::vfs::mount::{BindDepth, Detached, MountFlags, Origin, Propagation, Superblock};
use crate::vfs::path::Path;

const ATTR_RDONLY: u64 = 0x1;
const ATTR_NOSUID: u64 = 0x2;
const ATTR_NODEV: u64 = 0x4;
const ATTR_NOEXEC: u64 = 0x8;
const ATTR_ATIME: u64 = 0x70;
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;
const ATTR_NODIRATIME: u64 = 0x80;
const ATTR_NOSYMFOLLOW: u64 = 0x20_0000;
const ATTR_KNOWN: u64 =
    ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC | ATTR_ATIME | ATTR_NODIRATIME | ATTR_NOSYMFOLLOW;

const CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();

/// Longest key or value of `fsconfig(2)`.
const PARAMETER_MAX: usize = 256;
/// Most bytes of options that a context keeps, as `mount(2)` takes at most a page.
const OPTIONS_MAX: usize = PAGE_SIZE as usize;

/// How far a file system that is being made or changed has come.
enum Phase {
    /// Parameters are taken.
    New,
    /// It is there and can be mounted, once.
    Made(Arc<Superblock>),
    /// It is mounted and parameters are taken for a change.
    Changing(Arc<Superblock>),
}

struct State {
    phase: Phase,
    source: Vec<u8>,
    options: Vec<u8>,
    read_only: bool,
}

/// A file system that is being made or changed: what `fsopen(2)` and `fspick(2)` give a descriptor of.
struct FsContextFile {
    kind: Vec<u8>,
    state: Mutex<State>,
}

impl FileOps for FsContextFile {
    /// Messages about errors: there are none but the error itself.
    fn read(&self, _: Op<'_>, _: &mut dyn Sink) -> Result<usize> {
        Err(ENODATA)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A descriptor of a tree of mounts that is in no namespace. It can do what one opened with O_PATH can: nothing.
struct TreeFile(#[expect(dead_code, reason = "kept: the tree lasts as long")] Detached);

impl FileOps for TreeFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn on_exec(flags: u32) -> OnExec {
    if flags & CLOEXEC != 0 || flags & 1 != 0 { OnExec::Close } else { OnExec::Keep }
}

fn install_context<H: Host>(
    cx: &Cx<'_, H>,
    kind: &[u8],
    phase: Phase,
    read_only: bool,
    on_exec: OnExec,
) -> SysResult {
    let state = State { phase, source: Vec::new(), options: Vec::new(), read_only };
    let ops = Arc::new(FsContextFile { kind: kind.to_vec(), state: Mutex::new(state) });
    cx.install_file(anon::open(cx, ops, AnonKind::Other("[fscontext]"), OpenFlags::RDWR), on_exec)
}

fn install_tree<H: Host>(cx: &Cx<'_, H>, tree: Detached, on_exec: OnExec) -> SysResult {
    let root = tree.root.clone();
    let inode = root.inode().clone();
    cx.install_file(OpenFile::new(Arc::new(TreeFile(tree)), inode, Some(root), OpenFlags::PATH), on_exec)
}

/// `fsopen(2)`.
pub fn fsopen<H: Host>(cx: &Cx<'_, H>, name: u64, flags: u32) -> SysResult {
    privileged(cx)?;
    check_flags(flags, 1)?;
    let name = cx.user().read_cstr(name, PAGE_SIZE as usize)?;
    cx.fs.namespace().types.find(&name)?;
    install_context(cx, &name, Phase::New, false, on_exec(flags))
}

/// `fspick(2)`.
pub fn fspick<H: Host>(cx: &Cx<'_, H>, dir: RawFd, path: u64, flags: u32) -> SysResult {
    const NOFOLLOW: u32 = 2;
    const EMPTY_PATH: u32 = 8;
    privileged(cx)?;
    check_flags(flags, 15)?;
    let mut at = 0;
    if flags & NOFOLLOW != 0 {
        at |= sys::AT_SYMLINK_NOFOLLOW;
    }
    if flags & EMPTY_PATH != 0 {
        at |= sys::AT_EMPTY_PATH;
    }
    let place = cx.named(dir, path, at)?.into_path();
    if !place.is_mount_root() {
        return Err(EINVAL.into());
    }
    let superblock = place.mount.superblock.clone();
    let kind = superblock.fs.name().as_bytes();
    let read_only = superblock.is_read_only();
    install_context(cx, kind, Phase::Changing(superblock), read_only, on_exec(flags))
}

/// `fsconfig(2)`.
pub fn fsconfig<H: Host>(
    cx: &Cx<'_, H>,
    fd: RawFd,
    command: u32,
    key: u64,
    value: u64,
    aux: i32,
) -> SysResult {
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    const SET_BINARY: u32 = 2;
    const SET_PATH: u32 = 3;
    const SET_PATH_EMPTY: u32 = 4;
    const SET_FD: u32 = 5;
    const CREATE: u32 = 6;
    const RECONFIGURE: u32 = 7;
    let (has_key, has_value) = (key != 0, value != 0);
    let right = match command {
        SET_FLAG => has_key && !has_value && aux == 0,
        SET_STRING => has_key && has_value && aux == 0,
        SET_BINARY => has_key && has_value && (1..=1 << 20).contains(&aux),
        SET_PATH | SET_PATH_EMPTY => has_key && has_value && (aux == sys::AT_FDCWD || aux >= 0),
        SET_FD => has_key && !has_value && aux >= 0,
        CREATE | RECONFIGURE => !has_key && !has_value && aux == 0,
        _ => return Err(EOPNOTSUPP.into()),
    };
    if fd < 0 || !right {
        return Err(EINVAL.into());
    }
    let file = cx.file(fd)?;
    let context = file.ops.as_any().downcast_ref::<FsContextFile>().ok_or(EINVAL)?;
    match command {
        SET_FLAG => set(context, &cx.user().read_cstr(key, PARAMETER_MAX)?, None)?,
        SET_STRING => {
            let key = cx.user().read_cstr(key, PARAMETER_MAX)?;
            set(context, &key, Some(&cx.user().read_cstr(value, PARAMETER_MAX)?))?;
        }
        CREATE => create(cx, context)?,
        RECONFIGURE => reconfigure(cx, context)?,
        // No file system here has such parameters.
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// Takes a parameter. What the type does not know is refused when the file system is made.
fn set(context: &FsContextFile, key: &[u8], value: Option<&[u8]>) -> Result<()> {
    let mut state = context.state.lock();
    if matches!(state.phase, Phase::Made(_)) {
        return Err(EBUSY);
    }
    match (key, value) {
        (b"ro", None) => state.read_only = true,
        (b"rw", None) => state.read_only = false,
        (b"source", Some(value)) => {
            if !state.source.is_empty() {
                return Err(EINVAL);
            }
            state.source = value.to_vec();
        }
        _ => {
            // A comma would be taken for the end of the option.
            let bad =
                key.is_empty() || key.contains(&b',') || value.is_some_and(|value| value.contains(&b','));
            if bad || state.options.len() + key.len() + PARAMETER_MAX > OPTIONS_MAX {
                return Err(EINVAL);
            }
            if !state.options.is_empty() {
                state.options.push(b',');
            }
            state.options.extend_from_slice(key);
            if let Some(value) = value {
                state.options.push(b'=');
                state.options.extend_from_slice(value);
            }
        }
    }
    Ok(())
}

fn create<H: Host>(cx: &Cx<'_, H>, context: &FsContextFile) -> Result<()> {
    let (source, options, read_only) = {
        let state = context.state.lock();
        if !matches!(state.phase, Phase::New) {
            return Err(EBUSY);
        }
        (state.source.clone(), state.options.clone(), state.read_only)
    };
    let flags = if read_only { MountFlags::READ_ONLY } else { MountFlags::empty() };
    let fs = make(cx, &context.kind, &source, &options, flags)?;
    let superblock = cx.fs.namespace().table.superblock(fs, &cx.cred().user_ns, read_only);
    let mut state = context.state.lock();
    if !matches!(state.phase, Phase::New) {
        return Err(EBUSY);
    }
    state.phase = Phase::Made(superblock);
    Ok(())
}

fn reconfigure<H: Host>(cx: &Cx<'_, H>, context: &FsContextFile) -> Result<()> {
    let (superblock, options, read_only) = {
        let mut state = context.state.lock();
        let Phase::Changing(superblock) = &state.phase else { return Err(EBUSY) };
        let superblock = superblock.clone();
        (superblock, core::mem::take(&mut state.options), state.read_only)
    };
    if !cx.cred().capable_in(&superblock.user_ns, Caps::SYS_ADMIN) {
        return Err(EPERM);
    }
    superblock.change(&options, read_only)
}

/// What `MOUNT_ATTR_*` forbid.
fn flags_of(attr: u64) -> Result<MountFlags> {
    let mut flags = MountFlags::empty();
    for (bit, flag) in [
        (ATTR_RDONLY, MountFlags::READ_ONLY),
        (ATTR_NOSUID, MountFlags::NO_SUID),
        (ATTR_NODEV, MountFlags::NO_DEV),
        (ATTR_NOEXEC, MountFlags::NO_EXEC),
        (ATTR_NODIRATIME, MountFlags::NO_DIR_ATIME),
        (ATTR_NOSYMFOLLOW, MountFlags::NO_SYM_FOLLOW),
    ] {
        flags.set(flag, attr & bit != 0);
    }
    match attr & ATTR_ATIME {
        0 => flags |= MountFlags::REL_ATIME,
        ATTR_NOATIME => flags |= MountFlags::NO_ATIME,
        ATTR_STRICTATIME => {}
        _ => return Err(EINVAL),
    }
    Ok(flags)
}

/// `fsmount(2)`.
pub fn fsmount<H: Host>(cx: &Cx<'_, H>, fd: RawFd, flags: u32, attr: u32) -> SysResult {
    privileged(cx)?;
    check_flags(flags, 1)?;
    if u64::from(attr) & !ATTR_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    let wanted = flags_of(attr.into())?;
    let file = cx.file(fd)?;
    let context = file.ops.as_any().downcast_ref::<FsContextFile>().ok_or(EINVAL)?;
    let mut state = context.state.lock();
    let superblock = match &state.phase {
        Phase::New => return Err(EINVAL.into()),
        Phase::Changing(_) => return Err(EBUSY.into()),
        Phase::Made(superblock) => superblock.clone(),
    };
    let namespace = cx.fs.namespace();
    check_not_revealing(namespace, &*superblock.fs, wanted, &cx.cred())?;
    let source = if state.source.is_empty() { b"none".to_vec() } else { state.source.clone() };
    let tree = namespace.mount_nowhere(superblock.clone(), &source, wanted);
    state.phase = Phase::Changing(superblock);
    state.options.clear();
    drop(state);
    install_tree(cx, tree, on_exec(flags))
}

/// `open_tree(2)`.
pub fn open_tree<H: Host>(cx: &Cx<'_, H>, dir: RawFd, path: u64, flags: u32) -> SysResult {
    const CLONE: u32 = 1;
    let at = sys::AT_EMPTY_PATH | sys::AT_SYMLINK_NOFOLLOW;
    check_flags(flags, at | sys::AT_NO_AUTOMOUNT | sys::AT_RECURSIVE | CLONE | CLOEXEC)?;
    if flags & (sys::AT_RECURSIVE | CLONE) == sys::AT_RECURSIVE {
        return Err(EINVAL.into());
    }
    if flags & CLONE != 0 {
        privileged(cx)?;
    }
    let place = cx.named(dir, path, flags & at)?.into_path();
    let on_exec = on_exec(flags & CLOEXEC);
    if flags & CLONE != 0 {
        let depth = if flags & sys::AT_RECURSIVE != 0 { BindDepth::Recursive } else { BindDepth::One };
        return install_tree(cx, cx.fs.namespace().clone_tree(&place, depth)?, on_exec);
    }
    let file = cx.fs.walker(cx.caller()).open_path(place, OpenFlags::PATH)?;
    cx.install_file(file, on_exec)
}

/// `move_mount(2)`.
pub fn move_mount<H: Host>(cx: &Cx<'_, H>, from: (RawFd, u64), to: (RawFd, u64), flags: u32) -> SysResult {
    const FROM_SYMLINKS: u32 = 0x1;
    const FROM_EMPTY: u32 = 0x4;
    const TO_SYMLINKS: u32 = 0x10;
    const TO_EMPTY: u32 = 0x40;
    privileged(cx)?;
    check_flags(flags, 0x77)?;
    let find = |(dir, path): (RawFd, u64), symlinks, empty| -> Result<Path> {
        let mut at = if flags & symlinks == 0 { sys::AT_SYMLINK_NOFOLLOW } else { 0 };
        if flags & empty != 0 {
            at |= sys::AT_EMPTY_PATH;
        }
        Ok(cx.named(dir, path, at)?.into_path())
    };
    let from = find(from, FROM_SYMLINKS, FROM_EMPTY)?;
    let to = find(to, TO_SYMLINKS, TO_EMPTY)?;
    cx.fs.namespace().move_mount(&from, &to, Origin::Detached)?;
    Ok(0)
}

/// `struct mount_attr`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_ns: u64,
}

/// `mount_setattr(2)`: flags and propagation; id-mapped mounts are refused (EINVAL).
pub fn mount_setattr<H: Host>(
    cx: &Cx<'_, H>,
    dir: RawFd,
    path: u64,
    flags: u32,
    attr: u64,
    size: usize,
) -> SysResult {
    let at = sys::AT_EMPTY_PATH | sys::AT_SYMLINK_NOFOLLOW;
    check_flags(flags, at | sys::AT_NO_AUTOMOUNT | sys::AT_RECURSIVE)?;
    if size > PAGE_SIZE as usize {
        return Err(E2BIG.into());
    }
    if size < size_of::<MountAttr>() {
        return Err(EINVAL.into());
    }
    privileged(cx)?;
    let wanted: MountAttr = cx.user().get_versioned(attr, size)?;
    if wanted.set == 0 && wanted.clear == 0 && wanted.propagation == 0 {
        return Ok(0);
    }
    let propagation = match wanted.propagation {
        0 => None,
        0x2_0000 => Some(Propagation::Unbindable),
        0x4_0000 => Some(Propagation::Private),
        0x8_0000 => Some(Propagation::Slave),
        0x10_0000 => Some(Propagation::Shared),
        _ => return Err(EINVAL.into()),
    };
    if (wanted.set | wanted.clear) & !ATTR_KNOWN != 0 {
        return Err(EINVAL.into());
    }
    // How access times are kept is one value: it is set only if the old one is taken away as a whole.
    let times = match wanted.clear & ATTR_ATIME {
        0 if wanted.set & ATTR_ATIME != 0 => return Err(EINVAL.into()),
        0 => false,
        ATTR_ATIME => true,
        _ => return Err(EINVAL.into()),
    };
    let about_times = MountFlags::NO_ATIME | MountFlags::REL_ATIME;
    let (set, clear) = (flags_of(wanted.set)?, flags_of(wanted.clear & !ATTR_ATIME)? - about_times);
    let place = cx.named(dir, path, flags & at)?.into_path();
    let depth = if flags & sys::AT_RECURSIVE != 0 { BindDepth::Recursive } else { BindDepth::One };
    cx.fs.namespace().change_flags(&place, depth, propagation, |now| {
        let kept = if times { now - about_times } else { now };
        (kept - clear) | if times { set } else { set - about_times }
    })?;
    Ok(0)
}
