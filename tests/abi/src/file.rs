//! Open files: offsets, appending, sizes, vectors, duplicates, copies, seals. read(2), lseek(2), fcntl(2).

use libc::{c_int, iovec};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    bad_descriptors,
    access_mode_is_kept,
    lseek_rules,
    seek_data_and_hole,
    what_is_allocated_is_a_hole,
    append_goes_to_the_end,
    holes_read_as_zero,
    truncate_rules,
    o_trunc_empties,
    pread_and_pwrite,
    readv_and_writev,
    vectors_are_checked,
    zero_length_calls,
    dup_shares_the_offset,
    dup2_and_dup3,
    cloexec_flags,
    getfl_and_setfl,
    fcntl_refuses,
    close_twice,
    close_range_closes,
    sendfile_copies,
    copy_file_range_copies,
    fallocate_rules,
    fsync_rules,
    memfd_seals,
    memfd_seals_and_mappings,
    tmpfile_can_be_linked,
    statx_tells,
    statfs_tells,
    directory_cannot_be_read,
    write_to_full,
    fionread_of_a_file,
    reads_of_devices,
    preadv2_flags,
    large_offsets,
    readahead_and_fadvise,
];

unsafe fn read_at(fd: c_int, len: usize, offset: i64) -> Done<Vec<u8>> {
    let mut buffer = vec![0u8; len];
    let n = ok(libc::pread(fd, buffer.as_mut_ptr().cast(), len, offset))?;
    buffer.truncate(n as usize);
    Ok(buffer)
}

unsafe fn size(fd: c_int) -> Done<i64> {
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::fstat(fd, &mut stat))?;
    Ok(stat.st_size)
}

unsafe fn bad_descriptors() -> Done {
    let mut byte = 0u8;
    for fd in [-1, 999, i32::MAX] {
        fails(libc::read(fd, (&raw mut byte).cast(), 1), libc::EBADF)?;
        fails(libc::write(fd, (&raw mut byte).cast(), 1), libc::EBADF)?;
        fails(libc::lseek(fd, 0, libc::SEEK_SET), libc::EBADF)?;
        fails(libc::dup(fd), libc::EBADF)?;
        fails(libc::fsync(fd), libc::EBADF)?;
    }
    fails(libc::read(-1, 8 as *mut libc::c_void, 1), libc::EBADF)
}

unsafe fn access_mode_is_kept() -> Done {
    ok(libc::close(file(c"f", b"x")?))?;
    let read = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    let write = ok(libc::open(c"f".as_ptr(), libc::O_WRONLY))?;
    let mut byte = 0u8;
    fails(libc::write(read, (&raw mut byte).cast(), 1), libc::EBADF)?;
    fails(libc::read(write, (&raw mut byte).cast(), 1), libc::EBADF)?;
    fails(libc::ftruncate(read, 0), libc::EINVAL)?;
    eq(libc::fcntl(write, libc::F_GETFL) & libc::O_ACCMODE, libc::O_WRONLY)
}

unsafe fn lseek_rules() -> Done {
    let fd = file(c"f", b"0123456789")?;
    eq(libc::lseek(fd, -3, libc::SEEK_END), 7)?;
    eq(libc::lseek(fd, -2, libc::SEEK_CUR), 5)?;
    fails(libc::lseek(fd, -6, libc::SEEK_CUR), libc::EINVAL)?;
    fails(libc::lseek(fd, 0, 9), libc::EINVAL)?;
    fails(libc::lseek(fd, i64::MAX, libc::SEEK_CUR), libc::EINVAL)?;
    eq(libc::lseek(fd, 100, libc::SEEK_SET), 100)?; // beyond the end is fine
    eq(get(fd)?, b"")?;
    let (r, _w) = pipe()?;
    fails(libc::lseek(r, 0, libc::SEEK_CUR), libc::ESPIPE)
}

