//! Address spaces: mmap(2) and its kin, copy-on-write, what system calls do at the edges of mappings.

use std::ptr::null_mut;

use libc::{c_int, c_void};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    anonymous_is_zero,
    mmap_refuses,
    fixed_replaces,
    fixed_noreplace,
    hint_is_taken_when_free,
    private_file_map_keeps_the_file,
    shared_file_map_writes_the_file,
    file_map_sees_writes,
    file_map_needs_access,
    map_outlives_descriptor,
    shared_after_fork,
    private_after_fork,
    cow_of_a_grandchild,
    fork_under_many_writes,
    mprotect_splits,
    mprotect_refuses,
    munmap_makes_holes,
    munmap_refuses,
    mremap_grows_in_place,
    mremap_moves,
    mremap_shrinks,
    mremap_fixed,
    mremap_refuses,
    remap_file_pages_maps_anew,
    brk_grows_and_shrinks,
    dontneed_zeroes,
    dontneed_rereads_the_file,
    madvise_refuses,
    msync_rules,
    mincore_rules,
    stack_grows,
    run_of_a_mapped_page,
    big_sparse_mapping,
    noreserve_is_cheap,
    efault_at_the_edge_read,
    efault_at_the_edge_write,
    efault_of_read_only,
    efault_leaves_no_trace,
    kernel_pointers_are_refused,
    mlock_rules,
    file_map_after_truncate,
    zero_device_maps,
    process_vm_readv_copies,
    dev_null_ignores_pointers,
];

const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;
const ANON: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

