//! `/proc/PID/mounts`, `mountinfo` and `mountstats`. Source: `proc_pid_mountinfo(5)`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::peers::Peers;
use super::table::Namespace;
use super::{Mount, MountFlags};
use crate::errno::Result;
use crate::task::namespaces::Namespaces;
use crate::vfs::limit::check_text;
use crate::vfs::path::{Path, path_of};

impl Namespace {
    /// The text of `/proc/PID/mounts` as seen from `root`.
    pub fn mounts_text(&self, root: &Path) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (mount, at) in self.visible(root)? {
            push_escaped(&mut text, &mount.source);
            text.push(b' ');
            push_escaped(&mut text, &at);
            let (name, flags, options) = (mount.fs.name(), flags_text(mount.flags()), mount.fs.options());
            text.extend_from_slice(format!(" {name} {flags}{options} 0 0\n").as_bytes());
            check_text(text.len())?;
        }
        Ok(text)
    }

    /// The text of `/proc/PID/mountinfo` as seen from `root`, for a reader with these namespaces.
    pub fn mountinfo_text(&self, root: &Path, reader: Option<&Namespaces>) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let visible = self.visible(root)?;
        let peers = self.table.lock();
        for (mount, at) in &visible {
            let device = mount.fs.device();
            let parent = mount.parent().map_or(mount.id, |parent| parent.id);
            let ids = format!("{} {parent} {}:{} ", mount.id, device.major, device.minor);
            text.extend_from_slice(ids.as_bytes());
            push_escaped(&mut text, &mount.fs.name_of_root(&mount.root, reader));
            text.push(b' ');
            push_escaped(&mut text, at);
            text.extend_from_slice(format!(" {}", flags_text(mount.own_flags())).as_bytes());
            text.extend_from_slice(optional_fields(&peers, mount, &visible).as_bytes());
            text.extend_from_slice(format!(" - {} ", mount.fs.name()).as_bytes());
            push_escaped(&mut text, &mount.source);
            let access = if mount.superblock.is_read_only() { "ro" } else { "rw" };
            text.extend_from_slice(format!(" {access}{}\n", mount.fs.options()).as_bytes());
            check_text(text.len())?;
        }
        drop(peers);
        Ok(text)
    }

    /// The text of `/proc/PID/mountstats` as seen from `root`.
    pub fn mountstats_text(&self, root: &Path) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (mount, at) in self.visible(root)? {
            text.extend_from_slice(b"device ");
            push_escaped(&mut text, &mount.source);
            text.extend_from_slice(b" mounted on ");
            push_escaped(&mut text, &at);
            text.extend_from_slice(format!(" with fstype {}\n", mount.fs.name()).as_bytes());
            check_text(text.len())?;
        }
        Ok(text)
    }

    /// Its mounts that can be reached from `root`, with their places' names. ENOMEM: these are too long together.
    fn visible(&self, root: &Path) -> Result<Vec<(Arc<Mount>, Vec<u8>)>> {
        let (mut found, mut len) = (Vec::new(), 0);
        for mount in self.mounts() {
            let path = Path { dentry: mount.root.clone(), mount: mount.clone() };
            let Some(name) = path_of(&path, root).reachable() else { continue };
            len += name.len();
            check_text(len)?;
            found.push((mount, name));
        }
        Ok(found)
    }
}

/// Each with a space before it: `shared:N`, `master:N`, `propagate_from:N`, `unbindable`.
fn optional_fields(peers: &Peers, mount: &Mount, visible: &[(Arc<Mount>, Vec<u8>)]) -> String {
    let sharing = mount.sharing();
    let mut text = String::new();
    if let Some(group) = sharing.group {
        text.push_str(&format!(" shared:{group}"));
    }
    if let Some(master) = sharing.master {
        text.push_str(&format!(" master:{master}"));
        // The nearest master that has a member which the reader can see.
        let seen = |group: u32| visible.iter().any(|(other, _)| other.sharing().group == Some(group));
        let mut at = Some(master);
        while let Some(group) = at {
            if seen(group) {
                if group != master {
                    text.push_str(&format!(" propagate_from:{group}"));
                }
                break;
            }
            at = peers.master(group);
        }
    }
    if sharing.unbindable {
        text.push_str(" unbindable");
    }
    text
}

fn flags_text(flags: MountFlags) -> String {
    let mut text = String::from(if flags.contains(MountFlags::READ_ONLY) { "ro" } else { "rw" });
    for (flag, name) in [
        (MountFlags::NO_SUID, ",nosuid"),
        (MountFlags::NO_DEV, ",nodev"),
        (MountFlags::NO_EXEC, ",noexec"),
        (MountFlags::NO_ATIME, ",noatime"),
        (MountFlags::NO_DIR_ATIME, ",nodiratime"),
        (MountFlags::REL_ATIME, ",relatime"),
        (MountFlags::NO_SYM_FOLLOW, ",nosymfollow"),
    ] {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// Adds `bytes` with space, tab, newline, backslash and `#` in octal, so that a line splits at spaces.
fn push_escaped(text: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => text.push(byte),
        }
    }
}