unsafe fn seek_data_and_hole() -> Done {
    let fd = file(c"f", b"data")?;
    ok(libc::pwrite(fd, b"end".as_ptr().cast(), 3, 1 << 20))?;
    let total = (1 << 20) + 3;
    eq(libc::lseek(fd, 0, libc::SEEK_DATA), 0)?;
    let hole = ok(libc::lseek(fd, 0, libc::SEEK_HOLE))?;
    check(hole >= 4 && hole <= total, "a hole, or the end as one")?;
    fails(libc::lseek(fd, total, libc::SEEK_DATA), libc::ENXIO)?;
    fails(libc::lseek(fd, total, libc::SEEK_HOLE), libc::ENXIO)?;
    eq(libc::lseek(fd, total - 1, libc::SEEK_HOLE), total)
}

/// Of a file in memory. What is there only because it was asked for stays a hole until somebody writes to it.
unsafe fn what_is_allocated_is_a_hole() -> Done {
    const START: i64 = 1 << 20;
    let fd = ok(libc::memfd_create(c"m".as_ptr(), 0))?;
    ok(libc::fallocate(fd, 0, START, 0x10000))?;
    fails(libc::lseek(fd, 0, libc::SEEK_DATA), libc::ENXIO)?;
    eq(libc::lseek(fd, START + 5, libc::SEEK_HOLE), START + 5)?;
    let mut bytes = [1u8; 8];
    eq(libc::pread(fd, bytes.as_mut_ptr().cast(), 8, START), 8)?;
    eq(bytes, [0; 8])?;
    fails(libc::lseek(fd, 0, libc::SEEK_DATA), libc::ENXIO)?;
    eq(libc::pwrite(fd, b"x".as_ptr().cast(), 1, START + 5000), 1)?;
    eq(libc::lseek(fd, 0, libc::SEEK_DATA), START + 4096)?;
    eq(libc::lseek(fd, START + 5000, libc::SEEK_HOLE), START + 8192)?;
    let mut status: libc::stat = std::mem::zeroed();
    ok(libc::fstat(fd, &mut status))?;
    eq(status.st_blocks, 0x10000 / 512)?;
    // The second time is as good as a write.
    ok(libc::fallocate(fd, 0, START, 0x3000))?;
    eq(libc::lseek(fd, 0, libc::SEEK_DATA), START)?;
    eq(libc::lseek(fd, START, libc::SEEK_HOLE), START + 0x3000)
}

unsafe fn append_goes_to_the_end() -> Done {
    let other = file(c"f", b"abc")?;
    let fd = ok(libc::open(c"f".as_ptr(), libc::O_RDWR | libc::O_APPEND))?;
    ok(libc::lseek(fd, 0, libc::SEEK_SET))?;
    put(fd, b"d")?;
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 4)?;
    ok(libc::lseek(other, 0, libc::SEEK_END))?;
    put(other, b"e")?;
    put(fd, b"f")?;
    ok(libc::pwrite(fd, b"g".as_ptr().cast(), 1, 0))?; // Linux appends all the same
    eq(read_at(fd, 20, 0)?, b"abcdefg")
}

unsafe fn holes_read_as_zero() -> Done {
    let fd = file(c"f", b"a")?;
    ok(libc::pwrite(fd, b"b".as_ptr().cast(), 1, 10_000))?;
    eq(size(fd)?, 10_001)?;
    let all = read_at(fd, 20_000, 0)?;
    check(all[0] == b'a' && all[10_000] == b'b' && all[1..10_000].iter().all(|b| *b == 0), "zeros between")
}

unsafe fn truncate_rules() -> Done {
    let fd = file(c"f", b"0123456789")?;
    ok(libc::ftruncate(fd, 4))?;
    ok(libc::ftruncate(fd, 8))?;
    eq(read_at(fd, 20, 0)?, b"0123\0\0\0\0")?;
    fails(libc::ftruncate(fd, -1), libc::EINVAL)?;
    fails(libc::truncate(c"f".as_ptr(), -1), libc::EINVAL)?;
    fails(libc::truncate(c".".as_ptr(), 0), libc::EISDIR)?;
    fails(libc::truncate(c"none".as_ptr(), 0), libc::ENOENT)?;
    let (r, _w) = pipe()?;
    fails(libc::ftruncate(r, 0), libc::EINVAL)?;
    ok(libc::truncate(c"f".as_ptr(), 1 << 33))?;
    eq(size(fd)?, 1 << 33)
}

