//! Calls that hardly anybody makes any more.

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] =
    cases![file_system_types, ustat_finds_mounts, ports_are_not_to_be_had, numbers_of_calls_have_32_bits];

unsafe fn file_system_types() -> Done {
    let count = ok(libc::syscall(libc::SYS_sysfs, 3))?;
    check(count > 3, "there are some")?;
    let index = ok(libc::syscall(libc::SYS_sysfs, 1, c"proc".as_ptr()))?;
    let mut name = [0u8; 64];
    ok(libc::syscall(libc::SYS_sysfs, 2, index, name.as_mut_ptr()))?;
    eq(&name[..5], b"proc\0")?;
    fails(libc::syscall(libc::SYS_sysfs, 1, c"nothing".as_ptr()), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sysfs, 2, 9999, name.as_mut_ptr()), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_sysfs, 9), libc::EINVAL)
}

unsafe fn ustat_finds_mounts() -> Done {
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::stat(c"/proc".as_ptr(), &mut stat))?;
    let mut found = [7u64; 4];
    ok(libc::syscall(libc::SYS_ustat, stat.st_dev as c_int, found.as_mut_ptr()))?;
    eq(found, [0; 4])?;
    fails(libc::syscall(libc::SYS_ustat, 0xfff_ffff, found.as_mut_ptr()), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_ustat, stat.st_dev as c_int, 8), libc::EFAULT)
}

unsafe fn ports_are_not_to_be_had() -> Done {
    let ports = |from: u64, count: u64, on: c_int| libc::syscall(libc::SYS_ioperm, from, count, on);
    if ports(0, 1, 0) == -1 && errno() == libc::ENOSYS {
        return skip("no ports here");
    }
    fails(ports(65535, 2, 0), libc::EINVAL)?;
    fails(ports(0, 0, 0), libc::EINVAL)?;
    fails(libc::syscall(libc::SYS_iopl, 4), libc::EINVAL)?;
    eq(ok(libc::syscall(libc::SYS_iopl, 0))?, 0)?;
    in_child(|| {
        drop_root()?;
        fails(ports(0x80, 1, 1), libc::EPERM)?;
        fails(libc::syscall(libc::SYS_iopl, 3), libc::EPERM)
    })
}

unsafe fn numbers_of_calls_have_32_bits() -> Done {
    for above in [1i64 << 32, 1 << 62, -1 << 32] {
        eq(ok(libc::syscall(above | libc::SYS_getpid))?, i64::from(libc::getpid()))?;
        fails(libc::syscall(above | 0x4000_0000), libc::ENOSYS)?;
    }
    fails(libc::syscall(-1), libc::ENOSYS)
}
