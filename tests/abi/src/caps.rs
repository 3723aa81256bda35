//! Capabilities, `prctl(2)` and `personality(2)`.

use std::ffi::CStr;

use libc::{c_int, c_long, c_ulong};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    bounding_set_shrinks,
    keepcaps_keeps,
    secure_bits_lock,
    no_setuid_fixup,
    ambient_needs_both,
    ambient_survives_exec,
    file_capabilities_at_exec,
    file_capabilities_hide_the_program,
    file_capabilities_are_checked,
    writes_take_file_capabilities,
    no_new_privs_stops_file_capabilities,
    fsuid_takes_file_capabilities,
    timer_slack,
    memory_error_policy,
    huge_pages_and_tsc,
    thread_id_address,
    options_that_are_not_there,
    personality_is_kept,
    addresses_can_be_fixed,
];

const CHOWN: c_ulong = 0;
const KILL: c_ulong = 5;
const NET_RAW: c_ulong = 13;

unsafe fn prctl(option: c_int, args: [c_ulong; 4]) -> c_long {
    libc::syscall(libc::SYS_prctl, option, args[0], args[1], args[2], args[3])
}

/// Effective, permitted and inheritable sets.
#[track_caller]
unsafe fn capabilities() -> Done<[u64; 3]> {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    ok(libc::syscall(libc::SYS_capget, &header, &mut data))?;
    Ok([0, 1, 2].map(|set: usize| u64::from(data[set]) | u64::from(data[set + 3]) << 32))
}

unsafe fn set_capabilities(sets: [u64; 3]) -> c_long {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    for (index, set) in sets.into_iter().enumerate() {
        (data[index], data[index + 3]) = (set as u32, (set >> 32) as u32);
    }
    libc::syscall(libc::SYS_capset, &header, &data)
}

/// What `show WHAT` of this program says, started anew.
fn shown(path: &CStr, what: &CStr) -> Done<String> {
    let (text, word) = run_program(path, &[c"show", what], &[])?;
    eq(word, 0)?;
    Ok(text)
}

/// A number of /proc/self/status of this program, started anew.
fn status_after_exec(path: &CStr, name: &str) -> Done<u64> {
    let text = shown(path, c"status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16)
        .or_else(|_| fail(format!("no {name} in {text}")))
}

unsafe fn bounding_set_shrinks() -> Done {
    fails(prctl(libc::PR_CAPBSET_READ, [64, 0, 0, 0]), libc::EINVAL)?;
    in_child(|| {
        drop_root()?;
        fails(prctl(libc::PR_CAPBSET_DROP, [KILL, 0, 0, 0]), libc::EPERM)
    })?;
    need_root()?;
    in_child(|| {
        eq(ok(prctl(libc::PR_CAPBSET_READ, [KILL, 0, 0, 0]))?, 1)?;
        ok(prctl(libc::PR_CAPBSET_DROP, [KILL, 0, 0, 0]))?;
        eq(ok(prctl(libc::PR_CAPBSET_READ, [KILL, 0, 0, 0]))?, 0)?;
        fails(prctl(libc::PR_CAPBSET_DROP, [64, 0, 0, 0]), libc::EINVAL)?;
        eq(status_after_exec(&own_path(), "CapPrm")? >> KILL & 1, 0)
    })
}

unsafe fn keepcaps_keeps() -> Done {
    fails(prctl(libc::PR_SET_KEEPCAPS, [2, 0, 0, 0]), libc::EINVAL)?;
    need_root()?;
    in_child(|| {
        ok(prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0]))?;
        eq(ok(prctl(libc::PR_GET_KEEPCAPS, [0; 4]))?, 1)?;
        let before = capabilities()?;
        ok(libc::setresuid(1000, 1000, 1000))?;
        let [effective, permitted, _] = capabilities()?;
        eq((effective, permitted), (0, before[1]))
    })?;
    in_child(|| {
        ok(libc::setresuid(1000, 1000, 1000))?;
        eq(capabilities()?[1], 0)
    })
}

