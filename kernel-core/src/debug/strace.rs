//! `--strace`: a line for each call, as strace(1) prints it.

use alloc::format;
use alloc::string::{String, ToString};

use super::names;
use crate::errno::Errno;
use crate::host::Host;
use crate::kernel::TraceSink;
use crate::syscall::table::Call;
use crate::syscall::{Arg, Args, Cx, SysError, SysResult};

/// Bytes shown of strings and buffers, as strace does.
const SHOWN: usize = 32;
/// Strings shown of an `argv`.
const STRINGS: u64 = 8;
/// Calls whose result is an address.
const ADDRESSES: [&str; 4] = ["brk", "mmap", "mremap", "shmat"];
/// O_CREAT, or the bit of O_TMPFILE that is its own.
const MAKES_A_FILE: u32 = 0o100 | 0o20000000;

/// Serves a call and prints it. What goes in is read before, what comes out after the call.
pub(crate) fn traced<H: Host>(cx: &Cx<'_, H>, sink: &TraceSink, call: &Call<H>, args: &Args) -> SysResult {
    let before: String = shown(cx, call, args, None);
    let tid = cx.task.tid();
    if matches!(call.name, "exit" | "exit_group" | "execve" | "execveat" | "rt_sigreturn") {
        sink(&format!("[{tid}] {}({before})", call.name));
    }
    let result = (call.handler)(cx, args);
    let text = match result {
        Ok(value) if ADDRESSES.contains(&call.name) => format!("{value:#x}"),
        Ok(value) => number(value),
        Err(SysError::Errno(errno)) => error(errno),
        Err(SysError::Restart(_)) => "? (interrupted)".to_string(),
    };
    match (call.name, &result) {
        ("exit" | "exit_group" | "rt_sigreturn", _) => {}
        ("execve" | "execveat", _) => sink(&format!("[{tid}] {} = {text}", call.name)),
        _ => {
            let written = result.ok();
            let has_output = call.args.iter().any(|arg| matches!(arg, Arg::Out | Arg::FdPair));
            let shown = if has_output { shown(cx, call, args, written) } else { before };
            sink(&format!("[{tid}] {}({shown}) = {text}", call.name));
        }
    }
    result
}

/// Prints a call that is not there.
pub(crate) fn untraceable<H: Host>(cx: &Cx<'_, H>, sink: &TraceSink, number: u64, args: &Args) {
    let words: alloc::vec::Vec<String> = args.0.iter().map(|arg| format!("{arg:#x}")).collect();
    sink(&format!("[{}] {}({}) = -1 ENOSYS", cx.task.tid(), names::syscall(number), words.join(", ")));
}

fn number(value: u64) -> String {
    match value as i64 {
        small @ -4095..=0xffff_ffff => small.to_string(),
        large => format!("{large:#x}"),
    }
}

fn error(errno: Errno) -> String {
    format!("-1 {errno:?}")
}

fn shown<H: Host>(cx: &Cx<'_, H>, call: &Call<H>, args: &Args, written: Option<u64>) -> String {
    let mut text = String::new();
    for (index, arg) in call.args.iter().enumerate() {
        let shown = argument(cx, *arg, args, index, written);
        if index > 0 && !shown.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&shown);
    }
    text
}

fn argument<H: Host>(cx: &Cx<'_, H>, kind: Arg, args: &Args, index: usize, written: Option<u64>) -> String {
    let value = args.raw(index);
    match kind {
        Arg::Int | Arg::Fd => args.int(index).to_string(),
        Arg::DirFd if args.int(index) == linux_raw_sys::general::AT_FDCWD => "AT_FDCWD".to_string(),
        Arg::DirFd => args.int(index).to_string(),
        Arg::Size => value.to_string(),
        Arg::Hex => format!("{value:#x}"),
        Arg::Ptr => pointer(value),
        Arg::Mode => format!("{:#05o}", args.uint(index)).replacen("0o", "0", 1),
        Arg::CreateMode(flags) if args.uint(flags) & MAKES_A_FILE == 0 => String::new(),
        Arg::CreateMode(_) => argument(cx, Arg::Mode, args, index, written),
        Arg::OpenFlags => names::open(u64::from(args.uint(index))),
        Arg::CloneFlags => names::clone(value),
        Arg::SignalSet => cx.user().get(value).map_or_else(|_| pointer(value), names::signal_set),
        Arg::Time => time(cx, value),
        Arg::SocketAddr(length) => socket_addr(cx, value, args.uint(length)),
        Arg::FdPair if written.is_some() => fd_pair(cx, value),
        Arg::FdPair => pointer(value),
        Arg::Signal => names::signal(u64::from(args.uint(index))),
        Arg::Flags(known) => names::flags(u64::from(args.uint(index)), known),
        Arg::Enum(known) => names::value(u64::from(args.uint(index)), known),
        Arg::Str => string(cx, value),
        Arg::Strs => strings(cx, value),
        Arg::In(length) => bytes(cx, value, args.size(length)),
        Arg::Out => match written {
            Some(written) => bytes(cx, value, usize::try_from(written).unwrap_or(0)),
            None => pointer(value),
        },
    }
}

