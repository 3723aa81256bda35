//! The whole kernel on FakeHost, with one vCPU and with two: guests are closures, see [`Guest`].

extern crate std;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(shuttle))]
use std::thread;
use std::time::Duration;

#[cfg(shuttle)]
use shuttle::thread;

use linux_raw_sys::general as sys;

use crate::block::testing::{Random, TestDisk};
use crate::boot::BootConfig;
use crate::boot::testing::{self, Segment};
use crate::debug::inspect::{self, AddressSpace, What};
use crate::host::block::BlockDevice;
use crate::host::fake::{FakeHost, FakeSpace, GuestMem};
use crate::host::{Exit, HostError, Registers, Space, VcpuId};
use crate::kernel::{Kernel, Shutdown};
use crate::task::process::ExitStatus;

/// Where the program of PID 1 starts.
const ENTRY: u64 = 0x40_1000;
/// Where its signal handler is.
const HANDLER: u64 = 0x40_1100;
/// Where handlers return to.
const RESTORER: u64 = 0x40_1200;

/// A system call: number and arguments.
pub type Call = (u32, [u64; 4]);

/// A guest program: given the number of calls made so far and the result of the last, the next call. The count is kept in
/// `rbx`, so a forked child goes on where its parent was.
pub fn guest(
    host: &FakeHost,
    step: impl Fn(u64, i64, &mut Registers, &dyn GuestMem) -> Result<Call, Exit> + Send + 'static,
) {
    host.program(ENTRY, move |ctx, mem| {
        let result = ctx.regs.rax as i64;
        let (number, args) = match step(ctx.regs.rbx, result, &mut ctx.regs, mem) {
            Ok(call) => call,
            Err(exit) => return exit,
        };
        ctx.regs.rbx += 1;
        [ctx.regs.rdi, ctx.regs.rsi, ctx.regs.rdx, ctx.regs.r10] = args;
        ctx.regs.rax = u64::from(number);
        Exit::Syscall
    });
    // A call that starts again finds `rip` two bytes back, and its number and arguments as they were.
    host.program(ENTRY - 2, |ctx, _| {
        ctx.regs.rip = ENTRY;
        Exit::Syscall
    });
}

/// PID 1's program.
fn init() -> Vec<u8> {
    testing::elf(ENTRY, &[Segment { flags: 5, offset: 0, addr: 0x40_0000, file_len: 0x2000, len: 0x2000 }])
}

/// Boots, runs all vCPUs until the end, and says how it ended.
pub fn run(host: &Arc<FakeHost>, vcpus: usize) -> Option<Shutdown> {
    run_watched(host, vcpus, |_| ())
}

/// As [`run`], while `watch` looks on.
fn run_watched(
    host: &Arc<FakeHost>,
    vcpus: usize,
    watch: impl FnOnce(&Arc<Kernel<FakeHost>>),
) -> Option<Shutdown> {
    boot_and_run(host, vcpus, watch).shutdown()
}

/// As [`run_watched`], and gives the kernel that has ended.
fn boot_and_run(
    host: &Arc<FakeHost>,
    vcpus: usize,
    watch: impl FnOnce(&Arc<Kernel<FakeHost>>),
) -> Arc<Kernel<FakeHost>> {
    let config = BootConfig { vcpus, ..testing::config(&[], init()) };
    let kernel = Kernel::boot(host.clone(), config).expect("it boots");
    thread::scope(|scope| {
        for vcpu in 0..vcpus {
            let kernel = &kernel;
            scope.spawn(move || kernel.run_vcpu(VcpuId(vcpu)));
        }
        watch(&kernel);
    });
    kernel
}

