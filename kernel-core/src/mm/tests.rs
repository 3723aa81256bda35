//! Address spaces on FakeHost, against a model that has an array of pages.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use linux_raw_sys::general as sys;

use super::*;
use crate::errno::{EEXIST, EFAULT, EINVAL, ENOMEM};
use crate::host::fake::{FakeHost, GuestMem};
use crate::host::{Access, Exit, HostError, Prot};
use crate::io::{Sink, SliceSource, Source, VecSink};
use crate::mm::backing::Mapped;
use crate::mm::cache::mem_store::MemStore;
use crate::mm::cache::{Backing, PageCache, WritePolicy};
use crate::mm::fault::FaultError;
use crate::mm::map::{MapRequest, Object};
use crate::mm::reclaim::Reach;
use crate::mm::user::FutexScope;

const PAGE: u64 = PAGE_SIZE;
const RW: u32 = sys::PROT_READ | sys::PROT_WRITE;
const PRIVATE: u32 = sys::MAP_PRIVATE;
const SHARED: u32 = sys::MAP_SHARED;
const FIXED: u32 = sys::MAP_FIXED;
const BASE: u64 = 0x10_0000_0000;

mod early;
mod stored;

type TestMm = Arc<Mm<FakeHost>>;

fn new(limit: u64) -> (Arc<FakeHost>, Arc<Ram>, TestMm) {
    let host = FakeHost::new(1);
    let ram = Ram::new(host.ram(), limit);
    let mm = Mm::new(&host, &ram, 0..0).unwrap();
    (host, ram, mm)
}

fn map(mm: &TestMm, addr: u64, pages: u64, prot: u32, flags: u32, object: Object) -> Result<u64> {
    mm.mmap(&MapRequest { addr, len: pages * PAGE, prot, flags, object })
}

fn anonymous(mm: &TestMm, pages: u64) -> u64 {
    map(mm, 0, pages, RW, PRIVATE, Object::Anonymous).unwrap()
}

fn file(pages: &Arc<PageCache>, offset: u64) -> Object {
    Object::File { pages: pages.clone(), file: None, offset }
}

