//! The boundary: everything the kernel asks of the machine it lodges on.
//!
//! These are the only host traits. They are small and have no Linux words in them: no fork, no copy-on-write, no
//! processes. A host supplies guest RAM ([`Frames`]), guest address spaces ([`Space`]), a way to run guest code in
//! one of them until something happens ([`Host::run`]), stackful contexts for kernel code ([`Fiber`]), and time.
//!
//! Invariant: a host never calls up into the kernel. What happens outside (a key pressed, a timer gone off) ends
//! [`Host::run`] or [`Host::wait`], and the kernel then looks for itself.
//!
//! Invariant: how a host keeps a space (a process, a window, a page table) does not show here.

pub mod block;
#[cfg(any(test, feature = "fake-host"))]
pub mod fake;
pub mod tree;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::sync::Mutex;

/// Bytes in a page, the unit of every mapping.
pub const PAGE_SIZE: u64 = 4096;

/// An offset into guest RAM, in bytes. Offsets are sparse: far more of them exist than memory is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phys(pub u64);

/// Clocks beside the fine ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageClock {
    /// Monotonic, at the pace of the hardware.
    Raw,
    /// The monotonic clock at the last tick.
    CoarseMonotonic,
    /// The time since 1970 at the last tick.
    CoarseRealtime,
}

/// Which virtual CPU: an index below the number of vCPUs the instance was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuId(pub usize);

bitflags::bitflags! {
    /// What a guest may do with a mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Prot: u8 {
        /// Load from it.
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Execute it.
        const EXEC = 4;
    }
}

/// When the host makes the pages of a mapping present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Each at its first touch, by the host alone, without an [`Exit`].
    Lazy,
    /// All at once, which is far cheaper a page when all will be used.
    Now,
}

/// One change to a guest address space. Addresses and lengths are in bytes and multiples of [`PAGE_SIZE`], and lie
/// inside [`Space::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOp {
    /// Map guest RAM at `phys` to `va`, replacing what is there.
    Map {
        /// First guest address.
        va: u64,
        /// Length in bytes.
        len: u64,
        /// Where in guest RAM.
        phys: Phys,
        /// Allowed accesses.
        prot: Prot,
        /// When pages become present.
        fill: Fill,
    },
    /// Remove every mapping in the range; holes in it are fine.
    Unmap {
        /// First guest address.
        va: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Change the allowed accesses of a range that is wholly mapped.
    Protect {
        /// First guest address.
        va: u64,
        /// Length in bytes.
        len: u64,
        /// Allowed accesses.
        prot: Prot,
    },
}

/// What a host can fail with. `Errno::from(HostError)` is the one place that gives it a Linux meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The host has no memory for it.
    OutOfMemory,
    /// The host's limit of mappings in one address space is reached.
    TooManyMappings,
    /// The host gives no more processes or threads.
    TooManyProcesses,
    /// The guest address space is gone: what kept it died.
    SpaceDied,
}

/// Guest RAM. Ranges are the kernel's own, never a guest's: a range outside RAM is a kernel bug and panics.
///
/// Guests run while the kernel reads and writes, so no reference into RAM is ever formed; the bytes of one call may
/// be torn against a guest's stores, words of [`Frames::load_u32`] and [`Frames::compare_exchange_u32`] are not.
pub trait Frames: Send + Sync {
    /// One past the largest offset, in bytes.
    fn size(&self) -> u64;
    /// Copies RAM at `at` to `dst`.
    fn read(&self, at: Phys, dst: &mut [u8]);
    /// Copies `src` to RAM at `at`.
    fn write(&self, at: Phys, src: &[u8]);
    /// Writes `len` zero bytes.
    fn zero(&self, at: Phys, len: u64);
    /// Copies `len` bytes within RAM; the ranges do not overlap.
    fn copy(&self, dst: Phys, src: Phys, len: u64);
    /// Atomic load (sequentially consistent) of an aligned word.
    fn load_u32(&self, at: Phys) -> u32;
    /// Atomic compare-and-swap (sequentially consistent) of an aligned word; `Err` has the value found.
    fn compare_exchange_u32(&self, at: Phys, old: u32, new: u32) -> Result<u32, u32>;
    /// Gives a page-aligned range back to the host; it reads as zero from then on.
    fn discard(&self, range: Range<u64>);
}

/// A guest address space: what guest code of one process sees.
pub trait Space: Send + Sync {
    /// Applies all changes in order, in as few host operations as can be. When it returns, no guest thread can
    /// reach what was unmapped or protected. On an error the space is in an unknown state and must not run again.
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError>;
    /// The guest addresses that may be mapped, chosen by the host.
    fn limits(&self) -> Range<u64>;
    /// What it cost, about, to go over to this space when it ran last after another one, in nanoseconds. The core makes turns
    /// longer where that is much.
    fn switch_cost_ns(&self) -> u64 {
        0
    }
}

