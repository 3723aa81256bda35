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
    /// Which process group was in the foreground when the terminal was hung up: it is told when the leader exits.
    pub foreground_at_hangup: Mutex<Option<u32>>,
}

impl Session {
    /// A session without a terminal.
    pub fn new(id: u32) -> Arc<Session> {
        Arc::new(Session { id, tty: Mutex::new(None), foreground_at_hangup: Mutex::new(None) })
    }
}
