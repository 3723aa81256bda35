//! A small instance on FakeHost with one program: PID 1 forks a child, which makes the calls of a script, and ends it if it
//! takes too long.

use std::sync::{Arc, Mutex, PoisonError};

use kernel_core::boot::testing::{self, Segment};
use kernel_core::boot::{BootConfig, BootError};
use kernel_core::host::fake::{FakeHost, GuestMem};
use kernel_core::host::{Exit, Registers, UserContext, VcpuId};
use kernel_core::kernel::{Kernel, TraceSink};
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, DATA_LEN};
use crate::invariants;
use crate::processor::Processor;

/// Where PID 1 is, and the child.
pub const INIT: u64 = 0x40_0800;
const CHILD: u64 = 0x40_0100;
/// How often PID 1 looks whether the child has ended, 10 ms apart, before it ends it.
const PATIENCE: u64 = 200;

/// What the child does.
pub trait Script: Send + 'static {
    /// Given the result of the last call (0 at first): the next one, or the end. With an error of `memory` it is asked again.
    fn next(&mut self, result: i64, memory: &dyn GuestMem) -> Result<Option<Call>, Exit>;
}

/// Calls one after the other, whatever becomes of them.
impl Script for std::vec::IntoIter<Call> {
    fn next(&mut self, _: i64, _: &dyn GuestMem) -> Result<Option<Call>, Exit> {
        Ok(Iterator::next(self))
    }
}

/// Folders that calls of all kinds want, and `files`.
pub fn config(files: &[(&str, u32, Vec<u8>)]) -> BootConfig {
    let folders = ["dev", "mnt", "proc", "sys", "tmp"].map(|name| (name, 0o040_755, Vec::new()));
    let files: Vec<_> = folders.into_iter().chain(files.iter().cloned()).collect();
    BootConfig { memory: 16 << 20, trace: trace(), ..testing::config(&files, program()) }
}

/// With `LODGER_FUZZ_TRACE`, what prints all calls: to see what an input does.
pub fn trace() -> Option<TraceSink> {
    std::env::var_os("LODGER_FUZZ_TRACE").map(|_| -> TraceSink { Arc::new(|line| eprintln!("{line}")) })
}

/// PID 1's program file.
pub fn program() -> Vec<u8> {
    let text = Segment { flags: 5, offset: 0, addr: 0x40_0000, file_len: 0x1000, len: 0x1000 };
    let data = Segment { flags: 6, offset: 0x1000, addr: DATA, file_len: 0, len: DATA_LEN };
    testing::elf(INIT, &[text, data])
}

/// Makes these calls.
pub fn run_calls(config: BootConfig, calls: Vec<Call>) {
    run(config, calls.into_iter());
}

/// Runs a script to its end, and looks at what must be true then.
pub fn run(config: BootConfig, script: impl Script) {
    let host = FakeHost::new(1);
    add_program(&host, INIT, |context, _| init(&mut context.regs));
    let child = Mutex::new(Child { script, state: State::Begin });
    add_program(&host, CHILD, move |context, memory| {
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        child.step(context, memory).unwrap_or_else(|exit| exit)
    });
    run_to_the_end(host, config);
}

/// Runs the programs of `host`. A root file system may be damaged.
pub fn run_to_the_end(host: Arc<FakeHost>, config: BootConfig) {
    match Kernel::boot(Arc::new(Processor(host)), config) {
        Ok(kernel) => {
            kernel.run_vcpu(VcpuId(0));
            if let Err(fault) = invariants::at_the_end(kernel) {
                panic!("{fault}");
            }
        }
        Err(BootError::Root(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// A program at `place`. Two bytes before, an interrupted call is made again.
pub fn add_program(
    host: &FakeHost,
    place: u64,
    program: impl FnMut(&mut UserContext, &dyn GuestMem) -> Exit + Send + 'static,
) {
    host.program(place, program);
    host.program(place - 2, move |context, _| {
        context.regs.rip = place;
        Exit::Syscall
    });
}

fn call(regs: &mut Registers, number: u32, args: [u64; 3]) -> Exit {
    regs.rax = number.into();
    [regs.rdi, regs.rsi, regs.rdx] = args;
    regs.r10 = 0;
    Exit::Syscall
}

/// In `rbx` it counts, in `r12` it knows what it did last.
fn init(regs: &mut Registers) -> Exit {
    const ECHILD: u64 = -(linux_raw_sys::errno::ECHILD as i64) as u64;
    const FORKED: u64 = 1;
    const WAITED: u64 = 2;
    let (last, result) = (core::mem::replace(&mut regs.r12, 0), regs.rax);
    if last == FORKED && result == 0 {
        regs.rip = CHILD;
        return Exit::Interrupted;
    }
    if last == WAITED && result == ECHILD {
        return call(regs, sys::__NR_exit_group, [0; 3]);
    }
    regs.rbx += 1;
    match regs.rbx {
        1 => {
            regs.r12 = FORKED;
            call(regs, sys::__NR_fork, [0; 3])
        }
        count if count < 2 * PATIENCE && count % 2 == 0 => {
            regs.r12 = WAITED;
            call(regs, sys::__NR_wait4, [u64::MAX, 0, sys::WNOHANG.into()])
        }
        count if count < 2 * PATIENCE => call(regs, sys::__NR_poll, [0, 0, 10]),
        count if count == 2 * PATIENCE => call(regs, sys::__NR_kill, [u64::MAX, 9, 0]),
        _ => {
            regs.r12 = WAITED;
            call(regs, sys::__NR_wait4, [u64::MAX, 0, 0])
        }
    }
}

enum State {
    Begin,
    /// What is stored is not all there yet.
    Storing(Call),
    Called,
}

struct Child<S> {
    script: S,
    state: State,
}

impl<S: Script> Child<S> {
    fn step(&mut self, context: &mut UserContext, memory: &dyn GuestMem) -> Result<Exit, Exit> {
        let result = if matches!(self.state, State::Begin) { 0 } else { context.regs.rax as i64 };
        if !matches!(self.state, State::Storing(_)) {
            let end = || Call::new(sys::__NR_exit_group, &[0]);
            self.state = State::Storing(self.script.next(result, memory)?.unwrap_or_else(end));
        }
        let State::Storing(call) = &self.state else { return Ok(Exit::Interrupted) };
        let exit = call.make(&mut context.regs, memory)?;
        self.state = State::Called;
        Ok(exit)
    }
}
