//! A file of the host as bytes, without reading it: a boot archive costs only what is used of it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use kernel_core::host::PAGE_SIZE;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

/// How much of a file the host maps at most when one page is read: the largest piece in which it keeps files in its memory.
const AROUND: usize = 2 << 20;

/// A whole file, mapped read-only and privately.
///
/// Its bytes change if somebody writes to the file meanwhile, and touching what was cut off the file ends the process
/// (SIGBUS). So it is for files that are replaced and not rewritten, as installed ones are.
pub struct MappedFile {
    at: NonNull<u8>,
    len: usize,
}

impl MappedFile {
    /// Maps a file, which must not be empty.
    pub fn new(file: &File) -> io::Result<MappedFile> {
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        // SAFETY: the address is chosen by the host, so nothing is replaced.
        let at = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0)? };
        Ok(MappedFile { at: at.cast(), len })
    }

    /// Takes a range out of this process's memory; whoever reads it again has the host bring it back. What the host maps
    /// around a page that is read goes too.
    pub fn unload(&self, range: Range<usize>) {
        let start = range.start.saturating_sub(AROUND).min(self.len);
        let start = start - start % PAGE_SIZE as usize;
        let end = range.end.saturating_add(AROUND).min(self.len);
        // SAFETY: the range lies in the mapping, whose pages are the file's as nobody writes to them, so they come back
        // with the same bytes; references to them stay valid.
        let done = unsafe { madvise(self.at.add(start).cast(), end - start, MmapAdvise::MADV_DONTNEED) };
        debug_assert!(done.is_ok());
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has this length, is readable and lives as long as `self`; nobody in this process writes to
        // it, and other programs are not to, as the type's documentation says.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.at.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for MappedFile {}
// SAFETY: it is only ever read.
unsafe impl Sync for MappedFile {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_its_bytes() {
        let path = std::env::temp_dir().join(format!("lodger-mapped-{}", std::process::id()));
        File::create(&path).unwrap().write_all(&[7; 5000]).unwrap();
        let mapped = MappedFile::new(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&*mapped, [7; 5000]);
        for range in [0..1, 4999..90_000, 5000..5000, 80_000..usize::MAX] {
            mapped.unload(range);
            assert_eq!(&*mapped, [7; 5000]);
        }
    }

    #[test]
    fn an_empty_file_cannot_be_mapped() {
        assert!(MappedFile::new(&File::open("/dev/null").unwrap()).is_err());
    }
}
