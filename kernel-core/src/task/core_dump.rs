//! Core files: what a process leaves behind when a signal ends it that says so. Source: `core(5)`.
//!
//! The file is called `core` and lies in the working directory. It holds the thread that got the signal alone: the others
//! end before it is written, as for exec, so that nobody changes the memory meanwhile.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use elf::abi;
use linux_raw_sys::general as sys;
use zerocopy::IntoBytes;

use crate::abi::core_file::{FileHeader, PrPsInfo, PrStatus, ProgramHeader, UserRegisters};
use crate::abi::rusage::TimeVal;
use crate::abi::siginfo::RawSigInfo;
use crate::arch::x86_64::xsave;
use crate::errno::{EFBIG, EINTR, EPERM, Result};
use crate::host::{Host, PAGE_SIZE, Prot};
use crate::io::SliceSource;
use crate::mm::dump::DumpPart;
use crate::syscall::Cx;
use crate::task::siginfo::SigInfo;
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::FileKind;
use crate::vfs::open;

/// The name, in the working directory.
const NAME: &[u8] = b"core";

/// Bytes that are copied in one go.
const CHUNK: usize = 64 << 10;

/// Mappings that the file header can count, one being left for the notes.
const MOST_PARTS: usize = 0xfffe - 1;

/// The set of vector registers, as `PTRACE_GETREGSET` has it.
const NT_X86_XSTATE: u32 = 0x202;

impl<H: Host> Cx<'_, H> {
    /// Writes a core file, if the process may have one, and says whether it did. `info` is the signal that ends it.
    pub(crate) fn dump_core(&self, info: &SigInfo) -> bool {
        let process = &self.task.process;
        let limit = process.rlimit(sys::RLIMIT_CORE);
        if limit < PAGE_SIZE || !process.is_dumpable() {
            return false;
        }
        if self.kernel.become_sole_thread(self).is_none() {
            return false;
        }
        self.mm.keep_code();
        self.create_core_file().and_then(|file| self.write_core(&file, limit, info)).is_ok()
    }

    /// A new file with the rights of the process. What was there under the name goes: a link must not lead elsewhere.
    fn create_core_file(&self) -> Result<Arc<OpenFile>> {
        let (walker, cwd) = (self.fs.walker(self), self.fs.cwd());
        // There may be none; whatever else is wrong will be wrong for the new file.
        let _ = walker.unlink(&cwd, NAME);
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::RDWR | OpenFlags::NOFOLLOW;
        let file = walker.open(&cwd, NAME, flags, 0o600)?;
        let owner = file.inode.owner();
        let is_ours = file.inode.kind() == FileKind::Regular
            && owner.uid == self.cred().fsuid
            && owner.mode & 0o677 == 0o600;
        if is_ours { Ok(file) } else { Err(EPERM) }
    }

    /// An error only if not even the headers could be written; what is over the limit is left out.
    fn write_core(&self, file: &OpenFile, limit: u64, info: &SigInfo) -> Result<()> {
        let mut parts = self.mm.dump_parts();
        parts.truncate(MOST_PARTS);
        let notes = self.notes(info);
        let notes_at = (size_of::<FileHeader>() + (parts.len() + 1) * size_of::<ProgramHeader>()) as u64;
        let data_at = (notes_at + notes.len() as u64).next_multiple_of(PAGE_SIZE);
        let mut head = Vec::new();
        head.extend_from_slice(file_header(parts.len() + 1).as_bytes());
        let note_header = ProgramHeader {
            kind: abi::PT_NOTE,
            offset: notes_at,
            filesz: notes.len() as u64,
            align: 4,
            ..ProgramHeader::default()
        };
        head.extend_from_slice(note_header.as_bytes());
        let mut offset = data_at;
        for part in &parts {
            head.extend_from_slice(load_header(part, offset).as_bytes());
            offset = offset.saturating_add(part.len);
        }
        head.extend_from_slice(&notes);
        self.write_at(file, limit, 0, &head)?;
        // The headers are there: it is a core file, if a short one.
        if self.write_memory(file, limit, data_at, &parts).is_ok() {
            // What is zeroes at the end was not written.
            let _ = open::cut(&file.inode, offset.min(limit), self.caller());
        }
        Ok(())
    }

    fn write_memory(&self, file: &OpenFile, limit: u64, mut offset: u64, parts: &[DumpPart]) -> Result<()> {
        let mut buf = vec![0; CHUNK];
        for DumpPart { range, len, .. } in parts {
            let mut left = range.start..range.start.saturating_add(*len);
            while let Some(content) = self.next_chunk(&left) {
                if self.task.is_ending() {
                    return Err(EINTR);
                }
                let size = (content.end - content.start) as usize;
                let bytes = buf.get_mut(..size).unwrap_or_default();
                bytes.fill(0);
                // What cannot be read is zeroes.
                self.mm.peek(content.start, bytes);
                self.write_at(file, limit, offset.saturating_add(content.start - range.start), bytes)?;
                left.start = content.end;
                if self.kernel.scheduler.has_runnable(self.task.vcpu()) {
                    self.yield_now();
                }
            }
            offset = offset.saturating_add(*len);
        }
        Ok(())
    }

    fn next_chunk(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let content = self.mm.next_content(range).filter(|content| !content.is_empty())?;
        Some(content.start..content.end.min(content.start.saturating_add(CHUNK as u64)))
    }

    /// Writes all of `bytes`; EFBIG if they do not fit under the limit.
    fn write_at(&self, file: &OpenFile, limit: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset.saturating_add(bytes.len() as u64) > limit {
            return Err(EFBIG);
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            done += match file.ops.write_at(self.op(file), at, &mut SliceSource(rest))? {
                0 => return Err(EFBIG),
                written => written,
            };
        }
        Ok(())
    }

    fn notes(&self, info: &SigInfo) -> Vec<u8> {
        let mut area = {
            let context = self.context.borrow();
            self.kernel.host.save_fpu(self.mm.space(), &context);
            context.fpu.read(|bytes, _| bytes.to_vec())
        };
        let mut notes = Vec::new();
        let mut add = |name, kind, bytes: &[u8]| add_note(&mut notes, name, kind, bytes);
        add(b"CORE\0", abi::NT_PRSTATUS as u32, self.status(info).as_bytes());
        add(b"CORE\0", abi::NT_PRPSINFO as u32, self.process_info().as_bytes());
        add(b"CORE\0", abi::NT_SIGINFO as u32, RawSigInfo::new(info).as_bytes());
        add(b"CORE\0", abi::NT_AUXV as u32, &self.mm.layout().auxv);
        add(b"CORE\0", abi::NT_PRFPREG as u32, area.get(..xsave::LEGACY).unwrap_or_default());
        xsave::note_features(&mut area, self.kernel.fpu_features);
        add(b"LINUX\0", NT_X86_XSTATE, &area);
        notes
    }

    fn status(&self, info: &SigInfo) -> PrStatus {
        let (task, process) = (self.task, &self.task.process);
        let (user, system) = self.cpu_ns();
        let children =
            [&process.children_user_ns, &process.children_system_ns].map(|ns| ns.load(Ordering::Relaxed));
        let (pending, blocked) = {
            let signals = task.signals.lock();
            (signals.pending.set(), signals.blocked)
        };
        PrStatus {
            signal: info.signal.into(),
            code: info.code,
            errno: info.errno,
            current_signal: info.signal.into(),
            pending,
            blocked,
            pid: task.own_tid(),
            ppid: self.parent_pid(),
            pgrp: process.group(),
            sid: process.session().id,
            times: [user, system, children[0], children[1]].map(TimeVal::from_ns),
            registers: UserRegisters::new(&self.context.borrow().regs),
            fpu_valid: 1,
            ..PrStatus::default()
        }
    }

    fn process_info(&self) -> PrPsInfo {
        let (cred, process) = (self.cred(), &self.task.process);
        let mut args = [0; 80];
        let layout = self.mm.layout();
        let len = (layout.args.end.saturating_sub(layout.args.start) as usize).min(args.len() - 1);
        let line = args.get_mut(..len).unwrap_or_default();
        self.mm.peek(layout.args.start, line);
        // One line: the arguments end with zeroes.
        line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        PrPsInfo {
            state: 0,
            state_letter: b'R',
            is_zombie: 0,
            nice: self.task.nice().value(),
            pad: 0,
            flags: 0,
            uid: cred.shown_uid(),
            gid: cred.shown_gid(),
            pid: process.own_pid,
            ppid: self.parent_pid(),
            pgrp: process.group(),
            sid: process.session().id,
            name: self.task.comm(),
            args,
        }
    }

    fn parent_pid(&self) -> u32 {
        let parent = self.kernel.tree.lock().node(self.task.process.pid).map_or(0, |node| node.parent);
        self.shown_pid(parent)
    }
}