/// Runs a guest access and serves its faults.
fn guest<T>(mm: &TestMm, access: impl Fn(&dyn GuestMem) -> Result<T, Exit>) -> Result<T, FaultError> {
    for _ in 0..8 {
        match access(mm.space()) {
            Ok(value) => return Ok(value),
            Err(Exit::Fault { addr, access }) => mm.fault(addr, access, 0)?,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("the same fault again and again");
}

fn load(mm: &TestMm, addr: u64) -> Result<u64, FaultError> {
    guest(mm, |mem| mem.read_u64(addr))
}

fn store(mm: &TestMm, addr: u64, value: u64) -> Result<(), FaultError> {
    guest(mm, |mem| mem.write_u64(addr, value))
}

/// What must always hold between our view, the host's, and the counts of holders.
fn check(mm: &TestMm) {
    let inner = mm.contents.inner.lock();
    let mut pages = 0;
    for (range, vma) in inner.vmas.iter() {
        for (part, back) in inner.backing.overlapping(range) {
            for addr in (part.start..part.end).step_by(PAGE as usize) {
                let told = mm.space().mapping(addr);
                let phys = back.phys.0 + (addr - part.start);
                match back.mapped {
                    Mapped::No => assert_eq!(told, None),
                    _ => {
                        pages += 1;
                        assert_eq!(told, Some((crate::host::Phys(phys), back.host_prot(vma))), "{addr:x}");
                    }
                }
                if vma.is_private() && back.mapped == Mapped::Full {
                    let alone = mm.ram().held_once(crate::host::Phys(phys), phys..phys + PAGE);
                    assert!(!alone.is_empty(), "a writable private page is held once");
                }
            }
        }
    }
    assert_eq!(mm.space().mapped_pages(), pages, "nothing else is mapped");
}

/// A page of the model.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    prot: u32,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Content {
    Private { now: u64, untouched: u64 },
    Shared { object: usize, page: usize },
}

/// How many pages the model's processes have, and its files.
const PAGES: usize = 96;

struct Model {
    seed: u64,
    ram: Arc<Ram>,
    /// Whether files are over stores.
    stored: bool,
    /// Files: their pages, and what is in each; beyond the end nothing.
    files: Vec<(Arc<PageCache>, Vec<u64>)>,
    /// A file that never changes: page n has n + 1000.
    constant: Arc<PageCache>,
    processes: Vec<(TestMm, Vec<Option<Page>>)>,
}

impl Model {
    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) as usize % below
    }

    fn expected(&self, page: Option<Page>, write: bool) -> Result<u64, FaultError> {
        let page = page.ok_or(FaultError::UNMAPPED)?;
        let needed = if write { sys::PROT_WRITE } else { sys::PROT_READ };
        if page.prot & needed == 0 {
            return Err(FaultError::FORBIDDEN);
        }
        match page.content {
            Content::Private { now, .. } => Ok(now),
            Content::Shared { object, page } => {
                self.files[object].1.get(page).copied().ok_or(FaultError::BEYOND_FILE)
            }
        }
    }

    fn map_something(&mut self, index: usize, start: usize, len: usize) {
        let (addr, pages) = (BASE + start as u64 * PAGE, len as u64);
        let prot = [0, sys::PROT_READ, RW, RW][self.random(4)];
        let offset = self.random(PAGES - len + 1);
        let kind = self.random(4);
        let object = self.random(self.files.len());
        let (mm, model) = &mut self.processes[index];
        let (flags, mapped) = match kind {
            0 => (PRIVATE, Object::Anonymous),
            1 => (PRIVATE, file(&self.constant, offset as u64 * PAGE)),
            2 => (SHARED, file(&self.files[object].0, offset as u64 * PAGE)),
            _ => {
                let pages = match self.stored {
                    true => PageCache::over(&self.ram, MemStore::of(Vec::new()), 0, WritePolicy::Back),
                    false => PageCache::new(&self.ram, Backing::Empty),
                };
                pages.truncate(len as u64 * PAGE).unwrap();
                self.files.push((pages, vec![0; len]));
                let object = &self.files[self.files.len() - 1].0;
                (SHARED, file(object, 0))
            }
        };
        assert_eq!(map(mm, addr, pages, prot, flags | FIXED, mapped), Ok(addr));
        for (n, page) in model[start..start + len].iter_mut().enumerate() {
            let content = match kind {
                0 => Content::Private { now: 0, untouched: 0 },
                1 => {
                    let value = (offset + n) as u64 + 1000;
                    Content::Private { now: value, untouched: value }
                }
                2 => Content::Shared { object, page: offset + n },
                _ => Content::Shared { object: self.files.len() - 1, page: n },
            };
            *page = Some(Page { prot, content });
        }
    }

    fn access(&mut self, index: usize, page: usize, value: u64) {
        let expected = self.expected(self.processes[index].1[page], value.is_multiple_of(2));
        let by_kernel = value.is_multiple_of(3);
        let (mm, model) = &mut self.processes[index];
        let addr = BASE + page as u64 * PAGE + 16;
        if value % 2 == 1 {
            let found = if by_kernel {
                mm.user().get(addr).map_err(|_| expected.unwrap_err())
            } else {
                load(mm, addr)
            };
            // The kernel may read what can be executed or written, as the processor may.
            assert_eq!(found, expected);
            return;
        }
        let found = match by_kernel {
            true => mm.user().set(addr, &value).map_err(|_| expected.unwrap_err()),
            false => store(mm, addr, value),
        };
        assert_eq!(found, expected.map(|_| ()));
        if let (Ok(()), Some(page)) = (found, &mut model[page]) {
            match &mut page.content {
                Content::Private { now, .. } => *now = value,
                Content::Shared { object, page } => self.files[*object].1[*page] = value,
            }
        }
    }

    fn step(&mut self, step: u64) {
        let index = self.random(self.processes.len());
        let start = self.random(PAGES);
        let len = 1 + self.random((PAGES - start).min(30));
        let addr = BASE + start as u64 * PAGE;
        let bytes = len as u64 * PAGE;
        match self.random(24) {
            0 | 1 => self.map_something(index, start, len),
            2 => {
                let (mm, model) = &mut self.processes[index];
                mm.munmap(addr, bytes).unwrap();
                model[start..start + len].fill(None);
            }
            3 | 4 => {
                let prot = [0, sys::PROT_READ, RW][self.random(3)];
                let (mm, model) = &mut self.processes[index];
                let hole = model[start..start + len].iter().position(Option::is_none);
                let result = if hole.is_none() { Ok(()) } else { Err(ENOMEM) };
                assert_eq!(mm.mprotect(addr, bytes, prot), result);
                for page in model[start..start + hole.unwrap_or(len)].iter_mut().flatten() {
                    page.prot = prot;
                }
            }
            5 => {
                let (mm, model) = &mut self.processes[index];
                let part = &mut model[start..start + len];
                let result = if part.iter().all(Option::is_some) { Ok(()) } else { Err(ENOMEM) };
                assert_eq!(mm.madvise(addr, bytes, sys::MADV_DONTNEED), result);
                for page in part.iter_mut().flatten() {
                    if let Content::Private { now, untouched } = &mut page.content {
                        *now = *untouched;
                    }
                }
            }
            6 => {
                let target = self.random(PAGES - len + 1);
                let apart = target + len <= start || start + len <= target;
                let to = BASE + target as u64 * PAGE;
                let (mm, model) = &mut self.processes[index];
                let flags = sys::MREMAP_MAYMOVE | sys::MREMAP_FIXED;
                let one =
                    mm.maps().iter().any(|info| info.range.start <= addr && addr + bytes <= info.range.end);
                let result = mm.mremap(addr, bytes, bytes, flags, to);
                assert_eq!(result.is_ok(), apart && one, "{result:?}");
                if result.is_ok() {
                    let moved: Vec<_> = model[start..start + len].to_vec();
                    model[start..start + len].fill(None);
                    model[target..target + len].copy_from_slice(&moved);
                }
            }
            7 if self.processes.len() < 5 => {
                let hot = [addr, addr + bytes];
                let hot = if step.is_multiple_of(2) { &hot[..] } else { &[] };
                let (mm, model) = &self.processes[index];
                let child = (mm.fork(2, hot).unwrap(), model.clone());
                self.processes.push(child);
            }
            8 if self.processes.len() > 1 => drop(self.processes.swap_remove(index)),
            9 => {
                let object = self.random(self.files.len());
                let len = self.random(PAGES);
                let (pages, model) = &mut self.files[object];
                pages.truncate(len as u64 * PAGE).unwrap();
                model.resize(len, 0);
            }
            10 => {
                let object = self.random(self.files.len());
                let (pages, model) = &mut self.files[object];
                pages.punch_hole(start as u64 * PAGE, bytes).unwrap();
                let end = model.len().min(start + len);
                model.get_mut(start..end).unwrap_or_default().fill(0);
            }
            11 => self.ram.write_all_back(),
            12 => drop(self.ram.evict(1 << 30, Reach::All)),
            _ => {
                for n in 0..4 {
                    self.access(index, start, step * 4 + n);
                }
            }
        }
    }
}

