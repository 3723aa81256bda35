//! Tests of pipes: what `pipe(7)` promises.

use alloc::vec;

use super::*;
use crate::errno::{ENOENT, ENXIO};
use crate::ipc::fifo::FifoOpener;
use crate::ipc::testing::{TestCaller, count_wakes, open_with, poll, read, write};
use crate::vfs::anon::{AnonInodes, AnonKind};
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::OpenFile;
use crate::vfs::inode::{Device, Inode};

const READ: OpenFlags = OpenFlags::empty();

fn pipe() -> (Arc<OpenFile>, Arc<OpenFile>) {
    let pipe = Pipe::new();
    let writing = OpenFlags::WRONLY;
    (open_with(pipe.open(READ), READ), open_with(pipe.open(writing), writing))
}

#[test]
fn small_writes_share_a_slot_and_whole_ones_do_not() {
    let (reader, writer) = pipe();
    for _ in 0..65536 {
        assert_eq!(write(&writer, b"x"), Ok(1));
    }
    assert_eq!(write(&writer, b"x"), Err(EAGAIN));
    assert_eq!(read(&reader, 70000).unwrap().len(), 65536);
    // Sixteen writes of 4095 bytes and then none, though bytes would fit: slots are what is counted.
    for _ in 0..16 {
        assert_eq!(write(&writer, &[0; 4095]), Ok(4095));
    }
    assert_eq!(write(&writer, &[0; 4095]), Err(EAGAIN));
    assert_eq!(write(&writer, b"y"), Ok(1), "into the last slot");
}

#[test]
fn an_atomic_write_is_never_torn() {
    let (reader, writer) = pipe();
    assert_eq!(write(&writer, &vec![1; 65536 - 4096 + 1]), Ok(65536 - 4096 + 1));
    assert_eq!(write(&writer, &[2; 4096]), Err(EAGAIN), "4095 bytes are free in the last slot");
    assert!(!poll(&writer).contains(Events::OUT));
    assert_eq!(read(&reader, 4096).unwrap().len(), 4096);
    assert_eq!(write(&writer, &[2; 4096]), Ok(4096));
}

#[test]
fn ends_tell_each_other() {
    let (reader, writer) = pipe();
    assert_eq!((poll(&reader), poll(&writer)), (Events::empty(), WRITABLE));
    write(&writer, b"ab").unwrap();
    drop(writer);
    assert_eq!(poll(&reader), READABLE | Events::HUP);
    assert_eq!(read(&reader, 8).as_deref(), Ok(&b"ab"[..]));
    assert_eq!(read(&reader, 8).as_deref(), Ok(&b""[..]));
    let (reader, writer) = pipe();
    drop(reader);
    assert_eq!(poll(&writer), WRITABLE | Events::ERR);
    assert_eq!(write(&writer, b"x"), Err(EPIPE));
}

#[test]
fn packets_are_read_one_at_a_time() {
    let pipe = Pipe::new();
    let reader = open_with(pipe.open(READ), READ);
    let packets = OpenFlags::WRONLY | OpenFlags::DIRECT;
    let writer = open_with(pipe.open(packets), packets);
    write(&writer, b"first").unwrap();
    write(&writer, b"second").unwrap();
    assert_eq!(read(&reader, 3).as_deref(), Ok(&b"fir"[..]), "the rest is thrown away");
    assert_eq!(read(&reader, 100).as_deref(), Ok(&b"second"[..]));
}

#[test]
fn every_write_and_only_the_read_that_makes_room_wakes() {
    let (reader, writer) = pipe();
    let (readers, writers) = (count_wakes(&reader, Events::IN), count_wakes(&writer, Events::OUT));
    write(&writer, b"a").unwrap();
    write(&writer, b"b").unwrap();
    assert_eq!(readers.take(), 2, "edge-triggered watchers hear of each");
    read(&reader, 1).unwrap();
    assert_eq!(writers.take(), 0);
    write(&writer, &vec![0; 70000]).unwrap();
    read(&reader, 1).unwrap();
    assert_eq!(writers.take(), 0, "a slot is not free before all of it is read");
    read(&reader, 4096).unwrap();
    assert_eq!(writers.take(), 1);
}

#[test]
fn size_is_in_powers_of_two_and_bounded() {
    let (reader, writer) = pipe();
    let set =
        |size: u64, caller: &TestCaller| reader.ops.control(Op { file: &reader, caller }, F_SETPIPE_SZ, size);
    let (root, user) = (TestCaller::root(), TestCaller::user());
    assert_eq!(set(5000, &user), Ok(8192));
    assert_eq!(set(0, &user), Ok(4096));
    assert_eq!(set(MAX_SIZE as u64 + 1, &user), Err(EPERM));
    assert_eq!(set(MAX_SIZE as u64 + 1, &root), Ok(2 << 20));
    assert_eq!(set(1 << 31, &root), Err(EPERM));
    write(&writer, &[0; 8192]).unwrap();
    assert_eq!(set(4096, &user), Err(EBUSY));
}

#[test]
fn opening_a_fifo_waits_for_the_other_side() {
    let inode: Arc<dyn Inode> =
        AnonInodes::default().inode(AnonKind::Pipe, &crate::task::cred::Cred::root(), 0);
    let caller = TestCaller::root();
    let open = |flags| {
        let ops = FifoOpener.open(&Special {
            device: Device::default(),
            inode: &inode,
            flags,
            caller: &caller,
            beside: &|_| Err(ENOENT),
        })?;
        Ok(open_with(ops, flags))
    };
    let finish = |file: &Arc<OpenFile>| file.ops.finish_open(Op { file, caller: &caller });
    let nonblocking = OpenFlags::WRONLY | OpenFlags::NONBLOCK;
    assert_eq!(open(nonblocking).err(), Some(ENXIO));
    let reader: Arc<OpenFile> = open(READ).unwrap();
    assert_eq!(finish(&reader), Err(EAGAIN));
    assert_eq!(poll(&reader), Events::empty(), "no hang-up before there was a writer");
    // A writer that came and went in between counts.
    drop(open(nonblocking).unwrap());
    assert_eq!(finish(&reader), Ok(()));
    assert_eq!(poll(&reader), Events::HUP);
    let writer = open(OpenFlags::WRONLY).unwrap();
    assert_eq!(finish(&writer), Ok(()));
    write(&writer, b"x").unwrap();
    drop((reader, writer));
    let both = open(OpenFlags::RDWR).unwrap();
    assert_eq!((finish(&both), read(&both, 1)), (Ok(()), Err(EAGAIN)), "contents end with the last user");
}
