//! Readiness of many files at once. Source: `epoll(7)`.
//!
//! Each watched file is an [`Item`], registered in the file's wait queue. A wake-up puts it on the instance's ready list
//! and wakes whoever waits for the instance, so waiting costs what is ready, not what is watched. An item is on the list at
//! most once, and is taken off *before* its file is asked what is ready: what happens in between puts it back.
//!
//! Items do not keep their files open. A file that goes away says so ([`Watcher`]), whatever descriptors it had.
//!
//! Locks: the lists of an instance are never locked while a file is asked or a queue is woken, as both may lead to
//! another instance. How deep that goes is bounded by [`Topology`].

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::HashMap;
use linux_raw_sys::general as sys;

use crate::errno::{EEXIST, EINVAL, ELOOP, ENOENT, ENOSPC, EPERM, Result};
use crate::ipc::limit::Limit;
use crate::sched::wait::{Events, WaitQueue, WaitToken, Wake};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::fd::RawFd;
use crate::vfs::file::{FileOps, Op, OpenFile, Watcher, Whence};

/// The deepest that instances may be in each other (as in Linux: a chain of five).
const MOST_NESTED: usize = 4;

/// The most ways of an event from a file up to instances that nobody watches, by how many instances are between. Each is
/// gone for each event. Source: `path_limits` in Linux, which tells of them by EINVAL.
const MOST_WAYS: [u32; MOST_NESTED + 1] = [u32::MAX, 500, 100, 50, 10];

/// Bytes that a watch costs, as Linux reckons; all of a user's may cost a part of RAM (`epoll(7)`, `max_user_watches`).
const COST: u64 = 160;
const PART_OF_RAM: u64 = 25;

bitflags::bitflags! {
    /// How a file is watched, beside [`Events`]; the bits are those of `epoll_ctl(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mode: u32 {
        /// Wake few of those who watch the file by several instances. Here it wakes all, which is allowed.
        const EXCLUSIVE = sys::EPOLLEXCLUSIVE;
        /// Keep the system awake; of no effect.
        const WAKEUP = sys::EPOLLWAKEUP;
        /// Report once, then not until it is changed.
        const ONESHOT = sys::EPOLLONESHOT;
        /// Report changes only.
        const EDGE = sys::EPOLLET;
    }
}

/// What is asked of a file, and what comes with it when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Events waited for; ERR and HUP always are.
    pub events: Events,
    /// How.
    pub mode: Mode,
    /// Given back as it is.
    pub data: u64,
}

impl Interest {
    /// Of a `struct epoll_event`; bits without a meaning are dropped, as in Linux.
    pub fn from_raw(events: u32, data: u64) -> Interest {
        Interest { events: Events::from_bits_truncate(events), mode: Mode::from_bits_truncate(events), data }
    }

    /// Whether an exclusive watch may ask for this.
    fn is_valid_exclusive(&self) -> bool {
        let allowed = Events::IN | Events::OUT | Events::ERR | Events::HUP;
        allowed.contains(self.events) && !self.mode.contains(Mode::ONESHOT)
    }

    fn reported(&self) -> Events {
        self.events | Events::ERR | Events::HUP
    }
}

/// What all instances have in common.
pub struct Topology {
    /// Serialises how they are put into each other, so that no two changes make a loop together.
    lock: Mutex<()>,
    /// `max_user_watches`.
    pub most_watches: Limit,
    /// How many those have who made instances that are still there.
    users: Mutex<HashMap<u32, Weak<AtomicU64>>>,
}

impl Topology {
    /// With the limit that Linux has on a machine with so much memory.
    pub fn new(ram: u64) -> Arc<Topology> {
        let most_watches = Limit::new(ram / PART_OF_RAM / COST, i64::MAX as u64);
        Arc::new(Topology { lock: Mutex::default(), most_watches, users: Mutex::default() })
    }

