//! Sockets that nobody can reach any more, though each is in a message: in circles, or behind such a circle.
//!
//! Of a file that is under way, all references are counted. If all are messages', it can only be reached by receiving one.
//! What is in an inbox that can be reached, can be reached; the messages of all others are dropped.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};

use crate::ipc::unix::message::Message;
use crate::ipc::unix::socket::UnixSocket;
use crate::vfs::file::OpenFile;

/// Sockets under way.
#[derive(Default)]
pub(super) struct Sockets {
    /// By address, each with how often it is under way.
    under_way: HashMap<usize, (Weak<OpenFile>, usize)>,
    /// How many have gone on their way since the last look, and how many were there then.
    sent: usize,
    left: usize,
}

fn address(file: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(file).addr()
}

fn socket(file: &OpenFile) -> Option<&UnixSocket> {
    file.ops.as_any().downcast_ref()
}

impl Sockets {
    /// Files go on their way.
    pub fn send(&mut self, files: &[Arc<OpenFile>]) {
        for file in files.iter().filter(|file| socket(file).is_some()) {
            self.under_way.entry(address(file)).or_insert_with(|| (Arc::downgrade(file), 0)).1 += 1;
            self.sent += 1;
        }
    }

    /// Files have arrived.
    pub fn land(&mut self, files: &[Arc<OpenFile>]) {
        for file in files {
            if let Some((_, count)) = self.under_way.get_mut(&address(file)) {
                *count -= 1;
                if *count == 0 {
                    self.under_way.remove(&address(file));
                }
            }
        }
    }

    /// Whether so many were sent since the last look that another is worth it: it looks at all.
    pub fn is_due(&self) -> bool {
        self.sent > self.left / 2
    }

    /// Takes the messages of sockets that cannot be reached; drop them without the lock on this. None, if an inbox is in
    /// use just now.
    pub fn collect(&mut self) -> Vec<Message> {
        (self.sent, self.left) = (0, self.under_way.len());
        // By address: the file, the references to it that are not from the inbox of another of these, what is in its inbox.
        let mut closed: HashMap<usize, (Arc<OpenFile>, usize, Vec<usize>)> = HashMap::new();
        for (address, (file, count)) in &self.under_way {
            let Some(file) = file.upgrade() else { continue };
            if Arc::strong_count(&file) == *count + 1 {
                let Some(inside) = socket(&file).and_then(UnixSocket::files_in_inbox) else {
                    return Vec::new();
                };
                closed.insert(*address, (file, *count, inside));
            }
        }
        let inside: Vec<usize> = closed.values().flat_map(|(_, _, inside)| inside).copied().collect();
        for address in inside {
            if let Some((_, outside, _)) = closed.get_mut(&address) {
                *outside = outside.saturating_sub(1);
            }
        }
        let mut reached: Vec<usize> =
            closed.iter().filter(|(_, (_, outside, _))| *outside > 0).map(|(address, _)| *address).collect();
        let mut reachable: HashSet<usize> = reached.iter().copied().collect();
        while let Some(address) = reached.pop() {
            for next in closed.get(&address).into_iter().flat_map(|(_, _, inside)| inside) {
                if closed.contains_key(next) && reachable.insert(*next) {
                    reached.push(*next);
                }
            }
        }
        let lost = closed.into_iter().filter(|(address, _)| !reachable.contains(address));
        lost.filter_map(|(_, (file, ..))| socket(&file).map(UnixSocket::empty_inbox)).flatten().collect()
    }
}
