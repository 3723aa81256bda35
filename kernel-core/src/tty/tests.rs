//! Terminals with their sessions, at both ends, on fakes of everything around them. What is expected of Linux was looked
//! up on Linux 6.18.

mod world;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;
use linux_raw_sys::ioctl as nr;

use crate::errno::*;
use crate::fs::devpts::DevPts;
use crate::sched::wait::Events;
use crate::services::Device as _;
use crate::tty::termios::{RawTermios, Termios, WinSize};
use crate::tty::tty::{HUNG_UP, READABLE, Tty, WRITABLE};
use crate::vfs::file::OpenFlags;
use crate::vfs::mount::FileSystem;
use world::{ADDRESS, Process, Stream, World};

const HUP: u8 = sys::SIGHUP as u8;
const CONT: u8 = sys::SIGCONT as u8;
const SECOND: u64 = 1_000_000_000;

/// Changes the settings of a terminal through an open file.
fn change(world: &World, file: &world::File, who: &Process, f: impl FnOnce(&mut Termios)) {
    let mut termios = file.tty().termios();
    f(&mut termios);
    who.memory.store(&termios.to_raw());
    assert_eq!(file.ioctl(who, nr::TCSETS, ADDRESS), Ok(0));
    let _ = world;
}

fn raw(minimum: u8, time: u8) -> impl FnOnce(&mut Termios) {
    move |t| {
        t.lflag &= !(sys::ICANON | sys::ECHO);
        t.cc[sys::VMIN as usize] = minimum;
        t.cc[sys::VTIME as usize] = time;
    }
}

#[test]
fn bytes_go_both_ways() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    assert_eq!(slave.poll(&leader), WRITABLE);
    let woken = slave.watch();
    assert_eq!(master.write(&leader, b"hi\n"), Ok(3));
    assert!(woken.events().contains(Events::IN));
    assert_eq!(slave.poll(&leader), READABLE | WRITABLE);
    assert_eq!(slave.read(&leader, 10), Ok(b"hi\n".to_vec()));
    assert_eq!(master.read(&leader, 2), Ok(b"hi".to_vec()));
    assert_eq!(slave.write(&leader, b"x\n"), Ok(2));
    assert_eq!(master.read(&leader, 10), Ok(b"\r\nx\r\n".to_vec()));
    assert_eq!(master.read(&leader, 10), Err(EAGAIN));
    assert_eq!(master.poll(&leader), WRITABLE);
}

#[test]
fn writers_wait_when_nobody_reads() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    let written = slave.write(&leader, &[b'y'; 100_000]).unwrap();
    assert!((4096..32_768).contains(&written), "{written}");
    assert_eq!(slave.write(&leader, b"y"), Err(EAGAIN));
    assert_eq!(slave.poll(&leader), Events::empty());
    let woken = slave.watch();
    assert_eq!(master.read(&leader, 65_536).unwrap().len(), written);
    assert!(woken.events().contains(Events::OUT));
    change(&world, &slave, &leader, raw(1, 0));
    let sent = master.write(&leader, &[b'z'; 100_000]).unwrap();
    assert!(sent < 32_768, "{sent}");
    assert_eq!(master.write(&leader, b"z"), Err(EAGAIN));
    let woken = master.watch();
    let mut read = 0;
    while let Ok(bytes) = slave.read(&leader, 1000) {
        read += bytes.len();
    }
    assert_eq!(read, sent);
    assert!(woken.events().contains(Events::OUT));
}

#[test]
fn vmin_counts() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    change(&world, &slave, &leader, raw(3, 0));
    master.write(&leader, b"ab").unwrap();
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    assert_eq!(slave.poll(&leader), WRITABLE);
    assert_eq!(slave.read(&leader, 1), Ok(b"a".to_vec()));
    master.write(&leader, b"cd").unwrap();
    assert_eq!(slave.poll(&leader), READABLE | WRITABLE);
    assert_eq!(slave.read(&leader, 10), Ok(b"bcd".to_vec()));
    master.write(&leader, b"e").unwrap();
    slave.file.set_status(OpenFlags::NONBLOCK);
    assert_eq!(slave.read(&leader, 10), Ok(b"e".to_vec()));
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    change(&world, &slave, &leader, raw(0, 0));
    assert_eq!(slave.read(&leader, 10), Ok(vec![]));
}

