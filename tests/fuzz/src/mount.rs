//! Options of mounts, by the old call and by the new ones, for every type of file system.

use arbitrary::Unstructured;
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, HERE};
use crate::instance;

const TYPES: [&[u8]; 13] = [
    b"tmpfs",
    b"proc",
    b"sysfs",
    b"devpts",
    b"overlay",
    b"mqueue",
    b"ext4",
    b"ext2",
    b"devtmpfs",
    b"ramfs",
    b"cgroup2",
    b"nsfs",
    b"x",
];

/// What options are made of.
const WORDS: [&[u8]; 46] = [
    b"size",
    b"mode",
    b"uid",
    b"gid",
    b"nr_inodes",
    b"nr_blocks",
    b"huge",
    b"mpol",
    b"ptmxmode",
    b"newinstance",
    b"max",
    b"hidepid",
    b"subset",
    b"pid",
    b"lowerdir",
    b"upperdir",
    b"workdir",
    b"redirect_dir",
    b"index",
    b"metacopy",
    b"xino",
    b"on",
    b"off",
    b"/dir",
    b"/tmp/u",
    b"/tmp/w",
    b"/dir:/tmp",
    b"\\:",
    b"data",
    b"ordered",
    b"journal",
    b"errors",
    b"remount-ro",
    b"continue",
    b"ro",
    b"rw",
    b"noatime",
    b"=",
    b"=",
    b",",
    b",",
    b"50%",
    b"1m",
    b"0x10",
    b"18446744073709551615",
    b"-1",
];

/// `FSCONFIG_SET_FLAG`, `FSCONFIG_SET_STRING`, `FSCONFIG_CMD_CREATE`.
const KEYS: [u64; 4] = [0, 1, 1, 6];

/// The bytes choose mounts.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let make = |path: &[u8]| Call::new(sys::__NR_mkdirat, &[HERE, 0, 0o777]).path(1, path);
    let mut calls = vec![make(b"/tmp/u"), make(b"/tmp/w"), make(b"/dir"), make(b"/dir/x")];
    while !choices.is_empty() && calls.len() < 24 {
        if any(&mut choices, &mut calls).is_err() {
            break;
        }
    }
    instance::run_calls(instance::config(&[]), calls);
}

fn any(choices: &mut Unstructured<'_>, calls: &mut Vec<Call>) -> arbitrary::Result<()> {
    let kind = choices.choose(&TYPES)?;
    let flags = match choices.int_in_range(0..=3)? {
        0 => choices.arbitrary::<u32>()?.into(),
        1 => sys::MS_REMOUNT.into(),
        _ => 0,
    };
    if choices.ratio(1, 3)? {
        // fsopen, fsconfig several times, fsmount, move_mount; whatever numbers the descriptors have.
        calls.push(Call::new(sys::__NR_fsopen, &[0, 0]).path(0, kind));
        for _ in 0..choices.int_in_range(1..=3)? {
            let (key, value) = (text(choices)?, text(choices)?);
            let command = *choices.choose(&KEYS)?;
            let mut call = Call::new(sys::__NR_fsconfig, &[3, command, 0, 0, 0]).path(2, &key);
            if command == 1 {
                call = call.path(3, &value);
            }
            calls.push(call);
        }
        calls.push(Call::new(sys::__NR_fsconfig, &[3, 6, 0, 0, 0]));
        calls.push(Call::new(sys::__NR_fsmount, &[3, 0, choices.arbitrary::<u8>()?.into()]));
        calls.push(Call::new(sys::__NR_move_mount, &[4, 0, HERE, 0, 4]).path(1, b"").path(3, b"/mnt"));
        calls.push(Call::new(sys::__NR_close_range, &[3, 20, 0]));
    } else {
        let call = Call::new(sys::__NR_mount, &[0, 0, 0, flags]).path(0, b"/dev/ubda").path(1, b"/mnt");
        calls.push(call.path(2, kind).path(4, &text(choices)?));
    }
    let read = |path: &[u8]| Call::new(sys::__NR_open, &[0, 0]).path(0, path);
    calls.push(read(b"/mnt/x"));
    calls.push(Call::new(sys::__NR_mkdirat, &[HERE, 0, 0o777]).path(1, b"/mnt/y"));
    calls.push(read(b"/proc/self/mountinfo"));
    for descriptor in 3..6 {
        calls.push(Call::new(sys::__NR_read, &[descriptor, DATA, 0x4000]));
    }
    calls.push(Call::new(sys::__NR_close_range, &[3, 20, 0]));
    Ok(())
}

fn text(choices: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let mut text = Vec::new();
    for _ in 0..choices.int_in_range(0..=6)? {
        if choices.ratio(1, 5)? {
            let len = choices.int_in_range(0..=9)?;
            text.extend_from_slice(choices.bytes(len)?);
        } else {
            text.extend_from_slice(choices.choose(&WORDS)?);
        }
    }
    text.retain(|&byte| byte != 0);
    Ok(text)
}
