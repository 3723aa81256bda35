//! Small instances for tests, simulations and measurements: programs that are nothing but addresses, archives, and a
//! configuration to start from.

extern crate std;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{BootConfig, Init, RootFs, Stdio};
use crate::host::{ByteStream, Ready, StreamError};

/// The size of the headers of an ELF file, and of one of its program headers.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// A part of a program's file that is mapped.
pub struct Segment {
    /// `PF_R`, `PF_W`, `PF_X`.
    pub flags: u32,
    /// Where it is in the file.
    pub offset: u64,
    /// Where it is in memory.
    pub addr: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// Bytes in memory: those of the file, then zeroes.
    pub len: u64,
}

/// A static program of nothing: what runs is found by its address. It starts at `entry`, and its file is as long as its
/// segments need.
pub fn elf(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let len = segments.iter().map(|segment| segment.offset + segment.file_len).max().unwrap_or(0) as usize;
    let mut file = std::vec![0; len.max(HEADER + PROGRAM_HEADER * segments.len())];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    // An executable for x86-64.
    put(16, &[2, 0, 62, 0, 1]);
    put(24, &entry.to_le_bytes());
    put(32, &(HEADER as u64).to_le_bytes());
    put(52, &[HEADER as u8, 0, PROGRAM_HEADER as u8, 0, segments.len() as u8]);
    for (index, segment) in segments.iter().enumerate() {
        let at = HEADER + PROGRAM_HEADER * index;
        put(at, &1u32.to_le_bytes());
        put(at + 4, &segment.flags.to_le_bytes());
        let Segment { offset, addr, file_len, len, .. } = *segment;
        for (word, value) in [offset, addr, addr, file_len, len, 0x1000].into_iter().enumerate() {
            put(at + 8 + 8 * word, &value.to_le_bytes());
        }
    }
    file
}

/// A cpio archive of files: name, mode and contents of each.
pub fn archive(files: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, data) in files.iter().chain(&[("TRAILER!!!", 0, Vec::new())]) {
        archive.extend_from_slice(b"070701");
        let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
        for field in [0, *mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
            archive.extend_from_slice(std::format!("{field:08x}").as_bytes());
        }
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// An instance with these files and this program as PID 1: one vCPU, 64 MiB, and nobody at its standard streams.
pub fn config(files: &[(&str, u32, Vec<u8>)], init: Vec<u8>) -> BootConfig {
    BootConfig {
        root: RootFs::Archive(Arc::new(archive(files))),
        shares: Vec::new(),
        init: Init::Image(Arc::new(init)),
        args: std::vec![b"init".to_vec()],
        env: Vec::new(),
        stdio: Stdio::Streams([Arc::new(Nobody), Arc::new(Nobody), Arc::new(Nobody)]),
        disks: Vec::new(),
        hostname: b"test".to_vec(),
        command_line: Vec::new(),
        memory: 64 << 20,
        vcpus: 1,
        max_tasks: 64,
        trace: None,
        log: Arc::default(),
    }
}

/// A stream that takes everything, gives nothing and has hung up.
struct Nobody;

impl ByteStream for Nobody {
    fn read(&self, _: &mut [u8]) -> Result<usize, StreamError> {
        Ok(0)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, StreamError> {
        Ok(bytes.len())
    }

    fn ready(&self, wanted: Ready) -> Ready {
        wanted | Ready::HANGUP
    }
}
