//! Terminals, through pseudoterminals: line editing, signals, sessions, hang-ups. tty(4), pty(7), termios(3).

use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

use libc::{c_int, termios, winsize};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    ptmx_gives_a_pair,
    locked_slave_cannot_be_opened,
    isatty_and_enotty,
    line_is_given_whole,
    erase_kill_and_word,
    eof_ends_a_read,
    echo_forms,
    output_newline_becomes_crlf,
    input_cr_becomes_newline,
    raw_is_raw,
    vmin_and_vtime,
    noncanonical_poll,
    termios_is_kept,
    tcflush_discards,
    window_size_and_sigwinch,
    controlling_terminal_rules,
    interrupt_reaches_the_foreground,
    suspend_stops_the_foreground,
    isig_off_passes_the_byte,
    background_read_stops,
    background_read_of_orphans_fails,
    background_write_with_tostop,
    tcsetpgrp_rules,
    hangup_on_master_close,
    slave_close_gives_eio,
    dev_tty_is_the_controlling_one,
    nonblocking_master,
    long_lines_are_cut,
    fionread_of_a_line,
    packet_mode_tells,
    exclusive_and_queue_ioctls,
    locked_settings_stay,
];

struct Pty {
    master: c_int,
    slave: c_int,
}

unsafe fn master() -> Done<(c_int, std::ffi::CString)> {
    let fd = ok(libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?;
    let (mut number, unlock): (c_int, c_int) = (-1, 0);
    ok(libc::ioctl(fd, libc::TIOCGPTN, &mut number))?;
    ok(libc::ioctl(fd, libc::TIOCSPTLCK, &unlock))?;
    Ok((fd, std::ffi::CString::new(format!("/dev/pts/{number}")).unwrap_or_default()))
}

unsafe fn open() -> Done<Pty> {
    let (master, path) = master()?;
    let slave = ok(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?;
    Ok(Pty { master, slave })
}

unsafe fn attributes(fd: c_int) -> Done<termios> {
    let mut all = std::mem::zeroed();
    ok(libc::tcgetattr(fd, &mut all))?;
    Ok(all)
}

unsafe fn change(fd: c_int, change: impl FnOnce(&mut termios)) -> Done {
    let mut all = attributes(fd)?;
    change(&mut all);
    ok(libc::tcsetattr(fd, libc::TCSANOW, &all)).map(drop)
}

/// Waits until there is something to read.
unsafe fn readable(fd: c_int, ms: c_int) -> Done<bool> {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    ok(libc::poll(&mut one, 1, ms))?;
    Ok(one.revents & libc::POLLIN != 0)
}

/// What comes out within a second, until it ends as expected.
#[track_caller]
fn output_is(fd: c_int, want: &[u8]) -> Done {
    let mut all = Vec::new();
    // SAFETY: only descriptors are involved.
    while all.len() < want.len() && unsafe { readable(fd, 1000)? } {
        all.extend(get(fd)?);
    }
    eq(String::from_utf8_lossy(&all), String::from_utf8_lossy(want))
}

unsafe fn ptmx_gives_a_pair() -> Done {
    let (_master, path) = master()?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::stat(path.as_ptr(), &mut stat))?;
    eq(stat.st_mode & libc::S_IFMT, libc::S_IFCHR)?;
    eq((libc::major(stat.st_rdev), stat.st_uid), (136, libc::geteuid()))
}

unsafe fn locked_slave_cannot_be_opened() -> Done {
    let fd = ok(libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?;
    let mut number: c_int = -1;
    ok(libc::ioctl(fd, libc::TIOCGPTN, &mut number))?;
    let path = std::ffi::CString::new(format!("/dev/pts/{number}")).unwrap_or_default();
    fails(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY), libc::EIO)
}

unsafe fn isatty_and_enotty() -> Done {
    let pty = open()?;
    eq((libc::isatty(pty.slave), libc::isatty(pty.master)), (1, 1))?;
    let (r, _w) = pipe()?;
    eq(libc::isatty(r), 0)?;
    eq(errno(), libc::ENOTTY)?;
    fails(libc::ioctl(pty.slave, 0x5499), libc::ENOTTY)
}

unsafe fn line_is_given_whole() -> Done {
    let pty = open()?;
    put(pty.master, b"hel")?;
    check(!readable(pty.slave, 20)?, "no line yet")?;
    put(pty.master, b"lo\nmore\n")?;
    eq(get(pty.slave)?, b"hello\n")?; // one line a read
    let mut two = [0u8; 2];
    eq(ok(libc::read(pty.slave, two.as_mut_ptr().cast(), 2))?, 2)?;
    eq(get(pty.slave)?, b"re\n")
}

unsafe fn erase_kill_and_word() -> Done {
    let pty = open()?;
    put(pty.master, b"abx\x7fc\n")?;
    eq(get(pty.slave)?, b"abc\n")?;
    put(pty.master, b"forget\x15new\n")?;
    eq(get(pty.slave)?, b"new\n")?;
    put(pty.master, b"one two\x17three\n")?;
    eq(get(pty.slave)?, b"one three\n")?;
    put(pty.master, b"a\x16\x7fb\n")?; // quoted
    eq(get(pty.slave)?, b"a\x7fb\n")
}

unsafe fn eof_ends_a_read() -> Done {
    let pty = open()?;
    put(pty.master, b"\x04")?;
    eq(get(pty.slave)?, b"")?;
    put(pty.master, b"part\x04rest\n")?;
    eq(get(pty.slave)?, b"part")?;
    eq(get(pty.slave)?, b"rest\n")
}

unsafe fn echo_forms() -> Done {
    let pty = open()?;
    put(pty.master, b"ab\x7f")?;
    output_is(pty.master, b"ab\x08 \x08")?;
    put(pty.master, b"\x01\t\n")?;
    output_is(pty.master, b"^A\t\r\n")?; // ECHOCTL
    change(pty.slave, |all| all.c_lflag &= !libc::ECHO)?;
    put(pty.master, b"secret\n")?;
    check(!readable(pty.master, 30)?, "no echo")?;
    change(pty.slave, |all| all.c_lflag |= libc::ECHONL)?;
    put(pty.master, b"x\n")?;
    output_is(pty.master, b"\r\n")
}

unsafe fn output_newline_becomes_crlf() -> Done {
    let pty = open()?;
    put(pty.slave, b"a\nb")?;
    output_is(pty.master, b"a\r\nb")?;
    change(pty.slave, |all| all.c_oflag &= !libc::OPOST)?;
    put(pty.slave, b"a\nb")?;
    output_is(pty.master, b"a\nb")
}

unsafe fn input_cr_becomes_newline() -> Done {
    let pty = open()?;
    put(pty.master, b"a\r")?;
    eq(get(pty.slave)?, b"a\n")?;
    change(pty.slave, |all| all.c_iflag = (all.c_iflag & !libc::ICRNL) | libc::IGNCR)?;
    put(pty.master, b"b\rc\n")?;
    eq(get(pty.slave)?, b"bc\n")
}

unsafe fn raw(fd: c_int, min: u8, time: u8) -> Done {
    change(fd, |all| {
        libc::cfmakeraw(all);
        all.c_cc[libc::VMIN] = min;
        all.c_cc[libc::VTIME] = time;
    })
}

unsafe fn raw_is_raw() -> Done {
    let pty = open()?;
    raw(pty.slave, 1, 0)?;
    let bytes = b"\x03\x04\r\n\x7f\x1a\xff";
    put(pty.master, bytes)?;
    eq(get(pty.slave)?, bytes)?;
    put(pty.slave, b"\n\t")?;
    output_is(pty.master, b"\n\t")
}

unsafe fn vmin_and_vtime() -> Done {
    let pty = open()?;
    raw(pty.slave, 0, 0)?;
    eq(get(pty.slave)?, b"")?; // does not wait
    raw(pty.slave, 0, 1)?;
    let begin = now_ms();
    eq(get(pty.slave)?, b"")?;
    check((80..2000).contains(&(now_ms() - begin)), "a tenth of a second")?;
    raw(pty.slave, 3, 0)?;
    let pid = spawn(|| eq(get(pty.slave)?, b"abc"))?;
    put(pty.master, b"ab")?;
    sleep_ms(30);
    eq(libc::waitpid(pid, null_mut(), libc::WNOHANG), 0)?; // waits for three
    put(pty.master, b"c")?;
    join(pid)
}

unsafe fn noncanonical_poll() -> Done {
    let pty = open()?;
    raw(pty.slave, 1, 0)?;
    check(!readable(pty.slave, 0)?, "nothing yet")?;
    put(pty.master, b"x")?;
    check(readable(pty.slave, 1000)?, "one byte is enough")
}

unsafe fn termios_is_kept() -> Done {
    let pty = open()?;
    let first = attributes(pty.slave)?;
    check(first.c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG) != 0, "the usual")?;
    eq((first.c_cc[libc::VINTR], first.c_cc[libc::VEOF], first.c_cc[libc::VERASE]), (3, 4, 127))?;
    let mut other = first;
    other.c_cc[libc::VINTR] = 7;
    ok(libc::tcsetattr(pty.slave, libc::TCSADRAIN, &other))?;
    eq(attributes(pty.master)?.c_cc[libc::VINTR], 7)?; // one for both ends
    fails(libc::ioctl(pty.slave, libc::TCSETS, 8usize), libc::EFAULT)
}

