//! Signals for what happens in a directory, for who has it open: `F_NOTIFY` of `fcntl(2)`, what there was before
//! [`inotify`](super::inotify).
//!
//! It lasts until the directory is closed for the last time; Linux ends it when any descriptor of it is closed.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;

use crate::services::Services;
use crate::sync::Mutex;
use crate::task::siginfo::{Payload, SigInfo};
use crate::vfs::file::OpenFile;
use crate::vfs::notify::{Happening, Listener, Mark, News, Notify};

/// What can be asked for, and the events that it means.
const EVENTS: [(u32, Happening); 6] = [
    (sys::DN_ACCESS, Happening::ACCESS),
    (sys::DN_MODIFY, Happening::MODIFY),
    (sys::DN_CREATE, Happening::CREATE.union(Happening::MOVED_TO)),
    (sys::DN_DELETE, Happening::DELETE.union(Happening::MOVED_FROM)),
    (sys::DN_RENAME, Happening::MOVED_FROM.union(Happening::MOVED_TO)),
    (sys::DN_ATTRIB, Happening::ATTRIB),
];
/// It stays after the first event.
pub const MULTISHOT: u32 = sys::DN_MULTISHOT;
/// `POLL_MSG`, and what it means for `poll`.
const POLL_MSG: i32 = 3;
const BAND: i64 = 0x441;

/// What who has an open directory wants to hear.
pub struct DirNotify {
    file: Weak<OpenFile>,
    /// The descriptor that the signal names.
    fd: i32,
    notify: Arc<Notify>,
    services: Arc<Services>,
    /// The half of a rename that was told of last, by its cookie.
    moved: Mutex<u32>,
    /// Its mask is what was asked for, `DN_*`.
    mark: Arc<Mark>,
}

impl DirNotify {
    /// From now on tells of `mask` in the directory.
    pub fn new(
        file: &Arc<OpenFile>,
        fd: i32,
        mask: u32,
        notify: &Arc<Notify>,
        services: &Arc<Services>,
    ) -> Arc<DirNotify> {
        let new = Arc::new_cyclic(|me: &Weak<DirNotify>| DirNotify {
            file: Arc::downgrade(file),
            fd,
            notify: notify.clone(),
            services: services.clone(),
            moved: Mutex::new(0),
            mark: Mark::new(file.inode.clone(), fd, mask, me.clone()),
        });
        notify.add(&new.mark);
        new
    }

    /// What was asked for.
    pub fn mask(&self) -> u32 {
        self.mark.mask.load(Ordering::Relaxed)
    }

    fn wants(&self, news: News<'_>, mask: u32) -> bool {
        // A rename within the directory: the other half was of it too.
        let renamed =
            news.cookie != 0 && core::mem::replace(&mut *self.moved.lock(), news.cookie) == news.cookie;
        let happened = |(asked, events): &(u32, Happening)| {
            mask & asked != 0 && news.what.intersects(*events) && (*asked != sys::DN_RENAME || renamed)
        };
        EVENTS.iter().any(happened)
    }
}

impl Listener for DirNotify {
    fn hear(&self, mark: &Arc<Mark>, news: News<'_>) {
        let mask = self.mask();
        if !self.wants(news, mask) {
            return;
        }
        if mask & MULTISHOT == 0 {
            if !self.notify.remove(mark) {
                return;
            }
            // What is asked for next does not come to this.
            mark.mask.store(0, Ordering::Relaxed);
        }
        let Some(file) = self.file.upgrade() else { return };
        let owner = *file.async_owner.lock();
        let info = match owner.signal {
            0 => SigInfo::kernel(sys::SIGIO as u8),
            signal => SigInfo {
                signal,
                errno: 0,
                code: POLL_MSG,
                payload: Payload::Poll { band: BAND, fd: self.fd },
            },
        };
        self.services.processes.signal_owner(&owner, info);
    }

    fn lose(&self, _: &Arc<Mark>) {}
}

impl Drop for DirNotify {
    fn drop(&mut self) {
        self.notify.remove(&self.mark);
    }
}
