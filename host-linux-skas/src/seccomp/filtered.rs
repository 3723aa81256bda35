//! A stub of this trap as the host uses it: its guest thread, and what that goes on from and stops with.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use host_linux::host::Machine;
use host_linux::resident::Resident;
use host_linux::trap::{self, Lost};
use host_linux::vcpu::{KICK_SIGNAL, Running, ThreadId};
use host_linux::xstate::Format;
use kernel_core::host::{Exit, Fpu, Frames, PAGE_SIZE, Phys, Trap, UserContext};
use nix::errno::Errno;

use crate::error::StartError;
use crate::layout::{self, CONSTANTS};
use crate::seccomp::deaths::Mortal;
use crate::seccomp::frame::{CALL_LENGTH, Frame, SINGLE_STEP};
use crate::seccomp::pace::Pace;
use crate::seccomp::sites::{Counts, Sites};
use crate::seccomp::{Seccomp, code, constants, data, frame};

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

/// A stub of this trap, with its guest thread.
pub struct Filtered {
    pub(super) seccomp: Arc<Seccomp>,
    pub(super) slot: u32,
    /// Its data.
    area: Phys,
    pub(super) mortal: Arc<Mortal>,
    /// Its process and guest thread; the latter is known once it is ready.
    pub(super) id: ThreadId,
    /// When its threads were moved to the vCPU's processor, see `Vcpu::adopt`.
    moves: u32,
    fpu: Resident,
    /// Whether the thread has run a guest, and may do anything that its filter allows.
    pub(super) ran: bool,
    /// Whether the thread is proven to sleep, on [`data::SPARE`].
    pub(super) asleep: bool,
    /// The number of the last request.
    pub(super) request: u32,
    pub(super) pace: Pace,
    /// Whether the thread has stopped at a rewritten site, and not in the handler of a signal.
    at_site: bool,
    /// Whether it was making single steps when it came to the code of a site, over which it goes without.
    stepping: bool,
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
            stepping: false,
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
    pub(super) fn adopt(&mut self, machine: &Machine) -> Result<(), Lost> {
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

    pub(super) fn at(&self, offset: u64) -> Phys {
        Phys(self.area.0 + offset)
    }

    pub(super) fn word(&self, offset: u64) -> &AtomicU32 {
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
            if std::mem::take(&mut self.stepping) {
                ctx.regs.rflags |= SINGLE_STEP;
            }
            return Ok(Stop::Exit(Exit::Syscall));
        }
        let (mut stopped, signal) = self.frame()?.load(&self.seccomp.data, self.area);
        if let Some(exit) = signal.at_syscall(&mut stopped) {
            ctx.regs = stopped.regs;
            let is_call = exit == Exit::Syscall;
            let site = self.counts.as_mut().filter(|_| is_call).and_then(|counts| counts.add(ctx.regs.rip));
            let Some(site) = site else { return Ok(Stop::Exit(exit)) };
            ctx.regs.rip -= CALL_LENGTH;
            return Ok(Stop::Exit(Exit::Rewrite(site)));
        }
        let is_kick = signal.raised.signal == KICK_SIGNAL;
        if is_kick && self.is_stubs(stopped.regs.rip) {
            return Ok(Stop::NotGone(running.take_kick()));
        }
        if !is_kick && stopped.regs.rip >= code::go() && self.is_stubs(stopped.regs.rip) {
            // The registers that the kernel gave it were not to be had.
            return Ok(Stop::Exit(Exit::Trap(Trap::GeneralProtection)));
        }
        if let Some(place) = self.seccomp.sites.place(stopped.regs.rip) {
            if signal.raised.signal == libc::SIGTRAP {
                // A single step goes over all of it.
                self.stepping = true;
                stopped.regs.rflags &= !SINGLE_STEP;
                self.frame()?.store(&self.seccomp.data, self.area, &stopped.regs);
                return Ok(Stop::Stale);
            }
            // Nothing has happened since it jumped there that would not happen again.
            stopped.regs.rip = place;
            if std::mem::take(&mut self.stepping) {
                stopped.regs.rflags |= SINGLE_STEP;
            }
        }
        let exit = if is_kick {
            running.take_kick().then_some(Exit::Interrupted)
        } else {
            trap::at_signal(&signal.raised, &stopped, limits)
        };
        let Some(exit) = exit else { return Ok(Stop::Stale) };
        ctx.regs = stopped.regs;
        Ok(Stop::Exit(match exit {
            Exit::Trap(Trap::InvalidOpcode) if self.counts.is_some() => {
                Exit::Rewritten(Sites::of_second(stopped.regs.rip))
            }
            exit => exit,
        }))
    }

    /// Whether an address is in the stub's own code.
    fn is_stubs(&self, address: u64) -> bool {
        (layout::CODE..CONSTANTS).contains(&address)
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
        self.stepping = false;
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