unsafe fn tcflush_discards() -> Done {
    let pty = open()?;
    put(pty.master, b"line\n")?;
    check(readable(pty.slave, 1000)?, "there it is")?;
    ok(libc::tcflush(pty.slave, libc::TCIFLUSH))?;
    check(!readable(pty.slave, 20)?, "gone")?;
    put(pty.master, b"more\n")?;
    check(readable(pty.slave, 1000)?, "there it is again")?;
    ok(libc::tcsetattr(pty.slave, libc::TCSAFLUSH, &attributes(pty.slave)?))?;
    check(!readable(pty.slave, 20)?, "gone too")?;
    fails(libc::ioctl(pty.slave, libc::TCFLSH, 9), libc::EINVAL)
}

unsafe fn size_of(fd: c_int) -> Done<(u16, u16)> {
    let mut size: winsize = std::mem::zeroed();
    ok(libc::ioctl(fd, libc::TIOCGWINSZ, &mut size))?;
    Ok((size.ws_row, size.ws_col))
}

/// Makes this process the leader of a session whose terminal that is.
unsafe fn take_terminal(slave: c_int) -> Done {
    ok(libc::setsid())?;
    ok(libc::ioctl(slave, libc::TIOCSCTTY, 0)).map(drop)
}

unsafe fn window_size_and_sigwinch() -> Done {
    let (pty, ready) = (open()?, counter()?);
    eq(size_of(pty.slave)?, (0, 0))?;
    let pid = spawn(|| {
        take_terminal(pty.slave)?;
        on(libc::SIGWINCH, note, 0)?;
        ready.store(1, SeqCst);
        soon("SIGWINCH", || SIGNALS.load(SeqCst) == 1)?;
        eq(size_of(pty.slave)?, (24, 80))
    })?;
    soon("the child is ready", || ready.load(SeqCst) == 1)?;
    let size = winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    ok(libc::ioctl(pty.master, libc::TIOCSWINSZ, &size))?;
    join(pid)
}