/// The general registers of a guest thread, as x86-64 names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the architecture's")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// Floating point and vector state of one guest thread: an XSAVE area in the standard (not compacted) format.
///
/// A host keeps it in its own registers for as long as the same thread comes back, so what is in memory may be old:
/// [`Host::save_fpu`] makes it current. Whoever changes it in memory uses [`Fpu::replace`], which the host notices
/// by the generation.
pub struct Fpu {
    image: Mutex<FpuImage>,
}

struct FpuImage {
    bytes: Vec<u8>,
    generation: u64,
}

impl Fpu {
    /// State in memory, `bytes` being an XSAVE area of [`Host::fpu_size`] bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Fpu> {
        Arc::new(Fpu { image: Mutex::new(FpuImage { bytes, generation: 0 }) })
    }

    /// Reads the area in memory and its generation.
    pub fn read<R>(&self, f: impl FnOnce(&[u8], u64) -> R) -> R {
        let image = self.image.lock();
        f(&image.bytes, image.generation)
    }

    /// For hosts: overwrites the area in memory with what the thread's registers hold; the generation stays.
    pub fn store(&self, f: impl FnOnce(&mut [u8])) {
        f(&mut self.image.lock().bytes)
    }

    /// Replaces the state; the host loads it before the thread runs again.
    pub fn replace(&self, f: impl FnOnce(&mut [u8])) {
        let mut image = self.image.lock();
        f(&mut image.bytes);
        image.generation += 1;
    }
}

/// A guest thread's state while it is not running.
pub struct UserContext {
    /// General registers. After [`Exit::Syscall`], `rax` is the call's number and `rip` is behind the instruction.
    pub regs: Registers,
    /// Vector state, see [`Fpu`].
    pub fpu: Arc<Fpu>,
}

/// What a faulting instruction tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
    /// The host cannot tell.
    Unknown,
}

/// A processor exception other than a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `int3`; `rip` is behind it.
    Breakpoint,
    /// A single step or a hardware breakpoint.
    Debug,
    /// An invalid opcode.
    InvalidOpcode,
    /// Division by zero or overflow of a quotient.
    DivideError,
    /// An x87 or SIMD floating point exception; the code is Linux's `FPE_*`, as the status words say.
    FloatingPoint(i32),
    /// `into`, `bound` and the like.
    Overflow,
    /// A general protection fault: a privileged instruction, a non-canonical address.
    GeneralProtection,
    /// An unaligned access with alignment checks on.
    AlignmentCheck,
}

/// The code by which a guest makes a system call: the instruction that does it, and what fits before that.
pub type CallCode = [u8; 7];

/// Why guest code stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It made a system call.
    Syscall,
    /// It touched `addr`, which is not mapped for that access. `rip` is at the instruction.
    Fault {
        /// The address touched.
        addr: u64,
        /// How, if known.
        access: Access,
    },
    /// It raised another exception.
    Trap(Trap),
    /// It often makes a system call by the [`CallCode`] at this address, and is about to do it again: `rip` is at its last
    /// instruction. The kernel may ask [`Host::rewrite`] for another form, put that there, and set `rip` to its start.
    Rewrite(u64),
    /// It ran into the middle of the code at this address. If the [`CallCode`] there is by [`Host::rewrite`], it makes the
    /// call that it expected there, with the registers that it has; else this is an invalid opcode.
    Rewritten(u64),
    /// Nothing of its own doing: a kick or the deadline.
    Interrupted,
    /// What kept the space is dead; the space cannot run again.
    Died,
}

/// The body of a fiber. It runs kernel code and gives the vCPU back with the [`Suspend`] it is handed.
pub type FiberBody = Box<dyn FnOnce(&dyn Suspend) + Send>;

/// Why [`Fiber::resume`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The body suspended itself.
    Suspended,
    /// The body returned; the fiber cannot be resumed again.
    Finished,
}

/// A stackful context. It may be resumed by another vCPU than before, by one at a time.
pub trait Fiber: Send {
    /// Runs the body until it suspends itself or returns.
    fn resume(&mut self) -> Resumed;
}

/// The way out of a fiber.
pub trait Suspend {
    /// Returns to the caller of [`Fiber::resume`], and comes back with the next `resume`. No lock guard may be alive.
    fn suspend(&self);
}

/// What programs are told of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// `CPUID.1:EDX`.
    pub hwcap: u32,
    /// Bit 1: `rdfsbase` and its siblings work in guests.
    pub hwcap2: u32,
    /// The XSAVE components that guest threads have (XCR0).
    pub xstate_features: u64,
}

