//! Stacks of their own for signal handlers. sigaltstack(2).

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t, stack_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![it_is_used, rules, a_bad_one_kills, autodisarm];

static STACK_SEEN: AtomicUsize = AtomicUsize::new(0);
static FLAGS_SEEN: AtomicI32 = AtomicI32::new(-1);
static ERROR_SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn look_at_stack(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: structures live.
    unsafe {
        let mut now: stack_t = std::mem::zeroed();
        STACK_SEEN.store(&raw const now as usize, SeqCst);
        libc::sigaltstack(null(), &mut now);
        FLAGS_SEEN.store(now.ss_flags, SeqCst);
        let other = stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        if libc::sigaltstack(&other, null_mut()) == -1 {
            ERROR_SEEN.store(errno(), SeqCst);
        }
    }
}

unsafe fn it_is_used() -> Done {
    let base = memory(16 * PAGE)?;
    let stack = stack_t { ss_sp: base.cast(), ss_flags: 0, ss_size: 16 * PAGE };
    ok(libc::sigaltstack(&stack, null_mut()))?;
    on(libc::SIGUSR1, look_at_stack, libc::SA_ONSTACK)?;
    on(libc::SIGUSR2, look_at_stack, 0)?;
    ok(libc::raise(libc::SIGUSR1))?;
    let within = |at: usize| (base as usize..base as usize + 16 * PAGE).contains(&at);
    check(within(STACK_SEEN.load(SeqCst)), "the handler ran on it")?;
    eq(FLAGS_SEEN.load(SeqCst), libc::SS_ONSTACK)?;
    eq(ERROR_SEEN.load(SeqCst), libc::EPERM)?; // not while it is in use
    ok(libc::raise(libc::SIGUSR2))?;
    check(!within(STACK_SEEN.load(SeqCst)), "without SA_ONSTACK it is not")
}

unsafe fn rules() -> Done {
    let base = memory(16 * PAGE)?;
    let small = stack_t { ss_sp: base.cast(), ss_flags: 0, ss_size: 1024 };
    fails(libc::sigaltstack(&small, null_mut()), libc::ENOMEM)?;
    let odd = stack_t { ss_sp: base.cast(), ss_flags: 0x40, ss_size: 16 * PAGE };
    fails(libc::sigaltstack(&odd, null_mut()), libc::EINVAL)?;
    let good = stack_t { ss_sp: base.cast(), ss_flags: 0, ss_size: 16 * PAGE };
    ok(libc::sigaltstack(&good, null_mut()))?;
    let mut old: stack_t = std::mem::zeroed();
    let off = stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    ok(libc::sigaltstack(&off, &mut old))?;
    eq((old.ss_sp as usize, old.ss_size, old.ss_flags), (base as usize, 16 * PAGE, 0))?;
    ok(libc::sigaltstack(null(), &mut old))?;
    eq(old.ss_flags, libc::SS_DISABLE)
}

unsafe fn a_bad_one_kills() -> Done {
    let pid = spawn(|| {
        let bad = stack_t { ss_sp: 0x10_0000 as *mut c_void, ss_flags: 0, ss_size: 16 * PAGE };
        ok(libc::sigaltstack(&bad, null_mut()))?;
        on(libc::SIGUSR1, note, libc::SA_ONSTACK)?;
        on(libc::SIGSEGV, note, libc::SA_ONSTACK)?;
        ok(libc::raise(libc::SIGUSR1)).map(drop)
    })?;
    dies_of(pid, libc::SIGSEGV)
}

unsafe fn autodisarm() -> Done {
    const AUTODISARM: c_int = i32::MIN;
    let base = memory(16 * PAGE)?;
    let stack = stack_t { ss_sp: base.cast(), ss_flags: AUTODISARM, ss_size: 16 * PAGE };
    ok(libc::sigaltstack(&stack, null_mut()))?;
    on(libc::SIGUSR1, look_at_stack, libc::SA_ONSTACK)?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq(FLAGS_SEEN.load(SeqCst), libc::SS_DISABLE)?;
    eq(ERROR_SEEN.load(SeqCst), 0)?;
    let mut now: stack_t = std::mem::zeroed();
    ok(libc::sigaltstack(null(), &mut now))?;
    eq((now.ss_sp as usize, now.ss_flags), (base as usize, AUTODISARM))
}