fn file_header(headers: usize) -> FileHeader {
    let mut ident = [0; 16];
    ident[..4].copy_from_slice(&abi::ELFMAGIC);
    ident[4..7].copy_from_slice(&[abi::ELFCLASS64, abi::ELFDATA2LSB, abi::EV_CURRENT]);
    FileHeader {
        ident,
        kind: abi::ET_CORE,
        machine: abi::EM_X86_64,
        version: 1,
        phoff: size_of::<FileHeader>() as u64,
        ehsize: size_of::<FileHeader>() as u16,
        phentsize: size_of::<ProgramHeader>() as u16,
        phnum: headers as u16,
        ..FileHeader::default()
    }
}

fn load_header(part: &DumpPart, offset: u64) -> ProgramHeader {
    let allowed = |prot, flag| if part.prot.contains(prot) { flag } else { 0 };
    ProgramHeader {
        kind: abi::PT_LOAD,
        flags: allowed(Prot::READ, abi::PF_R)
            | allowed(Prot::WRITE, abi::PF_W)
            | allowed(Prot::EXEC, abi::PF_X),
        offset,
        vaddr: part.range.start,
        paddr: 0,
        filesz: part.len,
        memsz: part.range.end - part.range.start,
        align: PAGE_SIZE,
    }
}

/// `struct elf_note`: lengths of name and contents, kind, then both, each filled up to four bytes.
fn add_note(notes: &mut Vec<u8>, name: &[u8], kind: u32, contents: &[u8]) {
    for word in [name.len() as u32, contents.len() as u32, kind] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    for bytes in [name, contents] {
        notes.extend_from_slice(bytes);
        notes.resize(notes.len().next_multiple_of(4), 0);
    }
}
