//! Stubs whose guest threads are trapped by a filter of system calls: `seccomp(2)`, SECCOMP_RET_TRAP.
//!
//! A guest thread runs at full speed until it makes a system call or faults. The host turns that into a signal, whose frame
//! it writes to memory that the kernel sees; the handler posts to the kernel and sleeps until it may go on.
//!
//! What keeps a guest from the host and from other guests, although the code of the stub is in its reach:
//!
//! 1. Its thread's filter allows it to wait, to wake the kernel, and to load registers, and nothing else ([`filter`]).
//! 2. Memory is mapped by another thread, the mapper, which the guest cannot influence: no stack, all it needs in registers
//!    or in pages that the guest cannot write. That a change is made is told by a counter that the guest cannot reach.
//! 3. What is in the stub's data is taken for the guest's registers and no more. A guest that forges it forges its own
//!    registers. So a thread that claims to have stopped may still run: nothing is taken from a space, and given to another,
//!    before the mapper has said that it is gone, or the thread is proven to sleep ([`Filtered::is_asleep`]).
//! 4. The frame from which a thread goes on is written by the kernel, at a place that the stub's code has from a page which
//!    the guest cannot write. It sets all of the thread's state, so that a proven sleeper can serve another guest.
//!
//! The files: [`code`] is what runs in a stub, [`constants`] what it looks up, [`data`] what it shares with the kernel,
//! [`frame`] the signal's frame there, [`filter`] the boundary, [`pace`] where a guest thread runs, [`sites`] calls
//! without a signal, [`deaths`] how a dead
//! stub is noticed, [`overdue`] how a guest that cannot be interrupted is.

pub mod code;
pub mod constants;
mod data;
mod deaths;
mod filter;
mod frame;
mod futex;
mod overdue;
mod pace;
mod sites;

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use host_linux::host::Machine;
use host_linux::ram::{Ram, RamFile};
use host_linux::resident::Resident;
use host_linux::trap::{self, Lost};
use host_linux::vcpu::{KICK_SIGNAL, Running, ThreadId, Vcpu};
use host_linux::watcher::Watcher;
use host_linux::xstate::Format;
use kernel_core::host::{Exit, Fpu, Frames, PAGE_SIZE, Phys, Trap, UserContext};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::StartError;
use crate::layout::{self, CONSTANTS};
use crate::seccomp::constants::Done;
use crate::seccomp::deaths::{Deaths, Mortal};
use crate::seccomp::frame::{CALL_LENGTH, Frame};
use crate::seccomp::overdue::Overdue;
use crate::seccomp::pace::Pace;
use crate::seccomp::sites::{Counts, Sites};
use crate::stub::Failure;

/// How often a thread that has just posted gets the chance to fall asleep.
const CHANCES: u32 = 3;
/// How often the vCPU looks whether a guest thread on another processor has posted, before it sleeps.
const LOOKS: u32 = 1000;
/// How often the guest thread looks whether it may go on: longer than most calls take.
const SPINS: u32 = 4000;

/// What stubs inherit for this trap.
pub struct Files {
    /// The file of data.
    pub data: RamFile,
    /// The counter of what mappers have done. It is not among the descriptors that a guest thread may use.
    pub done: EventFd,
}

impl Files {
    /// New ones.
    pub fn new() -> io::Result<Files> {
        let data = RamFile::new(c"lodger-data", layout::DATA_FILE)?;
        Ok(Files { data, done: EventFd::from_flags(EfdFlags::EFD_CLOEXEC)? })
    }
}

/// What a guest thread did that has stopped.
enum Stop {
    /// Something that the kernel has to know.
    Exit(Exit),
    /// A signal came that means nothing any more.
    Stale,
    /// It was interrupted before it had left the stub's code: its registers are still those that it was given. Whether that
    /// was for a kick.
    NotGone(bool),
}

/// What all stubs of a host share.
pub struct Seccomp {
    requests: Arc<Ram>,
    data: Arc<Ram>,
    done: Arc<EventFd>,
    deaths: Arc<Deaths>,
    _overdue: Overdue,
    frame: OnceLock<Frame>,
    sites: Sites,
    /// Whether call sites are rewritten.
    patch: bool,
}

