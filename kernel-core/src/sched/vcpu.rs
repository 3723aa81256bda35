//! The loop of a virtual CPU: run what can run, else look at timers and devices, else wait.

use crate::sync::atomic::Ordering;
use alloc::sync::Arc;

use crate::host::{Fiber, Host, Resumed, VcpuId};
use crate::kernel::Kernel;
use crate::task::Task;
use crate::task::times::Moment;

/// For so long nothing has to happen until memory that nobody uses goes back to the host: what is used again soon is cheaper
/// to keep.
const REST_NS: u64 = 100_000_000;
/// So much of it is kept in any case.
const KEEP_BYTES: u64 = 1 << 20;

impl<H: Host> Kernel<H> {
    /// Serves as `vcpu` until the instance is over. Each vCPU is one host thread in here.
    pub fn run_vcpu(&self, vcpu: VcpuId) {
        // Where one task's slice ends the next one's begins, unless the vCPU was idle between them.
        let mut last_end = None;
        while !self.is_over() {
            last_end = match self.scheduler.dequeue(vcpu) {
                Some(task) => Some(self.run_task(vcpu, task, last_end.unwrap_or_else(|| self.moment()))),
                None => {
                    self.idle(vcpu);
                    None
                }
            };
        }
    }

    /// Runs a task, from `now` on, until it suspends or ends, and says when that was.
    fn run_task(&self, vcpu: VcpuId, task: Arc<Task<H>>, now: Moment) -> Moment {
        if !task.may_run_on(vcpu) {
            // It was queued before that was said.
            self.scheduler.enqueue(task);
            return now;
        }
        // The fiber is in the task whenever the task is queued: it is put back before `park` lets anyone queue it.
        let Some(mut fiber) = task.fiber.lock().take() else { return now };
        task.set_vcpu(vcpu);
        task.state.run();
        self.begin_slice(vcpu, &task, now);
        self.begin_heap_share();
        let resumed = fiber.resume();
        self.charge_heap(&task.process);
        let end = self.end_slice(vcpu, &task);
        self.switches.fetch_add(1, Ordering::Relaxed);
        match resumed {
            Resumed::Suspended => {
                *task.fiber.lock() = Some(fiber);
                if task.state.park() {
                    self.scheduler.enqueue(task);
                } else {
                    task.waits.fetch_add(1, Ordering::Relaxed);
                }
            }
            Resumed::Finished => {}
        }
        end
    }

    fn idle(&self, vcpu: VcpuId) {
        self.scheduler.set_idle(vcpu);
        self.poll_outside();
        if !self.scheduler.has_runnable(vcpu) && !self.is_over() {
            let start = self.now_ns();
            self.wait_outside(vcpu, start);
            self.idle_ns.fetch_add(self.now_ns().saturating_sub(start), Ordering::Relaxed);
        }
        self.scheduler.clear_idle(vcpu);
    }

    /// Waits for a timer or a device. If it takes long, memory is given back meanwhile, piece by piece, with a look outside
    /// after each.
    fn wait_outside(&self, vcpu: VcpuId, start: u64) {
        let ram = &self.services.ram;
        let timer = self.services.timers.next();
        let rest = Some(start.saturating_add(REST_NS))
            .filter(|rest| ram.dirty() > KEEP_BYTES && timer.is_none_or(|timer| timer > *rest));
        self.host.wait(vcpu, rest.or(timer));
        self.poll_outside();
        if rest.is_none_or(|rest| self.now_ns() < rest) {
            return;
        }
        while !self.scheduler.has_runnable(vcpu) && !self.is_over() && ram.discard_piece(KEEP_BYTES) {
            self.host.wait(vcpu, Some(start));
            self.poll_outside();
        }
    }

    /// Fires timers that are due and looks at the devices.
    pub(crate) fn poll_outside(&self) {
        self.services.timers.fire(self.now_ns());
        for device in self.devices().iter() {
            device.poll_device();
        }
    }
}
