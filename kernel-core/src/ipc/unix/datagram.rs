//! Who the peer of a datagram socket is, and what is lost when that changes.

use alloc::sync::{Arc, Weak};

use super::address::Address;
use super::socket::{Role, UnixSocket, WRITABLE, wake_blocked};
use crate::errno::{ECONNRESET, Result};
use crate::sched::wait::Events;

impl UnixSocket {
    /// Sets, or with `None` dissolves, where a datagram socket sends to, and from where alone it takes: EPROTOTYPE, EPERM.
    pub fn associate(&self, peer: Option<&Arc<UnixSocket>>) -> Result<()> {
        let (role, peer_name) = match peer {
            Some(peer) => {
                peer.check_sender(self)?;
                (Role::Connected(Arc::downgrade(peer)), peer.name())
            }
            None => (Role::Idle, Address::Unnamed),
        };
        let before = {
            let mut state = self.state.lock();
            state.peer_name = peer_name;
            core::mem::replace(&mut state.role, role)
        };
        if let Role::Connected(before) = before
            && !peer.is_some_and(|peer| core::ptr::eq(Arc::as_ptr(peer), before.as_ptr()))
        {
            self.part_from(&before);
        }
        self.wake(WRITABLE);
        Ok(())
    }

    /// Forgets a datagram peer that is gone.
    pub(super) fn dissociate(&self) {
        let gone = {
            let mut state = self.state.lock();
            match &state.role {
                Role::Connected(peer) if peer.strong_count() == 0 => {
                    core::mem::replace(&mut state.role, Role::Idle)
                }
                _ => return,
            }
        };
        if let Role::Connected(gone) = gone {
            self.part_from(&gone);
        }
    }

    /// What has come is lost, and `peer` gets ECONNRESET if this one was its peer (`unix_dgram_disconnected` in Linux).
    fn part_from(&self, peer: &Weak<UnixSocket>) {
        let (lost, blocked) = {
            let mut inbox = self.inbox.lock();
            (core::mem::take(&mut inbox.messages), inbox.unblock())
        };
        drop(lost);
        wake_blocked(blocked);
        if let Some(peer) = peer.upgrade()
            && peer.is_peer(self)
        {
            peer.state.lock().error = Some(ECONNRESET);
            peer.wake(Events::ERR);
        }
    }
}
