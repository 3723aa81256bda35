//! `SOL_SOCKET` options of local sockets. Source: `socket(7)`.

use alloc::collections::BTreeMap;

use linux_raw_sys::net as sys;

use crate::errno::{EINVAL, ENOPROTOOPT, Result};
use crate::ipc::unix::message::DEFAULT_BUFFER;
use crate::ipc::unix::socket::UnixSocket;

/// The largest buffer that can be asked for (`/proc/sys/net/core/wmem_max`); twice as much is set.
const LARGEST_BUFFER: usize = 212_992;
/// The smallest send and receive buffers.
const SMALLEST_SEND: usize = 4608;
const SMALLEST_RECEIVE: usize = 2304;

/// Values that only the socket itself looks at.
pub(super) struct Options {
    /// Those without effect here, by name.
    kept: BTreeMap<u32, i32>,
    receive_buffer: usize,
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO` in nanoseconds; `None`: for ever.
    receive_timeout_ns: Option<u64>,
    send_timeout_ns: Option<u64>,
    pass_credentials: bool,
    /// `SO_LINGER`, in seconds.
    linger: Option<i32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            kept: BTreeMap::new(),
            receive_buffer: DEFAULT_BUFFER,
            receive_timeout_ns: None,
            send_timeout_ns: None,
            pass_credentials: false,
            linger: None,
        }
    }
}

impl Options {
    /// A connection gets from its listener what Linux gives it.
    pub(super) fn inherit(&mut self, listener: &Options) {
        self.pass_credentials = listener.pass_credentials;
    }
}

/// Options that are kept and shown, and mean nothing for local sockets; those that are switches show as 0 or 1.
fn kept_switch(name: u32) -> Option<bool> {
    match name {
        sys::SO_REUSEADDR | sys::SO_KEEPALIVE | sys::SO_BROADCAST | sys::SO_OOBINLINE | sys::SO_DONTROUTE => {
            Some(true)
        }
        sys::SO_PRIORITY | sys::SO_RCVLOWAT => Some(false),
        _ => None,
    }
}

impl UnixSocket {
    /// Sets an option whose value is an `int`: ENOPROTOOPT, EINVAL.
    pub fn set_option(&self, name: u32, value: i32) -> Result<()> {
        let asked = usize::try_from(value).unwrap_or(usize::MAX).min(LARGEST_BUFFER) * 2;
        match name {
            sys::SO_SNDBUF => self.outlet().set_limit(asked.max(SMALLEST_SEND)),
            sys::SO_RCVBUF => self.options().receive_buffer = asked.max(SMALLEST_RECEIVE),
            sys::SO_PASSCRED => self.options().pass_credentials = value != 0,
            _ => {
                let switch = kept_switch(name).ok_or(ENOPROTOOPT)?;
                self.options().kept.insert(name, if switch { i32::from(value != 0) } else { value });
            }
        }
        Ok(())
    }

    /// An option whose value is an `int`: ENOPROTOOPT. `SO_ERROR` is cleared by being read.
    pub fn option(&self, name: u32) -> Result<i32> {
        let size = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        Ok(match name {
            sys::SO_TYPE => self.kind().raw(),
            sys::SO_DOMAIN => i32::from(super::address::AF_UNIX),
            sys::SO_PROTOCOL => 0,
            sys::SO_ERROR => self.take_error().map_or(0, |errno| errno.code()),
            sys::SO_ACCEPTCONN => i32::from(self.is_listening()),
            sys::SO_SNDBUF => size(self.outlet().limit()),
            sys::SO_RCVBUF => size(self.options().receive_buffer),
            sys::SO_PASSCRED => i32::from(self.options().pass_credentials),
            _ => {
                kept_switch(name).ok_or(ENOPROTOOPT)?;
                let default = i32::from(name == sys::SO_RCVLOWAT);
                self.options().kept.get(&name).copied().unwrap_or(default)
            }
        })
    }

    /// Sets `SO_RCVTIMEO` (or `SO_SNDTIMEO`) to a time of seconds and microseconds: EDOM, and EINVAL for another name.
    pub fn set_timeout(&self, name: u32, sec: i64, usec: i64) -> Result<()> {
        if !(0..1_000_000).contains(&usec) {
            return Err(crate::errno::EDOM);
        }
        let ns = match u64::try_from(sec) {
            // A negative time is none at all, as in Linux.
            Err(_) => Some(0),
            Ok(0) if usec == 0 => None,
            Ok(sec) => Some(sec.saturating_mul(1_000_000_000).saturating_add(usec as u64 * 1000)),
        };
        let mut options = self.options();
        match name {
            sys::SO_RCVTIMEO_OLD | sys::SO_RCVTIMEO_NEW => options.receive_timeout_ns = ns,
            sys::SO_SNDTIMEO_OLD | sys::SO_SNDTIMEO_NEW => options.send_timeout_ns = ns,
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    /// How long a receive may wait, in nanoseconds.
    pub fn receive_timeout_ns(&self) -> Option<u64> {
        self.options().receive_timeout_ns
    }

    /// How long a send, or a connect, may wait, in nanoseconds.
    pub fn send_timeout_ns(&self) -> Option<u64> {
        self.options().send_timeout_ns
    }

    /// `SO_LINGER` in seconds, which has no effect here.
    pub fn linger(&self) -> Option<i32> {
        self.options().linger
    }

    /// Sets `SO_LINGER`.
    pub fn set_linger(&self, seconds: Option<i32>) {
        self.options().linger = seconds;
    }

    /// Whether credentials come with what is received (`SO_PASSCRED`).
    pub fn passes_credentials(&self) -> bool {
        self.options().pass_credentials
    }
}
