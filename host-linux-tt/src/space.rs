//! One guest address space: a window, and what is to be mapped in it.
//!
//! Changes wait until the space runs next, so that all of one system call, and of several, are made together, and those of
//! a space that is not resident cost nothing. The guest's threads are stopped meanwhile, as there is one vCPU: none of
//! them reaches what was unmapped. Other guests do, as they reach everything here.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_linux::batch::Batch;
use host_linux::ram::Ram;
use host_linux::traced::carrier::Lost;
use host_linux::traced::vcpu::Vcpu;
use host_linux::traced::xstate::Format;
use kernel_core::host::{Exit, HostError, MapOp, Space, UserContext};

use crate::mappings::Mappings;
use crate::threads::Threads;
use crate::windows::{Place, Windows};

/// Changes that wait at most: a longer list is not worth keeping.
const PENDING: usize = 1024;

/// What all spaces of a host share.
pub struct Machine {
    /// Guest RAM.
    pub ram: Arc<Ram>,
    /// The only vCPU.
    pub vcpu: Vcpu,
    /// The format of vector state.
    pub format: Format,
    windows: Mutex<Windows>,
    threads: Mutex<Threads>,
}

impl Machine {
    /// A machine with nothing in its windows.
    pub fn new(ram: Arc<Ram>, vcpu: Vcpu, format: Format, windows: Windows) -> Machine {
        Machine { ram, vcpu, format, windows: Mutex::new(windows), threads: Mutex::default() }
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The traced threads.
    pub fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest address space. Its window is given back when it is dropped.
pub struct TtSpace {
    machine: Arc<Machine>,
    place: Place,
    limits: Range<u64>,
    state: Mutex<State>,
}

struct State {
    /// What the kernel wants mapped.
    wanted: Mappings,
    /// What was changed since the space ran last; nothing if that is unknown.
    pending: Batch,
}

impl TtSpace {
    /// An empty space that has the addresses `including`, if there is a window with them.
    pub fn new(machine: Arc<Machine>, including: &Range<u64>) -> TtSpace {
        let (place, limits) = {
            let mut windows = machine.windows();
            let place = windows.enter(including);
            (place, windows.range(place))
        };
        let state = State { wanted: Mappings::default(), pending: Batch::default() };
        TtSpace { machine, place, limits, state: Mutex::new(state) }
    }

    /// The process that holds the guest's mappings, as the host numbers it: this one.
    pub fn host_process(&self) -> Option<i32> {
        Some(std::process::id().cast_signed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`kernel_core::host::Host::run`].
    pub fn run(&self, ctx: &mut UserContext) -> Exit {
        let machine = &self.machine;
        {
            let mut state = self.state();
            let State { wanted, pending } = &mut *state;
            if let Err(errno) = machine.windows().make_resident(self.place, wanted, pending) {
                log::error!("a guest's memory could not be mapped: {errno}");
                return Exit::Died;
            }
        }
        let mut threads = machine.threads();
        match threads.run(machine, &self.limits, ctx) {
            Ok(exit) => exit,
            Err(lost) => {
                log::error!("a guest's thread was lost: {lost:?}");
                threads.lose(&ctx.fpu, lost == Lost::Reaped);
                Exit::Died
            }
        }
    }

    /// See [`kernel_core::host::Host::save_fpu`].
    pub fn save_fpu(&self, ctx: &UserContext) {
        self.machine.threads().save_fpu(&ctx.fpu);
    }
}

impl Space for TtSpace {
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError> {
        let mut state = self.state();
        for op in ops {
            let (MapOp::Map { va, len, .. } | MapOp::Unmap { va, len } | MapOp::Protect { va, len, .. }) =
                *op;
            let inside =
                va.checked_add(len).is_some_and(|end| self.limits.start <= va && end <= self.limits.end);
            assert!(inside, "{len:#x} bytes at {va:#x} are outside the limits of a space");
            state.wanted.apply(op);
            state.pending.push(*op);
        }
        let mut windows = self.machine.windows();
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
}

impl Drop for TtSpace {
    fn drop(&mut self) {
        self.machine.windows().leave(self.place);
    }
}
