//! The first stack of a program: arguments, environment, auxiliary vector. Source: `getauxval(3)`, System V ABI.

use alloc::vec::Vec;

use linux_raw_sys::{auxvec, general as sys};

use crate::errno::{E2BIG, ENOMEM, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::mm::Mm;
use crate::mm::elf::Image;
use crate::mm::map::{MapRequest, Object};

/// The longest argument, with its zero byte (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = 32 * PAGE_SIZE as usize;

/// What arguments and environment may always take (`ARG_MAX`), and never more than.
const TOTAL: (u64, u64) = (128 << 10, 6 << 20);

/// Room that is mapped below the first stack pointer.
const ROOM: u64 = 128 << 10;

/// So much of it below the first stack pointer is brought in at once: the program's first calls need it.
const EARLY_STACK: u64 = 16 << 10;

/// The name of the machine (`AT_PLATFORM`).
const PLATFORM: &[u8] = b"x86_64\0";

/// `USER_HZ`.
const CLOCK_TICKS: u64 = 100;

/// Bytes of a program header.
const PHENT: u64 = 56;

/// What the auxiliary vector says of process and machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuxInfo {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Whether exec changed credentials (`AT_SECURE`).
    pub secure: bool,
    /// `CPUID.1:EDX` (`AT_HWCAP`).
    pub hwcap: u64,
    /// Bit 1: `rdfsbase` may be used (`AT_HWCAP2`).
    pub hwcap2: u64,
    /// An image with functions that read clocks (`AT_SYSINFO_EHDR`), if there is one.
    pub clock_image: Option<u64>,
    /// Bytes that a signal frame needs at least (`AT_MINSIGSTKSZ`).
    pub min_signal_stack: u64,
}

/// What a program is started with.
pub struct Start<'a> {
    /// Arguments; Linux gives a program without any one empty string.
    pub args: &'a [Vec<u8>],
    /// Environment.
    pub env: &'a [Vec<u8>],
    /// The path that was executed (`AT_EXECFN`).
    pub path: &'a [u8],
    /// Process and machine.
    pub aux: AuxInfo,
}

/// Checks sizes as `execve` does before anything is changed: E2BIG if one string has 128 KiB or all have more
/// than a quarter of the stack limit (at most 6 MiB).
pub fn check_size(start: &Start<'_>, stack_limit: u64) -> Result<()> {
    let limit = (stack_limit / 4).min(TOTAL.1).max(TOTAL.0);
    let pointers = (start.args.len().max(1) + start.env.len()) as u64 * 8;
    let mut total = pointers + start.path.len() as u64 + 1;
    for string in start.args.iter().chain(start.env) {
        if string.len() >= MAX_STRING {
            return Err(E2BIG);
        }
        total += string.len() as u64 + 1;
    }
    if total > limit { Err(E2BIG) } else { Ok(()) }
}

/// Writes strings, each with a zero byte, from `at` on; gives their addresses and the end.
fn lay_out(bytes: &mut Vec<u8>, at: u64, strings: &[Vec<u8>]) -> (Vec<u64>, u64) {
    let mut at = at;
    let mut addrs = Vec::with_capacity(strings.len());
    for string in strings {
        bytes.extend_from_slice(string);
        bytes.push(0);
        addrs.push(at);
        at += string.len() as u64 + 1;
    }
    (addrs, at)
}

