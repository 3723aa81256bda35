//! `/proc/PID/fd` and `/proc/PID/fdinfo`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::FactFs;
use super::source::TaskView;
use super::task::{Whose, named, owned};
use crate::errno::{ENOENT, Result};
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::task::access::Ids;
use crate::vfs::caller::Caller;
use crate::vfs::fd::{FdTable, OnExec, RawFd};
use crate::vfs::file::OpenFile;
use crate::vfs::inode::{FileKind, Inode, LinkTarget};
use crate::vfs::path::Path;

/// Inode numbers of descriptors: away from those of the other entries.
const FD_INO: u64 = 1 << 56;
const FDINFO_INO: u64 = 1 << 57;

/// `/proc/PID/fd`.
pub(super) struct Fds {
    pub fs: FactFs,
    pub whose: Whose,
}

/// `/proc/PID/fdinfo`.
pub(super) struct FdInfos {
    pub fs: FactFs,
    pub whose: Whose,
}

fn table(fs: &FactFs, whose: Whose) -> Result<Arc<FdTable>> {
    whose.view(fs)?.files().ok_or(ENOENT)
}

fn list(fs: &FactFs, whose: Whose, kind: FileKind, base: u64) -> Vec<Listed> {
    let Ok(files) = table(fs, whose) else { return Vec::new() };
    let mut all = Vec::new();
    let mut from = 0;
    while let Some((fd, _)) = files.next_open(from) {
        let key = fd as u64;
        all.push(Listed { key, ino: base + whose.ino() + key, kind, name: format!("{fd}").into_bytes() });
        from = fd as usize + 1;
    }
    all
}

fn open_file(fs: &FactFs, whose: Whose, fd: RawFd) -> Result<(Arc<FdTable>, Arc<OpenFile>)> {
    let files = table(fs, whose).map_err(|_| ENOENT)?;
    let file = files.get_any(fd).map_err(|_| ENOENT)?;
    Ok((files, file))
}

/// The task, its table, and a file of that.
type Looked = (Arc<dyn TaskView>, Arc<FdTable>, Arc<OpenFile>);

fn number(name: &[u8]) -> Result<RawFd> {
    let number = super::number(name).ok_or(ENOENT)?;
    RawFd::try_from(number).map_err(|_| ENOENT)
}

impl Listing for Fds {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let (fd, whose) = (number(name)?, self.whose);
        let (_, file) = open_file(&self.fs, whose, fd)?;
        let flags = file.flags();
        // The link's permissions tell how the descriptor is open.
        let mut mode = 0o100;
        mode |= if flags.readable() { 0o400 } else { 0 };
        mode |= if flags.writable() { 0o200 } else { 0 };
        let fs = self.fs.clone();
        let read = Box::new(move |caller: &dyn Caller| target(&fs, whose, fd, caller));
        let view = whose.view(&self.fs)?;
        let ino = FD_INO + whose.ino() + fd as u64;
        Ok(Node::new(owned(&self.fs, ino, mode, &*view), Body::Link(read)))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        list(&self.fs, self.whose, FileKind::Symlink, FD_INO)
    }

    fn is_stable(&self) -> bool {
        false
    }
}

/// A descriptor's file, for whoever may look into the task: also when it was found, since a program that is executed
/// meanwhile has the same table.
fn look(fs: &FactFs, whose: Whose, fd: RawFd, caller: &dyn Caller) -> Result<Looked> {
    let view = whose.view(fs)?;
    view.look(caller, Ids::FileSystem)?;
    let found = open_file(fs, whose, fd);
    let view = view.look(caller, Ids::FileSystem)?;
    found.map(|(files, file)| (view, files, file))
}

fn target(fs: &FactFs, whose: Whose, fd: RawFd, caller: &dyn Caller) -> Result<LinkTarget> {
    let (view, _, file) = look(fs, whose, fd, caller)?;
    let path = match &file.path {
        Some(path) => path.clone(),
        None => Path::detached(&file.inode),
    };
    Ok(LinkTarget::Jump { text: named(&*view, &path), path })
}

impl Listing for FdInfos {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let (fd, whose) = (number(name)?, self.whose);
        open_file(&self.fs, whose, fd)?;
        let fs = self.fs.clone();
        let read = Box::new(move |caller: &dyn Caller| info(&fs, whose, fd, caller));
        let view = whose.view(&self.fs)?;
        let ino = FDINFO_INO + whose.ino() + fd as u64;
        Ok(Node::new(owned(&self.fs, ino, 0o444, &*view), Body::Text { read, write: None }))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        list(&self.fs, self.whose, FileKind::Regular, FDINFO_INO)
    }

    fn is_stable(&self) -> bool {
        false
    }
}

fn info(fs: &FactFs, whose: Whose, fd: RawFd, caller: &dyn Caller) -> Result<Vec<u8>> {
    let (_, files, file) = look(fs, whose, fd, caller)?;
    let mut flags = file.flags().bits();
    if files.on_exec(fd) == Ok(OnExec::Close) {
        flags |= crate::vfs::file::OpenFlags::CLOEXEC.bits();
    }
    let mount = file.path.as_ref().map_or(0, |path| path.mount.id);
    let (position, ino) = (*file.position.lock(), file.inode.metadata().ino);
    Ok(format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n").into_bytes())
}