unsafe fn secure_bits_lock() -> Done {
    let own = ok(prctl(libc::PR_GET_SECUREBITS, [0; 4]))?;
    eq(own, 0)?;
    need_root()?;
    in_child(|| {
        fails(prctl(libc::PR_SET_SECUREBITS, [1 << 20, 0, 0, 0]), libc::EPERM)?;
        ok(prctl(libc::PR_SET_SECUREBITS, [0b11, 0, 0, 0]))?;
        fails(prctl(libc::PR_SET_SECUREBITS, [0, 0, 0, 0]), libc::EPERM)?;
        fails(prctl(libc::PR_SET_SECUREBITS, [0b10, 0, 0, 0]), libc::EPERM)?;
        eq(ok(prctl(libc::PR_GET_SECUREBITS, [0; 4]))?, 0b11)?;
        // Root is no more than others now.
        eq(status_after_exec(&own_path(), "CapEff")?, 0)
    })
}

unsafe fn no_setuid_fixup() -> Done {
    need_root()?;
    in_child(|| {
        ok(prctl(libc::PR_SET_SECUREBITS, [0b100, 0, 0, 0]))?;
        let before = capabilities()?;
        ok(libc::setresuid(1000, 1000, 1000))?;
        eq(capabilities()?, before)
    })
}

unsafe fn ambient_needs_both() -> Done {
    const RAISE: c_ulong = 2;
    let ambient = |operation, cap| prctl(libc::PR_CAP_AMBIENT, [operation, cap, 0, 0]);
    fails(ambient(9, KILL), libc::EINVAL)?;
    fails(ambient(RAISE, 64), libc::EINVAL)?;
    fails(prctl(libc::PR_CAP_AMBIENT, [4, 1, 0, 0]), libc::EINVAL)?;
    fails(ambient(RAISE, KILL), libc::EPERM)?;
    need_root()?;
    in_child(|| {
        let [effective, permitted, _] = capabilities()?;
        ok(set_capabilities([effective, permitted, 1 << KILL]))?;
        ok(ambient(RAISE, KILL))?;
        eq(ok(ambient(1, KILL))?, 1)?;
        ok(ambient(3, KILL))?;
        eq(ok(ambient(1, KILL))?, 0)?;
        ok(ambient(RAISE, KILL))?;
        // Without the inheritable one there is no ambient one.
        ok(set_capabilities([effective, permitted, 0]))?;
        eq(ok(ambient(1, KILL))?, 0)
    })
}

unsafe fn ambient_survives_exec() -> Done {
    need_root()?;
    in_child(|| {
        let [effective, permitted, _] = capabilities()?;
        ok(set_capabilities([effective, permitted, 1 << KILL | 1 << NET_RAW]))?;
        ok(prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0]))?;
        ok(libc::setresuid(1000, 1000, 1000))?;
        ok(prctl(libc::PR_CAP_AMBIENT, [2, KILL, 0, 0]))?;
        eq(status_after_exec(&own_path(), "CapEff")?, 1 << KILL)
    })
}

/// A copy of this program with that capability as a file's.
unsafe fn program_with(cap: c_ulong, effective: bool) -> Done<&'static CStr> {
    let path = c"/tmp/abi-caps";
    let _ = std::fs::remove_file("/tmp/abi-caps");
    let own = own_path();
    check(std::fs::copy(own.to_string_lossy().as_ref(), "/tmp/abi-caps").is_ok(), "a copy of the program")?;
    let value = [0x0200_0000u32 | u32::from(effective), 1 << cap, 0, 0, 0];
    if libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), 20, 0) == -1 {
        return skip(format!("no file capabilities here: {}", name_of(errno())));
    }
    Ok(path)
}

