//! A tracee's registers as `ptrace(2)` has them: `struct user_regs_struct`, `struct user`, register sets.

use super::ptrace::with_stopped;
use crate::arch::x86_64::{FLAGS_FIXED, USER_CS, USER_FLAGS, USER_SS, is_user_base, xsave};
use crate::errno::{EFAULT, EINVAL, EIO, ENOSPC, Result};
use crate::host::Host;
use crate::syscall::Cx;
use crate::task::Task;
use crate::task::trace::Stopped;

/// `struct user_regs_struct`, from `r15` on.
pub type General = [u64; 27];

/// Bytes of `struct user`, and where the debug registers are in it.
const USER_SIZE: u64 = 928;
const DEBUG_REGISTERS: core::ops::Range<u64> = 848..912;
/// Which of them says what the others do: zero for nothing. And which one says what has happened, with bits that are always
/// set.
const CONTROL: u64 = 7;
const STATUS: u64 = 6;
const STATUS_AT: u64 = DEBUG_REGISTERS.start + STATUS * 8;
const NOTHING_HAPPENED: u64 = 0xffff_0ff0;

/// Register sets (`NT_*`).
const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;

/// All general registers.
pub fn general(stopped: &Stopped) -> General {
    let r = &stopped.regs;
    let (code, stack) = (u64::from(USER_CS), u64::from(USER_SS));
    [
        r.r15,
        r.r14,
        r.r13,
        r.r12,
        r.rbp,
        r.rbx,
        r.r11,
        r.r10,
        r.r9,
        r.r8,
        r.rax,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        stopped.call,
        r.rip,
        code,
        r.rflags,
        r.rsp,
        stack,
        r.fs_base,
        r.gs_base,
        0,
        0,
        0,
        0,
    ]
}

/// Sets general registers from the one with number `first` on; those before one that is refused stay set.
pub fn set_general(stopped: &mut Stopped, first: usize, words: &[u64]) -> Result<()> {
    words.iter().enumerate().try_for_each(|(index, value)| set_word(stopped, first + index, *value))
}

/// Sets one general register. EIO for a selector other than those that there are, or a base outside user space.
pub fn set_word(stopped: &mut Stopped, index: usize, value: u64) -> Result<()> {
    let r = &mut stopped.regs;
    let place = match index {
        0 => &mut r.r15,
        1 => &mut r.r14,
        2 => &mut r.r13,
        3 => &mut r.r12,
        4 => &mut r.rbp,
        5 => &mut r.rbx,
        6 => &mut r.r11,
        7 => &mut r.r10,
        8 => &mut r.r9,
        9 => &mut r.r8,
        10 => &mut r.rax,
        11 => &mut r.rcx,
        12 => &mut r.rdx,
        13 => &mut r.rsi,
        14 => &mut r.rdi,
        15 => &mut stopped.call,
        16 => &mut r.rip,
        18 => {
            r.rflags = value & USER_FLAGS | FLAGS_FIXED;
            return Ok(());
        }
        19 => &mut r.rsp,
        21 | 22 if !is_user_base(value) => return Err(EIO),
        21 => &mut r.fs_base,
        22 => &mut r.gs_base,
        17 if value == u64::from(USER_CS) => return Ok(()),
        20 if value == u64::from(USER_SS) => return Ok(()),
        23..=26 if value == 0 => return Ok(()),
        _ => return Err(EIO),
    };
    *place = value;
    Ok(())
}

/// The index of a general register at an offset in `struct user`. EIO: the offset is none of a word in it.
fn index_at(offset: u64) -> Result<Option<usize>> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(EIO);
    }
    Ok(usize::try_from(offset / 8).ok().filter(|index| *index < 27))
}

/// `PTRACE_PEEKUSER`. No hardware breakpoint is ever set, so debug registers say nothing, as all else that is not kept there.
pub fn peek_user(stopped: &Stopped, offset: u64) -> Result<u64> {
    let index = index_at(offset)?;
    let other = if offset == STATUS_AT { NOTHING_HAPPENED } else { 0 };
    Ok(index.and_then(|index| general(stopped).get(index).copied()).unwrap_or(other))
}

/// `PTRACE_POKEUSER`. There are no hardware breakpoints: ENOSPC, as if others had them all.
pub fn poke_user(stopped: &mut Stopped, offset: u64, value: u64) -> Result<()> {
    match index_at(offset)? {
        Some(index) => set_word(stopped, index, value),
        None if DEBUG_REGISTERS.contains(&offset) => match (offset - DEBUG_REGISTERS.start) / 8 {
            4 | 5 => Err(EIO),
            STATUS => Ok(()),
            CONTROL if value & 0xff == 0 => Ok(()),
            _ if value == 0 => Ok(()),
            _ => Err(ENOSPC),
        },
        None => Err(EIO),
    }
}