fn pointer(value: u64) -> String {
    if value == 0 { "NULL".to_string() } else { format!("{value:#x}") }
}

fn string<H: Host>(cx: &Cx<'_, H>, addr: u64) -> String {
    match cx.user().read_cstr(addr, 4096) {
        Ok(text) => quote(&text, text.len()),
        Err(_) => pointer(addr),
    }
}

fn strings<H: Host>(cx: &Cx<'_, H>, array: u64) -> String {
    let mut text = String::from("[");
    for index in 0..=STRINGS {
        let Ok(addr) = cx.user().get::<u64>(array.wrapping_add(index * 8)) else { return pointer(array) };
        if addr == 0 {
            break;
        }
        text.push_str(if index > 0 { ", " } else { "" });
        text.push_str(&if index == STRINGS { "...".to_string() } else { string(cx, addr) });
    }
    text.push(']');
    text
}

fn bytes<H: Host>(cx: &Cx<'_, H>, addr: u64, len: usize) -> String {
    let mut buf = [0u8; SHOWN];
    let part = buf.get_mut(..len.min(SHOWN)).unwrap_or_default();
    match cx.user().read_bytes(addr, part) {
        Ok(()) => quote(part, len),
        Err(_) => pointer(addr),
    }
}

fn time<H: Host>(cx: &Cx<'_, H>, addr: u64) -> String {
    let part = |offset: u64| cx.user().get::<i64>(addr.wrapping_add(offset));
    match (part(0), part(8)) {
        (Ok(seconds), Ok(nanoseconds)) => format!("{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"),
        _ => pointer(addr),
    }
}

fn fd_pair<H: Host>(cx: &Cx<'_, H>, addr: u64) -> String {
    let fd = |offset: u64| cx.user().get::<i32>(addr.wrapping_add(offset));
    match (fd(0), fd(4)) {
        (Ok(first), Ok(second)) => format!("[{first}, {second}]"),
        _ => pointer(addr),
    }
}

/// The family, and of a Unix socket the name; an abstract one begins with `@`.
fn socket_addr<H: Host>(cx: &Cx<'_, H>, addr: u64, len: u32) -> String {
    let mut buf = [0u8; 110];
    let part = buf.get_mut(..(len as usize).min(110)).unwrap_or_default();
    if part.len() < 2 || cx.user().read_bytes(addr, part).is_err() {
        return pointer(addr);
    }
    let (family, name) = part.split_at(2);
    let family = u64::from(family[0]) | u64::from(family[1]) << 8;
    let shown = names::value(family, names::io::FAMILY);
    let end = |name: &[u8]| name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    match name.split_first() {
        _ if family != u64::from(linux_raw_sys::net::AF_UNIX) => format!("{{{shown}}}"),
        None => format!("{{{shown}}}"),
        Some((0, name)) => format!("{{{shown}, @{}}}", quote(name, name.len())),
        Some(_) => format!("{{{shown}, {}}}", quote(&name[..end(name)], end(name))),
    }
}

fn quote(bytes: &[u8], len: usize) -> String {
    let shown = bytes.get(..bytes.len().min(SHOWN * 2)).unwrap_or_default();
    let dots = if len > shown.len() { "..." } else { "" };
    format!("\"{}\"{dots}", shown.escape_ascii())
}