unsafe fn controlling_terminal_rules() -> Done {
    let pty = open()?;
    in_child(|| {
        fails(libc::ioctl(pty.slave, libc::TIOCSCTTY, 0), libc::EPERM)?; // not a leader
        take_terminal(pty.slave)?;
        ok(libc::ioctl(pty.slave, libc::TIOCSCTTY, 0))?; // it has it already
        let mut session: c_int = 0;
        ok(libc::ioctl(pty.slave, libc::TIOCGSID, &mut session))?;
        eq(session, libc::getpid())?;
        eq(libc::tcgetpgrp(pty.slave), libc::getpid())?;
        let other = open()?;
        fails(libc::ioctl(other.slave, libc::TIOCSCTTY, 0), libc::EPERM)?; // one is enough
        in_child(|| {
            ok(libc::setsid())?;
            drop_root()?;
            fails(libc::ioctl(pty.slave, libc::TIOCSCTTY, 0), libc::EPERM) // another session's
        })
    })
}

/// In a new session on the terminal runs `body` in a foreground child of its leader.
unsafe fn in_foreground(pty: &Pty, body: impl FnOnce() -> Done) -> Done<c_int> {
    take_terminal(pty.slave)?;
    dispose(libc::SIGTTOU, libc::SIG_IGN)?;
    let pid = spawn(|| {
        dispose(libc::SIGTTOU, libc::SIG_DFL)?;
        body()
    })?;
    ok(libc::setpgid(pid, pid))?;
    ok(libc::tcsetpgrp(pty.slave, pid))?;
    Ok(pid)
}

