//! Sockets of the Unix domain. unix(7), recv(2), shutdown(2).

use std::ffi::CStr;
use std::ptr::null_mut;

use libc::{c_int, c_void, msghdr, sockaddr_un, socklen_t};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    stream_pair_is_a_byte_stream,
    datagrams_keep_borders,
    seqpacket_keeps_borders_and_ends,
    socket_refuses,
    bind_listen_accept_connect,
    abstract_names,
    connect_errors,
    bind_errors,
    accept_waits_and_accept4_flags,
    nonblocking_accept,
    backlog_blocks_connect,
    names_are_told,
    descriptors_are_passed,
    descriptors_close_on_exec,
    passed_descriptors_truncated,
    credentials_are_passed,
    peercred_tells,
    shutdown_ends_a_side,
    peer_close_is_seen,
    sigpipe_and_nosignal,
    msg_peek,
    msg_trunc_and_waitall,
    dontwait,
    datagram_connect_and_sendto,
    datagrams_of_a_peer_are_lost_with_it,
    options_are_told,
    receive_timeout,
    poll_of_sockets,
    read_and_write_work,
    autobind,
];

const STREAM: c_int = libc::SOCK_STREAM;

unsafe fn pair(kind: c_int) -> Done<(c_int, c_int)> {
    let mut both = [0; 2];
    ok(libc::socketpair(libc::AF_UNIX, kind, 0, both.as_mut_ptr()))?;
    Ok((both[0], both[1]))
}

unsafe fn socket(kind: c_int) -> Done<c_int> {
    ok(libc::socket(libc::AF_UNIX, kind, 0))
}

/// An address; its first byte may be 0 (abstract).
fn address(name: &[u8]) -> (sockaddr_un, socklen_t) {
    let mut all = sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    all.sun_path.iter_mut().zip(name).for_each(|(to, from)| *to = *from as i8);
    (all, 2 + name.len() as socklen_t)
}

unsafe fn bind(fd: c_int, name: &[u8]) -> c_int {
    let (address, len) = address(name);
    libc::bind(fd, (&raw const address).cast(), len)
}

unsafe fn connect(fd: c_int, name: &[u8]) -> c_int {
    let (address, len) = address(name);
    libc::connect(fd, (&raw const address).cast(), len)
}

unsafe fn listener(kind: c_int, name: &[u8]) -> Done<c_int> {
    let fd = socket(kind)?;
    ok(bind(fd, name))?;
    ok(libc::listen(fd, 5))?;
    Ok(fd)
}

unsafe fn send(fd: c_int, bytes: &[u8], flags: c_int) -> isize {
    libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags)
}

unsafe fn recv(fd: c_int, len: usize, flags: c_int) -> Done<Vec<u8>> {
    let mut buffer = vec![0u8; len];
    let n = ok(libc::recv(fd, buffer.as_mut_ptr().cast(), len, flags))? as usize;
    buffer.truncate(n);
    Ok(buffer)
}

unsafe fn recv_fails(fd: c_int, flags: c_int, errno: c_int) -> Done {
    let mut byte = 0u8;
    fails(libc::recv(fd, (&raw mut byte).cast(), 1, flags), errno)
}

unsafe fn stream_pair_is_a_byte_stream() -> Done {
    let (a, b) = pair(STREAM)?;
    put(a, b"one")?;
    put(a, b"two")?;
    eq(recv(b, 4, 0)?, b"onet")?;
    eq(recv(b, 9, 0)?, b"wo")?;
    put(b, b"back")?;
    eq(recv(a, 9, 0)?, b"back")
}

unsafe fn datagrams_keep_borders() -> Done {
    let (a, b) = pair(libc::SOCK_DGRAM)?;
    put(a, b"first")?;
    put(a, b"second")?;
    eq(recv(b, 3, 0)?, b"fir")?; // the rest of it is lost
    eq(recv(b, 99, 0)?, b"second")?;
    put(a, b"")?; // an empty one counts
    eq(recv(b, 99, 0)?, b"")?;
    recv_fails(b, libc::MSG_DONTWAIT, libc::EAGAIN)
}

