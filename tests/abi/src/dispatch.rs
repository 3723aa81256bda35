//! Calls that become signals as a byte says. prctl(2), PR_SET_SYSCALL_USER_DISPATCH.

use std::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};

use libc::{c_int, c_ulong, c_void};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    arguments_are_checked,
    a_blocked_call_is_a_signal,
    code_in_the_range_may_call,
    bad_bytes_end_the_process,
    children_are_free,
];

const OFF: c_ulong = 0;
const ON: c_ulong = 1;
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;
/// `si_code`.
const SYS_USER_DISPATCH: c_int = 2;
const SET: c_int = 59;

static SELECTOR: AtomicU8 = AtomicU8::new(ALLOW);
static SEEN: [AtomicI32; 4] = [const { AtomicI32::new(0) }; 4];

unsafe fn set(op: c_ulong, offset: c_ulong, len: c_ulong, selector: *const AtomicU8) -> c_int {
    libc::prctl(SET, op, offset, len, selector)
}

unsafe fn start() -> Done {
    if set(ON, 0, 0, &SELECTOR) == -1 {
        return skip("not configured");
    }
    Ok(())
}

extern "C" fn note_call(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    SELECTOR.store(ALLOW, SeqCst);
    // SAFETY: the kernel passes a whole siginfo. Behind the address of the call is its number.
    let words = unsafe { std::slice::from_raw_parts(info.cast::<c_int>(), 7) };
    for (seen, at) in SEEN.iter().zip([0, 2, 1, 6]) {
        seen.store(words[at], SeqCst);
    }
}

unsafe fn arguments_are_checked() -> Done {
    start()?;
    let none = std::ptr::null();
    fails(set(9, 0, 0, none), libc::EINVAL)?;
    fails(set(OFF, 1, 0, none), libc::EINVAL)?;
    fails(set(OFF, 0, 1, none), libc::EINVAL)?;
    fails(set(OFF, 0, 0, &SELECTOR), libc::EINVAL)?;
    fails(set(ON, 1, 0, &SELECTOR), libc::EINVAL)?;
    fails(set(ON, c_ulong::MAX, 1, &SELECTOR), libc::EINVAL)?;
    fails(set(ON, 1, c_ulong::MAX, &SELECTOR), libc::EINVAL)?;
    fails(set(ON, 0, 1, c_ulong::MAX as *const AtomicU8), libc::EFAULT)?;
    ok(set(OFF, 0, 0, none)).map(drop)
}

unsafe fn a_blocked_call_is_a_signal() -> Done {
    on(libc::SIGSYS, note_call, 0)?;
    start()?;
    let number = 0xff00;
    fails(libc::syscall(number), libc::ENOSYS)?;
    SELECTOR.store(BLOCK, SeqCst);
    // The result is what the registers had: the number.
    let result = libc::syscall(number);
    eq(result, number)?;
    let seen: Vec<c_int> = SEEN.iter().map(|word| word.load(SeqCst)).collect();
    eq(seen, [libc::SIGSYS, SYS_USER_DISPATCH, 0, number as c_int])?;
    // A call that there is is not made.
    SELECTOR.store(BLOCK, SeqCst);
    eq(libc::syscall(libc::SYS_getppid), libc::SYS_getppid)?;
    ok(set(OFF, 0, 0, std::ptr::null()))?;
    SELECTOR.store(BLOCK, SeqCst);
    check(libc::syscall(libc::SYS_getppid) != libc::SYS_getppid, "no longer")
}

unsafe fn code_in_the_range_may_call() -> Done {
    start()?;
    ok(set(ON, 0, c_ulong::MAX, &SELECTOR))?;
    SELECTOR.store(BLOCK, SeqCst);
    let pid = libc::syscall(libc::SYS_getpid);
    SELECTOR.store(ALLOW, SeqCst);
    check(pid > 0 && pid != libc::SYS_getpid, "it may")
}

unsafe fn bad_bytes_end_the_process() -> Done {
    start()?;
    let pid = spawn(|| {
        on(libc::SIGSYS, note_call, 0)?;
        start()?;
        SELECTOR.store(7, SeqCst);
        libc::syscall(libc::SYS_getppid);
        Ok(())
    })?;
    dies_of(pid, libc::SIGSYS)?;
    let pid = spawn(|| {
        let page = shared(PAGE)?;
        ok(set(ON, 0, 0, page.cast()))?;
        libc::munmap(page.cast(), PAGE);
        libc::syscall(libc::SYS_getppid);
        Ok(())
    })?;
    dies_of(pid, libc::SIGSEGV)
}

unsafe fn children_are_free() -> Done {
    on(libc::SIGSYS, note_call, 0)?;
    start()?;
    // A child is as if nobody had asked.
    in_child(|| {
        SELECTOR.store(BLOCK, SeqCst);
        check(libc::syscall(libc::SYS_getppid) != libc::SYS_getppid, "it is free")
    })
}
