//! What a guest sets and the host's user cannot: kept in the extended attribute `user.lodger.attr` of the file, as text: mode
//! (octal), uid, gid and device number. Where the host refuses that (symbolic links, file systems without such attributes), in
//! kernel memory, until the instance ends.
//!
//! Set-id bits are never set on the host, whoever runs the instance: a file that is root's in the guest may be root's on the
//! host, and a guest must not make programs that run as root there.

use alloc::format;

use hashbrown::HashMap;

use super::Key;
use crate::errno::{ENODATA, ENOSPC, EOPNOTSUPP, EPERM, Result};
use crate::host::tree::{Attr, Node, SetXattr};
use crate::sync::Mutex;
use crate::vfs::inode::{FileKind, MODE_BITS};

/// The attribute's name.
const NAME: &[u8] = b"user.lodger.attr";

/// The most nodes whose attributes are kept in memory.
const SHADOWS_MAX: usize = 1 << 16;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
}

/// What the host refuses to keep.
pub(super) type Shadow = HashMap<Key, Kept>;

impl Kept {
    /// What the host itself says.
    pub fn of(attr: &Attr) -> Kept {
        Kept { mode: attr.mode, uid: attr.uid, gid: attr.gid, rdev: attr.rdev }
    }

    fn parse(text: &[u8]) -> Option<Kept> {
        let mut words = core::str::from_utf8(text).ok()?.split(' ');
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (uid, gid, rdev) = (number()?, number()?, number()?);
        Some(Kept { mode, uid: uid.try_into().ok()?, gid: gid.try_into().ok()?, rdev })
    }

    /// Whether it can be said of such a node: a directory stays one, and only a regular file stands for others.
    fn fits(&self, attr: &Attr) -> bool {
        let (kept, real) = (FileKind::of_mode(self.mode), FileKind::of_mode(attr.mode));
        let special = matches!(kept, FileKind::Fifo | FileKind::Socket | FileKind::Char | FileKind::Block);
        kept == real || real == FileKind::Regular && special
    }

    /// The permission bits that the host's file gets. Its user must be able to use it, whatever guests may.
    pub fn host_mode(&self, node: &dyn Node) -> u32 {
        let bits = self.mode & 0o777;
        match FileKind::of_mode(self.mode) {
            _ if node.sets_owners() => bits,
            FileKind::Directory => bits | 0o700,
            _ => bits | 0o600,
        }
    }
}

/// What guests see of a node of which the host says `attr`.
pub(super) fn load(node: &dyn Node, key: &Key, attr: &Attr, shadow: &Mutex<Shadow>) -> Kept {
    let kept = match FileKind::of_mode(attr.mode) {
        FileKind::Regular | FileKind::Directory => {
            node.get_xattr(NAME).ok().and_then(|text| Kept::parse(&text))
        }
        _ => None,
    };
    let kept = kept.or_else(|| shadow.lock().get(key).copied());
    kept.filter(|kept| kept.fits(attr)).unwrap_or(Kept::of(attr))
}

/// Has a node seen as `wanted` from now on; `attr` is what the host said of it last.
pub(super) fn store(
    node: &dyn Node,
    key: &Key,
    attr: &Attr,
    wanted: &Kept,
    shadow: &Mutex<Shadow>,
) -> Result<()> {
    let real = FileKind::of_mode(attr.mode);
    let has_mode = matches!(real, FileKind::Regular | FileKind::Directory);
    if has_mode && attr.mode & MODE_BITS != wanted.host_mode(node) {
        node.set_mode(wanted.host_mode(node))?;
    }
    if node.sets_owners() && (attr.uid, attr.gid) != (wanted.uid, wanted.gid) {
        node.set_owner(wanted.uid, wanted.gid)?;
    }
    let shown = Kept {
        mode: real.mode_bits() | if has_mode { wanted.host_mode(node) } else { attr.mode & MODE_BITS },
        uid: if node.sets_owners() { wanted.uid } else { attr.uid },
        gid: if node.sets_owners() { wanted.gid } else { attr.gid },
        rdev: attr.rdev,
    };
    shadow.lock().remove(key);
    if shown == *wanted {
        return match has_mode.then(|| node.remove_xattr(NAME)) {
            Some(Err(error)) if !matches!(error.into(), ENODATA | EOPNOTSUPP | EPERM) => Err(error.into()),
            _ => Ok(()),
        };
    }
    if has_mode {
        let text = format!("{:o} {} {} {}", wanted.mode, wanted.uid, wanted.gid, wanted.rdev);
        match node.set_xattr(NAME, text.as_bytes(), SetXattr::Any).map_err(Into::into) {
            Ok(()) => return Ok(()),
            Err(EOPNOTSUPP | EPERM) => {}
            Err(error) => return Err(error),
        }
    }
    let mut shadow = shadow.lock();
    if shadow.len() >= SHADOWS_MAX {
        return Err(ENOSPC);
    }
    shadow.insert(*key, *wanted);
    Ok(())
}

/// Whether an attribute is ours, and not for guests to see.
pub(super) fn is_ours(name: &[u8]) -> bool {
    name.starts_with(b"user.lodger.")
}