unsafe fn seqpacket_keeps_borders_and_ends() -> Done {
    let (a, b) = pair(libc::SOCK_SEQPACKET)?;
    put(a, b"first")?;
    put(a, b"second")?;
    ok(libc::close(a))?;
    eq(recv(b, 99, 0)?, b"first")?;
    eq(recv(b, 3, 0)?, b"sec")?;
    eq(recv(b, 99, 0)?, b"")
}

unsafe fn socket_refuses() -> Done {
    fails(libc::socket(99, STREAM, 0), libc::EAFNOSUPPORT)?;
    fails(libc::socket(libc::AF_UNIX, 9, 0), libc::ESOCKTNOSUPPORT)?;
    fails(libc::socket(libc::AF_UNIX, STREAM, 9), libc::EPROTONOSUPPORT)?;
    fails(libc::socket(libc::AF_UNIX, STREAM | 0x100, 0), libc::EINVAL)?;
    let fd = ok(libc::socket(libc::AF_UNIX, STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0))?;
    eq(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC)?;
    fails(libc::listen(2, 1), libc::ENOTSOCK)?;
    fails(libc::listen(999, 1), libc::EBADF)
}

unsafe fn bind_listen_accept_connect() -> Done {
    let server = listener(STREAM, b"sock\0")?;
    let client = socket(STREAM)?;
    ok(connect(client, b"sock\0"))?;
    let served = ok(libc::accept(server, null_mut(), null_mut()))?;
    put(client, b"hello")?;
    eq(get(served)?, b"hello")?;
    put(served, b"world")?;
    eq(get(client)?, b"world")?;
    let mut stat: libc::stat = std::mem::zeroed();
    ok(libc::stat(c"sock".as_ptr(), &mut stat))?;
    eq(stat.st_mode & libc::S_IFMT, libc::S_IFSOCK)?;
    fails(libc::open(c"sock".as_ptr(), libc::O_RDWR), libc::ENXIO)
}

unsafe fn abstract_names() -> Done {
    let name = format!("\0abi-{}", libc::getpid());
    let server = listener(STREAM, name.as_bytes())?;
    let client = socket(STREAM)?;
    fails(connect(client, &name.as_bytes()[..4]), libc::ECONNREFUSED)?;
    ok(connect(client, name.as_bytes()))?;
    fails(bind(socket(STREAM)?, name.as_bytes()), libc::EADDRINUSE)?;
    ok(libc::close(server))?;
    ok(bind(socket(STREAM)?, name.as_bytes())).map(drop) // free at once
}

unsafe fn connect_errors() -> Done {
    let fd = socket(STREAM)?;
    fails(connect(fd, b"none\0"), libc::ENOENT)?;
    ok(libc::close(file(c"f", b"")?))?;
    fails(connect(fd, b"f\0"), libc::ECONNREFUSED)?;
    ok(bind(socket(STREAM)?, b"deaf\0"))?;
    fails(connect(fd, b"deaf\0"), libc::ECONNREFUSED)?;
    listener(libc::SOCK_SEQPACKET, b"seq\0")?;
    fails(connect(fd, b"seq\0"), libc::EPROTOTYPE)?;
    listener(STREAM, b"s\0")?;
    ok(connect(fd, b"s\0"))?;
    fails(connect(fd, b"s\0"), libc::EISCONN)?;
    fails(send(socket(STREAM)?, b"x", 0), libc::ENOTCONN)
}

unsafe fn bind_errors() -> Done {
    let fd = socket(STREAM)?;
    ok(libc::close(file(c"f", b"")?))?;
    fails(bind(fd, b"f\0"), libc::EADDRINUSE)?;
    fails(bind(fd, b"none/x\0"), libc::ENOENT)?;
    let (mut all, len) = address(b"x\0");
    fails(libc::bind(fd, (&raw const all).cast(), 1), libc::EINVAL)?;
    fails(libc::bind(fd, (&raw const all).cast(), 200), libc::EINVAL)?;
    all.sun_family = libc::AF_INET as u16;
    fails(libc::bind(fd, (&raw const all).cast(), len), libc::EINVAL)?;
    ok(bind(fd, b"mine\0"))?;
    fails(bind(fd, b"again\0"), libc::EINVAL)
}

