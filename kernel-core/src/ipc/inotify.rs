//! Descriptors that tell what happens to files. Source: `inotify(7)`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::Ordering;

use hashbrown::HashMap;

use crate::errno::{EAGAIN, EEXIST, EINVAL, EMFILE, ENOSPC, ENOTTY, Result};
use crate::io::Sink;
use crate::ipc::limit::Limit;
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::vfs::file::{FileOps, Op, Whence};
use crate::vfs::inode::Inode;
use crate::vfs::notify::{Happening, Listener, Mark, News, Notify};

const FIONREAD: u32 = 0x541b;

/// What can be asked for.
const ALL: u32 = 0xfff;
/// Not of children that have lost their names.
const EXCL_UNLINK: u32 = 0x0400_0000;
/// Not if there is a watch.
const MASK_CREATE: u32 = 0x1000_0000;
/// Besides what the watch is for.
const MASK_ADD: u32 = 0x2000_0000;
/// Only the first time.
const ONESHOT: u32 = 0x8000_0000;
/// `IN_ONLYDIR`, `IN_DONT_FOLLOW`, which are about finding the file.
const LOOK_UP: u32 = 0x0300_0000;
/// What a watch keeps of its mask.
const KEPT: u32 = ALL | EXCL_UNLINK | ONESHOT;
/// Bytes of `struct inotify_event` without a name; names are padded to a multiple of it.
const HEADER: usize = 16;

/// What each user may have, as `/proc/sys/fs/inotify` says, and has.
pub struct Limits {
    /// `max_queued_events`: more are lost, in one descriptor.
    pub queued_events: Limit,
    /// `max_user_instances`.
    pub instances: Limit,
    /// `max_user_watches`.
    pub watches: Limit,
    users: Mutex<HashMap<u32, Used>>,
}

#[derive(Default)]
struct Used {
    instances: u32,
    watches: u32,
}

impl Limits {
    /// As Linux has them on a machine with that many bytes of memory: each watch keeps an inode.
    pub fn new(ram: u64) -> Limits {
        let limit = |value: u64| Limit::new(value, i32::MAX as u64);
        Limits {
            queued_events: limit(16384),
            instances: limit(128),
            watches: limit((ram / 100 / 1024).clamp(8192, 1 << 20)),
            users: Mutex::default(),
        }
    }

    fn take(&self, user: u32, most: &Limit, of: fn(&mut Used) -> &mut u32) -> Result<(), ()> {
        let mut users = self.users.lock();
        let count = of(users.entry(user).or_default());
        if u64::from(*count) >= most.get() {
            return Err(());
        }
        *count += 1;
        Ok(())
    }

    fn give_back(&self, user: u32, of: fn(&mut Used) -> &mut u32, number: u32) {
        let mut users = self.users.lock();
        let Some(used) = users.get_mut(&user) else { return };
        let count = of(used);
        *count = count.saturating_sub(number);
        if used.instances == 0 && used.watches == 0 {
            users.remove(&user);
        }
    }
}

fn instances(used: &mut Used) -> &mut u32 {
    &mut used.instances
}

fn watches(used: &mut Used) -> &mut u32 {
    &mut used.watches
}

#[derive(PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: Happening,
    cookie: u32,
    name: Option<Box<[u8]>>,
}

impl Event {
    /// Bytes of the name with its zero bytes.
    fn name_len(&self) -> usize {
        self.name.as_ref().map_or(0, |name| (name.len() + 1).next_multiple_of(HEADER))
    }

    fn len(&self) -> usize {
        HEADER + self.name_len()
    }

    /// Whether to say it again would tell nothing.
    fn says(&self, other: &Event) -> bool {
        let same = (self.watch, self.mask, &self.name) == (other.watch, other.mask, &other.name);
        same && !self.mask.contains(Happening::IGNORED)
    }
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// Of all events.
    bytes: usize,
    watches: BTreeMap<i32, Arc<Mark>>,
    last_watch: i32,
}

/// A queue of events.
pub struct Inotify {
    me: Weak<Inotify>,
    notify: Arc<Notify>,
    limits: Arc<Limits>,
    /// Who made it, and answers for it.
    user: u32,
    state: Mutex<State>,
    queue: WaitQueue,
}

