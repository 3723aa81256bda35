//! Pseudoterminals: pairs of a terminal (`/dev/pts/N`) and a master that plays the one who types. Source: `pty(7)`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::errno::{EAGAIN, EIO, ENODEV, ENOSPC, Result};
use crate::fs::devpts::{self, PtsNode};
use crate::io::{Sink, Source};
use crate::sched::wait::{Events, WaitQueue};
use crate::services::Clock;
use crate::sync::Mutex;
use crate::task::cred::Cred;
use crate::tty::ioctl::{self, Side};
use crate::tty::termios::Termios;
use crate::tty::tty::{Driver, READABLE, Tty, TtyServices, WRITABLE};
use crate::tty::{PTMX, PTS_MAJOR};
use crate::vfs::caller::Caller;
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::{FileOps, Op, OpenFlags};
use crate::vfs::inode::{Device, Inode};

/// How many pairs there may be at a time, in one file system and in all (`kernel.pty.max`).
pub const MAX_PTYS: usize = 4096;

/// Who owns new terminals, as the mount options of devpts say. Source: `Documentation/filesystems/devpts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtsOptions {
    /// Owner; `None`: who opens the master.
    pub uid: Option<u32>,
    /// Group; `None`: that of who opens the master.
    pub gid: Option<u32>,
    /// Permission bits of a terminal.
    pub mode: u32,
    /// Permission bits of the `ptmx` node in the file system.
    pub ptmx_mode: u32,
    /// How many there may be, at most [`MAX_PTYS`].
    pub max: usize,
}

impl Default for PtsOptions {
    fn default() -> PtsOptions {
        PtsOptions { uid: None, gid: None, mode: 0o600, ptmx_mode: 0, max: MAX_PTYS }
    }
}

/// A pair whose master is open.
#[derive(Clone)]
pub struct Pty {
    /// The terminal.
    pub tty: Arc<Tty>,
    /// Its node in devpts.
    pub node: Arc<PtsNode>,
}

/// The pseudoterminals of a devpts.
pub struct Ptys {
    services: TtyServices,
    /// The file system's number.
    pub device: Device,
    /// How many there are, here and elsewhere.
    used: Arc<AtomicUsize>,
    state: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    options: PtsOptions,
    pairs: BTreeMap<u32, Pty>,
}

impl Ptys {
    /// None yet.
    pub fn new(services: TtyServices, device: Device, used: Arc<AtomicUsize>) -> Arc<Ptys> {
        Arc::new(Ptys { services, device, used, state: Mutex::default() })
    }

    /// What the mount options say.
    pub fn options(&self) -> PtsOptions {
        self.state.lock().options
    }

    /// Changes what the mount options say, for pairs yet to come.
    pub fn set_options(&self, options: PtsOptions) {
        self.state.lock().options = options;
    }

    /// The clock, for the times of nodes.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.services.clock.clone()
    }

    /// The pair `index`.
    pub fn get(&self, index: u32) -> Option<Pty> {
        self.state.lock().pairs.get(&index).cloned()
    }

    /// The first pair whose index is not below `from`.
    pub fn next(&self, from: u32) -> Option<(u32, Pty)> {
        self.state.lock().pairs.range(from..).next().map(|(index, pty)| (*index, pty.clone()))
    }

    /// Makes a pair, and gives its master. ENOSPC if there are too many.
    pub fn open_master(self: &Arc<Ptys>, cred: &Cred) -> Result<Arc<PtyMaster>> {
        let mut table = self.state.lock();
        if table.pairs.len() >= table.options.max.min(MAX_PTYS) {
            return Err(ENOSPC);
        }
        let index = (0..MAX_PTYS as u32).find(|index| !table.pairs.contains_key(index)).ok_or(ENOSPC)?;
        let one_more = |used: usize| (used < MAX_PTYS).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map_err(|_| ENOSPC)?;
        let device = Device::new(PTS_MAJOR, index);
        let driver = Driver::Pty { index };
        let tty = Tty::new(self.services.clone(), driver, device, Termios::standard());
        let node = PtsNode::new(self, device, &table.options, cred);
        table.pairs.insert(index, Pty { tty: tty.clone(), node });
        Ok(Arc::new(PtyMaster { ptys: self.clone(), index, tty }))
    }
}