/// The machine that a kernel lodges on.
pub trait Host: Send + Sync + 'static {
    /// A guest address space.
    type Space: Space;
    /// A stackful context.
    type Fiber: Fiber;

    /// Guest RAM.
    fn ram(&self) -> Arc<dyn Frames>;

    /// An empty address space whose limits contain `including`, if there are such; an empty range is wherever the host
    /// likes. A copy of a space has to have its addresses, and so does a program that was linked for some.
    fn new_space(&self, including: Range<u64>) -> Result<Self::Space, HostError>;

    /// Runs guest code in `space` from `ctx` until something happens; `ctx` is its state then. Returns
    /// [`Exit::Interrupted`] at `deadline_ns` (monotonic) or soon after, or once `vcpu` was kicked.
    fn run(&self, vcpu: VcpuId, space: &Self::Space, ctx: &mut UserContext, deadline_ns: Option<u64>)
    -> Exit;

    /// A form of `code`, which is at `at` in a guest, that does the same and costs less; `None` if there is none. It means
    /// nothing but there.
    fn rewrite(&self, _at: u64, _code: CallCode) -> Option<CallCode> {
        None
    }

    /// Whether `code` at `at` is by [`Host::rewrite`].
    fn is_rewritten(&self, _at: u64, _code: CallCode) -> bool {
        false
    }

    /// Makes the area in memory of `ctx.fpu` current. `space` is where that thread ran last.
    fn save_fpu(&self, space: &Self::Space, ctx: &UserContext);

    /// Bytes of an XSAVE area, the same for every thread.
    fn fpu_size(&self) -> usize;

    /// What the processor offers to guests.
    fn cpu(&self) -> Cpu;

    /// What there is to say of the processor that guests can find out by themselves, name and value of each line as
    /// `/proc/cpuinfo` has them; nothing of where it is among others.
    fn processor(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Ends the present or else the next [`Host::run`] or [`Host::wait`] of `vcpu`. Callable from any thread.
    fn kick(&self, vcpu: VcpuId);

    /// Sleeps until `vcpu` is kicked or the deadline (monotonic) is over. A kick before the call ends it at once.
    fn wait(&self, vcpu: VcpuId, deadline_ns: Option<u64>);

    /// Bytes that the kernel itself has allocated, by which it keeps guests from making it grow; 0 if nobody counts.
    fn heap_bytes(&self) -> u64;

    /// A fiber that will run `body` when first resumed.
    fn new_fiber(&self, body: FiberBody) -> Result<Self::Fiber, HostError>;

    /// Nanoseconds since an arbitrary start; never goes back.
    fn monotonic_ns(&self) -> u64;

    /// A count that goes on at a steady pace, by which the core sees what part of a span was spent where. Read twice at
    /// each entry into a guest: a host that has something cheaper to read than a clock gives that.
    fn ticks(&self) -> u64 {
        self.monotonic_ns()
    }

    /// The same as [`Host::monotonic_ns`], and the time for which the machine slept.
    fn boottime_ns(&self) -> u64;

    /// Nanoseconds since 1970-01-01 UTC.
    fn realtime_ns(&self) -> u64;

    /// One of the clocks that are read by the functions of [`Host::clock_image`] and are none of those above.
    fn image_clock_ns(&self, clock: ImageClock) -> u64 {
        match clock {
            ImageClock::Raw | ImageClock::CoarseMonotonic => self.monotonic_ns(),
            ImageClock::CoarseRealtime => self.realtime_ns(),
        }
    }

    /// Where every space has, outside its limits, an ELF image with functions that read these clocks without a system
    /// call (`vdso(7)`); `None` if there is no such thing.
    fn clock_image(&self) -> Option<u64>;

    /// Fills `buf` with bytes nobody can predict.
    fn entropy(&self, buf: &mut [u8]);
}

bitflags::bitflags! {
    /// What a stream is ready for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u8 {
        /// Bytes (or the end) can be read.
        const READ = 1;
        /// Bytes can be written.
        const WRITE = 2;
        /// The other side is gone.
        const HANGUP = 4;
    }
}

/// Why a stream gave or took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// Not now: the host kicks vCPU 0 once it is ready.
    WouldBlock,
    /// The other side is gone: nobody reads what is written; or what was read from is a terminal that was taken away.
    Closed,
    /// The host's device failed.
    Failed,
}

/// A device that carries bytes: the host's standard input, output or error, or its terminal.
pub trait ByteStream: Send + Sync {
    /// Takes bytes that came in; `Ok(0)` is the end. Never blocks.
    fn read(&self, buf: &mut [u8]) -> Result<usize, StreamError>;
    /// Gives bytes out, and says how many were taken. Never blocks.
    fn write(&self, buf: &[u8]) -> Result<usize, StreamError>;
    /// What can be done now. When something of `wanted` cannot, the host kicks vCPU 0 as soon as it can.
    fn ready(&self, wanted: Ready) -> Ready;
    /// How many bytes came in and wait to be taken, if the host knows.
    fn waiting(&self) -> Option<usize> {
        None
    }
    /// Rows and columns, if it is a terminal that knows. The host kicks vCPU 0 when they change.
    fn window_size(&self) -> Option<(u16, u16)> {
        None
    }
}
