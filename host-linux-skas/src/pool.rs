//! Stubs in stock and used again.
//!
//! A stub whose space was dropped serves another one: nothing of the old guest is left in it but mappings, and the
//! first request of the new tenant removes these before it runs. That takes no process creation and no exit, which are
//! the dearest parts of fork, exec and exit. Under ptrace it is safe, because a stub has one thread, which is stopped,
//! and all of its registers are set anew.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use host_linux::traced::tracee::{Tracee, kill_and_reap};
use kernel_core::host::HostError;

use crate::spawner::Spawner;

/// Request pages, and so the most stubs alive at a time.
pub const SLOTS: u32 = 8192;
/// Fresh stubs that are kept ready. Each one more costs every boot a fork, and every end an exit.
const READY: usize = 2;
/// Used stubs that are kept; more are killed.
const KEPT: usize = 32;

/// A stub process: its id, its request page, and the trace once there is one. It belongs to one space or the pool.
pub struct Stub {
    /// Process id.
    pub pid: i32,
    /// Number of its page in the file of requests.
    pub slot: u32,
    /// How the vCPU thread reaches it; `None` before it was attached.
    pub tracee: Option<Tracee>,
    /// Whether mappings of another space are in it.
    pub used: bool,
    /// When it was moved to the vCPU's processor, see `Vcpu::adopt`.
    pub moves: u32,
}

/// All stubs of a host that belong to no space.
pub struct Pool {
    state: Mutex<State>,
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
    pub fn new(spawner: Spawner) -> Pool {
        let state = State {
            spawner,
            // Page 0 is the code.
            free: (1..=SLOTS).rev().collect(),
            asked: VecDeque::new(),
            kept: Vec::new(),
        };
        let pool = Pool { state: Mutex::new(state) };
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
        match state.spawner.stub() {
            Ok(pid) => {
                // Made while this one boots; if that fails, the next `take` says so.
                let _ = state.order();
                Ok(Stub { pid, slot, tracee: None, used: false, moves: 0 })
            }
            Err(error) => {
                state.free.push(slot);
                Err(error)
            }
        }
    }

    /// Keeps a stopped stub for another space, or kills it if there are enough. One that was never attached is as good
    /// as new, and is not killed: once dead it would be reaped by the spawner, and its number could be another's.
    pub fn keep(&self, mut stub: Stub) {
        let mut state = self.lock();
        stub.used = stub.tracee.is_some();
        if !stub.used || state.kept.len() < KEPT {
            state.kept.push(stub);
        } else {
            state.kill(stub);
        }
    }

    /// Kills an attached stub.
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

    /// Kills an attached stub.
    fn kill(&mut self, stub: Stub) {
        kill_and_reap(stub.pid);
        self.free.push(stub.slot);
    }
}