impl Seccomp {
    /// Before the first stub is used. `requests` is the file of requests, `vcpu` who runs guests.
    pub fn new(
        files: Files,
        requests: Arc<Ram>,
        vcpu: &Vcpu,
        watcher: &Watcher,
        patch: bool,
    ) -> io::Result<Seccomp> {
        let (data, done) = (Arc::new(files.data.map()?), Arc::new(files.done));
        let deaths = Arc::new(Deaths::new(watcher, data.clone(), done.clone())?);
        let sites = Sites::new(requests.clone());
        let overdue = Overdue::watch(watcher, &vcpu.signals, deaths.clone())?;
        Ok(Seccomp { requests, data, done, deaths, _overdue: overdue, frame: OnceLock::new(), sites, patch })
    }
}

/// A stub of this trap, with its guest thread.
pub struct Filtered {
    seccomp: Arc<Seccomp>,
    slot: u32,
    /// Its data.
    area: Phys,
    mortal: Arc<Mortal>,
    /// Its process and guest thread; the latter is known once it is ready.
    id: ThreadId,
    /// When its threads were moved to the vCPU's processor, see `Vcpu::adopt`.
    moves: u32,
    fpu: Resident,
    /// Whether the thread has run a guest, and may do anything that its filter allows.
    ran: bool,
    /// Whether the thread is proven to sleep, on [`data::SPARE`].
    asleep: bool,
    /// The number of the last request.
    request: u32,
    pace: Pace,
    /// Whether the thread has stopped at a rewritten site, and not in the handler of a signal.
    at_site: bool,
    /// Where it makes calls; `None` if sites are left alone.
    counts: Option<Counts>,
}

impl Filtered {
    /// A fresh stub.
    pub fn new(seccomp: Arc<Seccomp>, pid: i32, slot: u32) -> io::Result<Filtered> {
        let area = layout::data_area(slot);
        // As long as vCPU and guest thread share a processor, whoever waits sleeps.
        seccomp.data.atomic_u32(Phys(area.0 + data::KERNEL_SLEEPS)).store(1, Ordering::SeqCst);
        let mortal = Arc::new(Mortal::new(pid, Phys(area.0 + data::POSTED))?);
        seccomp.deaths.watch(slot, mortal.clone())?;
        let counts = seccomp.patch.then(Counts::new);
        Ok(Filtered {
            seccomp,
            slot,
            area,
            mortal,
            id: ThreadId { process: pid, thread: 0 },
            moves: 0,
            fpu: Resident::default(),
            ran: false,
            asleep: false,
            request: 0,
            pace: Pace::default(),
            at_site: false,
            counts,
        })
    }

    /// Waits until the first stub of all is ready, and learns from it what frames look like.
    pub fn learn(&mut self) -> Result<Format, StartError> {
        let refused = |why: &str| StartError::Seccomp(why.into());
        self.wait_until_posted()
            .map_err(|_| refused("a process under a filter of system calls ends at once"))?;
        let learned = Frame::learn(&self.seccomp.data, self.area);
        let (frame, format) = learned.ok_or_else(|| refused("its signal frames are of an unknown form"))?;
        let requests = &self.seccomp.requests;
        let constant = |at: u64| Phys(CONSTANTS - layout::CODE + at);
        requests.store_words(constant(constants::FRAME), [frame.address()]);
        requests.store_words(constant(constants::VECTOR), [frame.vector(), format.features()]);
        // Nobody else has set it: this is the first.
        let _ = self.seccomp.frame.set(frame);
        Ok(format)
    }

    /// Waits until it is ready, and moves its threads to the vCPU's processor if that changed.
    fn adopt(&mut self, machine: &Machine) -> Result<(), Lost> {
        if self.id.thread == 0 {
            self.wait_until_posted()?;
            let [thread] = self.seccomp.data.load_words(self.at(data::THREAD));
            self.id.thread = thread as i32;
        }
        if machine.vcpu.adopt(&[self.id.process, self.id.thread], &mut self.moves) {
            self.stay();
        }
        Ok(())
    }

