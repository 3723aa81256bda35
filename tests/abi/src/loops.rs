//! Loop devices: files as disks. loop(4).

use std::ffi::CString;
use std::fs;

use libc::{c_int, c_ulong};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    a_file_is_a_disk,
    offset_and_limit_cut_it,
    capacity_follows_the_file,
    a_device_open_for_reading_is_read_only,
    the_last_user_clears,
    clearing_waits_for_others,
    a_device_does_not_show_itself,
    devices_come_and_go,
];

const SET_FD: c_ulong = 0x4c00;
const CLR_FD: c_ulong = 0x4c01;
const SET_STATUS64: c_ulong = 0x4c04;
const GET_STATUS64: c_ulong = 0x4c05;
const SET_CAPACITY: c_ulong = 0x4c07;
const SET_BLOCK_SIZE: c_ulong = 0x4c09;
const CONFIGURE: c_ulong = 0x4c0a;
const CTL_ADD: c_ulong = 0x4c80;
const CTL_REMOVE: c_ulong = 0x4c81;
const CTL_GET_FREE: c_ulong = 0x4c82;
const BLKGETSIZE64: c_ulong = 0x8008_1272;
const BLKSSZGET: c_ulong = 0x1268;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt: [u32; 2],
    flags: u32,
    name: [u8; 64],
    crypt_name: [u8; 64],
    key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

// SAFETY: numbers only.
const INFO: Info = unsafe { std::mem::zeroed() };

/// A loop device that shows nothing yet, and its number; it is cleared at the end.
struct Loop {
    fd: c_int,
    number: c_int,
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe {
            libc::ioctl(self.fd, CLR_FD);
            libc::close(self.fd);
        }
    }
}

unsafe fn control() -> Done<c_int> {
    need_root()?;
    let control = libc::open(c"/dev/loop-control".as_ptr(), libc::O_RDWR);
    if control == -1 { skip(format!("no loop devices: {}", name_of(errno()))) } else { Ok(control) }
}

unsafe fn open(number: c_int, flags: c_int) -> Done<c_int> {
    let path = CString::new(format!("loop{number}")).expect("it has no NUL");
    libc::mknod(path.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(7, number as u32));
    let fd = libc::open(path.as_ptr(), flags);
    if fd == -1 { skip(format!("loop{number}: {}", name_of(errno()))) } else { Ok(fd) }
}

unsafe fn free(flags: c_int) -> Done<Loop> {
    let control = control()?;
    let number = ok(libc::ioctl(control, CTL_GET_FREE))?;
    ok(libc::close(control))?;
    Ok(Loop { fd: open(number, flags)?, number })
}

/// A file of so many sectors, each full of its number.
unsafe fn file(sectors: u8) -> Done<c_int> {
    fs::write("f", (0..sectors).flat_map(|n| [n; 512]).collect::<Vec<u8>>()).expect("a file can be written");
    ok(libc::open(c"f".as_ptr(), libc::O_RDWR))
}

unsafe fn configure(device: &Loop, fd: c_int, info: Info, block_size: u32) -> c_int {
    let config = Config { fd: fd as u32, block_size, info, reserved: [0; 8] };
    libc::ioctl(device.fd, CONFIGURE, &config)
}

unsafe fn size(device: &Loop) -> Done<u64> {
    let mut size = 0u64;
    ok(libc::ioctl(device.fd, BLKGETSIZE64, &mut size))?;
    Ok(size)
}

unsafe fn status(fd: c_int) -> Result<Info, c_int> {
    let mut info = INFO;
    if libc::ioctl(fd, GET_STATUS64, &mut info) == 0 { Ok(info) } else { Err(errno()) }
}

unsafe fn byte(device: &Loop, at: i64) -> Done<u8> {
    let mut sector = [0u8; 512];
    ok(libc::pread(device.fd, sector.as_mut_ptr().cast(), 512, at))?;
    Ok(sector[0])
}

unsafe fn a_file_is_a_disk() -> Done {
    let (device, f) = (free(libc::O_RDWR)?, file(20)?);
    eq(status(device.fd).err(), Some(libc::ENXIO))?;
    fails(libc::ioctl(device.fd, CLR_FD), libc::ENXIO)?;
    fails(libc::ioctl(device.fd, SET_FD, -1), libc::EBADF)?;
    ok(libc::ioctl(device.fd, SET_FD, f))?;
    fails(libc::ioctl(device.fd, SET_FD, f), libc::EBUSY)?;
    eq(size(&device)?, 20 * 512)?;
    eq(byte(&device, 512 * 7)?, 7)?;
    ok(libc::pwrite(device.fd, [99u8; 512].as_ptr().cast(), 512, 512 * 3))?;
    ok(libc::fsync(device.fd))?;
    eq(fs::read("f").expect("it is there")[512 * 3], 99)?;
    let info = status(device.fd).expect("it is set up");
    let mut stat = std::mem::zeroed::<libc::stat>();
    ok(libc::fstat(f, &mut stat))?;
    eq(info.number, device.number as u32)?;
    eq(info.inode, stat.st_ino)?;
    eq(info.flags, 0)?;
    ok(libc::ioctl(device.fd, CLR_FD))?;
    eq(status(device.fd).err(), Some(libc::ENXIO))
}

