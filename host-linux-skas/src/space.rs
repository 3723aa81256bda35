//! One guest address space, kept in a stub.
//!
//! Changes are applied lazily: they wait in a batch that the vCPU thread hands to the stub just before the guest runs
//! in it again. So the maps of one fault or system call, and of several, cost one round trip. The guest's thread does not
//! run from the moment that a change is asked for until it is made, so no guest reaches what was unmapped, and frames may
//! be reused meanwhile. Where that cannot be proven, changes are made at once.
//!
//! A lazy change cannot report a failure, so what can fail in an orderly way is found before: the mappings of the stub
//! are counted from above, and near the host's limit they are counted exactly and more are refused.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use host_linux::batch::{Batch, assert_inside};
use host_linux::host::{HostSpace, Machine};
use host_linux::ram::Ram;
use host_linux::trap::Lost;
use host_linux::vm;
use kernel_core::host::{Exit, HostError, MapOp, Space, UserContext};
use nix::errno::Errno;

use crate::pool::Pool;
use crate::requests;
use crate::stub::{Failure, Stub};

/// Mappings that a change can add: one in the middle of another cuts that in two and lies between.
const MAPPINGS_A_CHANGE: usize = 2;
/// Mappings of a stub that are not the guest's, and some to spare.
const MAPPINGS_RESERVED: usize = 64;
/// Changes that wait at most, so that a space which never runs does not gather them without end.
const PENDING: usize = 16 * requests::REQUESTS_A_PAGE;

/// What keeps every guest address space in a stub.
pub struct Skas {
    /// RAM, vCPU, and what else every host has.
    pub(crate) machine: Machine,
    /// Stubs without a space.
    pub(crate) pool: Pool,
    /// The file whose pages are the stubs' requests.
    pub(crate) requests: Arc<Ram>,
    /// The addresses a guest may use.
    pub(crate) limits: Range<u64>,
    /// Mappings that the host allows a process.
    pub(crate) max_mappings: usize,
    /// Where stubs have the clocks of guests.
    pub(crate) clock_image: Option<u64>,
}

impl Skas {
    /// Removes everything that a guest may have mapped.
    pub(crate) fn unmap_all(&self) -> MapOp {
        MapOp::Unmap { va: self.limits.start, len: self.limits.end - self.limits.start }
    }
}

/// A guest address space. When it is dropped, its stub goes back to the pool.
pub struct SkasSpace {
    skas: Arc<Skas>,
    /// Of the stub that it has or had.
    pid: i32,
    state: Mutex<State>,
}

struct State {
    /// `None` once the stub died.
    stub: Option<Stub>,
    batch: Batch,
    /// No fewer mappings than the stub has when the batch is done.
    mappings: usize,
    /// Whether changes were made since the mappings were last counted.
    changed: bool,
}

/// Whether a space can take more mappings.
#[derive(PartialEq, Eq)]
enum Room {
    /// Changes may wait.
    Enough,
    /// The host's limit is near: only removals are tried, and at once.
    None,
}