    /// Moves the guest thread to another processor than the vCPU's.
    fn go_away(&mut self, machine: &Machine) {
        if !machine.vcpu.keep_away(self.id.thread) {
            return self.pace.cannot_go();
        }
        self.pace.go();
        self.word(data::KERNEL_SLEEPS).store(0, Ordering::SeqCst);
        self.word(data::SPINS).store(SPINS, Ordering::SeqCst);
    }

    /// Moves the guest thread to the vCPU's processor.
    fn come_back(&mut self, machine: &Machine) {
        if self.pace.is_away() {
            self.stay();
            machine.vcpu.pin(self.id.thread);
        }
    }

    /// The guest thread is on the vCPU's processor: whoever waits there sleeps.
    fn stay(&mut self) {
        if self.pace.is_away() {
            self.pace.come_back();
            self.word(data::KERNEL_SLEEPS).store(1, Ordering::SeqCst);
            self.word(data::SPINS).store(0, Ordering::SeqCst);
        }
    }

    fn at(&self, offset: u64) -> Phys {
        Phys(self.area.0 + offset)
    }

    fn word(&self, offset: u64) -> &std::sync::atomic::AtomicU32 {
        self.seccomp.data.atomic_u32(self.at(offset))
    }

    fn frame(&self) -> Result<&Frame, Lost> {
        self.seccomp.frame.get().ok_or(Lost::Refused(Errno::ENOEXEC))
    }

