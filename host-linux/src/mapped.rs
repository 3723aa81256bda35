//! A file of the host as bytes, without reading it: a boot archive costs only what is used of it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

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
    }

    #[test]
    fn an_empty_file_cannot_be_mapped() {
        assert!(MappedFile::new(&File::open("/dev/null").unwrap()).is_err());
    }
}
