//! A host made of nothing but memory, for unit tests and simulations.
//!
//! RAM is a table of pages that are allocated when written. An address space is a page table, so tests see exactly what
//! is mapped. Guest programs are Rust closures, found by the instruction pointer: [`FakeHost::program`]. They see guest
//! memory through [`GuestMem`], which gives them the [`Exit::Fault`] to return where nothing is mapped. Fibers are
//! threads of which one runs at a time. The clock is virtual: it goes on when a vCPU waits for a deadline.
//!
//! ```ignore
//! host.program(0x1000, |ctx, mem| {
//!     match mem.read_u64(ctx.regs.rsp) {
//!         Ok(argc) => ctx.regs.rdi = argc,
//!         Err(fault) => return fault, // the kernel serves it and runs this closure again
//!     }
//!     ctx.regs.rax = 60;
//!     Exit::Syscall
//! });
//! ```

extern crate std;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::PoisonError;
#[cfg(not(shuttle))]
use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(shuttle))]
use std::thread;

#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(shuttle)]
use shuttle::thread;

use super::{
    Access, Exit, Fiber, FiberBody, Frames, Host, HostError, MapOp, PAGE_SIZE, Phys, Prot, Resumed, Space,
    Suspend, UserContext, VcpuId,
};

/// How long a vCPU sleeps without a deadline before the test is taken to hang.
const HANG: Duration = Duration::from_secs(20);

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RAM of a terabyte of which only written pages exist.
#[derive(Default)]
pub struct FakeFrames {
    pages: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl FakeFrames {
    /// How many pages were written and not discarded since.
    pub fn present_pages(&self) -> usize {
        lock(&self.pages).len()
    }

    /// Calls `f` with each page (if it exists) and the range in it, for `len` bytes from `at` on.
    fn each(&self, at: Phys, len: u64, mut f: impl FnMut(&mut BTreeMap<u64, Box<[u8]>>, u64, Range<usize>)) {
        assert!(at.0 + len <= self.size(), "outside of RAM");
        let mut pages = lock(&self.pages);
        let (mut at, end) = (at.0, at.0 + len);
        while at < end {
            let upto = ((at / PAGE_SIZE + 1) * PAGE_SIZE).min(end);
            let start = (at % PAGE_SIZE) as usize;
            f(&mut pages, at / PAGE_SIZE, start..start + (upto - at) as usize);
            at = upto;
        }
    }
}

impl Frames for FakeFrames {
    fn size(&self) -> u64 {
        1 << 40
    }

    fn read(&self, at: Phys, dst: &mut [u8]) {
        let mut done = 0;
        self.each(at, dst.len() as u64, |pages, page, range| {
            let part = &mut dst[done..done + range.len()];
            done += range.len();
            match pages.get(&page) {
                Some(bytes) => part.copy_from_slice(&bytes[range]),
                None => part.fill(0),
            }
        });
    }

    fn write(&self, at: Phys, src: &[u8]) {
        let mut done = 0;
        self.each(at, src.len() as u64, |pages, page, range| {
            let bytes = pages.entry(page).or_insert_with(|| std::vec![0; PAGE_SIZE as usize].into());
            let len = range.len();
            bytes[range].copy_from_slice(&src[done..done + len]);
            done += len;
        });
    }

    fn zero(&self, at: Phys, len: u64) {
        self.each(at, len, |pages, page, range| {
            if let Some(bytes) = pages.get_mut(&page) {
                bytes[range].fill(0);
            }
        });
    }

    fn copy(&self, dst: Phys, src: Phys, len: u64) {
        assert!(dst.0 + len <= src.0 || src.0 + len <= dst.0, "the ranges overlap");
        let mut bytes = std::vec![0; len as usize];
        self.read(src, &mut bytes);
        self.write(dst, &bytes);
    }

