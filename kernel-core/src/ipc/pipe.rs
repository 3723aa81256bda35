//! Pipes. Source: `pipe(7)`.
//!
//! A pipe is a ring of a settable number of slots of one page each, as in Linux, which programs can see: a
//! write of up to a page goes into the last slot if all of it fits and into a slot of its own if not, so it is never torn.
//! Memory is taken when a slot is filled and given back when it is read.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general::{F_GETPIPE_SZ, F_SETPIPE_SZ};

use crate::errno::{EAGAIN, EBUSY, EFAULT, EINVAL, ENOTTY, EPERM, EPIPE, Result};
use crate::io::{Sink, SliceSource, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::sync::Mutex;
use crate::task::cred::Caps;
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFlags};
use crate::vfs::limit::Limited;

/// Bytes in a slot. Writes of up to this size are atomic (`PIPE_BUF`).
pub const SLOT_SIZE: usize = 4096;
/// Slots of a new pipe.
const DEFAULT_SLOTS: usize = 16;
/// Bytes that a pipe may be made to hold without privilege (`/proc/sys/fs/pipe-max-size`).
pub const MAX_SIZE: usize = 1 << 20;
/// Bytes that any pipe may be made to hold: the kernel's own bound.
const LARGEST_SIZE: usize = 1 << 24;
/// Empty pages a pipe keeps for the next write.
const SPARE_PAGES: usize = 2;

const READABLE: Events = Events::IN.union(Events::RDNORM);
const WRITABLE: Events = Events::OUT.union(Events::WRNORM);

type Page = Box<[u8; SLOT_SIZE]>;

/// What readers and writers share.
#[derive(Default)]
pub struct Pipe {
    state: Mutex<State>,
    queue: WaitQueue,
    /// Made by `pipe`: opening it again, by its name in `/proc`, does not wait for the other side.
    anonymous: bool,
}

struct State {
    slots: VecDeque<Slot>,
    max_slots: usize,
    spare: Vec<Page>,
    readers: usize,
    writers: usize,
    /// How many ends of each kind were ever opened, for FIFOs whose opening waits for the other side.
    readers_opened: u64,
    writers_opened: u64,
}

struct Slot {
    page: Page,
    start: usize,
    end: usize,
    kind: SlotKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    /// Bytes of a stream; later writes may be added.
    Stream,
    /// One packet of an O_DIRECT pipe: a read takes from it alone, and all of it.
    Packet,
}

impl Default for State {
    fn default() -> State {
        State {
            slots: VecDeque::new(),
            max_slots: DEFAULT_SLOTS,
            spare: Vec::new(),
            readers: 0,
            writers: 0,
            readers_opened: 0,
            writers_opened: 0,
        }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.slots.len() >= self.max_slots
    }

    /// EAGAIN if there is nothing to read, but may be later.
    fn check_data(&self) -> Result<()> {
        if self.slots.is_empty() && self.writers > 0 { Err(EAGAIN) } else { Ok(()) }
    }

    /// EPIPE if nobody reads, EAGAIN if it is full.
    fn check_room(&self) -> Result<()> {
        match self.readers {
            0 => Err(EPIPE),
            _ if self.is_full() => Err(EAGAIN),
            _ => Ok(()),
        }
    }

    fn retire(&mut self) {
        if let Some(slot) = self.slots.pop_front()
            && self.spare.len() < SPARE_PAGES
        {
            self.spare.push(slot.page);
        }
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.end - slot.start).sum()
    }

    /// Adds all of `src` to the last slot if it fits there whole.
    fn merge(&mut self, src: &mut dyn Source, len: usize) -> Result<usize> {
        match self.slots.back_mut() {
            Some(last) if last.kind == SlotKind::Stream && last.end + len <= SLOT_SIZE => {
                let taken = src.take(&mut last.page[last.end..last.end + len])?;
                last.end += taken;
                Ok(taken)
            }
            _ => Ok(0),
        }
    }

    /// Fills one more slot with up to a page.
    fn fill(&mut self, src: &mut dyn Source, kind: SlotKind) -> Result<usize> {
        let mut page = self.spare.pop().unwrap_or_else(|| Box::new([0; SLOT_SIZE]));
        let len = src.remaining().min(SLOT_SIZE);
        match src.take(&mut page[..len]) {
            Ok(end) if end > 0 => {
                self.slots.push_back(Slot { page, start: 0, end, kind });
                Ok(end)
            }
            result => {
                self.spare.push(page);
                result
            }
        }
    }
}