/// Maps the stack, fills it, and gives the stack pointer. E2BIG as [`check_size`], ENOMEM.
pub fn build<H: Host>(mm: &Mm<H>, image: &Image, start: &Start<'_>) -> Result<u64> {
    let limit = mm.limits().stack;
    check_size(start, limit)?;
    let no_args = [Vec::new()];
    let args = if start.args.is_empty() { &no_args[..] } else { start.args };
    let len_of = |strings: &[Vec<u8>]| strings.iter().map(|string| string.len() as u64 + 1).sum::<u64>();

    // From the top down: a zero word, the path, the environment, the arguments; then the machine's name and random
    // bytes; then, with the stack pointer at the lowest, counts and vectors.
    let top = mm.layout().stack_start;
    let path_at = top - 8 - (start.path.len() as u64 + 1);
    let args_at = path_at - len_of(start.env) - len_of(args);
    let platform_at = args_at - PLATFORM.len() as u64;
    let random_at = platform_at - 16;
    let mut random = [0; 16];
    mm.entropy(&mut random);

    let mut strings = Vec::new();
    strings.extend_from_slice(&random);
    strings.extend_from_slice(PLATFORM);
    let (arg_addrs, env_at) = lay_out(&mut strings, args_at, args);
    let (env_addrs, env_end) = lay_out(&mut strings, env_at, start.env);
    strings.extend_from_slice(start.path);
    strings.resize(strings.len() + 9, 0);

    let aux = &start.aux;
    let auxv = [
        (auxvec::AT_MINSIGSTKSZ, aux.min_signal_stack),
        (auxvec::AT_HWCAP, aux.hwcap),
        (auxvec::AT_PAGESZ, PAGE_SIZE),
        (auxvec::AT_CLKTCK, CLOCK_TICKS),
        (auxvec::AT_PHDR, image.headers),
        (auxvec::AT_PHENT, PHENT),
        (auxvec::AT_PHNUM, image.header_count),
        (auxvec::AT_BASE, image.interpreter_base),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, image.program_entry),
        (auxvec::AT_UID, u64::from(aux.uid)),
        (auxvec::AT_EUID, u64::from(aux.euid)),
        (auxvec::AT_GID, u64::from(aux.gid)),
        (auxvec::AT_EGID, u64::from(aux.egid)),
        (auxvec::AT_SECURE, u64::from(aux.secure)),
        (auxvec::AT_RANDOM, random_at),
        (auxvec::AT_HWCAP2, aux.hwcap2),
        (auxvec::AT_EXECFN, path_at),
        (auxvec::AT_PLATFORM, platform_at),
        (auxvec::AT_NULL, 0),
    ];
    let clock_image = aux.clock_image.map(|at| (auxvec::AT_SYSINFO_EHDR, at));
    let auxv: Vec<u64> =
        clock_image.into_iter().chain(auxv).flat_map(|(kind, value)| [u64::from(kind), value]).collect();
    let mut words = Vec::new();
    words.push(args.len() as u64);
    words.extend_from_slice(&arg_addrs);
    words.push(0);
    words.extend_from_slice(&env_addrs);
    words.push(0);
    words.extend_from_slice(&auxv);

    let sp = (random_at - words.len() as u64 * 8) & !15;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.resize((random_at - sp) as usize, 0);
    bytes.append(&mut strings);

    let bottom = (sp - sp % PAGE_SIZE).saturating_sub(ROOM.min(limit));
    let exec = if image.executable_stack { sys::PROT_EXEC } else { 0 };
    mm.map_lazily(&MapRequest {
        addr: bottom,
        len: top - bottom,
        prot: sys::PROT_READ | sys::PROT_WRITE | exec,
        flags: sys::MAP_PRIVATE | sys::MAP_FIXED | sys::MAP_GROWSDOWN,
        object: Object::Anonymous,
    })?;
    mm.change(|inner, batch| mm.bring_in_early(inner, batch, sp.saturating_sub(EARLY_STACK)..sp));
    mm.user().write_bytes(sp, &bytes).map_err(|_| ENOMEM)?;
    mm.set_layout(|layout| {
        layout.stack_start = sp;
        layout.args = args_at..env_at;
        layout.env = env_at..env_end;
        layout.auxv = auxv.iter().flat_map(|word| word.to_ne_bytes()).collect();
    });
    Ok(sp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start<'a>(args: &'a [Vec<u8>]) -> Start<'a> {
        let aux = AuxInfo {
            uid: 0,
            euid: 0,
            gid: 0,
            egid: 0,
            secure: false,
            hwcap: 0,
            hwcap2: 0,
            clock_image: None,
            min_signal_stack: 0,
        };
        Start { args, env: &[], path: b"/bin/x", aux }
    }

    #[test]
    fn sizes_are_limited_as_in_linux() {
        let check = |args: &[Vec<u8>]| check_size(&start(args), 8 << 20);
        assert_eq!(check(&[alloc::vec![b'x'; (128 << 10) - 1]]), Ok(()));
        assert_eq!(check(&[alloc::vec![b'x'; 128 << 10]]), Err(E2BIG));
        let much = alloc::vec![alloc::vec![b'x'; 100 << 10]; 20];
        assert_eq!(check(&much), Ok(()));
        let more = alloc::vec![alloc::vec![b'x'; 100 << 10]; 21];
        assert_eq!(check(&more), Err(E2BIG));
    }
}
