//! One guest address space: a window, and what is to be mapped in it.
//!
//! Changes wait until the space runs next, so that all of one system call, and of several, are made together, and those of
//! a space that is not resident cost nothing. The guest's threads are stopped meanwhile, as there is one vCPU: none of
//! them reaches what was unmapped. Other guests do, as they reach everything here.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_linux::batch::{Batch, assert_inside};
use host_linux::host::{HostSpace, Machine};
use host_linux::trap::Lost;
use kernel_core::host::{Exit, HostError, MapOp, Space, UserContext};

use crate::mappings::Mappings;
use crate::threads::Threads;
use crate::windows::{Place, Windows};

/// Changes that wait at most: a longer list is not worth keeping.
const PENDING: usize = 1024;

/// What keeps every guest address space in a window of the kernel's own.
pub struct Tt {
    /// RAM, vCPU, and what else every host has.
    pub(crate) machine: Machine,
    windows: Mutex<Windows>,
    threads: Mutex<Threads>,
}

impl Tt {
    /// With nothing in the windows.
    pub(crate) fn new(machine: Machine, windows: Windows) -> Tt {
        Tt { machine, windows: Mutex::new(windows), threads: Mutex::default() }
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The traced threads.
    pub(crate) fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest address space. Its window is given back when it is dropped.
pub struct TtSpace {
    tt: Arc<Tt>,
    place: Place,
    limits: Range<u64>,
    state: Mutex<State>,
    /// See [`Space::switch_cost_ns`].
    switch_cost_ns: AtomicU64,
}

struct State {
    /// What the kernel wants mapped.
    wanted: Mappings,
    /// What was changed since the space ran last; nothing if that is unknown.
    pending: Batch,
}

impl TtSpace {
    /// An empty space that has the addresses `including`, if there is a window with them.
    pub fn new(tt: Arc<Tt>, including: &Range<u64>) -> TtSpace {
        let (place, limits) = {
            let mut windows = tt.windows();
            let place = windows.enter(including);
            (place, windows.range(place))
        };
        let state = State { wanted: Mappings::default(), pending: Batch::default() };
        TtSpace { tt, place, limits, state: Mutex::new(state), switch_cost_ns: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostSpace for TtSpace {
    fn run(&self, ctx: &mut UserContext) -> Exit {
        let tt = &*self.tt;
        {
            let mut state = self.state();
            let State { wanted, pending } = &mut *state;
            match tt.windows().make_resident(self.place, wanted, pending) {
                Ok(Some(cost_ns)) => self.switch_cost_ns.store(cost_ns, Ordering::Relaxed),
                Ok(None) => {}
                Err(errno) => {
                    log::error!("a guest's memory could not be mapped: {errno}");
                    return Exit::Died;
                }
            }
        }
        let mut threads = tt.threads();
        match threads.run(tt, &self.limits, ctx) {
            Ok(exit) => exit,
            Err(lost) => {
                log::error!("a guest's thread was lost: {lost:?}");
                threads.lose(&ctx.fpu, lost == Lost::Reaped);
                Exit::Died
            }
        }
    }

    fn save_fpu(&self, ctx: &UserContext) {
        self.tt.threads().save_fpu(&ctx.fpu);
    }

    /// This one.
    fn host_process(&self) -> Option<i32> {
        Some(std::process::id().cast_signed())
    }
}

impl Space for TtSpace {
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError> {
        let mut state = self.state();
        for op in ops {
            assert_inside(op, &self.limits);
            state.wanted.apply(op);
            state.pending.push(*op);
        }
        let mut windows = self.tt.windows();
        if state.pending.len() > PENDING {
            windows.forget(self.place);
            state.pending.clear();
        }
        if windows.allows(&state.wanted) || ops.iter().all(|op| matches!(op, MapOp::Unmap { .. })) {
            Ok(())
        } else {
            Err(HostError::TooManyMappings)
        }
    }

    fn limits(&self) -> Range<u64> {
        self.limits.clone()
    }

    fn switch_cost_ns(&self) -> u64 {
        self.switch_cost_ns.load(Ordering::Relaxed)
    }
}

impl Drop for TtSpace {
    fn drop(&mut self) {
        self.tt.windows().leave(self.place);
    }
}