unsafe fn file_capabilities_at_exec() -> Done {
    need_root()?;
    let path = program_with(CHOWN, true)?;
    in_child(|| {
        drop_root()?;
        eq(status_after_exec(path, "CapEff")?, 1 << CHOWN)
    })?;
    let path = program_with(CHOWN, false)?;
    in_child(|| {
        drop_root()?;
        eq((status_after_exec(path, "CapEff")?, status_after_exec(path, "CapPrm")?), (0, 1 << CHOWN))
    })?;
    // Not beyond the bounding set: a program that counts on them is not started.
    let path = program_with(CHOWN, true)?;
    let bounded = in_child(|| {
        ok(prctl(libc::PR_CAPBSET_DROP, [CHOWN, 0, 0, 0]))?;
        drop_root()?;
        let words = [path.as_ptr(), std::ptr::null()];
        fails(libc::execve(path.as_ptr(), words.as_ptr(), words[1..].as_ptr()), libc::EPERM)
    });
    let _ = std::fs::remove_file("/tmp/abi-caps");
    bounded
}

unsafe fn file_capabilities_hide_the_program() -> Done {
    need_root()?;
    let path = program_with(CHOWN, true)?;
    let done = in_child(|| {
        drop_root()?;
        eq(&*shown(path, c"dumpable")?, "0\n")
    });
    let _ = std::fs::remove_file("/tmp/abi-caps");
    done
}

unsafe fn file_capabilities_are_checked() -> Done {
    let fd = file(c"plain", b"")?;
    let set = |value: &[u32]| {
        libc::fsetxattr(fd, c"security.capability".as_ptr(), value.as_ptr().cast(), value.len() * 4, 0)
    };
    fails(set(&[0x0200_0000, 1]), libc::EINVAL)?;
    fails(set(&[0x0700_0000, 1, 0, 0, 0]), libc::EINVAL)?;
    in_child(|| {
        drop_root()?;
        fails(set(&[0x0200_0000, 1, 0, 0, 0]), libc::EPERM)
    })
}

/// Also if root writes, and if the owner stays the same.
unsafe fn writes_take_file_capabilities() -> Done {
    need_root()?;
    let fd = file(c"program", b"text")?;
    let value: [u32; 5] = [0x0200_0001, 1 << CHOWN, 0, 0, 0];
    let set = || libc::fsetxattr(fd, c"security.capability".as_ptr(), value.as_ptr().cast(), 20, 0);
    if set() == -1 && errno() == libc::EOPNOTSUPP {
        return skip("no such attributes here");
    }
    let has = || libc::fgetxattr(fd, c"security.capability".as_ptr(), std::ptr::null_mut(), 0) == 20;
    ok(libc::fchmod(fd, 0o755))?;
    check(has(), "permission bits are no reason")?;
    ok(libc::pwrite(fd, c"T".as_ptr().cast(), 1, 0))?;
    check(!has(), "after a write")?;
    ok(set())?;
    ok(libc::ftruncate(fd, 2))?;
    check(!has(), "after it was cut")?;
    ok(set())?;
    ok(libc::fchown(fd, 0, 0))?;
    check(!has(), "after it got an owner")
}

unsafe fn no_new_privs_stops_file_capabilities() -> Done {
    need_root()?;
    let path = program_with(CHOWN, true)?;
    let done = in_child(|| {
        drop_root()?;
        ok(prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]))?;
        eq(status_after_exec(path, "CapEff")?, 0)
    });
    let _ = std::fs::remove_file("/tmp/abi-caps");
    done
}

unsafe fn fsuid_takes_file_capabilities() -> Done {
    need_root()?;
    in_child(|| {
        libc::setfsuid(1000);
        let effective = capabilities()?[0];
        eq((effective >> CHOWN & 1, effective >> KILL & 1), (0, 1))?;
        check(libc::prctl(libc::PR_GET_DUMPABLE) != 1, "it can be dumped no more")?;
        libc::setfsuid(0);
        eq(capabilities()?[0] >> CHOWN & 1, 1)
    })
}

