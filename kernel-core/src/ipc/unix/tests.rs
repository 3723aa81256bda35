//! Tests of local sockets.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::socket::Shut;
use super::*;
use crate::errno::{
    EAGAIN, ECONNRESET, EINVAL, EISCONN, EMSGSIZE, ENOTCONN, EPERM, EPIPE, EPROTOTYPE, ETOOMANYREFS,
};
use crate::io::{SliceSource, VecSink};
use crate::ipc::testing::{TestCaller, count_wakes, open, poll, read, write};
use crate::sched::wait::Events;
use crate::vfs::file::OpenFile;

type Socket = Arc<UnixSocket>;

fn pair(kind: Kind) -> (Socket, Socket) {
    UnixSocket::pair(kind, &Arc::default(), &TestCaller::root())
}

fn name(bytes: &[u8]) -> Address {
    Address::Abstract(bytes.into())
}

fn listener(namespace: &Arc<Namespace>, backlog: i32) -> Socket {
    let socket = UnixSocket::new(Kind::Stream, namespace);
    socket.bind_abstract(&name(b"l")).unwrap();
    socket.listen(backlog, &TestCaller::root()).unwrap();
    socket
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> Result<usize> {
    socket.send(&mut SliceSource(bytes), &mut Ancillary::of(&TestCaller::root()), None)
}

fn send_files(socket: &UnixSocket, files: Vec<Arc<OpenFile>>) -> Result<usize> {
    let mut ancillary = Ancillary::of(&TestCaller::root());
    ancillary.rights = Some(socket.flight().send(files, &TestCaller::root())?);
    socket.send(&mut SliceSource(b"f"), &mut ancillary, None)
}

fn receive(socket: &UnixSocket, len: usize) -> Result<(Vec<u8>, Received)> {
    let mut sink = VecSink::new(len);
    let received = socket.receive(&mut sink, Take::Away, true)?;
    Ok((sink.bytes, received))
}

#[test]
fn a_stream_has_no_boundaries_and_packets_have() {
    let (one, two) = pair(Kind::Stream);
    send(&one, b"ab").unwrap();
    send(&one, b"cd").unwrap();
    assert_eq!(receive(&two, 3).unwrap().0, b"abc");
    assert_eq!(receive(&two, 3).unwrap().0, b"d");
    let (one, two) = pair(Kind::SeqPacket);
    send(&one, b"abc").unwrap();
    send(&one, b"").unwrap();
    let (bytes, received) = receive(&two, 2).unwrap();
    assert_eq!((bytes.as_slice(), received.full), (&b"ab"[..], 3), "the rest is lost");
    assert_eq!(receive(&two, 2).unwrap().0, b"");
    assert_eq!(receive(&two, 2).err(), Some(EAGAIN));
    assert_eq!(send(&one, &vec![0; 300_000]), Err(EMSGSIZE));
}

#[test]
fn a_full_buffer_holds_the_sender_back_until_most_is_free() {
    let (one, two) = pair(Kind::Stream);
    let file = open(one.clone());
    let wakes = count_wakes(&file, Events::OUT);
    let sent = send(&one, &vec![7; 1 << 20]).unwrap();
    assert!((200_000..300_000).contains(&sent), "{sent}");
    assert_eq!(send(&one, b"x"), Err(EAGAIN));
    assert!(!poll(&file).contains(Events::OUT));
    receive(&two, 32768).unwrap();
    assert_eq!(wakes.take(), 0);
    assert_eq!(receive(&two, 1 << 20).unwrap().0.len(), sent - 32768);
    assert_eq!(wakes.take(), 1);
}

#[test]
fn the_end_of_a_peer_is_seen() {
    let (one, two) = pair(Kind::Stream);
    let file = open(one.clone());
    send(&two, b"last").unwrap();
    drop(two);
    assert!(poll(&file).contains(Events::IN | Events::HUP | Events::RDHUP));
    assert_eq!(read(&file, 9).as_deref(), Ok(&b"last"[..]));
    assert_eq!(read(&file, 9).as_deref(), Ok(&b""[..]));
    assert_eq!(write(&file, b"x"), Err(EPIPE));
    let (one, two) = pair(Kind::Stream);
    send(&one, b"unread").unwrap();
    drop(two);
    assert_eq!(receive(&one, 1).err(), Some(ECONNRESET));
    assert_eq!(receive(&one, 1).unwrap().0, b"");
}

#[test]
fn shutting_down_is_seen_on_both_sides() {
    let (one, two) = pair(Kind::Stream);
    send(&one, b"x").unwrap();
    one.shutdown(Shut::SEND);
    assert_eq!(send(&one, b"y"), Err(EPIPE));
    assert_eq!(receive(&two, 9).unwrap().0, b"x");
    assert_eq!(receive(&two, 9).unwrap().0, b"");
    assert_eq!(send(&two, b"z"), Ok(1));
}

#[test]
fn connections_wait_for_room_and_are_accepted_in_order() {
    let namespace = Arc::default();
    let (root, server) = (TestCaller::root(), listener(&namespace, 0));
    let clients: Vec<Socket> = (0..2).map(|_| UnixSocket::new(Kind::Stream, &namespace)).collect();
    assert_eq!(server.accept().err(), Some(EAGAIN));
    clients[0].connect(&server, &root).unwrap();
    assert_eq!(clients[0].connect(&server, &root), Err(EAGAIN), "Linux looks at the queue first");
    let wakes = count_wakes(&open(clients[1].clone()), Events::OUT);
    assert_eq!(clients[1].connect(&server, &root), Err(EAGAIN));
    send(&clients[0], b"early").unwrap();
    let accepted = server.accept().unwrap();
    assert_eq!(wakes.take(), 1);
    assert_eq!(receive(&accepted, 9).unwrap().0, b"early");
    assert_eq!((accepted.name(), clients[0].peer_name()), (name(b"l"), Ok(name(b"l"))));
    assert_eq!(clients[0].connect(&server, &root), Err(EISCONN));
    assert_eq!(clients[0].peer_credentials().map(|peer| peer.pid), Some(7));
    clients[1].connect(&server, &root).unwrap();
    drop(server);
    assert_eq!(receive(&clients[1], 1).err(), Some(ECONNRESET), "never accepted");
    assert_eq!(namespace.find(b"l").err(), Some(ECONNREFUSED));
}

#[test]
fn names_are_taken_once_and_given_back() {
    let namespace = Arc::default();
    let one = UnixSocket::new(Kind::Datagram, &namespace);
    let two = UnixSocket::new(Kind::Datagram, &namespace);
    one.bind_abstract(&name(b"n")).unwrap();
    assert_eq!(one.bind_abstract(&name(b"m")), Err(EINVAL));
    assert_eq!(two.bind_abstract(&name(b"n")), Err(EADDRINUSE));
    drop(one);
    two.bind_abstract(&name(b"n")).unwrap();
    let three = UnixSocket::new(Kind::Datagram, &namespace);
    three.bind_abstract(&Address::Unnamed).unwrap();
    assert_eq!(three.name(), name(b"00000"));
}

#[test]
fn datagrams_go_where_they_may_and_wait_when_the_inbox_is_full() {
    let namespace = Arc::default();
    let make = |bytes: &[u8]| {
        let socket = UnixSocket::new(Kind::Datagram, &namespace);
        socket.bind_abstract(&name(bytes)).unwrap();
        socket
    };
    let (one, two, three) = (make(b"1"), make(b"2"), make(b"3"));
    assert_eq!(send(&one, b"x"), Err(ENOTCONN));
    let stream = UnixSocket::new(Kind::Stream, &namespace);
    assert_eq!(one.associate(Some(&stream)), Err(EPROTOTYPE));
    two.associate(Some(&three)).unwrap();
    assert_eq!(one.associate(Some(&two)), Err(EPERM), "it listens to another");
    two.associate(None).unwrap();
    one.associate(Some(&two)).unwrap();
    let file = open(one.clone());
    let sent = (0..100).take_while(|_| send(&one, b"x").is_ok()).count();
    assert_eq!(sent, 11, "as many as Linux lets wait");
    assert!(!poll(&file).contains(Events::OUT));
    let wakes = count_wakes(&file, Events::OUT);
    assert_eq!(receive(&two, 1).unwrap().1.from, Some(name(b"1")));
    assert_eq!(wakes.take(), 1);
    assert!(poll(&file).contains(Events::OUT));
    drop(two);
    assert_eq!(send(&one, b"x"), Err(ECONNREFUSED));
    assert_eq!(send(&one, b"x"), Err(ENOTCONN));
}

#[test]
fn descriptors_arrive_with_their_bytes() {
    let (one, two) = pair(Kind::Stream);
    send(&one, b"a").unwrap();
    send_files(&one, vec![open(two.clone())]).unwrap();
    send(&one, b"b").unwrap();
    let (bytes, received) = receive(&two, 9).unwrap();
    assert_eq!((bytes.as_slice(), received.files.len()), (&b"af"[..], 1), "and stop there");
    assert_eq!(receive(&two, 9).unwrap().0, b"b");
}

#[test]
fn descriptors_under_way_are_bounded_and_paid_back() {
    let (one, two) = pair(Kind::Datagram);
    let file = open(one.clone());
    let flight = one.flight().clone();
    let send = || flight.send(vec![file.clone(); 253], &TestCaller::root());
    let held: Vec<_> = (0..64).map(|_| send().unwrap()).collect();
    assert_eq!(send().err(), Some(ETOOMANYREFS));
    drop(held);
    assert!(send().is_ok());
    assert_eq!(flight.send(vec![file; 254], &TestCaller::root()).err(), Some(EINVAL));
    drop(two);
}

#[test]
fn sockets_inside_sockets_are_closed_without_recursion() {
    let namespace: Arc<Namespace> = Arc::default();
    // Each one is under way in the one before; closing the outermost must not use a stack frame for each.
    let mut inner = open(UnixSocket::new(Kind::Stream, &namespace));
    for _ in 0..10_000 {
        let (one, two) = UnixSocket::pair(Kind::Stream, &namespace, &TestCaller::root());
        send_files(&one, vec![inner]).unwrap();
        inner = open(two);
    }
    drop(inner);
    assert!(namespace.flight().send(vec![open(pair(Kind::Stream).0); 253], &TestCaller::root()).is_ok());
}

#[test]
fn sockets_that_nobody_can_reach_are_closed() {
    let namespace: Arc<Namespace> = Arc::default();
    let pair = || {
        let (one, two) = UnixSocket::pair(Kind::Stream, &namespace, &TestCaller::root());
        (open(one.clone()), open(two.clone()), one, two)
    };
    let (kept, kept_peer, kept_socket, _) = pair();
    let watched = open(UnixSocket::new(Kind::Stream, &namespace));
    let mut weak = Vec::new();
    for _ in 0..100 {
        // Each is in a message to the other, with another file behind them; and one pair that the kept one can receive.
        let (one, two, one_socket, two_socket) = pair();
        weak.extend([Arc::downgrade(&one), Arc::downgrade(&two)]);
        send_files(&one_socket, vec![one.clone(), watched.clone()]).unwrap();
        send_files(&two_socket, vec![two.clone()]).unwrap();
    }
    let (one, two, one_socket, _) = pair();
    send_files(&one_socket, vec![one.clone(), two.clone()]).unwrap();
    send_files(&kept_socket, vec![two]).unwrap();
    drop((one, one_socket, kept));
    drop(pair());
    assert!(weak.iter().all(|file| file.strong_count() == 0));
    assert_eq!(Arc::strong_count(&watched), 1);
    let files_to = |file: &OpenFile| {
        receive(file.ops.as_any().downcast_ref::<UnixSocket>().unwrap(), 9).unwrap().1.files
    };
    let inner = files_to(&kept_peer);
    assert_eq!(files_to(&inner[0]).len(), 2);
}
