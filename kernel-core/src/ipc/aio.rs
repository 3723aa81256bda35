//! Contexts of asynchronous I/O: what was submitted and is done. Source: `io_setup(2)`, `io_getevents(2)`.
//!
//! As with buffered files on Linux, a request is done when it is submitted; what is asynchronous is that its result is
//! fetched later, maybe by another thread, and that an eventfd may tell of it. A context belongs to an address space, and
//! has the address of a page there as its id, as the C library for it looks there.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zerocopy::{Immutable, IntoBytes};

use crate::errno::{EAGAIN, EINVAL, Result};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;

/// Events of all contexts of an instance.
pub struct AioLimit {
    used: AtomicU64,
    most: AtomicU64,
}

impl Default for AioLimit {
    /// Linux's limit.
    fn default() -> AioLimit {
        AioLimit { used: AtomicU64::new(0), most: AtomicU64::new(65536) }
    }
}

impl AioLimit {
    /// How many there are (`fs.aio-nr`), and may be (`fs.aio-max-nr`).
    pub fn get(&self) -> (u64, u64) {
        (self.used.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }
}

/// `struct io_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoEvent {
    /// From the request.
    pub data: u64,
    /// Address of the request.
    pub request: u64,
    /// Bytes, or a negative error number.
    pub result: i64,
    /// 0.
    pub result_2: i64,
}

/// A context.
pub struct AioContext {
    limit: Arc<AioLimit>,
    capacity: usize,
    /// Results, and how many more are promised a place.
    state: Mutex<(VecDeque<IoEvent>, usize)>,
    destroyed: AtomicBool,
    /// Woken when there is a result, or will be none any more.
    pub queue: WaitQueue,
}

impl AioContext {
    /// For so many requests at a time: EINVAL, EAGAIN.
    pub fn new(limit: &Arc<AioLimit>, capacity: u32) -> Result<Arc<AioContext>> {
        if capacity == 0 {
            return Err(EINVAL);
        }
        let more = |used: u64| {
            used.checked_add(capacity.into()).filter(|sum| *sum <= limit.most.load(Ordering::Relaxed))
        };
        limit.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| EAGAIN)?;
        Ok(Arc::new(AioContext {
            limit: limit.clone(),
            capacity: capacity as usize,
            state: Mutex::default(),
            destroyed: AtomicBool::new(false),
            queue: WaitQueue::new(),
        }))
    }

    /// Keeps a place for a result: EAGAIN.
    pub fn reserve(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.0.len() + state.1 >= self.capacity {
            return Err(EAGAIN);
        }
        state.1 += 1;
        Ok(())
    }

    /// Gives a kept place up, or fills it.
    pub fn finish(&self, event: Option<IoEvent>) {
        let mut state = self.state.lock();
        state.1 = state.1.saturating_sub(1);
        state.0.extend(event);
        drop(state);
        self.queue.wake(Events::IN);
    }

    /// Takes up to `most` results.
    pub fn take(&self, most: usize) -> Vec<IoEvent> {
        let events = &mut self.state.lock().0;
        let count = most.min(events.len());
        events.drain(..count).collect()
    }

    /// How many results there are.
    pub fn count(&self) -> usize {
        self.state.lock().0.len()
    }

    /// Whether it was destroyed.
    pub fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::Acquire)
    }
}

impl Drop for AioContext {
    fn drop(&mut self) {
        self.limit.used.fetch_sub(self.capacity as u64, Ordering::Relaxed);
    }
}

/// The contexts of an address space.
#[derive(Default)]
pub struct AioContexts(Mutex<BTreeMap<u64, Arc<AioContext>>>);

impl AioContexts {
    /// Adds one under its id.
    pub fn add(&self, id: u64, context: Arc<AioContext>) {
        self.0.lock().insert(id, context);
    }

    /// The one with an id: EINVAL.
    pub fn get(&self, id: u64) -> Result<Arc<AioContext>> {
        self.0.lock().get(&id).cloned().ok_or(EINVAL)
    }

    /// Removes one; who waits for it waits no more: EINVAL.
    pub fn remove(&self, id: u64) -> Result<()> {
        let context = self.0.lock().remove(&id).ok_or(EINVAL)?;
        context.destroyed.store(true, Ordering::Release);
        context.queue.wake(Events::IN);
        Ok(())
    }
}
