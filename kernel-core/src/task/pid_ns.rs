//! PID namespaces: processes with numbers of their own. Source: `pid_namespaces(7)`.
//!
//! In the kernel every process, thread, group and session has the number that it has in the initial namespace. A
//! namespace below it has a second number for each of its own, which is translated where a guest sees it. So the initial
//! one is `None`, and costs the test of a pointer.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::errno::{EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSPC, Result};
use crate::sync::Mutex;
use crate::task::namespaces::{INITIAL_PID, New, NsCount, NsKind};
use crate::task::tree::PID_LAST;
use crate::task::user_ns::UserNs;

/// The first number tried after they went round.
const AFTER_WRAP: u32 = 300;

#[derive(Default)]
struct Numbers {
    /// The kernel's numbers by those inside.
    outside: BTreeMap<u32, u32>,
    /// The numbers inside by the kernel's.
    inside: BTreeMap<u32, u32>,
    last: u32,
}

/// A PID namespace that is not the initial one.
pub struct PidNamespace {
    ino: u64,
    user_ns: UserNs,
    parent: PidNs,
    level: u32,
    numbers: Mutex<Numbers>,
    /// The kernel's number of its first process; 0 before there was one.
    init: AtomicU32,
    /// Its first process has ended: there can be no more.
    closed: AtomicBool,
    _count: NsCount,
}

/// A PID namespace.
#[derive(Clone)]
pub struct PidNs(Option<Arc<PidNamespace>>);

impl PartialEq for PidNs {
    fn eq(&self, other: &PidNs) -> bool {
        self.ino() == other.ino()
    }
}

impl Eq for PidNs {}

impl Drop for PidNamespace {
    /// Parents in a loop, not one in another.
    fn drop(&mut self) {
        let mut next = self.parent.0.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut parent| parent.parent.0.take());
        }
    }
}

impl PidNs {
    /// That of PID 1 at boot.
    pub const INITIAL: PidNs = PidNs(None);
    /// How deep namespaces can be nested.
    pub const LEVEL_MAX: u32 = 32;

    /// A namespace without processes below this one. ENOSPC: too many, or nested too deeply.
    pub fn below(&self, new: &New<'_>) -> Result<PidNs> {
        if self.level() >= Self::LEVEL_MAX {
            return Err(ENOSPC);
        }
        Ok(PidNs(Some(Arc::new(PidNamespace {
            ino: new.counts.next_ino(),
            user_ns: new.user_ns.clone(),
            parent: self.clone(),
            level: self.level() + 1,
            numbers: Mutex::default(),
            init: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            _count: new.count(NsKind::Pid)?,
        }))))
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.0.is_none()
    }

    /// Identifies it (`/proc/PID/ns/pid`).
    pub fn ino(&self) -> u64 {
        self.0.as_ref().map_or(INITIAL_PID, |namespace| namespace.ino)
    }

    /// Whose administrator may enter it.
    pub fn user_ns(&self) -> UserNs {
        self.0.as_ref().map_or(UserNs::INITIAL, |namespace| namespace.user_ns.clone())
    }

    /// How many are around it.
    pub fn level(&self) -> u32 {
        self.0.as_ref().map_or(0, |namespace| namespace.level)
    }

    /// The one around it; `None` of the initial one.
    pub fn parent(&self) -> Option<&PidNs> {
        self.0.as_ref().map(|namespace| &namespace.parent)
    }