impl Pipe {
    /// An anonymous pipe nobody has open; that of a FIFO is the default.
    pub fn new() -> Arc<Pipe> {
        Arc::new(Pipe { anonymous: true, ..Pipe::default() })
    }

    /// Whether `pipe` made it.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Opens one side, or both, by the access mode in `flags`.
    pub fn open(self: &Arc<Pipe>, flags: OpenFlags) -> Arc<PipeEnd> {
        let (reads, writes) = (flags.readable(), flags.writable());
        let mut state = self.state.lock();
        let (readers_before, writers_before) = (state.readers_opened, state.writers_opened);
        if reads {
            state.readers += 1;
            state.readers_opened += 1;
        }
        if writes {
            state.writers += 1;
            state.writers_opened += 1;
        }
        let partnered = match (reads, writes) {
            _ if self.anonymous => true,
            (true, false) => state.writers > 0,
            (false, true) => state.readers > 0,
            _ => true,
        };
        drop(state);
        self.queue.wake(READABLE | WRITABLE);
        Arc::new(PipeEnd { pipe: self.clone(), reads, writes, readers_before, writers_before, partnered })
    }

    /// Whether someone has it open for reading.
    pub fn has_readers(&self) -> bool {
        self.state.lock().readers > 0
    }

    /// A new pipe's two ends: reading, writing.
    pub fn pair() -> (Arc<PipeEnd>, Arc<PipeEnd>) {
        let pipe = Pipe::new();
        (pipe.open(OpenFlags::empty()), pipe.open(OpenFlags::WRONLY))
    }
}

/// An open side of a pipe. Dropping it closes the side.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    readers_before: u64,
    writers_before: u64,
    /// Whether the other side was open when this one was.
    partnered: bool,
}

impl PipeEnd {
    /// Whether the other side has been open since this one is; the opening of a FIFO waits for it on the wait queue.
    pub fn has_met_partner(&self) -> bool {
        let state = self.pipe.state.lock();
        self.partnered
            || (self.reads && state.writers_opened != self.writers_before)
            || (self.writes && state.readers_opened != self.readers_before)
    }

    /// Whether a writer is gone, rather than never was there.
    fn is_hung_up(&self, state: &State) -> bool {
        state.writers == 0 && (self.partnered || state.writers_opened != self.writers_before)
    }

    /// Bytes it can hold (`F_GETPIPE_SZ`).
    fn capacity(&self) -> usize {
        self.pipe.state.lock().max_slots * SLOT_SIZE
    }

    /// EAGAIN if there is nothing to read here, but may be later.
    pub fn check_data(&self) -> Result<()> {
        self.pipe.state.lock().check_data()
    }

    /// EPIPE if nobody reads what is written here, EAGAIN if there is no room.
    pub fn check_room(&self) -> Result<()> {
        self.pipe.state.lock().check_room()
    }

    /// Copies up to `most` bytes of what can be read here to `target`, where they can be written; they stay here too
    /// (`tee(2)`). 0 if nothing can come any more. EAGAIN if there is nothing, or no room, EPIPE if nobody reads there,
    /// EINVAL within one pipe.
    pub fn copy_to(&self, target: &PipeEnd, most: usize) -> Result<usize> {
        let (from, to) = (&self.pipe, &target.pipe);
        if Arc::ptr_eq(from, to) {
            return Err(EINVAL);
        }
        // Of two pipes, the one with the lower address first.
        let (source, mut sink);
        if Arc::as_ptr(from) < Arc::as_ptr(to) {
            source = from.state.lock();
            sink = to.state.lock();
        } else {
            sink = to.state.lock();
            source = from.state.lock();
        }
        source.check_data()?;
        sink.check_room()?;
        let mut total = 0;
        for slot in &source.slots {
            if total == most || sink.is_full() {
                break;
            }
            let mut bytes = SliceSource(slot.page.get(slot.start..slot.end).unwrap_or_default());
            total += sink.fill(&mut Limited::new(&mut bytes, most - total), slot.kind)?;
        }
        drop((source, sink));
        if total > 0 {
            to.queue.wake(READABLE);
        }
        Ok(total)
    }

