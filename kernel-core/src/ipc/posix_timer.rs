//! Timers that signal: `timer_create(2)`, `setitimer(2)`, `alarm(2)`.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, Result};
use crate::ipc::alarm::{Alarm, Meter, Remaining, Setting};
use crate::ipc::cpu_timer::{CpuClock, CpuTimers};
use crate::ipc::timerfd::TimeBase;
use crate::sched::timers::Timers;
use crate::sched::wait::{Events, Wake};
use crate::services::{Clock, Services};
use crate::sync::Mutex;
use crate::task::siginfo::{Payload, SigInfo};
use crate::task::signal::places::Place;
use crate::vfs::caller::Processes;

/// The most often a periodic timer signals; what expires in between is counted as overrun.
const FLOOR_NS: u64 = 100_000;

/// Whom a timer tells (`sigev_notify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Nobody (`SIGEV_NONE`).
    Nobody,
    /// The process (`SIGEV_SIGNAL`).
    Process,
    /// One thread of it (`SIGEV_THREAD_ID`), by its id.
    Thread(u32),
}

/// What a timer does when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Whom it tells.
    pub notify: Notify,
    /// The signal, 1 to 64.
    pub signal: u8,
    /// `sigev_value`; `None`: the timer's id, as without a `sigevent`.
    pub value: Option<u64>,
}

