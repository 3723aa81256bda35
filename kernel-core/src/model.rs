//! What must hold however the vCPUs take turns: the whole kernel on FakeHost with two of them, and its parts alone.
//!
//! As unit tests these run once. In a build with `--cfg shuttle` the locks and atomics of [`crate::sync`], and the threads
//! of FakeHost, are those of the model checker: it runs each under many schedules, in which a switch may come at every
//! use of one, and reports a deadlock (which is what a lost wake-up becomes) with the schedule to see it again.
//!
//! ```text
//! cargo xtask model
//! ```

extern crate std;

use alloc::sync::Arc;
#[cfg(not(shuttle))]
use std::thread;

#[cfg(shuttle)]
use shuttle::thread;

use linux_raw_sys::general as sys;

use crate::host::fake::FakeHost;
use crate::sched::state::State;
use crate::sched::wait::{Events, WaitQueue, Wake};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::tests::{exited, guest, run};

/// Runs `test` once; or under so many schedules, times LODGER_SCHEDULES, half of them random and half with few switches at
/// any place (probabilistic concurrency testing); or under LODGER_SCHEDULE.
fn explore(schedules: usize, test: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(shuttle))]
    {
        let _ = schedules;
        test();
    }
    #[cfg(shuttle)]
    {
        use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
        use std::env::var;
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 20;
        if let Ok(schedule) = var("LODGER_SCHEDULE") {
            shuttle::Runner::new(ReplayScheduler::new_from_encoded(&schedule), config).run(test);
            return;
        }
        let times = var("LODGER_SCHEDULES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
        let (test, half) = (Arc::new(test), schedules * times / 2);
        let again = test.clone();
        shuttle::Runner::new(RandomScheduler::new(half), config.clone()).run(move || again());
        shuttle::Runner::new(PctScheduler::new(3, half), config).run(move || test());
    }
}

/// A task and its run queue, as small as can be: it runs where nobody else does, and is queued by who wakes it.
struct Sleeper {
    state: State,
    queued: Mutex<usize>,
}

impl Wake for Sleeper {
    fn wake(&self, _: Events) {
        if self.state.wake() {
            *self.queued.lock() += 1;
        }
    }
}

/// A waiter's *register, look, suspend* against a waker's *change, wake*: whatever the order, the waiter is queued at the
/// end, once, or has seen the change.
#[test]
fn no_wake_up_is_lost() {
    explore(20_000, || {
        let shared = Arc::new((WaitQueue::new(), AtomicUsize::new(0)));
        let sleeper = Arc::new(Sleeper { state: State::parked(), queued: Mutex::new(0) });
        sleeper.state.wake();
        sleeper.state.run();
        let wakers = [1, 2].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.fetch_add(1, Ordering::Relaxed);
                shared.0.wake(Events::IN);
            })
        });
        let (queue, ready) = &*shared;
        let token = queue.register(Events::IN, sleeper.clone());
        let seen = ready.load(Ordering::Relaxed);
        if seen == 0 && sleeper.state.park() {
            *sleeper.queued.lock() += 1;
        }
        for waker in wakers {
            assert!(waker.join().is_ok());
        }
        assert_eq!(*sleeper.queued.lock(), usize::from(seen == 0), "queued once if it slept");
        queue.unregister(token);
    });
}

/// Children end while their parent waits for them, on two vCPUs.
#[test]
fn no_child_is_missed() {
    explore(2000, || {
        let host = FakeHost::new(2);
        guest(&host, |step, result, regs, _| match step {
            0 | 1 if regs.r13 == 0 && (step == 0 || result != 0) => Ok((sys::__NR_fork, [0; 4])),
            2 if result != 0 => {
                regs.r13 = 1;
                Ok((sys::__NR_wait4, [u64::MAX, 0, 0, 0]))
            }
            3 if regs.r13 == 1 => Ok((sys::__NR_wait4, [u64::MAX, 0, 0, 0])),
            4 if regs.r13 == 1 => {
                assert!(result > 1, "wait4 gave {result}");
                Ok((sys::__NR_exit_group, [7, 0, 0, 0]))
            }
            _ => Ok((sys::__NR_exit_group, [0; 4])),
        });
        assert_eq!(run(&host, 2), exited(7));
    });
}