/// A machine that restarts leaves nothing of what ran on it.
#[test]
fn tasks_that_are_given_up_leave_nothing() {
    let host = FakeHost::new(1);
    guest(&host, |step, _, regs, mem| match step {
        0 => Ok((sys::__NR_fork, [0; 4])),
        1 => mem.write(regs.rsp - 8, &[1; 8]).map(|()| (sys::__NR_pause, [0; 4])),
        _ => Ok((sys::__NR_exit_group, [0; 4])),
    });
    let kernel = boot_and_run(&host, 1, |kernel| {
        let asleep = || inspect::processes(kernel).iter().filter(|process| process.state == b'S').count();
        while asleep() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        kernel.shut_down(Shutdown::Ended);
    });
    assert!(inspect::ram(&kernel).used > 0);
    kernel.give_up_tasks();
    assert_eq!((inspect::processes(&kernel).len(), inspect::ram(&kernel).used), (0, 0));
    let gone = Arc::downgrade(&kernel);
    drop(kernel);
    assert!(gone.upgrade().is_none());
}

pub fn exited(code: u8) -> Option<Shutdown> {
    Some(Shutdown::InitEnded(ExitStatus::Exited(code)))
}

#[test]
fn init_ends_the_instance() {
    let host = FakeHost::new(1);
    guest(&host, |step, result, _, _| match step {
        0 => Ok((sys::__NR_getpid, [0; 4])),
        _ => Ok((sys::__NR_exit_group, [40 + result as u64, 0, 0, 0])),
    });
    assert_eq!(run(&host, 1), exited(41));
}

#[test]
fn unknown_calls_are_enosys() {
    let host = FakeHost::new(1);
    guest(&host, |step, result, _, _| match step {
        0 => Ok((470, [u64::MAX; 4])),
        _ => Ok((sys::__NR_exit_group, [u64::from(result == -38), 0, 0, 0])),
    });
    assert_eq!(run(&host, 1), exited(1));
}

/// Children by the dozen, each of which gives its vCPU away a few times, on one vCPU and on two.
#[test]
fn children_are_forked_and_waited_for() {
    for vcpus in [1, 2] {
        let host = FakeHost::new(vcpus);
        // In `r12` the number of children; a child has 1 in `r13`.
        guest(&host, |_, result, regs, _| {
            const CHILDREN: u64 = 24;
            match (regs.r13, regs.r14) {
                (0, 0) => {
                    regs.r14 = 1;
                    Ok((sys::__NR_fork, [0; 4]))
                }
                (0, 1) if result == 0 => {
                    regs.r13 = 1;
                    Ok((sys::__NR_sched_yield, [0; 4]))
                }
                (0, 1) => {
                    assert!(result > 1, "fork gave {result}");
                    regs.r12 += 1;
                    if regs.r12 < CHILDREN {
                        return Ok((sys::__NR_fork, [0; 4]));
                    }
                    regs.r14 = 2;
                    Ok((sys::__NR_wait4, [u64::MAX, 0, 0, 0]))
                }
                (0, _) => {
                    if result == -10 {
                        return Ok((sys::__NR_exit_group, [regs.r15, 0, 0, 0]));
                    }
                    assert!(result > 1, "wait4 gave {result}");
                    regs.r15 += 1;
                    Ok((sys::__NR_wait4, [u64::MAX, 0, 0, 0]))
                }
                (yields, _) if yields < 5 => {
                    regs.r13 += 1;
                    Ok((sys::__NR_sched_yield, [0; 4]))
                }
                _ => Ok((sys::__NR_exit_group, [0; 4])),
            }
        });
        assert_eq!(run(&host, vcpus), exited(24), "{vcpus} vCPUs");
    }
}

