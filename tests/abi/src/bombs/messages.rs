//! Bombs of pipes, sockets, epoll, queues: what descriptors stand for, and what is sent.

use std::mem::size_of_val;
use std::ptr::null;

use libc::c_int;

use super::{in_children, many_descriptors, refused};

/// Pipes, each full.
pub fn pipes() {
    many_descriptors();
    let bytes = [1u8; 65536];
    let mut ends = [0; 2];
    let mut count = 0;
    // SAFETY: arrays live.
    unsafe {
        while libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK) == 0 {
            while libc::write(ends[1], bytes.as_ptr().cast(), bytes.len()) > 0 {}
            count += 1;
        }
    }
    refused(format_args!("{count} pipes"));
}

/// Descriptors of the smallest kind of file, in many processes.
pub fn eventfds() {
    many_descriptors();
    in_children(|| {
        let mut count = 0;
        // SAFETY: no memory is involved.
        while unsafe { libc::eventfd(0, 0) } != -1 {
            count += 1;
        }
        count > 0
    });
}

/// Watches of one file by all of its descriptors, in many instances.
pub fn epolls() {
    many_descriptors();
    let mut count = 0;
    // SAFETY: the event lives.
    unsafe {
        let file = libc::eventfd(1, 0);
        let fds: Vec<c_int> = (0..1000).map(|_| libc::dup(file)).collect();
        'all: loop {
            let epoll = libc::epoll_create1(0);
            if epoll == -1 {
                break;
            }
            for &fd in &fds {
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                if libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) != 0 {
                    break 'all;
                }
                count += 1;
            }
        }
    }
    refused(format_args!("{count} watches"));
}

/// Instances in each other, as deep and as wide as can be; and the event that goes through all.
pub fn nested_epolls() {
    many_descriptors();
    // SAFETY: the event lives.
    unsafe {
        let file = libc::eventfd(0, 0);
        let mut level = vec![file];
        for depth in 0..8 {
            let mut next = Vec::new();
            for _ in 0..64 {
                let epoll = libc::epoll_create1(0);
                let mut in_it = 0;
                for &fd in &level {
                    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                    in_it += i32::from(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) == 0);
                }
                if in_it > 0 {
                    next.push(epoll);
                }
            }
            if next.is_empty() {
                refused(format_args!("{depth} levels"));
                break;
            }
            level = next;
        }
        for _ in 0..100 {
            libc::eventfd_write(file, 1);
            let mut value = 0;
            libc::eventfd_read(file, &mut value);
        }
    }
}

/// Sends descriptors with one byte.
unsafe fn send(by: c_int, fds: &[c_int]) -> isize {
    let mut byte = 0u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = [0u64; 32];
    let mut message: libc::msghdr = std::mem::zeroed();
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = libc::CMSG_SPACE(size_of_val(fds) as u32) as usize;
    let head = libc::CMSG_FIRSTHDR(&message);
    (*head).cmsg_level = libc::SOL_SOCKET;
    (*head).cmsg_type = libc::SCM_RIGHTS;
    (*head).cmsg_len = libc::CMSG_LEN(size_of_val(fds) as u32) as usize;
    std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(head).cast(), fds.len());
    libc::sendmsg(by, &message, libc::MSG_DONTWAIT)
}

/// Sockets that are sent over each other, and then closed: each is in a message to the next.
pub fn sockets_in_flight() {
    in_children(|| {
        let mut ends = [0; 2];
        let mut last = -1;
        let mut count = 0;
        // SAFETY: arrays live.
        unsafe {
            while count < 1_000_000
                && libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) == 0
            {
                if last >= 0 {
                    if send(ends[0], &[last]) < 0 {
                        break;
                    }
                    libc::close(last);
                }
                libc::close(ends[0]);
                last = ends[1];
                count += 1;
            }
            // And a circle: a socket in a message to itself.
            libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr());
            send(ends[0], &ends);
            libc::close(ends[0]);
            libc::close(ends[1]);
        }
        refused(format_args!("{count} sockets"));
        count > 1
    });
}

