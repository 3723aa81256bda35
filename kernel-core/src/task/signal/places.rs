//! Places in queues of signals, which each user has a number of (`RLIMIT_SIGPENDING`): for real-time signals that are
//! pending, and for timers of `timer_create`. Source: `getrlimit(2)`, `timer_create(2)`.

use alloc::sync::Arc;

use hashbrown::HashMap;

use crate::sync::Mutex;

/// How many places each user has taken.
#[derive(Default)]
pub struct Places {
    taken: Mutex<HashMap<u32, u64>>,
}

/// A place; it is free again when this is dropped. That of a timer is in the queue with its signal, too.
pub struct Place {
    places: Arc<Places>,
    user: u32,
}

impl Places {
    /// Takes a place for `user`, if that is one of the first `limit`.
    pub fn take(self: &Arc<Places>, user: u32, limit: u64) -> Option<Arc<Place>> {
        let mut all = self.taken.lock();
        let taken = all.get(&user).copied().unwrap_or(0);
        if taken >= limit {
            return None;
        }
        all.insert(user, taken + 1);
        Some(Arc::new(Place { places: self.clone(), user }))
    }

    /// How many `user` has taken.
    pub fn taken(&self, user: u32) -> u64 {
        self.taken.lock().get(&user).copied().unwrap_or(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.places.taken.lock();
        if let Some(taken) = all.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                all.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_its_own() {
        let places = Arc::new(Places::default());
        let first = places.take(1, 1);
        assert!(first.is_some() && places.take(1, 1).is_none());
        assert!(places.take(2, 1).is_some());
        drop(first);
        assert_eq!((places.taken(1), places.taken(2)), (0, 0));
    }
}
