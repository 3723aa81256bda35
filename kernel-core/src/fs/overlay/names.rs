//! Making, removing and renaming names of an overlay: each a change of the upper layer, with whiteouts where a lower
//! layer would show through.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode::{OverlayInode, Place};
use super::lookup::is_whiteout;
use super::{Shared, Upper};
use crate::errno::{EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, EPERM, EXDEV, Result};
use crate::vfs::dentry::Dentry;
use crate::vfs::inode::{FileKind, Inode, NewAttr, NewNode, RenameMode};

impl Shared {
    /// Puts what the work directory has as `temporary` to `name` in `dir`, where `old` is now if anything. What was there
    /// is removed.
    fn put(
        &self,
        layer: &Upper,
        (temporary, new): (&[u8], &Arc<Dentry>),
        (dir, name): (&Arc<Dentry>, &[u8]),
        old: Option<&Arc<Dentry>>,
    ) -> Result<()> {
        let work = &layer.work;
        let directories = new.kind() == FileKind::Directory || old.is_some_and(is_directory);
        let mode = if old.is_some() && directories { RenameMode::Exchange } else { RenameMode::Replace };
        if let Err(error) = work.rename(temporary, new, dir, name, old, mode, &self.dentries) {
            let _ = work.remove(temporary, new, &self.dentries);
            return Err(error);
        }
        match old {
            Some(old) if mode == RenameMode::Exchange => work.remove(temporary, old, &self.dentries),
            _ => Ok(()),
        }
    }

    /// Marks a directory of the upper layer: nothing of lower layers shows in it.
    fn set_opaque(&self, dir: &Arc<Dentry>) -> Result<()> {
        self.set_mark(&**dir.inode(), "opaque", b"y")
    }
}

fn is_directory(dentry: &Arc<Dentry>) -> bool {
    dentry.kind() == FileKind::Directory
}

impl OverlayInode {
    /// Makes an entry of this directory.
    pub(super) fn make_name(
        &self,
        name: &[u8],
        what: NewNode<'_>,
        attr: &NewAttr,
    ) -> Result<Arc<OverlayInode>> {
        if matches!(what, NewNode::Char(device) if device.raw() == 0) {
            // It would be a whiteout.
            return Err(EPERM);
        }
        let (layer, fs) = (self.fs.upper()?, &self.fs);
        let dir = self.copy_up(0)?;
        let made = {
            let _names = fs.names.lock();
            let whiteout = self.free_name(dir, name)?;
            let made = match &whiteout {
                None => dir.make(name, what, attr, &fs.dentries)?,
                Some(_) => {
                    let temporary = fs.temporary();
                    let made = layer.work.make(&temporary, what, attr, &fs.dentries)?;
                    if is_directory(&made)
                        && let Err(error) = fs.set_opaque(&made)
                    {
                        let _ = layer.work.remove(&temporary, &made, &fs.dentries);
                        return Err(error);
                    }
                    fs.put(layer, (&temporary, &made), (dir, name), whiteout.as_ref())?;
                    made
                }
            };
            self.changed();
            made
        };
        self.child(name, super::Stack { upper: Some(made), lowers: Vec::new() })
    }

    /// Gives `target` another name, in this directory.
    pub(super) fn link_name(&self, name: &[u8], target: &OverlayInode) -> Result<()> {
        if !Arc::ptr_eq(&self.fs, &target.fs) {
            return Err(EXDEV);
        }
        if target.kind() == FileKind::Directory {
            return Err(EPERM);
        }
        let (layer, fs) = (self.fs.upper()?, &self.fs);
        let dir = self.copy_up(0)?;
        if target.upper().is_none() && target.has_no_name() {
            return Err(ENOENT);
        }
        let inode = target.copy_up(u64::MAX)?.inode();
        let _names = fs.names.lock();
        match self.free_name(dir, name)? {
            None => dir.link(name, inode, &fs.dentries)?,
            Some(whiteout) => {
                let temporary = fs.temporary();
                layer.work.link(&temporary, inode, &fs.dentries)?;
                let made = layer.work.child(&temporary, &fs.dentries)?;
                fs.put(layer, (&temporary, &made), (dir, name), Some(&whiteout))?;
            }
        }
        self.changed();
        Ok(())
    }

    pub(super) fn unlink_name(&self, name: &[u8]) -> Result<()> {
        self.remove_name(name, |kind| if kind == FileKind::Directory { Err(EISDIR) } else { Ok(()) })
    }

    pub(super) fn rmdir_name(&self, name: &[u8]) -> Result<()> {
        self.remove_name(name, |kind| if kind == FileKind::Directory { Ok(()) } else { Err(ENOTDIR) })
    }

    fn remove_name(&self, name: &[u8], check: impl FnOnce(FileKind) -> Result<()>) -> Result<()> {
        let (layer, fs) = (self.fs.upper()?, &self.fs);
        let dir = self.copy_up(0)?;
        let _names = fs.names.lock();
        let stack = self.resolve(name)?;
        let upper = stack.upper.clone();
        let victim = self.child(name, stack)?;
        check(victim.kind())?;
        if victim.kind() == FileKind::Directory {
            victim.check_empty()?;
        }
        let whiteout = if self.is_covered(name)? { Some(fs.make_whiteout(layer)?) } else { None };
        if let Some(dir) = upper.as_ref().filter(|upper| is_directory(upper))
            && let Err(error) = fs.empty(dir, whiteout.is_some())
        {
            if let Some((temporary, made)) = &whiteout {
                let _ = layer.work.remove(temporary, made, &fs.dentries);
            }
            return Err(error);
        }
        match (&whiteout, &upper) {
            (Some((temporary, made)), _) => fs.put(layer, (temporary, made), (dir, name), upper.as_ref())?,
            (None, Some(upper)) => dir.remove(name, upper, &fs.dentries)?,
            (None, None) => return Err(ENOENT),
        }
        victim.set_place(Place::Nowhere);
        self.changed();
        Ok(())
    }

