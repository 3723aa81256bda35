//! Descriptors in messages (`SCM_RIGHTS`): open files that belong to no process while they are under way.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

use crate::errno::{EINVAL, ETOOMANYREFS, Result};
use crate::ipc::unix::collect::Sockets;
use crate::sync::Mutex;
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::file::OpenFile;

/// The most descriptors in one message (`SCM_MAX_FD`).
pub const MOST_RIGHTS: usize = 253;
/// The most descriptors under way in an instance.
const MOST_IN_FLIGHT: usize = 16384;
/// `RLIMIT_NOFILE`.
const RLIMIT_NOFILE: u32 = 7;

/// What is under way in an instance.
#[derive(Default)]
pub struct Flight {
    counts: Mutex<Counts>,
    /// Files whose message is gone, to be closed.
    dead: Mutex<Vec<Arc<OpenFile>>>,
    closing: AtomicBool,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_user: HashMap<u32, usize>,
    sockets: Sockets,
}

impl Flight {
    /// Puts files under way for the caller: EINVAL for too many in one message, ETOOMANYREFS for too many in all.
    pub fn send(self: &Arc<Flight>, files: Vec<Arc<OpenFile>>, caller: &dyn Caller) -> Result<Rights> {
        if files.len() > MOST_RIGHTS {
            return Err(EINVAL);
        }
        self.collect_if_due();
        let cred = caller.cred();
        let unlimited = cred.capable(Caps::SYS_RESOURCE) || cred.capable(Caps::SYS_ADMIN);
        let too_many = |counts: &Counts| {
            let used = counts.by_user.get(&cred.uid).copied().unwrap_or(0);
            counts.total + files.len() > MOST_IN_FLIGHT
                || !unlimited && used as u64 > caller.rlimit(RLIMIT_NOFILE)
        };
        let mut counts = self.counts.lock();
        if too_many(&counts) {
            drop(counts);
            self.collect();
            counts = self.counts.lock();
            if too_many(&counts) {
                return Err(ETOOMANYREFS);
            }
        }
        let used = counts.by_user.get(&cred.uid).copied().unwrap_or(0);
        counts.sockets.send(&files);
        counts.total += files.len();
        counts.by_user.insert(cred.uid, used + files.len());
        Ok(Rights { files, user: cred.uid, flight: self.clone() })
    }

    /// Closes sockets that are out of reach, if it is worth it to look: when one is sent, and when one is gone.
    pub(super) fn collect_if_due(&self) {
        if self.counts.lock().sockets.is_due() {
            self.collect();
        }
    }

    /// Closes sockets that are out of reach.
    pub fn collect(&self) {
        let lost = self.counts.lock().sockets.collect();
        drop(lost);
    }

    fn landed(&self, files: &[Arc<OpenFile>], user: u32) {
        let count = files.len();
        let mut counts = self.counts.lock();
        counts.sockets.land(files);
        counts.total -= count;
        if let Some(used) = counts.by_user.get_mut(&user) {
            *used -= count;
            if *used == 0 {
                counts.by_user.remove(&user);
            }
        }
    }

    /// Closes files. One of them may be a socket whose inbox has more of them, and so on, as deep as a guest likes: all
    /// go to one list, which whoever comes first empties.
    fn close(&self, files: Vec<Arc<OpenFile>>) {
        self.dead.lock().extend(files);
        while !self.closing.swap(true, Ordering::AcqRel) {
            while let Some(file) = self.pop_dead() {
                drop(file);
            }
            self.closing.store(false, Ordering::Release);
            if self.dead.lock().is_empty() {
                break;
            }
        }
    }

    fn pop_dead(&self) -> Option<Arc<OpenFile>> {
        self.dead.lock().pop()
    }
}

/// Descriptors in a message.
pub struct Rights {
    files: Vec<Arc<OpenFile>>,
    user: u32,
    flight: Arc<Flight>,
}

impl Rights {
    /// Takes the files out: they have arrived.
    pub fn take(mut self) -> Vec<Arc<OpenFile>> {
        self.flight.landed(&self.files, self.user);
        core::mem::take(&mut self.files)
    }

    /// The files.
    pub(super) fn files(&self) -> &[Arc<OpenFile>] {
        &self.files
    }

    /// The files, for a look at the message (`MSG_PEEK`).
    pub fn peek(&self) -> Vec<Arc<OpenFile>> {
        self.files.clone()
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        if !self.files.is_empty() {
            self.flight.landed(&self.files, self.user);
            self.flight.close(core::mem::take(&mut self.files));
        }
    }
}
