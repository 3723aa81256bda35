//! What is brought in before it is touched.

use super::*;

#[test]
fn what_is_sure_to_be_written_to_does_not_fault() {
    let (_, ram, mm) = new(64 << 20);
    let pages = PageCache::new(&ram, Backing::Empty);
    pages.write_at(0, &mut SliceSource(&[7; 4 * PAGE as usize])).unwrap();
    let data = map(&mm, 0, 4, RW, PRIVATE | sys::MAP_DENYWRITE, file(&pages, 0)).unwrap();
    assert_eq!(mm.space().applied(), (1, 1), "only the copy is mapped, not what it replaces");
    // Also where it goes on in another window of RAM.
    let border = BASE.next_multiple_of(16 << 20) + (64 << 20);
    let object = file(&pages, 0);
    let other = map(&mm, border - 2 * PAGE, 4, RW, PRIVATE | FIXED | sys::MAP_DENYWRITE, object).unwrap();
    mm.place_brk(BASE);
    let heap = mm.brk(0);
    assert_eq!(mm.brk(heap + 3 * PAGE), heap + 3 * PAGE);
    let before = mm.space().applied();
    store(&mm, data, 1).unwrap();
    store(&mm, other + 3 * PAGE, 1).unwrap();
    store(&mm, heap + 2 * PAGE, 1).unwrap();
    assert_eq!(mm.space().applied(), before, "nothing faults");
    assert_eq!(load(&mm, data + PAGE), Ok(0x0707_0707_0707_0707));
    assert_eq!(pages.resident_bytes(), 4 * PAGE);
    check(&mm);
}

#[test]
fn what_both_sides_of_a_fork_write_to_is_copied_at_once() {
    let (_, _, mm) = new(64 << 20);
    let large = map(&mm, BASE, 4096, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    let small = map(&mm, BASE + (64 << 20), 4, RW, PRIVATE | FIXED, Object::Anonymous).unwrap();
    for page in 0..1024 {
        store(&mm, large + page * PAGE, 1).unwrap();
    }
    store(&mm, small, 1).unwrap();
    let hot = large + 512 * PAGE;
    let child = mm.fork(2, &[hot]).unwrap();
    let before = (mm.space().applied(), child.space().applied());
    assert_eq!(before.1.0, 1, "a child gets its mappings in one change");
    for (side, value) in [(&mm, 2), (&child, 3)] {
        store(side, hot, value).unwrap();
        store(side, hot - PAGE, value).unwrap();
        store(side, small, value).unwrap();
    }
    assert_eq!((mm.space().applied(), child.space().applied()), before, "nobody faults");
    assert_eq!((load(&mm, hot), load(&child, hot)), (Ok(2), Ok(3)));
    store(&child, large, 3).unwrap();
    assert_eq!(load(&mm, large), Ok(1));
    check(&mm);
    check(&child);
}
