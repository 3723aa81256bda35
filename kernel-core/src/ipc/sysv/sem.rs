//! Semaphore sets. Sources: `semget(2)`, `semop(2)`, `semctl(2)`.
//!
//! The operations of one call are done together or not at all. A call that must wait leaves its operations with the set:
//! whoever changes a value does what has become possible, those that wait for a zero first, the others in their order.
//! What is to be undone when a process ends is kept with the set as well, by the [`UndoList`] that it is for.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::abi::sysv::{IpcPerm, SemBuf, SemInfo, SemidDs};
use crate::errno::{E2BIG, EAGAIN, EFBIG, EIDRM, EINVAL, ENOSPC, ERANGE, Errno, Result};
use crate::ipc::sysv::ids::{Ids, Which};
use crate::ipc::sysv::limits::{Limits, SEM_MAX};
use crate::ipc::sysv::perm::{Perm, READ, WRITE};
use crate::ipc::sysv::{Held, NO_WAIT, Room, now};
use crate::sched::wait::{Events, WaitQueue};
use crate::services::Services;
use crate::sync::Mutex;
use crate::task::cred::Cred;
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;

/// `SEM_UNDO`.
const UNDO: i16 = 0x1000;

/// All sets of a namespace.
pub struct Sets {
    room: Arc<Room>,
    user_ns: UserNs,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    ids: Ids<SemSet>,
    semaphores: u64,
}

/// A set.
pub struct SemSet {
    id: i32,
    count: usize,
    _held: Held,
    state: Mutex<State>,
}

struct State {
    perm: Perm,
    otime: i64,
    ctime: i64,
    semaphores: Vec<Semaphore>,
    waiting: VecDeque<Arc<SemWaiter>>,
    undo: BTreeMap<u64, Adjustments>,
    removed: bool,
}

#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    /// Who changed it last.
    pid: u32,
}

/// What the end of the holders of one [`UndoList`] adds to each value.
struct Adjustments {
    values: Vec<i32>,
    _held: Held,
}

/// The operations of one call.
struct Operations {
    ops: Vec<SemBuf>,
    pid: u32,
    /// The list for those with `SEM_UNDO`, if there are any.
    undo: Option<u64>,
}

/// A call that waits. Sleep on [`SemWaiter::queue`] until [`SemWaiter::outcome`], then call [`SemSet::finish`].
pub struct SemWaiter {
    operations: Operations,
    /// Index of the operation that could not be done when it was tried last.
    blocking: AtomicUsize,
    outcome: Mutex<Option<Result<()>>>,
    /// Woken with the waiter.
    pub queue: WaitQueue,
}

impl SemWaiter {
    /// What came of it, once it is known.
    pub fn outcome(&self) -> Option<Result<()>> {
        *self.outcome.lock()
    }

    fn alters(&self) -> bool {
        self.operations.ops.iter().any(|op| op.op != 0)
    }

    fn waits_for_zero(&self) -> bool {
        self.operations.ops.iter().any(|op| op.op == 0)
    }
}

/// Waiters whose outcome is known, to be woken when nothing is locked.
#[derive(Default)]
pub struct Woken(Vec<Arc<SemWaiter>>);

impl Woken {
    fn tell(self) {
        self.0.iter().for_each(|waiter| waiter.queue.wake(Events::IN));
    }
}

/// What an attempt came to.
enum Attempt {
    Done,
    /// This operation has to wait.
    Blocked(usize),
    Failed(Errno),
}

/// How a call of `semop` begins.
pub enum Begun {
    /// It is done.
    Done,
    /// It waits, for this set.
    Waits(Arc<SemSet>, Arc<SemWaiter>),
}