unsafe fn o_trunc_empties() -> Done {
    let fd = file(c"f", b"abc")?;
    ok(libc::open(c"f".as_ptr(), libc::O_WRONLY | libc::O_TRUNC))?;
    eq(size(fd)?, 0)
}

unsafe fn pread_and_pwrite() -> Done {
    let fd = file(c"f", b"0123456789")?;
    eq(read_at(fd, 3, 4)?, b"456")?;
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 0)?;
    eq(read_at(fd, 9, 10)?, b"")?;
    let mut byte = 0u8;
    fails(libc::pread(fd, (&raw mut byte).cast(), 1, -1), libc::EINVAL)?;
    let (r, w) = pipe()?;
    fails(libc::pread(r, (&raw mut byte).cast(), 1, 0), libc::ESPIPE)?;
    // Behind the end, what is left is negative.
    let mut left = 0i32;
    eq(ok(libc::lseek(fd, 20, libc::SEEK_SET))?, 20)?;
    ok(libc::ioctl(fd, libc::FIONREAD, &mut left))?;
    eq(left, -10)?;
    // That is said before that it can only be written, or of an offset that is too large.
    fails(libc::pread(w, (&raw mut byte).cast(), 1, i64::MAX), libc::ESPIPE)?;
    let list = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    fails(libc::preadv(w, &list, 1, 0), libc::ESPIPE)?;
    fails(libc::pwritev(r, &list, 1, 0), libc::ESPIPE)?;
    fails(libc::pwrite(w, (&raw mut byte).cast(), 1, 0), libc::ESPIPE)
}

fn piece(bytes: &mut [u8]) -> iovec {
    iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

unsafe fn readv_and_writev() -> Done {
    let fd = file(c"f", b"")?;
    let (mut a, mut b, mut c) = (*b"hello", [0u8; 0], *b" you");
    let list = [piece(&mut a), piece(&mut b), piece(&mut c)];
    eq(libc::writev(fd, list.as_ptr(), 3), 9)?;
    let (mut x, mut y) = ([0u8; 2], [0u8; 10]);
    let list = [piece(&mut x), piece(&mut y)];
    eq(libc::preadv(fd, list.as_ptr(), 2, 1), 8)?;
    eq((&x, &y[..6]), (b"el", &b"lo you"[..]))
}

unsafe fn vectors_are_checked() -> Done {
    let fd = file(c"f", b"x")?;
    let mut a = [0u8; 4];
    let mut list = [piece(&mut a), piece(&mut [])];
    fails(libc::readv(fd, list.as_ptr(), 1025), libc::EINVAL)?;
    fails(libc::readv(fd, list.as_ptr(), -1), libc::EINVAL)?;
    fails(libc::readv(fd, std::ptr::without_provenance(8), 1), libc::EFAULT)?;
    list[1].iov_len = usize::MAX; // negative as a signed size
    fails(libc::readv(fd, list.as_ptr(), 2), libc::EINVAL)?;
    eq(libc::readv(fd, list.as_ptr(), 0), 0)
}

unsafe fn zero_length_calls() -> Done {
    let fd = file(c"f", b"x")?;
    eq(libc::read(fd, std::ptr::null_mut(), 0), 0)?;
    eq(libc::write(fd, std::ptr::null(), 0), 0)?;
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 0)?;
    let (r, _w) = pipe()?;
    eq(libc::read(r, std::ptr::null_mut(), 0), 0) // does not wait
}

