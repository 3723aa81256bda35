//! Threads: clone(2) with CLONE_THREAD, thread ids and pointers, the ends of threads and of their group.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use libc::{c_int, c_long, c_void};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    ids_of_a_thread,
    settid_is_there_before_clone_returns,
    cleartid_wakes_a_joiner,
    settls_gives_fs,
    fs_and_gs_base,
    memory_and_descriptors_are_shared,
    unshare_files_separates,
    leader_may_leave_first,
    last_thread_gives_the_status,
    exit_group_ends_all,
    exec_from_a_thread,
    fork_in_a_thread,
    tgkill_reaches_the_thread,
    tgkill_errors,
    process_signal_finds_a_thread,
    deadly_signal_ends_all,
    stop_stops_all,
    masks_are_per_thread,
    robust_list_marks_the_owner_dead,
    robust_list_size_is_checked,
    task_directory_lists_threads,
    many_threads_count,
    mutex_condvar_and_channel,
    raw_setuid_is_per_thread,
    wait_finds_children_of_other_threads,
    blocked_read_does_not_hold_others,
];

const FLAGS: c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

/// What threads and cases tell each other.
static WORD: AtomicI32 = AtomicI32::new(0);
static OTHER: AtomicI32 = AtomicI32::new(0);

type Body = extern "C" fn(*mut c_void) -> c_int;

/// A raw thread. It shares the thread-local storage of its maker, so its body keeps to system calls.
struct Thread {
    tid: c_int,
    alive: &'static AtomicI32,
}

unsafe fn start_with(flags: c_int, body: Body, arg: *mut c_void, tls: *mut c_void) -> Done<Thread> {
    let stack = memory(64 * PAGE)?.add(64 * PAGE);
    let word = memory(PAGE)?.cast::<c_int>();
    let tid = ok(libc::clone(body, stack.cast(), FLAGS | flags, arg, word, tls, word))?;
    Ok(Thread { tid, alive: AtomicI32::from_ptr(word) })
}

unsafe fn start(body: Body) -> Done<Thread> {
    start_with(0, body, null_mut(), null_mut())
}

impl Thread {
    /// Waits for its end as pthread_join does.
    #[track_caller]
    fn join(self) -> Done {
        let end = now_ms() + 3000;
        loop {
            let now = self.alive.load(SeqCst);
            if now == 0 {
                return Ok(());
            }
            if now_ms() > end {
                return fail("the thread did not end");
            }
            // SAFETY: the word is never unmapped.
            unsafe { libc::syscall(libc::SYS_futex, self.alive, libc::FUTEX_WAIT, now, &span(100)) };
        }
    }
}

unsafe fn gettid() -> c_int {
    libc::syscall(libc::SYS_gettid) as c_int
}

extern "C" fn take_ids(_: *mut c_void) -> c_int {
    // SAFETY: only asks.
    unsafe {
        WORD.store(gettid(), SeqCst);
        OTHER.store(libc::getpid(), SeqCst);
    }
    0
}

unsafe fn ids_of_a_thread() -> Done {
    let thread = start(take_ids)?;
    let tid = thread.tid;
    thread.join()?;
    eq(WORD.load(SeqCst), tid)?;
    check(tid != libc::getpid(), "a number of its own")?;
    eq(OTHER.load(SeqCst), libc::getpid())
}

extern "C" fn until_word(_: *mut c_void) -> c_int {
    while WORD.load(SeqCst) == 0 {
        sleep_ms(1);
    }
    0
}

unsafe fn settid_is_there_before_clone_returns() -> Done {
    let thread = start(until_word)?;
    eq(thread.alive.load(SeqCst), thread.tid)?;
    WORD.store(1, SeqCst);
    thread.join()
}

extern "C" fn nap(_: *mut c_void) -> c_int {
    sleep_ms(60);
    0
}

unsafe fn cleartid_wakes_a_joiner() -> Done {
    let thread = start(nap)?;
    let tid = thread.tid;
    let woken = libc::syscall(libc::SYS_futex, thread.alive, libc::FUTEX_WAIT, tid, &span(3000));
    if woken == -1 && errno() != libc::EAGAIN {
        return fail(name_of(errno()));
    }
    eq(thread.alive.load(SeqCst), 0)
}