    fn load_u32(&self, at: Phys) -> u32 {
        assert_eq!(at.0 % 4, 0);
        let mut bytes = [0; 4];
        self.read(at, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn compare_exchange_u32(&self, at: Phys, old: u32, new: u32) -> Result<u32, u32> {
        assert_eq!(at.0 % 4, 0);
        let mut pages = lock(&self.pages);
        let bytes = pages.entry(at.0 / PAGE_SIZE).or_insert_with(|| std::vec![0; PAGE_SIZE as usize].into());
        let start = (at.0 % PAGE_SIZE) as usize;
        let word = &mut bytes[start..start + 4];
        let found = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        if found == old {
            word.copy_from_slice(&new.to_ne_bytes());
            Ok(found)
        } else {
            Err(found)
        }
    }

    fn discard(&self, range: Range<u64>) {
        assert!(range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE));
        let mut pages = lock(&self.pages);
        for page in range.start / PAGE_SIZE..range.end / PAGE_SIZE {
            pages.remove(&page);
        }
    }
}

/// An address space: a page table.
pub struct FakeSpace {
    frames: Arc<FakeFrames>,
    table: Mutex<BTreeMap<u64, (Phys, Prot)>>,
    limits: Range<u64>,
    died: AtomicBool,
    fail_next: Mutex<Option<HostError>>,
    applied: AtomicU64,
    changes: AtomicU64,
}

impl FakeSpace {
    /// What is mapped at the page of `addr`.
    pub fn mapping(&self, addr: u64) -> Option<(Phys, Prot)> {
        lock(&self.table).get(&(addr / PAGE_SIZE)).copied()
    }

    /// What is mapped, page by page: guest address, where in RAM, accesses.
    pub fn pages(&self) -> Vec<(u64, Phys, Prot)> {
        lock(&self.table).iter().map(|(page, &(phys, prot))| (page * PAGE_SIZE, phys, prot)).collect()
    }

    /// How many pages are mapped.
    pub fn mapped_pages(&self) -> usize {
        lock(&self.table).len()
    }

    /// How often [`Space::apply`] was called, and with how many changes in all.
    pub fn applied(&self) -> (u64, u64) {
        (self.applied.load(Ordering::Relaxed), self.changes.load(Ordering::Relaxed))
    }

    /// The next [`Space::apply`] fails.
    pub fn fail_next_apply(&self, error: HostError) {
        *lock(&self.fail_next) = Some(error);
    }

    /// What kept it dies: from now on it gives [`Exit::Died`] and [`HostError::SpaceDied`].
    pub fn die(&self) {
        self.died.store(true, Ordering::Relaxed);
    }

    /// Where an access of `addr` goes, or the fault it gives.
    fn translate(&self, addr: u64, access: Access) -> Result<Phys, Exit> {
        let needed = match access {
            Access::Write => Prot::WRITE,
            Access::Exec => Prot::EXEC,
            Access::Read | Access::Unknown => Prot::READ,
        };
        match self.mapping(addr) {
            Some((phys, prot)) if prot.contains(needed) => Ok(Phys(phys.0 + addr % PAGE_SIZE)),
            _ => Err(Exit::Fault { addr, access }),
        }
    }
}

impl Space for FakeSpace {
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError> {
        if self.died.load(Ordering::Relaxed) {
            return Err(HostError::SpaceDied);
        }
        if let Some(error) = lock(&self.fail_next).take() {
            return Err(error);
        }
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(ops.len() as u64, Ordering::Relaxed);
        let mut table = lock(&self.table);
        for op in ops {
            let (MapOp::Map { va, len, .. } | MapOp::Unmap { va, len } | MapOp::Protect { va, len, .. }) =
                *op;
            assert!(
                va.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE) && len != 0,
                "whole pages: {op:x?}"
            );
            assert!(va >= self.limits.start && va + len <= self.limits.end, "inside the limits: {op:x?}");
            let pages = va / PAGE_SIZE..(va + len) / PAGE_SIZE;
            match *op {
                MapOp::Map { phys, prot, .. } => {
                    assert!(phys.0.is_multiple_of(PAGE_SIZE) && phys.0 + len <= self.frames.size());
                    for (index, page) in pages.enumerate() {
                        table.insert(page, (Phys(phys.0 + index as u64 * PAGE_SIZE), prot));
                    }
                }
                MapOp::Unmap { .. } => table.retain(|page, _| !pages.contains(page)),
                MapOp::Protect { prot, .. } => {
                    for page in pages {
                        table.get_mut(&page).unwrap_or_else(|| panic!("not mapped: {op:x?}")).1 = prot;
                    }
                }
            }
        }
        Ok(())
    }

    fn limits(&self) -> Range<u64> {
        self.limits.clone()
    }
}

/// Guest memory as guest code sees it. Errors are the exit to return.
pub trait GuestMem {
    /// Loads bytes.
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Exit>;
    /// Stores bytes.
    fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Exit>;

    /// Loads a word.
    fn read_u64(&self, addr: u64) -> Result<u64, Exit> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Stores a word.
    fn write_u64(&self, addr: u64, value: u64) -> Result<(), Exit> {
        self.write(addr, &value.to_ne_bytes())
    }
}

impl GuestMem for FakeSpace {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Exit> {
        for (index, byte) in buf.iter_mut().enumerate() {
            let addr = addr.wrapping_add(index as u64);
            self.frames.read(self.translate(addr, Access::Read)?, core::slice::from_mut(byte));
        }
        Ok(())
    }

    fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Exit> {
        for (index, byte) in bytes.iter().enumerate() {
            let addr = addr.wrapping_add(index as u64);
            self.frames.write(self.translate(addr, Access::Write)?, &[*byte]);
        }
        Ok(())
    }
}

type Program = dyn FnMut(&mut UserContext, &dyn GuestMem) -> Exit + Send;

#[derive(Default)]
struct Vcpu {
    kicked: Mutex<bool>,
    changed: Condvar,
}

/// See the module.
pub struct FakeHost {
    frames: Arc<FakeFrames>,
    limits: Range<u64>,
    vcpus: Vec<Vcpu>,
    programs: Mutex<BTreeMap<u64, Arc<Mutex<Program>>>>,
    clock_ns: AtomicU64,
    /// What [`Host::heap_bytes`] says.
    pub heap_bytes: AtomicU64,
    random: AtomicU64,
    fail_next_space: Mutex<Option<HostError>>,
}

impl FakeHost {
    /// A host with that many vCPUs and the whole of a 47-bit address space.
    pub fn new(vcpus: usize) -> Arc<FakeHost> {
        Arc::new(FakeHost {
            frames: Arc::default(),
            limits: 0x1_0000..0x7fff_ffff_f000,
            vcpus: (0..vcpus).map(|_| Vcpu::default()).collect(),
            programs: Mutex::default(),
            clock_ns: AtomicU64::new(1_000_000_000),
            heap_bytes: AtomicU64::new(0),
            random: AtomicU64::new(0x853c_49e6_748f_ea9b),
            fail_next_space: Mutex::default(),
        })
    }

    /// Guest code at `rip`. [`Host::run`] calls it once for each exit it returns; to go on elsewhere it sets
    /// `ctx.regs.rip`. What a forked process must have for itself belongs in registers or guest memory.
    pub fn program(
        &self,
        rip: u64,
        code: impl FnMut(&mut UserContext, &dyn GuestMem) -> Exit + Send + 'static,
    ) {
        lock(&self.programs).insert(rip, Arc::new(Mutex::new(code)));
    }

    /// RAM, to look into.
    pub fn frames(&self) -> &Arc<FakeFrames> {
        &self.frames
    }

    /// Lets time pass.
    pub fn advance_ns(&self, by: u64) {
        self.clock_ns.fetch_add(by, Ordering::SeqCst);
    }

    /// The next [`Host::new_space`] fails.
    pub fn fail_next_space(&self, error: HostError) {
        *lock(&self.fail_next_space) = Some(error);
    }
}

impl Host for FakeHost {
    type Space = FakeSpace;
    type Fiber = FakeFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.frames.clone()
    }

    fn new_space(&self, _: Range<u64>) -> Result<FakeSpace, HostError> {
        if let Some(error) = lock(&self.fail_next_space).take() {
            return Err(error);
        }
        Ok(FakeSpace {
            frames: self.frames.clone(),
            table: Mutex::default(),
            limits: self.limits.clone(),
            died: AtomicBool::new(false),
            fail_next: Mutex::default(),
            applied: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        })
    }

    fn run(&self, vcpu: VcpuId, space: &FakeSpace, ctx: &mut UserContext, deadline_ns: Option<u64>) -> Exit {
        if core::mem::take(&mut *lock(&self.vcpus[vcpu.0].kicked))
            || deadline_ns.is_some_and(|deadline| deadline <= self.monotonic_ns())
        {
            return Exit::Interrupted;
        }
        if space.died.load(Ordering::Relaxed) {
            return Exit::Died;
        }
        // Every exit takes a microsecond, so that guests which never wait still meet deadlines.
        self.advance_ns(1000);
        let program = lock(&self.programs).get(&ctx.regs.rip).cloned();
        match program {
            Some(program) => (lock(&program))(ctx, space),
            None => Exit::Fault { addr: ctx.regs.rip, access: Access::Exec },
        }
    }

    fn save_fpu(&self, _: &FakeSpace, _: &UserContext) {}

    fn fpu_size(&self) -> usize {
        576
    }

    fn cpu(&self) -> super::Cpu {
        super::Cpu { hwcap: 0, hwcap2: 0, xstate_features: 3 }
    }

    fn kick(&self, vcpu: VcpuId) {
        let vcpu = &self.vcpus[vcpu.0];
        *lock(&vcpu.kicked) = true;
        vcpu.changed.notify_all();
    }