unsafe fn dup_shares_the_offset() -> Done {
    let fd = file(c"f", b"0123456789")?;
    let other = ok(libc::dup(fd))?;
    ok(libc::lseek(fd, 5, libc::SEEK_SET))?;
    eq(get(other)?, b"56789")?;
    ok(libc::fcntl(other, libc::F_SETFL, libc::O_APPEND))?;
    check(libc::fcntl(fd, libc::F_GETFL) & libc::O_APPEND != 0, "status flags are shared")?;
    let again = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    eq(libc::lseek(again, 0, libc::SEEK_CUR), 0)
}

unsafe fn dup2_and_dup3() -> Done {
    let fd = file(c"f", b"x")?;
    eq(libc::dup2(fd, 50), 50)?;
    eq(libc::dup2(fd, fd), fd)?;
    fails(libc::dup3(fd, fd, 0), libc::EINVAL)?;
    fails(libc::dup3(fd, 51, libc::O_APPEND), libc::EINVAL)?;
    fails(libc::dup2(999, 999), libc::EBADF)?;
    fails(libc::dup2(fd, -1), libc::EBADF)?;
    eq(libc::fcntl(50, libc::F_GETFD), 0)?;
    eq(libc::fcntl(fd, libc::F_DUPFD, 60), 60)?;
    eq(libc::fcntl(fd, libc::F_DUPFD, 60), 61) // the lowest from there on
}

unsafe fn cloexec_flags() -> Done {
    let fd = ok(libc::open(c"f".as_ptr(), libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC, 0o600))?;
    eq(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC)?;
    eq(libc::fcntl(ok(libc::dup(fd))?, libc::F_GETFD), 0)?;
    eq(libc::fcntl(ok(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0))?, libc::F_GETFD), libc::FD_CLOEXEC)?;
    ok(libc::fcntl(fd, libc::F_SETFD, 0))?;
    eq(libc::fcntl(fd, libc::F_GETFD), 0)?;
    ok(libc::ioctl(fd, libc::FIOCLEX))?;
    eq(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC)
}

unsafe fn getfl_and_setfl() -> Done {
    let fd =
        ok(libc::open(c"f".as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_TRUNC, 0o600))?;
    let largefile = 0o100_000;
    eq(libc::fcntl(fd, libc::F_GETFL) & !largefile, libc::O_RDWR)?; // creation flags are not kept
    ok(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK | libc::O_WRONLY | libc::O_CREAT))?;
    eq(libc::fcntl(fd, libc::F_GETFL) & !largefile, libc::O_RDWR | libc::O_NONBLOCK)
}

unsafe fn fcntl_refuses() -> Done {
    fails(libc::fcntl(2, 9999), libc::EINVAL)?;
    fails(libc::fcntl(999, libc::F_GETFD), libc::EBADF)?;
    fails(libc::fcntl(2, libc::F_DUPFD, -1), libc::EINVAL)
}

unsafe fn close_twice() -> Done {
    let fd = ok(libc::dup(2))?;
    ok(libc::close(fd))?;
    fails(libc::close(fd), libc::EBADF)
}

unsafe fn close_range_closes() -> Done {
    for fd in [40, 41, 45] {
        ok(libc::dup2(2, fd))?;
    }
    let range = |first: u32, last: u32, flags: u32| libc::syscall(libc::SYS_close_range, first, last, flags);
    fails(range(41, 40, 0), libc::EINVAL)?;
    fails(range(40, 41, 64), libc::EINVAL)?;
    ok(range(45, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))?;
    eq(libc::fcntl(45, libc::F_GETFD), libc::FD_CLOEXEC)?;
    ok(range(40, 41, 0))?;
    fails(libc::close(41), libc::EBADF)?;
    ok(libc::close(45)).map(drop)
}

