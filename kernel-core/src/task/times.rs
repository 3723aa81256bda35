//! CPU time of the caller, up to now.

use core::sync::atomic::Ordering;

use crate::host::Host;
use crate::syscall::Cx;

impl<H: Host> Cx<'_, H> {
    /// CPU time of the calling thread in nanoseconds: in the guest, in the kernel.
    pub fn thread_cpu_ns(&self) -> (u64, u64) {
        let user = self.task.user_ns.load(Ordering::Relaxed);
        let system = self.task.system_ns.load(Ordering::Relaxed);
        // What was spent since a vCPU took it up is added when it suspends.
        let (since, user_then) = self.kernel.run_start(self.task.vcpu());
        let spent = self.kernel.services.clock.monotonic_ns().saturating_sub(since);
        (user, system + spent.saturating_sub(user.saturating_sub(user_then)))
    }

    /// CPU time of the calling process.
    pub fn cpu_ns(&self) -> (u64, u64) {
        let (user, system) = self.task.process.cpu_ns();
        let unaccounted = self.thread_cpu_ns().1.saturating_sub(self.task.system_ns.load(Ordering::Relaxed));
        (user, system + unaccounted)
    }
}
