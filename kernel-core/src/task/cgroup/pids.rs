//! The controller `pids`: how many tasks a group and those below it may have. A task counts until it was waited for.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloc::sync::Arc;

use super::Group;
use crate::errno::{EAGAIN, EINVAL, Result};

/// More than there can be tasks: the least that is no limit to set.
const LIMIT_END: i64 = (4 << 20) + 1;
const NO_LIMIT: usize = usize::MAX;

/// What a group counts of its tasks and of those below, whether or not it has the controller.
pub(super) struct Pids {
    count: AtomicUsize,
    max: AtomicUsize,
    peak: AtomicUsize,
    /// How often a limit here or below was hit; how often the one here.
    hits: AtomicU64,
    own_hits: AtomicU64,
}

impl Default for Pids {
    fn default() -> Pids {
        Pids {
            count: AtomicUsize::new(0),
            max: AtomicUsize::new(NO_LIMIT),
            peak: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            own_hits: AtomicU64::new(0),
        }
    }
}

impl Pids {
    /// The controller comes, or goes: all but the tasks is as new.
    pub(super) fn reset(&self) {
        self.max.store(NO_LIMIT, Ordering::Relaxed);
        self.peak.store(self.count.load(Ordering::Relaxed), Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
        self.own_hits.store(0, Ordering::Relaxed);
    }
}

impl Group {
    /// A task is to be made in it. EAGAIN: its limit, or that of a group around it, is reached.
    fn charge(&self) -> Result<()> {
        for group in self.counted() {
            let now = group.pids.count.fetch_add(1, Ordering::Relaxed) + 1;
            if now > group.pids.max.load(Ordering::Relaxed) {
                for charged in self.counted() {
                    charged.pids.count.fetch_sub(1, Ordering::Relaxed);
                    if core::ptr::eq(charged, group) {
                        break;
                    }
                }
                group.hit_limit();
                return Err(EAGAIN);
            }
            group.pids.peak.fetch_max(now, Ordering::Relaxed);
        }
        Ok(())
    }

    fn hit_limit(&self) {
        self.pids.own_hits.fetch_add(1, Ordering::Relaxed);
        self.changed("pids.events.local");
        for group in self.counted() {
            group.pids.hits.fetch_add(1, Ordering::Relaxed);
            group.changed("pids.events");
        }
    }

    /// Tasks come whatever the limits are: they move.
    pub(super) fn add_tasks(&self, tasks: usize) {
        for group in self.counted() {
            let now = group.pids.count.fetch_add(tasks, Ordering::Relaxed) + tasks;
            group.pids.peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Tasks go, or were waited for.
    pub(crate) fn remove_tasks(&self, tasks: usize) {
        for group in self.counted() {
            group.pids.count.fetch_sub(tasks, Ordering::Relaxed);
        }
    }

    /// How many tasks it has, and had at most.
    pub fn tasks(&self) -> (usize, usize) {
        (self.pids.count.load(Ordering::Relaxed), self.pids.peak.load(Ordering::Relaxed))
    }

    /// How many it may have; `None`: as many as it likes.
    pub fn max_tasks(&self) -> Option<usize> {
        Some(self.pids.max.load(Ordering::Relaxed)).filter(|max| *max != NO_LIMIT)
    }

    /// Sets that; EINVAL. More may be there already.
    pub fn set_max_tasks(&self, max: Option<i64>) -> Result<()> {
        let max = match max {
            None => NO_LIMIT,
            Some(max) if max < LIMIT_END => usize::try_from(max).map_err(|_| EINVAL)?,
            Some(_) => return Err(EINVAL),
        };
        self.pids.max.store(max, Ordering::Relaxed);
        Ok(())
    }

    /// How often a limit here or below was hit; how often the one here.
    pub fn limit_hits(&self) -> (u64, u64) {
        (self.pids.hits.load(Ordering::Relaxed), self.pids.own_hits.load(Ordering::Relaxed))
    }
}

/// A task that is being made, counted; uncounted again unless it is kept.
pub(crate) struct Charge(Option<Arc<Group>>);

impl Charge {
    /// For a task in `group`: EAGAIN.
    pub fn new(group: Arc<Group>) -> Result<Charge> {
        group.charge()?;
        Ok(Charge(Some(group)))
    }

    /// The task is made, in `group`; its maker may have moved meanwhile.
    pub fn keep_in(mut self, group: &Arc<Group>) {
        if let Some(charged) = self.0.take()
            && !Arc::ptr_eq(&charged, group)
        {
            group.add_tasks(1);
            charged.remove_tasks(1);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            group.remove_tasks(1);
        }
    }
}