unsafe fn timer_slack() -> Done {
    eq(ok(prctl(libc::PR_GET_TIMERSLACK, [0; 4]))?, 50_000)?;
    in_child(|| {
        ok(prctl(libc::PR_SET_TIMERSLACK, [777, 0, 0, 0]))?;
        in_child(|| eq(ok(prctl(libc::PR_GET_TIMERSLACK, [0; 4]))?, 777))
    })
}

unsafe fn memory_error_policy() -> Done {
    const GET: c_int = 34;
    const SET: c_int = 33;
    if prctl(GET, [0; 4]) == -1 && errno() == libc::EINVAL {
        return skip("no policy of memory errors here");
    }
    eq(ok(prctl(GET, [0; 4]))?, 2)?;
    fails(prctl(SET, [0, 1, 0, 0]), libc::EINVAL)?;
    ok(prctl(SET, [1, 1, 0, 0]))?;
    eq(ok(prctl(GET, [0; 4]))?, 1)?;
    ok(prctl(SET, [0, 0, 0, 0]))?;
    eq(ok(prctl(GET, [0; 4]))?, 2)?;
    fails(prctl(SET, [1, 3, 0, 0]), libc::EINVAL)
}

unsafe fn huge_pages_and_tsc() -> Done {
    const SET: c_int = 41;
    const GET: c_int = 42;
    fails(prctl(GET, [1, 0, 0, 0]), libc::EINVAL)?;
    ok(prctl(SET, [1, 0, 0, 0]))?;
    in_child(|| eq(ok(prctl(GET, [0; 4]))?, 1))?;
    let mut mode = 0;
    ok(prctl(libc::PR_GET_TSC, [&mut mode as *mut c_int as c_ulong, 0, 0, 0]))?;
    eq(mode, 1)?;
    ok(prctl(libc::PR_SET_TSC, [1, 0, 0, 0]))?;
    fails(prctl(libc::PR_SET_TSC, [9, 0, 0, 0]), libc::EINVAL)
}

unsafe fn thread_id_address() -> Done {
    const GET: c_int = 40;
    let mut word = 0u32;
    let mut found: c_ulong = 0;
    ok(libc::syscall(libc::SYS_set_tid_address, &mut word))?;
    if prctl(GET, [&mut found as *mut c_ulong as c_ulong, 0, 0, 0]) == -1 {
        return skip("no checkpoints here");
    }
    ok(libc::syscall(libc::SYS_set_tid_address, 0))?;
    eq(found, &raw mut word as c_ulong)
}

unsafe fn options_that_are_not_there() -> Done {
    // Unaligned accesses, floating point modes, byte order: other machines' options.
    for option in [5, 6, 9, 10, 11, 12, 19, 20, 9999] {
        fails(prctl(option, [1, 0, 0, 0]), libc::EINVAL)?;
    }
    in_child(|| {
        drop_root()?;
        fails(prctl(libc::PR_SET_MM, [1, 0x1000, 0, 0]), libc::EPERM)
    })
}

unsafe fn personality_is_kept() -> Done {
    eq(ok(libc::personality(0xffff_ffff))?, 0)?;
    in_child(|| {
        eq(ok(libc::personality(libc::ADDR_NO_RANDOMIZE as c_ulong))?, 0)?;
        in_child(|| eq(ok(libc::personality(0xffff_ffff))?, libc::ADDR_NO_RANDOMIZE))
    })
}

unsafe fn addresses_can_be_fixed() -> Done {
    in_child(|| {
        ok(libc::personality(libc::ADDR_NO_RANDOMIZE as c_ulong))?;
        let stack = || -> Done<String> {
            let (text, status) = run_self(&[c"show", c"stack"], &[])?;
            eq(status, 0)?;
            Ok(text)
        };
        eq(stack()?, stack()?)
    })
}
