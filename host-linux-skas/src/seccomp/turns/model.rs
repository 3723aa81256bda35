//! Both sides of a hand-off, and somebody who kicks, under the many schedules of a model checker (shuttle).
//!
//! The vCPU's side is [`super`]'s functions, called as `Filtered::run` does. The guest thread's side is the handler of `code.rs`,
//! instruction by instruction where others can see it; the names of its labels are in the comments. Kicks are as in
//! `host_linux::vcpu::Signals`. A lost go, post or kick leaves everybody asleep, which the checker reports with the schedule.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;

use super::*;

/// How many calls the guest makes.
const CALLS: u32 = 4;
/// How many kicks come without a reason.
const KICKS: u32 = 3;
/// Who sleeps on a word.
const VCPU: usize = 0;
const GUEST: usize = 1;

/// What all see.
#[derive(Default)]
struct World {
    /// By their offsets.
    words: Vec<AtomicU32>,
    /// On which word each sleeps.
    sleepers: Mutex<[Option<u64>; 2]>,
    woken: Condvar,
    /// The registers that the kernel gives the guest, and what the guest has stopped with.
    given: AtomicU32,
    stopped: AtomicU32,
    /// Whether the guest thread has stopped at a site, and not in the handler of a signal.
    at_site: AtomicBool,
    /// Whether the guest thread was proven to sleep.
    proven: AtomicBool,
    /// The vCPU was kicked.
    token: AtomicBool,
    /// A guest runs: its thread may be sent the signal.
    running: AtomicBool,
    /// How many are about to send it.
    kicking: AtomicU64,
    /// The signal is pending, and whether it is blocked.
    pending: AtomicBool,
    blocked: AtomicBool,
    news: Mutex<News>,
    told: Condvar,
}

/// What who kicks has to know.
#[derive(Default)]
struct News {
    /// How many runs, or attempts at one, were ended by a kick.
    interrupted: u32,
    /// Only a kick ends what the guest does.
    lingers: bool,
    /// All calls are made.
    done: bool,
}

/// Registers that are the stub's own.
const STUBS: u32 = 1000;
/// The guest is to end.
const END: u32 = 2000;

impl World {
    fn sleepers(&self) -> MutexGuard<'_, [Option<u64>; 2]> {
        self.sleepers.lock().unwrap()
    }

    fn wait_as(&self, me: usize, word: u64, value: u32) {
        let mut sleepers = self.sleepers();
        if self.load(word, Ordering::SeqCst) != value {
            return;
        }
        sleepers[me] = Some(word);
        while sleepers[me].is_some() && !(me == GUEST && self.has_signal()) {
            sleepers = self.woken.wait(sleepers).unwrap();
        }
        sleepers[me] = None;
    }

    fn has_signal(&self) -> bool {
        self.pending.load(Ordering::SeqCst) && !self.blocked.load(Ordering::SeqCst)
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap());
        self.told.notify_all();
    }

    /// `Signals::send`.
    fn send(&self) {
        self.kicking.fetch_add(1, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) {
            let sleepers = self.sleepers();
            self.pending.store(true, Ordering::SeqCst);
            self.woken.notify_all();
            drop(sleepers);
        }
        self.kicking.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Words for World {
    fn load(&self, word: u64, order: Ordering) -> u32 {
        self.words[word as usize].load(order)
    }

    fn store(&self, word: u64, value: u32, order: Ordering) {
        self.words[word as usize].store(value, order);
    }

    fn wait(&self, word: u64, value: u32) {
        self.wait_as(VCPU, word, value);
    }

    fn wake(&self, word: u64) {
        let mut sleepers = self.sleepers();
        if let Some(sleeper) = sleepers.iter_mut().find(|on| **on == Some(word)) {
            *sleeper = None;
            self.woken.notify_all();
        }
    }

    fn move_one(&self, from: u64, to: u64) -> i64 {
        let mut sleepers = self.sleepers();
        if self.load(from, Ordering::SeqCst) != 0 {
            return -i64::from(libc::EAGAIN);
        }
        let moved = sleepers.iter_mut().find(|on| **on == Some(from));
        moved.map_or(0, |sleeper| {
            *sleeper = Some(to);
            1
        })
    }

    fn give_way(&self) {
        thread::yield_now();
    }
}

/// Why a run of the guest ended.
#[derive(PartialEq)]
enum Exit {
    Call(u32),
    Interrupted,
}

/// The vCPU: `Filtered::run`.
struct Vcpu<'a> {
    world: &'a World,
    away: bool,
    asleep: bool,
}

