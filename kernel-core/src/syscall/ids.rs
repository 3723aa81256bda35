//! Processes, threads and groups by the numbers that a guest has for them: those of its PID namespace.
//!
//! The kernel's own numbers are those of the initial namespace. Every handler that takes a number from a guest or gives
//! it one goes through this.

use alloc::sync::Arc;

use crate::host::Host;
use crate::syscall::Cx;
use crate::task::{Process, Task};

impl<H: Host> Cx<'_, H> {
    /// The caller's number for what the kernel has as `pid`; 0 if it cannot see it.
    pub fn shown_pid(&self, pid: u32) -> u32 {
        self.task.process.pid_ns.shown(pid)
    }

    /// The kernel's number for the caller's `pid`; `None`: there is no such number.
    pub fn kernel_pid(&self, pid: u32) -> Option<u32> {
        self.task.process.pid_ns.outside(pid)
    }

    /// The process with this number, zombies among them.
    pub fn process_numbered(&self, pid: u32) -> Option<Arc<Process<H>>> {
        let pid = self.kernel_pid(pid)?;
        self.kernel.tree.lock().process(pid)
    }

    /// The thread with this number that has not ended.
    pub fn thread_numbered(&self, tid: u32) -> Option<Arc<Task<H>>> {
        let tid = self.kernel_pid(tid)?;
        self.kernel.tree.lock().thread(tid)
    }

    /// The process with this number, or the one of the thread with this number.
    pub fn process_of_number(&self, pid: u32) -> Option<Arc<Process<H>>> {
        let pid = self.kernel_pid(pid)?;
        let tree = self.kernel.tree.lock();
        tree.process(pid).or_else(|| tree.thread(pid).map(|task| task.process.clone()))
    }
}