#[test]
fn vtime_limits_the_whole_wait_without_vmin() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    change(&world, &slave, &leader, raw(0, 5));
    let woken = slave.watch();
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    world.pass(SECOND / 4);
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    assert!(woken.events().is_empty());
    world.pass(SECOND / 4);
    assert!(woken.events().contains(Events::IN));
    assert_eq!(slave.read(&leader, 10), Ok(vec![]));
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    master.write(&leader, b"a").unwrap();
    assert_eq!(slave.read(&leader, 10), Ok(b"a".to_vec()));
    assert_eq!(world.timers.next(), None);
}

#[test]
fn vtime_limits_the_gap_between_bytes_with_vmin() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    change(&world, &slave, &leader, raw(5, 2));
    let _waits = slave.watch();
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    world.pass(10 * SECOND);
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    for byte in [b"a", b"b"] {
        master.write(&leader, byte).unwrap();
        assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
        world.pass(SECOND / 8);
        assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    }
    world.pass(SECOND / 8);
    assert_eq!(slave.read(&leader, 10), Ok(b"ab".to_vec()));
}

#[test]
fn a_timer_that_nobody_waits_for_is_forgotten() {
    let world = World::new();
    let (leader, _master, slave) = world.session_on_pty(10);
    change(&world, &slave, &leader, raw(0, 1));
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    world.pass(SECOND);
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
}

#[test]
fn signals_go_to_the_foreground_group() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    master.write(&leader, b"\x03\x1c").unwrap();
    assert_eq!(world.signals(), [(10, sys::SIGINT as u8), (10, sys::SIGQUIT as u8)]);
    world.add_group(20, 10);
    leader.memory.store(&20u32);
    assert_eq!(slave.ioctl(&leader, nr::TIOCSPGRP, ADDRESS), Ok(0));
    master.write(&leader, b"\x1a").unwrap();
    assert_eq!(world.signals(), [(20, sys::SIGTSTP as u8)]);
    leader.memory.store(&WinSize { rows: 24, columns: 80, ..WinSize::default() });
    for _ in 0..2 {
        assert_eq!(master.ioctl(&leader, nr::TIOCSWINSZ, ADDRESS), Ok(0));
    }
    assert_eq!(world.signals(), [(20, sys::SIGWINCH as u8)]);
}

#[test]
fn background_reads_stop_their_group() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    world.add_group(20, 10);
    let mut job = leader.child(20, 20);
    master.write(&leader, b"x\n").unwrap();
    assert_eq!(slave.read(&job, 10), Err(ERESTART));
    assert_eq!(world.signals(), [(20, sys::SIGTTIN as u8)]);
    job.blocked = 1 << (sys::SIGTTIN - 1);
    assert_eq!(slave.read(&job, 10), Err(EIO));
    job.blocked = 0;
    world.orphan(20);
    assert_eq!(slave.read(&job, 10), Err(EIO));
    assert_eq!(world.signals(), []);
    // Another session may read what it can open.
    let stranger = world.process(30, 30);
    assert_eq!(slave.read(&stranger, 10), Ok(b"x\n".to_vec()));
}

#[test]
fn background_writes_stop_with_tostop() {
    let world = World::new();
    let (leader, _master, slave) = world.session_on_pty(10);
    world.add_group(20, 10);
    let mut job = leader.child(20, 20);
    assert_eq!(slave.write(&job, b"x"), Ok(1));
    change(&world, &slave, &leader, |t| t.lflag |= sys::TOSTOP);
    assert_eq!(slave.write(&job, b"x"), Err(ERESTART));
    assert_eq!(world.signals(), [(20, sys::SIGTTOU as u8)]);
    job.memory.store(&slave.tty().termios().to_raw());
    assert_eq!(slave.ioctl(&job, nr::TCSETS, ADDRESS), Err(ERESTART));
    assert_eq!(world.signals(), [(20, sys::SIGTTOU as u8)]);
    job.blocked = 1 << (sys::SIGTTOU - 1);
    assert_eq!(slave.write(&job, b"x"), Ok(1));
    job.blocked = 0;
    world.orphan(20);
    assert_eq!(slave.write(&job, b"x"), Err(EIO));
    job.memory.store(&20u32);
    assert_eq!(slave.ioctl(&job, nr::TIOCSPGRP, ADDRESS), Err(ENOTTY));
}