/// Full sockets, each of which is in a message to itself, and closed.
pub fn circles_in_flight() {
    let bytes = [1u8; 65536];
    let mut ends = [0; 2];
    let mut count = 0;
    // SAFETY: arrays live.
    unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        while count < 20_000 && libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) == 0 {
            if send(ends[0], &ends) < 0 {
                break;
            }
            for fd in ends {
                while libc::write(fd, bytes.as_ptr().cast(), bytes.len()) > 0 {}
                libc::close(fd);
            }
            count += 1;
        }
    }
    refused(format_args!("{count} circles"));
}

/// Full sockets that children send to their parent, and end: what they made is nobody's but the parent's.
pub fn orphans_in_flight() {
    let mut ends = [0; 2];
    let mut boxes = Vec::new();
    let mut count = 0;
    // SAFETY: arrays live; children leave by _exit.
    unsafe {
        loop {
            if count % 64 == 0 {
                if libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) != 0 {
                    break;
                }
                boxes.push(ends);
            }
            let pid = libc::fork();
            if pid == 0 {
                let mut own = [0; 2];
                let bytes = [1u8; 65536];
                libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0, own.as_mut_ptr());
                for fd in own {
                    while libc::write(fd, bytes.as_ptr().cast(), bytes.len()) > 0 {}
                }
                libc::_exit(i32::from(send(ends[0], &own) < 0));
            }
            let mut status = 1;
            if pid == -1 || libc::waitpid(pid, &mut status, 0) != pid || status != 0 {
                break;
            }
            count += 1;
        }
    }
    refused(format_args!("{count} pairs"));
}

/// The smallest messages, as many as sockets take.
pub fn datagrams() {
    many_descriptors();
    let mut ends = [0; 2];
    let mut count = 0u64;
    // SAFETY: the array lives.
    unsafe {
        while libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, ends.as_mut_ptr())
            == 0
        {
            for fd in ends {
                while libc::send(fd, null(), 0, 0) == 0 {
                    count += 1;
                }
            }
        }
    }
    refused(format_args!("{count} datagrams"));
}

/// Pseudoterminals.
pub fn terminals() {
    many_descriptors();
    let mut count = 0;
    // SAFETY: the name lives.
    while unsafe { libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY) } != -1 {
        count += 1;
    }
    refused(format_args!("{count} terminals"));
}

/// POSIX message queues, each full.
pub fn queues() {
    many_descriptors();
    let bytes = [1u8; 8192];
    let mut count = 0;
    // SAFETY: names and bytes live.
    unsafe {
        loop {
            let name = std::ffi::CString::new(format!("/bomb{count}")).unwrap_or_default();
            let queue = crate::ns::open_queue(&name, libc::O_CREAT | libc::O_NONBLOCK);
            if queue == -1 {
                break;
            }
            while libc::mq_send(queue, bytes.as_ptr().cast(), bytes.len(), 0) == 0 {}
            libc::mq_unlink(name.as_ptr());
            count += 1;
        }
    }
    refused(format_args!("{count} queues"));
}

/// System V objects, which outlive who made them; in a namespace, so that they go with it.
pub fn sysv() {
    let bytes = [1u64; 1025];
    // SAFETY: the bytes live.
    unsafe {
        libc::unshare(libc::CLONE_NEWIPC);
        let mut count = 0;
        loop {
            let queue = libc::msgget(libc::IPC_PRIVATE, 0o600);
            if queue == -1 {
                break;
            }
            while libc::msgsnd(queue, bytes.as_ptr().cast(), 8192, libc::IPC_NOWAIT) == 0 {}
            count += 1;
        }
        refused(format_args!("{count} queues"));
        count = 0;
        while libc::semget(libc::IPC_PRIVATE, 32000, 0o600) != -1 {
            count += 1;
        }
        refused(format_args!("{count} sets"));
        count = 0;
        loop {
            let segment = libc::shmget(libc::IPC_PRIVATE, 1 << 20, 0o600);
            if segment == -1 {
                break;
            }
            let at = libc::shmat(segment, null(), 0);
            if at.addr() != usize::MAX {
                at.cast::<u8>().write_bytes(1, 1 << 20);
            }
            count += 1;
        }
        refused(format_args!("{count} segments"));
    }
}

/// Large tables of descriptors, one for each process.
pub fn tables() {
    many_descriptors();
    // SAFETY: no memory is involved.
    unsafe { libc::dup2(0, (1 << 20) - 1) };
    in_children(|| true);
}
