//! The hand-off between kernel and guest thread: go, wait, and the proof that a thread sleeps.

use std::sync::atomic::Ordering;

use host_linux::host::Machine;
use host_linux::trap::Lost;

use crate::seccomp::filtered::Filtered;
use crate::seccomp::futex;
use crate::seccomp::turns::{self, Words};

/// How often the vCPU looks whether a guest thread on another processor has posted, before it sleeps.
const LOOKS: u32 = 1000;
/// How often the guest thread looks whether it may go on: longer than most calls take.
const SPINS: u32 = 4000;

impl Words for Filtered {
    fn load(&self, word: u64, order: Ordering) -> u32 {
        self.word(word).load(order)
    }

    fn store(&self, word: u64, value: u32, order: Ordering) {
        self.word(word).store(value, order);
    }

    fn wait(&self, word: u64, value: u32) {
        futex::wait(self.word(word), value);
    }

    fn wake(&self, word: u64) {
        futex::wake(self.word(word));
    }

    fn move_one(&self, from: u64, to: u64) -> i64 {
        futex::move_one(self.word(from), self.word(to))
    }

    fn give_way(&self) {
        std::thread::yield_now();
    }
}

impl Filtered {
    /// Moves the guest thread to another processor than the vCPU's.
    pub(super) fn go_away(&mut self, machine: &Machine) {
        if !machine.vcpu.keep_away(self.id.thread) {
            return self.pace.cannot_go();
        }
        self.pace.go();
        turns::look(self, SPINS);
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
            turns::sleep(self);
        }
    }

    /// Lets the guest thread go on.
    pub(super) fn go(&mut self) {
        turns::go(self, self.pace.is_away(), self.asleep);
        self.asleep = false;
        self.ran = true;
    }

    /// Looks for a while whether the guest thread, on another processor, has stopped.
    pub(super) fn look(&self) -> bool {
        // The first time, it has yet to wake up there.
        turns::has_posted(self, if self.pace.has_settled() { LOOKS } else { 20 * LOOKS })
    }

    /// Waits until the guest thread says that it has stopped.
    pub(super) fn wait_until_posted(&self) -> Result<(), Lost> {
        if turns::wait_until_posted(self, || self.mortal.is_dead()) { Ok(()) } else { Err(Lost::Reaped) }
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

    /// Whether the guest thread is proven to sleep until [`Filtered::go`].
    pub(super) fn is_asleep(&mut self) -> bool {
        if self.ran && !self.asleep {
            self.asleep = turns::prove_asleep(self);
        }
        !self.ran || self.asleep
    }
}