impl State {
    /// Does all operations, or none.
    fn attempt(&mut self, operations: &Operations) -> Attempt {
        let Operations { ops, pid, undo } = operations;
        let mut done = 0;
        let mut attempt = Attempt::Done;
        for (index, op) in ops.iter().enumerate() {
            match self.step(op, *undo, 1) {
                Ok(true) => done = index + 1,
                Ok(false) if op.flags & NO_WAIT as i16 != 0 => attempt = Attempt::Failed(EAGAIN),
                Ok(false) => attempt = Attempt::Blocked(index),
                Err(errno) => attempt = Attempt::Failed(errno),
            }
            if !matches!(attempt, Attempt::Done) {
                break;
            }
        }
        if matches!(attempt, Attempt::Done) {
            for op in ops {
                self.semaphores[usize::from(op.num)].pid = *pid;
            }
        } else {
            for op in ops.iter().take(done).rev() {
                let _ = self.step(op, *undo, -1);
            }
        }
        attempt
    }

    /// Does one operation, or with `sign` -1 takes it back; `false`: it has to wait.
    fn step(&mut self, op: &SemBuf, undo: Option<u64>, sign: i32) -> Result<bool> {
        let change = i32::from(op.op) * sign;
        let semaphore = &mut self.semaphores[usize::from(op.num)];
        if op.op == 0 {
            return Ok(semaphore.value == 0);
        }
        let value = semaphore.value + change;
        if value < 0 {
            return Ok(false);
        }
        if value > SEM_MAX {
            return Err(ERANGE);
        }
        let list = if op.flags & UNDO != 0 { undo } else { None };
        if let Some(adjustments) = list.and_then(|list| self.undo.get_mut(&list)) {
            let adjustment = &mut adjustments.values[usize::from(op.num)];
            let new = *adjustment - change;
            if !(-SEM_MAX - 1..=SEM_MAX).contains(&new) {
                return Err(ERANGE);
            }
            *adjustment = new;
        }
        semaphore.value = value;
        Ok(true)
    }

    /// Does what has become possible for those who wait.
    fn update(&mut self, now: i64) -> Woken {
        let mut woken = Woken::default();
        // Where values only fall, and not to zero, nobody else can go on: so that waking many who take one each looks at
        // each of them once.
        let looks_again = self.waiting.iter().any(|waiter| waiter.alters() && waiter.waits_for_zero());
        let mut changed = true;
        while core::mem::take(&mut changed) {
            for alters in [false, true] {
                let mut at = 0;
                while let Some(waiter) = self.waiting.get(at).cloned() {
                    at += 1;
                    if waiter.alters() != alters {
                        continue;
                    }
                    let result = match self.attempt(&waiter.operations) {
                        Attempt::Blocked(index) => {
                            waiter.blocking.store(index, Ordering::Relaxed);
                            continue;
                        }
                        Attempt::Done => {
                            self.otime = now;
                            Ok(())
                        }
                        Attempt::Failed(errno) => Err(errno),
                    };
                    at -= 1;
                    self.waiting.remove(at);
                    *waiter.outcome.lock() = Some(result);
                    let goes_on = alters
                        && result.is_ok()
                        && (looks_again || self.may_let_others_go_on(&waiter.operations));
                    woken.0.push(waiter);
                    if goes_on {
                        changed = true;
                        break;
                    }
                }
            }
        }
        woken
    }

    /// Whether what was just done can have made possible what was not, for those who wait for no zero between changes.
    fn may_let_others_go_on(&self, operations: &Operations) -> bool {
        operations.ops.iter().any(|op| op.op > 0 || self.semaphores[usize::from(op.num)].value == 0)
    }

    /// No process undoes what it did to this semaphore before, or to any.
    fn forget_undo(&mut self, num: Option<usize>) {
        for adjustments in self.undo.values_mut() {
            match num {
                Some(num) => adjustments.values[num] = 0,
                None => adjustments.values.fill(0),
            }
        }
    }
}

impl SemSet {
    /// Ends a wait; gives the outcome if there is one after all.
    pub fn finish(&self, waiter: &Arc<SemWaiter>) -> Option<Result<()>> {
        let mut state = self.state.lock();
        state.waiting.retain(|other| !Arc::ptr_eq(other, waiter));
        drop(state);
        waiter.outcome()
    }