impl SkasSpace {
    /// An empty space in `stub`.
    pub fn new(skas: Arc<Skas>, mut stub: Stub) -> SkasSpace {
        let mut batch = Batch::default();
        let pid = stub.pid;
        if stub.used {
            stub.clean(&skas);
            batch.push(skas.unmap_all());
        }
        let state = State { stub: Some(stub), batch, mappings: MAPPINGS_RESERVED, changed: true };
        SkasSpace { skas, pid, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostSpace for SkasSpace {
    fn run(&self, ctx: &mut UserContext) -> Exit {
        let mut state = self.lock();
        match state.run(&self.skas, ctx) {
            Ok(Exit::Died) | Err(Lost::Refused(_)) => state.give_up(&self.skas),
            Err(Lost::Reaped) => state.reaped(&self.skas),
            Ok(exit) => return exit,
        }
        Exit::Died
    }

    fn save_fpu(&self, ctx: &UserContext) {
        if let Some(stub) = &self.lock().stub {
            stub.save_fpu(&ctx.fpu);
        }
    }

    fn host_process(&self) -> Option<i32> {
        match self.state.try_lock() {
            Ok(state) => state.stub.as_ref().map(|stub| stub.pid),
            Err(TryLockError::Poisoned(state)) => state.into_inner().stub.as_ref().map(|stub| stub.pid),
            Err(TryLockError::WouldBlock) => Some(self.pid),
        }
    }
}

impl Space for SkasSpace {
    fn apply(&self, ops: &[MapOp]) -> Result<(), HostError> {
        let skas = &*self.skas;
        ops.iter().for_each(|op| assert_inside(op, &skas.limits));
        let mut state = self.lock();
        let growth = ops.len().saturating_mul(MAPPINGS_A_CHANGE);
        let room = state.make_room(skas, growth)?;
        if room == Room::None && ops.iter().any(|op| !matches!(op, MapOp::Unmap { .. })) {
            return Err(HostError::TooManyMappings);
        }
        ops.iter().for_each(|op| state.batch.push(*op));
        state.mappings = state.mappings.saturating_add(growth);
        if room == Room::None || !state.may_wait() { state.flush_now(skas) } else { Ok(()) }
    }

    fn limits(&self) -> Range<u64> {
        self.skas.limits.clone()
    }
}

impl Drop for SkasSpace {
    fn drop(&mut self) {
        let skas = self.skas.clone();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(mut stub) = state.stub.take() else { return };
        if stub.can_be_used_again(&skas) {
            skas.pool.keep(stub);
        } else {
            skas.pool.kill(stub);
        }
    }
}

impl State {
    fn run(&mut self, skas: &Skas, ctx: &mut UserContext) -> Result<Exit, Lost> {
        self.flush(skas).map_err(|failure| {
            log::error!("a guest's memory could not be mapped: {failure:?}");
            failure.lost()
        })?;
        self.stub.as_mut().ok_or(Lost::Refused(Errno::ESRCH))?.run(skas, ctx)
    }

    /// Whether the changes of the batch may wait until the space runs.
    fn may_wait(&mut self) -> bool {
        self.stub.as_mut().is_none_or(Stub::is_still)
    }

    /// Makes sure that changes which add up to `growth` mappings can wait and will not fail for their number.
    fn make_room(&mut self, skas: &Skas, growth: usize) -> Result<Room, HostError> {
        let Some(stub) = &self.stub else { return Err(HostError::SpaceDied) };
        let pid = stub.pid;
        let fits = |mappings: usize| mappings.saturating_add(growth) <= skas.max_mappings;
        if (fits(self.mappings) && self.batch.len() < PENDING) || !skas.machine.vcpu.is_here() {
            return Ok(Room::Enough);
        }
        self.flush_now(skas)?;
        if !fits(self.mappings) && self.changed {
            self.mappings = vm::count_mappings(pid).saturating_add(MAPPINGS_RESERVED);
            self.changed = false;
        }
        Ok(if fits(self.mappings) { Room::Enough } else { Room::None })
    }

    /// Makes all pending changes; a failure is the caller's.
    fn flush_now(&mut self, skas: &Skas) -> Result<(), HostError> {
        self.flush(skas).map_err(|failure| match failure {
            Failure::Change(Errno::ENOMEM | Errno::EAGAIN) => HostError::OutOfMemory,
            Failure::Stub(Lost::Reaped) => {
                self.reaped(skas);
                HostError::SpaceDied
            }
            Failure::Change(_) | Failure::Stub(Lost::Refused(_)) => {
                self.give_up(skas);
                HostError::SpaceDied
            }
        })
    }

    /// Makes all pending changes, until one fails.
    fn flush(&mut self, skas: &Skas) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let Some(stub) = &mut self.stub else { return Err(Errno::ESRCH.into()) };
        let result = requests::pages(&self.batch).try_for_each(|page| stub.change(skas, &page));
        self.changed = true;
        self.batch.clear();
        result
    }

    /// The stub is of no more use: kills it if it lives.
    fn give_up(&mut self, skas: &Skas) {
        self.batch.clear();
        if let Some(stub) = self.stub.take() {
            skas.pool.kill(stub);
        }
    }

    /// The stub died and was reaped.
    fn reaped(&mut self, skas: &Skas) {
        self.batch.clear();
        if let Some(stub) = self.stub.take() {
            skas.pool.died(&stub);
        }
    }
}