unsafe fn interrupt_reaches_the_foreground() -> Done {
    let pty = open()?;
    in_child(|| {
        let pid = in_foreground(&pty, || {
            sleep_ms(5000);
            Ok(())
        })?;
        put(pty.master, b"ab")?;
        output_is(pty.master, b"ab")?;
        put(pty.master, b"\x03")?;
        dies_of(pid, libc::SIGINT)?;
        output_is(pty.master, b"^C")?;
        check(!readable(pty.slave, 20)?, "the line was flushed")
    })
}

unsafe fn suspend_stops_the_foreground() -> Done {
    let pty = open()?;
    in_child(|| {
        let pid = in_foreground(&pty, || {
            sleep_ms(5000);
            Ok(())
        })?;
        put(pty.master, b"\x1a")?;
        let mut word = 0;
        eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
        check(libc::WIFSTOPPED(word) && libc::WSTOPSIG(word) == libc::SIGTSTP, "stopped")?;
        end(pid)
    })
}

unsafe fn isig_off_passes_the_byte() -> Done {
    let pty = open()?;
    change(pty.slave, |all| all.c_lflag &= !libc::ISIG)?;
    put(pty.master, b"\x03\n")?;
    eq(get(pty.slave)?, b"\x03\n")
}

unsafe fn background_read_stops() -> Done {
    let pty = open()?;
    in_child(|| {
        take_terminal(pty.slave)?;
        let pid = spawn(|| {
            ok(libc::setpgid(0, 0))?;
            eq(get(pty.slave)?, b"line\n")
        })?;
        let mut word = 0;
        eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
        check(libc::WIFSTOPPED(word) && libc::WSTOPSIG(word) == libc::SIGTTIN, "stopped by SIGTTIN")?;
        ok(libc::tcsetpgrp(pty.slave, pid))?;
        ok(libc::kill(pid, libc::SIGCONT))?;
        put(pty.master, b"line\n")?;
        join(pid)
    })
}

unsafe fn background_read_of_orphans_fails() -> Done {
    let (pty, answer) = (open()?, counter()?);
    in_child(|| {
        take_terminal(pty.slave)?;
        let pid = spawn(|| {
            let parent = libc::getpid();
            spawn(|| {
                ok(libc::setpgid(0, 0))?;
                soon("an orphan", || libc::getppid() != parent)?;
                let mut byte = 0u8;
                let n = libc::read(pty.slave, (&raw mut byte).cast(), 1);
                answer.store(if n == -1 { errno() } else { -1 }, SeqCst);
                Ok(())
            })
            .map(drop)
        })?;
        join(pid)?;
        soon("an answer", || answer.load(SeqCst) != 0)?;
        eq(answer.load(SeqCst), libc::EIO)
    })
}

