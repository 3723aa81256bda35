//! Nodes whose descriptors were closed: found again by name, or stale.

use std::fs;

use kernel_core::host::tree::Access;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::*;

/// A tree with files `a` and `b`, and directories `d` and `e` with a file `f` in each.
fn tree() -> (TempDir, Arc<dyn Node>) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["d", "e"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for name in ["a", "b", "d/f", "e/f"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let root = open(dir.path(), Rights::Write).unwrap();
    (dir, root)
}

fn held(node: &Arc<dyn Node>) -> &Arc<Held> {
    &node.as_any().downcast_ref::<Shown>().unwrap().0
}

fn lookup(dir: &Arc<dyn Node>, name: &str) -> Arc<dyn Node> {
    dir.lookup(name.as_bytes()).unwrap().0
}

/// Has these two names change places behind the tree's back, when no node has a descriptor.
fn swap(dir: &TempDir, root: &Arc<dyn Node>, one: &str, other: &str) {
    held(root).tree.close_all();
    let (one, other) = (dir.path().join(one), dir.path().join(other));
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

fn ino(node: &Arc<dyn Node>) -> Result<u64, TreeError> {
    node.attr().map(|attr| attr.ino)
}

const STALE: Result<u64, TreeError> = Err(TreeError(Errno::STALE.raw_os_error() as u16));

#[test]
fn a_closed_node_is_opened_again() {
    let (_dir, root) = tree();
    let f = lookup(&lookup(&root, "d"), "f");
    let before = ino(&f);
    held(&root).tree.close_all();
    assert!(held(&f).open_handle().is_none());
    assert_eq!(ino(&f), before);
    assert!(held(&f).open_handle().is_some());
}

#[test]
fn a_name_that_is_anothers_now_is_stale() {
    let (dir, root) = tree();
    let (a, f) = (lookup(&root, "a"), lookup(&lookup(&root, "d"), "f"));
    let before = (ino(&a), ino(&f));
    swap(&dir, &root, "a", "b");
    assert_eq!(ino(&a), STALE);
    assert!(a.open(Access::Read).is_err_and(|error| Err(error) == STALE));
    assert_ne!(ino(&lookup(&root, "a")), before.0, "another node has the name");
    // A directory above it is another one: its name alone would lead to a file that is not it.
    swap(&dir, &root, "d", "e");
    assert_eq!(ino(&f), STALE);
    swap(&dir, &root, "d", "e");
    swap(&dir, &root, "a", "b");
    assert_eq!((ino(&a), ino(&f)), before);
    held(&root).tree.close_all();
    fs::remove_file(dir.path().join("a")).unwrap();
    assert_eq!(ino(&a), STALE);
}

#[test]
fn a_moved_node_and_an_open_one_are_not_stale() {
    let (dir, root) = tree();
    let (a, b) = (lookup(&root, "a"), lookup(&root, "b"));
    let before = (ino(&a), ino(&b));
    let open = a.open(Access::Read).unwrap();
    swap(&dir, &root, "a", "b");
    assert_eq!(ino(&a), before.0);
    b.moved(&*root, b"a");
    assert_eq!(ino(&b), before.1);
    drop(open);
    held(&root).tree.close_all();
    assert_eq!(ino(&a), STALE);
}
