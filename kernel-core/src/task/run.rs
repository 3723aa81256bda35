//! The task loop: run the guest, look at why it stopped, serve that, deliver signals, again.

use alloc::sync::Arc;
use core::cell::RefCell;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as sys;

use crate::arch::x86_64::{page_fault_error, syscall_args};
use crate::errno::EFAULT;
use crate::host::{Access, CallCode, Exit, Host, Space, Suspend, Trap, UserContext};
use crate::kernel::Kernel;
use crate::mm::fault::FaultError;
use crate::syscall::{Cx, SysError, SysResult, table};
use crate::task::Task;
use crate::task::process::ExitStatus;
use crate::task::siginfo::SigInfo;
use crate::task::signal::SIGKILL;
use crate::task::signal::deliver::Interrupted;
use crate::task::watched::NO_CALL;

/// The body of a task's fiber. Returns when the task ends, with the status of its own `exit`, if that was it.
pub(crate) fn run<H: Host>(
    kernel: &Arc<Kernel<H>>,
    task: &Arc<Task<H>>,
    context: &RefCell<UserContext>,
    suspend: &dyn Suspend,
) -> Option<ExitStatus> {
    while task.resources().is_some() {
        let Some(cx) = Cx::new(kernel, task, context, suspend) else { break };
        match cx.run_guest() {
            Next::Renew => {}
            Next::End => {
                cx.stop_before_exit();
                cx.before_exit();
                cx.leave_undo_list();
                cx.leave_files();
                break;
            }
        }
    }
    task.exit_status()
}

/// Why [`Cx::run_guest`] came back.
enum Next {
    /// The task's memory, files or directories were replaced: it needs a new [`Cx`].
    Renew,
    /// The task ends.
    End,
}

