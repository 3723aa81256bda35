//! What can be done with a node.

use std::any::Any;
use std::os::fd::AsFd;
use std::sync::Arc;

use kernel_core::host::tree::{
    Access, Attr, New, Node, OpenDir, OpenNode, Rename, SetXattr, Space, Time, TreeResult,
};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::open::{OpenDirectory, OpenFile};
use super::{Handle, Held, Shown, check_name, error, lock, magic_link, stat};

/// The largest value and the longest list of extended attributes that Linux has.
const XATTR_MAX: usize = 64 << 10;

impl Shown {
    fn handle(&self) -> TreeResult<Handle> {
        self.0.handle()
    }

    /// The handle, to change something.
    fn to_change(&self) -> TreeResult<Handle> {
        self.0.tree.check_writable()?;
        self.handle()
    }

    fn other<'a>(&self, node: &'a dyn Node) -> TreeResult<&'a Shown> {
        let other = node.as_any().downcast_ref::<Shown>();
        other.filter(|other| Arc::ptr_eq(&other.0.tree, &self.0.tree)).ok_or(error(Errno::XDEV))
    }

    fn open_file(&self, flags: OFlags) -> TreeResult<Arc<OpenFile>> {
        let handle = self.handle()?;
        let found = stat(handle.as_fd()).map_err(error)?;
        if FileType::from_raw_mode(u32::from(found.stx_mode)) != FileType::RegularFile {
            return Err(error(Errno::INVAL));
        }
        let path = magic_link(handle.as_fd());
        let fd = self.0.tree.open(CWD, path.as_bytes(), flags, 0).map_err(error)?;
        let file = Arc::new(OpenFile(fd));
        *lock(&self.0.file) = Arc::downgrade(&file);
        Ok(file)
    }
}

impl Node for Shown {
    fn attr(&self) -> TreeResult<Attr> {
        let found = stat(self.handle()?.as_fd()).map_err(error)?;
        Ok(self.0.tree.attr(&found))
    }

    fn lookup(&self, name: &[u8]) -> TreeResult<(Arc<dyn Node>, Attr)> {
        let (node, found) = self.0.entry(name)?;
        let attr = self.0.tree.attr(&found);
        Ok((Arc::new(Shown(node)), attr))
    }