/// A signal comes while its receiver goes to sleep.
#[test]
fn a_signal_ends_a_sleeping_child() {
    explore(2000, || {
        let host = FakeHost::new(2);
        guest(&host, |step, result, regs, _| match step {
            0 => Ok((sys::__NR_fork, [0; 4])),
            1 if result == 0 => Ok((sys::__NR_pause, [0; 4])),
            1 => {
                regs.r12 = result as u64;
                Ok((sys::__NR_kill, [regs.r12, 15, 0, 0]))
            }
            2 => Ok((sys::__NR_wait4, [regs.r12, regs.rsp - 64, 0, 0])),
            _ => Ok((sys::__NR_exit_group, [u64::from(result as u64 == regs.r12), 0, 0, 0])),
        });
        assert_eq!(run(&host, 2), exited(1));
    });
}

/// A thread sets a word and wakes; the other one waits for as long as the word is 0.
#[test]
fn a_futex_hands_over() {
    const WORD: u64 = 0x1000_0000;
    const THREAD: u32 =
        sys::CLONE_VM | sys::CLONE_SIGHAND | sys::CLONE_THREAD | sys::CLONE_FS | sys::CLONE_FILES;
    const WAIT: u64 = sys::FUTEX_WAIT as u64;
    const WAKE: u64 = sys::FUTEX_WAKE as u64;
    explore(2000, || {
        let host = FakeHost::new(2);
        guest(&host, |step, result, regs, mem| match step {
            0 => Ok((sys::__NR_mmap, [WORD, 0x1000, 3, 0x32])),
            1 => Ok((sys::__NR_clone, [THREAD.into(), WORD + 0x800, 0, 0])),
            2 if result == 0 => {
                mem.write(WORD, &1u32.to_ne_bytes())?;
                regs.r13 = 1;
                Ok((sys::__NR_futex, [WORD, WAKE, 1, 0]))
            }
            _ if regs.r13 == 1 => Ok((sys::__NR_exit, [0; 4])),
            _ => {
                let mut word = [0; 4];
                mem.read(WORD, &mut word)?;
                if u32::from_ne_bytes(word) == 0 {
                    return Ok((sys::__NR_futex, [WORD, WAIT, 0, 0]));
                }
                Ok((sys::__NR_exit_group, [5, 0, 0, 0]))
            }
        });
        assert_eq!(run(&host, 2), exited(5));
    });
}

/// A reader finds what a child wrote, and then that nobody can write any more.
#[test]
fn a_pipe_wakes_its_reader() {
    const PAGE: u64 = 0x1000_0000;
    explore(2000, || {
        let host = FakeHost::new(2);
        guest(&host, |step, result, regs, mem| {
            let fd = |index: u64| {
                let mut fd = [0; 4];
                mem.read(PAGE + 4 * index, &mut fd).map(|()| u64::from(u32::from_ne_bytes(fd)))
            };
            match (step, regs.r13) {
                (0, _) => Ok((sys::__NR_mmap, [PAGE, 0x1000, 3, 0x32])),
                (1, _) => Ok((sys::__NR_pipe2, [PAGE, 0, 0, 0])),
                (2, _) => Ok((sys::__NR_fork, [0; 4])),
                (3, _) if result == 0 => {
                    regs.r13 = 1;
                    Ok((sys::__NR_write, [fd(1)?, PAGE, 3, 0]))
                }
                (_, 1) => Ok((sys::__NR_exit_group, [0; 4])),
                (3, _) => Ok((sys::__NR_close, [fd(1)?, 0, 0, 0])),
                (4, _) => Ok((sys::__NR_read, [fd(0)?, PAGE + 8, 64, 0])),
                (5, _) => {
                    assert_eq!(result, 3);
                    Ok((sys::__NR_read, [fd(0)?, PAGE + 8, 64, 0]))
                }
                _ => Ok((sys::__NR_exit_group, [u64::from(result == 0), 0, 0, 0])),
            }
        });
        assert_eq!(run(&host, 2), exited(1));
    });
}
