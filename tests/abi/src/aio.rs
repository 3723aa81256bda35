//! Asynchronous I/O: `io_setup(2)`, `io_submit(2)`, `io_getevents(2)`.

use libc::{c_int, c_long, c_void};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    reads_and_writes,
    vectors_and_sync,
    setup_arguments,
    submit_arguments,
    some_are_submitted,
    eventfd_is_told,
    results_are_waited_for,
    a_full_context_takes_no_more,
    pipes_have_no_offset,
    cancel_finds_nothing,
    fork_has_no_contexts,
];

/// Which the libc crate has not for this machine.
const IO_PGETEVENTS: c_long = 333;

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FDSYNC: u16 = 3;
const PWRITEV: u16 = 8;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: c_int,
    buf: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: c_int,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Event {
    data: u64,
    request: u64,
    result: i64,
    result_2: i64,
}

/// A context that is destroyed when the test ends.
struct Context(u64);

impl Context {
    #[track_caller]
    fn new(count: c_int) -> Done<Context> {
        let mut id = 0u64;
        // SAFETY: `id` lives.
        if unsafe { libc::syscall(libc::SYS_io_setup, count, &mut id) } == -1 && errno() == libc::ENOSYS {
            return skip("no asynchronous I/O here");
        }
        check(id != 0, "an id")?;
        Ok(Context(id))
    }

    fn submit(&self, requests: &[*const Request]) -> c_long {
        // SAFETY: there are so many.
        unsafe { libc::syscall(libc::SYS_io_submit, self.0, requests.len(), requests.as_ptr()) }
    }

    fn get(&self, least: c_long, most: c_long, time: *const libc::timespec) -> (c_long, [Event; 8]) {
        let mut events = [Event::default(); 8];
        // SAFETY: no case asks for more than there is room for.
        let count =
            unsafe { libc::syscall(libc::SYS_io_getevents, self.0, least, most, events.as_mut_ptr(), time) };
        (count, events)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the page of the context is the kernel's.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

fn request(opcode: u16, fd: c_int, buf: *mut c_void, len: usize, offset: i64) -> Request {
    Request { data: 0x77, opcode, fd, buf: buf as u64, len: len as u64, offset, ..Request::default() }
}

unsafe fn reads_and_writes() -> Done {
    let context = Context::new(4)?;
    let fd = file(c"f", b"0123456789")?;
    let (mut a, mut b) = ([0u8; 4], *b"xyz");
    let read = request(PREAD, fd, a.as_mut_ptr().cast(), 4, 2);
    let write = request(PWRITE, fd, b.as_mut_ptr().cast(), 3, 8);
    eq(ok(context.submit(&[&read, &write]))?, 2)?;
    let (count, events) = context.get(2, 8, std::ptr::null());
    eq(ok(count)?, 2)?;
    let mut results = [events[0].result, events[1].result];
    results.sort_unstable();
    eq(results, [3, 4])?;
    check(events[..2].iter().all(|event| event.data == 0x77 && event.result_2 == 0), "data comes back")?;
    check(events[..2].iter().any(|event| event.request == &raw const read as u64), "so does the address")?;
    eq(&a, b"2345")?;
    eq(get(fd)?, b"01234567xyz".to_vec())
}

unsafe fn vectors_and_sync() -> Done {
    let context = Context::new(4)?;
    let fd = file(c"f", b"")?;
    let (mut a, mut b) = (*b"ab", *b"cd");
    let vectors = [
        libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 2 },
        libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 2 },
    ];
    let write = request(PWRITEV, fd, vectors.as_ptr() as *mut c_void, 2, 1);
    eq(ok(context.submit(&[&write]))?, 1)?;
    let (count, events) = context.get(1, 8, std::ptr::null());
    eq((ok(count)?, events[0].result), (1, 4))?;
    eq(get(fd)?, b"\0abcd".to_vec())?;
    let sync = request(FDSYNC, fd, std::ptr::null_mut(), 0, 0);
    eq(ok(context.submit(&[&sync]))?, 1)?;
    let (count, events) = context.get(1, 8, std::ptr::null());
    eq((ok(count)?, events[0].result), (1, 0))
}

unsafe fn setup_arguments() -> Done {
    let context = Context::new(1)?;
    let mut id = 0u64;
    let setup = |count: c_int, id: *mut u64| libc::syscall(libc::SYS_io_setup, count, id);
    fails(setup(0, &mut id), libc::EINVAL)?;
    fails(setup(1, std::ptr::dangling_mut::<u64>()), libc::EFAULT)?;
    fails(setup(0x4000_0000, &mut id), libc::EINVAL)
        .or_else(|_| fails(setup(0x0800_0000, &mut id), libc::EAGAIN))?;
    id = context.0;
    fails(setup(1, &mut id), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_io_destroy, 0x1000u64), libc::EINVAL)?;
    let gone = context.0;
    drop(context);
    fails(libc::syscall(libc::SYS_io_destroy, gone), libc::EINVAL)
}