unsafe fn mmap(at: *mut u8, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void {
    libc::mmap(at.cast(), len, prot, flags, fd, offset)
}

/// Whether a page can be read, asked of the kernel.
unsafe fn readable(at: *const u8) -> Done<bool> {
    let (r, w) = pipe()?;
    let n = libc::write(w, at.cast(), 1);
    let error = errno();
    libc::close(r);
    libc::close(w);
    if n == -1 {
        eq(error, libc::EFAULT)?;
    }
    Ok(n == 1)
}

unsafe fn anonymous_is_zero() -> Done {
    let page = memory(16 * PAGE)?;
    eq(page as usize % PAGE, 0)?;
    check((0..16 * PAGE).step_by(64).all(|i| *page.add(i) == 0), "all zero")?;
    *page.add(5 * PAGE) = 1;
    ok(libc::munmap(page.cast(), 16 * PAGE))?;
    let again = memory(16 * PAGE)?;
    check((0..16 * PAGE).step_by(64).all(|i| *again.add(i) == 0), "zero again")
}

unsafe fn mmap_refuses() -> Done {
    let fd = file(c"f", b"x")?;
    fails(mmap(null_mut(), 0, RW, ANON, -1, 0), libc::EINVAL)?;
    fails(mmap(null_mut(), PAGE, RW, libc::MAP_ANONYMOUS, -1, 0), libc::EINVAL)?; // neither private nor shared
    fails(mmap(null_mut(), PAGE, RW, libc::MAP_PRIVATE, 999, 0), libc::EBADF)?;
    fails(mmap(null_mut(), PAGE, RW, libc::MAP_PRIVATE, fd, 100), libc::EINVAL)?;
    fails(mmap(std::ptr::without_provenance_mut(1), PAGE, RW, ANON | libc::MAP_FIXED, -1, 0), libc::EINVAL)?;
    fails(mmap(null_mut(), usize::MAX - PAGE, RW, ANON, -1, 0), libc::ENOMEM)?;
    fails(mmap(null_mut(), 1 << 48, RW, ANON, -1, 0), libc::ENOMEM)?;
    fails(mmap((1u64 << 47) as *mut u8, PAGE, RW, ANON | libc::MAP_FIXED, -1, 0), libc::ENOMEM)?;
    let dir = ok(libc::open(c".".as_ptr(), libc::O_RDONLY))?;
    fails(mmap(null_mut(), PAGE, libc::PROT_READ, libc::MAP_PRIVATE, dir, 0), libc::ENODEV)?;
    let (r, _w) = pipe()?;
    fails(mmap(null_mut(), PAGE, libc::PROT_READ, libc::MAP_PRIVATE, r, 0), libc::ENODEV)
}

unsafe fn fixed_replaces() -> Done {
    let pages = memory(3 * PAGE)?;
    (0..3).for_each(|i| *pages.add(i * PAGE) = 9);
    let middle = pages.add(PAGE);
    eq(mmap(middle, PAGE, RW, ANON | libc::MAP_FIXED, -1, 0) as usize, middle as usize)?;
    eq((*pages, *middle, *pages.add(2 * PAGE)), (9, 0, 9))
}

unsafe fn fixed_noreplace() -> Done {
    let pages = memory(2 * PAGE)?;
    let flags = ANON | libc::MAP_FIXED_NOREPLACE;
    fails(mmap(pages.add(PAGE), PAGE, RW, flags, -1, 0), libc::EEXIST)?;
    ok(libc::munmap(pages.add(PAGE).cast(), PAGE))?;
    eq(mmap(pages.add(PAGE), PAGE, RW, flags, -1, 0) as usize, pages as usize + PAGE)
}

unsafe fn hint_is_taken_when_free() -> Done {
    let pages = memory(4 * PAGE)?;
    ok(libc::munmap(pages.cast(), 4 * PAGE))?;
    eq(mmap(pages.add(PAGE), PAGE, RW, ANON, -1, 0) as usize, pages as usize + PAGE)?;
    check(
        mmap(pages.add(PAGE), PAGE, RW, ANON, -1, 0) as usize != pages as usize + PAGE,
        "not when it is taken",
    )
}

unsafe fn private_file_map_keeps_the_file() -> Done {
    let fd = file(c"f", b"hello")?;
    let page = map(PAGE, RW, libc::MAP_PRIVATE, fd)?;
    eq(*page, b'h')?;
    *page = b'J';
    eq(*page, b'J')?;
    eq(get(fd)?, b"hello")
}

unsafe fn shared_file_map_writes_the_file() -> Done {
    let fd = file(c"f", b"hello")?;
    let page = map(PAGE, RW, libc::MAP_SHARED, fd)?;
    *page = b'J';
    *page.add(100) = 1; // beyond the end: goes nowhere
    eq(get(fd)?, b"Jello")?;
    ok(libc::msync(page.cast(), PAGE, libc::MS_SYNC))?;
    eq(libc::lseek(fd, 0, libc::SEEK_END), 5)
}

unsafe fn file_map_sees_writes() -> Done {
    let fd = file(c"f", b"hello")?;
    let (shared, private) = (map(PAGE, RW, libc::MAP_SHARED, fd)?, map(PAGE, RW, libc::MAP_PRIVATE, fd)?);
    eq((*shared, *private), (b'h', b'h'))?;
    eq(ok(libc::pwrite(fd, b"y".as_ptr().cast(), 1, 0))?, 1)?;
    eq((shared.read_volatile(), private.read_volatile()), (b'y', b'y'))
}

unsafe fn file_map_needs_access() -> Done {
    ok(libc::close(file(c"f", b"hello")?))?;
    let read = ok(libc::open(c"f".as_ptr(), libc::O_RDONLY))?;
    fails(mmap(null_mut(), PAGE, RW, libc::MAP_SHARED, read, 0), libc::EACCES)?;
    ok(mmap(null_mut(), PAGE, RW, libc::MAP_PRIVATE, read, 0))?;
    let page = ok(mmap(null_mut(), PAGE, libc::PROT_READ, libc::MAP_SHARED, read, 0))?;
    fails(libc::mprotect(page, PAGE, RW), libc::EACCES)?;
    let write = ok(libc::open(c"f".as_ptr(), libc::O_WRONLY))?;
    fails(mmap(null_mut(), PAGE, libc::PROT_WRITE, libc::MAP_SHARED, write, 0), libc::EACCES)
}

unsafe fn map_outlives_descriptor() -> Done {
    let fd = file(c"f", b"hello")?;
    let page = map(PAGE, RW, libc::MAP_SHARED, fd)?;
    ok(libc::close(fd))?;
    ok(libc::unlink(c"f".as_ptr()))?;
    eq(*page.add(4), b'o')
}

unsafe fn shared_after_fork() -> Done {
    let page = shared(PAGE)?;
    in_child(|| {
        *page = 3;
        Ok(())
    })?;
    eq(page.read_volatile(), 3)
}

unsafe fn private_after_fork() -> Done {
    let fd = file(c"f", b"hello")?;
    let page = map(PAGE, RW, libc::MAP_PRIVATE, fd)?;
    *page = b'1';
    in_child(|| {
        eq(*page, b'1')?;
        *page = b'2';
        Ok(())
    })?;
    eq(page.read_volatile(), b'1')
}

unsafe fn cow_of_a_grandchild() -> Done {
    let page = memory(PAGE)?;
    *page = 1;
    in_child(|| {
        in_child(|| {
            *page = 3;
            Ok(())
        })?;
        eq(page.read_volatile(), 1)?;
        *page = 2;
        in_child(|| eq(page.read_volatile(), 2))
    })?;
    eq(page.read_volatile(), 1)
}

unsafe fn fork_under_many_writes() -> Done {
    const PAGES: usize = 256;
    let pages = memory(PAGES * PAGE)?;
    (0..PAGES).for_each(|i| *pages.add(i * PAGE) = i as u8);
    let pid = spawn(|| {
        sleep_ms(20);
        check((0..PAGES).all(|i| *pages.add(i * PAGE) == i as u8), "the child sees the old")
    })?;
    (0..PAGES).for_each(|i| *pages.add(i * PAGE) = 0xff);
    join(pid)?;
    check((0..PAGES).all(|i| *pages.add(i * PAGE) == 0xff), "the parent sees the new")
}

unsafe fn mprotect_splits() -> Done {
    let pages = memory(3 * PAGE)?;
    (0..3).for_each(|i| *pages.add(i * PAGE) = i as u8 + 1);
    ok(libc::mprotect(pages.add(PAGE).cast(), PAGE, libc::PROT_NONE))?;
    check(
        readable(pages)? && !readable(pages.add(PAGE))? && readable(pages.add(2 * PAGE))?,
        "the middle only",
    )?;
    ok(libc::mprotect(pages.cast(), 3 * PAGE, RW))?;
    eq((*pages, *pages.add(PAGE), *pages.add(2 * PAGE)), (1, 2, 3))
}

unsafe fn mprotect_refuses() -> Done {
    let pages = memory(2 * PAGE)?;
    ok(libc::munmap(pages.add(PAGE).cast(), PAGE))?;
    fails(libc::mprotect(pages.add(1).cast(), PAGE, RW), libc::EINVAL)?;
    fails(libc::mprotect(pages.cast(), 2 * PAGE, libc::PROT_READ), libc::ENOMEM)?;
    fails(libc::mprotect(pages.cast(), PAGE, 0x40), libc::EINVAL)?;
    ok(libc::mprotect(pages.cast(), 0, RW)).map(drop)
}

unsafe fn munmap_makes_holes() -> Done {
    let pages = memory(5 * PAGE)?;
    *pages.add(4 * PAGE) = 4;
    ok(libc::munmap(pages.add(PAGE).cast(), PAGE))?;
    ok(libc::munmap(pages.add(2 * PAGE).cast(), 1))?; // rounded up
    check(!readable(pages.add(PAGE))? && !readable(pages.add(2 * PAGE))?, "holes")?;
    check(readable(pages)? && readable(pages.add(3 * PAGE))?, "neighbours stay")?;
    ok(libc::munmap(pages.cast(), 5 * PAGE))?; // over holes
    check(!readable(pages.add(4 * PAGE))?, "all gone")
}

unsafe fn munmap_refuses() -> Done {
    fails(libc::munmap(std::ptr::without_provenance_mut(1), PAGE), libc::EINVAL)?;
    fails(libc::munmap(PAGE as *mut c_void, 0), libc::EINVAL)?;
    fails(libc::munmap((1u64 << 47) as *mut c_void, PAGE), libc::EINVAL)?;
    ok(libc::munmap((64 * PAGE) as *mut c_void, PAGE)).map(drop) // nothing there: fine
}

unsafe fn mremap_grows_in_place() -> Done {
    let pages = memory(4 * PAGE)?;
    *pages = 7;
    ok(libc::munmap(pages.add(PAGE).cast(), 3 * PAGE))?;
    let at = ok(libc::mremap(pages.cast(), PAGE, 3 * PAGE, 0))?;
    eq(at as usize, pages as usize)?;
    eq((*pages, *pages.add(2 * PAGE)), (7, 0))
}

unsafe fn mremap_moves() -> Done {
    let pages = memory(2 * PAGE)?;
    *pages = 7;
    fails(libc::mremap(pages.cast(), PAGE, 8 * PAGE, 0), libc::ENOMEM)?; // its neighbour is in the way
    let at = ok(libc::mremap(pages.cast(), PAGE, 8 * PAGE, libc::MREMAP_MAYMOVE))?.cast::<u8>();
    check(at != pages, "it moved")?;
    eq((*at, *at.add(7 * PAGE)), (7, 0))?;
    check(!readable(pages)? && readable(pages.add(PAGE))?, "the old place is free")
}

unsafe fn mremap_shrinks() -> Done {
    let pages = memory(4 * PAGE)?;
    *pages = 7;
    eq(ok(libc::mremap(pages.cast(), 4 * PAGE, PAGE, 0))? as usize, pages as usize)?;
    check(*pages == 7 && !readable(pages.add(PAGE))?, "the rest is gone")
}

unsafe fn mremap_fixed() -> Done {
    let (from, to) = (memory(PAGE)?, memory(PAGE)?);
    (*from, *to) = (1, 2);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    eq(ok(libc::mremap(from.cast(), PAGE, PAGE, flags, to))? as usize, to as usize)?;
    check(*to == 1 && !readable(from)?, "moved over the other")?;
    fails(libc::mremap(to.cast(), PAGE, PAGE, libc::MREMAP_FIXED, from), libc::EINVAL)?;
    let two = memory(2 * PAGE)?;
    fails(libc::mremap(two.cast(), 2 * PAGE, 2 * PAGE, flags, two.add(PAGE)), libc::EINVAL) // overlap
}

unsafe fn remap_file_pages_maps_anew() -> Done {
    let at = ok(mmap(null_mut(), 4 * PAGE, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0))?.cast::<u8>();
    for (i, n) in (0..4).zip(10..) {
        *at.add(i * PAGE) = n;
    }
    let remap = |at: *mut u8, len: usize, prot: usize, page: usize| {
        libc::syscall(libc::SYS_remap_file_pages, at, len, prot, page, 0usize)
    };
    ok(remap(at.add(PAGE), PAGE, 0, 3))?;
    let seen = |i: usize| *at.add(i * PAGE);
    eq([seen(0), seen(1), seen(2), seen(3)], [10, 13, 12, 13])?;
    *at.add(PAGE) = 77; // it is the same page
    eq(seen(3), 77)?;
    ok(remap(at, 2 * PAGE, 0, 2))?; // over two mappings of it
    eq([seen(0), seen(1)], [12, 77])?;
    fails(remap(at, PAGE, libc::PROT_READ as usize, 0), libc::EINVAL)?;
    fails(remap(at, PAGE - 1, 0, 0), libc::EINVAL)?;
    fails(remap(memory(PAGE)?, PAGE, 0, 0), libc::EINVAL) // private
}

unsafe fn mremap_refuses() -> Done {
    let page = memory(PAGE)?;
    fails(libc::mremap(page.add(1).cast(), PAGE, PAGE, 0), libc::EINVAL)?;
    fails(libc::mremap(page.cast(), PAGE, 0, 0), libc::EINVAL)?;
    fails(libc::mremap(page.cast(), PAGE, PAGE, 64), libc::EINVAL)?;
    ok(libc::munmap(page.cast(), PAGE))?;
    fails(libc::mremap(page.cast(), PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE), libc::EFAULT)
}

unsafe fn brk_grows_and_shrinks() -> Done {
    in_child(|| {
        let brk = |at: usize| libc::syscall(libc::SYS_brk, at) as usize;
        let start = brk(0);
        eq(brk(start + 3 * PAGE), start + 3 * PAGE)?;
        let page = (start + 2 * PAGE) as *mut u8;
        eq(page.read_volatile(), 0)?;
        *page = 9;
        eq(brk(start), start)?;
        check(!readable(page.add(PAGE))?, "given back")?;
        eq(brk(8), start)?; // refused: tells where it is
        eq(brk(usize::MAX), start)
    })
}

unsafe fn dontneed_zeroes() -> Done {
    let pages = memory(2 * PAGE)?;
    (*pages, *pages.add(PAGE)) = (1, 2);
    ok(libc::madvise(pages.cast(), PAGE, libc::MADV_DONTNEED))?;
    eq((pages.read_volatile(), *pages.add(PAGE)), (0, 2))?;
    let common = shared(PAGE)?;
    *common = 3;
    ok(libc::madvise(common.cast(), PAGE, libc::MADV_DONTNEED))?;
    eq(common.read_volatile(), 3) // shared memory stays
}

unsafe fn dontneed_rereads_the_file() -> Done {
    let fd = file(c"f", b"hello")?;
    let page = map(PAGE, RW, libc::MAP_PRIVATE, fd)?;
    *page = b'J';
    ok(libc::madvise(page.cast(), PAGE, libc::MADV_DONTNEED))?;
    eq(page.read_volatile(), b'h')
}

unsafe fn madvise_refuses() -> Done {
    let page = memory(PAGE)?;
    fails(libc::madvise(page.cast(), PAGE, 9999), libc::EINVAL)?;
    fails(libc::madvise(page.add(1).cast(), PAGE, libc::MADV_NORMAL), libc::EINVAL)?;
    ok(libc::munmap(page.cast(), PAGE))?;
    fails(libc::madvise(page.cast(), PAGE, libc::MADV_DONTNEED), libc::ENOMEM)
}

unsafe fn msync_rules() -> Done {
    let page = memory(PAGE)?;
    ok(libc::msync(page.cast(), PAGE, libc::MS_ASYNC))?;
    fails(libc::msync(page.cast(), PAGE, libc::MS_ASYNC | libc::MS_SYNC), libc::EINVAL)?;
    fails(libc::msync(page.add(1).cast(), PAGE, libc::MS_SYNC), libc::EINVAL)?;
    ok(libc::munmap(page.cast(), PAGE))?;
    fails(libc::msync(page.cast(), PAGE, libc::MS_SYNC), libc::ENOMEM)
}

unsafe fn mincore_rules() -> Done {
    let pages = memory(2 * PAGE)?;
    *pages = 1;
    let mut seen = [0xffu8; 2];
    ok(libc::mincore(pages.cast(), 2 * PAGE, seen.as_mut_ptr()))?;
    eq(seen[0] & 1, 1)?;
    fails(libc::mincore(pages.add(1).cast(), PAGE, seen.as_mut_ptr()), libc::EINVAL)?;
    fails(libc::mincore(pages.cast(), PAGE, 8 as *mut u8), libc::EFAULT)?;
    ok(libc::munmap(pages.add(PAGE).cast(), PAGE))?;
    fails(libc::mincore(pages.cast(), 2 * PAGE, seen.as_mut_ptr()), libc::ENOMEM)
}

#[inline(never)]
fn deep(left: usize) -> usize {
    let room = std::hint::black_box([left as u8; 4096]);
    if left == 0 { 0 } else { deep(left - 1) + usize::from(room[100] == left as u8) }
}

unsafe fn stack_grows() -> Done {
    eq(deep(1000), 1000) // about 4 MiB of 8
}

unsafe fn run_of_a_mapped_page() -> Done {
    let code = [0xb8, 42, 0, 0, 0, 0xc3]; // mov eax, 42; ret
    let page = memory(PAGE)?;
    std::ptr::copy_nonoverlapping(code.as_ptr(), page, code.len());
    ok(libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC))?;
    let run: extern "C" fn() -> c_int = std::mem::transmute(page);
    eq(run(), 42)?;
    let fd = file(c"code", &code)?;
    let page = map(PAGE, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, fd)?;
    let run: extern "C" fn() -> c_int = std::mem::transmute(page);
    eq(run(), 42)?;
    // Code that is rewritten through another mapping runs as it now is.
    ok(libc::pwrite(fd, [7u8].as_ptr().cast(), 1, 1))?;
    eq(run(), 7)
}