    fn watches_of(&self, user: u32) -> Arc<AtomicU64> {
        let mut users = self.users.lock();
        if let Some(watches) = users.get(&user).and_then(Weak::upgrade) {
            return watches;
        }
        users.retain(|_, watches| watches.strong_count() > 0);
        let watches = Arc::default();
        users.insert(user, Arc::downgrade(&watches));
        watches
    }

    /// Counts one more; ENOSPC.
    fn count(&self, watches: &Arc<AtomicU64>) -> Result<Counted> {
        let counted = Counted(watches.clone());
        if watches.fetch_add(1, Ordering::Relaxed) >= self.most_watches.get() {
            return Err(ENOSPC);
        }
        Ok(counted)
    }
}

/// A watch that counts until this is dropped.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which file: Linux, too, tells watches apart by descriptor number and open file.
type Key = (RawFd, usize);

/// An epoll instance.
pub struct Epoll {
    set: Arc<Set>,
    topology: Arc<Topology>,
    /// How many watches its maker has.
    watches: Arc<AtomicU64>,
}

#[derive(Default)]
struct Set {
    /// Woken when something became ready: for poll, and instances that watch this one.
    queue: WaitQueue,
    /// Woken then, and also when what is ready is put back for others: for `epoll_wait`.
    waiters: WaitQueue,
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: Mutex<VecDeque<Arc<Item>>>,
    /// Instances that watch this one.
    parents: Mutex<Vec<Weak<Set>>>,
}

struct Item {
    key: Key,
    set: Weak<Set>,
    file: Weak<OpenFile>,
    interest: Mutex<Interest>,
    /// Whether it is on the ready list.
    listed: AtomicBool,
    /// Whether it may be reported: not again after EPOLLONESHOT, until it is changed.
    enabled: AtomicBool,
    removed: AtomicBool,
    registration: Mutex<Registration>,
    _counted: Counted,
}

#[derive(Default)]
struct Registration {
    file: Option<WaitToken>,
    caller: Option<(Arc<WaitQueue>, WaitToken)>,
}

impl Item {
    /// Puts it on the ready list and wakes who waits.
    fn list(self: &Arc<Item>, set: &Set) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            set.ready.lock().push_back(self.clone());
        }
        set.waiters.wake(Events::IN);
        set.queue.wake(Events::IN | Events::RDNORM);
    }

    /// Registers it in the file's queue for its present interest, instead of what it was registered for.
    fn register(self: &Arc<Item>, op: Op<'_>) {
        let wake: Arc<dyn Wake> = Arc::new(ItemWake(Arc::downgrade(self)));
        let mask = self.interest.lock().reported().to_wait_for();
        let registration = Registration {
            file: op.file.ops.wait_queue().map(|queue| queue.register(mask, wake.clone())),
            caller: op.file.ops.caller_queue(op).map(|queue| {
                let token = queue.register(mask, wake);
                (queue, token)
            }),
        };
        self.replace_registration(op.file, registration);
        // Whoever removed it in between did not see the new one.
        if self.removed.load(Ordering::SeqCst) {
            self.unregister(op.file);
        }
    }

    fn unregister(&self, file: &OpenFile) {
        self.replace_registration(file, Registration::default());
    }

    fn replace_registration(&self, file: &OpenFile, new: Registration) {
        let registration = core::mem::replace(&mut *self.registration.lock(), new);
        if let (Some(token), Some(queue)) = (registration.file, file.ops.wait_queue()) {
            queue.unregister(token);
        }
        if let Some((queue, token)) = registration.caller {
            queue.unregister(token);
        }
    }

    /// What is to be reported now.
    fn poll(&self, caller: &dyn Caller) -> Events {
        let Some(file) = self.file.upgrade() else { return Events::empty() };
        if !self.enabled.load(Ordering::Acquire) || self.removed.load(Ordering::SeqCst) {
            return Events::empty();
        }
        let mask = self.interest.lock().reported();
        file.ops.poll(Op { file: &file, caller }) & mask
    }
}

/// What stands in a file's wait queue for an item, which it does not keep alive.
struct ItemWake(Weak<Item>);