extern "C" fn read_fs(arg: *mut c_void) -> c_int {
    // SAFETY: fs points at a page of the case's; `arg` at its second word.
    unsafe {
        let first: u64;
        std::arch::asm!("mov {}, fs:[0]", out(reg) first);
        *arg.cast::<u64>() = first;
    }
    0
}

unsafe fn settls_gives_fs() -> Done {
    let page = memory(PAGE)?.cast::<u64>();
    *page = 0x1234_5678;
    start_with(libc::CLONE_SETTLS, read_fs, page.add(1).cast(), page.cast())?.join()?;
    eq(*page.add(1), 0x1234_5678)
}

unsafe fn fs_and_gs_base() -> Done {
    const SET_GS: c_int = 0x1001;
    const SET_FS: c_int = 0x1002;
    const GET_FS: c_int = 0x1003;
    const GET_GS: c_int = 0x1004;
    let page = memory(PAGE)?.cast::<u64>();
    *page = 77;
    let (mut base, own): (u64, u64);
    base = 0;
    std::arch::asm!("mov {}, fs:[0]", out(reg) own);
    ok(libc::syscall(libc::SYS_arch_prctl, GET_FS, &mut base))?;
    eq(base, own)?; // the thread control block starts with its own address
    ok(libc::syscall(libc::SYS_arch_prctl, SET_GS, page))?;
    let seen: u64;
    std::arch::asm!("mov {}, gs:[0]", out(reg) seen);
    eq(seen, 77)?;
    sleep_ms(5);
    ok(libc::syscall(libc::SYS_arch_prctl, GET_GS, &mut base))?;
    eq(base, page as u64)?;
    fails(libc::syscall(libc::SYS_arch_prctl, SET_FS, 1u64 << 63), libc::EPERM)?;
    fails(libc::syscall(libc::SYS_arch_prctl, 0x9999, 0), libc::EINVAL)
}

extern "C" fn close_and_chdir(arg: *mut c_void) -> c_int {
    // SAFETY: the number is a descriptor.
    unsafe {
        libc::syscall(libc::SYS_close, arg as c_long);
        libc::syscall(libc::SYS_chdir, c"/".as_ptr());
    }
    0
}

unsafe fn memory_and_descriptors_are_shared() -> Done {
    let fd = ok(libc::dup(2))?;
    start_with(0, close_and_chdir, fd as usize as *mut c_void, null_mut())?.join()?;
    fails(libc::fcntl(fd, libc::F_GETFD), libc::EBADF)?;
    eq(std::env::current_dir().unwrap_or_default().as_os_str(), "/")
}

extern "C" fn unshare_and_close(arg: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe {
        WORD.store(libc::syscall(libc::SYS_unshare, libc::CLONE_FILES) as c_int, SeqCst);
        libc::syscall(libc::SYS_close, arg as c_long);
    }
    0
}

unsafe fn unshare_files_separates() -> Done {
    let fd = ok(libc::dup(2))?;
    start_with(0, unshare_and_close, fd as usize as *mut c_void, null_mut())?.join()?;
    eq(WORD.load(SeqCst), 0)?;
    ok(libc::fcntl(fd, libc::F_GETFD)).map(drop)
}

extern "C" fn exit_group_late(_: *mut c_void) -> c_int {
    sleep_ms(300);
    // SAFETY: ends the process.
    unsafe { libc::syscall(libc::SYS_exit_group, 5) as c_int }
}

unsafe fn leader_may_leave_first() -> Done {
    let pid = spawn(|| {
        start(exit_group_late)?;
        libc::syscall(libc::SYS_exit, 3);
        Ok(())
    })?;
    sleep_ms(40);
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?; // it is no zombie to wait for yet
    eq(status(pid)?, 0x500)
}

extern "C" fn exit_late(_: *mut c_void) -> c_int {
    sleep_ms(50);
    4
}