unsafe fn big_sparse_mapping() -> Done {
    const LEN: usize = 1 << 30;
    let flags = ANON | libc::MAP_NORESERVE;
    let big = ok(mmap(null_mut(), LEN, RW, flags, -1, 0))?.cast::<u8>();
    for i in 0..64 {
        *big.add(i * (LEN / 64) + i) = i as u8;
    }
    check((0..64).all(|i| *big.add(i * (LEN / 64) + i) == i as u8), "all are kept")?;
    ok(libc::munmap(big.cast(), LEN)).map(drop)
}

unsafe fn noreserve_is_cheap() -> Done {
    let flags = ANON | libc::MAP_NORESERVE;
    let at = ok(mmap(null_mut(), 1 << 36, libc::PROT_NONE, flags, -1, 0))?;
    ok(libc::mprotect(at.cast::<u8>().add(1 << 35).cast(), PAGE, RW))?;
    *at.cast::<u8>().add(1 << 35) = 1;
    ok(libc::munmap(at, 1 << 36)).map(drop)
}

/// A page whose successor is not mapped.
unsafe fn edge() -> Done<*mut u8> {
    let pages = memory(2 * PAGE)?;
    ok(libc::munmap(pages.add(PAGE).cast(), PAGE))?;
    Ok(pages)
}