impl<H: Host> Cx<'_, H> {
    fn run_guest(&self) -> Next {
        loop {
            // First: after exec, a signal's frame belongs in the new memory.
            if self.task.take_stale() {
                return Next::Renew;
            }
            if self.task.needs_attention() {
                self.deliver_signals(None);
            }
            if self.task.is_leaving() {
                return Next::End;
            }
            self.task.set_call(NO_CALL);
            match self.enter_guest() {
                Exit::Syscall => self.serve_syscall(),
                Exit::Fault { addr, access } => self.serve_fault(addr, access),
                Exit::Trap(trap) => self.serve_trap(trap),
                Exit::Rewrite(at) => self.serve_rewrite(at),
                Exit::Rewritten(at) => self.serve_rewritten(at),
                Exit::Interrupted => self.serve_interrupt(),
                Exit::Died => self.task.process.end(ExitStatus::Signaled { signal: SIGKILL, core: false }),
            }
            if self.kernel.charge_heap(&self.task.process) {
                self.kernel.heap_is_full(self);
            }
        }
    }

    fn enter_guest(&self) -> Exit {
        if self.mm.is_dead() {
            // The host has not made a change: what is mapped is not what the kernel thinks.
            return Exit::Died;
        }
        let host = &self.kernel.host;
        let vcpu = self.task.vcpu();
        let timers = &self.task.process.timers;
        let nice = self.task.effective_nice();
        let mut deadline = self.kernel.guest_deadline(vcpu, nice, self.mm.space());
        if timers.cpu.is_armed() {
            // Nothing else may end a computation that these timers are to end.
            let slice = self.kernel.now_ns().saturating_add(nice.time_slice_ns());
            deadline = Some(deadline.map_or(slice, |deadline| deadline.min(slice)));
        }
        let mut context = self.context.borrow_mut();
        let run = || host.run(vcpu, self.mm.space(), &mut context, deadline);
        let exit = self.kernel.account(vcpu).in_guest(|| host.ticks(), run);
        drop(context);
        if timers.cpu.is_armed() {
            let (user_ns, system_ns) = self.cpu_ns();
            timers.check_cpu(user_ns, user_ns.saturating_add(system_ns));
        }
        exit
    }

    fn serve_syscall(&self) {
        let watch = self.task.watch();
        if !watch.is_empty() {
            return self.serve_watched_call(watch);
        }
        let number = self.context.borrow().regs.rax;
        // As Linux, which takes 32 bits of what may be more.
        let result = self.make_call(u64::from(number as u32));
        self.finish_call(number, result);
    }

    /// Makes a call with the arguments that are in the registers.
    pub(super) fn make_call(&self, number: u64) -> SysResult {
        let args = syscall_args(&self.context.borrow().regs);
        self.mm.take_starved();
        let mut result = table::dispatch(self, number, &args);
        // As a fault of the guest itself, but from here the call is made again. Each round ends a process.
        while matches!(result, Err(SysError::Errno(EFAULT))) && self.mm.take_starved() {
            self.kernel.out_of_memory(self);
            if self.task.is_leaving() {
                break;
            }
            result = table::dispatch(self, number, &args);
        }
        result
    }

    /// Puts the result of a call into the registers; or has signals delivered first, which say what it is.
    pub(super) fn finish_call(&self, number: u64, result: SysResult) {
        match result {
            Ok(value) => self.context.borrow_mut().regs.rax = value,
            Err(SysError::Errno(errno)) => {
                self.context.borrow_mut().regs.rax = i64::from(-errno.code()) as u64;
            }
            Err(SysError::Restart(restart)) => self.deliver_signals(Some(Interrupted { number, restart })),
        }
    }

    fn serve_fault(&self, addr: u64, access: Access) {
        let rip = self.context.borrow().regs.rip;
        match self.mm.fault(addr, access, rip) {
            Ok(()) => {
                self.task.faults.fetch_add(1, Ordering::Relaxed);
            }
            Err(FaultError::Signal { signal, code }) => {
                self.kernel.note_fault(self, signal, addr);
                let is_mapped = FaultError::Signal { signal, code } == FaultError::FORBIDDEN;
                self.task.fault_error.store(page_fault_error(access, is_mapped, addr), Ordering::Relaxed);
                self.task.force(SigInfo::fault(signal, code, addr));
            }
            Err(FaultError::OutOfMemory | FaultError::Missed) => self.kernel.out_of_memory(self),
            Err(FaultError::Dead) => {
                self.task.process.end(ExitStatus::Signaled { signal: SIGKILL, core: false })
            }
        }
    }

    fn serve_trap(&self, trap: Trap) {
        if trap == Trap::Debug && self.end_step() && !self.task.is_traced() {
            // Whoever wanted the step is gone.
            return;
        }
        let rip = self.context.borrow().regs.rip;
        let (signal, code, addr) = match trap {
            Trap::Breakpoint => (sys::SIGTRAP, sys::SI_KERNEL as i32, 0),
            Trap::Debug => (sys::SIGTRAP, sys::TRAP_TRACE as i32, rip),
            Trap::InvalidOpcode => (sys::SIGILL, sys::ILL_ILLOPN as i32, rip),
            Trap::DivideError => (sys::SIGFPE, sys::FPE_INTDIV as i32, rip),
            Trap::FloatingPoint(code) => (sys::SIGFPE, code, rip),
            Trap::Overflow | Trap::GeneralProtection => (sys::SIGSEGV, sys::SI_KERNEL as i32, 0),
            Trap::AlignmentCheck => (sys::SIGBUS, sys::BUS_ADRALN as i32, 0),
        };
        self.task.force(SigInfo::fault(signal as u8, code, addr));
    }

    fn serve_rewrite(&self, at: u64) {
        if self.mm.rewrite(at) {
            self.context.borrow_mut().regs.rip = at;
        }
    }

    fn serve_rewritten(&self, at: u64) {
        if self.mm.is_rewritten(at) {
            self.context.borrow_mut().regs.rip = at + size_of::<CallCode>() as u64;
            self.serve_syscall();
        } else if !self.mm.is_restored(at) {
            self.serve_trap(Trap::InvalidOpcode);
        }
    }

    /// Whether others can run, and it has had its least turn.
    fn may_be_preempted(&self) -> bool {
        let (vcpu, space) = (self.task.vcpu(), self.mm.space());
        self.kernel.scheduler.has_runnable(vcpu)
            && (space.switch_cost_ns() == 0
                || self.kernel.now_ns() >= self.kernel.least_turn_end(vcpu, space))
    }

    /// A timer, a device, a signal from another vCPU, or the end of the time slice.
    fn serve_interrupt(&self) {
        self.kernel.poll_outside();
        if self.kernel.is_over() {
            // Whoever waits for this vCPU finds the instance over; the task never runs again.
            self.yield_now();
        } else if self.may_be_preempted() {
            self.task.preemptions.fetch_add(1, Ordering::Relaxed);
            self.yield_now();
            self.interrupt_rseq();
        }
    }
}