unsafe fn sendfile_copies() -> Done {
    let (from, (r, w)) = (file(c"f", b"0123456789")?, pipe()?);
    let mut offset = 2i64;
    eq(libc::sendfile(w, from, &mut offset, 5), 5)?;
    eq(offset, 7)?;
    eq(libc::lseek(from, 0, libc::SEEK_CUR), 0)?;
    eq(libc::sendfile(w, from, std::ptr::null_mut(), 100), 10)?;
    eq(libc::lseek(from, 0, libc::SEEK_CUR), 10)?;
    eq(get(r)?, b"234560123456789")?;
    eq(libc::sendfile(w, from, std::ptr::null_mut(), 100), 0)?;
    let to = file(c"g", b"")?;
    offset = 0;
    eq(libc::sendfile(to, from, &mut offset, 100), 10)?;
    eq(read_at(to, 99, 0)?, b"0123456789")
}

unsafe fn copy_file_range_copies() -> Done {
    let (from, to) = (file(c"f", b"0123456789")?, file(c"g", b"abc")?);
    let (mut a, mut b) = (8i64, 3i64);
    let copy = |from: c_int, a: *mut i64, to: c_int, b: *mut i64, flags: u32| {
        libc::copy_file_range(from, a, to, b, 100, flags)
    };
    let got = copy(from, &mut a, to, &mut b, 0);
    if got == -1 && [libc::ENOSYS, libc::EXDEV].contains(&errno()) {
        return skip("no copy_file_range here");
    }
    eq(got, 2)?;
    eq((a, b), (10, 5))?;
    eq(read_at(to, 99, 0)?, b"abc89")?;
    fails(copy(from, &mut a, to, &mut b, 1), libc::EINVAL)?;
    let (r, _w) = pipe()?;
    fails(copy(r, std::ptr::null_mut(), to, std::ptr::null_mut(), 0), libc::EINVAL)
}

unsafe fn fallocate_rules() -> Done {
    let fd = file(c"f", b"0123456789")?;
    if libc::fallocate(fd, 0, 0, 100) == -1 && errno() == libc::EOPNOTSUPP {
        return skip("this file system has no fallocate");
    }
    eq(size(fd)?, 100)?;
    ok(libc::fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, 0, 5000))?;
    eq(size(fd)?, 100)?;
    fails(libc::fallocate(fd, 0, -1, 10), libc::EINVAL)?;
    fails(libc::fallocate(fd, 0, 0, 0), libc::EINVAL)?;
    ok(libc::fallocate(fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 2, 3))?;
    eq(read_at(fd, 8, 0)?, b"01\0\0\x00567")?;
    fails(libc::fallocate(fd, libc::FALLOC_FL_PUNCH_HOLE, 2, 3), libc::EOPNOTSUPP)
}

unsafe fn fsync_rules() -> Done {
    let fd = file(c"f", b"x")?;
    ok(libc::fsync(fd))?;
    ok(libc::fdatasync(fd))?;
    let (r, _w) = pipe()?;
    fails(libc::fsync(r), libc::EINVAL)
}

unsafe fn memfd_seals() -> Done {
    let fd = ok(libc::memfd_create(c"name".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC))?;
    put(fd, b"hello")?;
    eq(libc::fcntl(fd, libc::F_GET_SEALS), 0)?;
    ok(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW))?;
    fails(libc::ftruncate(fd, 2), libc::EPERM)?;
    fails(libc::ftruncate(fd, 9), libc::EPERM)?;
    fails(libc::write(fd, b"more".as_ptr().cast(), 4), libc::EPERM)?;
    eq(ok(libc::pwrite(fd, b"J".as_ptr().cast(), 1, 0))?, 1)?;
    ok(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE | libc::F_SEAL_SEAL))?;
    fails(libc::pwrite(fd, b"J".as_ptr().cast(), 1, 0), libc::EPERM)?;
    fails(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW), libc::EPERM)?;
    let plain = ok(libc::memfd_create(c"p".as_ptr(), 0))?;
    fails(libc::fcntl(plain, libc::F_ADD_SEALS, libc::F_SEAL_GROW), libc::EPERM)?;
    fails(libc::memfd_create(c"x".as_ptr(), 0x800), libc::EINVAL)
}