/// Which of the vector state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// x87 and SSE, as FXSAVE has them.
    Legacy,
    /// The XSAVE area.
    Whole,
}

impl Part {
    /// Bytes.
    pub fn size<H: Host>(self, cx: &Cx<'_, H>) -> u64 {
        match self {
            Part::Legacy => xsave::LEGACY as u64,
            Part::Whole => cx.kernel.host.fpu_size() as u64,
        }
    }
}

/// Copies vector state to the tracer, at most `len` bytes; how many.
pub fn get_vector<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, part: Part, to: u64, len: u64) -> Result<u64> {
    let fpu = with_stopped(tracee, |stopped| Ok(stopped.fpu.clone()))?;
    let mut area = fpu.read(|bytes, _| bytes.to_vec());
    if part == Part::Whole {
        xsave::note_features(&mut area, cx.kernel.fpu_features);
    }
    let len = part.size(cx).min(len);
    let bytes = area.get(..len as usize).ok_or(EIO)?;
    cx.user().write_bytes(to, bytes)?;
    Ok(len)
}

/// Sets vector state from the tracer. EFAULT, EINVAL: `len` is not all of it. EINVAL: the processor has no such state.
pub fn set_vector<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, part: Part, from: u64, len: u64) -> Result<()> {
    let size = part.size(cx);
    if len != size {
        return Err(if part == Part::Whole { EFAULT } else { EINVAL });
    }
    let mut new = alloc::vec![0; size as usize];
    cx.user().read_bytes(from, &mut new)?;
    let fpu = with_stopped(tracee, |stopped| Ok(stopped.fpu.clone()))?;
    let mut area = fpu.read(|bytes, _| bytes.to_vec());
    xsave::put_part(&mut area, &new);
    if !xsave::sanitize(&mut area, cx.kernel.fpu_features) {
        return Err(EINVAL);
    }
    fpu.replace(|bytes| {
        let len = bytes.len().min(area.len());
        bytes[..len].copy_from_slice(&area[..len]);
    });
    Ok(())
}

/// A register set, by its number.
enum Set {
    General,
    Vector(Part),
}

/// The set that is asked for, where its bytes are, and how many there is room for. EINVAL: there is no such set, or it is
/// cut within a register.
fn set_of<H: Host>(cx: &Cx<'_, H>, number: u64, iovec: u64) -> Result<(Set, u64, u64)> {
    let [base, len]: [u64; 2] = cx.user().get(iovec)?;
    let (set, size) = match number {
        NT_PRSTATUS => (Set::General, size_of::<General>() as u64),
        NT_PRFPREG => (Set::Vector(Part::Legacy), Part::Legacy.size(cx)),
        NT_X86_XSTATE => (Set::Vector(Part::Whole), Part::Whole.size(cx)),
        _ => return Err(EINVAL),
    };
    if !len.is_multiple_of(8) {
        return Err(EINVAL);
    }
    Ok((set, base, len.min(size)))
}

/// `PTRACE_GETREGSET`: as much as there is room for, and how much that was.
pub fn get_set<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, number: u64, iovec: u64) -> Result<()> {
    let (set, base, len) = set_of(cx, number, iovec)?;
    match set {
        Set::General => {
            let words = with_stopped(tracee, |stopped| Ok(general(stopped)))?;
            let bytes = zerocopy::IntoBytes::as_bytes(&words);
            cx.user().write_bytes(base, bytes.get(..len as usize).unwrap_or(bytes))?;
        }
        Set::Vector(part) => {
            get_vector(cx, tracee, part, base, len)?;
        }
    }
    cx.user().set(iovec.wrapping_add(8), &len)
}

/// `PTRACE_SETREGSET`: general registers from the first one on, vector state only whole.
pub fn set_set<H: Host>(cx: &Cx<'_, H>, tracee: &Task<H>, number: u64, iovec: u64) -> Result<()> {
    let (set, base, len) = set_of(cx, number, iovec)?;
    match set {
        Set::General => {
            let mut words: General = [0; 27];
            let bytes = zerocopy::IntoBytes::as_mut_bytes(&mut words);
            cx.user().read_bytes(base, bytes.get_mut(..len as usize).ok_or(EIO)?)?;
            let words = words.get(..len as usize / 8).unwrap_or(&[]);
            with_stopped(tracee, |stopped| set_general(stopped, 0, words))?;
        }
        Set::Vector(part) => set_vector(cx, tracee, part, base, len)?,
    }
    cx.user().set(iovec.wrapping_add(8), &len)
}
