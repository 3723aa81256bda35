use alloc::string::String;

use super::pids::Charge;
use super::*;
use crate::errno::{EOPNOTSUPP, Errno};
use crate::task::cgroup::control::GroupType;
use crate::task::cgroup::members::{Mover, Unit};
use crate::task::pid_ns::PidNs;
use crate::vfs::caller::Caller;
use crate::vfs::testing::World;

/// No processes.
struct Nobody;

impl Members for Nobody {
    fn processes(&self, _: &Group, _: &PidNs) -> Vec<u32> {
        Vec::new()
    }

    fn threads(&self, _: &Group, _: &PidNs) -> Vec<u32> {
        Vec::new()
    }

    fn attach(&self, _: &Arc<Group>, _: u32, _: Unit, _: &dyn Caller, _: &Mover<'_>) -> Result<()> {
        Ok(())
    }

    fn kill(&self, _: &Group, _: &dyn Caller) {}

    fn cpu_ns(&self, _: &Group) -> [u64; 2] {
        [0; 2]
    }
}

const ATTR: NewAttr = NewAttr { mode: 0o755, uid: 0, gid: 0 };

fn root() -> Arc<Group> {
    let world = World::new();
    Group::root(Arc::new(Nobody), world.services.clock.clone(), Arc::default())
}

fn child(group: &Group, name: &str) -> Arc<Group> {
    group.make_child(name.as_bytes(), &ATTR).unwrap()
}

fn path(group: &Group, from: &Group) -> String {
    String::from_utf8(group.path_from(from)).unwrap()
}

#[test]
fn paths_are_relative_to_what_a_namespace_sees() {
    let root = root();
    let a = child(&root, "a");
    let (b, c) = (child(&a, "b"), child(&a, "c"));
    assert_eq!((path(&root, &root), path(&b, &root)), ("/".into(), "/a/b".into()));
    assert_eq!((path(&b, &b), path(&b, &a)), ("/".into(), "/b".into()));
    assert_eq!(
        (path(&a, &b), path(&root, &b), path(&c, &b)),
        ("/..".into(), "/../..".into(), "/../c".into())
    );
    root.forget_all();
}

#[test]
fn a_group_goes_when_nobody_uses_it() {
    let root = root();
    let a = child(&root, "a");
    let b = child(&a, "b");
    assert_eq!((root.descendants(), root.count()), ((2, 0), 3));
    assert_eq!(root.remove_child(b"a"), Err(EBUSY));
    let mut changes = Changes::default();
    b.enter(&mut changes);
    assert_eq!(changes.0.len(), 2, "both are populated now");
    assert_eq!(a.remove_child(b"b"), Err(EBUSY));
    b.leave(&mut changes);
    a.remove_child(b"b").unwrap();
    assert_eq!((root.descendants(), a.descendants(), root.count()), ((1, 1), (0, 1), 3));
    assert_eq!(a.make_child(b"b\n", &ATTR).err(), Some(EINVAL));
    assert_eq!(b.make_child(b"x", &ATTR).err(), Some(ENOENT));
    drop((changes, b));
    assert_eq!((root.descendants(), root.count()), ((1, 0), 2));
    root.forget_all();
    drop(a);
    assert_eq!(root.count(), 1);
}

#[test]
fn there_are_only_so_many_and_they_end_without_recursion() {
    let root = root();
    let mut at = root.clone();
    for _ in 1..MOST_GROUPS {
        at = child(&at, "x");
    }
    assert_eq!(root.make_child(b"y", &ATTR).err(), Some(EAGAIN));
    // Each is held by the one below only.
    root.forget_all();
    drop(at);
    assert_eq!(root.count(), 1);
    child(&root, "y");
    root.forget_all();
}

#[test]
fn tasks_are_counted_upwards_and_given_back() {
    let root = root();
    let a = child(&root, "a");
    let b = child(&a, "b");
    a.set_max_tasks(Some(2)).unwrap();
    let one = Charge::new(b.clone()).unwrap();
    let two = Charge::new(b.clone()).unwrap();
    assert_eq!(Charge::new(b.clone()).err(), Some(EAGAIN));
    assert_eq!((a.tasks(), b.tasks()), ((2, 2), (2, 3)));
    assert_eq!((a.limit_hits(), b.limit_hits()), ((1, 1), (0, 0)));
    drop(one);
    assert_eq!((a.tasks().0, b.tasks().0), (1, 1));
    // Its maker moved meanwhile, where no limit counts.
    a.set_max_tasks(Some(0)).unwrap();
    two.keep_in(&a);
    assert_eq!((a.tasks().0, b.tasks().0), (1, 0));
    a.remove_tasks(1);
    Charge::new(root.clone()).unwrap();
    assert_eq!((root.tasks(), a.tasks().0), ((0, 0), 0));
    root.forget_all();
}

#[test]
fn a_controller_is_handed_down_and_taken_back() {
    let root = root();
    let (a, owner) = (child(&root, "a"), (0, 0));
    let b = child(&a, "b");
    assert_eq!(a.set_hands_on_pids(true, owner), Err(ENOENT));
    root.set_hands_on_pids(true, owner).unwrap();
    a.set_hands_on_pids(true, owner).unwrap();
    b.set_max_tasks(Some(5)).unwrap();
    assert_eq!(root.set_hands_on_pids(false, owner), Err(EBUSY));
    a.set_hands_on_pids(false, owner).unwrap();
    assert_eq!((b.has_pids(), b.max_tasks()), (false, None));
    // The name of a file that is to come.
    child(&b, "pids.max");
    assert_eq!(a.set_hands_on_pids(true, owner), Err(EEXIST));
    assert!(!b.has_pids());
    assert_eq!(a.make_child(b"pids.max", &ATTR).err(), Some(EEXIST));
    root.forget_all();
}

#[test]
fn processes_and_controllers_do_not_mix() {
    let root = root();
    let (a, owner) = (child(&root, "a"), (0, 0));
    let b = child(&a, "b");
    root.set_hands_on_pids(true, owner).unwrap();
    let mut changes = Changes::default();
    let types = || (a.group_type(), b.group_type());
    let may_enter = || -> [Option<Errno>; 2] { [&a, &b].map(|group| group.check_may_enter().err()) };
    a.enter(&mut changes);
    b.enter(&mut changes);
    assert_eq!(a.set_hands_on_pids(true, owner), Err(EBUSY));
    b.leave(&mut changes);
    a.set_hands_on_pids(true, owner).unwrap();
    assert_eq!(types(), (GroupType::DomainThreaded, GroupType::DomainInvalid));
    assert_eq!(may_enter(), [None, Some(EOPNOTSUPP)]);
    a.leave(&mut changes);
    b.enter(&mut changes);
    assert_eq!(types(), (GroupType::Domain, GroupType::Domain));
    assert_eq!(may_enter(), [Some(EBUSY), None]);
    changes.tell();
    root.forget_all();
}