/// Opens `/dev/ptmx` where that is no node of a devpts: the pair is made in the one on `pts` beside it. A terminal can be
/// opened in its devpts only: EIO.
pub struct Ptmx;

impl Opener for Ptmx {
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        if file.device != PTMX {
            return Err(EIO);
        }
        let place = (file.beside)(b"pts")?;
        let ptys = devpts::ptys_of(&**place.inode()).ok_or(ENODEV)?;
        Ok(ptys.open_master(&file.caller.cred())?)
    }
}

/// The master of a pseudoterminal. Dropping it hangs the terminal up.
pub struct PtyMaster {
    ptys: Arc<Ptys>,
    index: u32,
    tty: Arc<Tty>,
}

impl PtyMaster {
    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    /// The number N of `/dev/pts/N`.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// For `TIOCGPTPEER`: opens the terminal wherever devpts is mounted, and gives its node. EIO if it is locked.
    pub fn open_peer(
        &self,
        flags: OpenFlags,
        caller: &dyn Caller,
    ) -> Result<(Arc<dyn FileOps>, Arc<dyn Inode>)> {
        let pty = self.ptys.get(self.index).ok_or(EIO)?;
        let file = pty.tty.open(flags, caller)?;
        Ok((file, pty.node))
    }
}

impl Drop for PtyMaster {
    fn drop(&mut self) {
        let gone = self.ptys.state.lock().pairs.remove(&self.index);
        drop(gone);
        self.ptys.used.fetch_sub(1, Ordering::Relaxed);
        self.tty.state.lock().pty.master_closed = true;
        self.tty.hangup();
    }
}

impl FileOps for PtyMaster {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.tty.update(|state, _| {
            let pty = &mut state.pty;
            if pty.packet && pty.packet_status != 0 {
                dst.put_all(&[pty.packet_status])?;
                pty.packet_status = 0;
                return Ok(1);
            }
            if state.ldisc.output.pending() == 0 {
                return Err(if pty.slave_closed { EIO } else { EAGAIN });
            }
            let mut head = 0;
            if pty.packet {
                head = dst.put(&[linux_raw_sys::general::TIOCPKT_DATA as u8])?;
            }
            Ok(head + state.ldisc.output.drain(|piece| dst.put(piece))?)
        })
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut total = 0;
        while src.remaining() > 0 {
            let step = self.tty.update(|state, effects| {
                let mut chunk = [0; 256];
                let room = if state.pty.master_stopped { 0 } else { state.input_room() };
                let len = src.remaining().min(chunk.len()).min(room);
                if len == 0 {
                    return Err(EAGAIN);
                }
                let taken = src.take(&mut chunk[..len])?.min(len);
                state.backlog.extend(&chunk[..taken]);
                state.feed(effects);
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

    fn poll(&self, _: Op<'_>) -> Events {
        let state = self.tty.state.lock();
        let mut events = Events::empty();
        if state.ldisc.output.pending() > 0 {
            events |= READABLE;
        }
        if state.pty.packet && state.pty.packet_status != 0 {
            events |= READABLE | Events::PRI;
        }
        if state.pty.slave_closed {
            events |= Events::HUP;
        }
        if state.input_room() > 0 && !state.pty.master_stopped {
            events |= WRITABLE;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.master_queue)
    }

    /// A blocking write goes on until all is taken.
    fn is_stream(&self) -> bool {
        true
    }

    fn ioctl(&self, op: Op<'_>, command: u32, arg: u64) -> Result<u64> {
        ioctl::ioctl(&self.tty, Side::Master, op, command, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
