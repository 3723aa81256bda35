//! Signals for what happens in an open directory. fcntl(2), F_NOTIFY.

use std::fs;
use std::sync::atomic::Ordering::SeqCst;

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    arguments_are_checked,
    a_signal_names_the_descriptor,
    once_unless_asked,
    requests_add_up,
    a_rename_is_within,
    of_itself_and_what_is_in_it,
    closing_ends_it,
    the_owner_gets_it,
    nobody_signals_others,
];

const ACCESS: c_int = 1;
const MODIFY: c_int = 2;
const CREATE: c_int = 4;
const DELETE: c_int = 8;
const RENAME: c_int = 16;
const ATTRIB: c_int = 32;
const MULTISHOT: c_int = i32::MIN;

unsafe fn notify(fd: c_int, mask: c_int) -> c_int {
    libc::fcntl(fd, libc::F_NOTIFY, mask)
}

/// A directory `d`, open, of which a signal tells.
unsafe fn open() -> Done<c_int> {
    check(fs::create_dir("d").is_ok() && fs::create_dir("e").is_ok(), "directories")?;
    let fd = ok(libc::open(c"d".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY))?;
    on(libc::SIGIO, note, 0)?;
    on(libc::SIGRTMIN(), note, 0)?;
    if notify(fd, 0) == -1 && errno() == libc::EINVAL {
        return skip("not configured");
    }
    Ok(fd)
}

/// How many signals came of it.
fn signals(what: &str, act: impl FnOnce() -> std::io::Result<()>) -> Done<usize> {
    let before = SIGNALS.load(SeqCst);
    if let Err(error) = act() {
        return fail(format!("{what}: {error}"));
    }
    Ok(SIGNALS.load(SeqCst) - before)
}

unsafe fn arguments_are_checked() -> Done {
    let fd = open()?;
    let plain = file(c"f", b"")?;
    fails(notify(plain, CREATE), libc::ENOTDIR)?;
    eq(ok(notify(fd, MULTISHOT))?, 0)?;
    eq(ok(notify(fd, CREATE))?, 0)?;
    eq(ok(libc::fcntl(fd, libc::F_GETOWN))?, libc::getpid())
}

unsafe fn a_signal_names_the_descriptor() -> Done {
    let fd = open()?;
    ok(notify(fd, CREATE | MULTISHOT))?;
    eq(signals("create", || fs::write("d/a", ""))?, 1)?;
    eq(LAST_SIGNAL.load(SeqCst), libc::SIGIO)?;
    ok(libc::fcntl(fd, 10, libc::SIGRTMIN()))?; // F_SETSIG
    eq(signals("create", || fs::create_dir("d/b"))?, 1)?;
    // POLL_MSG, and where a sender would be, the band; the descriptor is where its value would be.
    eq((LAST_SIGNAL.load(SeqCst), LAST_CODE.load(SeqCst)), (libc::SIGRTMIN(), 3))?;
    eq((LAST_PID.load(SeqCst), LAST_VALUE.load(SeqCst) as c_int), (0x441, fd))
}

unsafe fn once_unless_asked() -> Done {
    let fd = open()?;
    ok(notify(fd, CREATE))?;
    eq(signals("create", || fs::write("d/a", ""))?, 1)?;
    eq(signals("create", || fs::write("d/b", ""))?, 0)?;
    ok(notify(fd, CREATE | MULTISHOT))?;
    eq(signals("create", || fs::write("d/c", ""))?, 1)?;
    eq(signals("create", || fs::write("d/d", ""))?, 1)?;
    ok(notify(fd, 0))?;
    eq(signals("create", || fs::write("d/e", ""))?, 0)
}

unsafe fn requests_add_up() -> Done {
    let fd = open()?;
    ok(notify(fd, CREATE | MULTISHOT))?;
    ok(notify(fd, DELETE | ATTRIB | MULTISHOT))?;
    eq(signals("create", || fs::write("d/a", ""))?, 1)?;
    eq(signals("write", || fs::write("d/a", "content"))?, 0)?;
    eq(signals("delete", || fs::remove_file("d/a"))?, 1)?;
    ok(notify(fd, MODIFY | ACCESS | MULTISHOT))?;
    fs::write("f", "content").ok();
    eq(signals("moved in", || fs::rename("f", "d/f"))?, 1)?;
    eq(signals("read", || fs::read("d/f").map(drop))?, 1)?;
    let shrink = || fs::OpenOptions::new().write(true).open("d/f")?.set_len(1);
    check(signals("cut", shrink)? >= 1, "cut")?;
    eq(signals("moved out", || fs::rename("d/f", "f"))?, 1)
}

unsafe fn a_rename_is_within() -> Done {
    let fd = open()?;
    check(fs::write("d/a", "").is_ok() && fs::write("f", "").is_ok(), "files")?;
    ok(notify(fd, RENAME | MULTISHOT))?;
    eq(signals("rename", || fs::rename("d/a", "d/b"))?, 1)?;
    eq(signals("moved out", || fs::rename("d/b", "e/b"))?, 0)?;
    eq(signals("moved in", || fs::rename("e/b", "d/b"))?, 0)
}

unsafe fn of_itself_and_what_is_in_it() -> Done {
    let fd = open()?;
    check(fs::create_dir("d/sub").is_ok(), "a directory")?;
    ok(notify(fd, CREATE | DELETE | ATTRIB | MULTISHOT))?;
    eq(signals("below", || fs::write("d/sub/a", ""))?, 0)?;
    eq(
        signals("itself", || fs::set_permissions("d", std::os::unix::fs::PermissionsExt::from_mode(0o700)))?,
        1,
    )?;
    eq(signals("beside", || fs::write("e/a", ""))?, 0)
}

unsafe fn closing_ends_it() -> Done {
    let fd = open()?;
    ok(notify(fd, CREATE | MULTISHOT))?;
    ok(libc::close(fd))?;
    eq(signals("create", || fs::write("d/a", ""))?, 0)
}

unsafe fn the_owner_gets_it() -> Done {
    let fd = open()?;
    let child = spawn(|| {
        on(libc::SIGIO, note, 0)?;
        soon("its signal", || SIGNALS.load(SeqCst) == 1)
    })?;
    ok(libc::fcntl(fd, libc::F_SETOWN, child))?;
    ok(notify(fd, CREATE | MULTISHOT))?;
    sleep_ms(50);
    eq(signals("create", || fs::write("d/a", ""))?, 0)?;
    join(child)
}

unsafe fn nobody_signals_others() -> Done {
    need_root()?;
    let other = sleeping()?;
    in_child(|| {
        ok(libc::chmod(c".".as_ptr(), 0o777))?;
        drop_root()?;
        let fd = open()?;
        ok(libc::fcntl(fd, libc::F_SETOWN, other))?;
        ok(libc::fcntl(fd, 10, libc::SIGKILL))?;
        ok(notify(fd, CREATE | MULTISHOT))?;
        eq(signals("create", || fs::write("d/a", ""))?, 0)
    })?;
    sleep_ms(50);
    ok(libc::kill(other, 0))?;
    check(state(other) != 'Z', "it lives")?;
    end(other)
}
