//! Pipes and named pipes. pipe(7), fifo(7).

use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    bytes_come_in_order,
    end_of_file_when_writers_are_gone,
    sigpipe_and_epipe,
    empty_nonblocking,
    full_nonblocking,
    small_writes_are_atomic,
    large_write_waits,
    size_can_be_set,
    fionread_counts,
    pipe2_flags,
    direction_is_kept,
    write_of_nothing,
    reader_wakes_writer,
    fifo_open_waits_for_the_other,
    fifo_nonblocking_open,
    fifo_read_write_does_not_wait,
    fork_keeps_pipe_open,
    reopened_through_proc,
    reopening_without_the_other_side_does_not_wait,
    splice_moves,
    tee_copies,
    packet_mode,
    many_writers,
];

unsafe fn nonblocking(fd: c_int) -> Done {
    ok(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK)).map(drop)
}

unsafe fn write(fd: c_int, len: usize) -> isize {
    libc::write(fd, vec![7u8; len].as_ptr().cast(), len)
}

unsafe fn bytes_come_in_order() -> Done {
    let (r, w) = pipe()?;
    put(w, b"one")?;
    put(w, b"two")?;
    let mut four = [0u8; 4];
    eq(ok(libc::read(r, four.as_mut_ptr().cast(), 4))?, 4)?;
    eq(&four, b"onet")?;
    eq(get(r)?, b"wo")
}

unsafe fn end_of_file_when_writers_are_gone() -> Done {
    let (r, w) = pipe()?;
    put(w, b"x")?;
    ok(libc::close(w))?;
    eq(get(r)?, b"x")?;
    eq(get(r)?, b"")?;
    eq(get(r)?, b"")
}

unsafe fn sigpipe_and_epipe() -> Done {
    let (r, w) = pipe()?;
    ok(libc::close(r))?;
    let pid = spawn(|| {
        write(w, 1);
        Ok(())
    })?;
    dies_of(pid, libc::SIGPIPE)?;
    on(libc::SIGPIPE, note, 0)?;
    fails(write(w, 1), libc::EPIPE)?;
    eq(SIGNALS.load(SeqCst), 1)
}

unsafe fn empty_nonblocking() -> Done {
    let (r, _w) = pipe()?;
    nonblocking(r)?;
    let mut byte = 0u8;
    fails(libc::read(r, (&raw mut byte).cast(), 1), libc::EAGAIN)
}

unsafe fn full_nonblocking() -> Done {
    let (r, w) = pipe()?;
    nonblocking(w)?;
    eq(write(w, 1 << 20), 65536)?;
    fails(write(w, 1), libc::EAGAIN)?;
    eq(get(r)?.len(), 65536)?;
    eq(write(w, 1), 1)
}

unsafe fn small_writes_are_atomic() -> Done {
    let (r, w) = pipe()?;
    nonblocking(w)?;
    eq(write(w, 65536 - 100), 65436)?;
    fails(write(w, 4096), libc::EAGAIN)?; // all of it or nothing
    let mut bytes = [0u8; 4096];
    eq(ok(libc::read(r, bytes.as_mut_ptr().cast(), 4096))?, 4096)?;
    eq(write(w, 4096), 4096)
}

unsafe fn large_write_waits() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| eq(write(w, 300_000), 300_000))?;
    ok(libc::close(w))?;
    let mut total = 0;
    loop {
        match get(r)?.len() {
            0 => break,
            n => total += n,
        }
    }
    eq(total, 300_000)?;
    join(pid)
}

unsafe fn size_can_be_set() -> Done {
    let (r, w) = pipe()?;
    eq(libc::fcntl(w, libc::F_GETPIPE_SZ), 65536)?;
    eq(libc::fcntl(r, libc::F_SETPIPE_SZ, 5000), 8192)?; // rounded up to a power of two of pages
    nonblocking(w)?;
    eq(write(w, 100_000), 8192)?;
    fails(libc::fcntl(w, libc::F_SETPIPE_SZ, 4096), libc::EBUSY)?;
    fails(libc::fcntl(w, libc::F_SETPIPE_SZ, -1), libc::EINVAL)?;
    fails(libc::fcntl(file(c"f", b"")?, libc::F_GETPIPE_SZ), libc::EBADF)
}

unsafe fn fionread_counts() -> Done {
    let ((r, w), mut n) = (pipe()?, 0 as c_int);
    put(w, b"hello")?;
    ok(libc::ioctl(r, libc::FIONREAD, &mut n))?;
    eq(n, 5)
}

unsafe fn pipe2_flags() -> Done {
    let mut ends = [0; 2];
    ok(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
    eq(libc::fcntl(ends[0], libc::F_GETFD), libc::FD_CLOEXEC)?;
    check(libc::fcntl(ends[1], libc::F_GETFL) & libc::O_NONBLOCK != 0, "nonblocking")?;
    fails(libc::pipe2(ends.as_mut_ptr(), libc::O_APPEND), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_pipe, 8usize), libc::EFAULT)
}

unsafe fn direction_is_kept() -> Done {
    let (r, w) = pipe()?;
    let mut byte = 0u8;
    fails(libc::read(w, (&raw mut byte).cast(), 1), libc::EBADF)?;
    fails(libc::write(r, (&raw mut byte).cast(), 1), libc::EBADF)
}

unsafe fn write_of_nothing() -> Done {
    let (r, w) = pipe()?;
    eq(write(w, 0), 0)?;
    nonblocking(r)?;
    let mut byte = 0u8;
    fails(libc::read(r, (&raw mut byte).cast(), 1), libc::EAGAIN)
}