    fn stat(&self) -> (i32, SemidDs) {
        let state = self.state.lock();
        (self.id, SemidDs::new(state.perm.raw(self.id), state.otime, state.ctime, self.count as u64))
    }

    fn check(&self, cred: &Cred, wanted: u32) -> Result<()> {
        self.state.lock().perm.check(cred, wanted)
    }

    fn index(&self, num: i32) -> Result<usize> {
        usize::try_from(num).ok().filter(|num| *num < self.count).ok_or(EINVAL)
    }
}

/// What one thing about one semaphore is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GETVAL`.
    Value,
    /// `GETPID`.
    Pid,
    /// `GETNCNT`.
    WaitForMore,
    /// `GETZCNT`.
    WaitForZero,
}

impl Sets {
    pub(super) fn new(room: Arc<Room>, user_ns: UserNs) -> Sets {
        Sets { room, user_ns, table: Mutex::default() }
    }

    fn set(&self, id: i32) -> Result<Arc<SemSet>> {
        if id < 0 { Err(EINVAL) } else { self.table.lock().ids.get(id) }
    }

    /// `semget(2)`.
    pub fn get(
        &self,
        limits: &Limits,
        cred: &Cred,
        services: &Services,
        (key, count, flags): (i32, i32, u32),
    ) -> Result<i32> {
        let count = u64::try_from(count).ok().filter(|count| *count <= limits.sem[0].get()).ok_or(EINVAL)?;
        let mut table = self.table.lock();
        if let Some((id, set)) = table.ids.find(key, flags)? {
            if count > set.count as u64 {
                return Err(EINVAL);
            }
            set.check(cred, flags & 0o777)?;
            return Ok(id);
        }
        if count == 0 {
            return Err(EINVAL);
        }
        if table.semaphores + count > limits.sem[1].get() {
            return Err(ENOSPC);
        }
        let len = count as usize;
        let held = self.room.take(size_of::<SemSet>() + len * size_of::<Semaphore>())?;
        let state = State {
            perm: Perm::new(key, cred, flags, &self.user_ns),
            otime: 0,
            ctime: now(services),
            semaphores: alloc::vec![Semaphore::default(); len],
            waiting: VecDeque::new(),
            undo: BTreeMap::new(),
            removed: false,
        };
        let id = table.ids.add(key, limits.sem[3].get(), &limits.next[1], |id| SemSet {
            id,
            count: len,
            _held: held,
            state: Mutex::new(state),
        })?;
        table.semaphores += count;
        Ok(id)
    }

    /// `semop(2)`, up to where it may have to wait.
    pub fn begin(
        &self,
        caller: &dyn Caller,
        services: &Services,
        id: i32,
        ops: Vec<SemBuf>,
        undo: impl FnOnce() -> Arc<UndoList>,
    ) -> Result<Begun> {
        let set = self.set(id)?;
        let undo = ops.iter().any(|op| op.flags & UNDO != 0).then(undo);
        if ops.iter().any(|op| usize::from(op.num) >= set.count) {
            return Err(EFBIG);
        }
        let alters = ops.iter().any(|op| op.op != 0);
        let mut state = set.state.lock();
        state.perm.check(&caller.cred(), if alters { WRITE } else { READ })?;
        if state.removed {
            return Err(EIDRM);
        }
        if let Some(list) = &undo
            && !state.undo.contains_key(&list.id)
        {
            let held = self.room.take(set.count * size_of::<i32>() + size_of::<Adjustments>())?;
            state.undo.insert(list.id, Adjustments { values: alloc::vec![0; set.count], _held: held });
            let mut sets = list.sets.lock();
            sets.retain(|_, set| set.strong_count() > 0);
            sets.insert(id, Arc::downgrade(&set));
        }
        let operations = Operations { ops, pid: caller.pid(), undo: undo.map(|list| list.id) };
        match state.attempt(&operations) {
            Attempt::Done => {
                state.otime = now(services);
                let woken = if alters { state.update(now(services)) } else { Woken::default() };
                drop(state);
                woken.tell();
                Ok(Begun::Done)
            }
            Attempt::Failed(errno) => Err(errno),
            Attempt::Blocked(index) => {
                let waiter = Arc::new(SemWaiter {
                    operations,
                    blocking: AtomicUsize::new(index),
                    outcome: Mutex::new(None),
                    queue: WaitQueue::new(),
                });
                state.waiting.push_back(waiter.clone());
                drop(state);
                Ok(Begun::Waits(set, waiter))
            }
        }
    }

