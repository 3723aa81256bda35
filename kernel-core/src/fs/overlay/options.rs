//! `mount -t overlay`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::dir::clear;
use super::{DEPTH_MAX, Layers, Overlay, Upper, depth_of};
use crate::errno::{EINVAL, ELOOP, ENOENT, ENOTDIR, Result};
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::inode::{FileKind, NewAttr, NewNode};
use crate::vfs::kernel_caller::KernelCaller;
use crate::vfs::mount::{FileSystem, MountFlags};
use crate::vfs::path::Path;
use crate::vfs::types::{FsType, LookUp, NewFs};

/// The most lower layers (`OVL_MAX_STACK`).
const LAYERS_MAX: usize = 500;

/// How deep directories are that an overlay leaves in its work directory, and one more (`ovl_workdir_cleanup`).
const CLEARED_DEPTH: u32 = 2;

/// The type `overlay`.
pub struct OverlayType;

/// What `mount -o` said.
#[derive(Default)]
struct Options<'a> {
    lower: Vec<Vec<u8>>,
    upper: Option<&'a [u8]>,
    work: Option<&'a [u8]>,
    user_xattrs: bool,
}

impl<'a> Options<'a> {
    fn parse(text: &'a [u8]) -> Result<Options<'a>> {
        let mut options = Options::default();
        for option in split(text, b',') {
            let (name, value) = match option.iter().position(|&byte| byte == b'=') {
                Some(at) => (option.get(..at).unwrap_or_default(), option.get(at + 1..)),
                None => (option, None),
            };
            match (name, value) {
                (b"", None) => {}
                (b"lowerdir", Some(value)) => {
                    options.lower = split(value, b':').into_iter().map(unescaped).collect()
                }
                (b"upperdir", Some(value)) => options.upper = Some(value),
                (b"workdir", Some(value)) => options.work = Some(value),
                (b"userxattr", None) => options.user_xattrs = true,
                // What is always so here.
                (b"redirect_dir", Some(b"off" | b"nofollow"))
                | (b"index" | b"metacopy" | b"nfs_export" | b"verity", Some(b"off"))
                | (b"xino", Some(b"on" | b"auto"))
                | (b"uuid", Some(b"null" | b"off"))
                | (b"default_permissions", None) => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(options)
    }
}

/// Splits at `separator`, but not where a backslash is before it.
fn split(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut escaped = false;
    text.split(|&byte| {
        let splits = byte == separator && !escaped;
        escaped = byte == b'\\' && !escaped;
        splits
    })
    .collect()
}

/// Without the backslashes that escape something.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let mut plain = Vec::new();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'\\' { bytes.next().copied() } else { Some(byte) };
        plain.extend(byte);
    }
    plain
}

/// A directory that a layer is made of.
fn directory(look_up: LookUp<'_>, name: &[u8]) -> Result<Path> {
    let path = look_up(name)?;
    if path.dentry.kind() == FileKind::Directory { Ok(path) } else { Err(ENOTDIR) }
}

/// The directory `work` in the work directory, empty: what an overlay left there that did not end well goes.
pub(super) fn work_dir(dir: &Arc<Dentry>) -> Result<Arc<Dentry>> {
    let scratch = DentryCache::default();
    match dir.child(b"work", &scratch) {
        Ok(old) if old.kind() == FileKind::Directory => {
            clear(&old, CLEARED_DEPTH, &KernelCaller::default(), &scratch)?;
            dir.remove(b"work", &old, &scratch)?;
        }
        Ok(_) => return Err(EINVAL),
        Err(ENOENT) => {}
        Err(error) => return Err(error),
    }
    dir.make(b"work", NewNode::Directory, &NewAttr { mode: 0, uid: 0, gid: 0 }, &scratch)
}

fn upper_layer(upper: &Path, work: &Path) -> Result<Upper> {
    let apart = !upper.dentry.is_above(&work.dentry) && !work.dentry.is_above(&upper.dentry);
    let writable = !upper.mount.flags().contains(MountFlags::READ_ONLY);
    // An overlay keeps its marks to itself, so it cannot keep another one's.
    let fits = upper.mount.fs.stack_depth() == 0;
    if !Arc::ptr_eq(&upper.mount, &work.mount) || !apart || !writable || !fits {
        return Err(EINVAL);
    }
    Ok(Upper { root: upper.dentry.clone(), work: work_dir(&work.dentry)? })
}

impl FsType for OverlayType {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let &NewFs { look_up, options: text, device, .. } = new;
        let options = Options::parse(text)?;
        if options.lower.is_empty()
            || options.lower.len() > LAYERS_MAX
            || options.lower.iter().any(Vec::is_empty)
            || options.upper.is_some() != options.work.is_some()
            || options.upper.is_none() && options.lower.len() < 2
        {
            return Err(EINVAL);
        }
        let lowers: Vec<Path> =
            options.lower.iter().map(|name| directory(look_up, name)).collect::<Result<_>>()?;
        let mut file_systems: Vec<Arc<dyn FileSystem>> =
            lowers.iter().map(|lower| lower.mount.fs.clone()).collect();
        let places = match (options.upper, options.work) {
            (Some(upper), Some(work)) => {
                let upper = directory(look_up, &unescaped(upper))?;
                let work = directory(look_up, &unescaped(work))?;
                let inside = |lower: &Path| {
                    lower.dentry.is_above(&upper.dentry) || upper.dentry.is_above(&lower.dentry)
                };
                if lowers.iter().any(inside) {
                    return Err(ELOOP);
                }
                file_systems.push(upper.mount.fs.clone());
                Some((upper, work))
            }
            _ => None,
        };
        if depth_of(&file_systems) >= DEPTH_MAX {
            return Err(EINVAL);
        }
        // Last, as it empties the work directory.
        let upper = places.map(|(upper, work)| upper_layer(&upper, &work)).transpose()?;
        let given: String = split(text, b',')
            .into_iter()
            .filter(|option| !option.is_empty())
            .map(|option| alloc::format!(",{}", String::from_utf8_lossy(option)))
            .collect();
        let layers = Layers {
            lowers: lowers.iter().map(|lower| lower.inode().clone()).collect(),
            upper,
            prefix: if options.user_xattrs { "user." } else { "trusted." },
            file_systems,
            options: given,
        };
        Ok(Overlay::new(device, layers))
    }
}