/// A handler runs on a frame with the interrupted registers and goes back to them.
#[test]
fn a_handler_runs_and_returns() {
    let host = FakeHost::new(1);
    guest(&host, |step, result, regs, mem| {
        let scratch = regs.rsp - 4096;
        match step {
            0 => {
                for (index, word) in [HANDLER, 0x0400_0000, RESTORER, 0].into_iter().enumerate() {
                    mem.write_u64(scratch + 8 * index as u64, word)?;
                }
                Ok((sys::__NR_rt_sigaction, [10, scratch, 0, 8]))
            }
            1 => {
                assert_eq!(result, 0);
                Ok((sys::__NR_getpid, [0; 4]))
            }
            2 => {
                regs.r12 = 77;
                Ok((sys::__NR_kill, [result as u64, 10, 0, 0]))
            }
            _ => {
                assert_eq!((result, regs.r12), (0, 77), "as they were before the handler");
                Ok((sys::__NR_exit_group, [regs.r12, 0, 0, 0]))
            }
        }
    });
    host.program(HANDLER, |ctx, mem| {
        assert_eq!((ctx.regs.rdi, ctx.regs.rsp % 16), (10, 8));
        match mem.read_u64(ctx.regs.rsp) {
            Ok(back) => assert_eq!(back, RESTORER),
            Err(fault) => return fault,
        }
        ctx.regs.r12 = 1;
        ctx.regs.rsp += 8;
        ctx.regs.rax = u64::from(sys::__NR_rt_sigreturn);
        Exit::Syscall
    });
    assert_eq!(run(&host, 1), exited(77));
}

/// A guest that touches what is not its own gets SIGSEGV, and PID 1 is not spared.
#[test]
fn a_wild_access_is_a_signal() {
    let host = FakeHost::new(1);
    guest(&host, |_, _, _, mem| {
        mem.read_u64(0x1000)?;
        Ok((sys::__NR_exit_group, [0; 4]))
    });
    let ended = ExitStatus::Signaled { signal: 11, core: false };
    assert_eq!(run(&host, 1), Some(Shutdown::InitEnded(ended)));
}

/// The host losing a guest's address space is that guest's end alone.
#[test]
fn a_lost_space_kills_its_process() {
    let host = FakeHost::new(1);
    guest(&host, |step, result, regs, _| {
        if step == 0 {
            return Ok((sys::__NR_fork, [0; 4]));
        }
        if step == 1 && result == 0 {
            return Err(Exit::Died);
        }
        match step {
            1 => {
                regs.r12 = result as u64;
                Ok((sys::__NR_wait4, [regs.r12, 0, 0, 0]))
            }
            _ => Ok((sys::__NR_exit_group, [u64::from(result as u64 == regs.r12), 0, 0, 0])),
        }
    });
    assert_eq!(run(&host, 1), exited(1));
}

/// A child that makes the kernel grow beyond its limit is killed, and its parent is not.
#[test]
fn who_makes_the_kernel_too_large_is_killed() {
    let host = FakeHost::new(1);
    let heap = Arc::downgrade(&host);
    guest(&host, move |step, result, regs, _| match (step, result) {
        (0, _) => Ok((sys::__NR_fork, [0; 4])),
        (1, 0) => {
            if let Some(host) = heap.upgrade() {
                host.heap_bytes.store(1 << 30, Ordering::Relaxed);
            }
            Ok((sys::__NR_getpid, [0; 4]))
        }
        (1, _) => {
            regs.r12 = 1;
            Ok((sys::__NR_wait4, [u64::MAX, regs.rsp - 64, 0, 0]))
        }
        _ if regs.r12 == 1 => Ok((sys::__NR_exit_group, [u64::from(result == 2), 0, 0, 0])),
        _ => Ok((sys::__NR_exit_group, [0; 4])),
    });
    assert_eq!(run(&host, 1), exited(1));
}

/// What no process holds is refused while there is still memory for what processes hold.
#[test]
fn names_are_refused_before_the_kernel_is_too_large() {
    let host = FakeHost::new(1);
    let heap = Arc::downgrade(&host);
    guest(&host, move |step, result, regs, mem| {
        let becomes = |bytes| {
            if let Some(host) = heap.upgrade() {
                host.heap_bytes.store(bytes, Ordering::Relaxed);
            }
            Ok((sys::__NR_getpid, [0; 4]))
        };
        let make = (sys::__NR_mkdir, [regs.rsp - 64, 0o700, 0, 0]);
        match step {
            0 => mem.write(regs.rsp - 64, b"/d\0").and_then(|()| becomes(31 << 20)),
            1 => Ok(make),
            2 => {
                regs.r12 = u64::from(result == -28);
                becomes(0)
            }
            3 => Ok(make),
            _ => Ok((sys::__NR_exit_group, [regs.r12 + u64::from(result == 0), 0, 0, 0])),
        }
    });
    assert_eq!(run(&host, 1), exited(2));
}

