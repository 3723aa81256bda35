//! A table of objects by id and by key.
//!
//! An id is a place in the table and a number that differs from that of earlier objects in the same place, so that an id
//! that is kept too long hardly ever finds another object.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{EEXIST, EINVAL, ENOENT, ENOSPC, Result};
use crate::ipc::sysv::limits::NextId;
use crate::ipc::sysv::{CREATE, EXCLUSIVE, PRIVATE};

/// Most places (`IPCMNI`).
pub const MAX: u32 = 1 << SHIFT;
const SHIFT: u32 = 15;

/// The number in an id that tells objects in one place apart.
pub fn sequence(id: i32) -> u16 {
    (id >> SHIFT) as u16
}

/// The place that an id means.
fn place(id: i32) -> u32 {
    id as u32 & (MAX - 1)
}

/// How an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its id.
    Id(i32),
    /// By its place.
    Place(i32),
}

/// Objects by place, with their ids.
pub struct Ids<T> {
    objects: BTreeMap<u32, (i32, Arc<T>)>,
    keys: BTreeMap<i32, u32>,
    /// All places below are taken.
    first_free: u32,
    sequence: u16,
}

impl<T> Default for Ids<T> {
    fn default() -> Ids<T> {
        Ids { objects: BTreeMap::new(), keys: BTreeMap::new(), first_free: 0, sequence: 0 }
    }
}

impl<T> Ids<T> {
    /// How many.
    pub fn count(&self) -> usize {
        self.objects.len()
    }

    /// The highest place in use; 0 if none is.
    pub fn highest(&self) -> u32 {
        self.objects.keys().next_back().copied().unwrap_or(0)
    }

    /// The object with this id: EINVAL.
    pub fn get(&self, id: i32) -> Result<Arc<T>> {
        let (found, object) = self.objects.get(&place(id)).ok_or(EINVAL)?;
        if *found == id { Ok(object.clone()) } else { Err(EINVAL) }
    }

    /// The object that is meant: EINVAL.
    pub fn which(&self, which: Which) -> Result<Arc<T>> {
        match which {
            Which::Id(id) => self.get(id),
            Which::Place(place) => {
                let place = u32::try_from(place).map_err(|_| EINVAL)?;
                self.objects.get(&place).map(|(_, object)| object.clone()).ok_or(EINVAL)
            }
        }
    }

    /// All objects.
    pub fn all(&self) -> Vec<(i32, Arc<T>)> {
        self.objects.values().cloned().collect()
    }

    /// The object that a `*get` call means, if it is there; `None`: one is to be made. ENOENT, EEXIST.
    pub fn find(&self, key: i32, flags: u32) -> Result<Option<(i32, Arc<T>)>> {
        if key == PRIVATE {
            return Ok(None);
        }
        match self.keys.get(&key).and_then(|place| self.objects.get(place)) {
            Some(_) if flags & CREATE != 0 && flags & EXCLUSIVE != 0 => Err(EEXIST),
            Some(found) => Ok(Some(found.clone())),
            None if flags & CREATE != 0 => Ok(None),
            None => Err(ENOENT),
        }
    }

    /// Adds an object and gives its id: that of `next`, if its place is free, or one with the next free place and its number.
    /// There may be `limit` in all: ENOSPC.
    pub fn add(&mut self, key: i32, limit: u64, next: &NextId, make: impl FnOnce(i32) -> T) -> Result<i32> {
        if self.objects.len() as u64 >= limit.min(u64::from(MAX)) {
            return Err(ENOSPC);
        }
        let next = next.take();
        let (mut free, sequence) = match next {
            Some(id) => (place(id), sequence(id)),
            None => (self.first_free, self.sequence),
        };
        while self.objects.contains_key(&free) {
            free += 1;
        }
        if free >= MAX {
            return Err(ENOSPC);
        }
        let id = (u32::from(sequence) << SHIFT | free) as i32;
        self.objects.insert(free, (id, Arc::new(make(id))));
        if next.is_none() {
            self.first_free = free + 1;
        }
        if key != PRIVATE {
            self.keys.insert(key, free);
        }
        Ok(id)
    }

    /// The key finds nothing any more.
    pub fn forget_key(&mut self, key: i32) {
        self.keys.remove(&key);
    }

    /// Removes an object with its key.
    pub fn remove(&mut self, id: i32, key: i32) -> Option<Arc<T>> {
        if self.objects.get(&place(id)).is_none_or(|(found, _)| *found != id) {
            return None;
        }
        let (_, object) = self.objects.remove(&place(id))?;
        self.forget_key(key);
        self.first_free = self.first_free.min(place(id));
        self.sequence = self.sequence.wrapping_add(1) & (u16::MAX >> 1);
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_used_again_soon() {
        let (mut ids, any) = (Ids::default(), NextId::any());
        let first = ids.add(7, 2, &any, |_| 'a').unwrap();
        let second = ids.add(PRIVATE, 2, &any, |_| 'b').unwrap();
        assert_eq!((first, second, ids.highest()), (0, 1, 1));
        assert_eq!(ids.add(8, 2, &any, |_| 'c'), Err(ENOSPC));
        assert_eq!(ids.find(7, CREATE).unwrap().map(|(id, _)| id), Some(first));
        assert_eq!(ids.find(7, CREATE | EXCLUSIVE).err(), Some(EEXIST));
        assert!(ids.find(PRIVATE, 0).unwrap().is_none());
        ids.remove(first, 7);
        assert_eq!(ids.find(7, 0).err(), Some(ENOENT));
        let third = ids.add(7, 2, &any, |_| 'c').unwrap();
        assert_ne!(third, first);
        assert_eq!((ids.get(first).err(), *ids.get(third).unwrap()), (Some(EINVAL), 'c'));
        assert!(ids.remove(first, 7).is_none(), "an old id removes nothing");
    }

    #[test]
    fn an_id_can_be_asked_for() {
        let (mut ids, next) = (Ids::default(), NextId::any());
        let asked = 5 << SHIFT | 2;
        assert_eq!((next.set(-1), next.get()), (Err(EINVAL), -1));
        next.set(asked).unwrap();
        assert_eq!(ids.add(7, 9, &next, |_| 'a'), Ok(asked));
        assert_eq!((next.get(), ids.add(8, 9, &next, |_| 'b')), (-1, Ok(0)));
        next.set(asked).unwrap();
        assert_eq!(ids.add(9, 9, &next, |_| 'c'), Ok(asked + 1), "the place is taken");
        assert_eq!(ids.add(PRIVATE, 9, &next, |_| 'd'), Ok(1));
        assert_eq!(ids.add(PRIVATE, 9, &next, |_| 'e'), Ok(4), "what was asked for is passed over");
        next.set((MAX - 1) as i32).unwrap();
        assert_eq!(ids.add(PRIVATE, 9, &next, |_| 'f'), Ok((MAX - 1) as i32));
        next.set((MAX - 1) as i32).unwrap();
        assert_eq!(ids.add(PRIVATE, 9, &next, |_| 'g'), Err(ENOSPC));
    }
}