unsafe fn accept_waits_and_accept4_flags() -> Done {
    let server = listener(STREAM, b"s\0")?;
    let me = libc::getpid();
    let pid = spawn(|| {
        asleep(me);
        let client = socket(STREAM)?;
        ok(connect(client, b"s\0"))?;
        put(client, b"hi")
    })?;
    let fd = ok(libc::accept4(server, null_mut(), null_mut(), libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK))?;
    eq(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC)?;
    join(pid)?;
    eq(get(fd)?, b"hi")?;
    eq(get(fd)?, b"")?;
    fails(libc::accept4(server, null_mut(), null_mut(), 1), libc::EINVAL)?;
    fails(libc::accept(fd, null_mut(), null_mut()), libc::EINVAL)
}

unsafe fn nonblocking_accept() -> Done {
    let server = listener(STREAM | libc::SOCK_NONBLOCK, b"s\0")?;
    fails(libc::accept(server, null_mut(), null_mut()), libc::EAGAIN)?;
    let client = socket(STREAM)?;
    ok(connect(client, b"s\0"))?;
    let mut one = libc::pollfd { fd: server, events: libc::POLLIN, revents: 0 };
    eq(libc::poll(&mut one, 1, 1000), 1)?;
    let fd = ok(libc::accept(server, null_mut(), null_mut()))?;
    eq(libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK, 0) // not inherited
}

unsafe fn backlog_blocks_connect() -> Done {
    let server = socket(STREAM)?;
    ok(bind(server, b"s\0"))?;
    ok(libc::listen(server, 0))?;
    ok(connect(socket(STREAM)?, b"s\0"))?; // one more than the backlog fits
    fails(connect(socket(STREAM | libc::SOCK_NONBLOCK)?, b"s\0"), libc::EAGAIN)?;
    ok(libc::accept(server, null_mut(), null_mut()))?;
    ok(connect(socket(STREAM | libc::SOCK_NONBLOCK)?, b"s\0")).map(drop)
}

unsafe fn name_of_socket(fd: c_int, peer: bool) -> Done<Vec<u8>> {
    let (mut all, mut len) = (address(b"").0, 110);
    let at = (&raw mut all).cast();
    ok(if peer { libc::getpeername(fd, at, &mut len) } else { libc::getsockname(fd, at, &mut len) })?;
    Ok(all.sun_path[..len as usize - 2].iter().map(|byte| *byte as u8).collect())
}

unsafe fn names_are_told() -> Done {
    let server = listener(STREAM, b"s\0")?;
    let client = socket(STREAM)?;
    ok(connect(client, b"s\0"))?;
    let served = ok(libc::accept(server, null_mut(), null_mut()))?;
    eq(name_of_socket(server, false)?, b"s\0")?;
    eq(name_of_socket(client, true)?, b"s\0")?;
    eq(name_of_socket(served, false)?, b"s\0")?;
    eq(name_of_socket(served, true)?, b"")?;
    let mut len: socklen_t = 0;
    fails(libc::getpeername(server, null_mut(), &mut len), libc::ENOTCONN)
}

/// Sends one byte with a control message.
unsafe fn send_control(fd: c_int, kind: c_int, data: &[u8]) -> isize {
    let (mut byte, mut control) = (b'x', [0u64; 16]);
    let mut piece = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message: msghdr = std::mem::zeroed();
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = libc::CMSG_SPACE(data.len() as u32) as usize;
    let header = libc::CMSG_FIRSTHDR(&message);
    (*header).cmsg_level = libc::SOL_SOCKET;
    (*header).cmsg_type = kind;
    (*header).cmsg_len = libc::CMSG_LEN(data.len() as u32) as usize;
    std::ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(header), data.len());
    libc::sendmsg(fd, &message, 0)
}

/// Receives a message with room for `room` bytes of control; returns (kind, its words, flags).
unsafe fn receive_control(fd: c_int, room: usize, flags: c_int) -> Done<(c_int, Vec<c_int>, c_int)> {
    let (mut byte, mut control) = (0u8, [0u64; 16]);
    let mut piece = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message: msghdr = std::mem::zeroed();
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = room;
    eq(ok(libc::recvmsg(fd, &mut message, flags))?, 1)?;
    let header = libc::CMSG_FIRSTHDR(&message);
    if header.is_null() {
        return Ok((0, Vec::new(), message.msg_flags));
    }
    let n = ((*header).cmsg_len - 16) / 4;
    let words = (0..n).map(|i| libc::CMSG_DATA(header).cast::<c_int>().add(i).read_unaligned()).collect();
    Ok(((*header).cmsg_type, words, message.msg_flags))
}