unsafe fn background_write_with_tostop() -> Done {
    let pty = open()?;
    in_child(|| {
        take_terminal(pty.slave)?;
        let write = || {
            spawn(|| {
                ok(libc::setpgid(0, 0))?;
                put(pty.slave, b"x")
            })
        };
        join(write()?)?; // allowed
        change(pty.slave, |all| all.c_lflag |= libc::TOSTOP)?;
        let (pid, mut word) = (write()?, 0);
        eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
        check(libc::WIFSTOPPED(word) && libc::WSTOPSIG(word) == libc::SIGTTOU, "stopped by SIGTTOU")?;
        end(pid)
    })
}

unsafe fn tcsetpgrp_rules() -> Done {
    let pty = open()?;
    fails(libc::tcgetpgrp(pty.slave), libc::ENOTTY)?; // not the controlling one
    in_child(|| {
        take_terminal(pty.slave)?;
        fails(libc::tcsetpgrp(pty.slave, -1), libc::EINVAL)?;
        fails(libc::tcsetpgrp(pty.slave, 0x3fff_fff0), libc::ESRCH)?;
        fails(libc::tcsetpgrp(pty.slave, libc::getpgid(libc::getppid())), libc::EPERM)?; // of another session
        let pid = spawn(|| {
            ok(libc::setpgid(0, 0))?;
            ok(libc::tcsetpgrp(pty.slave, libc::getpid())).map(drop) // from the background: SIGTTOU
        })?;
        let mut word = 0;
        eq(libc::waitpid(pid, &mut word, libc::WUNTRACED), pid)?;
        check(libc::WIFSTOPPED(word) && libc::WSTOPSIG(word) == libc::SIGTTOU, "stopped by SIGTTOU")?;
        end(pid)
    })
}

unsafe fn hangup_on_master_close() -> Done {
    let (pty, ready) = (open()?, counter()?);
    let pid = spawn(|| {
        ok(libc::close(pty.master))?;
        take_terminal(pty.slave)?;
        on(libc::SIGHUP, note, libc::SA_RESTART)?;
        ready.store(1, SeqCst);
        soon("SIGHUP", || SIGNALS.load(SeqCst) == 1)?;
        eq(get(pty.slave)?, b"")?;
        fails(libc::write(pty.slave, b"x".as_ptr().cast(), 1), libc::EIO)?;
        let mut one = libc::pollfd { fd: pty.slave, events: libc::POLLIN, revents: 0 };
        eq(libc::poll(&mut one, 1, 0), 1)?;
        check(one.revents & libc::POLLHUP != 0, "POLLHUP")
    })?;
    soon("the child is ready", || ready.load(SeqCst) == 1)?;
    ok(libc::close(pty.slave))?;
    ok(libc::close(pty.master))?;
    join(pid)
}

unsafe fn slave_close_gives_eio() -> Done {
    let pty = open()?;
    put(pty.slave, b"last")?;
    ok(libc::close(pty.slave))?;
    output_is(pty.master, b"last")?;
    let mut byte = 0u8;
    fails(libc::read(pty.master, (&raw mut byte).cast(), 1), libc::EIO)
}

unsafe fn dev_tty_is_the_controlling_one() -> Done {
    let pty = open()?;
    in_child(|| {
        ok(libc::setsid())?;
        fails(libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR), libc::ENXIO)?;
        ok(libc::ioctl(pty.slave, libc::TIOCSCTTY, 0))?;
        put(ok(libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR))?, b"hi")?;
        output_is(pty.master, b"hi")?;
        // SIGHUP is for the foreground group when a leader gives its terminal up: not for us, then.
        dispose(libc::SIGHUP, libc::SIG_IGN)?;
        ok(libc::ioctl(pty.slave, libc::TIOCNOTTY))?;
        fails(libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR), libc::ENXIO)
    })
}

