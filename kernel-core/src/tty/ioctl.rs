//! `ioctl_tty(2)`, for terminals and for the masters of pseudoterminals.
//!
//! Most commands on a master act on its terminal, as on Linux. Output is never waited for (TCSETSW, TCSBRK): it is
//! processed when it is written, so new settings cannot change what was written before.

use linux_raw_sys::general as sys;
use linux_raw_sys::ioctl as nr;
use zerocopy::IntoBytes;

use crate::errno::{EINVAL, EIO, ENOTTY, EPERM, Result};
use crate::task::cred::Caps;
use crate::tty::job::Stop;
use crate::tty::ldisc::output::{OUTPUT_LIMIT, StopCause};
use crate::tty::termios::{RawTermio, RawTermios, Termios, WinSize};
use crate::tty::tty::{Driver, READABLE, Tty, WRITABLE};
use crate::vfs::file::Op;

/// Which end of a pair is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The terminal, or a console.
    Slave,
    /// The master of a pseudoterminal.
    Master,
}

/// What becomes of input when settings change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Keep,
    /// `TCSAFLUSH`.
    Flush,
}

/// Serves `command`. ENOTTY if terminals do not have it.
pub(super) fn ioctl(tty: &Tty, side: Side, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
    match command {
        nr::TCGETS | nr::TCGETS2 | nr::TCGETA => get_termios(tty, op, command, arg),
        nr::TCSETS | nr::TCSETSW | nr::TCSETS2 | nr::TCSETSW2 | nr::TCSETA | nr::TCSETAW => {
            set_termios(tty, op, command, arg, Input::Keep)
        }
        nr::TCSETSF | nr::TCSETSF2 | nr::TCSETAF => set_termios(tty, op, command, arg, Input::Flush),
        nr::TCSBRK | nr::TCSBRKP => done(tty.check_background(op.caller, Stop::Output)),
        nr::TCXONC => flow(tty, side, op, arg),
        nr::TCFLSH => flush(tty, side, op, arg),
        nr::TIOCGWINSZ => set_user(op, arg, &tty.size()),
        nr::TIOCSWINSZ => {
            let size: WinSize = op.caller.memory().get(arg)?;
            tty.set_size(size);
            Ok(0)
        }
        nr::FIONREAD => set_user(op, arg, &(readable(tty, side) as u32)),
        nr::TIOCOUTQ => set_user(op, arg, &(unsent(tty) as u32)),
        nr::TIOCGETD => set_user(op, arg, &0u32),
        nr::TIOCSETD => set_discipline(tty, op, arg),
        nr::TIOCSTI => insert(tty, op, arg),
        nr::TIOCEXCL | nr::TIOCNXCL => {
            tty.state.lock().exclusive = command == nr::TIOCEXCL;
            Ok(0)
        }
        nr::TIOCGEXCL => {
            let exclusive = tty.state.lock().exclusive;
            set_user(op, arg, &u32::from(exclusive))
        }
        nr::TIOCGLCKTRMIOS => {
            let fixed = tty.state.lock().fixed;
            set_user(op, arg, &fixed)
        }
        nr::TIOCSLCKTRMIOS => {
            if !op.caller.cred().capable(Caps::SYS_ADMIN) {
                return Err(EPERM);
            }
            let fixed = op.caller.memory().get(arg)?;
            tty.state.lock().fixed = fixed;
            Ok(0)
        }
        nr::TIOCGDEV => set_user(op, arg, &(tty.device.raw() as u32)),
        nr::TIOCVHANGUP => {
            if !op.caller.cred().capable(Caps::SYS_ADMIN) {
                return Err(EPERM);
            }
            tty.hangup();
            Ok(0)
        }
        // The syscall layer serves it for masters, with `PtyMaster::open_peer`.
        nr::TIOCGPTPEER => Err(EIO),
        nr::TIOCSCTTY => done(tty.acquire(op.caller, op.file.flags(), arg)),
        nr::TIOCNOTTY if side == Side::Slave => done(tty.give_up(op.caller)),
        nr::TIOCGPGRP | nr::TIOCGSID => get_job(tty, side, op, command, arg),
        nr::TIOCSPGRP => set_foreground(tty, op, arg),
        _ => match (side, &tty.driver) {
            (Side::Master, Driver::Pty { index }) => master_ioctl(tty, *index, op, command, arg),
            _ => Err(ENOTTY),
        },
    }
}