#[test]
fn who_may_set_the_foreground() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    let stranger = world.process(30, 30);
    for (file, who, group, expected) in [
        (&slave, &leader, 30, Err(EPERM)),
        (&slave, &leader, 31, Err(ESRCH)),
        (&slave, &leader, -1, Err(EINVAL)),
        (&slave, &stranger, 30, Err(ENOTTY)),
        (&master, &leader, 10, Ok(0)),
    ] {
        who.memory.store(&(group as u32));
        assert_eq!(file.ioctl(who, nr::TIOCSPGRP, ADDRESS), expected);
    }
    assert_eq!(slave.ioctl(&stranger, nr::TIOCSPGRP, 8), Err(EFAULT));
    assert_eq!(slave.ioctl(&leader, nr::TIOCGPGRP, ADDRESS), Ok(0));
    assert_eq!(leader.memory.load::<u32>(), 10);
    assert_eq!(slave.ioctl(&stranger, nr::TIOCGPGRP, ADDRESS), Err(ENOTTY));
    assert_eq!(slave.ioctl(&stranger, nr::TIOCGSID, ADDRESS), Err(ENOTTY));
    assert_eq!(master.ioctl(&stranger, nr::TIOCGSID, ADDRESS), Ok(0));
    assert_eq!(stranger.memory.load::<u32>(), 10);
}

#[test]
fn opening_gives_a_leader_its_terminal() {
    let world = World::new();
    let leader = world.process(10, 10);
    let master = world.open_master(&leader);
    let has_tty = || leader.session.tty.lock().is_some();
    let _a = world.open_slave(&master, &leader, OpenFlags::RDWR | OpenFlags::NOCTTY).unwrap();
    let _b = world.open_slave(&master, &leader, OpenFlags::WRONLY).unwrap();
    let _c = world.open_slave(&master, &leader.child(11, 10), OpenFlags::RDWR).unwrap();
    assert!(!has_tty());
    let slave = world.open_slave(&master, &leader, OpenFlags::RDWR).unwrap();
    assert!(has_tty());
    // A terminal has one session, and a session one terminal.
    let other = world.process(20, 20);
    let _d = world.open_slave(&master, &other, OpenFlags::RDWR).unwrap();
    assert!(other.session.tty.lock().is_none());
    assert_eq!(slave.ioctl(&leader, nr::TIOCSCTTY, 0), Ok(0));
    assert_eq!(slave.ioctl(&other, nr::TIOCSCTTY, 0), Err(EPERM));
    assert_eq!(slave.ioctl(&other.child(21, 20), nr::TIOCSCTTY, 1), Err(EPERM));
    assert_eq!(slave.ioctl(&other.without_caps(), nr::TIOCSCTTY, 1), Err(EPERM));
    assert_eq!(slave.ioctl(&other, nr::TIOCSCTTY, 1), Ok(0));
    assert!(!has_tty());
    assert_eq!(slave.tty().foreground(), Some(20));
}

#[test]
fn a_leader_gives_its_terminal_up() {
    let world = World::new();
    let (leader, _master, slave) = world.session_on_pty(10);
    assert_eq!(slave.ioctl(&leader.child(11, 10), nr::TIOCNOTTY, 0), Err(EPERM));
    assert_eq!(slave.ioctl(&leader, nr::TIOCNOTTY, 0), Ok(0));
    assert_eq!(world.signals(), [(10, HUP), (10, CONT)]);
    assert_eq!(slave.ioctl(&leader, nr::TIOCNOTTY, 0), Err(ENOTTY));
    assert_eq!(slave.tty().foreground(), None);
}

#[test]
fn a_leader_that_exits_leaves_its_terminal() {
    let world = World::new();
    let (leader, _master, slave) = world.session_on_pty(10);
    world.add_group(20, 10);
    leader.memory.store(&20u32);
    slave.ioctl(&leader, nr::TIOCSPGRP, ADDRESS).unwrap();
    Tty::session_leader_exited(&leader.session, &*world.processes);
    assert_eq!(world.signals(), [(20, HUP)]);
    assert!(leader.session.tty.lock().is_none());
    let next = world.process(30, 30);
    assert_eq!(slave.ioctl(&next, nr::TIOCSCTTY, 0), Ok(0));
}

