//! Path names of any bytes, in every call that takes one, in a tree with links, mounts and files of all kinds.

use arbitrary::Unstructured;
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, HERE};
use crate::instance;

/// Where what calls give goes.
const OUT: u64 = DATA + 0x8000;
/// The calls of one input.
const MOST: usize = 40;

/// A call: its number, where its paths are among its arguments, the others.
struct Form {
    number: u32,
    paths: &'static [usize],
    args: [u64; 5],
}

const fn form(number: u32, paths: &'static [usize], args: [u64; 5]) -> Form {
    Form { number, paths, args }
}

const FORMS: [Form; 22] = [
    form(sys::__NR_openat, &[1], [HERE, 0, 0o4000, 0, 0]),
    form(sys::__NR_openat, &[1], [HERE, 0, 0o4102, 0o777, 0]),
    form(sys::__NR_newfstatat, &[1], [HERE, 0, OUT, 0, 0]),
    form(sys::__NR_newfstatat, &[1], [3, 0, OUT, 0x100, 0]),
    form(sys::__NR_readlinkat, &[1], [HERE, 0, OUT, 100, 0]),
    form(sys::__NR_mkdirat, &[1], [HERE, 0, 0o777, 0, 0]),
    form(sys::__NR_mknodat, &[1], [HERE, 0, 0o010_666, 0, 0]),
    form(sys::__NR_unlinkat, &[1], [HERE, 0, 0, 0, 0]),
    form(sys::__NR_unlinkat, &[1], [HERE, 0, 0x200, 0, 0]),
    form(sys::__NR_symlink, &[0, 1], [0; 5]),
    form(sys::__NR_linkat, &[1, 3], [HERE, 0, HERE, 0, 0]),
    form(sys::__NR_renameat2, &[1, 3], [HERE, 0, HERE, 0, 0]),
    form(sys::__NR_renameat2, &[1, 3], [HERE, 0, HERE, 0, 2]),
    form(sys::__NR_chdir, &[0], [0; 5]),
    form(sys::__NR_chroot, &[0], [0; 5]),
    form(sys::__NR_truncate, &[0], [0, 100, 0, 0, 0]),
    form(sys::__NR_statfs, &[0], [0, OUT, 0, 0, 0]),
    form(sys::__NR_getcwd, &[], [OUT, 300, 0, 0, 0]),
    form(sys::__NR_mount, &[0, 1], [0, 0, 0, sys::MS_BIND as u64, 0]),
    form(sys::__NR_mount, &[0, 1], [0, 0, 0, sys::MS_MOVE as u64, 0]),
    form(sys::__NR_umount2, &[0], [0, 2, 0, 0, 0]),
    form(sys::__NR_pivot_root, &[0, 1], [0; 5]),
];

const NAMES: [&[u8]; 20] = [
    b"/",
    b".",
    b"..",
    b"/tmp",
    b"/tmp/a",
    b"/tmp/b",
    b"/tmp/a/c",
    b"a",
    b"b",
    b"a/b",
    b"a/../b",
    b"l",
    b"/link",
    b"/loop",
    b"/dir/file",
    b"/proc/self/fd/3",
    b"/proc/self/root/tmp",
    b"/proc/self/cwd/a",
    b"/proc/self/exe",
    b"//tmp//./a//",
];

/// The bytes choose calls and their paths.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let mut calls = vec![
        mount(b"proc", b"/proc"),
        mount(b"tmpfs", b"/tmp"),
        Call::new(sys::__NR_chdir, &[0]).path(0, b"/tmp"),
        Call::new(sys::__NR_mkdirat, &[HERE, 0, 0o777]).path(1, b"a"),
        // It becomes descriptor 3.
        Call::new(sys::__NR_openat, &[HERE, 0, 0]).path(1, b"a"),
    ];
    while !choices.is_empty() && calls.len() < MOST {
        let Ok(next) = any(&mut choices) else { break };
        calls.push(next);
    }
    let files = [
        ("dir", 0o040_777, Vec::new()),
        ("dir/file", 0o100_644, vec![b'x'; 5000]),
        ("link", 0o120_777, b"dir".to_vec()),
        ("loop", 0o120_777, b"loop/x".to_vec()),
    ];
    instance::run_calls(instance::config(&files), calls);
}

fn mount(kind: &[u8], at: &[u8]) -> Call {
    Call::new(sys::__NR_mount, &[]).path(0, kind).path(1, at).path(2, kind)
}

fn any(choices: &mut Unstructured<'_>) -> arbitrary::Result<Call> {
    let form = choices.choose(&FORMS)?;
    let mut call = Call::new(form.number, &form.args);
    for &index in form.paths {
        call = call.path(index, &name(choices)?);
    }
    Ok(call)
}

/// Known names, bytes, and parts of either many times.
fn name(choices: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let mut name = Vec::new();
    for _ in 0..choices.int_in_range(1..=3)? {
        match choices.int_in_range(0..=9)? {
            0 => {
                let part = choices.choose(&NAMES)?;
                let times = choices.int_in_range(1..=250)?;
                for _ in 0..times {
                    name.extend_from_slice(part);
                    name.push(b'/');
                }
            }
            1 => name.extend(std::iter::repeat_n(choices.arbitrary::<u8>()?, choices.int_in_range(1..=300)?)),
            2 => {
                let len = choices.int_in_range(0..=12)?;
                name.extend_from_slice(choices.bytes(len)?);
            }
            _ => name.extend_from_slice(choices.choose(&NAMES)?),
        }
        if choices.ratio(1, 4)? {
            name.push(b'/');
        }
    }
    name.retain(|&byte| byte != 0);
    name.truncate(4200);
    Ok(name)
}