/// The timers of one process; `fork` gives a child none, `exec` keeps the interval timers alone.
pub struct ProcessTimers {
    pid: u32,
    real: Arc<RealTimer>,
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`.
    pub cpu: CpuTimers,
    processes: Arc<dyn Processes>,
    posix: Mutex<BTreeMap<i32, Arc<PosixTimer>>>,
    last_id: AtomicI32,
}

/// `ITIMER_REAL`: SIGALRM for a process.
struct RealTimer {
    pid: u32,
    alarm: Alarm,
    processes: Arc<dyn Processes>,
}

impl Wake for RealTimer {
    fn wake(&self, _: Events) {
        if self.alarm.take_expirations() > 0 {
            self.processes.signal_process(self.pid, SigInfo::kernel(sys::SIGALRM as u8));
        }
    }
}

/// The clock of a timer.
#[derive(Clone)]
pub enum Base {
    /// One that passes for all.
    Time(TimeBase),
    /// CPU time.
    Cpu(Arc<dyn Meter>),
}

/// A timer of `timer_create`.
pub struct PosixTimer {
    pid: u32,
    id: i32,
    action: Action,
    /// The clock its absolute times are of.
    pub base: Base,
    alarm: Alarm,
    /// Expirations, besides those that signals were sent for, that no signal taken has told of.
    missed: AtomicI32,
    /// What the signal taken last told of.
    overrun: AtomicI32,
    /// How often it was set; a signal of an earlier setting says nothing of this one.
    setting: AtomicU32,
    processes: Arc<dyn Processes>,
    /// For its signal; the queue that this is in has it too.
    place: Arc<Place>,
}

impl Wake for PosixTimer {
    fn wake(&self, _: Events) {
        if self.action.notify == Notify::Nobody {
            return;
        }
        let expirations = self.alarm.take_expirations();
        if expirations == 0 {
            return;
        }
        if Arc::strong_count(&self.place) > 1 {
            self.miss(expirations);
            return;
        }
        self.miss(expirations - 1);
        let value = self.action.value.unwrap_or(self.id as u64);
        let info = SigInfo {
            signal: self.action.signal,
            errno: 0,
            code: sys::SI_TIMER,
            payload: Payload::Timer {
                id: self.id,
                overrun: 0,
                value,
                setting: self.setting.load(Ordering::Relaxed),
            },
        };
        match self.action.notify {
            Notify::Thread(tid) => self.processes.signal_thread(self.pid, tid, info),
            _ => self.processes.signal_process(self.pid, info),
        }
    }
}

impl PosixTimer {
    /// Arms or disarms it, and gives what was left before.
    pub fn set(&self, setting: Setting) -> Remaining {
        self.setting.fetch_add(1, Ordering::Relaxed);
        self.missed.store(0, Ordering::Relaxed);
        self.overrun.store(0, Ordering::Relaxed);
        self.alarm.set(setting)
    }

    fn miss(&self, expirations: u64) {
        let more = i32::try_from(expirations).unwrap_or(i32::MAX);
        let before = self.missed.load(Ordering::Relaxed);
        self.missed.store(before.saturating_add(more), Ordering::Relaxed);
    }

    /// A signal of it is taken: the overrun is counted up to now, as `posix_timer_rearm` in Linux does.
    fn taken(&self, setting: u32) -> i32 {
        if setting != self.setting.load(Ordering::Relaxed) {
            return 0;
        }
        // Since it signalled, a timer that still runs is periodic: whatever expired since was missed.
        self.miss(self.alarm.take_expirations());
        let overrun = self.missed.swap(0, Ordering::Relaxed);
        self.overrun.store(overrun, Ordering::Relaxed);
        overrun
    }

    /// What is left.
    pub fn remaining(&self) -> Remaining {
        self.alarm.remaining()
    }

    /// Expirations that the signal taken last stands for, besides its own.
    pub fn overrun(&self) -> i32 {
        self.overrun.load(Ordering::Relaxed)
    }
}

impl ProcessTimers {
    /// No timers for the process `pid`.
    pub fn new(pid: u32, services: &Services) -> ProcessTimers {
        let Services { timers, clock, processes, .. } = services;
        let real = Arc::new_cyclic(|weak: &Weak<RealTimer>| RealTimer {
            pid,
            alarm: Alarm::new(timers, clock, weak.clone(), FLOOR_NS),
            processes: processes.clone(),
        });
        ProcessTimers {
            pid,
            real,
            cpu: CpuTimers::default(),
            processes: processes.clone(),
            posix: Mutex::default(),
            last_id: AtomicI32::new(0),
        }
    }

    /// Sets `ITIMER_REAL` and gives what was left of it.
    pub fn set_real(&self, setting: Setting) -> Remaining {
        self.real.alarm.set(setting)
    }

    /// What is left of `ITIMER_REAL`.
    pub fn real(&self) -> Remaining {
        self.real.alarm.remaining()
    }

    /// Signals for CPU time timers that have expired, when that much time was used in the guest and in all.
    pub fn check_cpu(&self, user_ns: u64, all_ns: u64) {
        for clock in self.cpu.expire(user_ns, all_ns) {
            let signal = match clock {
                CpuClock::User => sys::SIGVTALRM,
                CpuClock::All => sys::SIGPROF,
            };
            self.processes.signal_process(self.pid, SigInfo::kernel(signal as u8));
        }
    }

    /// Makes a timer, not armed, and gives its id. It has a place for its signal.
    pub fn create(&self, base: Base, action: Action, place: Arc<Place>, services: &Services) -> i32 {
        let (timers, clock): (&Arc<Timers>, &Arc<dyn Clock>) = (&services.timers, &services.clock);
        let mut posix = self.posix.lock();
        // Ids go up and start again after the largest, past those in use.
        let mut id = self.last_id.load(Ordering::Relaxed);
        while posix.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(0);
        }
        self.last_id.store(id.checked_add(1).unwrap_or(0), Ordering::Relaxed);
        let timer = Arc::new_cyclic(|weak: &Weak<PosixTimer>| PosixTimer {
            pid: self.pid,
            id,
            action,
            alarm: match &base {
                Base::Time(_) => Alarm::new(timers, clock, weak.clone(), FLOOR_NS),
                Base::Cpu(meter) => Alarm::metered(services, meter.clone(), weak.clone()),
            },
            base,
            missed: AtomicI32::new(0),
            overrun: AtomicI32::new(0),
            setting: AtomicU32::new(0),
            processes: services.processes.clone(),
            place,
        });
        posix.insert(id, timer);
        id
    }

    /// The timer of that id; EINVAL.
    pub fn get(&self, id: i32) -> Result<Arc<PosixTimer>> {
        self.posix.lock().get(&id).cloned().ok_or(EINVAL)
    }

    /// The place of a signal, if it is that of a timer which is still there.
    pub fn place(&self, info: &SigInfo) -> Option<Arc<Place>> {
        let Payload::Timer { id, .. } = info.payload else { return None };
        Some(self.get(id).ok()?.place.clone())
    }

    /// A signal is taken off its queue: if it is a timer's, it gets to know what that timer missed.
    pub fn complete(&self, info: &mut SigInfo) {
        if let Payload::Timer { id, overrun, setting, .. } = &mut info.payload {
            *overrun = self.get(*id).map_or(0, |timer| timer.taken(*setting));
        }
    }

    /// Removes a timer; EINVAL.
    pub fn delete(&self, id: i32) -> Result<()> {
        let timer = self.posix.lock().remove(&id).ok_or(EINVAL)?;
        timer.alarm.set(Setting::default());
        Ok(())
    }

    /// Removes all timers of `timer_create`: on exec.
    pub fn delete_all(&self) {
        let timers = core::mem::take(&mut *self.posix.lock());
        for timer in timers.into_values() {
            timer.alarm.set(Setting::default());
        }
    }

    /// Stops everything: on exit. A pending alarm would otherwise live until its time comes.
    pub fn clear(&self) {
        self.delete_all();
        self.set_real(Setting::default());
    }
}
