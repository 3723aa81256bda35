//! Tests of epoll: level, edge and one-shot reports, removal, nesting.

use super::*;
use crate::errno::EAGAIN;
use crate::ipc::eventfd::{EventFd, ReadMode};
use crate::ipc::testing::{TestCaller, count_wakes, open, poll, read, write};

fn epoll(topology: &Arc<Topology>) -> (Arc<Epoll>, Arc<OpenFile>) {
    let epoll = Arc::new(Epoll::new(topology, 0));
    (epoll.clone(), open(epoll))
}

fn event() -> Arc<OpenFile> {
    open(Arc::new(EventFd::new(0, ReadMode::Value)))
}

fn ready(epoll: &Epoll) -> Vec<(u64, Events)> {
    let mut all = Vec::new();
    let emit = |events, data| {
        all.push((data, events));
        Ok(())
    };
    epoll.collect(16, &TestCaller::root(), emit).unwrap();
    all
}

fn add(epoll: &Epoll, fd: RawFd, file: &Arc<OpenFile>, events: u32) -> Result<()> {
    epoll.add(fd, file, Interest::from_raw(events, fd as u64), &TestCaller::root())
}

const ONE: [u8; 8] = 1u64.to_ne_bytes();

#[test]
fn level_edge_and_one_shot() {
    let (epoll, _file) = epoll(&Topology::new(64 << 20));
    let files = [event(), event(), event()];
    add(&epoll, 1, &files[0], sys::EPOLLIN).unwrap();
    add(&epoll, 2, &files[1], sys::EPOLLIN | sys::EPOLLET).unwrap();
    add(&epoll, 3, &files[2], sys::EPOLLIN | sys::EPOLLONESHOT).unwrap();
    assert_eq!(ready(&epoll), []);
    for file in &files {
        write(file, &ONE).unwrap();
    }
    assert_eq!(ready(&epoll), [1, 2, 3].map(|fd| (fd, Events::IN)));
    assert_eq!(ready(&epoll), [(1, Events::IN)]);
    for file in &files {
        write(file, &ONE).unwrap();
    }
    assert_eq!(ready(&epoll), [1, 2].map(|fd| (fd, Events::IN)));
    epoll.modify(3, &files[2], Interest::from_raw(sys::EPOLLIN, 33), &TestCaller::root()).unwrap();
    read(&files[0], 8).unwrap();
    assert_eq!(ready(&epoll), [(33, Events::IN)]);
}

#[test]
fn what_goes_away_is_forgotten() {
    let (epoll, file) = epoll(&Topology::new(64 << 20));
    let watched = event();
    add(&epoll, 1, &watched, sys::EPOLLIN).unwrap();
    assert_eq!(add(&epoll, 1, &watched, sys::EPOLLIN), Err(EEXIST));
    add(&epoll, 2, &watched, sys::EPOLLIN).unwrap();
    write(&watched, &ONE).unwrap();
    epoll.remove(2, &watched).unwrap();
    assert_eq!(epoll.remove(2, &watched), Err(ENOENT));
    assert_eq!(ready(&epoll).len(), 1);
    let ops = watched.ops.clone();
    drop(watched);
    assert_eq!((poll(&file), ready(&epoll).len()), (Events::empty(), 0));
    assert!(ops.wait_queue().unwrap().is_empty(), "nothing is left in the file's queue");
    let watched = event();
    add(&epoll, 1, &watched, sys::EPOLLIN).unwrap();
    drop((epoll, file));
    assert!(watched.ops.wait_queue().unwrap().is_empty());
}

#[test]
fn a_failed_copy_loses_no_event() {
    let (epoll, _file) = epoll(&Topology::new(64 << 20));
    let watched = event();
    add(&epoll, 1, &watched, sys::EPOLLIN | sys::EPOLLET | sys::EPOLLONESHOT).unwrap();
    write(&watched, &ONE).unwrap();
    assert_eq!(epoll.collect(1, &TestCaller::root(), |_, _| Err(EAGAIN)), Err(EAGAIN));
    assert_eq!(ready(&epoll), [(1, Events::IN)]);
}

#[test]
fn nested_instances_report_and_do_not_loop() {
    let topology = Topology::new(64 << 20);
    let chain: Vec<_> = (0..6).map(|_| epoll(&topology)).collect();
    let watched = event();
    add(&chain[0].0, 9, &watched, sys::EPOLLIN).unwrap();
    for index in 1..5 {
        add(&chain[index].0, 1, &chain[index - 1].1, sys::EPOLLIN | sys::EPOLLET).unwrap();
    }
    assert_eq!(add(&chain[5].0, 1, &chain[4].1, sys::EPOLLIN), Err(ELOOP), "too deep");
    assert_eq!(add(&chain[0].0, 1, &chain[2].1, sys::EPOLLIN), Err(ELOOP), "a loop");
    assert_eq!(add(&chain[0].0, 1, &chain[0].1, sys::EPOLLIN), Err(EINVAL), "itself");
    let wakes = count_wakes(&chain[4].1, Events::IN);
    write(&watched, &ONE).unwrap();
    assert!(wakes.take() > 0);
    assert_eq!(ready(&chain[4].0), [(1, Events::IN)]);
    assert_eq!(ready(&chain[0].0), [(9, Events::IN)]);
    assert_eq!(ready(&chain[4].0), [], "putting back what stays ready is no new edge");
}

#[test]
fn exclusive_watches_are_restricted() {
    let topology = Topology::new(64 << 20);
    let ((epoll, _file), (_, nested)) = (epoll(&topology), epoll(&topology));
    let watched = event();
    let exclusive = sys::EPOLLIN | sys::EPOLLEXCLUSIVE;
    assert_eq!(add(&epoll, 1, &nested, exclusive), Err(EINVAL));
    assert_eq!(add(&epoll, 1, &watched, exclusive | sys::EPOLLPRI), Err(EINVAL));
    assert_eq!(add(&epoll, 1, &watched, exclusive), Ok(()));
    let change = Interest::from_raw(sys::EPOLLIN, 0);
    assert_eq!(epoll.modify(1, &watched, change, &TestCaller::root()), Err(EINVAL));
}

#[test]
fn ways_of_an_event_and_watches_of_a_user_are_bounded() {
    let topology = Topology::new(64 << 20);
    let watched = event();
    let (middle, middle_file) = epoll(&topology);
    add(&middle, 1, &watched, sys::EPOLLIN).unwrap();
    let tops: Vec<_> = (0..501).map(|_| epoll(&topology)).collect();
    let (last, others) = tops.split_last().unwrap();
    for (top, _) in others {
        add(top, 1, &middle_file, sys::EPOLLIN).unwrap();
    }
    assert_eq!(add(&last.0, 1, &middle_file, sys::EPOLLIN), Err(EINVAL));
    assert_eq!(add(&middle, 2, &event(), sys::EPOLLIN), Ok(()), "another file has ways of its own");
    let (another, another_file) = epoll(&topology);
    add(&last.0, 1, &another_file, sys::EPOLLIN).unwrap();
    assert_eq!(add(&another, 1, &watched, sys::EPOLLIN), Err(EINVAL), "the file itself, by another way");
    topology.most_watches.set(1).unwrap();
    let (first, second) = (epoll(&topology), event());
    assert_eq!(add(&first.0, 1, &second, sys::EPOLLIN), Err(ENOSPC));
    drop((tops, middle, middle_file, another, another_file));
    assert_eq!(add(&first.0, 1, &second, sys::EPOLLIN), Ok(()));
    assert_eq!(add(&first.0, 2, &second, sys::EPOLLIN), Err(ENOSPC));
}
