//! How a vCPU and a guest thread take turns: the vCPU's side, on words that both see. The other side is the handler in
//! [`code`](super::code).

#[cfg(test)]
mod model;

use std::sync::atomic::Ordering;

use crate::seccomp::data;

/// How often a thread that has just posted gets the chance to fall asleep.
const CHANCES: u32 = 3;

/// The words, by their offsets in [`data`], and how threads sleep on them: `futex(2)`.
pub trait Words {
    /// The value of a word.
    fn load(&self, word: u64, order: Ordering) -> u32;
    /// Sets a word.
    fn store(&self, word: u64, value: u32, order: Ordering);
    /// Sleeps while the word has this value; comes back early for any reason.
    fn wait(&self, word: u64, value: u32);
    /// Wakes one sleeper.
    fn wake(&self, word: u64);
    /// Moves one sleeper from a word, which has the value 0, to another, without waking it. How many were moved; less than 0
    /// if the word has another value.
    fn move_one(&self, from: u64, to: u64) -> i64;
    /// Lets others run who share this processor.
    fn give_way(&self);
}

/// Both are on one processor: whoever waits sleeps.
pub fn sleep(words: &impl Words) {
    words.store(data::KERNEL_SLEEPS, 1, Ordering::SeqCst);
    words.store(data::SPINS, 0, Ordering::SeqCst);
}

/// They are on two processors: the guest thread looks so often before it sleeps.
pub fn look(words: &impl Words, spins: u32) {
    words.store(data::KERNEL_SLEEPS, 0, Ordering::SeqCst);
    words.store(data::SPINS, spins, Ordering::SeqCst);
}

/// Lets the guest thread go on. It may sleep without saying so if it does not look; and at another place if it was `moved`.
pub fn go(words: &impl Words, looks: bool, moved: bool) {
    words.store(data::POSTED, 0, Ordering::Relaxed);
    words.store(data::GO, 1, Ordering::SeqCst);
    if !looks || words.load(data::STUB_SLEEPS, Ordering::SeqCst) != 0 {
        words.wake(data::GO);
    }
    if moved {
        // It may have gone back to the first word, as a late kick wakes it for a moment.
        words.wake(data::SPARE);
    }
}

/// Looks so often whether the guest thread, on another processor, has stopped.
pub fn has_posted(words: &impl Words, looks: u32) -> bool {
    (0..looks).any(|_| {
        std::hint::spin_loop();
        words.load(data::POSTED, Ordering::Acquire) != 0
    })
}

/// Sleeps until the guest thread says that it has stopped, or is dead. Whether it lives.
pub fn wait_until_posted(words: &impl Words, is_dead: impl Fn() -> bool) -> bool {
    while words.load(data::POSTED, Ordering::Acquire) == 0 && !is_dead() {
        words.wait(data::POSTED, 0);
    }
    !is_dead()
}

/// Proves that the guest thread sleeps, and runs no guest until [`go`]: it is moved from the word that it sleeps on to
/// another one. Only the kernel can wake it there; a guest's filter allows no wait with a time limit, and nobody sends it a
/// signal while it does not run. False if that cannot be shown.
pub fn prove_asleep(words: &impl Words) -> bool {
    for _ in 0..CHANCES {
        match words.move_one(data::GO, data::SPARE) {
            1 => return true,
            // It shares the processor with this thread, and was on its way.
            0 => words.give_way(),
            // The word is not 0: a guest has written to it.
            _ => return false,
        }
    }
    false
}
