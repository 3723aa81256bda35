//! Structures of ELF core files on x86-64. Source: `core(5)`, `elf(5)`, Linux `include/uapi/linux/elfcore.h`.

use static_assertions::const_assert_eq;
use zerocopy::{Immutable, IntoBytes};

use crate::abi::rusage::TimeVal;
use crate::arch::x86_64::{USER_CS, USER_SS};
use crate::host::Registers;

/// `struct elf64_hdr`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the format's")]
pub struct FileHeader {
    pub ident: [u8; 16],
    pub kind: u16,
    pub machine: u16,
    pub version: u32,
    pub entry: u64,
    pub phoff: u64,
    pub shoff: u64,
    pub flags: u32,
    pub ehsize: u16,
    pub phentsize: u16,
    pub phnum: u16,
    pub shentsize: u16,
    pub shnum: u16,
    pub shstrndx: u16,
}
const_assert_eq!(size_of::<FileHeader>(), 64);

/// `struct elf64_phdr`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the format's")]
pub struct ProgramHeader {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub filesz: u64,
    pub memsz: u64,
    pub align: u64,
}
const_assert_eq!(size_of::<ProgramHeader>(), 56);

/// `struct user_regs_struct`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserRegisters([u64; 27]);

impl UserRegisters {
    /// As a debugger reads them; no system call is being made.
    pub fn new(regs: &Registers) -> UserRegisters {
        let (code, stack, no_call) = (u64::from(USER_CS), u64::from(USER_SS), u64::MAX);
        let Registers { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, .. } = *regs;
        let Registers { r13, r14, r15, rip, rflags, fs_base, gs_base, .. } = *regs;
        UserRegisters([
            r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, no_call, rip, code,
            rflags, rsp, stack, fs_base, gs_base, 0, 0, 0, 0,
        ])
    }
}

/// `struct elf_prstatus`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the format's")]
pub struct PrStatus {
    pub signal: i32,
    pub code: i32,
    pub errno: i32,
    pub current_signal: u16,
    pub pad: u16,
    pub pending: u64,
    pub blocked: u64,
    pub pid: u32,
    pub ppid: u32,
    pub pgrp: u32,
    pub sid: u32,
    /// User, system, and those of children.
    pub times: [TimeVal; 4],
    pub registers: UserRegisters,
    pub fpu_valid: u32,
    pub pad_end: u32,
}
const_assert_eq!(size_of::<PrStatus>(), 336);

/// `struct elf_prpsinfo`.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the format's")]
pub struct PrPsInfo {
    pub state: u8,
    pub state_letter: u8,
    pub is_zombie: u8,
    pub nice: i8,
    pub pad: u32,
    pub flags: u64,
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    pub ppid: u32,
    pub pgrp: u32,
    pub sid: u32,
    pub name: [u8; 16],
    pub args: [u8; 80],
}
const_assert_eq!(size_of::<PrPsInfo>(), 136);