#[test]
fn closing_the_master_hangs_up() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    world.add_group(20, 10);
    leader.memory.store(&20u32);
    slave.ioctl(&leader, nr::TIOCSPGRP, ADDRESS).unwrap();
    master.write(&leader, b"pending\n").unwrap();
    let woken = slave.watch();
    let index = slave.tty().device.minor;
    drop(master);
    assert!(woken.events().contains(Events::HUP));
    assert_eq!(world.signals(), [(10, HUP), (10, CONT)]);
    assert_eq!(slave.poll(&leader), HUNG_UP);
    assert_eq!(slave.read(&leader, 10), Ok(vec![]));
    assert_eq!(slave.write(&leader, b"x"), Err(EIO));
    assert_eq!(slave.write(&leader, b""), Err(EIO));
    assert_eq!(slave.ioctl(&leader, nr::TCGETS, ADDRESS), Err(EIO));
    assert_eq!(slave.ioctl(&leader, nr::TIOCSPGRP, ADDRESS), Err(ENOTTY));
    assert!(leader.session.tty.lock().is_none());
    assert!(world.ptys.get(index).is_none());
    Tty::session_leader_exited(&leader.session, &*world.processes);
    assert_eq!(world.signals(), [(20, HUP), (20, CONT)]);
}

#[test]
fn closing_the_terminal_ends_what_the_master_reads() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    slave.write(&leader, b"bye").unwrap();
    let woken = master.watch();
    drop(slave);
    assert!(woken.events().contains(Events::HUP));
    assert_eq!(master.poll(&leader), READABLE | WRITABLE | Events::HUP);
    assert_eq!(master.read(&leader, 10), Ok(b"bye".to_vec()));
    assert_eq!(master.read(&leader, 10), Err(EIO));
    assert_eq!(master.read(&leader, 0), Ok(vec![]));
    assert_eq!(master.write(&leader, b"zz\n"), Ok(3));
    // The session keeps it, and it can be opened again.
    let slave = world.open_slave(&master, &leader, OpenFlags::RDWR).unwrap();
    assert!(slave.tty().controls(&leader.session));
    assert_eq!(slave.read(&leader, 10), Ok(b"zz\n".to_vec()));
    assert_eq!(master.poll(&leader), READABLE | WRITABLE);
}

#[test]
fn a_master_locks_and_counts_its_terminals() {
    let world = World::new();
    let leader = world.process(10, 10);
    let master = world.open_locked(&leader);
    assert_eq!(world.open_slave(&master, &leader, OpenFlags::RDWR).err(), Some(EIO));
    leader.memory.store(&0u32);
    assert_eq!(master.ioctl(&leader, nr::TIOCSPTLCK, ADDRESS), Ok(0));
    let slave = world.open_slave(&master, &leader, OpenFlags::RDWR).unwrap();
    assert_eq!(master.ioctl(&leader, nr::TIOCGPTN, ADDRESS), Ok(0));
    assert_eq!(leader.memory.load::<u32>(), 0);
    for command in [nr::TIOCGPTN, nr::TIOCSPTLCK, nr::TIOCPKT, nr::TIOCMGET, nr::KDGKBMODE] {
        assert_eq!(slave.ioctl(&leader, command, ADDRESS), Err(ENOTTY));
    }
    slave.ioctl(&leader, nr::TIOCEXCL, 0).unwrap();
    let user = leader.without_caps();
    assert_eq!(world.open_slave(&master, &user, OpenFlags::RDWR).err(), Some(EBUSY));
    DevPts::new(world.ptys.clone(), b"max=2,gid=5,mode=620", &leader.cred).unwrap();
    let second = world.open_master(&leader);
    assert_eq!(world.ptys.open_master(&leader.cred).err(), Some(ENOSPC));
    drop(master);
    let third = world.ptys.open_master(&leader.cred).unwrap();
    assert_eq!((third.index(), second.tty().device.minor), (0, 1));
}

