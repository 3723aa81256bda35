//! What the machine is made of: RAM as one piece, address spaces as lists of ranges, fibers.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use kernel_core::host::{
    Access, Exit, Fiber, FiberBody, Frames, HostError, MapOp, Phys, Prot, Resumed, Space, Suspend,
};
use kernel_core::mm::range::{RangeMap, Value};

const RAM: u64 = 2 << 30;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RAM as one piece of memory.
pub struct Flat(Mutex<Vec<u8>>);

impl Flat {
    /// Zeroes.
    pub fn new() -> Flat {
        Flat(Mutex::new(vec![0; RAM as usize]))
    }
}

fn at(phys: Phys, len: u64) -> Range<usize> {
    phys.0 as usize..(phys.0 + len) as usize
}

impl Frames for Flat {
    fn size(&self) -> u64 {
        RAM
    }
    fn read(&self, from: Phys, dst: &mut [u8]) {
        dst.copy_from_slice(&lock(&self.0)[at(from, dst.len() as u64)]);
    }
    fn write(&self, to: Phys, src: &[u8]) {
        lock(&self.0)[at(to, src.len() as u64)].copy_from_slice(src);
    }
    fn zero(&self, to: Phys, len: u64) {
        lock(&self.0)[at(to, len)].fill(0);
    }
    fn copy(&self, dst: Phys, src: Phys, len: u64) {
        lock(&self.0).copy_within(at(src, len), dst.0 as usize);
    }
    fn load_u32(&self, from: Phys) -> u32 {
        let mut word = [0; 4];
        self.read(from, &mut word);
        u32::from_ne_bytes(word)
    }
    fn compare_exchange_u32(&self, to: Phys, old: u32, new: u32) -> Result<u32, u32> {
        let found = self.load_u32(to);
        if found != old {
            return Err(found);
        }
        self.write(to, &new.to_ne_bytes());
        Ok(found)
    }
    fn discard(&self, range: Range<u64>) {
        self.zero(Phys(range.start), range.end - range.start);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Mapping(Phys, Prot);

impl Value for Mapping {
    fn skip(self, bytes: u64) -> Self {
        Mapping(Phys(self.0.0 + bytes), self.1)
    }
    fn joins(&self, len: u64, next: &Self) -> bool {
        self.skip(len) == *next
    }
}

/// What the kernel asked for.
#[derive(Default)]
pub struct Counts {
    faults: AtomicU64,
    batches: AtomicU64,
    changes: AtomicU64,
}

impl Counts {
    /// Faults, batches, changes.
    pub fn now(&self) -> [u64; 3] {
        [&self.faults, &self.batches, &self.changes].map(|count| count.load(Ordering::Relaxed))
    }
}

/// An address space.
pub struct Ranges {
    mappings: Mutex<RangeMap<Mapping>>,
    counts: Arc<Counts>,
}

impl Ranges {
    /// An empty one.
    pub fn new(counts: &Arc<Counts>) -> Ranges {
        Ranges { mappings: Mutex::default(), counts: counts.clone() }
    }

    /// Where an access goes, or the fault that it is.
    pub fn touch(&self, addr: u64, access: Access) -> Result<Phys, Exit> {
        let needed = if access == Access::Write { Prot::WRITE } else { Prot::READ };
        match lock(&self.mappings).get(addr) {
            Some((range, mapping)) if mapping.1.contains(needed) => Ok(mapping.skip(addr - range.start).0),
            _ => {
                self.counts.faults.fetch_add(1, Ordering::Relaxed);
                Err(Exit::Fault { addr, access })
            }
        }
    }
}

impl Space for Ranges {
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError> {
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        self.counts.changes.fetch_add(ops.len() as u64, Ordering::Relaxed);
        let mut mappings = lock(&self.mappings);
        for op in ops {
            match *op {
                MapOp::Map { va, len, phys, prot, .. } => mappings.insert(va..va + len, Mapping(phys, prot)),
                MapOp::Unmap { va, len } => {
                    mappings.remove(va..va + len);
                }
                MapOp::Protect { va, len, prot } => {
                    for (range, mapping) in mappings.remove(va..va + len) {
                        mappings.insert(range, Mapping(mapping.0, prot));
                    }
                }
            }
        }
        Ok(())
    }
    fn limits(&self) -> Range<u64> {
        0x1_0000..0x7fff_ffff_f000
    }
}

/// The fibers of the only vCPU, which are not `Send`: a fiber is its index. And stacks of those that ended, as a stack
/// costs several microseconds to map.
#[derive(Default)]
struct Fibers {
    fibers: Vec<Option<Coroutine<(), (), ()>>>,
    free: Vec<usize>,
    stacks: Vec<DefaultStack>,
}

thread_local! {
    static FIBERS: RefCell<Fibers> = RefCell::default();
}

/// A fiber.
pub struct FiberIndex(usize);

impl FiberIndex {
    /// A fiber that will run `body`.
    pub fn new(body: FiberBody) -> Result<FiberIndex, HostError> {
        let stack = match FIBERS.with_borrow_mut(|all| all.stacks.pop()) {
            Some(stack) => stack,
            None => DefaultStack::new(256 << 10).map_err(|_| HostError::OutOfMemory)?,
        };
        let fiber = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| body(&Way(yielder)));
        FIBERS.with_borrow_mut(|all| {
            let index = all.free.pop().unwrap_or(all.fibers.len());
            all.fibers.resize_with(all.fibers.len().max(index + 1), || None);
            all.fibers[index] = Some(fiber);
            Ok(FiberIndex(index))
        })
    }
}

struct Way<'a>(&'a Yielder<(), ()>);

impl Suspend for Way<'_> {
    fn suspend(&self) {
        self.0.suspend(());
    }
}

impl Fiber for FiberIndex {
    fn resume(&mut self) -> Resumed {
        let taken = FIBERS.with_borrow_mut(|all| all.fibers[self.0].take());
        let Some(mut fiber) = taken else { return Resumed::Finished };
        match fiber.resume(()) {
            CoroutineResult::Yield(()) => {
                FIBERS.with_borrow_mut(|all| all.fibers[self.0] = Some(fiber));
                Resumed::Suspended
            }
            CoroutineResult::Return(()) => {
                FIBERS.with_borrow_mut(|all| {
                    all.stacks.push(fiber.into_stack());
                    all.free.push(self.0);
                });
                Resumed::Finished
            }
        }
    }
}
