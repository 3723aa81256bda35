//! Job control: which session a terminal controls, which of its process groups is in the foreground, and hangups.
//!
//! Sources: `credentials(7)`, `ioctl_tty(2)`, `setsid(2)`, POSIX chapter 11.1. One difference to Linux: the controlling
//! terminal belongs to the session, so a process cannot give it up for itself alone.

use alloc::sync::Arc;

use linux_raw_sys::general as sys;

use crate::errno::{EINVAL, EIO, ENOTTY, EPERM, ERESTART, ESRCH, Result};
use crate::task::cred::Caps;
use crate::task::session::Session;
use crate::task::siginfo::SigInfo;
use crate::tty::ldisc::Ldisc;
use crate::tty::tty::{Driver, HUNG_UP, State, Tty};
use crate::vfs::caller::{Caller, Processes};
use crate::vfs::file::OpenFlags;

/// A signal that background processes get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// They read.
    Input,
    /// They write or change something.
    Output,
}

/// Whom a hangup tells, apart from the leader of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    Leader,
    /// The leader exits: its foreground group must know.
    Foreground,
}

impl State {
    /// The session that it controls.
    fn session(&self) -> Option<Arc<Session>> {
        self.session.as_ref().and_then(alloc::sync::Weak::upgrade)
    }

    /// Parts the terminal from its session; gives both.
    fn part(&mut self) -> (Option<Arc<Session>>, Option<u32>) {
        let session = self.session();
        self.session = None;
        if let Some(session) = &session {
            *session.tty.lock() = None;
        }
        (session, self.foreground.take())
    }

    fn join(&mut self, tty: &Tty, session: &Arc<Session>, group: u32) {
        self.session = Some(Arc::downgrade(session));
        self.foreground = Some(group);
        *session.tty.lock() = tty.me.upgrade();
    }
}

fn is_leader(caller: &dyn Caller, session: &Session) -> bool {
    caller.pid() == session.id
}

fn send(processes: &dyn Processes, group: Option<u32>, signals: &[u32]) {
    for &signal in signals {
        if let Some(group) = group {
            processes.signal_group(group, signal as u8);
        }
    }
}

impl Tty {
    /// The foreground process group.
    pub fn foreground(&self) -> Option<u32> {
        self.state.lock().foreground
    }

    /// Whether it is the controlling terminal of `session`.
    pub fn controls(&self, session: &Session) -> bool {
        session.tty.lock().as_ref().is_some_and(|tty| core::ptr::eq(Arc::as_ptr(tty), self))
    }

    /// Lets only the foreground group (or another session) go on. A background process gets its whole group stopped,
    /// and ERESTART; EIO where stopping would have no effect or no end.
    pub(super) fn check_background(&self, caller: &dyn Caller, stop: Stop) -> Result<()> {
        if !self.controls(&caller.session()) {
            return Ok(());
        }
        let group = caller.process_group();
        if self.foreground().is_none_or(|foreground| foreground == group) {
            return Ok(());
        }
        let signal = match stop {
            Stop::Input => sys::SIGTTIN as u8,
            Stop::Output => sys::SIGTTOU as u8,
        };
        if caller.is_blocked_or_ignored(signal) {
            return if stop == Stop::Input { Err(EIO) } else { Ok(()) };
        }
        let processes = &self.services.processes;
        if processes.is_orphaned(group) {
            return Err(EIO);
        }
        processes.signal_group(group, signal);
        Err(ERESTART)
    }

    /// What opening does: it becomes the controlling terminal of a session leader that has none.
    pub(super) fn acquire_on_open(&self, caller: &dyn Caller, flags: OpenFlags) {
        let session = caller.session();
        if flags.contains(OpenFlags::NOCTTY) || !flags.readable() || !is_leader(caller, &session) {
            return;
        }
        let group = caller.process_group();
        let mut state = self.state.lock();
        if state.session().is_none() && session.tty.lock().is_none() {
            state.join(self, &session, group);
        }
    }

