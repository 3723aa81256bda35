//! Walking path names. Source: `path_resolution(7)`, `openat2(2)`.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::errno::{ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EXDEV, Result};
use crate::task::cred::Cred;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, LinkTarget, NAME_MAX};
use crate::vfs::mount::{MountFlags, Namespace};
use crate::vfs::path::Path;
use crate::vfs::permission::{self, Access};

/// Most symbolic links followed in one walk.
const LINKS_MAX: u32 = 40;

bitflags::bitflags! {
    /// What a walk must not do; the bits are those of `openat2(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Resolve: u64 {
        /// Cross into another mount: EXDEV.
        const NO_XDEV = 1;
        /// Follow a magic link of `/proc`: ELOOP.
        const NO_MAGICLINKS = 2;
        /// Follow any symbolic link: ELOOP.
        const NO_SYMLINKS = 4;
        /// Leave the start directory: EXDEV.
        const BENEATH = 8;
        /// Leave the start directory, which is taken for the root.
        const IN_ROOT = 16;
    }
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// Go where it leads.
    Follow,
    /// Stop at the link itself.
    Keep,
}

/// Walks paths on behalf of a task: with its root directory and credentials.
pub struct Walker<'a> {
    pub(super) namespace: &'a Namespace,
    root: Path,
    pub(super) caller: &'a dyn Caller,
    pub(super) cred: Arc<Cred>,
    pub(super) umask: u32,
    resolve: Resolve,
}

/// What a walk to the last component found.
pub struct Parent {
    /// The directory; searching it is allowed.
    pub dir: Path,
    /// The last component.
    pub last: Last,
    /// Whether a slash followed it.
    pub slash: bool,
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// None: the path was `/`.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name.
    Name(Vec<u8>),
}

impl<'a> Walker<'a> {
    /// A walker; [`crate::vfs::context::FsContext::walker`] makes the usual one.
    pub fn new(
        namespace: &'a Namespace,
        root: Path,
        caller: &'a dyn Caller,
        cred: Arc<Cred>,
        umask: u32,
    ) -> Walker<'a> {
        Walker { namespace, root, caller, cred, umask, resolve: Resolve::empty() }
    }

    /// With other credentials, as `access(2)` needs.
    pub fn with_cred(mut self, cred: Cred) -> Walker<'a> {
        self.cred = Arc::new(cred);
        self
    }

    /// With restrictions, as `openat2(2)` asks; `start` is where its path starts.
    pub fn with_resolve(mut self, resolve: Resolve, start: &Path) -> Walker<'a> {
        self.resolve = resolve;
        if resolve.intersects(Resolve::IN_ROOT | Resolve::BENEATH) {
            self.root = start.clone();
        }
        self
    }

    /// The root directory of the walk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place that `path`, starting at `start` unless it is absolute, names. An empty path is ENOENT.
    pub fn resolve(&self, start: &Path, path: &[u8], last_link: LastLink) -> Result<Path> {
        let mut cursor = Cursor::new(self, start, path)?;
        loop {
            let last = cursor.walk_to_last()?;
            let name = match last.part {
                Part::Nothing | Part::Dot => return Ok(cursor.at),
                Part::DotDot => {
                    cursor.up()?;
                    return Ok(cursor.at);
                }
                Part::Name(name) => name,
            };
            let found = cursor.child(name)?;
            if found.dentry.kind() == FileKind::Symlink && (last_link == LastLink::Follow || last.slash) {
                if cursor.follow(found)? {
                    return cursor.finish(last.slash);
                }
                continue;
            }
            cursor.at = found;
            return cursor.finish(last.slash);
        }
    }

    /// The directory of the last component, for calls that make, remove or rename an entry.
    pub fn parent(&self, start: &Path, path: &[u8]) -> Result<Parent> {
        let mut cursor = Cursor::new(self, start, path)?;
        let last = cursor.walk_to_last()?;
        let name = match last.part {
            Part::Nothing => Last::Root,
            Part::Dot => Last::Dot,
            Part::DotDot => Last::DotDot,
            Part::Name(name) => Last::Name(cursor.name(&name).to_vec()),
        };
        Ok(Parent { dir: cursor.at, last: name, slash: last.slash })
    }

    /// The entry `name` of `dir`, with what is mounted on it. Searching `dir` was checked.
    pub fn child(&self, dir: &Path, name: &[u8]) -> Result<Path> {
        if name.len() > NAME_MAX {
            return Err(ENAMETOOLONG);
        }
        let dentry = dir.dentry.child(name, &self.namespace.dentries)?;
        dentry.guard().map_or(Ok(()), |guard| guard.check_found(self.caller))?;
        Ok(Path { mount: dir.mount.clone(), dentry })
    }

    /// Checks that the task may do `wanted` with what is at `path` (its permission bits, not the mount's flags).
    pub fn check(&self, path: &Path, wanted: Access) -> Result<()> {
        path.dentry.guard().map_or(Ok(()), |guard| guard.check_used(self.caller))?;
        permission::check_inode(&**path.inode(), &self.cred, wanted)
    }
}

/// A walk under way.
pub(super) struct Cursor<'w, 'a, 't> {
    walker: &'w Walker<'a>,
    /// Where it is.
    pub(super) at: Path,
    text: Cow<'t, [u8]>,
    position: usize,
    links: u32,
}

/// A component, as a range of the text.
pub(super) enum Part {
    Nothing,
    Dot,
    DotDot,
    Name(Range<usize>),
}

pub(super) struct LastPart {
    pub(super) part: Part,
    pub(super) slash: bool,
}