    /// Runs a guest thread, whose memory is within `limits`, until something happens. [`Exit::Interrupted`] if the vCPU is
    /// kicked.
    pub fn run(
        &mut self,
        machine: &Machine,
        limits: &Range<u64>,
        ctx: &mut UserContext,
    ) -> Result<Exit, Lost> {
        self.adopt(machine)?;
        if self.pace.has_settled() && self.word(data::STUB_SLEEPS).load(Ordering::SeqCst) != 0 {
            // Something else has run meanwhile.
            self.come_back(machine);
        }
        let Some(running) = machine.vcpu.signals.enter(self.id) else { return Ok(Exit::Interrupted) };
        loop {
            let loaded = self.prepare(&machine.format, ctx)?;
            loop {
                self.go();
                // A kick that came just before was taken for a late one.
                running.kick_again();
                if self.pace.is_away() && !self.look() {
                    self.come_back(machine);
                }
                self.wait_until_posted()?;
                if self.pace.turn() {
                    self.go_away(machine);
                }
                match self.stopped(&running, limits, ctx)? {
                    Stop::Exit(exit) => return Ok(exit),
                    Stop::Stale => self.set_mode(data::FROM_FRAME),
                    Stop::NotGone(interrupted) => {
                        // The state in memory may be that of whoever was here before; the owner's own is current.
                        if loaded {
                            self.fpu.forget();
                        }
                        if interrupted {
                            return Ok(Exit::Interrupted);
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Writes what the guest thread is to go on from. Whether that includes its vector state.
    fn prepare(&mut self, format: &Format, ctx: &UserContext) -> Result<bool, Lost> {
        let frame = self.seccomp.frame.get().ok_or(Lost::Refused(Errno::ENOEXEC))?;
        let (data, area) = (&*self.seccomp.data, self.area);
        let mut loaded = false;
        let save = |state: &mut [u8]| {
            frame.save_vector(data, area, state);
            Ok::<(), Lost>(())
        };
        self.fpu.switch_to(&ctx.fpu, save, |state| {
            let mut valid = vec![0; format.size()];
            format.copy_valid(state, &mut valid);
            frame.load_vector(data, area, &valid);
            loaded = true;
            Ok(())
        })?;
        let mode = match loaded {
            _ if !self.at_site || !frame::store_at_site(data, area, &ctx.regs) => {
                frame.store(data, area, &ctx.regs);
                data::FROM_FRAME
            }
            false => data::FROM_REGISTERS,
            true => data::FROM_REGISTERS_AND_VECTOR,
        };
        self.set_mode(mode);
        Ok(loaded)
    }

    fn set_mode(&self, mode: u32) {
        self.word(data::MODE).store(mode, Ordering::Relaxed);
    }

    /// Finds out why the guest thread has stopped; `ctx` gets its registers.
    fn stopped(
        &mut self,
        running: &Running<'_>,
        limits: &Range<u64>,
        ctx: &mut UserContext,
    ) -> Result<Stop, Lost> {
        self.at_site = self.word(data::AT_SITE).load(Ordering::Relaxed) != 0;
        if self.at_site {
            ctx.regs = frame::load_at_site(&self.seccomp.data, self.area);
            return Ok(Stop::Exit(Exit::Syscall));
        }
        let (mut stopped, signal) = self.frame()?.load(&self.seccomp.data, self.area);
        if let Some(exit) = signal.at_syscall(&mut stopped) {
            let site = self.counts.as_mut().and_then(|counts| counts.add(stopped.regs.rip, stopped.regs.rax));
            let rewrite =
                site.filter(|_| exit == Exit::Syscall).and_then(|site| self.seccomp.sites.rewrite(site));
            ctx.regs = stopped.regs;
            return Ok(Stop::Exit(match rewrite {
                Some(rewrite) => {
                    ctx.regs.rip -= CALL_LENGTH;
                    Exit::Rewrite(rewrite)
                }
                None => exit,
            }));
        }
        let is_kick = signal.raised.signal == KICK_SIGNAL;
        if is_kick && self.is_stubs(stopped.regs.rip) {
            return Ok(Stop::NotGone(running.take_kick()));
        }
        if !is_kick && stopped.regs.rip >= code::go() && self.is_stubs(stopped.regs.rip) {
            // The registers that the kernel gave it were not to be had.
            return Ok(Stop::Exit(Exit::Trap(Trap::GeneralProtection)));
        }
        if let Some(site) = self.seccomp.sites.at_code(stopped.regs.rip) {
            // Nothing has happened since it jumped there, but for what the call does to the registers.
            stopped.regs.rip = site.at;
            if signal.raised.signal == libc::SIGTRAP {
                (stopped.regs.rip, stopped.regs.rax) = (site.end(), site.number.into());
                ctx.regs = stopped.regs;
                return Ok(Stop::Exit(Exit::Syscall));
            }
        }
        let exit = if is_kick {
            running.take_kick().then_some(Exit::Interrupted)
        } else {
            trap::at_signal(&signal.raised, &stopped, limits)
        };
        let Some(mut exit) = exit else { return Ok(Stop::Stale) };
        if exit == Exit::Trap(Trap::InvalidOpcode)
            && let Some(rewrite) = self.seccomp.sites.at_second(stopped.regs.rip)
        {
            exit = Exit::Rewritten(rewrite);
        }
        ctx.regs = stopped.regs;
        Ok(Stop::Exit(exit))
    }

    /// Whether an address is in the stub's own code.
    fn is_stubs(&self, address: u64) -> bool {
        (layout::CODE..CONSTANTS).contains(&address)
    }

    /// Lets the guest thread go on.
    fn go(&mut self) {
        self.word(data::POSTED).store(0, Ordering::Relaxed);
        self.word(data::GO).store(1, Ordering::SeqCst);
        if !self.pace.is_away() || self.word(data::STUB_SLEEPS).load(Ordering::SeqCst) != 0 {
            futex::wake(self.word(data::GO));
        }
        if self.asleep {
            // It may have gone back to the first word, as a late kick wakes it for a moment.
            futex::wake(self.word(data::SPARE));
        }
        self.asleep = false;
        self.ran = true;
    }

    /// Looks for a while whether the guest thread, on another processor, has stopped.
    fn look(&self) -> bool {
        let posted = self.word(data::POSTED);
        // The first time, it has yet to wake up there.
        let looks = if self.pace.has_settled() { LOOKS } else { 20 * LOOKS };
        (0..looks).any(|_| {
            std::hint::spin_loop();
            posted.load(Ordering::Acquire) != 0
        })
    }

    /// Waits until the guest thread says that it has stopped.
    fn wait_until_posted(&self) -> Result<(), Lost> {
        let posted = self.word(data::POSTED);
        while posted.load(Ordering::Acquire) == 0 && !self.mortal.is_dead() {
            futex::wait(posted, 0);
        }
        if self.mortal.is_dead() { Err(Lost::Reaped) } else { Ok(()) }
    }

    /// Whether the guest thread is known to sleep until [`Filtered::go`]. On another processor than the vCPU's it does not,
    /// and is not made to.
    pub fn is_still(&mut self) -> bool {
        if self.pace.is_away() { self.asleep } else { self.is_asleep() }
    }

    /// Whether the guest thread sleeps, after it came back to the vCPU's processor: then it can serve another space.
    pub fn settle(&mut self, machine: &Machine) -> bool {
        self.come_back(machine);
        self.is_asleep()
    }

    /// Proves that the guest thread sleeps, and will until [`Filtered::go`]: it is moved from the word that it sleeps on to
    /// another one. Only the kernel can wake it there; a guest's filter allows no wait with a time limit, and nobody sends
    /// it a signal while it does not run.
    fn is_asleep(&mut self) -> bool {
        if !self.ran || self.asleep {
            return true;
        }
        for _ in 0..CHANCES {
            match futex::move_one(self.word(data::GO), self.word(data::SPARE)) {
                1 => {
                    self.asleep = true;
                    return true;
                }
                // It shares the processor with this thread, and was on its way.
                0 => std::thread::yield_now(),
                // The word is not 0: a guest has written to it.
                _ => return false,
            }
        }
        false
    }

    /// See [`kernel_core::host::Host::save_fpu`].
    pub fn save_fpu(&self, owner: &Arc<Fpu>) {
        let Ok(frame) = self.frame() else { return };
        let saved = self.fpu.save_of(owner, |state| {
            frame.save_vector(&self.seccomp.data, self.area, state);
            Ok::<(), Lost>(())
        });
        debug_assert!(saved.is_ok());
    }

    /// Has the mapper make the changes in the first `bytes` of its requests.
    pub fn change(&mut self, machine: &Machine, bytes: u64) -> Result<(), Failure> {
        self.adopt(machine)?;
        let (requests, page) = (&self.seccomp.requests, layout::request_page(self.slot));
        requests.store_words(Phys(page.0 + 8), [bytes]);
        self.request = self.request.wrapping_add(1);
        let newest = requests.atomic_u32(page);
        newest.store(self.request, Ordering::SeqCst);
        futex::wake(newest);
        loop {
            match self.seccomp.done.read().map(Done::of) {
                Ok(Done::Changes(0)) => return Ok(()),
                Ok(Done::Changes(errno)) => return Err(Failure::Change(Errno::from_raw(errno))),
                // It may be another's, or that of one that was done before.
                Ok(Done::Death) if self.mortal.is_dead() => return Err(Failure::Stub(Lost::Reaped)),
                Ok(Done::Death) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether it has run no guest.
    pub fn is_fresh(&self) -> bool {
        !self.ran
    }

    /// Sets everything anew that another guest left in its data. The thread is proven to sleep.
    pub fn clean(&mut self) {
        let data = &*self.seccomp.data;
        data.zero(self.area, layout::DATA_SIZE);
        self.word(data::POSTED).store(1, Ordering::Relaxed);
        self.word(data::KERNEL_SLEEPS).store(1, Ordering::Relaxed);
        if let Some(frame) = self.seccomp.frame.get() {
            frame.reset(data, self.area);
        }
        self.fpu.forget();
        self.pace = Pace::default();
        self.at_site = false;
        self.counts = self.seccomp.patch.then(Counts::new);
    }

    /// Kills it, and waits until none of its threads runs any more.
    pub fn kill(&self) {
        self.mortal.kill();
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        self.seccomp.deaths.forget(self.slot);
        // The mapper of the next stub in this slot counts from 0.
        self.seccomp.requests.zero(layout::request_page(self.slot), PAGE_SIZE);
        self.seccomp.data.discard(self.area.0..self.area.0 + layout::DATA_SIZE);
    }
}
