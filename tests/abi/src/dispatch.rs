//! Calls that become signals as a byte says. prctl(2), PR_SET_SYSCALL_USER_DISPATCH.

use std::ptr::null_mut;
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

unsafe extern "C" fn note_call(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    SELECTOR.store(ALLOW, SeqCst);
    // Behind the address of the call: its number, and the architecture.
    let words = info.cast::<c_int>();
    for (seen, word) in SEEN.iter().zip([signal, (*info).si_code, (*info).si_errno, *words.add(6)]) {
        seen.store(word, SeqCst);
    }
}

unsafe fn handle() -> Done {
    let mut action: libc::sigaction = std::mem::zeroed();
    action.sa_sigaction = note_call as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    ok(libc::sigaction(libc::SIGSYS, &action, null_mut())).map(drop)
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
    handle()?;
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
    let pid = spawn(|| {
        handle()?;
        start()?;
        SELECTOR.store(7, SeqCst);
        libc::syscall(libc::SYS_getppid);
        Ok(())
    })?;
    let word = status(pid)?;
    if word == SKIPPED << 8 {
        return skip("not configured");
    }
    eq(word & 0x7f, libc::SIGSYS)?;
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
    handle()?;
    start()?;
    // A child is as if nobody had asked.
    let pid = libc::fork();
    if pid == 0 {
        SELECTOR.store(BLOCK, SeqCst);
        let free = libc::syscall(libc::SYS_getppid) != libc::SYS_getppid;
        libc::_exit(if free { 0 } else { 1 });
    }
    eq(status(pid)?, 0)
}
