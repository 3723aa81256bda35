//! A terminal: a line discipline with its settings, the session it controls, and those who wait for it.
//!
//! What programs open as a terminal is [`crate::tty::file::TtyFile`]; at the other end is the master of a pseudoterminal
//! ([`crate::tty::pty`]) or the host's terminal ([`crate::tty::console`]).

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};

use linux_raw_sys::general as sys;

use crate::errno::{EAGAIN, EIO, Result};
use crate::host::ByteStream;
use crate::io::Source;
use crate::sched::timers::Timers;
use crate::sched::wait::{Events, WaitQueue};
use crate::services::{Clock, Services};
use crate::sync::Mutex;
use crate::task::session::Session;
use crate::tty::ldisc::Ldisc;
use crate::tty::ldisc::output::Origin;
use crate::tty::read::ReadTimer;
use crate::tty::termios::{RawTermios, Termios, WinSize};
use crate::vfs::caller::Processes;
use crate::vfs::inode::Device;

/// Input that came in while the line discipline had no room; whoever sends more waits.
pub(super) const BACKLOG_LIMIT: usize = 8192;
/// Bytes that are written under one lock.
const CHUNK: usize = 256;

/// What a terminal needs of the kernel.
#[derive(Clone)]
pub struct TtyServices {
    /// For VTIME.
    pub timers: Arc<Timers>,
    /// For VTIME and times of nodes.
    pub clock: Arc<dyn Clock>,
    /// For signals and job control.
    pub processes: Arc<dyn Processes>,
}

impl TtyServices {
    /// Those of an instance.
    pub fn of(services: &Services) -> TtyServices {
        TtyServices {
            timers: services.timers.clone(),
            clock: services.clock.clone(),
            processes: services.processes.clone(),
        }
    }
}

/// What is at the other end.
pub(super) enum Driver {
    /// The master of a pseudoterminal.
    Pty {
        /// The number in `/dev/pts/N`.
        index: u32,
    },
    /// A terminal of the host.
    Console(Arc<dyn ByteStream>),
}

/// A terminal.
pub struct Tty {
    /// Its device number, as in `/proc/PID/stat`.
    pub device: Device,
    pub(super) me: Weak<Tty>,
    pub(super) services: TtyServices,
    pub(super) driver: Driver,
    pub(super) state: Mutex<State>,
    /// Who waits to read or write.
    pub(super) queue: WaitQueue,
    /// Who waits at the master of a pseudoterminal.
    pub(super) master_queue: WaitQueue,
}

/// What changes.
pub(super) struct State {
    pub ldisc: Ldisc,
    pub backlog: VecDeque<u8>,
    /// The session whose controlling terminal it is.
    pub session: Option<Weak<Session>>,
    pub foreground: Option<u32>,
    pub size: WinSize,
    /// `TIOCEXCL`.
    pub exclusive: bool,
    /// `TIOCSLCKTRMIOS`: the settings that stay as they are.
    pub fixed: RawTermios,
    /// How often it was hung up: what was opened before is dead.
    pub hangups: u64,
    /// How many open files refer to it.
    pub opens: usize,
    pub read_timer: Option<ReadTimer>,
    pub pty: PtyState,
    pub console: ConsoleState,
}

/// The part of the state that only pseudoterminals have.
#[derive(Default)]
pub(super) struct PtyState {
    pub master_closed: bool,
    /// All who had the terminal open have closed it.
    pub slave_closed: bool,
    /// `tcflow` stopped what the master writes.
    pub master_stopped: bool,
    /// `TIOCSPTLCK`.
    pub locked: bool,
    /// `TIOCPKT`.
    pub packet: bool,
    /// What the master has to be told, `TIOCPKT_*`.
    pub packet_status: u8,
}

/// The part of the state that only the console has.
#[derive(Default)]
pub(super) struct ConsoleState {
    /// A vCPU is giving output to the host; it takes along what others add.
    pub pushing: bool,
    /// A vCPU is taking input.
    pub pulling: bool,
    /// The host's input is at its end.
    pub input_ended: bool,
}

/// What is to be done once the state is unlocked.
pub(super) struct Effects {
    /// Signals for the foreground group: bit n is signal n.
    pub signals: u64,
    /// What happened for readers and writers.
    pub wake: Events,
    /// What happened for the master.
    pub wake_master: Events,
}

/// Input is there.
pub(super) const READABLE: Events = Events::IN.union(Events::RDNORM);
/// There is room for output.
pub(super) const WRITABLE: Events = Events::OUT.union(Events::WRNORM);
/// Everything that a hangup changes.
pub(super) const HUNG_UP: Events = READABLE.union(WRITABLE).union(Events::ERR).union(Events::HUP);

impl State {
    /// Feeds input that waits to the line discipline, as far as that has room.
    pub fn feed(&mut self, effects: &mut Effects) {
        while self.ldisc.accepts_input() {
            let Some(byte) = self.backlog.pop_front() else { break };
            if let Some(signal) = self.ldisc.receive(byte) {
                effects.signals |= 1 << signal;
            }
        }
        self.ldisc.output.release_echoes();
    }