    /// `TIOCSCTTY`: makes it the caller's controlling terminal; with `force` 1 also another session's, for the superuser.
    pub(super) fn acquire(&self, caller: &dyn Caller, flags: OpenFlags, force: u64) -> Result<()> {
        let session = caller.session();
        let group = caller.process_group();
        let is_admin = caller.cred().capable(Caps::SYS_ADMIN);
        let mut state = self.state.lock();
        let owner = state.session();
        if !is_leader(caller, &session) {
            return Err(EPERM);
        }
        if owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &session)) {
            return Ok(());
        }
        if session.tty.lock().is_some()
            || (owner.is_some() && !(force == 1 && is_admin))
            || !(flags.readable() || is_admin)
        {
            return Err(EPERM);
        }
        state.part();
        state.join(self, &session, group);
        Ok(())
    }

    /// `TIOCNOTTY`: the leader gives it up for the session, and the foreground group gets SIGHUP and SIGCONT. EPERM for
    /// others.
    pub(super) fn give_up(&self, caller: &dyn Caller) -> Result<()> {
        let session = caller.session();
        if !self.controls(&session) {
            return Err(ENOTTY);
        }
        if !is_leader(caller, &session) {
            return Err(EPERM);
        }
        let (_, foreground) = self.state.lock().part();
        send(&*self.services.processes, foreground, &[sys::SIGHUP, sys::SIGCONT]);
        Ok(())
    }

    /// `TIOCGPGRP`, `TIOCGSID`: the foreground group and the session, as the caller's terminal or from the master.
    pub(super) fn job_ids(&self) -> (Option<u32>, Option<u32>) {
        let state = self.state.lock();
        (state.foreground, state.session().map(|session| session.id))
    }

    /// `TIOCSPGRP`: puts `group` of the caller's session into the foreground.
    pub(super) fn set_foreground(&self, caller: &dyn Caller, group: i32) -> Result<()> {
        let group = u32::try_from(group).map_err(|_| EINVAL)?;
        let session = caller.session();
        if !self.controls(&session) {
            return Err(ENOTTY);
        }
        if self.services.processes.session_of_group(group).ok_or(ESRCH)? != session.id {
            return Err(EPERM);
        }
        let mut state = self.state.lock();
        // The session may have lost it meanwhile.
        if !state.session().is_some_and(|owner| Arc::ptr_eq(&owner, &session)) {
            return Err(ENOTTY);
        }
        state.foreground = Some(group);
        Ok(())
    }

    /// Called when the leader of `session` exits: its terminal is free for another session, and the foreground group
    /// gets SIGHUP. A console is hung up altogether.
    pub fn session_leader_exited(session: &Session, processes: &dyn Processes) {
        let tty = session.tty.lock().clone();
        let Some(tty) = tty else {
            // It lost the terminal to a hangup: those who were in the foreground then get to know it now.
            let foreground = session.foreground_at_hangup.lock().take();
            return send(processes, foreground, &[sys::SIGHUP, sys::SIGCONT]);
        };
        match tty.driver {
            Driver::Console(_) => tty.hang_up(Tell::Foreground),
            Driver::Pty { .. } => {
                let (_, foreground) = tty.state.lock().part();
                send(processes, foreground, &[sys::SIGHUP]);
            }
        }
    }

    /// Hangs up (`vhangup(2)`, the master of a pseudoterminal closed): whoever has it open finds it dead, its session has
    /// no terminal, and the leader gets SIGHUP and SIGCONT.
    pub fn hangup(&self) {
        self.hang_up(Tell::Leader);
    }

    fn hang_up(&self, tell: Tell) {
        let (session, foreground) = self.update(|state, effects| {
            state.hangups += 1;
            state.opens = 0;
            state.exclusive = false;
            state.backlog.clear();
            state.ldisc.flush_input();
            let output = core::mem::take(&mut state.ldisc.output);
            state.ldisc = Ldisc::new(self.initial_termios());
            state.ldisc.output = output.reset();
            state.pty.slave_closed = true;
            effects.wake = HUNG_UP;
            effects.wake_master = HUNG_UP;
            state.part()
        });
        let Some(session) = session else { return };
        *session.foreground_at_hangup.lock() = foreground;
        let processes = &*self.services.processes;
        for signal in [sys::SIGHUP, sys::SIGCONT] {
            processes.signal_process(session.id, SigInfo::kernel(signal as u8));
        }
        if tell == Tell::Foreground {
            send(processes, foreground, &[sys::SIGHUP]);
        }
    }
}
