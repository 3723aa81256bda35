//! Mappings of files that last in a store.

use core::sync::atomic::Ordering;

use super::*;

fn stored(ram: &Arc<Ram>, len: usize) -> (Arc<MemStore>, Arc<PageCache>) {
    let store = MemStore::of(vec![0; len]);
    let pages = PageCache::over(ram, store.clone(), len as u64, WritePolicy::Back);
    (store, pages)
}

fn in_store(store: &MemStore, offset: u64) -> u64 {
    let bytes = store.bytes.lock();
    let word = bytes[offset as usize..offset as usize + 8].try_into().unwrap();
    u64::from_ne_bytes(word)
}

#[test]
fn stores_through_mappings_get_to_the_store_and_nothing_else_does() {
    let (_, ram, mm) = new(64 << 20);
    let (store_, pages) = stored(&ram, 64 * PAGE as usize);
    let addr = map(&mm, 0, 64, RW, SHARED, file(&pages, 0)).unwrap();
    assert_eq!(load(&mm, addr + 9 * PAGE), Ok(0));
    assert_eq!(ram.unwritten(), 0, "what is only read is clean");
    store(&mm, addr + 8 * PAGE, 5).unwrap();
    let child = mm.fork(2, &[]).unwrap();
    store(&child, addr + 40 * PAGE, 6).unwrap();
    assert_eq!(ram.unwritten(), 8 * PAGE);
    mm.msync(addr + 8 * PAGE, PAGE, sys::MS_SYNC).unwrap();
    assert_eq!((in_store(&store_, 8 * PAGE), in_store(&store_, 40 * PAGE)), (5, 0));
    pages.sync().unwrap();
    assert_eq!(in_store(&store_, 40 * PAGE), 6);
    let writes = store_.writes.load(Ordering::Relaxed);
    pages.sync().unwrap();
    assert_eq!(store_.writes.load(Ordering::Relaxed), writes, "nothing is dirty");
    store(&mm, addr + 8 * PAGE, 7).unwrap();
    mm.user().set(addr + 41 * PAGE, &8u64).unwrap();
    pages.sync().unwrap();
    assert_eq!((in_store(&store_, 8 * PAGE), in_store(&store_, 41 * PAGE)), (7, 8));
    [&mm, &child].into_iter().for_each(check);
    // The last of them to go leaves nothing behind.
    store(&child, addr, 9).unwrap();
    drop((mm, child, pages));
    assert_eq!(in_store(&store_, 0), 9);
    assert_eq!(ram.free(), ram.total());
}

#[test]
fn a_page_that_cannot_be_read_is_a_bus_error() {
    let (_, ram, mm) = new(64 << 20);
    let (store_, pages) = stored(&ram, 8 * PAGE as usize);
    let addr = map(&mm, 0, 8, RW, SHARED, file(&pages, 0)).unwrap();
    store_.broken.store(true, Ordering::Relaxed);
    assert_eq!(load(&mm, addr), Err(FaultError::BEYOND_FILE));
    assert_eq!(mm.user().get::<u64>(addr), Err(EFAULT));
    store_.broken.store(false, Ordering::Relaxed);
    assert_eq!(load(&mm, addr), Ok(0));
}

#[test]
fn a_mapping_may_be_larger_than_ram() {
    let (_, ram, mm) = new(4 << 20);
    let (store_, pages) = stored(&ram, 16 << 20);
    let addr = map(&mm, 0, 4096, RW, SHARED, file(&pages, 0)).unwrap();
    for page in (0..4096).step_by(8) {
        loop {
            match store(&mm, addr + page * PAGE, page) {
                Ok(()) => break,
                // As the kernel does before it ends a process.
                Err(FaultError::OutOfMemory) => assert!(ram.evict(1 << 20, Reach::All) > 0),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    pages.sync().unwrap();
    for page in (0..4096).step_by(8) {
        assert_eq!(in_store(&store_, page * PAGE), page);
    }
    check(&mm);
}
