//! Guest RAM: one sparse memfd, mapped shared and once in the kernel, from which guests' spaces are mapped.
//!
//! Guests run while the kernel copies, so no reference into RAM is ever formed: bytes move with `rep movsb`, which the
//! compiler cannot look into, and words through atomics.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_core::host::{Frames, PAGE_SIZE, Phys};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

/// From so many bytes on, a write to RAM is a call of the host. Pages that nobody used yet are then not zeroed first, and
/// neither faulted in nor mapped here: mostly it is a program being loaded, which the kernel does not look at again.
const MANY: usize = 8 << 10;

/// A shared file in memory that is not yet mapped here: helper processes are forked before it is.
pub struct RamFile {
    file: File,
    size: u64,
}

impl RamFile {
    /// A file of `size` bytes, none of them committed. `size` is a multiple of the page size.
    pub fn new(name: &CStr, size: u64) -> io::Result<RamFile> {
        assert!(size.is_multiple_of(PAGE_SIZE), "RAM consists of whole pages");
        let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
        let length = i64::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        nix::unistd::ftruncate(&file, length)?;
        Ok(RamFile { file, size })
    }

    /// Maps the whole of it in this process.
    pub fn map(self) -> io::Result<Ram> {
        let length = usize::try_from(self.size).ok().and_then(NonZeroUsize::new);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the host's choice replaces nothing. The advice concerns this mapping only
        // and changes nothing in this process.
        let base = unsafe {
            let base = mmap(None, length, access, flags, &self.file, 0)?;
            // A process forked from this one (by whatever library) has no business with guests' memory.
            madvise(base, length.get(), MmapAdvise::MADV_DONTFORK)?;
            madvise(base, length.get(), MmapAdvise::MADV_DONTDUMP)?;
            base
        };
        Ok(Ram { file: self.file, base: base.cast(), size: self.size })
    }
}

impl AsFd for RamFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Guest RAM, see [`Frames`].
pub struct Ram {
    file: File,
    base: NonNull<u8>,
    size: u64,
}

// SAFETY: `base` stays mapped until the drop, and whatever is behind it is only touched by the copying instructions
// and atomics below, never through references.
unsafe impl Send for Ram {}
// SAFETY: as for Send.
unsafe impl Sync for Ram {}

impl Ram {
    /// The first of `len` bytes at `at`, all inside RAM.
    fn span(&self, at: Phys, len: u64) -> *mut u8 {
        let end = at.0.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.size), "{len} bytes at {:#x} are outside guest RAM", at.0);
        // SAFETY: the offset was just checked to lie within the mapping of `size` bytes.
        unsafe { self.base.as_ptr().add(at.0 as usize) }
    }

    fn word(&self, at: Phys) -> &AtomicU32 {
        assert!(at.0.is_multiple_of(4), "a word at {:#x} is not aligned", at.0);
        // SAFETY: `span` checked the four bytes, they are aligned and mapped as long as `self` lives; an atomic
        // tolerates that guests store to it.
        unsafe { AtomicU32::from_ptr(self.span(at, 4).cast()) }
    }
}

impl Ram {
    /// An aligned word that others store to as well.
    pub fn atomic_u32(&self, at: Phys) -> &AtomicU32 {
        self.word(at)
    }

    /// Loads `N` words of eight bytes, one after the other; `at` is aligned.
    pub fn load_words<const N: usize>(&self, at: Phys) -> [u64; N] {
        let words = self.words(at, N);
        std::array::from_fn(|n| words[n].load(Ordering::Relaxed))
    }

    /// Stores words of eight bytes; `at` is aligned.
    pub fn store_words<const N: usize>(&self, at: Phys, words: [u64; N]) {
        self.words(at, N).iter().zip(words).for_each(|(slot, word)| slot.store(word, Ordering::Relaxed));
    }

    fn words(&self, at: Phys, count: usize) -> &[AtomicU64] {
        assert!(at.0.is_multiple_of(8), "words at {:#x} are not aligned", at.0);
        // SAFETY: `span` checked the bytes, they are aligned and mapped as long as `self` lives; atomics tolerate that
        // guests store to them.
        unsafe { std::slice::from_raw_parts(self.span(at, 8 * count as u64).cast(), count) }
    }
}

