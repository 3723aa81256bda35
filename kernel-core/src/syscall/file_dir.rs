//! Reading directories: `getdents64(2)` and the older `getdents(2)`.

use alloc::vec::Vec;

use crate::errno::{EINVAL, ENOENT, ENOTDIR, Result};
use crate::host::Host;
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult};
use crate::vfs::dir::DirSink;
use crate::vfs::inode::FileKind;
use crate::vfs::notify::Happening;

/// Most bytes of entries that one call gives.
const MOST: usize = 64 << 10;

/// How entries are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `struct linux_dirent64`: the type stands before the name.
    Dirent64,
    /// `struct linux_dirent`: the type is the last byte.
    Dirent,
}

/// Packs entries into kernel memory, so that no lock is held while the guest's is written.
struct Packer {
    format: Format,
    bytes: Vec<u8>,
    limit: usize,
    /// An entry did not fit.
    full: bool,
}

impl DirSink for Packer {
    fn entry(&mut self, ino: u64, next: u64, kind: u8, name: &[u8]) -> Result<bool> {
        // 64 bit number and position, 16 bit length, type and zero byte.
        let len = (8 + 8 + 2 + 1 + name.len() + 1).next_multiple_of(8);
        if self.bytes.len() + len > self.limit {
            self.full = true;
            return Ok(false);
        }
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(&ino.to_le_bytes());
        self.bytes.extend_from_slice(&next.to_le_bytes());
        self.bytes.extend_from_slice(&(len as u16).to_le_bytes());
        if self.format == Format::Dirent64 {
            self.bytes.push(kind);
        }
        self.bytes.extend_from_slice(name);
        self.bytes.resize(end, 0);
        if self.format == Format::Dirent
            && let Some(last) = self.bytes.last_mut()
        {
            *last = kind;
        }
        Ok(true)
    }
}

/// `getdents64(2)` and `getdents(2)`.
pub fn getdents<H: Host>(cx: &Cx<'_, H>, fd: RawFd, buf: u64, len: u32, format: Format) -> SysResult {
    let file = cx.file(fd)?;
    if file.inode.kind() != FileKind::Directory {
        return Err(ENOTDIR.into());
    }
    if file.path.as_ref().is_some_and(|path| path.dentry.is_deleted()) {
        return Err(ENOENT.into());
    }
    let mut packer = Packer { format, bytes: Vec::new(), limit: (len as usize).min(MOST), full: false };
    file.ops.read_dir(cx.op(&file), &mut packer)?;
    file.happened(Happening::ACCESS);
    if packer.bytes.is_empty() && packer.full {
        return Err(EINVAL.into());
    }
    cx.user().write_bytes(buf, &packer.bytes)?;
    Ok(packer.bytes.len() as u64)
}