unsafe fn reader_wakes_writer() -> Done {
    let (r, w) = pipe()?;
    eq(write(w, 65536), 65536)?;
    let pid = spawn(|| eq(write(w, 10), 10))?;
    asleep(pid);
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?;
    get(r)?;
    join(pid)
}

unsafe fn fifo_open_waits_for_the_other() -> Done {
    ok(libc::mkfifo(c"p".as_ptr(), 0o600))?;
    let pid = spawn(|| put(ok(libc::open(c"p".as_ptr(), libc::O_WRONLY))?, b"hi"))?;
    asleep(pid);
    let r = ok(libc::open(c"p".as_ptr(), libc::O_RDONLY))?;
    join(pid)?;
    eq(get(r)?, b"hi")?;
    eq(get(r)?, b"")
}

unsafe fn fifo_nonblocking_open() -> Done {
    ok(libc::mkfifo(c"p".as_ptr(), 0o600))?;
    fails(libc::open(c"p".as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK), libc::ENXIO)?;
    let r = ok(libc::open(c"p".as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK))?;
    eq(get(r)?, b"")?; // no writer: the end
    let w = ok(libc::open(c"p".as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK))?;
    let mut byte = 0u8;
    fails(libc::read(r, (&raw mut byte).cast(), 1), libc::EAGAIN)?;
    put(w, b"x")?;
    eq(get(r)?, b"x")
}

unsafe fn fifo_read_write_does_not_wait() -> Done {
    ok(libc::mkfifo(c"p".as_ptr(), 0o600))?;
    let fd = ok(libc::open(c"p".as_ptr(), libc::O_RDWR))?;
    put(fd, b"x")?;
    eq(get(fd)?, b"x")
}

unsafe fn fork_keeps_pipe_open() -> Done {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        sleep_ms(50);
        Ok(())
    })?;
    ok(libc::close(w))?;
    let begin = now_ms();
    eq(get(r)?, b"")?; // the end comes with the child's
    check(now_ms() - begin >= 10, "it waited for the last writer")?;
    join(pid)
}

unsafe fn reopened_through_proc() -> Done {
    let (r, w) = pipe()?;
    let path = std::ffi::CString::new(format!("/proc/self/fd/{w}")).unwrap_or_default();
    let again = ok(libc::open(path.as_ptr(), libc::O_WRONLY))?;
    ok(libc::close(w))?;
    put(again, b"x")?;
    eq(get(r)?, b"x")
}

unsafe fn reopening_without_the_other_side_does_not_wait() -> Done {
    let open = |fd: c_int, flags: c_int| {
        let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        ok(libc::open(path.as_ptr(), flags))
    };
    let (r, w) = pipe()?;
    put(w, b"x")?;
    ok(libc::close(w))?;
    let again = open(r, libc::O_RDONLY)?;
    eq(get(again)?, b"x")?;
    eq(get(again)?, b"")?;
    let (r, w) = pipe()?;
    ok(libc::close(r))?;
    libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    let again = open(w, libc::O_WRONLY | libc::O_NONBLOCK)?;
    fails(libc::write(again, c"x".as_ptr().cast(), 1), libc::EPIPE)
}

unsafe fn splice_moves() -> Done {
    let (fd, (r, w)) = (file(c"f", b"0123456789")?, pipe()?);
    let got = libc::splice(fd, null_mut(), w, null_mut(), 6, 0);
    if got == -1 && [libc::ENOSYS, libc::EINVAL].contains(&errno()) {
        return skip("no splice here");
    }
    eq(got, 6)?;
    let (mut offset, to) = (2i64, file(c"g", b"")?);
    eq(libc::splice(r, null_mut(), to, &mut offset, 100, 0), 6)?;
    eq(offset, 8)?;
    eq(get(to)?, b"\0\x00012345")?;
    fails(libc::splice(fd, null_mut(), to, null_mut(), 1, 0), libc::EINVAL)?; // no pipe among them
    fails(libc::splice(r, &mut offset, to, null_mut(), 1, 0), libc::ESPIPE)
}

unsafe fn tee_copies() -> Done {
    let ((r, w), (r2, w2)) = (pipe()?, pipe()?);
    put(w, b"hello")?;
    let got = libc::tee(r, w2, 100, 0);
    if got == -1 && [libc::ENOSYS, libc::EINVAL].contains(&errno()) {
        return skip("no tee here");
    }
    eq(got, 5)?;
    eq(get(r)?, b"hello")?;
    eq(get(r2)?, b"hello")
}

unsafe fn packet_mode() -> Done {
    let mut ends = [0; 2];
    if libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT) == -1 && errno() == libc::EINVAL {
        return skip("no packet mode here");
    }
    put(ends[1], b"one")?;
    put(ends[1], b"two")?;
    eq(get(ends[0])?, b"one")?;
    eq(get(ends[0])?, b"two")
}

unsafe fn many_writers() -> Done {
    let (r, w) = pipe()?;
    let pids: Vec<c_int> =
        (0..5u8).map(|i| spawn(move || (0..100).try_for_each(|_| put(w, &[i; 100])))).collect::<Done<_>>()?;
    ok(libc::close(w))?;
    let mut all = Vec::new();
    loop {
        let some = get(r)?;
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    eq(all.len(), 50_000)?;
    check(all.chunks(100).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])), "no write was torn")?;
    pids.into_iter().try_for_each(join)
}
