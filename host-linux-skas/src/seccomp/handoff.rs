//! The hand-off between kernel and guest thread: go, wait, and the proof that a thread sleeps.

use std::sync::atomic::Ordering;

use host_linux::host::Machine;
use host_linux::trap::Lost;

use crate::seccomp::filtered::Filtered;
use crate::seccomp::{data, futex};

/// How often a thread that has just posted gets the chance to fall asleep.
const CHANCES: u32 = 3;
/// How often the vCPU looks whether a guest thread on another processor has posted, before it sleeps.
const LOOKS: u32 = 1000;
/// How often the guest thread looks whether it may go on: longer than most calls take.
const SPINS: u32 = 4000;

impl Filtered {
    /// Moves the guest thread to another processor than the vCPU's.
    pub(super) fn go_away(&mut self, machine: &Machine) {
        if !machine.vcpu.keep_away(self.id.thread) {
            return self.pace.cannot_go();
        }
        self.pace.go();
        self.word(data::KERNEL_SLEEPS).store(0, Ordering::SeqCst);
        self.word(data::SPINS).store(SPINS, Ordering::SeqCst);
    }

    /// Moves the guest thread to the vCPU's processor.
    pub(super) fn come_back(&mut self, machine: &Machine) {
        if self.pace.is_away() {
            self.stay();
            machine.vcpu.pin(self.id.thread);
        }
    }

    /// The guest thread is on the vCPU's processor: whoever waits there sleeps.
    pub(super) fn stay(&mut self) {
        if self.pace.is_away() {
            self.pace.come_back();
            self.word(data::KERNEL_SLEEPS).store(1, Ordering::SeqCst);
            self.word(data::SPINS).store(0, Ordering::SeqCst);
        }
    }

    /// Lets the guest thread go on.
    pub(super) fn go(&mut self) {
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
    pub(super) fn look(&self) -> bool {
        let posted = self.word(data::POSTED);
        // The first time, it has yet to wake up there.
        let looks = if self.pace.has_settled() { LOOKS } else { 20 * LOOKS };
        (0..looks).any(|_| {
            std::hint::spin_loop();
            posted.load(Ordering::Acquire) != 0
        })
    }

    /// Waits until the guest thread says that it has stopped.
    pub(super) fn wait_until_posted(&self) -> Result<(), Lost> {
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
    pub(super) fn is_asleep(&mut self) -> bool {
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
}