#[test]
fn packet_mode_tells_what_happens() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    leader.memory.store(&1u32);
    master.ioctl(&leader, nr::TIOCPKT, ADDRESS).unwrap();
    slave.write(&leader, b"hi").unwrap();
    assert_eq!(master.read(&leader, 1), Ok(vec![0]));
    assert_eq!(master.read(&leader, 2), Ok(b"\0h".to_vec()));
    assert_eq!(master.read(&leader, 9), Ok(b"\0i".to_vec()));
    master.write(&leader, b"\x13").unwrap();
    assert_eq!(master.poll(&leader), READABLE | WRITABLE | Events::PRI);
    assert_eq!(master.read(&leader, 9), Ok(vec![sys::TIOCPKT_STOP as u8]));
    master.write(&leader, b"\x11").unwrap();
    assert_eq!(master.read(&leader, 9), Ok(vec![sys::TIOCPKT_START as u8]));
    for (queue, status) in [(sys::TCIFLUSH, 1), (sys::TCOFLUSH, 2), (sys::TCIOFLUSH, 3)] {
        slave.ioctl(&leader, nr::TCFLSH, u64::from(queue)).unwrap();
        assert_eq!(master.read(&leader, 9), Ok(vec![status]));
    }
    master.write(&leader, b"\x03").unwrap();
    assert_eq!(master.read(&leader, 9), Ok(vec![3]));
    assert_eq!(master.read(&leader, 9), Ok(b"\0^C".to_vec()));
    change(&world, &slave, &leader, |t| t.iflag &= !sys::IXON);
    assert_eq!(master.read(&leader, 9), Ok(vec![sys::TIOCPKT_NOSTOP as u8]));
    change(&world, &slave, &leader, |t| t.lflag |= sys::EXTPROC);
    assert_eq!(master.read(&leader, 9), Ok(vec![sys::TIOCPKT_IOCTL as u8]));
    master.write(&leader, b"a\x7f\x03b\n").unwrap();
    assert_eq!(slave.read(&leader, 9), Ok(b"a\x7f\x03b\n".to_vec()));
}

#[test]
fn flushing_throws_away() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    master.write(&leader, b"abc\n").unwrap();
    assert_eq!(slave.ioctl(&leader, nr::TCFLSH, u64::from(sys::TCIFLUSH)), Ok(0));
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
    assert_eq!(master.ioctl(&leader, nr::TCFLSH, u64::from(sys::TCIFLUSH)), Ok(0));
    assert_eq!(master.read(&leader, 10), Err(EAGAIN));
    assert_eq!(slave.ioctl(&leader, nr::TCFLSH, 9), Err(EINVAL));
    master.write(&leader, b"abc\n").unwrap();
    leader.memory.store(&Termios::standard().to_raw());
    assert_eq!(slave.ioctl(&leader, nr::TCSETSF, ADDRESS), Ok(0));
    assert_eq!(slave.read(&leader, 10), Err(EAGAIN));
}

#[test]
fn settings_have_the_layouts_of_the_kernel() {
    let world = World::new();
    let (leader, master, slave) = world.session_on_pty(10);
    assert_eq!(slave.ioctl(&leader, nr::TCGETS, ADDRESS), Ok(0));
    let shown: RawTermios = leader.memory.load();
    assert_eq!((shown.iflag, shown.oflag, shown.cflag, shown.lflag), (1280, 5, 191, 35387));
    assert_eq!(&shown.cc[..], b"\x03\x1c\x7f\x15\x04\0\x01\0\x11\x13\x1a\0\x12\x0f\x17\x16\0\0\0");
    let mut new = Termios::standard();
    new.cflag = sys::BOTHER;
    (new.ispeed, new.ospeed) = (12345, 12345);
    leader.memory.store(&new);
    assert_eq!(master.ioctl(&leader, nr::TCSETS2, ADDRESS), Ok(0));
    assert_eq!(slave.ioctl(&leader, nr::TCGETS2, ADDRESS), Ok(0));
    let shown: Termios = leader.memory.load();
    assert_eq!(shown.ospeed, 12345);
    assert_eq!(shown.cflag, sys::BOTHER | sys::CS8 | sys::CREAD);
    for command in [nr::TCGETS, nr::TCSETS, nr::TIOCGWINSZ, nr::FIONREAD, nr::TIOCSETD, nr::TIOCSTI] {
        assert_eq!(slave.ioctl(&leader, command, 8), Err(EFAULT));
    }
    leader.memory.store(b"k");
    assert_eq!(slave.ioctl(&leader, nr::TIOCSTI, ADDRESS), Ok(0));
    assert_eq!(slave.ioctl(&leader.without_caps(), nr::TIOCSTI, ADDRESS), Err(EIO));
    assert_eq!(master.read(&leader, 9), Ok(b"k".to_vec()));
}

