//! POSIX message queues: `mq_overview(7)`.

use std::ffi::CString;

use libc::{c_char, c_int, c_long, c_uint, mq_attr};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    by_priority_then_age,
    open_checks,
    attributes_are_checked,
    message_sizes,
    access_modes,
    nonblocking_and_getsetattr,
    blocked_receiver_is_served,
    blocked_senders_in_order,
    time_limits,
    signals_restart_a_wait,
    poll_tells,
    notification,
    notification_ends_with_close,
    notification_arguments,
    unlinked_queue_lives_on,
    read_shows_the_queue,
    byte_limit,
    limits_in_proc,
    mounted_file_system,
];

/// A queue that is unlinked when the test ends.
struct Queue {
    fd: c_int,
    name: CString,
}

fn attr(messages: c_long, size: c_long) -> mq_attr {
    // SAFETY: zeros are an attribute.
    let mut attr: mq_attr = unsafe { std::mem::zeroed() };
    (attr.mq_maxmsg, attr.mq_msgsize) = (messages, size);
    attr
}

/// As the kernel has it: a name without a slash.
unsafe fn open(name: *const c_char, flags: c_int, mode: c_uint, attr: *const mq_attr) -> c_int {
    libc::syscall(libc::SYS_mq_open, name, flags, mode, attr) as c_int
}

unsafe fn timed_send(fd: c_int, text: &[u8], priority: c_uint, time: *const libc::timespec) -> c_int {
    libc::syscall(libc::SYS_mq_timedsend, fd, text.as_ptr(), text.len(), priority, time) as c_int
}

unsafe fn timed_receive(
    fd: c_int,
    buffer: &mut [u8],
    priority: *mut c_uint,
    time: *const libc::timespec,
) -> c_int {
    libc::syscall(libc::SYS_mq_timedreceive, fd, buffer.as_mut_ptr(), buffer.len(), priority, time) as c_int
}