impl Inotify {
    /// An empty one of user `user`; EMFILE if there are too many.
    pub fn new(notify: &Arc<Notify>, limits: &Arc<Limits>, user: u32) -> Result<Arc<Inotify>> {
        limits.take(user, &limits.instances, instances).map_err(|()| EMFILE)?;
        Ok(Arc::new_cyclic(|me| Inotify {
            me: me.clone(),
            notify: notify.clone(),
            limits: limits.clone(),
            user,
            state: Mutex::default(),
            queue: WaitQueue::new(),
        }))
    }

    /// Watches an inode, or changes what it is watched for, and gives the number of the watch. EINVAL for a mask that
    /// asks for nothing, EEXIST, ENOSPC.
    pub fn watch(&self, inode: &Arc<dyn Inode>, mask: u32) -> Result<i32> {
        let listener: Weak<dyn Listener> = self.me.clone();
        let mut state = self.state.lock();
        if let Some(mark) = self.notify.find(inode, &listener) {
            if mask & MASK_CREATE != 0 {
                return Err(EEXIST);
            }
            let kept = if mask & MASK_ADD != 0 { mark.mask.load(Ordering::Relaxed) } else { 0 };
            mark.mask.store(kept | mask & KEPT, Ordering::Relaxed);
            return Ok(mark.id);
        }
        self.limits.take(self.user, &self.limits.watches, watches).map_err(|()| ENOSPC)?;
        // Numbers are used again only after all were used.
        let mut id = state.last_watch;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !state.watches.contains_key(&id) {
                break;
            }
        }
        state.last_watch = id;
        let mark = Mark::new(inode.clone(), id, mask & KEPT, listener);
        state.watches.insert(id, mark.clone());
        self.notify.add(&mark);
        Ok(id)
    }

    /// Ends a watch; EINVAL if there is none of that number.
    pub fn unwatch(&self, id: i32) -> Result<()> {
        let mark = self.state.lock().watches.get(&id).cloned().ok_or(EINVAL)?;
        if self.notify.remove(&mark) {
            self.lose(&mark);
        }
        Ok(())
    }

    /// What a guest may ask for; EINVAL.
    pub fn check_mask(mask: u32) -> Result<()> {
        let known = KEPT | LOOK_UP | MASK_ADD | MASK_CREATE;
        let wrong = mask & (known | 0x6000 | 0x8000 | 0x4000_0000) == 0
            || mask & MASK_ADD != 0 && mask & MASK_CREATE != 0;
        if wrong { Err(EINVAL) } else { Ok(()) }
    }

    fn push(&self, event: Event) {
        let mut state = self.state.lock();
        if state.events.back().is_some_and(|last| last.says(&event)) {
            return;
        }
        let most = self.limits.queued_events.get() as usize;
        let event = match state.events.back() {
            _ if state.events.len() < most => event,
            Some(last) if last.mask == Happening::OVERFLOW => return,
            _ => Event { watch: -1, mask: Happening::OVERFLOW, cookie: 0, name: None },
        };
        state.bytes += event.len();
        state.events.push_back(event);
        drop(state);
        self.queue.wake(Events::IN | Events::RDNORM);
    }
}

impl Listener for Inotify {
    fn hear(&self, mark: &Arc<Mark>, news: News<'_>) {
        let mask = mark.mask.load(Ordering::Relaxed);
        let wanted = news.what.bits() & (mask & ALL | Happening::UNMOUNT.bits()) != 0;
        if !wanted || news.unlinked && mask & EXCL_UNLINK != 0 {
            return;
        }
        let mut what = news.what;
        if what.intersects(Happening::DELETE_SELF | Happening::MOVE_SELF) {
            what -= Happening::IS_DIR;
        }
        // The first to hear of it takes the mark away, and is the only one.
        let once = mask & ONESHOT != 0;
        if once && !self.notify.remove(mark) {
            return;
        }
        self.push(Event { watch: mark.id, mask: what, cookie: news.cookie, name: news.name.map(Into::into) });
        if once {
            self.lose(mark);
        }
    }