    fn open_dir(&self) -> TreeResult<Arc<dyn OpenDir>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let handle = self.handle()?;
        let fd = self.0.tree.open(handle.as_fd(), b".", flags, 0).map_err(error)?;
        Ok(Arc::new(OpenDirectory::new(fd)))
    }

    fn open(&self, access: Access) -> TreeResult<Arc<dyn OpenNode>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => {
                self.0.tree.check_writable()?;
                OFlags::RDWR
            }
        };
        Ok(self.open_file(flags)?)
    }

    fn make(&self, name: &[u8], what: New<'_>, mode: u32) -> TreeResult<(Arc<dyn Node>, Attr)> {
        let (dir, name) = (self.to_change()?, check_name(name)?);
        let mode = Mode::from_raw_mode(mode & 0o777);
        match what {
            New::File => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                self.0.tree.open(dir.as_fd(), name, flags, mode.as_raw_mode()).map_err(error)?;
            }
            New::Directory => rustix::fs::mkdirat(dir.as_fd(), name, mode).map_err(error)?,
            New::Symlink(target) => rustix::fs::symlinkat(target, dir.as_fd(), name).map_err(error)?,
        }
        self.lookup(name)
    }

    fn make_unnamed(&self, mode: u32) -> TreeResult<(Arc<dyn Node>, Arc<dyn OpenNode>)> {
        let dir = self.to_change()?;
        let fd = self.0.tree.open(dir.as_fd(), b".", OFlags::RDWR | OFlags::TMPFILE, mode & 0o777);
        let file = Arc::new(OpenFile(fd.map_err(error)?));
        let found = stat(file.as_fd()).map_err(error)?;
        let node = Held::new(&self.0.tree, &found, None, None);
        *lock(&node.file) = Arc::downgrade(&file);
        Ok((Arc::new(Shown(Arc::new(node))), file))
    }

    fn link(&self, name: &[u8], target: &dyn Node) -> TreeResult<()> {
        let (dir, target) = (self.to_change()?, self.other(target)?.handle()?);
        let path = magic_link(target.as_fd());
        rustix::fs::linkat(CWD, path, dir.as_fd(), check_name(name)?, AtFlags::SYMLINK_FOLLOW).map_err(error)
    }

    fn unlink(&self, name: &[u8]) -> TreeResult<()> {
        let dir = self.to_change()?;
        rustix::fs::unlinkat(dir.as_fd(), check_name(name)?, AtFlags::empty()).map_err(error)
    }

    fn rmdir(&self, name: &[u8]) -> TreeResult<()> {
        let dir = self.to_change()?;
        rustix::fs::unlinkat(dir.as_fd(), check_name(name)?, AtFlags::REMOVEDIR).map_err(error)
    }

    fn rename(&self, name: &[u8], to: &dyn Node, new_name: &[u8], how: Rename) -> TreeResult<()> {
        let (from, to) = (self.to_change()?, self.other(to)?.handle()?);
        let flags = match how {
            Rename::Replace => RenameFlags::empty(),
            Rename::NoReplace => RenameFlags::NOREPLACE,
            Rename::Exchange => RenameFlags::EXCHANGE,
        };
        let (name, new_name) = (check_name(name)?, check_name(new_name)?);
        rustix::fs::renameat_with(from.as_fd(), name, to.as_fd(), new_name, flags).map_err(error)
    }

    fn moved(&self, dir: &dyn Node, name: &[u8]) {
        let Ok(dir) = self.other(dir) else { return };
        let old = lock(&self.0.place).replace((dir.0.clone(), name.into()));
        drop(old);
    }

    fn read_link(&self) -> TreeResult<Vec<u8>> {
        let target = rustix::fs::readlinkat(self.handle()?.as_fd(), "", Vec::new()).map_err(error)?;
        Ok(target.into_bytes())
    }

    fn set_mode(&self, mode: u32) -> TreeResult<()> {
        let handle = self.to_change()?;
        let path = magic_link(handle.as_fd());
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode & 0o1777), AtFlags::empty()).map_err(error)
    }

    fn set_owner(&self, uid: u32, gid: u32) -> TreeResult<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let handle = self.to_change()?;
        rustix::fs::chownat(handle.as_fd(), "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(error)
    }

    fn set_times(&self, atime: Option<Time>, mtime: Option<Time>) -> TreeResult<()> {
        let time = |time: Option<Time>| match time {
            Some((sec, nsec)) => Timespec { tv_sec: sec, tv_nsec: nsec.into() },
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        let times = Timestamps { last_access: time(atime), last_modification: time(mtime) };
        let handle = self.to_change()?;
        let path = magic_link(handle.as_fd());
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).map_err(error)
    }

    fn get_xattr(&self, name: &[u8]) -> TreeResult<Vec<u8>> {
        let handle = self.handle()?;
        let path = magic_link(handle.as_fd());
        let mut small = [0; 256];
        match rustix::fs::getxattr(&path, name, &mut small) {
            Ok(len) => return Ok(small[..len].to_vec()),
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(error(errno)),
        }
        let mut value = vec![0; XATTR_MAX];
        let len = rustix::fs::getxattr(&path, name, &mut value[..]).map_err(error)?;
        value.truncate(len);
        Ok(value)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> TreeResult<()> {
        let flags = match how {
            SetXattr::Any => XattrFlags::empty(),
            SetXattr::Create => XattrFlags::CREATE,
            SetXattr::Replace => XattrFlags::REPLACE,
        };
        let handle = self.to_change()?;
        let path = magic_link(handle.as_fd());
        rustix::fs::setxattr(path, name, value, flags).map_err(error)
    }

    fn list_xattrs(&self) -> TreeResult<Vec<u8>> {
        let handle = self.handle()?;
        let path = magic_link(handle.as_fd());
        let mut names = vec![0; XATTR_MAX];
        let len = rustix::fs::listxattr(path, &mut names[..]).map_err(error)?;
        names.truncate(len);
        Ok(names)
    }

    fn remove_xattr(&self, name: &[u8]) -> TreeResult<()> {
        let handle = self.to_change()?;
        let path = magic_link(handle.as_fd());
        rustix::fs::removexattr(path, name).map_err(error)
    }

    fn space(&self) -> TreeResult<Space> {
        let space = rustix::fs::fstatvfs(self.handle()?.as_fd()).map_err(error)?;
        Ok(Space {
            block_size: space.f_frsize,
            blocks: space.f_blocks,
            blocks_free: space.f_bavail,
            files: space.f_files,
            files_free: space.f_favail,
        })
    }

    fn sync(&self) -> TreeResult<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = self.0.tree.open(self.handle()?.as_fd(), b".", flags, 0).map_err(error)?;
        rustix::fs::fsync(fd).map_err(error)
    }

    fn sets_owners(&self) -> bool {
        self.0.tree.privileged
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
