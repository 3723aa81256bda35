use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::*;
use crate::errno::{EIO, ENOSPC};
use crate::host::Host;
use crate::host::fake::FakeHost;
use crate::io::{SliceSource, VecSink};
use crate::mm::cache::mem_store::MemStore;
use crate::mm::reclaim::Reach;

const MIB: u64 = 1 << 20;

fn ram(limit: u64) -> Arc<Ram> {
    Ram::new(FakeHost::new(1).ram(), limit)
}

fn over(ram: &Arc<Ram>, store: &Arc<MemStore>, policy: WritePolicy) -> Arc<PageCache> {
    let len = store.bytes.lock().len() as u64;
    PageCache::over(ram, store.clone(), len, policy)
}

fn read(cache: &PageCache, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut sink = VecSink::new(len);
    cache.read_at(offset, &mut sink)?;
    Ok(sink.bytes)
}

fn write(cache: &PageCache, offset: u64, bytes: &[u8]) -> Result<usize> {
    cache.write_at(offset, &mut SliceSource(bytes))
}

#[test]
fn agrees_with_a_vector_of_bytes_in_cache_and_store() {
    for seed in 0..8 {
        let mut state: u64 = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let ram = ram(MIB);
        let mut model: Vec<u8> = (0..200_000u32).map(|n| (n / 7) as u8 | 1).collect();
        let store = MemStore::of(model.clone());
        let policy = if seed % 2 == 0 { WritePolicy::Through } else { WritePolicy::Back };
        let cache = over(&ram, &store, policy);
        for step in 0..400 {
            let offset = random(300_000);
            let len = random(40_000) as usize;
            match random(8) {
                0 => {
                    cache.truncate(offset).unwrap();
                    model.resize(offset as usize, 0);
                }
                1 => {
                    cache.punch_hole(offset, len as u64).unwrap();
                    let end = model.len().min(offset as usize + len);
                    if let Some(part) = model.get_mut(offset as usize..end) {
                        part.fill(0);
                    }
                }
                2 => {
                    let bytes = vec![step as u8; len];
                    assert_eq!(cache.append(&mut SliceSource(&bytes)), Ok((model.len() as u64, len)));
                    model.extend_from_slice(&bytes);
                }
                3 => {
                    ram.evict(random(2) * 4 * MIB, Reach::All);
                }
                4 => cache.sync().unwrap(),
                _ => {
                    let bytes = vec![step as u8; len];
                    assert_eq!(write(&cache, offset, &bytes), Ok(len));
                    let end = offset as usize + len;
                    if len > 0 {
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
            }
            assert_eq!(cache.len(), model.len() as u64);
            let found = read(&cache, 0, 4 << 20).unwrap();
            let wrong = found.iter().zip(&model).position(|(a, b)| a != b);
            assert_eq!((wrong, found.len()), (None, model.len()), "seed {seed}, step {step}");
            if policy == WritePolicy::Through {
                assert!(*store.bytes.lock() == model, "step {step}");
            }
        }
        cache.sync().unwrap();
        assert!(*store.bytes.lock() == model);
        drop(cache);
        assert_eq!((ram.free(), ram.cached(), ram.unwritten()), (ram.total(), 0, 0));
    }
}

#[test]
fn files_larger_than_ram_go_through_it() {
    let ram = ram(4 * MIB);
    let store = MemStore::of(Vec::new());
    let cache = over(&ram, &store, WritePolicy::Back);
    let block = vec![7; MIB as usize];
    for n in 0..20 {
        assert_eq!(write(&cache, n * MIB, &block), Ok(block.len()));
        assert!(ram.unwritten() <= ram.total() / 8 + MIB);
    }
    assert_eq!(cache.len(), 20 * MIB);
    let reads = store.reads.load(Ordering::Relaxed);
    for n in 0..20 {
        assert!(read(&cache, n * MIB, MIB as usize).unwrap() == block);
    }
    let reads = store.reads.load(Ordering::Relaxed) - reads;
    assert!(reads < 60, "read in wide pieces: {reads}");
    // Anonymous memory takes what is clean.
    cache.sync().unwrap();
    let at = ram.reserve(3 * MIB).unwrap();
    ram.commit(at, 3 * MIB, Fresh::Zeroed).unwrap();
}

#[test]
fn what_is_used_again_outlives_what_is_read_once() {
    let ram = ram(8 * MIB);
    let hot = MemStore::of(vec![1; 256 << 10]);
    let hot_cache = over(&ram, &hot, WritePolicy::Back);
    let stream = over(&ram, &MemStore::of(vec![2; 64 << 20]), WritePolicy::Back);
    read(&hot_cache, 0, 1 << 20).unwrap();
    let before = hot.reads.load(Ordering::Relaxed);
    for n in 0..256u64 {
        read(&stream, n * (MIB / 4), 256 << 10).unwrap();
        read(&hot_cache, 0, 100).unwrap();
    }
    assert_eq!(hot.reads.load(Ordering::Relaxed), before);
}

#[test]
fn errors_of_the_store_are_told() {
    let ram = ram(4 * MIB);
    let store = MemStore::of(vec![1; 10_000]);
    let cache = over(&ram, &store, WritePolicy::Back);
    store.broken.store(true, Ordering::Relaxed);
    assert_eq!(read(&cache, 0, 10), Err(EIO));
    assert_eq!(write(&cache, 5, b"x"), Err(EIO), "a part of a page needs the rest");
    store.broken.store(false, Ordering::Relaxed);
    write(&cache, 0, b"x").unwrap();
    store.full.store(true, Ordering::Relaxed);
    assert_eq!(cache.write_back(0..u64::MAX), Err(ENOSPC));
    store.full.store(false, Ordering::Relaxed);
    assert_eq!(cache.sync(), Err(ENOSPC), "told once more to who asks for it");
    assert_eq!(cache.sync(), Ok(()));
    let through = over(&ram, &store, WritePolicy::Through);
    store.full.store(true, Ordering::Relaxed);
    assert_eq!(write(&through, 9_999, b"yz"), Err(ENOSPC));
    assert_eq!((through.len(), read(&through, 9_998, 10)), (10_000, Ok(vec![1, 1])));
}

#[test]
fn for_lack_of_ram_no_busy_store_is_written() {
    let ram = ram(4 * MIB);
    let store = MemStore::of(vec![1; 10_000]);
    let cache = over(&ram, &store, WritePolicy::Back);
    write(&cache, 0, b"x").unwrap();
    store.busy.store(true, Ordering::Relaxed);
    ram.evict(MIB, Reach::All);
    assert_eq!((ram.cached(), ram.unwritten(), store.writes.load(Ordering::Relaxed)), (4096, 4096, 0));
    store.busy.store(false, Ordering::Relaxed);
    ram.evict(MIB, Reach::All);
    assert_eq!((ram.cached(), ram.unwritten(), store.writes.load(Ordering::Relaxed)), (0, 0, 1));
}

#[test]
fn changes_of_others_are_seen_when_told_of() {
    let ram = ram(4 * MIB);
    let store = MemStore::of(vec![1; 10_000]);
    let cache = over(&ram, &store, WritePolicy::Through);
    assert_eq!(read(&cache, 0, 1), Ok(vec![1]));
    *store.bytes.lock() = vec![2; 5_000];
    cache.changed_outside(5_000);
    assert_eq!(read(&cache, 4_000, 10_000), Ok(vec![2; 1_000]));
    *store.bytes.lock() = vec![3; 20_000];
    cache.changed_outside(20_000);
    assert_eq!(read(&cache, 4_000, 20_000), Ok(vec![3; 16_000]));
}

#[test]
fn chunks_that_are_cut_off_leave_the_ring() {
    let ram = ram(16 * MIB);
    let cache = over(&ram, &MemStore::of(Vec::new()), WritePolicy::Back);
    for n in 0..20_000u64 {
        // Nobody may grow the ring by making files longer and shorter.
        cache.state.lock().tracked.chunks.insert(n, false);
        ram.caches.add(Arc::downgrade(&cache), n);
    }
    write(&cache, 0, b"x").unwrap();
    assert!(cache.state.lock().tracked.chunks.len() < 10);
}