    fn lose(&self, mark: &Arc<Mark>) {
        let known = self.state.lock().watches.remove(&mark.id);
        if known.is_some() {
            self.limits.give_back(self.user, watches, 1);
            self.push(Event { watch: mark.id, mask: Happening::IGNORED, cookie: 0, name: None });
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let marks = core::mem::take(&mut self.state.lock().watches);
        for mark in marks.values() {
            self.notify.remove(mark);
        }
        self.limits.give_back(self.user, watches, marks.len() as u32);
        self.limits.give_back(self.user, instances, 1);
    }
}

impl FileOps for Inotify {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let mut done = 0;
        loop {
            let event = {
                let mut state = self.state.lock();
                match state.events.front() {
                    None if done == 0 => return Err(EAGAIN),
                    None => return Ok(done),
                    Some(event) if event.len() > dst.remaining() => {
                        return if done == 0 { Err(EINVAL) } else { Ok(done) };
                    }
                    Some(event) => state.bytes -= event.len(),
                }
                state.events.pop_front()
            };
            let Some(event) = event else { return Ok(done) };
            let mut bytes = alloc::vec::Vec::with_capacity(event.len());
            for field in [event.watch as u32, event.mask.bits(), event.cookie, event.name_len() as u32] {
                bytes.extend_from_slice(&field.to_ne_bytes());
            }
            bytes.extend_from_slice(event.name.as_deref().unwrap_or_default());
            bytes.resize(event.len(), 0);
            // As in Linux, what a bad address makes unreadable is taken nevertheless.
            match dst.put_all(&bytes) {
                Ok(()) => done += bytes.len(),
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }

    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn poll(&self, _: Op<'_>) -> Events {
        if self.state.lock().events.is_empty() { Events::empty() } else { Events::IN | Events::RDNORM }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(ENOTTY);
        }
        let bytes = i32::try_from(self.state.lock().bytes).unwrap_or(i32::MAX);
        op.caller.memory().set(arg, &bytes)?;
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testing::World;

    #[test]
    fn nothing_is_left_of_a_closed_instance() {
        let world = World::new();
        let (notify, limits) = (&world.context.namespace().dentries.notify, &world.services.inotify);
        let file = world.file("/f", b"x");
        assert!(notify.is_idle());
        let instance = Inotify::new(notify, limits, 7).unwrap();
        assert_eq!(instance.watch(&file.inode, Happening::MODIFY.bits()), Ok(1));
        assert_eq!(instance.watch(world.resolve("/").unwrap().inode(), ALL), Ok(2));
        file.happened(Happening::MODIFY);
        assert_eq!(instance.state.lock().events.len(), 2);
        drop(instance);
        assert!(notify.is_idle() && limits.users.lock().is_empty());
        file.happened(Happening::MODIFY);
    }

    #[test]
    fn a_watch_does_not_keep_what_was_deleted() {
        let world = World::new();
        let (notify, limits) = (&world.context.namespace().dentries.notify, &world.services.inotify);
        let free = world.root.root_dir().statfs().blocks_free;
        let instance = Inotify::new(notify, limits, 7).unwrap();
        let file = world.file("/f", &[1; 4096]);
        instance.watch(&file.inode, ALL).unwrap();
        world.unlink("/f").unwrap();
        assert!(!notify.is_idle());
        drop(file);
        assert!(notify.is_idle());
        assert_eq!(world.root.root_dir().statfs().blocks_free, free);
        let said: alloc::vec::Vec<_> = instance.state.lock().events.iter().map(|event| event.mask).collect();
        let end = [Happening::ATTRIB, Happening::CLOSE_WRITE, Happening::DELETE_SELF, Happening::IGNORED];
        assert_eq!(said, end);
    }

    #[test]
    fn too_many_watches_are_refused_and_given_back() {
        let world = World::new();
        let (notify, limits) = (&world.context.namespace().dentries.notify, &world.services.inotify);
        limits.watches.set(1).unwrap();
        let instance = Inotify::new(notify, limits, 7).unwrap();
        let (one, two) = (world.file("/f", b""), world.file("/g", b""));
        assert_eq!(instance.watch(&one.inode, ALL), Ok(1));
        assert_eq!(instance.watch(&one.inode, ALL), Ok(1));
        assert_eq!(instance.watch(&two.inode, ALL), Err(ENOSPC));
        instance.unwatch(1).unwrap();
        assert_eq!(instance.watch(&two.inode, ALL), Ok(2));
    }
}
