//! Who the peer of a datagram socket is, and what is lost when that changes.

use alloc::sync::Arc;

use super::address::Address;
use super::socket::{Role, UnixSocket, WRITABLE, wake_blocked};
use crate::errno::{ECONNRESET, Result};
use crate::sched::wait::Events;

impl UnixSocket {
    /// Sets, or with `None` dissolves, where a datagram socket sends to, and from where alone it takes: EPROTOTYPE, EPERM. The
    /// peer before gets ECONNRESET, if this one was its peer too.
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
            self.lose_messages();
            if let Some(before) = before.upgrade().filter(|before| before.is_peer(self)) {
                before.state.lock().error = Some(ECONNRESET);
                before.wake(Events::ERR);
            }
        }
        self.wake(WRITABLE);
        Ok(())
    }

    /// Forgets a datagram peer that is gone.
    pub(super) fn dissociate(&self) {
        {
            let mut state = self.state.lock();
            if !matches!(&state.role, Role::Connected(peer) if peer.strong_count() == 0) {
                return;
            }
            state.role = Role::Idle;
        }
        self.lose_messages();
    }

    /// What has come from a peer is lost with it (`unix_dgram_disconnected` in Linux).
    fn lose_messages(&self) {
        let (lost, blocked) = {
            let mut inbox = self.inbox.lock();
            (core::mem::take(&mut inbox.messages), inbox.unblock())
        };
        drop(lost);
        wake_blocked(blocked);
    }
}