unsafe fn efault_at_the_edge_read() -> Done {
    let (page, fd) = (edge()?, file(c"f", &[7; 100])?);
    fails(libc::read(fd, page.add(PAGE).cast(), 100), libc::EFAULT)?;
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 0)?;
    eq(ok(libc::read(fd, page.add(PAGE - 30).cast(), 100))?, 30)?; // what fitted
    eq(libc::lseek(fd, 0, libc::SEEK_CUR), 30)?;
    eq(*page.add(PAGE - 1), 7)
}

unsafe fn efault_at_the_edge_write() -> Done {
    let (page, fd) = (edge()?, file(c"f", b"")?);
    eq(ok(libc::write(fd, page.add(PAGE - 30).cast(), 100))?, 30)?;
    fails(libc::write(fd, page.add(PAGE).cast(), 100), libc::EFAULT)?;
    eq(libc::lseek(fd, 0, libc::SEEK_END), 30)?;
    let mut iov = [libc::iovec { iov_base: page.cast(), iov_len: 10 }; 2];
    iov[1].iov_base = page.add(PAGE).cast();
    eq(ok(libc::writev(fd, iov.as_ptr(), 2))?, 10)
}

unsafe fn efault_of_read_only() -> Done {
    let page = map(PAGE, libc::PROT_READ, ANON, -1)?;
    let fd = file(c"f", b"hello")?;
    fails(libc::read(fd, page.cast(), 5), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_fstat, fd, page), libc::EFAULT)?;
    ok(libc::write(fd, page.cast(), 5)).map(drop)
}