unsafe fn descriptors_are_passed() -> Done {
    let ((a, b), (r, w)) = (pair(STREAM)?, pipe()?);
    eq(ok(send_control(a, libc::SCM_RIGHTS, &w.to_ne_bytes()))?, 1)?;
    ok(libc::close(w))?;
    let (kind, fds, flags) = receive_control(b, 64, 0)?;
    eq((kind, fds.len(), flags), (libc::SCM_RIGHTS, 1, 0))?;
    put(fds[0], b"through")?;
    eq(get(r)?, b"through")?;
    fails(send_control(a, libc::SCM_RIGHTS, &999i32.to_ne_bytes()), libc::EBADF)
}

unsafe fn descriptors_close_on_exec() -> Done {
    let (a, b) = pair(libc::SOCK_DGRAM)?;
    ok(send_control(a, libc::SCM_RIGHTS, &2i32.to_ne_bytes()))?;
    let (_, fds, _) = receive_control(b, 64, libc::MSG_CMSG_CLOEXEC)?;
    eq(libc::fcntl(fds[0], libc::F_GETFD), libc::FD_CLOEXEC)
}

unsafe fn passed_descriptors_truncated() -> Done {
    let (a, b) = pair(STREAM)?;
    let two = [2i32.to_ne_bytes(), 2i32.to_ne_bytes()].concat();
    ok(send_control(a, libc::SCM_RIGHTS, &two))?;
    let (_, fds, flags) = receive_control(b, 20, 0)?; // room for one
    eq((fds.len(), flags), (1, libc::MSG_CTRUNC))?;
    ok(send_control(a, libc::SCM_RIGHTS, &two))?;
    eq(get(b)?, b"x")?; // read() drops them
    ok(send_control(a, libc::SCM_RIGHTS, &two))?;
    let (_, fds, flags) = receive_control(b, 0, 0)?;
    eq((fds.len(), flags), (0, libc::MSG_CTRUNC))
}

unsafe fn set_option(fd: c_int, option: c_int, value: c_int) -> c_int {
    libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const value).cast(), 4)
}