unsafe fn memfd_seals_and_mappings() -> Done {
    let fd = ok(libc::memfd_create(c"name".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC))?;
    ok(libc::ftruncate(fd, 4096))?;
    let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
    let page = map(4096, write, libc::MAP_SHARED, fd)?;
    fails(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE), libc::EBUSY)?;
    // It may be made writable again, so it counts.
    ok(libc::mprotect(page.cast(), 4096, read))?;
    fails(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE), libc::EBUSY)?;
    eq(libc::fcntl(fd, libc::F_GET_SEALS), 0)?;
    // What is there stays writable, but nothing new is.
    ok(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_FUTURE_WRITE))?;
    ok(libc::mprotect(page.cast(), 4096, write))?;
    *page = 7;
    let again = libc::mmap(std::ptr::null_mut(), 4096, write, libc::MAP_SHARED, fd, 0);
    check(again == libc::MAP_FAILED && errno() == libc::EPERM, "a new mapping")?;
    let other = map(4096, read, libc::MAP_SHARED, fd)?;
    fails(libc::mprotect(other.cast(), 4096, write), libc::EACCES)?;
    ok(libc::munmap(page.cast(), 4096))?;
    // Private copies do no harm.
    let private = map(4096, write, libc::MAP_PRIVATE, fd)?;
    ok(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE))?;
    *private = 8;
    eq(*other, 7)
}

unsafe fn tmpfile_can_be_linked() -> Done {
    let fd = libc::open(c".".as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o600);
    if fd == -1 && [libc::EOPNOTSUPP, libc::EISDIR].contains(&errno()) {
        return skip("no O_TMPFILE here");
    }
    put(ok(fd)?, b"x")?;
    eq(ok(libc::fcntl(fd, libc::F_GETFL))? & libc::O_TMPFILE, libc::O_TMPFILE)?;
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let follow = libc::AT_SYMLINK_FOLLOW;
    ok(libc::linkat(libc::AT_FDCWD, path.as_ptr(), libc::AT_FDCWD, c"named".as_ptr(), follow))?;
    eq(get(ok(libc::open(c"named".as_ptr(), libc::O_RDONLY))?)?, b"x")
}

unsafe fn statx_tells() -> Done {
    ok(libc::close(file(c"f", b"hello")?))?;
    let mut all: libc::statx = std::mem::zeroed();
    let cwd = libc::AT_FDCWD;
    ok(libc::statx(cwd, c"f".as_ptr(), 0, libc::STATX_BASIC_STATS, &mut all))?;
    check(all.stx_mask & libc::STATX_SIZE != 0, "the size is told")?;
    eq((all.stx_size, all.stx_mode & 0o7777, all.stx_nlink), (5, 0o644, 1))?;
    fails(libc::statx(cwd, c"f".as_ptr(), 0x4, libc::STATX_SIZE, &mut all), libc::EINVAL)?;
    fails(libc::statx(cwd, c"f".as_ptr(), 0, 0x8000_0000, &mut all), libc::EINVAL)?;
    fails(libc::statx(cwd, c"none".as_ptr(), 0, 0, &mut all), libc::ENOENT)
}

unsafe fn statfs_tells() -> Done {
    let mut fs: libc::statfs = std::mem::zeroed();
    ok(libc::statfs(c".".as_ptr(), &mut fs))?;
    check(fs.f_bsize > 0 && fs.f_namelen == 255, "block size and name length")?;
    let (r, _w) = pipe()?;
    ok(libc::fstatfs(r, &mut fs))?;
    eq(fs.f_type, 0x5049_5045)?; // PIPEFS_MAGIC
    ok(libc::statfs(c"/proc".as_ptr(), &mut fs))?;
    eq(fs.f_type, 0x9fa0)?;
    fails(libc::statfs(c"none".as_ptr(), &mut fs), libc::ENOENT)
}