unsafe fn efault_leaves_no_trace() -> Done {
    let before = ok(libc::dup(2))?;
    ok(libc::close(before))?;
    fails(libc::syscall(libc::SYS_pipe2, 8usize, 0), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, 8usize), libc::EFAULT)?;
    eq(ok(libc::dup(2))?, before) // no descriptor leaked
}

unsafe fn kernel_pointers_are_refused() -> Done {
    let fd = file(c"f", b"hello")?;
    for at in [0xffff_8000_0000_0000u64, 0xffff_ffff_8000_0000, 1 << 63, 1 << 47, u64::MAX] {
        fails(libc::read(fd, at as *mut c_void, 5), libc::EFAULT)?;
        fails(libc::write(fd, at as *const c_void, 5), libc::EFAULT)?;
        fails(libc::open(at as *const i8, libc::O_RDONLY), libc::EFAULT)?;
        fails(libc::syscall(libc::SYS_nanosleep, at, 0), libc::EFAULT)?;
        fails(libc::syscall(libc::SYS_uname, at), libc::EFAULT)?;
    }
    Ok(())
}

unsafe fn mlock_rules() -> Done {
    let page = memory(PAGE)?;
    ok(libc::mlock(page.cast(), PAGE))?;
    ok(libc::munlock(page.cast(), PAGE))?;
    ok(libc::munmap(page.cast(), PAGE))?;
    fails(libc::mlock(page.cast(), PAGE), libc::ENOMEM)
}