    /// Whether it is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &PidNs) -> bool {
        let mut at = self;
        loop {
            if at == ancestor {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    /// The number inside for one of the kernel's; 0: it cannot be seen from there.
    pub fn shown(&self, pid: u32) -> u32 {
        match &self.0 {
            None => pid,
            Some(namespace) => namespace.numbers.lock().inside.get(&pid).copied().unwrap_or(0),
        }
    }

    /// The kernel's number for one inside; `None`: there is no such number.
    pub fn outside(&self, pid: u32) -> Option<u32> {
        match &self.0 {
            None => Some(pid),
            Some(namespace) => namespace.numbers.lock().outside.get(&pid).copied(),
        }
    }

    /// The numbers of one process from the initial namespace inwards, as seen from `reader` (`NSpid`).
    pub fn all_shown(&self, pid: u32, reader: &PidNs) -> Vec<u32> {
        let mut all = Vec::new();
        let mut at = Some(self);
        while let Some(namespace) = at {
            all.push(namespace.shown(pid));
            if namespace == reader {
                break;
            }
            at = namespace.parent();
        }
        all.reverse();
        all
    }

    /// The number given last inside.
    pub fn last(&self) -> Option<u32> {
        self.0.as_ref().map(|namespace| namespace.numbers.lock().last)
    }

    /// The kernel's number of the first process inside; 1 of the initial namespace.
    pub fn init(&self) -> u32 {
        self.0.as_ref().map_or(1, |namespace| namespace.init.load(Ordering::Relaxed))
    }

    /// Whether its first process has ended.
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_some_and(|namespace| namespace.closed.load(Ordering::Relaxed))
    }

    /// It and those around it but the initial one.
    pub(crate) fn with_parents(&self) -> impl Iterator<Item = &PidNs> {
        core::iter::successors(Some(self), |at| at.parent()).take_while(|at| !at.is_initial())
    }

    /// Whether the first process of it or of one around has ended.
    pub fn is_ending(&self) -> bool {
        self.with_parents().any(PidNs::is_closed)
    }

    /// Whether what the kernel has as `pid` has a number of its own here or around.
    pub fn has(&self, pid: u32) -> bool {
        self.with_parents().any(|at| at.shown(pid) != 0)
    }

    /// Its first process ends: no more processes from now on.
    pub fn close(&self) {
        if let Some(namespace) = &self.0 {
            namespace.closed.store(true, Ordering::Relaxed);
        }
    }

    /// Gives what the kernel has as `pid` a number here and in all namespaces around but the initial one: those of `chosen`,
    /// from here outwards, and then any. ENOMEM: the first process has ended; EAGAIN: there is no free number; EEXIST: one that
    /// was chosen is in use; EINVAL: there is no first process, and another number than 1 was chosen. The number here.
    pub fn enter(&self, pid: u32, chosen: &[u32]) -> Result<u32> {
        let Some(namespace) = &self.0 else { return Ok(pid) };
        let mut chosen = chosen.iter();
        let mut at = Some(namespace);
        while let Some(namespace) = at {
            let number = namespace.allocate(pid, chosen.next().copied());
            if let Err(errno) = number {
                self.leave(pid);
                self.with_parents().for_each(|at| at.has_no_init(pid));
                return Err(errno);
            }
            at = namespace.parent.0.as_ref();
        }
        Ok(self.shown(pid))
    }

    /// What the kernel would have had as `pid` has not become the first process here.
    fn has_no_init(&self, pid: u32) {
        if let Some(namespace) = &self.0 {
            let mut numbers = namespace.numbers.lock();
            if namespace.init.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                numbers.last = 0;
            }
        }
    }

    /// What the kernel has as `pid` is gone: its numbers are free.
    pub fn leave(&self, pid: u32) {
        let mut at = self.0.as_ref();
        while let Some(namespace) = at {
            let mut numbers = namespace.numbers.lock();
            if let Some(number) = numbers.inside.remove(&pid) {
                numbers.outside.remove(&number);
            }
            drop(numbers);
            at = namespace.parent.0.as_ref();
        }
    }

    /// The kernel's numbers of all that are inside, those of namespaces below among them.
    pub fn members(&self) -> Vec<u32> {
        self.0
            .as_ref()
            .map_or(Vec::new(), |namespace| namespace.numbers.lock().inside.keys().copied().collect())
    }
}