unsafe fn credentials_are_passed() -> Done {
    let (a, b) = pair(STREAM)?;
    ok(set_option(b, libc::SO_PASSCRED, 1))?;
    let pid = spawn(|| put(a, b"x"))?;
    join(pid)?;
    let (kind, words, _) = receive_control(b, 64, 0)?;
    eq((kind, words), (libc::SCM_CREDENTIALS, vec![pid, libc::getuid() as c_int, libc::getgid() as c_int]))?;
    in_child(|| {
        drop_root()?;
        let forged = [1i32.to_ne_bytes(), 0i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat();
        fails(send_control(a, libc::SCM_CREDENTIALS, &forged), libc::EPERM)
    })
}

unsafe fn peercred_tells() -> Done {
    let (a, _b) = pair(STREAM)?;
    let (mut peer, mut len) = ([0i32; 3], 12);
    let at = peer.as_mut_ptr().cast();
    ok(libc::getsockopt(a, libc::SOL_SOCKET, libc::SO_PEERCRED, at, &mut len))?;
    eq(peer, [libc::getpid(), libc::getuid() as i32, libc::getgid() as i32])
}

unsafe fn shutdown_ends_a_side() -> Done {
    let (a, b) = pair(STREAM)?;
    put(a, b"last")?;
    ok(libc::shutdown(a, libc::SHUT_WR))?;
    eq((get(b)?, get(b)?), (b"last".to_vec(), Vec::new()))?;
    fails(send(a, b"x", libc::MSG_NOSIGNAL), libc::EPIPE)?;
    put(b, b"back")?; // the other direction lives on
    eq(get(a)?, b"back")?;
    fails(libc::shutdown(a, 9), libc::EINVAL)?;
    ok(libc::shutdown(socket(STREAM)?, libc::SHUT_RD))?; // no peer is needed
    // Who waits for a datagram is told of the end, who does not is told that there is none.
    let mut byte = 0u8;
    let at = (&raw mut byte).cast::<libc::c_void>();
    let receive = |fd, flags| libc::recv(fd, at, 1, flags);
    for (kind, end) in [(libc::SOCK_DGRAM, -1), (libc::SOCK_SEQPACKET, 0), (STREAM, 0)] {
        let (a, _b) = pair(kind)?;
        ok(libc::shutdown(a, libc::SHUT_RD))?;
        eq((receive(a, 0), receive(a, libc::MSG_DONTWAIT)), (0, end))?;
        ok(libc::fcntl(a, libc::F_SETFL, libc::O_NONBLOCK))?;
        eq((receive(a, 0), libc::read(a, at, 1)), (end, end))?;
    }
    Ok(())
}

unsafe fn peer_close_is_seen() -> Done {
    let (a, b) = pair(STREAM)?;
    put(a, b"left")?;
    ok(libc::close(b))?; // with unread data
    recv_fails(a, 0, libc::ECONNRESET)?;
    let (a, b) = pair(STREAM)?;
    ok(libc::close(b))?;
    eq(get(a)?, b"")
}

unsafe fn sigpipe_and_nosignal() -> Done {
    let (a, b) = pair(STREAM)?;
    ok(libc::close(b))?;
    fails(send(a, b"x", libc::MSG_NOSIGNAL), libc::EPIPE)?;
    let pid = spawn(|| {
        send(a, b"x", 0);
        Ok(())
    })?;
    dies_of(pid, libc::SIGPIPE)
}

unsafe fn msg_peek() -> Done {
    let (a, b) = pair(STREAM)?;
    put(a, b"hello")?;
    eq(recv(b, 3, libc::MSG_PEEK)?, b"hel")?;
    eq(recv(b, 9, 0)?, b"hello")
}

unsafe fn msg_trunc_and_waitall() -> Done {
    let (a, b) = pair(libc::SOCK_DGRAM)?;
    put(a, b"0123456789")?;
    let mut four = [0u8; 4];
    eq(libc::recv(b, four.as_mut_ptr().cast(), 4, libc::MSG_TRUNC), 10)?; // its real length
    let (a, b) = pair(STREAM)?;
    let pid = spawn(|| {
        put(a, b"ab")?;
        sleep_ms(30);
        put(a, b"cd")
    })?;
    eq(recv(b, 4, libc::MSG_WAITALL)?, b"abcd")?;
    join(pid)
}

unsafe fn dontwait() -> Done {
    let (a, b) = pair(STREAM)?;
    recv_fails(b, libc::MSG_DONTWAIT, libc::EAGAIN)?;
    let block = [0u8; 4096];
    let mut total = 0;
    while send(a, &block, libc::MSG_DONTWAIT) > 0 {
        total += 1;
        check(total < 10_000, "a limit")?;
    }
    eq(errno(), libc::EAGAIN)
}

unsafe fn datagram_connect_and_sendto() -> Done {
    let (server, client) = (socket(libc::SOCK_DGRAM)?, socket(libc::SOCK_DGRAM)?);
    ok(bind(server, b"server\0"))?;
    ok(bind(client, b"client\0"))?;
    fails(send(client, b"x", 0), libc::ENOTCONN)?;
    let (to, len) = address(b"server\0");
    eq(libc::sendto(client, b"hi".as_ptr().cast(), 2, 0, (&raw const to).cast(), len), 2)?;
    let (mut from, mut len, mut bytes) = (address(b"").0, 110, [0u8; 9]);
    let at = (&raw mut from).cast();
    eq(libc::recvfrom(server, bytes.as_mut_ptr().cast(), 9, 0, at, &mut len), 2)?;
    eq(CStr::from_ptr(from.sun_path.as_ptr()), c"client")?;
    ok(connect(client, b"server\0"))?;
    put(client, b"again")?;
    eq(get(server)?, b"again")
}

/// What has come from a peer is lost with that peer, who is told if he had this one for a peer too.
unsafe fn datagrams_of_a_peer_are_lost_with_it() -> Done {
    let (a, b) = pair(libc::SOCK_DGRAM)?;
    eq(send(a, b"to b", 0), 4)?;
    ok(libc::close(a))?;
    fails(send(b, b"to a", 0), libc::ECONNREFUSED)?;
    recv_fails(b, libc::MSG_DONTWAIT, libc::EAGAIN)?;
    fails(send(b, b"to a", 0), libc::ENOTCONN)?;
    let (a, b) = pair(libc::SOCK_DGRAM)?;
    // What this side says comes first.
    let (c, d) = pair(libc::SOCK_DGRAM)?;
    ok(libc::close(c))?;
    ok(libc::shutdown(d, libc::SHUT_WR))?;
    fails(send(d, b"to c", libc::MSG_NOSIGNAL), libc::EPIPE)?;
    fails(send(d, &vec![0; 1 << 20], libc::MSG_NOSIGNAL), libc::EMSGSIZE)?;
    let other = socket(libc::SOCK_DGRAM)?;
    ok(bind(other, b"\0other"))?;
    eq(send(a, b"to b", 0), 4)?;
    eq(send(b, b"to a", 0), 4)?;
    ok(connect(b, b"\0other"))?;
    recv_fails(b, libc::MSG_DONTWAIT, libc::EAGAIN)?;
    recv_fails(a, libc::MSG_DONTWAIT, libc::ECONNRESET)?;
    eq(recv(a, 10, libc::MSG_DONTWAIT)?, b"to a")?;
    fails(send(a, b"to b", 0), libc::EPERM)
}

unsafe fn option(fd: c_int, option: c_int) -> Done<c_int> {
    let (mut value, mut len) = (0 as c_int, 4);
    ok(libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut len))?;
    Ok(value)
}