unsafe fn file_map_after_truncate() -> Done {
    let fd = file(c"f", &[5; 2 * PAGE])?;
    let pages = map(2 * PAGE, RW, libc::MAP_SHARED, fd)?;
    eq(*pages.add(PAGE), 5)?;
    ok(libc::ftruncate(fd, 10))?;
    check(!readable(pages.add(PAGE))?, "the second page is gone")?;
    eq((pages.add(9).read_volatile(), pages.add(10).read_volatile()), (5, 0))?;
    ok(libc::ftruncate(fd, 2 * PAGE as i64))?;
    eq(pages.add(PAGE).read_volatile(), 0)
}

unsafe fn zero_device_maps() -> Done {
    let fd = ok(libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR))?;
    let page = map(PAGE, RW, libc::MAP_PRIVATE, fd)?;
    eq(*page, 0)?;
    *page = 1;
    let mut bytes = [1u8; 10];
    eq(ok(libc::read(fd, bytes.as_mut_ptr().cast(), 10))?, 10)?;
    eq(bytes, [0; 10])
}

unsafe fn process_vm_readv_copies() -> Done {
    let page = memory(PAGE)?;
    *page = 42;
    let pid = spawn(|| {
        *page = 43;
        sleep_ms(5000);
        Ok(())
    })?;
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: page.cast(), iov_len: 1 };
    if libc::process_vm_readv(pid, &here, 1, &there, 1, 0) == -1 && errno() == libc::ENOSYS {
        return skip("no process_vm_readv here");
    }
    soon("the child's change is seen", || {
        libc::process_vm_readv(pid, &here, 1, &there, 1, 0) == 1 && (&raw const byte).read_volatile() == 43
    })?;
    ok(libc::kill(pid, libc::SIGKILL)).map(drop)
}

unsafe fn dev_null_ignores_pointers() -> Done {
    let fd = ok(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR))?;
    eq(ok(libc::write(fd, 8 as *const c_void, 100))?, 100)?;
    eq(ok(libc::read(fd, 8 as *mut c_void, 100))?, 0)?;
    let empty = file(c"f", b"")?;
    eq(ok(libc::read(empty, null_mut(), 1))?, 0) // at the end there is nothing to copy
}