unsafe fn directory_cannot_be_read() -> Done {
    let fd = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    let mut byte = 0u8;
    fails(libc::read(fd, (&raw mut byte).cast(), 1), libc::EISDIR)?;
    fails(libc::write(fd, (&raw mut byte).cast(), 1), libc::EBADF)
}

unsafe fn write_to_full() -> Done {
    let fd = ok(libc::open(c"/dev/full".as_ptr(), libc::O_RDWR))?;
    fails(libc::write(fd, b"x".as_ptr().cast(), 1), libc::ENOSPC)
}

unsafe fn fionread_of_a_file() -> Done {
    let (fd, mut n) = (file(c"f", b"hello")?, 0 as c_int);
    ok(libc::lseek(fd, 2, libc::SEEK_SET))?;
    ok(libc::ioctl(fd, libc::FIONREAD, &mut n))?;
    eq(n, 3)?;
    fails(libc::ioctl(fd, libc::TCGETS, &mut n), libc::ENOTTY)
}

unsafe fn reads_of_devices() -> Done {
    let null = ok(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR))?;
    eq(get(null)?, b"")?;
    let random = ok(libc::open(c"/dev/urandom".as_ptr(), libc::O_RDONLY))?;
    let (a, b) = (get(random)?, get(random)?);
    check(!a.is_empty() && a != b, "random")?;
    let mut bytes = [0u8; 32];
    eq(libc::getrandom(bytes.as_mut_ptr().cast(), 32, 0), 32)?;
    fails(libc::getrandom(bytes.as_mut_ptr().cast(), 32, 0x80), libc::EINVAL)
}

unsafe fn preadv2_flags() -> Done {
    let fd = file(c"f", b"0123456789")?;
    let mut a = [0u8; 4];
    let list = [piece(&mut a)];
    eq(libc::preadv2(fd, list.as_ptr(), 1, -1, 0), 4)?; // -1: the file's own offset
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 4)?;
    fails(libc::preadv2(fd, list.as_ptr(), 1, 0, 0x4000_0000), libc::EOPNOTSUPP)?;
    eq(libc::pwritev2(fd, list.as_ptr(), 1, 0, libc::RWF_APPEND), 4)?;
    eq(size(fd)?, 14)
}

unsafe fn large_offsets() -> Done {
    let fd = file(c"f", b"")?;
    eq(ok(libc::pwrite(fd, b"x".as_ptr().cast(), 1, 5 << 30))?, 1)?;
    eq(size(fd)?, (5 << 30) + 1)?;
    eq(read_at(fd, 2, 5 << 30)?, b"x")?;
    fails(libc::pwrite(fd, b"x".as_ptr().cast(), 1, i64::MAX), libc::EINVAL)?;
    // Of a memfd the position may be the last offset of all, from where nothing can be read or written.
    let fd = ok(libc::memfd_create(c"m".as_ptr(), 0))?;
    eq(libc::lseek(fd, i64::MAX, libc::SEEK_SET), i64::MAX)?;
    let mut byte = 0u8;
    fails(libc::read(fd, (&raw mut byte).cast(), 1), libc::EINVAL)?;
    fails(libc::write(fd, (&raw const byte).cast(), 1), libc::EINVAL)?;
    eq(libc::write(fd, (&raw const byte).cast(), 0), 0)?;
    let empty = ok(libc::memfd_create(c"e".as_ptr(), 0))?;
    fails(libc::sendfile(fd, empty, std::ptr::null_mut(), 1), libc::EINVAL)
}

unsafe fn readahead_and_fadvise() -> Done {
    let fd = file(c"f", b"x")?;
    eq(libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_WILLNEED), 0)?;
    eq(libc::posix_fadvise(fd, 0, 0, 99), libc::EINVAL)?;
    let (r, _w) = pipe()?;
    eq(libc::posix_fadvise(r, 0, 0, libc::POSIX_FADV_NORMAL), libc::ESPIPE)
}
