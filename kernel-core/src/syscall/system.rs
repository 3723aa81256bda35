//! The machine as a whole: names, reboot, kernel log, random bytes.

use alloc::vec::Vec;

use crate::errno::{EFAULT, EINVAL, EPERM, Result};
use crate::host::Host;
use crate::kernel::Shutdown;
use crate::syscall::{Cx, SysResult};
use crate::task::cred::Caps;
use crate::task::process::ExitStatus;
use crate::task::signal::SIGHUP;

/// What `uname -r` says: a Linux whose calls and files programs find here.
pub const RELEASE: &str = "6.1.0-lodger";
/// What `uname -v` says.
pub const VERSION: &str = concat!("#1 Lodger ", env!("CARGO_PKG_VERSION"));

/// Longest host or domain name.
const NAME_MAX: usize = 64;

/// `uname(2)`.
pub fn uname<H: Host>(cx: &Cx<'_, H>, buf: u64) -> SysResult {
    let names = cx.task.namespaces().uts.names.lock().clone();
    let fields: [&[u8]; 6] =
        [b"Linux", &names.host, RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", &names.domain];
    let mut raw = [0u8; 65 * 6];
    for (place, field) in raw.chunks_mut(65).zip(fields) {
        for (to, from) in place.iter_mut().take(NAME_MAX).zip(field) {
            *to = *from;
        }
    }
    cx.user().write_bytes(buf, &raw)?;
    Ok(0)
}

fn read_name<H: Host>(cx: &Cx<'_, H>, addr: u64, len: i32) -> Result<Vec<u8>> {
    let owner = &cx.task.namespaces().uts.user_ns;
    if !cx.cred().capable_in(owner, Caps::SYS_ADMIN) {
        return Err(EPERM);
    }
    let len = usize::try_from(len).ok().filter(|len| *len <= NAME_MAX).ok_or(EINVAL)?;
    let mut name = alloc::vec![0; len];
    cx.user().read_bytes(addr, &mut name)?;
    Ok(name)
}

/// `sethostname(2)`.
pub fn sethostname<H: Host>(cx: &Cx<'_, H>, addr: u64, len: i32) -> SysResult {
    let name = read_name(cx, addr, len)?;
    cx.task.namespaces().uts.names.lock().host = name;
    Ok(0)
}

/// `setdomainname(2)`.
pub fn setdomainname<H: Host>(cx: &Cx<'_, H>, addr: u64, len: i32) -> SysResult {
    let name = read_name(cx, addr, len)?;
    cx.task.namespaces().uts.names.lock().domain = name;
    Ok(0)
}

/// `reboot(2)`.
pub fn reboot<H: Host>(cx: &Cx<'_, H>, magic: u32, magic2: u32, command: u32) -> SysResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    let pid_ns = &cx.task.process.pid_ns;
    if !cx.cred().capable_in(&pid_ns.user_ns(), Caps::SYS_BOOT) {
        return Err(EPERM.into());
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(EINVAL.into());
    }
    if !pid_ns.is_initial() {
        return reboot_namespace(cx, command);
    }
    let why = match command {
        0x0123_4567 | 0xa1b2_c3d4 => Shutdown::Restart,
        0x4321_fedc => Shutdown::PowerOff,
        0xcdef_0123 => Shutdown::Halt,
        // Ctrl-Alt-Del: there is no such key here, so either setting is as good.
        0x89ab_cdef | 0 => return Ok(0),
        _ => return Err(EINVAL.into()),
    };
    cx.kernel.shut_down(why);
    Ok(0)
}

/// `reboot(2)` in a PID namespace: its first process ends, as if of a signal that tells what was asked for.
fn reboot_namespace<H: Host>(cx: &Cx<'_, H>, command: u32) -> SysResult {
    const SIGINT: u8 = linux_raw_sys::general::SIGINT as u8;
    let signal = match command {
        0x0123_4567 | 0xa1b2_c3d4 => SIGHUP,
        0x4321_fedc | 0xcdef_0123 => SIGINT,
        _ => return Err(EINVAL.into()),
    };
    let init = cx.kernel.tree.lock().process(cx.task.process.pid_ns.init());
    if let Some(init) = init {
        init.end(ExitStatus::Signaled { signal, core: false });
    }
    cx.task.process.end(ExitStatus::Exited(0));
    Ok(0)
}

/// `getrandom(2)`.
pub fn getrandom<H: Host>(cx: &Cx<'_, H>, buf: u64, len: usize, flags: u32) -> SysResult {
    const NONBLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0 || flags & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(EINVAL.into());
    }
    let len = len.min(crate::mm::user::MAX_RW_COUNT as usize);
    let mut done = 0;
    let mut piece = [0u8; 256];
    while done < len {
        let part = (len - done).min(piece.len());
        cx.services().clock.entropy(&mut piece[..part]);
        match cx.user().write_bytes(buf.wrapping_add(done as u64), &piece[..part]) {
            Ok(()) => done += part,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        if done % (1 << 16) == 0 && cx.signal_pending() {
            break;
        }
    }
    Ok(done as u64)
}

/// `syslog(2)`: what `dmesg` uses.
pub fn syslog<H: Host>(cx: &Cx<'_, H>, action: i32, buf: u64, len: i32) -> SysResult {
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CLEAR: i32 = 5;
    const SIZE_UNREAD: i32 = 9;
    const SIZE_BUFFER: i32 = 10;
    let privileged = cx.cred().capable(Caps::SYSLOG) || cx.cred().capable(Caps::SYS_ADMIN);
    if !privileged && action != READ_ALL && action != SIZE_BUFFER {
        return Err(EPERM.into());
    }
    let log = &cx.kernel.log;
    match action {
        0 | 1 | 6 | 7 => Ok(0),
        8 if (1..=8).contains(&len) => Ok(0),
        READ_ALL | READ_CLEAR => {
            let len = usize::try_from(len).map_err(|_| EINVAL)?;
            if buf == 0 {
                return Err(EINVAL.into());
            }
            let mut text = Vec::new();
            let mut next = log.cleared();
            while let Some(line) = log.line(next) {
                text.extend_from_slice(&line.show());
                next = line.sequence + 1;
            }
            let tail = text.get(text.len().saturating_sub(len)..).unwrap_or_default();
            cx.user().write_bytes(buf, tail).map_err(|_| EFAULT)?;
            if action == READ_CLEAR {
                log.clear();
            }
            Ok(tail.len() as u64)
        }
        CLEAR => {
            log.clear();
            Ok(0)
        }
        SIZE_UNREAD => Ok(0),
        SIZE_BUFFER => Ok(crate::log_ring::CAPACITY as u64),
        _ => Err(EINVAL.into()),
    }
}