unsafe fn last_thread_gives_the_status() -> Done {
    let pid = spawn(|| {
        start(exit_late)?;
        libc::syscall(libc::SYS_exit, 3);
        Ok(())
    })?;
    eq(status(pid)?, 0x400)
}

extern "C" fn forever(_: *mut c_void) -> c_int {
    loop {
        sleep_ms(1000);
    }
}

extern "C" fn spin(_: *mut c_void) -> c_int {
    loop {
        std::hint::spin_loop();
    }
}

unsafe fn exit_group_ends_all() -> Done {
    let pid = spawn(|| {
        start(forever)?;
        start(spin)?;
        sleep_ms(10);
        libc::syscall(libc::SYS_exit_group, 6);
        Ok(())
    })?;
    eq(status(pid)?, 0x600)
}

extern "C" fn exec_self(arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is a NULL-terminated list that lives.
    unsafe {
        let argv = arg.cast::<*const i8>();
        libc::execve(*argv, argv, argv.add(3))
    }
}

unsafe fn exec_from_a_thread() -> Done {
    let path = own_path();
    let argv = [path.as_ptr(), c"show".as_ptr(), c"ids".as_ptr(), null()];
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::dup2(w, 1))?;
        start(spin)?;
        start_with(0, exec_self, argv.as_ptr() as *mut c_void, null_mut())?;
        forever(null_mut());
        Ok(())
    })?;
    join(pid)?;
    let out = String::from_utf8_lossy(&get(r)?).into_owned();
    check(out.starts_with(&format!("{pid} ")), &out) // the thread became the leader
}

extern "C" fn fork_and_wait(_: *mut c_void) -> c_int {
    // SAFETY: raw calls only: the library's fork would touch what the leader uses.
    unsafe {
        let pid = libc::syscall(libc::SYS_fork);
        if pid == 0 {
            let alone = libc::syscall(libc::SYS_gettid) == libc::syscall(libc::SYS_getpid);
            libc::syscall(libc::SYS_exit_group, if alone { 8 } else { 1 });
        }
        let mut word: c_int = 0;
        libc::syscall(libc::SYS_wait4, pid, &mut word, 0, 0);
        WORD.store(word, SeqCst);
    }
    0
}

unsafe fn fork_in_a_thread() -> Done {
    start(fork_and_wait)?.join()?;
    eq(WORD.load(SeqCst), 0x800)
}

extern "C" fn who(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: only asks.
    WORD.store(unsafe { gettid() }, SeqCst);
}

unsafe fn tgkill_reaches_the_thread() -> Done {
    on(libc::SIGUSR1, who, 0)?;
    let thread = start(forever)?;
    ok(libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.tid, libc::SIGUSR1))?;
    soon("the handler runs", || WORD.load(SeqCst) != 0)?;
    eq(WORD.load(SeqCst), thread.tid)
}

unsafe fn tgkill_errors() -> Done {
    let thread = start(forever)?;
    let tgkill = |pid: c_int, tid: c_int, signal: c_int| libc::syscall(libc::SYS_tgkill, pid, tid, signal);
    fails(tgkill(libc::getpid(), 0, 0), libc::EINVAL)?;
    fails(tgkill(-1, thread.tid, 0), libc::EINVAL)?;
    fails(tgkill(libc::getppid(), thread.tid, 0), libc::ESRCH)?; // not of that group
    fails(tgkill(libc::getpid(), thread.tid, 65), libc::EINVAL)?;
    ok(libc::kill(thread.tid, 0))?; // kill takes any thread's number for its process
    ok(libc::syscall(libc::SYS_tkill, thread.tid, 0)).map(drop)
}

extern "C" fn unblock_and_wait(_: *mut c_void) -> c_int {
    let none = 0u64;
    // SAFETY: the mask lives.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &none, 0, 8) };
    OTHER.store(1, SeqCst);
    forever(null_mut())
}