    /// `IPC_RMID`: who waits gets EIDRM.
    pub fn remove(&self, id: i32, cred: &Cred) -> Result<()> {
        let mut table = self.table.lock();
        let set = table.ids.get(id)?;
        let mut state = set.state.lock();
        state.perm.check_change(cred)?;
        state.removed = true;
        let woken = Woken(core::mem::take(&mut state.waiting).into());
        state.undo.clear();
        woken.0.iter().for_each(|waiter| *waiter.outcome.lock() = Some(Err(EIDRM)));
        table.ids.remove(id, state.perm.key);
        table.semaphores -= set.count as u64;
        drop((state, table));
        woken.tell();
        Ok(())
    }

    /// `IPC_SET`.
    pub fn set_perm(&self, id: i32, cred: &Cred, new: &IpcPerm, services: &Services) -> Result<()> {
        let set = self.set(id)?;
        let mut state = set.state.lock();
        state.perm.check_change(cred)?;
        state.perm.set(new);
        state.ctime = now(services);
        Ok(())
    }

    /// `IPC_STAT`, `SEM_STAT`, or, without `cred`, `SEM_STAT_ANY`.
    pub fn stat(&self, which: Which, cred: Option<&Cred>) -> Result<(i32, SemidDs)> {
        let set = self.table.lock().ids.which(which)?;
        cred.map_or(Ok(()), |cred| set.check(cred, READ))?;
        Ok(set.stat())
    }

    /// All sets.
    pub fn all(&self) -> Vec<(i32, SemidDs)> {
        let all = self.table.lock().ids.all();
        all.iter().map(|(_, set)| set.stat()).collect()
    }

    /// `GETVAL` and the like.
    pub fn ask(&self, id: i32, num: i32, cred: &Cred, question: Question) -> Result<u32> {
        let set = self.set(id)?;
        let state = set.state.lock();
        state.perm.check(cred, READ)?;
        let num = set.index(num)?;
        let waiters = |zero: bool| {
            let waits = |waiter: &&Arc<SemWaiter>| {
                let blocking = waiter.operations.ops.get(waiter.blocking.load(Ordering::Relaxed));
                blocking.is_some_and(|op| usize::from(op.num) == num && (op.op == 0) == zero)
            };
            state.waiting.iter().filter(waits).count() as u32
        };
        Ok(match question {
            Question::Value => state.semaphores[num].value as u32,
            Question::Pid => state.semaphores[num].pid,
            Question::WaitForMore => waiters(false),
            Question::WaitForZero => waiters(true),
        })
    }

    /// `GETALL`.
    pub fn values(&self, id: i32, cred: &Cred) -> Result<Vec<u16>> {
        let set = self.set(id)?;
        let state = set.state.lock();
        state.perm.check(cred, READ)?;
        Ok(state.semaphores.iter().map(|semaphore| semaphore.value as u16).collect())
    }

    /// How many values `SETALL` takes: EINVAL, EACCES.
    pub fn count_to_set(&self, id: i32, cred: &Cred) -> Result<usize> {
        let set = self.set(id)?;
        set.check(cred, WRITE)?;
        Ok(set.count)
    }

