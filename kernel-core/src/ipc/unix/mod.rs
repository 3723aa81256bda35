//! Local sockets. Source: `unix(7)`.
//!
//! A [`UnixSocket`] has an inbox, in which its peers put [`message`]s; what a sender may have under way is bounded by its
//! own send buffer ([`message::Outlet`]). Peers refer to each other weakly: a socket lives as long as something has it
//! open, and its end tells the others.
//!
//! Locks: what is under way ([`rights`]) comes before any inbox, a socket's `state` comes before any inbox, one `state` and one
//! inbox are held at a time (but a listener's with that of a connection that it has not accepted), and nothing is woken, and no
//! message dropped, under any of them.
//!
//! Descriptors in messages ([`rights`]) keep files open, and so sockets that are sent through each other and closed keep
//! each other; `collect` finds these. The number of descriptors under way is bounded for everyone, privileged or not.

pub mod address;
mod collect;
mod datagram;
pub mod message;
pub mod options;
pub mod rights;
pub mod socket;
mod transfer;

#[cfg(test)]
mod tests;

use alloc::format;
use alloc::sync::{Arc, Weak};

use hashbrown::HashMap;

use crate::errno::{EADDRINUSE, ECONNREFUSED, Result};
use crate::ipc::unix::address::Address;
use crate::sync::Mutex;
use crate::vfs::inode::Inode;

pub use socket::{Kind, UnixSocket};
pub use transfer::{Ancillary, Received, Take};

/// Abstract names, and descriptors under way.
#[derive(Default)]
pub struct Namespace {
    names: Mutex<Names>,
    flight: Arc<rights::Flight>,
}

#[derive(Default)]
struct Names {
    bound: HashMap<Arc<[u8]>, Weak<UnixSocket>>,
    next_automatic: u32,
}

/// What is attached to the inode of a bound path.
pub(super) struct Binding(pub Weak<UnixSocket>);

impl Namespace {
    /// Descriptors under way.
    pub fn flight(&self) -> &Arc<rights::Flight> {
        &self.flight
    }

    /// Gives an abstract name to a socket: EADDRINUSE.
    pub(super) fn bind(&self, name: &Arc<[u8]>, socket: &Weak<UnixSocket>) -> Result<()> {
        let mut names = self.names.lock();
        if names.bound.contains_key(name) {
            return Err(EADDRINUSE);
        }
        names.bound.insert(name.clone(), socket.clone());
        Ok(())
    }

    /// Gives a socket a free name of five hexadecimal digits.
    pub(super) fn bind_automatically(&self, socket: &Weak<UnixSocket>) -> Result<Address> {
        const AUTOMATIC_NAMES: u32 = 1 << 20;
        let mut names = self.names.lock();
        for _ in 0..AUTOMATIC_NAMES {
            let name: Arc<[u8]> = format!("{:05x}", names.next_automatic).into_bytes().into();
            names.next_automatic = (names.next_automatic + 1) % AUTOMATIC_NAMES;
            if !names.bound.contains_key(&name) {
                names.bound.insert(name.clone(), socket.clone());
                return Ok(Address::Abstract(name));
            }
        }
        Err(crate::errno::ENOSPC)
    }

    /// A socket with that abstract name is gone. The name is another's already if this one did not own it.
    pub(super) fn release(&self, name: &[u8], socket: &UnixSocket) {
        let mut names = self.names.lock();
        if names.bound.get(name).is_some_and(|owner| core::ptr::eq(owner.as_ptr(), socket)) {
            names.bound.remove(name);
        }
    }

    /// The socket with an abstract name: ECONNREFUSED.
    pub fn find(&self, name: &[u8]) -> Result<Arc<UnixSocket>> {
        self.names.lock().bound.get(name).and_then(Weak::upgrade).ok_or(ECONNREFUSED)
    }

    /// The socket that is bound to an inode: ECONNREFUSED.
    pub fn find_by_inode(&self, inode: &dyn Inode) -> Result<Arc<UnixSocket>> {
        let attachment = inode.attachment().and_then(|attachment| attachment.lock().clone());
        let binding = attachment.and_then(|any| any.downcast::<Binding>().ok());
        binding.and_then(|binding| binding.0.upgrade()).ok_or(ECONNREFUSED)
    }
}