    /// `F_SETPIPE_SZ`: makes it hold `bytes`, rounded up to a power of two of pages; gives what it holds then.
    fn set_capacity(&self, bytes: u32, caller: &dyn Caller) -> Result<usize> {
        let size = (bytes as usize).max(SLOT_SIZE).checked_next_power_of_two().ok_or(EINVAL)?;
        if size > 1 << 31 {
            return Err(EINVAL);
        }
        let mut state = self.pipe.state.lock();
        let grows = size > state.max_slots * SLOT_SIZE;
        let may_exceed = size <= LARGEST_SIZE && caller.cred().capable(Caps::SYS_RESOURCE);
        if grows && size > MAX_SIZE && !may_exceed {
            return Err(EPERM);
        }
        if size / SLOT_SIZE < state.slots.len() {
            return Err(EBUSY);
        }
        state.max_slots = size / SLOT_SIZE;
        drop(state);
        self.pipe.queue.wake(WRITABLE);
        Ok(size)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        if state.readers == 0 && state.writers == 0 {
            // A FIFO's contents do not outlive its users.
            state.slots.clear();
        }
        drop(state);
        self.pipe.queue.wake(READABLE | WRITABLE | Events::ERR | Events::HUP);
    }
}

impl FileOps for PipeEnd {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        let was_full = state.is_full();
        let mut total = 0;
        let mut failure = None;
        while dst.remaining() > 0
            && let Some(slot) = state.slots.front_mut()
        {
            let offered = (slot.end - slot.start).min(dst.remaining());
            match dst.put(&slot.page[slot.start..slot.start + offered]) {
                Ok(taken) => {
                    slot.start += taken;
                    total += taken;
                    if taken < offered {
                        break;
                    }
                }
                Err(errno) => {
                    failure = Some(errno);
                    break;
                }
            }
            let packet = slot.kind == SlotKind::Packet;
            if packet || slot.start == slot.end {
                state.retire();
            }
            if packet {
                break;
            }
        }
        let (closed, freed) = (state.writers == 0, was_full && !state.is_full());
        drop(state);
        if freed {
            self.pipe.queue.wake(WRITABLE);
        }
        match (total, failure) {
            (0, Some(errno)) => Err(errno),
            (0, None) if !closed => Err(EAGAIN),
            _ => Ok(total),
        }
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut len = src.remaining();
        if len == 0 {
            return Ok(0);
        }
        let kind = match op.file.flags().contains(OpenFlags::DIRECT) {
            true => SlotKind::Packet,
            false => SlotKind::Stream,
        };
        let mut state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(EPIPE);
        }
        let (mut total, mut result) = (0, Ok(0));
        // Only the odd end of a write is merged, first, as in Linux; what is whole pages gets slots of its own.
        let odd = len % SLOT_SIZE;
        if kind == SlotKind::Stream && odd > 0 {
            result = state.merge(src, odd);
        }
        while let Ok(taken) = result {
            total += taken;
            let left = src.remaining();
            // Nothing taken of a source that has more: the guest's memory ends there.
            let stuck = total > 0 && left == len;
            len = left;
            if len == 0 || stuck || state.is_full() {
                break;
            }
            result = state.fill(src, kind);
        }
        let full = state.is_full();
        drop(state);
        if total > 0 {
            self.pipe.queue.wake(READABLE);
            return Ok(total);
        }
        result?;
        // Not a byte, and no error: either there was no room, or the source has lost its memory.
        if full { Err(EAGAIN) } else { Err(EFAULT) }
    }

    fn poll(&self, _: Op<'_>) -> Events {
        let state = self.pipe.state.lock();
        let mut events = Events::empty();
        if self.reads {
            if !state.slots.is_empty() {
                events |= READABLE;
            }
            if self.is_hung_up(&state) {
                events |= Events::HUP;
            }
        }
        if self.writes {
            if !state.is_full() {
                events |= WRITABLE;
            }
            if state.readers == 0 {
                events |= Events::ERR;
            }
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn finish_open(&self, op: Op<'_>) -> Result<()> {
        match self.has_met_partner() || op.file.flags().contains(OpenFlags::NONBLOCK) {
            true => Ok(()),
            false => Err(EAGAIN),
        }
    }

    fn control(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        match command {
            F_GETPIPE_SZ => Ok(self.capacity() as u64),
            F_SETPIPE_SZ => self.set_capacity(arg as u32, op.caller).map(|size| size as u64),
            _ => Err(EINVAL),
        }
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        match command {
            linux_raw_sys::ioctl::FIONREAD => {
                let bytes = self.pipe.state.lock().bytes() as u32;
                op.caller.memory().set(arg, &bytes)?;
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
