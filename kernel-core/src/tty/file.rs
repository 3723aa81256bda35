//! An open terminal: `/dev/pts/N`, `/dev/console`, `/dev/tty`.

use alloc::sync::Arc;
use core::any::Any;

use linux_raw_sys::general as sys;

use crate::errno::{EBUSY, EIO, ENOTTY, Result};
use crate::io::{Sink, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::task::cred::Caps;
use crate::tty::ioctl::{self, Side};
use crate::tty::job::Stop;
use crate::tty::read::Reader;
use crate::tty::tty::{HUNG_UP, Tty};
use crate::vfs::caller::Caller;
use crate::vfs::file::{FileOps, Op, OpenFlags};

/// A terminal that is open.
pub struct TtyFile {
    tty: Arc<Tty>,
    /// How often the terminal had been hung up before.
    hangups: u64,
}

impl Tty {
    /// Opens it. EIO if the master of a pseudoterminal is gone or has it locked, EBUSY under `TIOCEXCL`.
    pub fn open(self: &Arc<Tty>, flags: OpenFlags, caller: &dyn Caller) -> Result<Arc<TtyFile>> {
        let is_admin = caller.cred().capable(Caps::SYS_ADMIN);
        let hangups = {
            let mut state = self.state.lock();
            if state.pty.master_closed || state.pty.locked {
                return Err(EIO);
            }
            if state.exclusive && !is_admin {
                return Err(EBUSY);
            }
            state.opens += 1;
            state.pty.slave_closed = false;
            state.hangups
        };
        self.acquire_on_open(caller, flags);
        Ok(Arc::new(TtyFile { tty: self.clone(), hangups }))
    }
}

impl TtyFile {
    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    fn is_hung_up(&self) -> bool {
        self.tty.state.lock().hangups != self.hangups
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.update(|state, effects| {
            if state.hangups == self.hangups {
                state.opens = state.opens.saturating_sub(1);
                if state.opens == 0 {
                    state.pty.slave_closed = true;
                    effects.wake_master = HUNG_UP;
                }
            }
        });
    }
}

impl FileOps for TtyFile {
    fn read(&self, op: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if self.is_hung_up() {
            return Ok(0);
        }
        self.tty.check_background(op.caller, Stop::Input)?;
        let nonblocking = op.file.flags().contains(OpenFlags::NONBLOCK);
        let reader = Reader { tid: op.caller.tid(), nonblocking, hangups: self.hangups };
        let count = self.tty.read_input(&reader, dst)?;
        self.tty.pull_input();
        Ok(count)
    }

    fn write(&self, op: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        if self.is_hung_up() {
            return Err(EIO);
        }
        if self.tty.termios().local(sys::TOSTOP) {
            self.tty.check_background(op.caller, Stop::Output)?;
        }
        self.tty.write_output(self.hangups, src)
    }

    fn poll(&self, _: Op<'_>) -> Events {
        self.tty.poll_state(self.hangups)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    /// A blocking write goes on until all is taken.
    fn is_stream(&self) -> bool {
        true
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        if self.is_hung_up() {
            return Err(if command == linux_raw_sys::ioctl::TIOCSPGRP { ENOTTY } else { EIO });
        }
        ioctl::ioctl(&self.tty, Side::Slave, op, command, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