#[test]
fn agrees_with_pages_in_an_array() {
    for seed in 0..12 {
        let (_, ram, mm) = new(256 << 20);
        let bytes: Vec<u8> = (0..PAGES as u64)
            .flat_map(|page| (0..PAGE / 8).flat_map(move |_| (page + 1000).to_ne_bytes()))
            .collect();
        let owner: Arc<dyn cache::Blob> = Arc::new(bytes);
        let stored = seed % 2 == 1;
        let over = |bytes: Vec<u8>| {
            let len = bytes.len() as u64;
            PageCache::over(&ram, MemStore::of(bytes), len, WritePolicy::Back)
        };
        let (constant, changing) = match stored {
            true => (over(owner.bytes().to_vec()), over(Vec::new())),
            false => {
                let blob = Backing::Blob { owner, offset: 0, len: usize::MAX };
                (PageCache::new(&ram, blob), PageCache::new(&ram, Backing::Empty))
            }
        };
        let mut model = Model {
            seed,
            ram: ram.clone(),
            stored,
            files: vec![(changing, Vec::new())],
            constant,
            processes: vec![(mm, vec![None; PAGES])],
        };
        for step in 0..1500 {
            model.step(step);
            if step % 16 == 0 {
                model.processes.iter().for_each(|(mm, _)| check(mm));
            }
        }
        drop(model);
        assert_eq!(ram.free(), ram.total(), "everything is given back");
        assert!(ram.reserve(ram.frames.size()).is_ok(), "the offsets too");
    }
}