/// What only masters have.
fn master_ioctl(tty: &Tty, index: u32, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
    match command {
        nr::TIOCGPTN => set_user(op, arg, &index),
        nr::TIOCSPTLCK => {
            let lock: u32 = op.caller.memory().get(arg)?;
            tty.state.lock().pty.locked = lock != 0;
            Ok(0)
        }
        nr::TIOCGPTLCK => {
            let locked = tty.state.lock().pty.locked;
            set_user(op, arg, &u32::from(locked))
        }
        nr::TIOCPKT => {
            let packet: u32 = op.caller.memory().get(arg)?;
            let mut state = tty.state.lock();
            if packet != 0 && !state.pty.packet {
                state.pty.packet_status = 0;
            }
            state.pty.packet = packet != 0;
            Ok(0)
        }
        nr::TIOCGPKT => {
            let packet = tty.state.lock().pty.packet;
            set_user(op, arg, &u32::from(packet))
        }
        nr::TIOCSIG => match u32::try_from(arg) {
            Ok(signal @ (sys::SIGINT | sys::SIGQUIT | sys::SIGTSTP)) => {
                tty.update(|_, effects| effects.signals |= 1 << signal);
                Ok(0)
            }
            _ => Err(EINVAL),
        },
        _ => Err(ENOTTY),
    }
}

fn done(result: Result<()>) -> Result<u64> {
    result.map(|()| 0)
}

fn set_user<T: IntoBytes + zerocopy::Immutable>(op: Op<'_>, addr: u64, value: &T) -> Result<u64> {
    done(op.caller.memory().set(addr, value))
}

fn get_termios(tty: &Tty, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
    let termios = tty.termios();
    match command {
        nr::TCGETS => set_user(op, arg, &termios.to_raw()),
        nr::TCGETA => set_user(op, arg, &termios.to_termio()),
        _ => set_user(op, arg, &termios),
    }
}

fn set_termios(tty: &Tty, op: Op<'_>, command: u32, arg: u64, input: Input) -> Result<u64> {
    tty.check_background(op.caller, Stop::Output)?;
    let memory = op.caller.memory();
    let old = tty.termios();
    let mut new: Termios = match command {
        nr::TCSETS | nr::TCSETSW | nr::TCSETSF => old.with_raw(&memory.get::<RawTermios>(arg)?),
        nr::TCSETA | nr::TCSETAW | nr::TCSETAF => old.with_termio(&memory.get::<RawTermio>(arg)?),
        _ => memory.get::<Termios>(arg)?.with_coded_speeds(),
    };
    if matches!(tty.driver, Driver::Pty { .. }) {
        new.cflag = new.cflag & !(sys::CSIZE | sys::PARENB) | sys::CS8 | sys::CREAD;
    }
    tty.update(|state, effects| {
        if input == Input::Flush {
            state.ldisc.flush_input();
            state.feed(effects);
        }
        state.ldisc.set_termios(new.with_locked(&old, &state.fixed));
        state.feed(effects);
        // What was not enough to read before may be now.
        effects.wake |= READABLE;
    });
    Ok(0)
}

