//! `/proc/PID/ns`: links to a task's namespaces; `uid_map`, `gid_map`, `setgroups`: what ids mean in one. Sources:
//! `namespaces(7)`, `user_namespaces(7)`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::FactFs;
use super::source::TaskView;
use super::task::{Whose, owned};
use crate::errno::{EACCES, EINVAL, ENOENT, ESRCH, Result};
use crate::fs::nsfs::AnyNs;
use crate::fs::pseudo::{Body, Listed, Listing, Node};
use crate::host::PAGE_SIZE;
use crate::task::access::Ids;
use crate::task::cred::Caps;
use crate::task::namespaces::NsKind;
use crate::task::user_ns::{IdKind, UserNs};
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, Inode, LinkTarget};

/// Inode numbers of the links: away from those of the other entries.
const NS_INO: u64 = 1 << 58;

/// What a link leads to.
#[derive(Clone, Copy)]
enum Which {
    Own(NsKind),
    PidForChildren,
}

const LINKS: &[(&str, Which)] = &[
    ("cgroup", Which::Own(NsKind::Cgroup)),
    ("ipc", Which::Own(NsKind::Ipc)),
    ("mnt", Which::Own(NsKind::Mnt)),
    ("pid", Which::Own(NsKind::Pid)),
    ("pid_for_children", Which::PidForChildren),
    ("user", Which::Own(NsKind::User)),
    ("uts", Which::Own(NsKind::Uts)),
];

/// `/proc/PID/ns`.
pub(super) struct Links {
    pub fs: FactFs,
    pub whose: Whose,
}

impl Links {
    fn ino(&self, index: usize) -> u64 {
        NS_INO + self.whose.ino() + index as u64
    }
}

impl Listing for Links {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let index = LINKS.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
        let (_, which) = *LINKS.get(index).ok_or(ENOENT)?;
        let (fs, whose) = (self.fs.clone(), self.whose);
        let read = Box::new(move |caller: &dyn Caller| {
            let view = whose.view(&fs)?.look(caller, Ids::FileSystem)?;
            let namespace = match which {
                Which::Own(kind) => view.namespace(kind),
                Which::PidForChildren => view.pid_for_children().map(AnyNs::Pid),
            };
            let namespace = namespace.ok_or(ENOENT)?;
            let text = namespace.name();
            Ok(LinkTarget::Jump { path: namespace.path(), text })
        });
        let view = whose.view(&self.fs).map_err(|_| ENOENT)?;
        Ok(Node::new(owned(&self.fs, self.ino(index), 0o777, &*view), Body::Link(read)))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        let listed = |(index, (name, _)): (usize, &(&str, Which))| Listed {
            key: index as u64,
            ino: self.ino(index),
            kind: FileKind::Symlink,
            name: name.as_bytes().to_vec(),
        };
        LINKS.iter().enumerate().map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}

fn user_ns(view: &dyn TaskView) -> Result<UserNs> {
    match view.namespace(NsKind::User) {
        Some(AnyNs::User(user_ns)) => Ok(user_ns),
        _ => Err(ESRCH),
    }
}

/// `uid_map`, `gid_map` or `projid_map`.
pub(super) fn id_map(fs: FactFs, whose: Whose, kind: IdKind) -> Body {
    let of = fs.clone();
    Body::Text {
        read: Box::new(move |caller| {
            let text = user_ns(&*whose.view(&fs)?)?.map_text(kind, &caller.cred().user_ns);
            Ok(text.into_bytes())
        }),
        write: Some(Box::new(move |caller, opener, text| {
            if text.len() >= PAGE_SIZE as usize {
                return Err(EINVAL);
            }
            user_ns(&*whose.view(&of)?)?.write_map(kind, text, opener, &caller.cred())
        })),
    }
}

/// `setgroups`.
pub(super) fn setgroups(fs: FactFs, whose: Whose) -> Body {
    let of = fs.clone();
    Body::Text {
        read: Box::new(move |_| {
            let allowed = user_ns(&*whose.view(&fs)?)?.allows_setgroups();
            Ok(if allowed { b"allow\n".to_vec() } else { b"deny\n".to_vec() })
        }),
        write: Some(Box::new(move |_, opener, text| {
            let user_ns = user_ns(&*whose.view(&of)?)?;
            if !opener.capable_in(&user_ns, Caps::SYS_ADMIN) {
                return Err(EACCES);
            }
            let allow = match text.strip_suffix(b"\n").unwrap_or(text) {
                b"allow" => true,
                b"deny" => false,
                _ => return Err(EINVAL),
            };
            user_ns.set_setgroups(allow)
        })),
    }
}