unsafe fn process_signal_finds_a_thread() -> Done {
    on(libc::SIGUSR1, who, 0)?;
    block(&[libc::SIGUSR1])?;
    let thread = start(unblock_and_wait)?;
    soon("the thread is ready", || OTHER.load(SeqCst) == 1)?;
    ok(libc::kill(libc::getpid(), libc::SIGUSR1))?;
    soon("the handler runs", || WORD.load(SeqCst) != 0)?;
    eq(WORD.load(SeqCst), thread.tid)
}

extern "C" fn kill_own(_: *mut c_void) -> c_int {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_tkill, gettid(), libc::SIGTERM) as c_int }
}

unsafe fn deadly_signal_ends_all() -> Done {
    let pid = spawn(|| {
        start(spin)?;
        start(kill_own)?;
        forever(null_mut());
        Ok(())
    })?;
    dies_of(pid, libc::SIGTERM)
}

extern "C" fn count_up(_: *mut c_void) -> c_int {
    loop {
        WORD.fetch_add(1, SeqCst);
    }
}

unsafe fn stop_stops_all() -> Done {
    let count = counter()?;
    let pid = spawn(|| {
        start(count_up)?;
        loop {
            count.store(WORD.load(SeqCst), SeqCst);
        }
    })?;
    soon("it counts", || count.load(SeqCst) > 0)?;
    ok(libc::kill(pid, libc::SIGSTOP))?;
    let mut word = 0;
    eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
    let before = count.load(SeqCst);
    sleep_ms(30);
    eq(count.load(SeqCst), before)?;
    ok(libc::kill(pid, libc::SIGCONT))?;
    soon("it counts again", || count.load(SeqCst) != before)?;
    end(pid)
}

extern "C" fn take_mask(_: *mut c_void) -> c_int {
    let (mut mask, all) = (0u64, u64::MAX);
    // SAFETY: both masks live.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, &mut mask, 8) };
    WORD.store(mask as c_int, SeqCst);
    0
}

unsafe fn masks_are_per_thread() -> Done {
    block(&[libc::SIGUSR2])?;
    start(take_mask)?.join()?;
    eq(WORD.load(SeqCst), 1 << (libc::SIGUSR2 - 1))?; // inherited
    let mut mine = set(&[]);
    ok(libc::sigprocmask(libc::SIG_BLOCK, null(), &mut mine))?;
    eq(libc::sigismember(&mine, libc::SIGTERM), 0) // the thread's change is its own
}

/// The layout of `struct robust_list_head`.
#[repr(C)]
struct RobustHead {
    list: *mut c_void,
    futex_offset: c_long,
    pending: *mut c_void,
}

extern "C" fn die_holding(arg: *mut c_void) -> c_int {
    // SAFETY: the head lives in a page of the case's: next to it an entry that points back, then the futex word.
    unsafe {
        let head = arg.cast::<RobustHead>();
        let entry = arg.cast::<u8>().add(64).cast::<*mut c_void>();
        *entry = head.cast();
        *head = RobustHead { list: entry.cast(), futex_offset: 8, pending: null_mut() };
        *entry.add(1).cast::<u32>() = gettid() as u32 | libc::FUTEX_WAITERS;
        libc::syscall(libc::SYS_set_robust_list, head, 24);
    }
    0
}

unsafe fn robust_list_marks_the_owner_dead() -> Done {
    let page = memory(PAGE)?;
    start_with(0, die_holding, page.cast(), null_mut())?.join()?;
    eq(*page.add(72).cast::<u32>(), libc::FUTEX_OWNER_DIED | libc::FUTEX_WAITERS)
}

unsafe fn robust_list_size_is_checked() -> Done {
    let page = memory(PAGE)?;
    fails(libc::syscall(libc::SYS_set_robust_list, page, 16), libc::EINVAL)?;
    ok(libc::syscall(libc::SYS_set_robust_list, page, 24))?;
    let (mut head, mut len) = (0usize, 0usize);
    ok(libc::syscall(libc::SYS_get_robust_list, 0, &mut head, &mut len))?;
    eq((head, len), (page as usize, 24))?;
    ok(libc::syscall(libc::SYS_set_robust_list, 0, 24)).map(drop)
}

