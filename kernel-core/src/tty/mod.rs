//! Terminals: line discipline, job control, pseudoterminals and the console.
//!
//! * [`ldisc`]: N_TTY as a pure state machine.
//! * [`tty`]: a terminal: line discipline, session, readers and writers.
//! * [`job`]: sessions, foreground groups and hangups.
//! * [`file`]: an open terminal; [`pty`]: pseudoterminal pairs and their masters; [`console`]: the host's terminal.
//! * [`ioctl`] serves `ioctl_tty(2)`.
//!
//! Locks: a terminal's state, then the `tty` field of a [`crate::task::session::Session`]. Signals are sent and queues
//! woken with neither held.

pub mod console;
mod ctype;
pub mod file;
pub mod ioctl;
pub mod job;
pub mod ldisc;
pub mod pty;
mod read;
pub mod termios;
#[cfg(test)]
mod tests;
#[expect(clippy::module_inception, reason = "the object that the directory is about")]
pub mod tty;

use alloc::sync::Arc;

use crate::errno::{ENXIO, Result};
use crate::fs::devpts::PtsType;
use crate::host::ByteStream;
use crate::services::Services;
use crate::vfs::device::{Devices, Opener, Special};
use crate::vfs::file::{FileOps, OpenFlags};
use crate::vfs::inode::Device;
use console::Console;
pub use tty::Tty;
use tty::TtyServices;

/// `/dev/tty`: the controlling terminal of whoever opens it.
pub const CONTROLLING: Device = Device::new(5, 0);
/// `/dev/console`.
pub const CONSOLE: Device = Device::new(5, 1);
/// `/dev/ptmx`.
pub const PTMX: Device = Device::new(5, 2);
/// Major number of `/dev/pts/N`.
pub const PTS_MAJOR: u32 = 136;

/// All terminals of an instance.
pub struct Terminals {
    /// The host's terminal.
    pub console: Arc<Console>,
    /// Where pseudoterminals are.
    pub pts_type: Arc<PtsType>,
}

impl Terminals {
    /// The console on `stream`, and no pseudoterminal.
    pub fn new(services: &Services, stream: Arc<dyn ByteStream>) -> Terminals {
        let services = TtyServices::of(services);
        Terminals {
            console: Console::new(services.clone(), stream),
            pts_type: Arc::new(PtsType::new(services)),
        }
    }

    /// Registers the openers of all terminal devices.
    pub fn register(&self, devices: &Devices) {
        devices.register_char(CONTROLLING, Arc::new(ControllingTty));
        devices.register_char(CONSOLE, self.console.clone());
        devices.register_char(PTMX, Arc::new(pty::Ptmx));
        devices.register_char_major(PTS_MAJOR, Arc::new(pty::Ptmx));
    }
}

/// Opens `/dev/tty`.
struct ControllingTty;

impl Opener for ControllingTty {
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        let tty = file.caller.session().tty.lock().clone().ok_or(ENXIO)?;
        Ok(tty.open(file.flags | OpenFlags::NOCTTY, file.caller)?)
    }
}