/// A debugger sees a parent and its child asleep, each with a stack of its own.
#[test]
fn a_running_instance_can_be_inspected() {
    let host = FakeHost::new(1);
    guest(&host, |step, _, regs, mem| match step {
        0 => Ok((sys::__NR_fork, [0; 4])),
        1 => mem.write(regs.rsp - 8, &[1; 8]).map(|()| (sys::__NR_pause, [0; 4])),
        _ => Ok((sys::__NR_exit_group, [0; 4])),
    });
    let (mut seen, mut limits, mut used) = ((Vec::new(), Vec::new()), None, 0);
    run_watched(&host, 1, |kernel| {
        for _ in 0..10_000 {
            thread::sleep(Duration::from_millis(1));
            seen.0 = inspect::processes(kernel);
            if seen.0.iter().filter(|process| process.state == b'S').count() == 2 {
                break;
            }
        }
        seen.1 = [1, 2].iter().filter_map(|pid| inspect::address_space(kernel, *pid)).collect();
        limits = inspect::with_space(kernel, 1, Space::limits);
        used = inspect::ram(kernel).used;
        kernel.shut_down(Shutdown::Ended);
    });
    let ([parent, child], [ours, its]) = (&seen.0[..], &seen.1[..]) else { panic!("{seen:?}") };
    assert_eq!((parent.pid, parent.parent, &parent.threads[..]), (1, 0, &[1][..]));
    assert_eq!((child.pid, child.parent, &child.name[..]), (2, 1, &b"init"[..]));
    let frames = |space: &AddressSpace| -> BTreeSet<u64> {
        let resident = space.mappings.iter().filter(|mapping| mapping.what == What::Stack);
        let parts = resident.flat_map(|mapping| &mapping.resident);
        parts
            .flat_map(|part| (0..part.range.end - part.range.start).map(|at| part.phys.0 + at))
            .step_by(4096)
            .collect()
    };
    // Their program is not even read: all RAM in use is their two stacks.
    let (our_stack, its_stack) = (frames(ours), frames(its));
    assert_ne!(our_stack, its_stack);
    assert_eq!(used, our_stack.union(&its_stack).count() as u64 * 4096);
}

/// What was written to a disk, past any file system, lasts after `sync(2)`.
#[test]
fn sync_flushes_disks() {
    let host = FakeHost::new(1);
    let disk = Arc::new(TestDisk::empty(1 << 20));
    let (written, synced) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let is_written = written.clone();
    guest(&host, move |_, _, _, _| {
        let number = if !is_written.load(Ordering::SeqCst) {
            sys::__NR_sched_yield
        } else if synced.swap(true, Ordering::SeqCst) {
            sys::__NR_exit_group
        } else {
            sys::__NR_sync
        };
        Ok((number, [0; 4]))
    });
    run_watched(&host, 1, |kernel| {
        kernel.disks.add(0, disk.clone());
        disk.write(0, &[7; 512]).unwrap();
        written.store(true, Ordering::SeqCst);
    });
    assert_eq!(disk.after_cut(&mut Random::new(1))[..512], [7; 512]);
    assert_eq!(disk.changes(), 2);
}