    fn wait(&self, vcpu: VcpuId, deadline_ns: Option<u64>) {
        let vcpu = &self.vcpus[vcpu.0];
        let mut kicked = lock(&vcpu.kicked);
        if let (false, Some(deadline)) = (*kicked, deadline_ns) {
            self.clock_ns.fetch_max(deadline, Ordering::SeqCst);
            return;
        }
        while !*kicked {
            let (guard, timeout) =
                vcpu.changed.wait_timeout(kicked, HANG).unwrap_or_else(PoisonError::into_inner);
            kicked = guard;
            assert!(*kicked || !timeout.timed_out(), "nothing kicks this vCPU any more");
        }
        *kicked = false;
    }

    fn heap_bytes(&self) -> u64 {
        self.heap_bytes.load(Ordering::Relaxed)
    }

    fn new_fiber(&self, body: FiberBody) -> Result<FakeFiber, HostError> {
        Ok(FakeFiber::new(body))
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock_ns.load(Ordering::SeqCst)
    }

    fn boottime_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn clock_image(&self) -> Option<u64> {
        None
    }

    fn realtime_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.monotonic_ns()
    }

    fn entropy(&self, buf: &mut [u8]) {
        for byte in buf {
            let old = self.random.load(Ordering::Relaxed);
            let new = old.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            self.random.store(new, Ordering::Relaxed);
            *byte = (new >> 40) as u8;
        }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Resumer,
    Body,
    Finished,
    /// The fiber was dropped before it finished; the body unwinds.
    Abandoned,
}

struct Switch {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Switch {
    fn give(&self, turn: Turn) {
        *lock(&self.turn) = turn;
        self.changed.notify_all();
    }

    /// Sleeps while it is `turn`.
    fn while_it_is(&self, turn: Turn) -> Turn {
        let mut now = lock(&self.turn);
        while *now == turn {
            now = self.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        *now
    }
}

/// What unwinds the body of a fiber that is dropped.
struct Abandon;

/// A fiber: a thread that runs only during [`Fiber::resume`].
pub struct FakeFiber {
    switch: Arc<Switch>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakeFiber {
    fn new(body: FiberBody) -> FakeFiber {
        let switch = Arc::new(Switch { turn: Mutex::new(Turn::Resumer), changed: Condvar::new() });
        let inside = switch.clone();
        let thread = thread::spawn(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if inside.while_it_is(Turn::Resumer) == Turn::Body {
                    body(&*inside);
                }
            }));
            inside.give(Turn::Finished);
            if let Err(cause) = outcome
                && !cause.is::<Abandon>()
            {
                std::panic::resume_unwind(cause);
            }
        });
        FakeFiber { switch, thread: Some(thread) }
    }
}

impl Fiber for FakeFiber {
    fn resume(&mut self) -> Resumed {
        assert!(self.thread.is_some(), "a finished fiber was resumed");
        self.switch.give(Turn::Body);
        match self.switch.while_it_is(Turn::Body) {
            Turn::Finished => {
                if let Some(Err(cause)) = self.thread.take().map(thread::JoinHandle::join) {
                    std::panic::resume_unwind(cause);
                }
                Resumed::Finished
            }
            _ => Resumed::Suspended,
        }
    }
}

impl Drop for FakeFiber {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.switch.give(Turn::Abandoned);
            // What went wrong in a body that is given up is nobody's concern any more.
            let _ = thread.join();
        }
    }
}

impl Suspend for Switch {
    fn suspend(&self) {
        crate::sync::assert_no_guards();
        self.give(Turn::Resumer);
        if self.while_it_is(Turn::Resumer) == Turn::Abandoned {
            std::panic::resume_unwind(Box::new(Abandon));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fibers_take_turns() {
        let host = FakeHost::new(1);
        let seen = Arc::new(AtomicU64::new(0));
        let inside = seen.clone();
        let mut fiber = host
            .new_fiber(Box::new(move |suspend| {
                inside.store(1, Ordering::SeqCst);
                suspend.suspend();
                inside.store(2, Ordering::SeqCst);
            }))
            .unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), 0);
        assert_eq!(fiber.resume(), Resumed::Suspended);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
        assert_eq!(fiber.resume(), Resumed::Finished);
        assert_eq!(seen.load(Ordering::SeqCst), 2);
        let mut given_up = host.new_fiber(Box::new(|suspend| suspend.suspend())).unwrap();
        assert_eq!(given_up.resume(), Resumed::Suspended);
    }
}