/// `tcflow`: stops or starts what this side writes, or tells the other side to.
fn flow(tty: &Tty, side: Side, op: Op<'_>, arg: u64) -> Result<u64> {
    if side == Side::Slave {
        tty.check_background(op.caller, Stop::Output)?;
    }
    tty.update(|state, effects| {
        let ldisc = &mut state.ldisc;
        let character = match (u32::try_from(arg), side) {
            (Ok(sys::TCOOFF), Side::Slave) => {
                ldisc.stop(StopCause::Ioctl);
                return Ok(0);
            }
            (Ok(sys::TCOON), Side::Slave) => {
                ldisc.start(StopCause::Ioctl);
                return Ok(0);
            }
            (Ok(action @ (sys::TCOOFF | sys::TCOON)), Side::Master) => {
                state.pty.master_stopped = action == sys::TCOOFF;
                effects.wake_master |= WRITABLE;
                return Ok(0);
            }
            (Ok(sys::TCIOFF), _) => ldisc.termios().control(sys::VSTOP),
            (Ok(sys::TCION), _) => ldisc.termios().control(sys::VSTART),
            _ => return Err(EINVAL),
        };
        match (character, side) {
            (0, _) => {}
            (_, Side::Slave) => ldisc.output.send(character),
            (_, Side::Master) if state.input_room() > 0 => {
                state.backlog.push_back(character);
                state.feed(effects);
            }
            (_, Side::Master) => {}
        }
        Ok(0)
    })
}

/// `tcflush`.
fn flush(tty: &Tty, side: Side, op: Op<'_>, arg: u64) -> Result<u64> {
    if side == Side::Slave {
        tty.check_background(op.caller, Stop::Output)?;
    }
    let (input, output) = match u32::try_from(arg) {
        Ok(sys::TCIFLUSH) => (true, false),
        Ok(sys::TCOFLUSH) => (false, true),
        Ok(sys::TCIOFLUSH) => (true, true),
        _ => return Err(EINVAL),
    };
    tty.update(|state, effects| match side {
        Side::Slave => {
            if input {
                state.ldisc.flush_input();
                state.feed(effects);
                effects.wake_master |= WRITABLE;
            }
            if output {
                state.ldisc.flush_output();
            }
        }
        // The master's input is our output, and what it has sent but the terminal has no room for is its output.
        Side::Master => {
            if input {
                state.ldisc.output.discard();
            }
            if output {
                state.backlog.clear();
                effects.wake_master |= WRITABLE;
            }
        }
    });
    Ok(0)
}

fn readable(tty: &Tty, side: Side) -> usize {
    let state = tty.state.lock();
    match side {
        Side::Slave => state.ldisc.readable(),
        Side::Master => state.ldisc.output.pending(),
    }
}

/// `TIOCOUTQ`: a pseudoterminal's output is with the master at once.
fn unsent(tty: &Tty) -> usize {
    match tty.driver {
        Driver::Pty { .. } => 0,
        Driver::Console(_) => tty.state.lock().ldisc.output.pending().min(2 * OUTPUT_LIMIT),
    }
}

/// There is one line discipline, N_TTY.
fn set_discipline(tty: &Tty, op: Op<'_>, arg: u64) -> Result<u64> {
    tty.check_background(op.caller, Stop::Output)?;
    match op.caller.memory().get::<u32>(arg)? {
        0 => Ok(0),
        _ => Err(EINVAL),
    }
}

/// `TIOCSTI`, which only the superuser may (as on a Linux without CONFIG_LEGACY_TIOCSTI).
fn insert(tty: &Tty, op: Op<'_>, arg: u64) -> Result<u64> {
    if !op.caller.cred().capable(Caps::SYS_ADMIN) {
        return Err(EIO);
    }
    let byte: u8 = op.caller.memory().get(arg)?;
    tty.insert_input(&[byte]);
    Ok(0)
}

fn get_job(tty: &Tty, side: Side, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
    if side == Side::Slave && !tty.controls(&op.caller.session()) {
        return Err(ENOTTY);
    }
    let (foreground, session) = tty.job_ids();
    let id = match command {
        nr::TIOCGPGRP => foreground.unwrap_or(0),
        _ => session.ok_or(ENOTTY)?,
    };
    set_user(op, arg, &op.caller.pid_ns().shown(id))
}

fn set_foreground(tty: &Tty, op: Op<'_>, arg: u64) -> Result<u64> {
    tty.check_background(op.caller, Stop::Output)
        .map_err(|error| if error == EIO { ENOTTY } else { error })?;
    let group: i32 = op.caller.memory().get(arg)?;
    let group = match u32::try_from(group) {
        Ok(number) => op.caller.pid_ns().outside(number).ok_or(crate::errno::ESRCH)? as i32,
        Err(_) => group,
    };
    done(tty.set_foreground(op.caller, group))
}