unsafe fn nonblocking_master() -> Done {
    let pty = open()?;
    ok(libc::fcntl(pty.master, libc::F_SETFL, libc::O_NONBLOCK))?;
    let mut byte = 0u8;
    fails(libc::read(pty.master, (&raw mut byte).cast(), 1), libc::EAGAIN)
}

unsafe fn long_lines_are_cut() -> Done {
    let pty = open()?;
    change(pty.slave, |all| all.c_lflag &= !libc::ECHO)?;
    for _ in 0..10 {
        ok(libc::write(pty.master, [b'a'; 500].as_ptr().cast(), 500))?;
    }
    ok(libc::write(pty.master, b"\n".as_ptr().cast(), 1))?;
    check(readable(pty.slave, 1000)?, "the end of the line is kept")?;
    let line = get(pty.slave)?;
    check(line.len() <= 4096 && line.ends_with(b"\n"), "at most 4095 and the end")
}

unsafe fn fionread_of_a_line() -> Done {
    let (pty, mut n) = (open()?, -1 as c_int);
    put(pty.master, b"hello")?;
    ok(libc::ioctl(pty.slave, libc::FIONREAD, &mut n))?;
    eq(n, 0)?;
    put(pty.master, b"\n")?;
    check(readable(pty.slave, 1000)?, "a line")?;
    ok(libc::ioctl(pty.slave, libc::FIONREAD, &mut n))?;
    eq(n, 6)
}

unsafe fn packet_mode_tells() -> Done {
    let (pty, one) = (open()?, 1 as c_int);
    if libc::ioctl(pty.master, libc::TIOCPKT, &one) == -1 {
        return skip("no packet mode here");
    }
    put(pty.slave, b"hi")?;
    check(readable(pty.master, 1000)?, "data")?;
    eq(get(pty.master)?, b"\0hi")?;
    ok(libc::tcflush(pty.slave, libc::TCOFLUSH))?;
    eq(get(pty.master)?, [2]) // TIOCPKT_FLUSHWRITE
}

unsafe fn exclusive_and_queue_ioctls() -> Done {
    let (pty, mut n) = (open()?, -1 as c_int);
    ok(libc::ioctl(pty.slave, libc::TIOCOUTQ, &mut n))?;
    eq(n, 0)?;
    ok(libc::tcdrain(pty.slave))?;
    fails(libc::ioctl(pty.slave, libc::TIOCGPTN, &mut n), libc::ENOTTY)
}

unsafe fn locked_settings_stay() -> Done {
    let pty = open()?;
    let mut locked: termios = std::mem::zeroed();
    locked.c_lflag = 1;
    ok(libc::ioctl(pty.slave, libc::TIOCGLCKTRMIOS, &mut locked))?;
    eq((locked.c_iflag, locked.c_oflag, locked.c_cflag, locked.c_lflag), (0, 0, 0, 0))?;
    locked.c_lflag = libc::ECHO;
    locked.c_cc[libc::VINTR] = 1;
    fails(libc::ioctl(pty.slave, libc::TIOCGLCKTRMIOS, 8usize), libc::EFAULT)?;
    if libc::geteuid() != 0 {
        return fails(libc::ioctl(pty.slave, libc::TIOCSLCKTRMIOS, &locked), libc::EPERM);
    }
    ok(libc::ioctl(pty.slave, libc::TIOCSLCKTRMIOS, &locked))?;
    change(pty.slave, |all| {
        all.c_lflag &= !(libc::ECHO | libc::ICANON);
        (all.c_cc[libc::VINTR], all.c_cc[libc::VEOF]) = (7, 7);
    })?;
    let all = attributes(pty.slave)?;
    eq(all.c_lflag & (libc::ECHO | libc::ICANON), libc::ECHO)?;
    eq((all.c_cc[libc::VINTR], all.c_cc[libc::VEOF]), (3, 7))
}