unsafe fn task_directory_lists_threads() -> Done {
    let thread = start(forever)?;
    let Ok(list) = std::fs::read_dir("/proc/self/task") else { return skip("no /proc") };
    let mut seen: Vec<String> =
        list.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    let mut want = vec![libc::getpid().to_string(), thread.tid.to_string()];
    seen.sort();
    want.sort();
    eq(seen, want)
}

extern "C" fn add_many(_: *mut c_void) -> c_int {
    for _ in 0..200 {
        WORD.fetch_add(1, SeqCst);
        // SAFETY: no arguments.
        unsafe { libc::syscall(libc::SYS_sched_yield) };
    }
    0
}

unsafe fn many_threads_count() -> Done {
    let threads: Vec<Thread> = (0..16).map(|_| start(add_many)).collect::<Done<_>>()?;
    for thread in threads {
        thread.join()?;
    }
    eq(WORD.load(SeqCst), 3200)
}

unsafe fn mutex_condvar_and_channel() -> Done {
    let (send, receive) = std::sync::mpsc::channel();
    let lock = std::sync::Arc::new((std::sync::Mutex::new(0), std::sync::Condvar::new()));
    let threads = (0..4).map(|i| {
        let (send, lock) = (send.clone(), lock.clone());
        std::thread::spawn(move || {
            let _ = send.send(i);
            if let Ok(mut count) = lock.0.lock() {
                *count += 1;
            }
            lock.1.notify_all();
        })
    });
    let threads: Vec<_> = threads.collect();
    drop(send);
    eq(receive.iter().sum::<i32>(), 6)?;
    let limit = std::time::Duration::from_secs(3);
    let Ok(count) = lock.0.lock() else { return fail("poisoned") };
    let waited = lock.1.wait_timeout_while(count, limit, |count| *count < 4);
    check(waited.is_ok_and(|(count, late)| *count == 4 && !late.timed_out()), "all four counted")?;
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

extern "C" fn become_other(_: *mut c_void) -> c_int {
    // SAFETY: no memory is involved.
    unsafe {
        libc::syscall(libc::SYS_setuid, 1000);
        WORD.store(libc::syscall(libc::SYS_getuid) as c_int, SeqCst);
    }
    0
}

unsafe fn raw_setuid_is_per_thread() -> Done {
    need_root()?;
    start(become_other)?.join()?;
    eq(WORD.load(SeqCst), 1000)?;
    eq(libc::getuid(), 0)
}

extern "C" fn fork_only(_: *mut c_void) -> c_int {
    // SAFETY: raw calls only.
    unsafe {
        let pid = libc::syscall(libc::SYS_fork);
        if pid == 0 {
            libc::syscall(libc::SYS_exit_group, 9);
        }
        WORD.store(pid as c_int, SeqCst);
    }
    forever(null_mut())
}

unsafe fn wait_finds_children_of_other_threads() -> Done {
    start(fork_only)?;
    soon("the other thread forks", || WORD.load(SeqCst) != 0)?;
    let (pid, mut word) = (WORD.load(SeqCst), 0);
    fails(libc::waitpid(pid, null_mut(), libc::__WNOTHREAD), libc::ECHILD)?;
    eq(libc::waitpid(pid, &mut word, 0), pid)?;
    eq(word, 0x900)
}

extern "C" fn read_one(arg: *mut c_void) -> c_int {
    let mut byte = 0u8;
    // SAFETY: the number is a descriptor, the byte lives.
    let n = unsafe { libc::syscall(libc::SYS_read, arg as c_long, &mut byte, 1) };
    WORD.store(n as c_int, SeqCst);
    0
}

unsafe fn blocked_read_does_not_hold_others() -> Done {
    let (r, w) = pipe()?;
    let thread = start_with(0, read_one, r as usize as *mut c_void, null_mut())?;
    asleep(thread.tid);
    eq(WORD.load(SeqCst), 0)?;
    put(w, b"x")?;
    thread.join()?;
    eq(WORD.load(SeqCst), 1)
}