#[test]
fn a_fault_is_one_wide_change() {
    let (_, _, mm) = new(64 << 20);
    let addr = map(&mm, BASE, 4096, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    assert_eq!(mm.space().applied(), (0, 0), "mapping costs nothing until it is touched");
    store(&mm, addr, 1).unwrap();
    assert_eq!(mm.space().applied(), (1, 1));
    assert_eq!(mm.space().mapped_pages(), 16);
    for page in 0..2048 {
        store(&mm, addr + page * PAGE, 1).unwrap();
    }
    assert!(mm.space().applied().0 < 12, "chunks grow in a sequence: {:?}", mm.space().applied());
    let child = mm.fork(2, &[]).unwrap();
    assert_eq!(child.space().applied(), (1, 1), "a child gets its mappings in one change");
    store(&mm, addr, 2).unwrap();
    assert_eq!((load(&child, addr), load(&mm, addr)), (Ok(1), Ok(2)));
    drop(child);
    let before = mm.space().applied().0;
    for page in 16..512 {
        store(&mm, addr + page * PAGE, 3).unwrap();
    }
    assert_eq!(mm.space().applied().0, before + 1, "what is shared no more is not copied");
    check(&mm);
}

#[test]
fn stacks_grow_to_their_limit_and_keep_a_gap() {
    let (_, _, mm) = new(64 << 20);
    let top = BASE + (64 << 20);
    let flags = PRIVATE | FIXED | sys::MAP_GROWSDOWN;
    map(&mm, top - PAGE, 1, RW, flags, Object::Anonymous).unwrap();
    mm.set_limits(MmLimits { stack: 4 << 20, ..MmLimits::default() });
    store(&mm, top - (2 << 20), 1).unwrap();
    assert_eq!(store(&mm, top - (4 << 20) - 8, 1), Err(FaultError::UNMAPPED));
    map(&mm, top - (4 << 20), 1, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    assert_eq!(store(&mm, top - (3 << 20), 1), Err(FaultError::UNMAPPED));
    assert!(store(&mm, top - (3 << 20) + (4 << 12), 1).is_ok());
    check(&mm);
}

#[test]
fn unknown_accesses_end_in_the_right_signal() {
    let (_, _, mm) = new(64 << 20);
    let data = anonymous(&mm, 16);
    let unknown = |addr, rip| {
        let mut result = Ok(());
        for _ in 0..20 {
            result = result.and(mm.fault(addr, Access::Unknown, rip));
        }
        result
    };
    mm.fault(data, Access::Unknown, 0x1000).unwrap();
    assert_eq!(mm.space().mapping(data).unwrap().1, Prot::READ | Prot::WRITE);
    assert_eq!(unknown(data, data), Err(FaultError::FORBIDDEN), "data is not executed");
    mm.mprotect(data, PAGE, sys::PROT_READ).unwrap();
    mm.fault(data, Access::Unknown, 0x1000).unwrap();
    assert_eq!(unknown(data, 0x1000), Err(FaultError::FORBIDDEN), "a store that is not allowed");
    let child = mm.fork(2, &[]).unwrap();
    mm.fault(data + PAGE, Access::Unknown, 0x1000).unwrap();
    assert_eq!(mm.space().mapping(data + PAGE).unwrap().1, Prot::READ | Prot::WRITE);
    drop(child);
}

#[test]
fn calls_fail_as_in_linux() {
    let (_, _, mm) = new(64 << 20);
    let fixed = |addr, pages, flags| map(&mm, addr, pages, RW, flags, Object::Anonymous);
    assert_eq!(fixed(0, 0, PRIVATE), Err(EINVAL));
    assert_eq!(fixed(0, 1, 0), Err(EINVAL));
    assert_eq!(fixed(BASE + 1, 1, PRIVATE | FIXED), Err(EINVAL));
    assert_eq!(fixed(0x7fff_ffff_f000, 1, PRIVATE | FIXED), Err(ENOMEM));
    assert_eq!(fixed(0, u64::MAX / PAGE, PRIVATE), Err(ENOMEM));
    assert_eq!(fixed(0, 1 << 30, PRIVATE), Err(ENOMEM), "more than RAM can ever hold");
    assert!(fixed(0, 1 << 30, PRIVATE | sys::MAP_NORESERVE).is_ok());
    fixed(BASE, 4, PRIVATE | FIXED).unwrap();
    assert_eq!(fixed(BASE + PAGE, 1, PRIVATE | sys::MAP_FIXED_NOREPLACE), Err(EEXIST));
    assert_eq!(mm.munmap(BASE + 1, PAGE), Err(EINVAL));
    assert_eq!(mm.munmap(BASE, 0), Err(EINVAL));
    assert_eq!(mm.munmap(BASE + (1 << 30), PAGE), Ok(()));
    assert_eq!(mm.mprotect(BASE, 5 * PAGE, RW), Err(ENOMEM));
    assert_eq!(mm.mprotect(BASE, PAGE, 0x100), Err(EINVAL));
    assert_eq!(mm.mremap(BASE, PAGE, 0, 0, 0), Err(EINVAL));
    assert_eq!(mm.mremap(BASE, 8 * PAGE, 16 * PAGE, sys::MREMAP_MAYMOVE, 0), Err(EFAULT));
    assert_eq!(mm.mremap(BASE, 4 * PAGE, 8 * PAGE, 0, 0), Ok(BASE), "there is room behind it");
    assert_eq!(mm.madvise(BASE, PAGE, 77), Err(EINVAL));
    assert_eq!(mm.madvise(BASE, 9 * PAGE, sys::MADV_DONTNEED), Err(ENOMEM));
    assert_eq!(mm.msync(BASE, PAGE, sys::MS_SYNC | sys::MS_ASYNC), Err(EINVAL));
    assert_eq!(mm.mincore(BASE + (1 << 30), PAGE, BASE), Err(ENOMEM));
    mm.set_limits(MmLimits { address_space: 1, ..MmLimits::default() });
    assert_eq!(fixed(0, 1, PRIVATE), Err(ENOMEM));
    assert_eq!(mm.mlock(BASE, 3000 * PAGE, advise::Populate::Now), Err(ENOMEM));
}

#[test]
fn the_break_moves_and_stops_at_mappings() {
    let (_, _, mm) = new(64 << 20);
    mm.place_brk(BASE);
    let start = mm.brk(0);
    assert_eq!(mm.brk(start + 10), start + 10);
    store(&mm, start, 5).unwrap();
    map(&mm, start + 64 * PAGE, 1, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    assert_eq!(mm.brk(start + 65 * PAGE), start + 10, "it cannot");
    assert_eq!(mm.brk(start), start);
    assert_eq!(load(&mm, start), Err(FaultError::UNMAPPED));
    check(&mm);
}

#[test]
fn a_failing_host_kills_and_leaks_nothing() {
    let (_, ram, mm) = new(64 << 20);
    let addr = anonymous(&mm, 64);
    store(&mm, addr, 1).unwrap();
    mm.space().fail_next_apply(HostError::TooManyMappings);
    assert_eq!(mm.munmap(addr, 64 * PAGE), Ok(()));
    assert!(mm.is_dead());
    assert!(ram.free() < ram.total(), "what the host may still reach is not used again");
    assert_eq!(mm.fault(addr, Access::Read, 0), Err(FaultError::Dead));
    assert_eq!(mm.user().get::<u64>(addr), Err(EFAULT));
    drop(mm);
    assert_eq!(ram.free(), ram.total());
}

#[test]
fn short_memory_comes_by_pages_and_then_not_at_all() {
    let (_, ram, mm) = new(20 * PAGE);
    let addr = map(&mm, BASE, 20, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    (0..20).for_each(|page| store(&mm, addr + page * PAGE, page).unwrap());
    let more = anonymous(&mm, 1);
    assert_eq!(store(&mm, more, 1), Err(FaultError::OutOfMemory));
    assert_eq!(mm.user().set(more, &1u64), Err(EFAULT));
    mm.madvise(addr, PAGE, sys::MADV_DONTNEED).unwrap();
    store(&mm, more, 1).unwrap();
    assert_eq!(ram.free(), 0);
}

#[test]
fn copies_are_partial_at_bad_addresses() {
    let (_, ram, mm) = new(64 << 20);
    let addr = map(&mm, BASE, 2, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    let end = addr + 2 * PAGE;
    let mut dst = mm.user().writer(end - 6, 100).unwrap();
    assert_eq!(dst.put(b"0123456789"), Ok(6));
    assert_eq!(dst.put(b"6789"), Err(EFAULT));
    assert!(mm.user().writer(0x7fff_ffff_f000, 1).is_err());
    assert_eq!(mm.user().read_cstr(end - 6, 100), Err(EFAULT));
    mm.user().write_bytes(end - 2, b"x\0").unwrap();
    assert_eq!(mm.user().read_cstr(end - 6, 100), Ok(b"0123x".to_vec()));
    assert_eq!(mm.user().read_cstr(end - 6, 5), Err(crate::errno::ENAMETOOLONG));

    let iovecs = [addr, 3, addr + 100, 0, addr + 200, 4];
    mm.user().set(addr + 1000, &iovecs).unwrap();
    let mut dst = mm.user().buffers(addr + 1000, 3).unwrap();
    assert_eq!(Sink::remaining(&dst), 7);
    assert_eq!(dst.put(b"abcdefgh"), Ok(7));
    let mut src = mm.user().buffers(addr + 1000, 3).unwrap();
    let mut bytes = [0; 7];
    assert_eq!((src.take(&mut bytes), &bytes), (Ok(7), b"abcdefg"));
    mm.user().set(addr + 1000, &[addr, u64::MAX]).unwrap();
    assert_eq!(mm.user().buffers(addr + 1000, 1).err(), Some(EINVAL));
    assert_eq!(mm.user().buffers(addr + 1000, 1025).err(), Some(EINVAL));

    // A file read into its own mapping.
    let pages = PageCache::new(&ram, Backing::Empty);
    pages.write_at(0, &mut SliceSource(b"hello world")).unwrap();
    let there = map(&mm, 0, 1, RW, SHARED, file(&pages, 0)).unwrap();
    assert_eq!(pages.read_at(0, &mut mm.user().writer(there + 3, 8).unwrap()), Ok(8));
    let mut sink = VecSink::new(11);
    pages.read_at(0, &mut sink).unwrap();
    assert_eq!(sink.bytes, b"helhello wo");
}

#[test]
fn futexes_of_shared_memory_are_the_same_for_all() {
    let (_, ram, mm) = new(64 << 20);
    let pages = PageCache::new(&ram, Backing::Empty);
    pages.truncate(PAGE).unwrap();
    let (a, b) = (
        map(&mm, 0, 1, RW, SHARED, file(&pages, 0)).unwrap(),
        map(&mm, 0, 1, RW, SHARED, file(&pages, 0)).unwrap(),
    );
    let key = |mm: &TestMm, addr, scope| mm.user().futex_key(addr, scope).unwrap();
    let child = mm.fork(2, &[]).unwrap();
    assert_eq!(key(&mm, a + 4, FutexScope::Shared), key(&child, b + 4, FutexScope::Shared));
    assert_ne!(key(&mm, a, FutexScope::Private), key(&child, a, FutexScope::Private));
    let own = anonymous(&mm, 1);
    assert_eq!(key(&mm, own, FutexScope::Shared), key(&mm, own, FutexScope::Private));
    assert_eq!(mm.user().compare_exchange_u32(a, 0, 7), Ok(Ok(0)));
    assert_eq!(child.user().load_u32(b), Ok(7));
    assert_eq!(child.user().compare_exchange_u32(b, 0, 8), Ok(Err(7)));
    assert_eq!(mm.user().load_u32(a + 1), Err(EINVAL));
    assert_eq!(mm.user().futex_key(0x5000, FutexScope::Shared), Err(EFAULT));
}

#[test]
fn debuggers_write_to_code_without_changing_the_file() {
    let (_, ram, mm) = new(64 << 20);
    let pages = PageCache::new(&ram, Backing::Empty);
    pages.write_at(0, &mut SliceSource(&[0x90; 4096])).unwrap();
    let code = map(&mm, 0, 1, sys::PROT_READ | sys::PROT_EXEC, PRIVATE, file(&pages, 0)).unwrap();
    assert_eq!(mm.user().write_bytes(code, &[0xcc]), Err(EFAULT));
    assert_eq!(mm.poke(code, &[0xcc]), 1);
    let mut bytes = [0; 2];
    assert_eq!((mm.peek(code, &mut bytes), bytes), (2, [0xcc, 0x90]));
    assert_eq!(store(&mm, code, 0), Err(FaultError::FORBIDDEN));
    let mut sink = VecSink::new(1);
    pages.read_at(0, &mut sink).unwrap();
    assert_eq!(sink.bytes, [0x90]);
    check(&mm);
}

#[test]
fn a_file_that_shrinks_takes_private_copies_along_and_a_hole_does_not() {
    let (_, ram, mm) = new(64 << 20);
    let pages = PageCache::new(&ram, Backing::Empty);
    pages.write_at(0, &mut SliceSource(&[7; 8192])).unwrap();
    let addr = map(&mm, 0, 2, RW, PRIVATE, file(&pages, 0)).unwrap();
    store(&mm, addr + 8, 1).unwrap();
    store(&mm, addr + PAGE + 8, 2).unwrap();
    pages.punch_hole(0, 8192).unwrap();
    assert_eq!((load(&mm, addr + 8), load(&mm, addr + PAGE + 8)), (Ok(1), Ok(2)));
    pages.truncate(100).unwrap();
    assert_eq!((load(&mm, addr + 8), load(&mm, addr + PAGE + 8)), (Ok(1), Err(FaultError::BEYOND_FILE)));
    pages.truncate(8192).unwrap();
    assert_eq!(load(&mm, addr + PAGE + 8), Ok(0));
    check(&mm);
}

#[test]
fn mincore_and_locking_see_what_is_in_ram() {
    let (_, _, mm) = new(64 << 20);
    let addr = map(&mm, BASE, 64, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    let out = anonymous(&mm, 1);
    let resident = || {
        mm.mincore(addr, 64 * PAGE, out).unwrap();
        let bytes: [u8; 64] = mm.user().get(out).unwrap();
        bytes.iter().filter(|&&byte| byte == 1).count()
    };
    assert_eq!(resident(), 0);
    store(&mm, addr + 20 * PAGE, 1).unwrap();
    assert_eq!(resident(), 16);
    mm.mlock(addr, 64 * PAGE, advise::Populate::Now).unwrap();
    assert_eq!((resident(), mm.usage().locked), (64, 64 * PAGE));
    assert_eq!(mm.madvise(addr, 64 * PAGE, sys::MADV_DONTNEED), Err(EINVAL));
    mm.munlock(addr + 3, PAGE).unwrap();
    assert_eq!((mm.usage().locked, mm.maps().len()), (62 * PAGE, 3));
    mm.munlockall();
    mm.madvise(addr, 64 * PAGE, sys::MADV_DONTNEED).unwrap();
    assert_eq!((resident(), mm.maps().len()), (0, 2));
}