impl AsFd for Ram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Frames for Ram {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, at: Phys, dst: &mut [u8]) {
        let src = self.span(at, dst.len() as u64);
        // SAFETY: `src` has as many mapped bytes as the slice, and no slice lies inside RAM.
        unsafe { copy_bytes(dst.as_mut_ptr(), src, dst.len()) }
    }

    fn write(&self, at: Phys, src: &[u8]) {
        let dst = self.span(at, src.len() as u64);
        let mut done = 0;
        if src.len() >= MANY {
            // What the host does not write, and whatever its reason is, is copied below.
            done = self.file.write_at(src, at.0).unwrap_or(0).min(src.len());
        }
        let rest = &src[done..];
        // SAFETY: as in `read`; `done` is at most the length.
        unsafe { copy_bytes(dst.add(done), rest.as_ptr(), rest.len()) }
    }

    fn zero(&self, at: Phys, len: u64) {
        let dst = self.span(at, len);
        // SAFETY: `span` checked that `len` bytes are mapped there.
        unsafe { zero_bytes(dst, len as usize) }
    }

    fn copy(&self, dst: Phys, src: Phys, len: u64) {
        let (to, from) = (self.span(dst, len), self.span(src, len));
        // SAFETY: `span` checked both; were they to overlap, the bytes would be wrong, not the memory unsafe.
        unsafe { copy_bytes(to, from, len as usize) }
    }

    fn load_u32(&self, at: Phys) -> u32 {
        self.word(at).load(Ordering::SeqCst)
    }

    fn compare_exchange_u32(&self, at: Phys, old: u32, new: u32) -> Result<u32, u32> {
        self.word(at).compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn discard(&self, range: Range<u64>) {
        let len = range.end.saturating_sub(range.start);
        if len == 0 {
            return;
        }
        self.span(Phys(range.start), len);
        assert!(
            range.start.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE),
            "a discarded range consists of whole pages"
        );
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if fallocate(&self.file, flags, range.start as i64, len as i64).is_err() {
            // No hole was made: the memory stays committed, but what was promised is that it reads as zero.
            self.zero(Phys(range.start), len);
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and nothing points into it once its owner goes.
        let unmapped = unsafe { munmap(self.base.cast(), self.size as usize) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Copies with one instruction, so that the compiler assumes nothing about bytes that guests change meanwhile.
///
/// # Safety
/// `len` bytes can be read at `src` and written at `dst`.
unsafe fn copy_bytes(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: by contract; the direction flag is clear in Rust code.
    unsafe {
        std::arch::asm!("rep movsb", inout("rdi") dst => _, inout("rsi") src => _, inout("rcx") len => _,
            options(nostack, preserves_flags));
    }
}

/// # Safety
/// `len` bytes can be written at `dst`.
unsafe fn zero_bytes(dst: *mut u8, len: usize) {
    // SAFETY: as in `copy_bytes`.
    unsafe {
        std::arch::asm!("rep stosb", inout("rdi") dst => _, inout("rcx") len => _, in("al") 0u8,
            options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram() -> Ram {
        RamFile::new(c"test-ram", 1 << 40).unwrap().map().unwrap()
    }

    #[test]
    fn bytes_come_back_and_a_discard_zeroes() {
        let ram = ram();
        let far = Phys((1 << 40) - 8192);
        ram.write(far, b"lodger");
        let mut seen = [0; 7];
        ram.copy(Phys(4096), far, 6);
        ram.read(Phys(4096), &mut seen);
        assert_eq!(&seen, b"lodger\0");
        ram.zero(Phys(4097), 2);
        ram.read(Phys(4096), &mut seen);
        assert_eq!(&seen, b"l\0\0ger\0");
        ram.discard(4096..8192);
        ram.read(Phys(4096), &mut seen);
        assert_eq!(seen, [0; 7]);
    }

    #[test]
    fn words_are_exchanged() {
        let ram = ram();
        assert_eq!(ram.compare_exchange_u32(Phys(8), 0, 5), Ok(0));
        assert_eq!(ram.compare_exchange_u32(Phys(8), 0, 6), Err(5));
        assert_eq!(ram.load_u32(Phys(8)), 5);
    }

    #[test]
    #[should_panic(expected = "outside guest RAM")]
    fn the_end_is_checked() {
        ram().read(Phys((1 << 40) - 1), &mut [0; 2]);
    }
}
