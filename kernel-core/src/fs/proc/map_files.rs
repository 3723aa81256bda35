//! `/proc/PID/map_files`: links to the files that a task has mapped, by addresses.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::str;

use super::FactFs;
use super::source::TaskView;
use super::task::{Whose, named, owned};
use crate::errno::{ENOENT, Result};
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::task::access::Ids;
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::file::OpenFile;
use crate::vfs::inode::{FileKind, Guard, Inode, LinkTarget};
use crate::vfs::path::Path;

/// Inode numbers: away from those of the other entries.
const INO: u64 = 1 << 58;

pub(super) struct MapFiles {
    pub fs: FactFs,
    pub whose: Whose,
}

/// The files that a task has mapped, and where.
fn mapped(view: &dyn TaskView) -> impl Iterator<Item = (Range<u64>, Arc<OpenFile>)> {
    view.maps().into_iter().filter_map(|map| Some((map.range, map.file?)))
}

fn file_at(view: &dyn TaskView, range: &Range<u64>) -> Result<Arc<OpenFile>> {
    mapped(view).find(|(at, _)| at == range).map(|(_, file)| file).ok_or(ENOENT)
}

fn name(range: &Range<u64>) -> Vec<u8> {
    format!("{:x}-{:x}", range.start, range.end).into_bytes()
}

/// The addresses that a name stands for, if it is how they are written.
fn range(text: &[u8]) -> Option<Range<u64>> {
    let (start, end) = str::from_utf8(text).ok()?.split_once('-')?;
    let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    (name(&range) == text).then_some(range)
}

impl Guard for MapFiles {
    fn check_used(&self, caller: &dyn Caller) -> Result<()> {
        self.whose.view(&self.fs)?.look(caller, Ids::FileSystem).map(drop)
    }
}

impl Listing for MapFiles {
    fn guard(&self) -> Option<&dyn Guard> {
        Some(self)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let range = range(name).ok_or(ENOENT)?;
        let view = self.whose.view(&self.fs).map_err(|_| ENOENT)?;
        let flags = file_at(&*view, &range)?.flags();
        let mode = if flags.readable() { 0o400 } else { 0 } | if flags.writable() { 0o200 } else { 0 };
        let attr = owned(&self.fs, INO + self.whose.ino() + (range.start >> 12), mode, &*view);
        let (fs, whose) = (self.fs.clone(), self.whose);
        let read = Box::new(move |caller: &dyn Caller| target(&fs, whose, &range, caller));
        Ok(Node::new(attr, Body::Link(read)))
    }

    fn list(&self, caller: &dyn Caller) -> Vec<Listed> {
        let view = self.whose.view(&self.fs).and_then(|view| view.look(caller, Ids::FileSystem));
        let Ok(view) = view else { return Vec::new() };
        let listed = |(range, _): (Range<u64>, _)| Listed {
            key: range.start >> 12,
            ino: INO + self.whose.ino() + (range.start >> 12),
            kind: FileKind::Symlink,
            name: name(&range),
        };
        mapped(&*view).map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}

/// Followed, it leads around all directories on the way to the file: only who may make processes as they were may do that.
fn target(fs: &FactFs, whose: Whose, range: &Range<u64>, caller: &dyn Caller) -> Result<LinkTarget> {
    let view = whose.view(fs)?.look(caller, Ids::FileSystem)?;
    let file = file_at(&*view, range)?;
    let path = file.path.clone().unwrap_or_else(|| Path::detached(&file.inode));
    let (text, cred) = (named(&*view, &path), caller.cred());
    let may_follow = cred.capable(Caps::CHECKPOINT_RESTORE) || cred.capable(Caps::SYS_ADMIN);
    Ok(if may_follow { LinkTarget::Jump { path, text } } else { LinkTarget::Shown(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_in_one_way() {
        assert_eq!(range(b"1000-2000"), Some(0x1000..0x2000));
        for other in
            [&b"01000-2000"[..], b"1000-2000 ", b"1000", b"+1000-2000", b"1A000-1B000", b"-", b"\xff-1"]
        {
            assert_eq!(range(other), None);
        }
    }
}