unsafe fn options_are_told() -> Done {
    let server = listener(STREAM, b"s\0")?;
    eq(option(server, libc::SO_TYPE)?, STREAM)?;
    eq(option(server, libc::SO_DOMAIN)?, libc::AF_UNIX)?;
    eq(option(server, libc::SO_ACCEPTCONN)?, 1)?;
    eq(option(server, libc::SO_ERROR)?, 0)?;
    check(option(server, libc::SO_SNDBUF)? > 4096, "a buffer")?;
    let (mut value, mut len) = (0 as c_int, 4);
    let at: *mut c_void = (&raw mut value).cast();
    fails(libc::getsockopt(server, libc::SOL_SOCKET, 9999, at, &mut len), libc::ENOPROTOOPT)?;
    fails(libc::getsockopt(2, libc::SOL_SOCKET, libc::SO_TYPE, at, &mut len), libc::ENOTSOCK)
}

unsafe fn receive_timeout() -> Done {
    let (a, _b) = pair(STREAM)?;
    let time = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
    ok(libc::setsockopt(a, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const time).cast(), 16))?;
    let begin = now_ms();
    recv_fails(a, 0, libc::EAGAIN)?;
    check((45..2000).contains(&(now_ms() - begin)), "it took 50 ms")
}

unsafe fn poll_of_sockets() -> Done {
    let (a, b) = pair(STREAM)?;
    let events = |fd: c_int| {
        let all = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
        let mut one = libc::pollfd { fd, events: all, revents: 0 };
        ok(libc::poll(&mut one, 1, 0))?;
        Done::Ok(one.revents)
    };
    eq(events(a)?, libc::POLLOUT)?;
    put(b, b"x")?;
    eq(events(a)?, libc::POLLOUT | libc::POLLIN)?;
    ok(libc::shutdown(b, libc::SHUT_WR))?;
    eq(events(a)?, libc::POLLOUT | libc::POLLIN | libc::POLLRDHUP)?;
    ok(libc::close(b))?;
    eq(events(a)? & libc::POLLHUP, libc::POLLHUP)
}

unsafe fn read_and_write_work() -> Done {
    let (a, b) = pair(STREAM)?;
    let pid = spawn(|| {
        ok(libc::close(b))?;
        put(a, &vec![5u8; 500_000])
    })?;
    ok(libc::close(a))?;
    let mut total = 0;
    loop {
        match get(b)?.len() {
            0 => break,
            n => total += n,
        }
    }
    eq(total, 500_000)?;
    join(pid)?;
    fails(libc::lseek(b, 0, libc::SEEK_CUR), libc::ESPIPE)
}

unsafe fn autobind() -> Done {
    let fd = socket(libc::SOCK_DGRAM)?;
    ok(bind(fd, b""))?;
    let name = name_of_socket(fd, false)?;
    eq((name.len(), name[0]), (6, 0)) // abstract, five digits
}