impl Wake for ItemWake {
    fn wake(&self, _: Events) {
        if let Some(item) = self.0.upgrade()
            && item.enabled.load(Ordering::Acquire)
            && let Some(set) = item.set.upgrade()
        {
            item.list(&set);
        }
    }
}

impl Watcher for Item {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn file_closed(&self, file: &OpenFile) {
        self.removed.store(true, Ordering::SeqCst);
        self.unregister(file);
        if let Some(set) = self.set.upgrade() {
            let gone = set.items.lock().remove(&self.key);
            drop(gone);
        }
    }
}

impl Set {
    /// Instances that this one watches.
    fn children(&self) -> Vec<Arc<Set>> {
        let files: Vec<Arc<OpenFile>> =
            self.items.lock().values().filter_map(|item| item.file.upgrade()).collect();
        let epolls = files.iter().filter_map(|file| file.ops.as_any().downcast_ref::<Epoll>());
        epolls.map(|epoll| epoll.set.clone()).collect()
    }

    /// Instances that watch this one.
    fn parents(&self) -> Vec<Arc<Set>> {
        self.parents.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// The length of the longest chain of `next` from `start`; ELOOP if it leads to `forbidden` or is too long. Goes level
/// by level, so that each instance is looked at once on each, however many ways lead there.
fn longest_chain(
    start: &Arc<Set>,
    forbidden: Option<&Arc<Set>>,
    next: impl Fn(&Set) -> Vec<Arc<Set>>,
) -> Result<usize> {
    let mut level = BTreeMap::from([(Arc::as_ptr(start).addr(), start.clone())]);
    for length in 0..=MOST_NESTED {
        if forbidden.is_some_and(|set| level.contains_key(&Arc::as_ptr(set).addr())) {
            return Err(ELOOP);
        }
        let sets = level.values().flat_map(|set| next(set));
        level = sets.map(|set| (Arc::as_ptr(&set).addr(), set)).collect();
        if level.is_empty() {
            return Ok(length);
        }
    }
    Err(ELOOP)
}

/// Counts the ways up from `sets`, which are that deep; EINVAL for too many.
fn count_ways(sets: Vec<Arc<Set>>, depth: usize, ways: &mut [u32; MOST_NESTED + 1]) -> Result<()> {
    for set in sets {
        let parents = set.parents();
        if depth > MOST_NESTED {
            return Err(EINVAL);
        } else if !parents.is_empty() {
            count_ways(parents, depth + 1, ways)?;
        } else if let Some((ways, most)) = ways.iter_mut().zip(MOST_WAYS).nth(depth) {
            *ways += 1;
            if *ways > most {
                return Err(EINVAL);
            }
        }
    }
    Ok(())
}

/// Whether the ways up from a file that is no instance are not too many: EINVAL.
fn check_ways(file: &OpenFile) -> Result<()> {
    let watchers = file.watchers();
    let items = watchers.iter().filter_map(|watcher| watcher.as_any().downcast_ref::<Item>());
    let sets =
        items.filter(|item| !item.removed.load(Ordering::SeqCst)).filter_map(|item| item.set.upgrade());
    count_ways(sets.collect(), 0, &mut [0; MOST_NESTED + 1])
}

impl Epoll {
    /// An instance that watches nothing, made by that user.
    pub fn new(topology: &Arc<Topology>, user: u32) -> Epoll {
        Epoll { set: Arc::default(), watches: topology.watches_of(user), topology: topology.clone() }
    }

    /// `EPOLL_CTL_ADD`: EEXIST, ELOOP, EINVAL as `epoll_ctl(2)`.
    pub fn add(
        &self,
        fd: RawFd,
        file: &Arc<OpenFile>,
        interest: Interest,
        caller: &dyn Caller,
    ) -> Result<()> {
        let op = Op { file, caller };
        let nested = self.target(file)?;
        if interest.mode.contains(Mode::EXCLUSIVE) && (nested.is_some() || !interest.is_valid_exclusive()) {
            return Err(EINVAL);
        }
        let key = (fd, Arc::as_ptr(file).addr());
        // Without others in between: two instances could be put into each other at once.
        let changes_ways = nested.is_some() || !self.set.parents.lock().is_empty();
        let order = changes_ways.then(|| self.topology.lock.lock());
        if let Some(nested) = nested {
            let below = longest_chain(&nested.set, Some(&self.set), Set::children)?;
            let above = longest_chain(&self.set, None, Set::parents)?;
            if below + 1 + above > MOST_NESTED {
                return Err(ELOOP);
            }
            nested.set.parents.lock().retain(|parent| parent.strong_count() > 0);
        }
        let item = Arc::new(Item {
            key,
            set: Arc::downgrade(&self.set),
            file: Arc::downgrade(file),
            interest: Mutex::new(interest),
            listed: AtomicBool::new(false),
            enabled: AtomicBool::new(true),
            removed: AtomicBool::new(false),
            registration: Mutex::default(),
            _counted: self.topology.count(&self.watches)?,
        });
        {
            let mut items = self.set.items.lock();
            if items.contains_key(&key) {
                return Err(EEXIST);
            }
            items.insert(key, item.clone());
        }
        if let Some(nested) = nested {
            nested.set.parents.lock().push(Arc::downgrade(&self.set));
        }
        let watcher: Arc<dyn Watcher> = item.clone();
        file.watch(Arc::downgrade(&watcher));
        let checked = match changes_ways {
            true => self.files_below(file).iter().try_for_each(|file| check_ways(file)),
            false => Ok(()),
        };
        drop(order);
        if checked.is_err() {
            // Or somebody else has.
            let _ = self.remove(fd, file);
            return checked;
        }
        item.register(op);
        self.list_if_ready(&item, caller);
        Ok(())
    }

    /// `EPOLL_CTL_MOD`: ENOENT, and EINVAL where exclusive watches are involved.
    pub fn modify(
        &self,
        fd: RawFd,
        file: &Arc<OpenFile>,
        interest: Interest,
        caller: &dyn Caller,
    ) -> Result<()> {
        let op = Op { file, caller };
        self.target(file)?;
        if interest.mode.contains(Mode::EXCLUSIVE) {
            return Err(EINVAL);
        }
        let item = self.find(fd, file)?;
        {
            let mut old = item.interest.lock();
            if old.mode.contains(Mode::EXCLUSIVE) {
                return Err(EINVAL);
            }
            *old = interest;
        }
        item.enabled.store(true, Ordering::Release);
        item.register(op);
        self.list_if_ready(&item, caller);
        Ok(())
    }

    /// `EPOLL_CTL_DEL`: ENOENT.
    pub fn remove(&self, fd: RawFd, file: &Arc<OpenFile>) -> Result<()> {
        let nested = self.target(file)?;
        let item = self.find(fd, file)?;
        item.file_closed(file);
        if let Some(nested) = nested {
            let mut parents = nested.set.parents.lock();
            let own =
                parents.iter().position(|parent| core::ptr::eq(parent.as_ptr(), Arc::as_ptr(&self.set)));
            if let Some(index) = own {
                parents.swap_remove(index);
            }
        }
        Ok(())
    }

    /// Whether a file can be watched at all: EPERM for what never changes.
    pub fn check_target(op: Op<'_>) -> Result<()> {
        match op.file.ops.wait_queue().is_some() || op.file.ops.caller_queue(op).is_some() {
            true => Ok(()),
            false => Err(EPERM),
        }
    }

    /// The file, if it is no instance, or those that are in it and in instances in it.
    fn files_below(&self, file: &Arc<OpenFile>) -> Vec<Arc<OpenFile>> {
        let mut level = BTreeMap::from([(Arc::as_ptr(file).addr(), file.clone())]);
        let mut found = BTreeMap::new();
        for _ in 0..=MOST_NESTED {
            let mut next = BTreeMap::new();
            for (address, file) in level {
                let Some(epoll) = file.ops.as_any().downcast_ref::<Epoll>() else {
                    found.insert(address, file);
                    continue;
                };
                // Not dropped with the lock held, which the end of a file takes.
                let items = epoll.set.items.lock();
                let files: Vec<_> = items.values().filter_map(|item| item.file.upgrade()).collect();
                drop(items);
                next.extend(files.into_iter().map(|file| (Arc::as_ptr(&file).addr(), file)));
            }
            level = next;
        }
        found.into_values().collect()
    }

    /// The instance that a file is, if it is one; EINVAL if it is this one.
    fn target<'a>(&self, file: &'a OpenFile) -> Result<Option<&'a Epoll>> {
        let nested = file.ops.as_any().downcast_ref::<Epoll>();
        if nested.is_some_and(|nested| Arc::ptr_eq(&nested.set, &self.set)) {
            return Err(EINVAL);
        }
        Ok(nested)
    }

