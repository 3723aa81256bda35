//! The signal frame by which the host tells what a guest thread did, and from which the thread goes on: `struct
//! rt_sigframe` of x86-64 Linux, always at the same place of a stub's data.

use host_linux::ram::Ram;
use host_linux::trap::{self, Raised, Stopped, USER_CS, USER_SS};
use host_linux::vm::TASK_END;
use host_linux::xstate::Format;
use kernel_core::host::{Access, Exit, Frames, PAGE_SIZE, Phys, Registers, Trap};

use crate::layout::{DATA, DATA_SIZE};
use crate::seccomp::{data, filter};

/// Offsets from the context (`struct ucontext`): the registers, the address of the vector state, the signal's description.
const REGISTERS: u64 = 40;
/// The instruction pointer.
pub const RIP: u64 = REGISTERS + 8 * 16;
const VECTOR: u64 = REGISTERS + 8 * 23;
const INFO: u64 = 304;
/// What lies before the context: the address that the handler would return to.
const BEFORE: u64 = 8;

/// Offsets in the vector state: a magic number if there is more than the legacy area, the components, the size, the end.
const MAGIC: u64 = 464;
const COMPONENTS: u64 = 472;
const SIZE: u64 = 480;
const LEGACY_END: usize = 512;
/// `FP_XSTATE_MAGIC1`.
const HAS_XSTATE: u32 = 0x4650_5853;

/// `si_code` of a call that a filter caught.
const SYS_SECCOMP: i32 = 1;
/// Bytes of `syscall`, and of `int 0x80`.
pub const CALL_LENGTH: u64 = 2;
/// The page where the host keeps three clock calls of old programs, and emulates them. A filter catches these calls.
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

/// Where the parts of a frame are, and what an honest one looks like.
pub struct Frame {
    /// The context, by its offset in the data.
    context: u64,
    /// The vector state.
    vector: u64,
    /// From the frame's start to the end of the data, as the host wrote it for a stub that had run no guest.
    fresh: Vec<u8>,
}

impl Frame {
    /// By the first signal of a stub that has run no guest; `None` if the host's frames are of another form.
    pub fn learn(data: &Ram, area: Phys) -> Option<(Frame, Format)> {
        let at = |offset: u64| Phys(area.0 + offset);
        let inside = |address: u64, len: u64| {
            let offset = address.checked_sub(DATA)?;
            (offset >= PAGE_SIZE && offset.checked_add(len)? <= DATA_SIZE).then_some(offset)
        };
        let context = inside(data.load_words::<1>(at(data::CONTEXT))[0], INFO + 128)?;
        let vector = inside(data.load_words::<1>(at(context + VECTOR))[0], SIZE + 4)?;
        let size = data.load_u32(at(vector + SIZE));
        if data.load_u32(at(vector + MAGIC)) != HAS_XSTATE || inside(DATA + vector, size.into()).is_none() {
            return None;
        }
        let mut state = vec![0; size as usize];
        data.read(at(vector), &mut state);
        // `ptrace`, whose form the kernel knows, has the components where frames have the magic number.
        state.copy_within(COMPONENTS as usize..COMPONENTS as usize + 8, MAGIC as usize);
        let format = Format::of(&state)?;
        let mut fresh = vec![0; (DATA_SIZE - context + BEFORE) as usize];
        data.read(at(context - BEFORE), &mut fresh);
        Some((Frame { context, vector, fresh }, format))
    }

    /// Where the stack pointer has to be for the host to load the frame.
    pub fn address(&self) -> u64 {
        DATA + self.context
    }

    /// Where its vector state is.
    pub fn vector(&self) -> u64 {
        DATA + self.vector
    }

    /// Writes an honest frame.
    pub fn reset(&self, data: &Ram, area: Phys) {
        data.write(Phys(area.0 + self.context - BEFORE), &self.fresh);
    }

    /// Writes registers.
    pub fn store(&self, data: &Ram, area: Phys, regs: &Registers) {
        let r = regs;
        data.store_words(
            Phys(area.0 + self.context + REGISTERS),
            [
                r.r8,
                r.r9,
                r.r10,
                r.r11,
                r.r12,
                r.r13,
                r.r14,
                r.r15,
                r.rdi,
                r.rsi,
                r.rbp,
                r.rbx,
                r.rdx,
                r.rax,
                r.rcx,
                r.rsp,
                r.rip,
                r.rflags,
                USER_CS | USER_SS << 48,
            ],
        );
        let bases = [r.fs_base, r.gs_base].map(trap::segment_base);
        data.store_words(Phys(area.0 + data::FS_BASE), bases);
    }