unsafe fn submit_arguments() -> Done {
    let context = Context::new(4)?;
    let fd = file(c"f", b"x")?;
    let reader = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    let mut buf = [0u8; 4];
    let good = request(PREAD, fd, buf.as_mut_ptr().cast(), 4, 0);
    fails(context.submit(&[std::ptr::dangling::<Request>()]), libc::EFAULT)?;
    fails(context.submit(&[&Request { fd: -1, ..good }]), libc::EBADF)?;
    fails(context.submit(&[&Request { opcode: PWRITE, fd: reader, ..good }]), libc::EBADF)?;
    fails(context.submit(&[&Request { opcode: 99, ..good }]), libc::EINVAL)?;
    fails(context.submit(&[&Request { reserved: 1, ..good }]), libc::EINVAL)?;
    fails(context.submit(&[&Request { offset: -1, ..good }]), libc::EINVAL)?;
    fails(context.submit(&[&Request { flags: 1, eventfd: reader, ..good }]), libc::EINVAL)?;
    fails(context.submit(&[&Request { flags: 1, eventfd: -1, ..good }]), libc::EBADF)?;
    fails(libc::syscall(libc::SYS_io_submit, context.0, -1i64, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_io_submit, 0x1000u64, 1, &&good), libc::EINVAL)?;
    eq(ok(context.submit(&[]))?, 0)?;
    eq(context.get(0, 8, std::ptr::null()).0, 0)?;
    fails(context.get(3, 2, std::ptr::null()).0, libc::EINVAL)?;
    fails(context.get(-1, 2, std::ptr::null()).0, libc::EINVAL)
}

unsafe fn some_are_submitted() -> Done {
    let context = Context::new(4)?;
    let fd = file(c"f", b"x")?;
    let mut buf = [0u8; 4];
    let good = request(PREAD, fd, buf.as_mut_ptr().cast(), 4, 0);
    let bad = Request { fd: -1, ..good };
    eq(ok(context.submit(&[&good, &bad, &good]))?, 1)?;
    eq(context.get(1, 8, std::ptr::null()).0, 1)?;
    eq(context.get(0, 8, std::ptr::null()).0, 0)
}

unsafe fn eventfd_is_told() -> Done {
    let context = Context::new(4)?;
    let fd = file(c"f", b"x")?;
    let event = ok(libc::eventfd(0, libc::EFD_NONBLOCK))?;
    let mut buf = [0u8; 4];
    let one = Request { flags: 1, eventfd: event, ..request(PREAD, fd, buf.as_mut_ptr().cast(), 4, 0) };
    eq(ok(context.submit(&[&one, &one]))?, 2)?;
    soon("both are done", || {
        let mut fd = libc::pollfd { fd: event, events: libc::POLLIN, revents: 0 };
        libc::poll(&mut fd, 1, 0) == 1
    })?;
    eq(context.get(2, 8, std::ptr::null()).0, 2)?;
    eq(get(event)?, 2u64.to_ne_bytes().to_vec())
}

unsafe fn results_are_waited_for() -> Done {
    let context = Context::new(4)?;
    let begin = now_ms();
    eq(context.get(1, 8, &span(20)).0, 0)?;
    check(now_ms() - begin >= 20, "it waited")?;
    on(libc::SIGALRM, note, 0)?;
    let timer = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: 0, tv_usec: 20_000 },
    };
    ok(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()))?;
    fails(context.get(1, 8, std::ptr::null()).0, libc::EINTR)?;
    let mut events = [Event::default(); 1];
    let mut pget = |set: *const [u64; 2]| {
        libc::syscall(IO_PGETEVENTS, context.0, 1, 1, events.as_mut_ptr(), &span(10), set)
    };
    let mask = 1u64 << (libc::SIGALRM - 1);
    let set = [&raw const mask as u64, 8];
    ok(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()))?;
    eq(ok(pget(&set))?, 0)?;
    fails(pget(&[&raw const mask as u64, 4]), libc::EINVAL)
}

unsafe fn a_full_context_takes_no_more() -> Done {
    let context = Context::new(1)?;
    let fd = file(c"f", b"x")?;
    let mut buf = [0u8; 4];
    let one = request(PREAD, fd, buf.as_mut_ptr().cast(), 4, 0);
    let mut taken = 0;
    // How many more than asked for depends on the processors.
    while taken < 5000 && context.submit(&[&one]) == 1 {
        taken += 1;
    }
    eq(errno(), libc::EAGAIN)?;
    check((1..5000).contains(&taken), "at some time it is full")?;
    check(context.get(1, 8, std::ptr::null()).0 > 0, "there are results")?;
    eq(ok(context.submit(&[&one]))?, 1)
}

unsafe fn pipes_have_no_offset() -> Done {
    let context = Context::new(2)?;
    let (r, w) = pipe()?;
    put(w, b"hello")?;
    let mut buf = [0u8; 8];
    eq(ok(context.submit(&[&request(PREAD, r, buf.as_mut_ptr().cast(), 8, 0)]))?, 1)?;
    let (count, events) = context.get(1, 8, std::ptr::null());
    eq((count, events[0].result, &buf[..5]), (1, 5, &b"hello"[..]))?;
    let bad = request(PREAD, file(c"f", b"x")?, 8 as *mut c_void, 8, 0);
    eq(ok(context.submit(&[&bad]))?, 1)?;
    let (count, events) = context.get(1, 8, std::ptr::null());
    eq((count, events[0].result), (1, -i64::from(libc::EFAULT)))
}

unsafe fn cancel_finds_nothing() -> Done {
    let context = Context::new(1)?;
    let (one, mut event) = (Request::default(), Event::default());
    fails(libc::syscall(libc::SYS_io_cancel, context.0, &one, &mut event), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_io_cancel, context.0, 8, &mut event), libc::EFAULT)
}

unsafe fn fork_has_no_contexts() -> Done {
    let context = Context::new(1)?;
    in_child(|| fails(context.get(0, 1, std::ptr::null()).0, libc::EINVAL))
}