impl PidNamespace {
    fn allocate(&self, pid: u32, chosen: Option<u32>) -> Result<u32> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(ENOMEM);
        }
        let mut numbers = self.numbers.lock();
        let has_init = self.init.load(Ordering::Relaxed) != 0;
        if chosen.is_some_and(|number| number != 1 && !has_init) {
            return Err(EINVAL);
        }
        if !has_init {
            self.init.store(pid, Ordering::Relaxed);
        }
        if let Some(number) = chosen {
            let Entry::Vacant(free) = numbers.outside.entry(number) else { return Err(EEXIST) };
            free.insert(pid);
            numbers.inside.insert(pid, number);
            return Ok(number);
        }
        for _ in 0..=PID_LAST {
            numbers.last = if numbers.last >= PID_LAST { AFTER_WRAP } else { numbers.last + 1 };
            let number = numbers.last;
            if let Entry::Vacant(free) = numbers.outside.entry(number) {
                free.insert(pid);
                numbers.inside.insert(pid, number);
                return Ok(number);
            }
        }
        Err(EAGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::namespaces::NsCounts;

    fn below(parent: &PidNs, counts: &Arc<NsCounts>) -> Result<PidNs> {
        parent.below(&New { counts, user_ns: &UserNs::INITIAL, uid: 0 })
    }

    #[test]
    fn numbers_count_from_one_at_each_level() {
        let counts = NsCounts::new(99);
        let outer = below(&PidNs::INITIAL, &counts).unwrap();
        let inner = below(&outer, &counts).unwrap();
        assert_eq!((outer.enter(70, &[]), outer.enter(71, &[]), inner.enter(72, &[])), (Ok(1), Ok(2), Ok(1)));
        assert_eq!((outer.shown(72), inner.shown(71), PidNs::INITIAL.shown(72)), (3, 0, 72));
        assert_eq!((outer.outside(2), inner.outside(2), inner.outside(1)), (Some(71), None, Some(72)));
        assert_eq!(inner.all_shown(72, &PidNs::INITIAL), [72, 3, 1]);
        assert_eq!(inner.all_shown(72, &outer), [3, 1]);
        assert_eq!((outer.init(), inner.init()), (70, 72));
        assert_eq!([70, 72, 73].map(|pid| inner.has(pid)), [true, true, false]);
        assert!(!PidNs::INITIAL.has(70));
        assert_eq!((inner.enter(73, &[9, 2]), inner.enter(73, &[9, 5])), (Err(EEXIST), Ok(9)));
        assert_eq!((outer.shown(73), inner.enter(74, &[9])), (5, Err(EEXIST)));
        let empty = below(&outer, &counts).unwrap();
        assert_eq!((empty.enter(75, &[2]), empty.enter(75, &[1, 1])), (Err(EINVAL), Err(EEXIST)));
        assert_eq!((empty.init(), empty.enter(76, &[1, 30]), empty.shown(76)), (0, Ok(1), 1));
        empty.leave(76);
        inner.leave(73);
        inner.leave(72);
        assert_eq!((outer.shown(72), outer.members()), (0, alloc::vec![70, 71]));
        inner.close();
        assert_eq!((inner.enter(73, &[]), outer.shown(73)), (Err(ENOMEM), 0));
        let other = below(&outer, &counts).unwrap();
        assert_eq!((inner.is_ending(), other.is_ending(), outer.is_ending()), (true, false, false));
        outer.close();
        assert_eq!((other.is_closed(), other.is_ending(), PidNs::INITIAL.is_ending()), (false, true, false));
    }

    #[test]
    fn nesting_is_limited() {
        let counts = NsCounts::new(99);
        let mut at = PidNs::INITIAL;
        let refused = loop {
            match below(&at, &counts) {
                Ok(next) => at = next,
                Err(errno) => break errno,
            }
        };
        assert_eq!((at.level(), refused), (32, ENOSPC));
        assert!(at.is_within(&PidNs::INITIAL) && !PidNs::INITIAL.is_within(&at));
    }
}