    /// The registers, and what happened.
    pub fn load(&self, data: &Ram, area: Phys) -> (Stopped, Signal) {
        let [
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            rflags,
            selectors,
            error,
            vector,
            _,
            _,
        ] = data.load_words(Phys(area.0 + self.context + REGISTERS));
        let [fs_base, gs_base] = data.load_words(Phys(area.0 + data::FS_BASE));
        let regs = Registers {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            rsp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
            fs_base,
            gs_base,
        };
        let [number, code, addr, call] = data.load_words(Phys(area.0 + self.context + INFO));
        let signal = (number as u32).cast_signed();
        let page_fault = (vector == PAGE_FAULT).then_some(error);
        let raised = Raised { signal, code: (code as u32).cast_signed(), addr, page_fault };
        let stopped = Stopped { regs, orig_rax: rax, cs: selectors & 0xffff };
        (stopped, Signal { raised, architecture: (call >> 32) as u32 })
    }

    /// Copies the vector state to `state`, in the form of `ptrace`.
    pub fn save_vector(&self, data: &Ram, area: Phys, state: &mut [u8]) {
        data.read(Phys(area.0 + self.vector), state);
        state.copy_within(COMPONENTS as usize..COMPONENTS as usize + 8, MAGIC as usize);
    }

    /// Writes vector state that is valid.
    pub fn load_vector(&self, data: &Ram, area: Phys, state: &[u8]) {
        let (legacy, rest) = state.split_at(LEGACY_END);
        data.write(Phys(area.0 + self.vector), &legacy[..MAGIC as usize]);
        data.write(Phys(area.0 + self.vector + LEGACY_END as u64), rest);
    }
}

/// The registers of a thread that has stopped at a rewritten site. As after any system call, `rcx` and `r11` have the
/// address behind it and the flags.
pub fn load_at_site(data: &Ram, area: Phys) -> Registers {
    let [rax, _, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, _, r12, r13, r14, r15, rip, rflags] =
        data.load_words(Phys(area.0 + data::REGISTERS));
    let [fs_base, gs_base] = data.load_words(Phys(area.0 + data::FS_BASE));
    let (rcx, r11) = (rip, rflags);
    Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
        fs_base,
        gs_base,
    }
}

/// Writes registers for a thread that has stopped at a rewritten site, and goes on without a frame. False if it cannot go
/// on with these so.
pub fn store_at_site(data: &Ram, area: Phys, regs: &Registers) -> bool {
    let r = regs;
    if r.rip >= TASK_END || r.rflags & SINGLE_STEP != 0 {
        return false;
    }
    let flags = r.rflags & FLAGS | ALWAYS;
    data.store_words(
        Phys(area.0 + data::REGISTERS),
        [
            r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
            r.r14, r.r15, r.rip, flags,
        ],
    );
    data.store_words(Phys(area.0 + data::FS_BASE), [r.fs_base, r.gs_base].map(trap::segment_base));
    true
}

/// Flags that a program may have, the one for single steps, and those that are always set.
const FLAGS: u64 = 0x4_0cd5;
pub const SINGLE_STEP: u64 = 0x100;
const ALWAYS: u64 = 0x202;

/// The number of a page fault among the processor's exceptions.
const PAGE_FAULT: u64 = 14;

/// A signal, as its frame describes it.
pub struct Signal {
    /// What kind of signal.
    pub raised: Raised,
    /// Of a call that was caught: in which of its modes the processor made it.
    architecture: u32,
}

impl Signal {
    /// The exit for a call that the filter caught, with the registers as the boundary wants them. `None` if it is another
    /// signal.
    pub fn at_syscall(&self, stopped: &mut Stopped) -> Option<Exit> {
        if self.raised.signal != libc::SIGSYS || self.raised.code != SYS_SECCOMP {
            return None;
        }
        if self.architecture != filter::X86_64 || !stopped.is_64_bit() {
            stopped.regs.rip = stopped.regs.rip.wrapping_sub(CALL_LENGTH);
            return Some(Exit::Trap(Trap::GeneralProtection));
        }
        if self.raised.addr & !(PAGE_SIZE - 1) == VSYSCALL {
            // The host has already returned from the function.
            stopped.regs.rip = self.raised.addr;
            stopped.regs.rsp = stopped.regs.rsp.wrapping_sub(8);
            return Some(Exit::Fault { addr: self.raised.addr, access: Access::Exec });
        }
        Some(Exit::Syscall)
    }
}
