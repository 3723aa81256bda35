//! Stubs in stock and used again.
//!
//! A stub whose space was dropped serves another one: nothing of the old guest is left in it but mappings, and the
//! first request of the new tenant removes these before it runs. That takes no process creation and no exit, which are
//! the dearest parts of fork, exec and exit. It is safe because no guest thread of it runs, for which each trap has a
//! proof of its own, and all of its registers are set anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel_core::host::HostError;

use crate::seccomp::sites::Sites;
use crate::seccomp::{Filtered, Seccomp};
use crate::spawner::Spawner;
use crate::stub::Stub;

/// Request pages, and so the most stubs alive at a time.
pub const SLOTS: u32 = 8192;
/// Fresh stubs that are kept ready. Each one more costs every boot a fork, and every end an exit.
const READY: usize = 2;
/// Used stubs that are kept; more are killed.
const KEPT: usize = 32;

/// All stubs of a host that belong to no space.
pub struct Pool {
    state: Mutex<State>,
    /// What stubs of the seccomp trap share; `None` if they are traced.
    seccomp: Option<Arc<Seccomp>>,
}

struct State {
    spawner: Spawner,
    /// Slots nobody has.
    free: Vec<u32>,
    /// Slots whose stub the spawner was asked for, in that order.
    asked: VecDeque<u32>,
    /// Stubs of dropped spaces.
    kept: Vec<Stub>,
}

impl Pool {
    /// A pool that has its first stubs made.
    pub fn new(spawner: Spawner, seccomp: Option<Arc<Seccomp>>) -> Pool {
        let state =
            State { spawner, free: (0..SLOTS).rev().collect(), asked: VecDeque::new(), kept: Vec::new() };
        let pool = Pool { state: Mutex::new(state), seccomp };
        // A failure shows when a stub is taken.
        let _ = pool.lock().order();
        pool
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stub for a new space.
    pub fn take(&self) -> Result<Stub, HostError> {
        let mut state = self.lock();
        if let Some(stub) = state.kept.pop() {
            return Ok(stub);
        }
        state.order()?;
        let slot = state.asked.pop_front().ok_or(HostError::TooManyProcesses)?;
        let made = state.spawner.stub().and_then(|pid| self.stub(pid, slot));
        if made.is_err() {
            state.free.push(slot);
        } else {
            // Made while this one boots; if that fails, the next `take` says so.
            let _ = state.order();
        }
        made
    }

    /// The call sites that were rewritten, if the trap is one for which they are.
    pub fn sites(&self) -> Option<&Sites> {
        self.seccomp.as_ref().map(|seccomp| seccomp.sites())
    }

    fn stub(&self, pid: i32, slot: u32) -> Result<Stub, HostError> {
        let Some(seccomp) = &self.seccomp else { return Ok(Stub::traced(pid, slot)) };
        let filtered = Filtered::new(seccomp.clone(), pid, slot).map_err(|_| HostError::TooManyProcesses)?;
        Ok(Stub::filtered(pid, slot, filtered))
    }

    /// Keeps a stopped stub for another space, or kills it if there are enough. One that was never used is as good as new,
    /// and is not killed: before it is attached it would be reaped by the spawner, and its number could be another's.
    pub fn keep(&self, mut stub: Stub) {
        let mut state = self.lock();
        stub.used = !stub.is_fresh();
        if !stub.used || state.kept.len() < KEPT {
            state.kept.push(stub);
        } else {
            state.kill(stub);
        }
    }

    /// Puts back the stub that was tried when the host started. The thread that traces it will not be the vCPU's.
    pub fn end_first(&self, stub: Stub) {
        if stub.is_fresh() { self.keep(stub) } else { self.kill(stub) }
    }

    /// Kills a stub that was used.
    pub fn kill(&self, stub: Stub) {
        self.lock().kill(stub);
    }

    /// Takes back the slot of a stub that died and was reaped.
    pub fn died(&self, stub: &Stub) {
        self.lock().free.push(stub.slot);
    }

    /// Kills the used stubs: their tracer ends.
    pub fn clear(&self) {
        let mut state = self.lock();
        let (used, fresh) = std::mem::take(&mut state.kept).into_iter().partition(|stub| stub.used);
        state.kept = fresh;
        let used: Vec<Stub> = used;
        for stub in used {
            state.kill(stub);
        }
    }
}

impl State {
    /// Has the spawner make stubs until enough are ready.
    fn order(&mut self) -> Result<(), HostError> {
        while self.asked.len() < READY {
            let Some(slot) = self.free.pop() else {
                return if self.asked.is_empty() { Err(HostError::TooManyProcesses) } else { Ok(()) };
            };
            if let Err(error) = self.spawner.request(slot) {
                self.free.push(slot);
                return Err(error);
            }
            self.asked.push_back(slot);
        }
        Ok(())
    }

    /// Kills a stub that was used.
    fn kill(&mut self, stub: Stub) {
        stub.kill();
        self.free.push(stub.slot);
    }
}