    /// `SETALL`; with another number of values than the set has, the set is another one by now: EIDRM.
    pub fn set_values(
        &self,
        id: i32,
        caller: &dyn Caller,
        values: &[u16],
        services: &Services,
    ) -> Result<()> {
        if values.iter().any(|value| i32::from(*value) > SEM_MAX) {
            return Err(ERANGE);
        }
        let set = self.set(id).map_err(|_| EIDRM)?;
        let mut state = set.state.lock();
        if state.removed || values.len() != set.count {
            return Err(EIDRM);
        }
        for (semaphore, value) in state.semaphores.iter_mut().zip(values) {
            *semaphore = Semaphore { value: i32::from(*value), pid: caller.pid() };
        }
        state.forget_undo(None);
        self.changed(state, services);
        Ok(())
    }

    /// `SETVAL`.
    pub fn set_value(
        &self,
        id: i32,
        num: i32,
        caller: &dyn Caller,
        value: i32,
        services: &Services,
    ) -> Result<()> {
        if !(0..=SEM_MAX).contains(&value) {
            return Err(ERANGE);
        }
        let set = self.set(id)?;
        let num = set.index(num)?;
        let mut state = set.state.lock();
        state.perm.check(&caller.cred(), WRITE)?;
        if state.removed {
            return Err(EIDRM);
        }
        state.semaphores[num] = Semaphore { value, pid: caller.pid() };
        state.forget_undo(Some(num));
        self.changed(state, services);
        Ok(())
    }

    fn changed(&self, mut state: crate::sync::MutexGuard<'_, State>, services: &Services) {
        let now = now(services);
        state.ctime = now;
        let woken = state.update(now);
        drop(state);
        woken.tell();
    }

    /// `IPC_INFO`, and the highest place in use.
    pub fn limits(&self, limits: &Limits) -> (SemInfo, u32) {
        let [per_set, semaphores, operations, sets] =
            [0, 1, 2, 3].map(|at: usize| limits.sem[at].get() as i32);
        let all = 32000 * 32000;
        let info = SemInfo {
            map: all,
            sets,
            semaphores,
            undos: all,
            per_set,
            operations,
            undo_entries: 500,
            undo_size: 20,
            max_value: SEM_MAX,
            max_adjustment: SEM_MAX,
        };
        (info, self.table.lock().ids.highest())
    }

    /// `SEM_INFO`, and the highest place in use.
    pub fn info(&self, limits: &Limits) -> (SemInfo, u32) {
        let (info, highest) = self.limits(limits);
        let table = self.table.lock();
        let (sets, semaphores) = (table.ids.count() as i32, table.semaphores as i32);
        (SemInfo { undo_size: sets, max_adjustment: semaphores, ..info }, highest)
    }
}

/// Checks the number of operations of a call: EINVAL, E2BIG.
pub fn check_count(limits: &Limits, count: u64) -> Result<usize> {
    match count {
        0 => Err(EINVAL),
        count if count > limits.sem[2].get() => Err(E2BIG),
        count => Ok(count as usize),
    }
}

/// Which sets have something to undo at the end of those who share this list (`CLONE_SYSVSEM`).
pub struct UndoList {
    id: u64,
    sets: Mutex<BTreeMap<i32, Weak<SemSet>>>,
}

impl UndoList {
    /// A list with nothing to undo.
    pub fn new(services: &Services) -> Arc<UndoList> {
        Arc::new(UndoList { id: services.ram.next_id(), sets: Mutex::default() })
    }

    /// Its last holder, process `pid`, ends: all is undone, as far as values can go.
    pub fn undo(self, pid: u32, services: &Services) {
        let sets = core::mem::take(&mut *self.sets.lock());
        for set in sets.into_values().filter_map(|set| set.upgrade()) {
            let mut state = set.state.lock();
            let Some(adjustments) = state.undo.remove(&self.id) else { continue };
            for (semaphore, adjustment) in state.semaphores.iter_mut().zip(&adjustments.values) {
                if *adjustment != 0 {
                    let value = (semaphore.value + adjustment).clamp(0, SEM_MAX);
                    *semaphore = Semaphore { value, pid };
                }
            }
            let woken = state.update(now(services));
            drop(state);
            woken.tell();
        }
    }
}