/// A point of the real-time clock so far from now.
fn at(ms: i64) -> libc::timespec {
    let mut now = span(0);
    // SAFETY: `now` lives.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    let ns = now.tv_nsec + ms % 1000 * 1_000_000;
    libc::timespec { tv_sec: now.tv_sec + ms / 1000 + ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

impl Queue {
    #[track_caller]
    fn new(messages: c_long, size: c_long) -> Done<Queue> {
        // SAFETY: name and attributes live.
        unsafe {
            let name = CString::new(format!("abi-{}-{}", libc::getpid(), now_ms())).unwrap_or_default();
            let fd = open(
                name.as_ptr(),
                libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
                0o600,
                &attr(messages, size),
            );
            Ok(Queue { fd: ok(fd)?, name })
        }
    }

    fn send(&self, text: &[u8], priority: c_uint) -> c_int {
        // SAFETY: the text lives.
        unsafe { timed_send(self.fd, text, priority, std::ptr::null()) }
    }

    #[track_caller]
    fn expect(&self, text: &[u8], priority: c_uint) -> Done {
        let (mut buffer, mut got) = ([0u8; 64], 0);
        // SAFETY: the buffers live.
        let n = ok(unsafe { timed_receive(self.fd, &mut buffer, &mut got, std::ptr::null()) })?;
        eq((&buffer[..n as usize], got), (text, priority))
    }

    #[track_caller]
    fn attributes(&self, new: *const mq_attr) -> Done<mq_attr> {
        let mut old = attr(0, 0);
        // SAFETY: both structures live.
        ok(unsafe { libc::syscall(libc::SYS_mq_getsetattr, self.fd, new, &mut old) })?;
        Ok(old)
    }

    #[track_caller]
    fn set_nonblocking(&self) -> Done {
        let mut new = attr(0, 0);
        new.mq_flags = libc::O_NONBLOCK.into();
        self.attributes(&new).map(drop)
    }

    fn notify(&self, event: *const libc::sigevent) -> c_int {
        // SAFETY: the event lives.
        unsafe { libc::syscall(libc::SYS_mq_notify, self.fd, event) as c_int }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the name lives.
        unsafe { libc::syscall(libc::SYS_mq_unlink, self.name.as_ptr()) };
    }
}

unsafe fn by_priority_then_age() -> Done {
    let queue = Queue::new(5, 64)?;
    for (text, priority) in [(b"a", 1), (b"b", 9), (b"c", 1), (b"d", 32767)] {
        ok(queue.send(text, priority))?;
    }
    eq(queue.attributes(std::ptr::null())?.mq_curmsgs, 4)?;
    for (text, priority) in [(b"d", 32767), (b"b", 9), (b"a", 1), (b"c", 1)] {
        queue.expect(text, priority)?;
    }
    fails(queue.send(b"e", 32768), libc::EINVAL)
}

unsafe fn open_checks() -> Done {
    let queue = Queue::new(1, 8)?;
    let name = queue.name.as_ptr();
    let exclusive = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    fails(open(name, exclusive, 0o600, std::ptr::null()), libc::EEXIST)?;
    let again = ok(open(name, libc::O_RDONLY | libc::O_CREAT, 0o600, std::ptr::null()))?;
    eq(ok(libc::fcntl(again, libc::F_GETFD))?, libc::FD_CLOEXEC)?;
    fails(open(c"abi-is-not-there".as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::ENOENT)?;
    fails(open(c"".as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::ENOENT)?;
    fails(open(c"/slash".as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::EACCES)?;
    fails(open(c"..".as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::EACCES)?;
    let long = CString::new("x".repeat(256)).unwrap_or_default();
    fails(open(long.as_ptr(), exclusive, 0o600, std::ptr::null()), libc::ENAMETOOLONG)?;
    fails(open(8 as *const c_char, libc::O_RDWR, 0, std::ptr::null()), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_mq_unlink, c"abi-is-not-there".as_ptr()), libc::ENOENT)?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstat(queue.fd, &mut stat))?;
    eq((stat.st_mode, stat.st_size, stat.st_nlink), (libc::S_IFREG | 0o600, 80, 1))
}

unsafe fn attributes_are_checked() -> Done {
    let make = |messages, size| {
        open(c"abi-bad".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, &attr(messages, size))
    };
    fails(make(0, 8), libc::EINVAL)?;
    fails(make(8, 0), libc::EINVAL)?;
    fails(make(-1, 8), libc::EINVAL)?;
    fails(make(1 << 20, 8), libc::EINVAL)?;
    in_child(|| {
        drop_root()?;
        fails(make(11, 8), libc::EINVAL)?;
        fails(make(1, 8193), libc::EINVAL)
    })
}

unsafe fn message_sizes() -> Done {
    let queue = Queue::new(2, 8)?;
    fails(queue.send(b"123456789", 0), libc::EMSGSIZE)?;
    ok(queue.send(b"", 0))?;
    fails(timed_receive(queue.fd, &mut [0; 7], std::ptr::null_mut(), std::ptr::null()), libc::EMSGSIZE)?;
    queue.expect(b"", 0)?;
    fails(libc::syscall(libc::SYS_mq_timedsend, queue.fd, 8, 4usize, 0, 0), libc::EFAULT)?;
    fails(timed_send(pipe()?.1, b"x", 0, std::ptr::null()), libc::EBADF)?;
    fails(timed_send(-1, b"x", 0, std::ptr::null()), libc::EBADF)
}

unsafe fn access_modes() -> Done {
    let queue = Queue::new(2, 8)?;
    let reader = ok(open(queue.name.as_ptr(), libc::O_RDONLY, 0, std::ptr::null()))?;
    let writer = ok(open(queue.name.as_ptr(), libc::O_WRONLY, 0, std::ptr::null()))?;
    fails(timed_send(reader, b"x", 0, std::ptr::null()), libc::EBADF)?;
    fails(timed_receive(writer, &mut [0; 8], std::ptr::null_mut(), std::ptr::null()), libc::EBADF)?;
    need_root()?;
    in_child(|| {
        drop_root()?;
        fails(open(queue.name.as_ptr(), libc::O_RDONLY, 0, std::ptr::null()), libc::EACCES)?;
        let unlinked = libc::syscall(libc::SYS_mq_unlink, queue.name.as_ptr());
        if unlinked == -1 && errno() == libc::EACCES {
            return skip("the directory of queues is not open to all");
        }
        fails(unlinked, libc::EPERM)
    })
}

unsafe fn nonblocking_and_getsetattr() -> Done {
    let queue = Queue::new(1, 8)?;
    let mut bad = attr(0, 0);
    bad.mq_flags = libc::O_APPEND.into();
    fails(libc::syscall(libc::SYS_mq_getsetattr, queue.fd, &bad, 0), libc::EINVAL)?;
    queue.set_nonblocking()?;
    let now = queue.attributes(std::ptr::null())?;
    eq((now.mq_flags, now.mq_maxmsg, now.mq_msgsize), (libc::O_NONBLOCK.into(), 1, 8))?;
    fails(timed_receive(queue.fd, &mut [0; 8], std::ptr::null_mut(), std::ptr::null()), libc::EAGAIN)?;
    ok(queue.send(b"x", 0))?;
    fails(queue.send(b"x", 0), libc::EAGAIN)?;
    queue.attributes(&attr(0, 0))?;
    eq(queue.attributes(std::ptr::null())?.mq_flags, 0)
}

unsafe fn blocked_receiver_is_served() -> Done {
    let queue = Queue::new(1, 8)?;
    let child = spawn(|| queue.expect(b"hello", 3))?;
    asleep(child);
    ok(queue.send(b"hello", 3))?;
    join(child)
}

unsafe fn blocked_senders_in_order() -> Done {
    let queue = Queue::new(1, 8)?;
    ok(queue.send(b"first", 0))?;
    let one = spawn(|| ok(queue.send(b"second", 0)).map(drop))?;
    asleep(one);
    let two = spawn(|| ok(queue.send(b"third", 7)).map(drop))?;
    asleep(two);
    queue.expect(b"first", 0)?;
    join(one)?;
    queue.expect(b"second", 0)?;
    join(two)?;
    queue.expect(b"third", 7)
}

unsafe fn time_limits() -> Done {
    let queue = Queue::new(1, 8)?;
    let receive = |time: &libc::timespec| timed_receive(queue.fd, &mut [0; 8], std::ptr::null_mut(), time);
    let begin = now_ms();
    fails(receive(&at(30)), libc::ETIMEDOUT)?;
    check(now_ms() - begin >= 25, "it waited")?;
    fails(receive(&libc::timespec { tv_sec: 1, tv_nsec: 0 }), libc::ETIMEDOUT)?;
    fails(receive(&libc::timespec { tv_sec: 1, tv_nsec: -1 }), libc::EINVAL)?;
    ok(queue.send(b"x", 0))?;
    fails(timed_send(queue.fd, b"y", 0, &at(10)), libc::ETIMEDOUT)?;
    // A time that is not needed counts only if it is bad.
    ok(receive(&libc::timespec { tv_sec: 1, tv_nsec: 0 })).map(drop)
}

unsafe fn signals_restart_a_wait() -> Done {
    let queue = Queue::new(1, 8)?;
    let interrupted = spawn(|| {
        on(libc::SIGUSR1, note, 0)?;
        fails(timed_receive(queue.fd, &mut [0; 8], std::ptr::null_mut(), std::ptr::null()), libc::EINTR)
    })?;
    asleep(interrupted);
    ok(libc::kill(interrupted, libc::SIGUSR1))?;
    join(interrupted)?;
    let restarted = spawn(|| {
        on(libc::SIGUSR1, note, libc::SA_RESTART)?;
        queue.expect(b"x", 0)
    })?;
    asleep(restarted);
    ok(libc::kill(restarted, libc::SIGUSR1))?;
    asleep(restarted);
    ok(queue.send(b"x", 0))?;
    join(restarted)
}

unsafe fn poll_tells() -> Done {
    let queue = Queue::new(1, 8)?;
    let poll = |timeout| {
        let mut fd = libc::pollfd { fd: queue.fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        ok(libc::poll(&mut fd, 1, timeout))?;
        Ok::<_, Stop>(fd.revents)
    };
    eq(poll(0)?, libc::POLLOUT)?;
    ok(queue.send(b"x", 0))?;
    eq(poll(0)?, libc::POLLIN)?;
    queue.expect(b"x", 0)?;
    let child = spawn(|| {
        let mut fd = libc::pollfd { fd: queue.fd, events: libc::POLLIN, revents: 0 };
        eq(ok(libc::poll(&mut fd, 1, 3000))?, 1)
    })?;
    asleep(child);
    ok(queue.send(b"y", 0))?;
    join(child)
}

fn signal_event(signal: c_int, value: usize) -> libc::sigevent {
    // SAFETY: zeros are an event.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = value as *mut _;
    event
}

unsafe fn notification() -> Done {
    use std::sync::atomic::Ordering::SeqCst;
    let queue = Queue::new(4, 8)?;
    on(libc::SIGUSR1, note, libc::SA_RESTART)?;
    let event = signal_event(libc::SIGUSR1, 77);
    ok(queue.notify(&event))?;
    fails(queue.notify(&event), libc::EBUSY)?;
    in_child(|| fails(queue.notify(&event), libc::EBUSY))?;
    let sender = spawn(|| ok(queue.send(b"a", 0)).map(drop))?;
    join(sender)?;
    soon("the signal comes", || SIGNALS.load(SeqCst) == 1)?;
    eq((LAST_CODE.load(SeqCst), LAST_PID.load(SeqCst), LAST_VALUE.load(SeqCst)), (-3, sender, 77))?;
    // Once, and only for an empty queue.
    ok(queue.notify(&event))?;
    ok(queue.send(b"b", 0))?;
    eq(SIGNALS.load(SeqCst), 1)?;
    queue.expect(b"a", 0)?;
    queue.expect(b"b", 0)?;
    ok(queue.send(b"c", 0))?;
    eq(SIGNALS.load(SeqCst), 2)?;
    queue.expect(b"c", 0)?;
    ok(queue.send(b"d", 0))?;
    eq(SIGNALS.load(SeqCst), 2)?;
    queue.expect(b"d", 0)?;
    // Not if somebody waits for the message.
    ok(queue.notify(&event))?;
    let receiver = spawn(|| queue.expect(b"e", 0))?;
    asleep(receiver);
    ok(queue.send(b"e", 0))?;
    join(receiver)?;
    eq(SIGNALS.load(SeqCst), 2)?;
    ok(queue.notify(std::ptr::null()))?;
    ok(queue.send(b"f", 0))?;
    eq(SIGNALS.load(SeqCst), 2)
}

unsafe fn notification_ends_with_close() -> Done {
    let queue = Queue::new(1, 8)?;
    let event = signal_event(libc::SIGUSR1, 0);
    in_child(|| ok(queue.notify(&event)).map(drop))?;
    ok(queue.notify(&event))?;
    let other = ok(libc::dup(queue.fd))?;
    ok(libc::close(other))?;
    ok(queue.notify(&event)).map(drop)
}

unsafe fn notification_arguments() -> Done {
    let queue = Queue::new(1, 8)?;
    let mut event = signal_event(65, 0);
    fails(queue.notify(&event), libc::EINVAL)?;
    event.sigev_notify = 77;
    fails(queue.notify(&event), libc::EINVAL)?;
    event.sigev_notify = libc::SIGEV_THREAD;
    event.sigev_value.sival_ptr = memory(PAGE)?.cast();
    event.sigev_signo = pipe()?.0;
    fails(queue.notify(&event), libc::ENOTSOCK)?;
    event.sigev_signo = -1;
    fails(queue.notify(&event), libc::EBADF)?;
    event.sigev_signo = ok(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0))?;
    fails(queue.notify(&event), libc::EINVAL)?;
    event.sigev_notify = libc::SIGEV_NONE;
    ok(queue.notify(&event))?;
    fails(queue.notify(&event), libc::EBUSY)?;
    ok(queue.notify(std::ptr::null())).map(drop)
}

unsafe fn unlinked_queue_lives_on() -> Done {
    let queue = Queue::new(1, 8)?;
    ok(libc::syscall(libc::SYS_mq_unlink, queue.name.as_ptr()))?;
    fails(open(queue.name.as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::ENOENT)?;
    ok(queue.send(b"x", 0))?;
    queue.expect(b"x", 0)
}

unsafe fn read_shows_the_queue() -> Done {
    let queue = Queue::new(4, 8)?;
    ok(queue.send(b"abc", 0))?;
    ok(queue.notify(&signal_event(libc::SIGUSR1, 0)))?;
    let text = String::from_utf8_lossy(&get(queue.fd)?).into_owned();
    let pid = libc::getpid();
    eq(text, format!("QSIZE:{:<10} NOTIFY:{:<5} SIGNO:{:<5} NOTIFY_PID:{pid:<6}\n", 3, 0, libc::SIGUSR1))?;
    fails(libc::write(queue.fd, b"x".as_ptr().cast(), 1), libc::EINVAL)
}

unsafe fn byte_limit() -> Done {
    in_child(|| {
        drop_root()?;
        let limit = libc::rlimit { rlim_cur: 2000, rlim_max: 2000 };
        ok(libc::setrlimit(libc::RLIMIT_MSGQUEUE, &limit))?;
        let _small = Queue::new(1, 8)?;
        fails(open(c"abi-large".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, &attr(2, 1000)), libc::EMFILE)
    })
}

unsafe fn limits_in_proc() -> Done {
    for name in ["queues_max", "msg_max", "msgsize_max", "msg_default", "msgsize_default"] {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}"));
        check(text.is_ok_and(|text| text.trim().parse::<u64>().is_ok()), name)?;
    }
    Ok(())
}

unsafe fn mounted_file_system() -> Done {
    need_root()?;
    let queue = Queue::new(3, 8)?;
    if libc::unshare(libc::CLONE_NEWNS) == 0 {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        );
    }
    ok(libc::mkdir(c"mq".as_ptr(), 0o755))?;
    if libc::mount(c"none".as_ptr(), c"mq".as_ptr(), c"mqueue".as_ptr(), 0, std::ptr::null()) == -1 {
        return skip(format!("mqueue cannot be mounted: {}", name_of(errno())));
    }
    let name = queue.name.to_string_lossy().into_owned();
    let listed =
        std::fs::read_dir("mq").map(|entries| entries.flatten().any(|entry| *entry.file_name() == *name));
    check(listed.unwrap_or(false), "the queue is listed")?;
    ok(queue.send(b"four", 0))?;
    let text = std::fs::read_to_string(format!("mq/{name}")).unwrap_or_default();
    check(text.starts_with("QSIZE:4 "), &text)?;
    check(std::fs::write("mq/abi-made", b"").is_ok(), "a file can be made")?;
    let made = ok(open(c"abi-made".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK, 0, std::ptr::null()))?;
    ok(timed_send(made, b"x", 0, std::ptr::null()))?;
    check(std::fs::remove_file("mq/abi-made").is_ok(), "and removed")?;
    fails(open(c"abi-made".as_ptr(), libc::O_RDWR, 0, std::ptr::null()), libc::ENOENT)?;
    check(std::fs::create_dir("mq/d").is_err(), "there are no directories in it")?;
    ok(libc::umount(c"mq".as_ptr())).map(drop)
}