    /// How much more input may come in.
    pub fn input_room(&self) -> usize {
        BACKLOG_LIMIT.saturating_sub(self.backlog.len())
    }
}

impl Tty {
    pub(super) fn new(services: TtyServices, driver: Driver, device: Device, termios: Termios) -> Arc<Tty> {
        let locked = matches!(driver, Driver::Pty { .. });
        Arc::new_cyclic(|me| Tty {
            device,
            me: me.clone(),
            services,
            driver,
            state: Mutex::new(State {
                ldisc: Ldisc::new(termios),
                backlog: VecDeque::new(),
                session: None,
                foreground: None,
                size: WinSize::default(),
                exclusive: false,
                fixed: RawTermios::default(),
                hangups: 0,
                opens: 0,
                read_timer: None,
                pty: PtyState { locked, ..PtyState::default() },
                console: ConsoleState::default(),
            }),
            queue: WaitQueue::new(),
            master_queue: WaitQueue::new(),
        })
    }

    /// Changes the state, and then does what follows from it: signals, wake-ups, output to the host.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        let mut effects = Effects { signals: 0, wake: Events::empty(), wake_master: Events::empty() };
        let (result, foreground) = {
            let mut state = self.state.lock();
            let was_readable = state.ldisc.readable();
            let was_writable = state.ldisc.output.writable();
            let was_pending = state.ldisc.output.pending();
            let had_input = state.ldisc.has_input();
            let result = change(&mut state, &mut effects);
            let status = state.ldisc.take_status();
            if state.pty.packet && status != 0 {
                state.pty.note_status(status);
                effects.wake_master |= READABLE | Events::PRI;
            }
            if state.ldisc.has_input() && (!had_input || state.ldisc.readable() > was_readable) {
                effects.wake |= READABLE;
            }
            if state.ldisc.output.writable() && !was_writable {
                effects.wake |= WRITABLE;
            }
            if state.ldisc.output.pending() > was_pending {
                effects.wake_master |= READABLE;
            }
            (result, state.foreground)
        };
        if let Some(group) = foreground {
            for signal in (1..64u8).filter(|signal| effects.signals & 1 << signal != 0) {
                self.services.processes.signal_group(group, signal);
            }
        }
        self.queue.wake(effects.wake);
        self.master_queue.wake(effects.wake_master);
        self.push_output();
        result
    }

    /// Writes for an open file; `hangups` is what it was opened under. EAGAIN if not even a byte fits.
    pub(super) fn write_output(&self, hangups: u64, src: &mut dyn Source) -> Result<usize> {
        let mut total = 0;
        while src.remaining() > 0 {
            let step = self.update(|state, _| {
                if state.hangups != hangups || state.pty.master_closed {
                    return Err(EIO);
                }
                if !state.ldisc.output.writable() {
                    return Err(EAGAIN);
                }
                let mut chunk = [0; CHUNK];
                let len = src.remaining().min(CHUNK);
                let taken = src.take(&mut chunk[..len])?.min(len);
                let termios = *state.ldisc.termios();
                for &byte in &chunk[..taken] {
                    state.ldisc.output.process(&termios, Origin::Write, byte);
                }
                Ok(taken)
            });
            match step {
                Ok(0) => break,
                Ok(taken) => total += taken,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Takes input as from the other end. Gives how many bytes of `bytes` found room.
    pub(super) fn insert_input(&self, bytes: &[u8]) -> usize {
        self.update(|state, effects| {
            let len = bytes.len().min(state.input_room());
            state.backlog.extend(bytes.iter().take(len));
            state.feed(effects);
            len
        })
    }

    /// Sets the size of the window; the foreground group gets SIGWINCH if it changes.
    pub fn set_size(&self, size: WinSize) {
        self.update(|state, effects| {
            if state.size != size {
                state.size = size;
                effects.signals |= 1 << sys::SIGWINCH;
            }
        });
    }

    /// The size of the window.
    pub fn size(&self) -> WinSize {
        self.state.lock().size
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        *self.state.lock().ldisc.termios()
    }

    /// What an open file that is `hangups` old may do now.
    pub(super) fn poll_state(&self, hangups: u64) -> Events {
        let state = self.state.lock();
        if state.hangups != hangups {
            return HUNG_UP;
        }
        let mut events = Events::empty();
        if state.poll_readable() {
            events |= READABLE;
        }
        if state.ldisc.output.writable() {
            events |= WRITABLE;
        }
        events
    }
}

impl PtyState {
    /// Adds to what the master has to be told; opposites replace each other.
    fn note_status(&mut self, status: u8) {
        let pairs = [(sys::TIOCPKT_STOP, sys::TIOCPKT_START), (sys::TIOCPKT_DOSTOP, sys::TIOCPKT_NOSTOP)];
        for (one, other) in pairs {
            let both = (one | other) as u8;
            if status & both != 0 {
                self.packet_status &= !both;
            }
        }
        self.packet_status |= status;
    }
}