unsafe fn offset_and_limit_cut_it() -> Done {
    let (device, f) = (free(libc::O_RDWR)?, file(20)?);
    fails(configure(&device, f, INFO, 100), libc::EINVAL)?;
    ok(configure(&device, f, Info { offset: 1024, size_limit: 2048, ..INFO }, 512))?;
    eq(size(&device)?, 2048)?;
    eq(byte(&device, 512)?, 3)?;
    eq(status(device.fd).expect("it is set up").offset, 1024)?;
    let mut info = Info { offset: 512, ..INFO };
    info.name[..3].copy_from_slice(b"abc");
    ok(libc::ioctl(device.fd, SET_STATUS64, &info))?;
    eq(size(&device)?, 19 * 512)?;
    eq(byte(&device, 512)?, 2)?;
    eq(&status(device.fd).expect("it is set up").name[..4], b"abc\0")
}

unsafe fn capacity_follows_the_file() -> Done {
    let (device, f) = (free(libc::O_RDWR)?, file(20)?);
    fails(libc::ioctl(device.fd, SET_CAPACITY), libc::ENXIO)?;
    ok(libc::ioctl(device.fd, SET_FD, f))?;
    ok(libc::ftruncate(f, 40 * 512 + 7))?;
    eq(size(&device)?, 20 * 512)?;
    ok(libc::ioctl(device.fd, SET_CAPACITY))?;
    eq(size(&device)?, 40 * 512)?;
    eq(byte(&device, 39 * 512)?, 0)?;
    fails(libc::ioctl(device.fd, SET_BLOCK_SIZE, 700), libc::EINVAL)?;
    ok(libc::ioctl(device.fd, SET_BLOCK_SIZE, 4096))?;
    let mut block = 0 as c_int;
    ok(libc::ioctl(device.fd, BLKSSZGET, &mut block))?;
    eq(block, 4096)
}

unsafe fn a_device_open_for_reading_is_read_only() -> Done {
    let (device, f) = (free(libc::O_RDONLY)?, file(20)?);
    ok(libc::ioctl(device.fd, SET_FD, f))?;
    eq(status(device.fd).expect("it is set up").flags, READ_ONLY)?;
    let path = CString::new(format!("loop{}", device.number)).expect("it has no NUL");
    let second = libc::open(path.as_ptr(), libc::O_RDWR);
    if second != -1 {
        // Linux may open it: then it cannot be written.
        let written = libc::write(second, [1u8; 512].as_ptr().cast(), 512);
        libc::close(second);
        fails(written, libc::EPERM)?;
    }
    eq(fs::read("f").expect("it is there")[0], 0)
}

unsafe fn the_last_user_clears() -> Done {
    let (device, f) = (free(libc::O_RDWR)?, file(20)?);
    ok(configure(&device, f, Info { flags: AUTOCLEAR, ..INFO }, 0))?;
    let second = open(device.number, libc::O_RDONLY)?;
    eq(status(second).expect("it is set up").flags, AUTOCLEAR)?;
    let number = device.number;
    // The drop asks for a clear as well, which waits for the second.
    drop(device);
    eq(status(second).is_ok(), true)?;
    ok(libc::close(second))?;
    let again = open(number, libc::O_RDONLY)?;
    eq(status(again).err(), Some(libc::ENXIO))?;
    ok(libc::close(again)).map(drop)
}

unsafe fn clearing_waits_for_others() -> Done {
    let (device, f) = (free(libc::O_RDWR)?, file(20)?);
    ok(libc::ioctl(device.fd, SET_FD, f))?;
    let second = open(device.number, libc::O_RDONLY)?;
    ok(libc::ioctl(device.fd, CLR_FD))?;
    eq(status(second).expect("it is set up").flags & AUTOCLEAR, AUTOCLEAR)?;
    eq(byte(&device, 512)?, 1)?;
    ok(libc::close(second)).map(drop)
}

unsafe fn a_device_does_not_show_itself() -> Done {
    let device = free(libc::O_RDWR)?;
    fails(libc::ioctl(device.fd, SET_FD, device.fd), libc::EBADF)?;
    let ((pipe, _), null) = (pipe()?, ok(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR))?);
    fails(libc::ioctl(device.fd, SET_FD, null), libc::EINVAL)?;
    fails(libc::ioctl(device.fd, SET_FD, pipe), libc::EINVAL)?;
    // Nor one that shows nothing: it might come to show this one.
    let control = control()?;
    let number = 219;
    if libc::ioctl(control, CTL_ADD, number) == -1 {
        return skip(format!("loop{number} is there"));
    }
    let other = Loop { fd: open(number, libc::O_RDWR)?, number };
    fails(libc::ioctl(device.fd, SET_FD, other.fd), libc::EINVAL)?;
    drop(other);
    ok(libc::ioctl(control, CTL_REMOVE, number)).map(drop)
}

unsafe fn devices_come_and_go() -> Done {
    let control = control()?;
    let free = ok(libc::ioctl(control, CTL_GET_FREE))?;
    let number = 217;
    if libc::ioctl(control, CTL_ADD, number) == -1 {
        return skip(format!("loop{number} is there"));
    }
    fails(libc::ioctl(control, CTL_ADD, number), libc::EEXIST)?;
    fails(libc::ioctl(control, CTL_ADD, free), libc::EEXIST)?;
    let device = Loop { fd: open(number, libc::O_RDWR)?, number };
    fails(libc::ioctl(control, CTL_REMOVE, number), libc::EBUSY)?;
    drop(device);
    // Though loop(4) says that it gives the number.
    eq(ok(libc::ioctl(control, CTL_REMOVE, number))?, 0)?;
    fails(libc::ioctl(control, CTL_REMOVE, number), libc::ENODEV)
}