impl<'w, 'a, 't> Cursor<'w, 'a, 't> {
    pub(super) fn new(walker: &'w Walker<'a>, start: &Path, path: &'t [u8]) -> Result<Cursor<'w, 'a, 't>> {
        if path.is_empty() {
            return Err(ENOENT);
        }
        let mut cursor =
            Cursor { walker, at: start.clone(), text: Cow::Borrowed(path), position: 0, links: 0 };
        cursor.begin()?;
        Ok(cursor)
    }

    /// At the start of a text: goes to the root if it is absolute.
    fn begin(&mut self) -> Result<()> {
        if self.text.first() != Some(&b'/') {
            return Ok(());
        }
        let resolve = self.walker.resolve;
        if resolve.contains(Resolve::BENEATH) {
            return Err(EXDEV);
        }
        self.jump(self.walker.root.clone())
    }

    /// Goes to another place at once; EXDEV if it is on another mount and that matters.
    fn jump(&mut self, to: Path) -> Result<()> {
        if self.walker.resolve.contains(Resolve::NO_XDEV) && !Arc::ptr_eq(&to.mount, &self.at.mount) {
            return Err(EXDEV);
        }
        self.at = to;
        Ok(())
    }

    pub(super) fn name(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// Takes the next component off the text.
    fn next_part(&mut self) -> LastPart {
        let text = &self.text;
        let mut at = self.position;
        while text.get(at) == Some(&b'/') {
            at += 1;
        }
        let start = at;
        while text.get(at).is_some_and(|&byte| byte != b'/') {
            at += 1;
        }
        let end = at;
        while text.get(at) == Some(&b'/') {
            at += 1;
        }
        self.position = at;
        let part = match text.get(start..end).unwrap_or_default() {
            b"" => Part::Nothing,
            b"." => Part::Dot,
            b".." => Part::DotDot,
            _ => Part::Name(start..end),
        };
        LastPart { part, slash: at > end }
    }

    /// Goes on to the directory of the last component.
    pub(super) fn walk_to_last(&mut self) -> Result<LastPart> {
        loop {
            if self.at.dentry.kind() != FileKind::Directory {
                return Err(ENOTDIR);
            }
            self.walker.check(&self.at, Access::EXEC)?;
            let part = self.next_part();
            if self.position >= self.text.len() {
                return Ok(part);
            }
            match part.part {
                Part::Nothing | Part::Dot => {}
                Part::DotDot => self.up()?,
                Part::Name(name) => {
                    let found = self.child(name)?;
                    if found.dentry.kind() == FileKind::Symlink {
                        self.follow(found)?;
                    } else {
                        self.at = found;
                    }
                }
            }
        }
    }

    /// The entry of the present directory, with what is mounted on it.
    pub(super) fn child(&mut self, name: Range<usize>) -> Result<Path> {
        let found = self.walker.child(&self.at, self.name(&name))?;
        if !found.dentry.has_mounts() {
            return Ok(found);
        }
        let top = self.walker.namespace.cross(found);
        if self.walker.resolve.contains(Resolve::NO_XDEV) && !Arc::ptr_eq(&top.mount, &self.at.mount) {
            return Err(EXDEV);
        }
        Ok(top)
    }

    /// `..`: stays at the root, leaves a mount for the place it is on.
    pub(super) fn up(&mut self) -> Result<()> {
        loop {
            if self.at.is(&self.walker.root) {
                return if self.walker.resolve.contains(Resolve::BENEATH) { Err(EXDEV) } else { Ok(()) };
            }
            if !self.at.is_mount_root() {
                break;
            }
            match self.at.mount.covered() {
                Some(place) => self.jump(place)?,
                None => return Ok(()),
            }
        }
        if let Some(parent) = self.at.dentry.parent() {
            self.at.dentry = parent;
        }
        if self.at.dentry.has_mounts() {
            let top = self.walker.namespace.cross(self.at.clone());
            self.jump(top)?;
        }
        Ok(())
    }

    /// Follows a symbolic link found in the present directory. `true`: it led straight to a place (a magic link),
    /// `false`: its text is to be walked, then what is left.
    pub(super) fn follow(&mut self, link: Path) -> Result<bool> {
        self.links += 1;
        let resolve = self.walker.resolve;
        let forbidden = resolve.contains(Resolve::NO_SYMLINKS)
            || link.mount.own_flags().contains(MountFlags::NO_SYM_FOLLOW);
        if self.links > LINKS_MAX || forbidden {
            return Err(ELOOP);
        }
        match link.inode().readlink(self.walker.caller)? {
            LinkTarget::Text(mut text) => {
                if text.is_empty() {
                    return Err(ENOENT);
                }
                let rest = self.text.get(self.position..).unwrap_or_default();
                // What was behind the link: at least a slash if it was followed by one.
                if self.position > 0 && self.text.get(self.position - 1) == Some(&b'/') {
                    text.push(b'/');
                }
                text.extend_from_slice(rest);
                self.text = Cow::Owned(text);
                self.position = 0;
                self.begin()?;
                Ok(false)
            }
            LinkTarget::Shown(_) => Err(EPERM),
            LinkTarget::Jump { path, .. } => {
                if resolve.contains(Resolve::NO_MAGICLINKS) {
                    return Err(ELOOP);
                }
                if resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT) {
                    return Err(EXDEV);
                }
                self.jump(path)?;
                Ok(true)
            }
        }
    }

    /// The end of the walk: a slash behind the last name asks for a directory.
    pub(super) fn finish(self, slash: bool) -> Result<Path> {
        if slash && self.at.dentry.kind() != FileKind::Directory { Err(ENOTDIR) } else { Ok(self.at) }
    }
}