#[test]
fn devpts_shows_the_open_pairs() {
    let world = World::new();
    let leader = world.process(10, 10);
    let fs = DevPts::new(world.ptys.clone(), b"gid=5,mode=620,ptmxmode=666", &leader.cred).unwrap();
    let root = fs.root();
    assert_eq!(root.lookup(b"0").err(), Some(ENOENT));
    let master = world.open_master(&leader);
    let node = root.lookup(b"0").unwrap().metadata();
    assert_eq!((node.mode, node.gid, node.rdev), (0o20620, 5, master.tty().device));
    assert_eq!(root.lookup(b"ptmx").unwrap().metadata().mode, 0o20666);
    assert_eq!(fs.options(), ",gid=5,mode=620,ptmxmode=666");
    let _second = world.open_master(&leader);
    drop(master);
    assert_eq!(world.list(&root, &leader), [&b"."[..], b"..", b"ptmx", b"1"]);
}

#[test]
fn the_console_carries_bytes_of_the_host() {
    let stream = Arc::new(Stream::default());
    let world = World::new();
    let init = world.process(1, 1);
    let (console, file) = world.open_console(&stream, &init);
    assert!(init.session.tty.lock().is_none());
    assert_eq!(file.ioctl(&init, nr::TIOCSCTTY, 0), Ok(0));
    stream.input(b"ls\n");
    console.poll_device();
    assert_eq!(file.read(&init, 10), Ok(b"ls\n".to_vec()));
    assert_eq!(stream.output(), b"ls\r\n");
    // The host takes nothing: what is written waits, and goes out in order.
    stream.block(true);
    let written = file.write(&init, &[b'a'; 20_000]).unwrap();
    assert_eq!(file.poll(&init), Events::empty());
    stream.block(false);
    let woken = file.watch();
    console.poll_device();
    assert!(woken.events().contains(Events::OUT));
    assert_eq!(stream.output(), vec![b'a'; written]);
    stream.resize(50, 132);
    stream.input(b"\x03");
    console.poll_device();
    assert_eq!(world.signals(), [(1, sys::SIGWINCH as u8), (1, sys::SIGINT as u8)]);
    assert_eq!((file.tty().size().rows, file.tty().size().columns), (50, 132));
}

#[test]
fn the_console_takes_no_more_than_fits() {
    let stream = Arc::new(Stream::default());
    let world = World::new();
    let init = world.process(1, 1);
    let (console, file) = world.open_console(&stream, &init);
    let mut text = Vec::new();
    for _ in 0..5000 {
        text.extend_from_slice(b"line\n");
    }
    stream.input(&text);
    stream.end();
    console.poll_device();
    assert!(stream.unread() > 0);
    let mut read = Vec::new();
    loop {
        let bytes = file.read(&init, 4096).unwrap();
        if bytes.is_empty() {
            break;
        }
        read.extend(bytes);
    }
    assert_eq!(read, text);
    assert_eq!(file.poll(&init) & READABLE, READABLE);
}

#[test]
fn the_console_hangs_up_when_its_leader_exits() {
    let stream = Arc::new(Stream::default());
    let world = World::new();
    let shell = world.process(10, 10);
    let (_console, file) = world.open_console(&stream, &shell);
    file.ioctl(&shell, nr::TIOCSCTTY, 0).unwrap();
    change(&world, &file, &shell, |t| t.lflag &= !sys::ECHO);
    Tty::session_leader_exited(&shell.session, &*world.processes);
    assert_eq!(world.signals(), [(10, HUP), (10, CONT), (10, HUP)]);
    assert_eq!(file.read(&shell, 1), Ok(vec![]));
    assert!(file.tty().termios().local(sys::ECHO));
}

#[test]
fn the_console_hangs_up_when_the_hosts_terminal_goes() {
    let stream = Arc::new(Stream::default());
    let world = World::new();
    let shell = world.process(10, 10);
    let (console, file) = world.open_console(&stream, &shell);
    file.ioctl(&shell, nr::TIOCSCTTY, 0).unwrap();
    stream.take_away();
    console.poll_device();
    assert_eq!(world.signals(), [(10, HUP), (10, CONT)]);
    assert_eq!(file.read(&shell, 1), Ok(vec![]));
}
