//! Sessions: process groups around one controlling terminal. Source: `setsid(2)`, `credentials(7)`.

use alloc::sync::Arc;

use crate::sync::Mutex;
use crate::tty::Tty;

/// A session, made by `setsid`.
pub struct Session {
    /// Its id: the process id of the leader that made it.
    pub id: u32,
    /// The controlling terminal.
    pub tty: Mutex<Option<Arc<Tty>>>,
}

impl Session {
    /// A session without a terminal.
    pub fn new(id: u32) -> Arc<Session> {
        Arc::new(Session { id, tty: Mutex::new(None) })
    }
}