    fn find(&self, fd: RawFd, file: &Arc<OpenFile>) -> Result<Arc<Item>> {
        self.set.items.lock().get(&(fd, Arc::as_ptr(file).addr())).cloned().ok_or(ENOENT)
    }

    fn list_if_ready(&self, item: &Arc<Item>, caller: &dyn Caller) {
        if !item.poll(caller).is_empty() {
            item.list(&self.set);
        }
    }

    /// Where to wait until [`Epoll::collect`] may give something.
    pub fn waiters(&self) -> &WaitQueue {
        &self.set.waiters
    }

    /// Gives what is ready to `emit`, at most `limit` of it, and says how much that was: 0 means to wait. A failure of
    /// `emit` loses nothing, and is reported only if nothing came before it.
    pub fn collect(
        &self,
        limit: usize,
        caller: &dyn Caller,
        mut emit: impl FnMut(Events, u64) -> Result<()>,
    ) -> Result<usize> {
        // What is put back goes behind what was there, and is not looked at again.
        let mut left = self.set.ready.lock().len();
        let (mut count, mut put_back, mut failure) = (0, false, Ok(()));
        while left > 0 && count < limit {
            left -= 1;
            let Some(item) = self.set.ready.lock().pop_front() else { break };
            item.listed.store(false, Ordering::Release);
            let events = item.poll(caller);
            if events.is_empty() {
                continue;
            }
            let interest = *item.interest.lock();
            let one_shot = interest.mode.contains(Mode::ONESHOT);
            // Two who wait must not both get what is reported once.
            if one_shot && !item.enabled.swap(false, Ordering::AcqRel) {
                continue;
            }
            failure = emit(events, interest.data);
            if failure.is_err() && one_shot {
                item.enabled.store(true, Ordering::Release);
            }
            let level = !one_shot && !interest.mode.contains(Mode::EDGE);
            if (level || failure.is_err()) && !item.listed.swap(true, Ordering::AcqRel) {
                self.set.ready.lock().push_back(item);
                put_back = true;
            }
            if failure.is_err() {
                break;
            }
            count += 1;
        }
        // Others who wait may have found the list empty meanwhile.
        if put_back || left > 0 {
            self.set.waiters.wake(Events::IN);
        }
        match failure {
            Err(errno) if count == 0 => Err(errno),
            _ => Ok(count),
        }
    }
}

impl FileOps for Epoll {
    /// There are no positions; Linux lets it be asked for all the same.
    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    /// Readable if anything watched is ready.
    fn poll(&self, op: Op<'_>) -> Events {
        // Without taking anything off the list, where others may look for it.
        let ready: Vec<Arc<Item>> = self.set.ready.lock().iter().cloned().collect();
        match ready.iter().any(|item| !item.poll(op.caller).is_empty()) {
            true => Events::IN | Events::RDNORM,
            false => Events::empty(),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.set.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = core::mem::take(&mut *self.set.items.lock());
        for item in items.into_values() {
            item.removed.store(true, Ordering::SeqCst);
            if let Some(file) = item.file.upgrade() {
                item.unregister(&file);
            }
        }
        self.set.ready.lock().clear();
    }
}

#[cfg(test)]
mod tests;
