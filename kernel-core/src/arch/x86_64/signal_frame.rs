//! Signal frames: what a handler finds on its stack, and what `rt_sigreturn` takes back.
//!
//! Layout (Linux `struct rt_sigframe`, x86-64), from the stack pointer up: return address, `ucontext`, `siginfo`, and
//! above them, 64-byte aligned, the XSAVE area that `ucontext.uc_mcontext.fpstate` points at.

use core::sync::atomic::Ordering;

use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{FLAG_DF, FLAG_RF, FLAG_TF, FLAGS_FIXED, USER_CS, USER_END, USER_FLAGS, USER_SS, xsave};
use crate::abi::siginfo::{RawSigInfo, RawStack};
use crate::errno::{EFAULT, Result};
use crate::host::{Host, Registers};
use crate::syscall::Cx;
use crate::task::siginfo::SigInfo;
use crate::task::signal::AltStack;
use crate::task::signal::action::{ActionFlags, SignalAction};

/// Bytes below the stack pointer that belong to the interrupted function.
const RED_ZONE: u64 = 128;

/// `SEGV_MAPERR`, or `BUS_ADRALN`; `SEGV_ACCERR`, or `BUS_ADRERR`: what page faults become.
const FAULTS: [i32; 2] = [1, 2];

/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const UC_FLAGS: u64 = 7;

/// `struct sigcontext_64`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SigContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    fpstate: u64,
    reserved: [u64; 8],
}

/// `struct rt_sigframe` without what lies above it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Frame {
    return_address: u64,
    flags: u64,
    link: u64,
    stack: RawStack,
    context: SigContext,
    mask: u64,
    info: RawSigInfo,
}
const_assert_eq!(size_of::<SigContext>(), 256);
const_assert_eq!(size_of::<Frame>(), 440);

/// Bytes of stack that a frame takes at most, with a vector area of `fpu_size` bytes (`AT_MINSIGSTKSZ`).
pub fn size(fpu_size: usize) -> u64 {
    size_of::<Frame>() as u64 + fpu_size as u64 + 4 + 63 + 15 + 8
}

/// Puts a frame on the stack of the task, and its registers at the handler. EFAULT: there is no room, nothing changed.
pub fn push<H: Host>(
    cx: &Cx<'_, H>,
    info: &SigInfo,
    action: &SignalAction,
    mask: u64,
    alt: AltStack,
) -> Result<()> {
    if !action.flags.contains(ActionFlags::RESTORER) {
        return Err(EFAULT);
    }
    let mut context = cx.context.borrow_mut();
    cx.kernel.host.save_fpu(cx.mm.space(), &context);
    let regs = context.regs;
    let on_alt = alt.contains(regs.rsp);
    let mut sp = regs.rsp.wrapping_sub(RED_ZONE);
    if action.flags.contains(ActionFlags::ONSTACK) && alt.size != 0 && !on_alt {
        sp = alt.base.wrapping_add(alt.size);
    }
    let size = cx.kernel.host.fpu_size();
    let fpstate = sp.wrapping_sub(size as u64 + 4) & !63;
    let at = (fpstate.wrapping_sub(size_of::<Frame>() as u64) & !15).wrapping_sub(8);
    // A frame that would leave the alternative stack is refused rather than written over what lies below it.
    if on_alt && !alt.contains(at) || at >= USER_END || sp > USER_END {
        return Err(EFAULT);
    }
    let features = cx.kernel.fpu_features;
    let mut area = context.fpu.read(|bytes, _| bytes.to_vec());
    xsave::mark(&mut area, features);
    area.extend_from_slice(&xsave::MAGIC2.to_le_bytes());
    let error = match info.fault_address() {
        Some(_) if FAULTS.contains(&info.code) => cx.task.fault_error.load(Ordering::Relaxed).into(),
        _ => 0,
    };
    let frame = Frame {
        return_address: action.restorer,
        flags: UC_FLAGS,
        link: 0,
        stack: RawStack::new(&alt, regs.rsp),
        context: save(&regs, mask, fpstate, info, error),
        mask,
        info: RawSigInfo::new(info),
    };
    let user = cx.user();
    user.write_bytes(fpstate, &area)?;
    user.write_bytes(at, frame.as_bytes())?;
    context.regs = Registers {
        rdi: u64::from(info.signal),
        rsi: at + core::mem::offset_of!(Frame, info) as u64,
        rdx: at + core::mem::offset_of!(Frame, flags) as u64,
        rax: 0,
        rip: action.handler,
        rsp: at,
        rflags: regs.rflags & !(FLAG_DF | FLAG_RF | FLAG_TF),
        ..regs
    };
    Ok(())
}

fn save(regs: &Registers, mask: u64, fpstate: u64, info: &SigInfo, error: u64) -> SigContext {
    let fault = info.fault_address();
    SigContext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rdi: regs.rdi,
        rsi: regs.rsi,
        rbp: regs.rbp,
        rbx: regs.rbx,
        rdx: regs.rdx,
        rax: regs.rax,
        rcx: regs.rcx,
        rsp: regs.rsp,
        rip: regs.rip,
        rflags: regs.rflags,
        cs: USER_CS,
        ss: USER_SS,
        error,
        trap: if fault.is_some() { 14 } else { 0 },
        old_mask: mask,
        cr2: fault.unwrap_or(0),
        fpstate,
        ..SigContext::default()
    }
}

/// What a frame says beside registers, which are restored already.
pub struct Returned {
    /// The signal mask.
    pub mask: u64,
    /// The alternative stack.
    pub stack: RawStack,
}

/// Takes the frame back that the stack pointer is in. EFAULT: it cannot be read or cannot be loaded; the caller sends
/// SIGSEGV.
pub fn pop<H: Host>(cx: &Cx<'_, H>) -> Result<Returned> {
    let mut context = cx.context.borrow_mut();
    let user = cx.user();
    let frame: Frame = user.get(context.regs.rsp.wrapping_sub(8))?;
    let saved = &frame.context;
    if saved.fpstate != 0 {
        let size = cx.kernel.host.fpu_size();
        let mut area = xsave::initial(size);
        let (legacy, _) = area.split_at_mut(xsave::LEGACY);
        user.read_bytes(saved.fpstate, legacy)?;
        if xsave::is_marked(legacy, size) {
            user.read_bytes(saved.fpstate, &mut area)?;
        } else {
            xsave::keep_legacy_only(&mut area);
        }
        if !xsave::sanitize(&mut area, cx.kernel.fpu_features) {
            return Err(EFAULT);
        }
        context.fpu.replace(|bytes| {
            let len = bytes.len().min(area.len());
            bytes[..len].copy_from_slice(&area[..len]);
        });
    } else {
        let area = xsave::initial(cx.kernel.host.fpu_size());
        context.fpu.replace(|bytes| bytes.copy_from_slice(&area));
    }
    let old = context.regs;
    context.regs = Registers {
        rax: saved.rax,
        rbx: saved.rbx,
        rcx: saved.rcx,
        rdx: saved.rdx,
        rsi: saved.rsi,
        rdi: saved.rdi,
        rbp: saved.rbp,
        rsp: saved.rsp,
        r8: saved.r8,
        r9: saved.r9,
        r10: saved.r10,
        r11: saved.r11,
        r12: saved.r12,
        r13: saved.r13,
        r14: saved.r14,
        r15: saved.r15,
        rip: saved.rip,
        rflags: saved.rflags & USER_FLAGS | FLAGS_FIXED,
        fs_base: old.fs_base,
        gs_base: old.gs_base,
    };
    Ok(Returned { mask: frame.mask, stack: frame.stack })
}
