//! The traced threads: one for each guest thread.
//!
//! The owner of vector state is how the boundary names a guest thread, so that is how its host thread is found. What is in
//! the registers stays there while others run.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use host_linux::traced::carrier::Carrier;
use host_linux::traced::tracee::{Tracee, kill_and_reap};
use host_linux::trap::Lost;
use kernel_core::host::{Exit, Fpu, UserContext};
use nix::errno::Errno;

use crate::space::Tt;
use crate::thread_code;
use crate::watchdog::Watchdog;

/// Threads without a guest thread that are kept; more are ended.
const SPARE: usize = 32;

/// A traced thread.
struct Thread {
    carrier: Carrier,
    /// When it was moved to the vCPU's processor, see `Vcpu::adopt`.
    moves: u32,
}

/// All traced threads of a host. Only the thread that traces them calls this.
#[derive(Default)]
pub struct Threads {
    /// By the address of the guest thread's vector state, which nobody else gets while the reference lives.
    busy: HashMap<usize, (Weak<Fpu>, Thread)>,
    spare: Vec<Thread>,
    /// From the first guest on; nothing before it could have been overwritten.
    watchdog: Option<Watchdog>,
}

impl Threads {
    /// Runs a guest thread, whose memory is within `limits`, in its own host thread until something happens.
    pub fn run(&mut self, tt: &Tt, limits: &Range<u64>, ctx: &mut UserContext) -> Result<Exit, Lost> {
        let key = key(&ctx.fpu);
        if !self.busy.contains_key(&key) {
            let thread = self.take()?;
            self.busy.insert(key, (Arc::downgrade(&ctx.fpu), thread));
        }
        let Some((_, thread)) = self.busy.get_mut(&key) else { return Err(Lost::Refused(Errno::ESRCH)) };
        let machine = &tt.machine;
        machine.vcpu.adopt(&[thread.carrier.tracee.pid()], &mut thread.moves);
        thread.carrier.run(&machine.format, &machine.vcpu.signals, limits, ctx)
    }

    /// See [`kernel_core::host::Host::save_fpu`].
    pub fn save_fpu(&self, fpu: &Arc<Fpu>) {
        if let Some((_, thread)) = self.busy.get(&key(fpu)) {
            // A thread that is dead by now took the state with it; nobody will run with it either.
            let _ = thread.carrier.save_fpu_of(fpu);
        }
    }

    /// The host thread of a guest thread is of no more use.
    pub fn lose(&mut self, fpu: &Arc<Fpu>, is_reaped: bool) {
        if let Some((_, thread)) = self.busy.remove(&key(fpu))
            && !is_reaped
        {
            end(&thread);
        }
    }

    /// Ends all threads: their tracer ends, and is the vCPU no more.
    pub fn clear(&mut self) {
        self.watchdog = None;
        self.busy.drain().for_each(|(_, (_, thread))| end(&thread));
        self.spare.drain(..).for_each(|thread| end(&thread));
    }

    /// A thread for a guest thread that has none: one whose guest thread is gone, or a new one.
    fn take(&mut self) -> Result<Thread, Lost> {
        self.watchdog.get_or_insert_with(Watchdog::start);
        if self.spare.is_empty() {
            let gone = self.busy.extract_if(|_, (owner, _)| owner.strong_count() == 0);
            self.spare.extend(gone.map(|(_, (_, thread))| thread));
            self.spare.drain(SPARE.min(self.spare.len())..).for_each(|thread| end(&thread));
        }
        match self.spare.pop() {
            Some(thread) => Ok(thread),
            None => Ok(Thread { carrier: Carrier::new(start()?), moves: 0 }),
        }
    }
}

/// Starts a thread, and traces it.
pub fn start() -> Result<Tracee, Errno> {
    let pid = thread_code::start()?;
    Tracee::attach(pid).inspect_err(|_| kill_and_reap(pid))
}

fn end(thread: &Thread) {
    kill_and_reap(thread.carrier.tracee.pid());
}

fn key(fpu: &Arc<Fpu>) -> usize {
    Arc::as_ptr(fpu).addr()
}