impl Vcpu<'_> {
    fn run(&mut self, registers: u32) -> Exit {
        let world = self.world;
        // `Signals::enter`.
        world.running.store(true, Ordering::SeqCst);
        let exit = if world.token.swap(false, Ordering::SeqCst) {
            Exit::Interrupted
        } else {
            self.run_entered(registers)
        };
        // The end of `Running`.
        world.running.store(false, Ordering::SeqCst);
        while world.kicking.load(Ordering::SeqCst) != 0 {
            thread::yield_now();
        }
        exit
    }

    fn run_entered(&mut self, registers: u32) -> Exit {
        let world = self.world;
        loop {
            world.given.store(registers, Ordering::Relaxed);
            loop {
                world.proven.store(false, Ordering::Relaxed);
                go(world, self.away, self.asleep);
                self.asleep = false;
                // `Running::kick_again`.
                if world.token.load(Ordering::SeqCst) {
                    world.send();
                }
                if self.away && !has_posted(world, 2) {
                    self.away = false;
                    sleep(world);
                }
                assert!(wait_until_posted(world, || false));
                if !self.away && thread_rng().gen_bool(0.3) {
                    self.away = true;
                    look(world, 2);
                }
                let stopped = world.stopped.load(Ordering::Relaxed);
                if world.at_site.load(Ordering::Relaxed) {
                    return Exit::Call(stopped);
                }
                if stopped == STUBS {
                    if world.token.swap(false, Ordering::SeqCst) {
                        return Exit::Interrupted;
                    }
                    // Prepared anew.
                    break;
                }
                if world.blocked_by_kick() {
                    if world.token.swap(false, Ordering::SeqCst) {
                        return Exit::Interrupted;
                    }
                    // Stale: it goes on from the frame, which has the guest's registers still.
                    continue;
                }
                return Exit::Call(stopped);
            }
        }
    }

    /// Between two runs: the thread may have to be proven to sleep, from which on it may be given to another guest.
    fn rest(&mut self) {
        if thread_rng().gen_bool(0.5) {
            return;
        }
        if self.away {
            self.away = false;
            sleep(self.world);
        }
        self.asleep = self.asleep || prove_asleep(self.world);
        if self.asleep {
            self.world.proven.store(true, Ordering::Relaxed);
        }
    }
}

impl World {
    /// What the frame says of the signal that stopped the guest thread.
    fn blocked_by_kick(&self) -> bool {
        self.load(KICKED, Ordering::Relaxed) != 0
    }
}

/// A word of the frame: whether its signal is a kick.
const KICKED: u64 = 255;

/// The guest thread: the guest, and the handler.
struct Guest<'a> {
    world: &'a World,
    /// The guest's registers.
    registers: u32,
    /// The last call for which it went on until it was kicked.
    lingered: u32,
}

impl Guest<'_> {
    /// Whether the signal comes here; the host blocks it then until the return from the handler.
    fn takes_signal(&self) -> bool {
        let comes = self.world.has_signal() && self.world.pending.swap(false, Ordering::SeqCst);
        if comes {
            self.world.blocked.store(true, Ordering::SeqCst);
        }
        comes
    }

    /// `lodger_seccomp_handler` for a signal that is a call or a fault, or means that the thread has left its registers.
    fn handler(&self, stopped: u32, kicked: bool) {
        let world = self.world;
        world.blocked.store(true, Ordering::SeqCst);
        world.store(KICKED, u32::from(kicked), Ordering::Relaxed);
        // 7:
        world.store(data::GO, 0, Ordering::Relaxed);
        world.stopped.store(stopped, Ordering::Relaxed);
        world.at_site.store(false, Ordering::Relaxed);
        self.post();
    }

    /// `lodger_seccomp_post`.
    fn post(&self) {
        let world = self.world;
        assert!(!world.proven.load(Ordering::Relaxed), "a sleeper posts");
        world.words[data::POSTED as usize].swap(1, Ordering::SeqCst);
        if world.load(data::KERNEL_SLEEPS, Ordering::Relaxed) != 0 {
            world.wake(data::POSTED);
        }
    }

    /// A kick between a site and the go, where signals are not blocked. Whether that sends the thread back to the post.
    fn is_kicked(&self) -> bool {
        if !self.takes_signal() {
            return false;
        }
        if self.world.load(data::GO, Ordering::Relaxed) == 0 {
            // Late. 6:
            self.world.blocked.store(false, Ordering::SeqCst);
            return false;
        }
        self.handler(STUBS, true);
        true
    }

    /// From behind the post to the guest's next instruction.
    fn wait_and_go(&mut self) {
        let world = self.world;
        loop {
            // 2:
            let mut left = world.load(data::SPINS, Ordering::Relaxed);
            let goes = loop {
                self.is_kicked();
                // 3:
                if world.load(data::GO, Ordering::Relaxed) != 0 {
                    break true;
                }
                if left == 0 || world.load(data::SPINS, Ordering::Relaxed) == 0 {
                    break false;
                }
                left -= 1;
            };
            if !goes {
                // 4:
                world.words[data::STUB_SLEEPS as usize].swap(1, Ordering::SeqCst);
                world.wait_as(GUEST, data::GO, 0);
                self.is_kicked();
                // lodger_seccomp_wait:
                world.store(data::STUB_SLEEPS, 0, Ordering::Relaxed);
                continue;
            }
            // lodger_seccomp_go: from here on each kick means that it has not gone.
            if self.takes_signal() {
                self.handler(STUBS, true);
                continue;
            }
            world.store(data::GO, 0, Ordering::Relaxed);
            self.registers = world.given.load(Ordering::Relaxed);
            // `sigreturn`, or the jump to the guest.
            world.blocked.store(false, Ordering::SeqCst);
            return;
        }
    }

    /// A hostile guest says that it has stopped, and runs on for a while.
    fn pretend(&self) {
        let world = self.world;
        world.stopped.store(self.registers, Ordering::Relaxed);
        world.at_site.store(true, Ordering::Relaxed);
        self.post();
        for _ in 0..3 {
            thread::yield_now();
            assert!(!world.proven.load(Ordering::Relaxed), "a sleeper runs");
        }
    }

    /// The guest, until it is told to end.
    fn run(&mut self) {
        let world = self.world;
        // A stub posts when it is ready.
        self.handler(0, false);
        loop {
            self.wait_and_go();
            assert!(!world.proven.load(Ordering::Relaxed), "a sleeper runs");
            if self.registers == END {
                return self.handler(END, false);
            }
            if self.registers != self.lingered && thread_rng().gen_bool(0.5) {
                self.lingered = self.registers;
                world.tell(|news| news.lingers = true);
                let mut sleepers = world.sleepers();
                while !world.has_signal() {
                    sleepers = world.woken.wait(sleepers).unwrap();
                }
                drop(sleepers);
                world.tell(|news| news.lingers = false);
            }
            if self.takes_signal() {
                self.handler(self.registers, true);
            } else if thread_rng().gen_bool(0.2) {
                self.pretend();
            } else if thread_rng().gen_bool(0.5) {
                // lodger_seccomp_trampoline: signals are not blocked.
                world.stopped.store(self.registers, Ordering::Relaxed);
                if self.takes_signal() {
                    world.blocked.store(false, Ordering::SeqCst);
                }
                world.at_site.store(true, Ordering::Relaxed);
                self.post();
            } else {
                self.handler(self.registers, false);
            }
        }
    }
}