/// What a program gives up goes back to the host while it sleeps.
#[test]
fn an_idle_vcpu_gives_memory_back() {
    const BYTES: u64 = 3 << 20;
    let host = FakeHost::new(1);
    guest(&host, |step, result, regs, _| match step {
        0 => Ok((sys::__NR_mmap, [0, BYTES, 3, 0x22])),
        1 => {
            regs.r12 = result as u64;
            Ok((sys::__NR_getrandom, [regs.r12, BYTES, 0, 0]))
        }
        2 => {
            assert_eq!(result as u64, BYTES);
            Ok((sys::__NR_munmap, [regs.r12, BYTES, 0, 0]))
        }
        3 => Ok((sys::__NR_poll, [0, 0, 1000, 0])),
        _ => Ok((sys::__NR_exit_group, [0; 4])),
    });
    let mut ram = None;
    let end = run_watched(&host, 1, |kernel| ram = Some(kernel.services.ram.clone()));
    assert_eq!(end, exited(0));
    let dirty = ram.unwrap().dirty();
    assert!(dirty < 2 << 20, "{dirty} bytes are kept");
}

/// The standard streams have hung up: that is nothing to who waits for exceptional conditions. If it woke him, he would not
/// sleep, and time would stand still.
#[test]
fn a_stream_that_hung_up_wakes_nobody_who_waits_for_something_else() {
    const PAGE: u64 = 0x1000_0000;
    let host = FakeHost::new(1);
    guest(&host, |step, result, regs, mem| match step {
        0 => Ok((sys::__NR_mmap, [PAGE, 0x1000, 3, 0x32])),
        1 => {
            // The set with descriptor 0, and a time of one second.
            mem.write_u64(PAGE, 1)?;
            mem.write_u64(PAGE + 8, 1)?;
            mem.write_u64(PAGE + 16, 0)?;
            regs.r8 = PAGE + 8;
            Ok((sys::__NR_select, [1, 0, 0, PAGE]))
        }
        _ => Ok((sys::__NR_exit_group, [result as u64, 0, 0, 0])),
    });
    assert_eq!(run(&host, 1), exited(0));
}

/// The second step of `clone` that can fail for what the caller gave: nothing of the child may stay.
#[test]
fn a_child_that_does_not_come_about_leaves_nothing() {
    let host = FakeHost::new(1);
    guest(&host, |step, result, _, _| match step {
        // The descriptor cannot be told.
        0 => Ok((sys::__NR_clone, [sys::CLONE_PIDFD.into(), 0, 0, 0])),
        _ => Ok((sys::__NR_exit_group, [u64::from(result != -14), 0, 0, 0])),
    });
    let mut kernel = None;
    let end = run_watched(&host, 1, |it| kernel = Some(Arc::downgrade(it)));
    assert_eq!(end, exited(0));
    assert_eq!(kernel.map(|kernel| kernel.strong_count()), Some(0), "somebody still has the kernel");
}

/// What the host could not unmap is not to be used any more.
#[test]
fn a_process_whose_memory_is_not_what_it_should_be_ends() {
    const PAGE: u64 = 0x1000_0000;
    let host = FakeHost::new(1);
    let fails = Arc::new(AtomicBool::new(false));
    let seen = fails.clone();
    guest(&host, move |step, _, _, mem| match step {
        0 => Ok((sys::__NR_mmap, [PAGE, 0x1000, 3, 0x32])),
        1 => {
            mem.write_u64(PAGE, 1)?;
            while !seen.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Ok((sys::__NR_munmap, [PAGE, 0x1000, 0, 0]))
        }
        _ => Ok((sys::__NR_exit_group, [0; 4])),
    });
    let end = run_watched(&host, 1, |kernel| {
        let fail = |space: &FakeSpace| {
            (space.mapped_pages() != 0).then(|| space.fail_next_apply(HostError::OutOfMemory))
        };
        while inspect::with_space(kernel, 1, fail).flatten().is_none() {
            thread::yield_now();
        }
        fails.store(true, Ordering::SeqCst);
    });
    assert_eq!(end, Some(Shutdown::InitEnded(ExitStatus::Signaled { signal: 9, core: false })));
}