    /// Renames the entry `name` of this directory.
    pub(super) fn rename_name(
        &self,
        name: &[u8],
        to: &OverlayInode,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        if !Arc::ptr_eq(&self.fs, &to.fs) {
            return Err(EXDEV);
        }
        let fs = &self.fs;
        let source = self.movable(name)?;
        let target = match to.resolve(new_name) {
            Ok(_) if mode == RenameMode::NoReplace => return Err(EEXIST),
            Ok(_) if mode == RenameMode::Exchange => Some(to.movable(new_name)?),
            Ok(stack) => Some(to.child(new_name, stack)?),
            Err(ENOENT) if mode == RenameMode::Exchange => return Err(ENOENT),
            Err(ENOENT) => None,
            Err(error) => return Err(error),
        };
        // What may take long came first. The names stay what they are: their directories' dentries are locked.
        let (from_dir, to_dir) = (self.copy_up(0)?, to.copy_up(0)?);
        let _names = fs.names.lock();
        to.check_exists()?;
        // A file may have other names: this one moves.
        let moved = &from_dir.child(name, &fs.dentries)?;
        match (mode, &target) {
            (RenameMode::Exchange, Some(target)) => {
                let other = &to_dir.child(new_name, &fs.dentries)?;
                self.hide_below(other, name)?;
                to.hide_below(moved, new_name)?;
                from_dir.rename(name, moved, to_dir, new_name, Some(other), mode, &fs.dentries)?;
                target.set_place(Place::At(self.me()?, name.into()));
            }
            _ => {
                to.hide_below(moved, new_name)?;
                self.replace((from_dir, name), moved, to, (to_dir, new_name), target.as_deref())?;
                if let Some(target) = &target {
                    target.set_place(Place::Nowhere);
                }
            }
        }
        source.set_place(Place::At(to.me()?, new_name.into()));
        self.changed();
        to.changed();
        Ok(())
    }

    /// An entry that is to be renamed. EXDEV for a directory that is in a lower layer: its entries there cannot move.
    fn movable(&self, name: &[u8]) -> Result<Arc<OverlayInode>> {
        let found = self.child(name, self.resolve(name)?)?;
        if found.kind() == FileKind::Directory && !found.lowers.is_empty() {
            return Err(EXDEV);
        }
        found.copy_up(u64::MAX)?;
        Ok(found)
    }

    /// `moved`, a directory, is going to be `name` here: it must not be merged with what lower layers have of that name.
    fn hide_below(&self, moved: &Arc<Dentry>, name: &[u8]) -> Result<()> {
        if is_directory(moved) && self.is_covered(name)? { self.fs.set_opaque(moved) } else { Ok(()) }
    }

    /// Moves `moved` over `target`, or to a free name; what it leaves is a whiteout if lower layers would show through.
    fn replace(
        &self,
        (from_dir, name): (&Arc<Dentry>, &[u8]),
        moved: &Arc<Dentry>,
        to: &OverlayInode,
        (to_dir, new_name): (&Arc<Dentry>, &[u8]),
        target: Option<&OverlayInode>,
    ) -> Result<()> {
        let (fs, layer) = (&self.fs, self.fs.upper()?);
        match (is_directory(moved), target.map(|target| target.kind() == FileKind::Directory)) {
            (true, Some(false)) => return Err(ENOTDIR),
            (false, Some(true)) => return Err(EISDIR),
            _ => {}
        }
        let there = match to_dir.child(new_name, &fs.dentries) {
            Ok(there) => Some(there),
            Err(ENOENT) => None,
            Err(error) => return Err(error),
        };
        if let Some(target) = target.filter(|target| target.kind() == FileKind::Directory) {
            target.check_empty()?;
        }
        let whiteout = if self.is_covered(name)? { Some(fs.make_whiteout(layer)?) } else { None };
        let moving = || -> Result<()> {
            if let Some(dir) = there.as_ref().filter(|there| is_directory(there)) {
                fs.empty(dir, to.is_covered(new_name)?)?;
            }
            // A directory cannot replace a whiteout: they change places.
            let swaps = is_directory(moved) && there.as_ref().is_some_and(|there| !is_directory(there));
            let mode = if swaps { RenameMode::Exchange } else { RenameMode::Replace };
            from_dir.rename(name, moved, to_dir, new_name, there.as_ref(), mode, &fs.dentries)?;
            match there.as_ref().filter(|_| swaps) {
                Some(there) if is_whiteout(&**there.inode()) => from_dir.remove(name, there, &fs.dentries),
                Some(_) => Err(EINVAL),
                None => Ok(()),
            }
        };
        let done = moving();
        match (&whiteout, done) {
            (Some((temporary, made)), Ok(())) => fs.put(layer, (temporary, made), (from_dir, name), None),
            (Some((temporary, made)), Err(error)) => {
                let _ = layer.work.remove(temporary, made, &fs.dentries);
                Err(error)
            }
            (None, done) => done,
        }
    }
}

impl Shared {
    /// Removes the whiteouts of a directory of the upper layer that shows no entries; before, if it hides directories
    /// below, so that these do not come forth.
    fn empty(&self, dir: &Arc<Dentry>, hides: bool) -> Result<()> {
        if hides {
            self.set_opaque(dir)?;
        }
        self.clear_whiteouts(dir)
    }
}