/// Kicks some times, and then whenever only that helps; each time it waits until a run was ended by it.
fn kicker(world: &World) {
    for kicks in 0.. {
        let news = world.news.lock().unwrap();
        let news = world.told.wait_while(news, |news| kicks >= KICKS && !news.lingers && !news.done).unwrap();
        if news.done {
            return;
        }
        let seen = news.interrupted;
        drop(news);
        // `Signals::kick`.
        if !world.token.swap(true, Ordering::SeqCst) {
            world.send();
        }
        let news = world.news.lock().unwrap();
        drop(world.told.wait_while(news, |news| news.interrupted == seen && !news.done).unwrap());
    }
}

fn hand_offs() {
    let words = (0..256).map(|_| AtomicU32::new(0)).collect();
    let world = Arc::new(World { words, ..World::default() });
    sleep(&*world);
    let guest = world.clone();
    let guest = thread::spawn(move || Guest { world: &guest, registers: 0, lingered: 0 }.run());
    assert!(wait_until_posted(&*world, || false));
    let kicks = world.clone();
    let kicks = thread::spawn(move || kicker(&kicks));
    let mut vcpu = Vcpu { world: &world, away: false, asleep: false };
    for call in (1..=CALLS).chain([END]) {
        if call == END {
            // Nobody kicks any more.
            world.tell(|news| news.done = true);
        }
        loop {
            match vcpu.run(call) {
                Exit::Call(made) => {
                    break assert_eq!(made, call, "the registers are those that it was given");
                }
                Exit::Interrupted => world.tell(|news| news.interrupted += 1),
            }
        }
        vcpu.rest();
    }
    assert!(kicks.join().is_ok() && guest.join().is_ok());
}

/// Half of the schedules random, half with few switches at any place; or LODGER_SCHEDULE alone. With LODGER_SCHEDULES (`cargo
/// xtask model`) more of them, and so many times.
#[test]
fn no_turn_is_lost() {
    let config = shuttle::Config::new();
    if let Ok(schedule) = std::env::var("LODGER_SCHEDULE") {
        shuttle::Runner::new(ReplayScheduler::new_from_encoded(&schedule), config).run(hand_offs);
        return;
    }
    let times: Option<usize> = std::env::var("LODGER_SCHEDULES").ok().and_then(|times| times.parse().ok());
    let half = times.map_or(1000, |times| 20_000 * times);
    shuttle::Runner::new(RandomScheduler::new(half), config.clone()).run(hand_offs);
    shuttle::Runner::new(PctScheduler::new(3, half), config).run(hand_offs);
}
