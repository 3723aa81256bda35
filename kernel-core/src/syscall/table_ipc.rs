//! The part of the system call table that is about pipes, readiness, futexes, time and sockets.

use super::Arg::{Enum, Fd, FdPair, Flags, Hex, In, Int, Out, Ptr, SignalSet, Size, SocketAddr, Str, Time};
use super::table::Support::{Full, Partial};
use super::table::{Call, Table, sys};
use super::{epoll, eventfds, futex, inotify, pipe, poll, socket, socket_message, socket_name, time, timers};
use crate::debug::names::{Names, io};
use crate::host::Host;

const PIPE_FLAGS: Names = &[(0o4000, "O_NONBLOCK"), (0o40000, "O_DIRECT"), (0o2000000, "O_CLOEXEC")];
const EVENTFD_FLAGS: Names = &[(1, "EFD_SEMAPHORE"), (0o4000, "EFD_NONBLOCK"), (0o2000000, "EFD_CLOEXEC")];
const EPOLL_OPS: Names = &[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")];
const CLOCKS: Names = &[
    (0, "CLOCK_REALTIME"),
    (1, "CLOCK_MONOTONIC"),
    (2, "CLOCK_PROCESS_CPUTIME_ID"),
    (3, "CLOCK_THREAD_CPUTIME_ID"),
    (4, "CLOCK_MONOTONIC_RAW"),
    (5, "CLOCK_REALTIME_COARSE"),
    (6, "CLOCK_MONOTONIC_COARSE"),
    (7, "CLOCK_BOOTTIME"),
];
const FUTEX_OPS: Names = &[
    (0, "FUTEX_WAIT"),
    (1, "FUTEX_WAKE"),
    (128, "FUTEX_WAIT_PRIVATE"),
    (129, "FUTEX_WAKE_PRIVATE"),
    (132, "FUTEX_CMP_REQUEUE_PRIVATE"),
    (133, "FUTEX_WAKE_OP_PRIVATE"),
    (137, "FUTEX_WAIT_BITSET_PRIVATE"),
    (138, "FUTEX_WAKE_BITSET_PRIVATE"),
    (265, "FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME"),
    (393, "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME"),
];
const SHUTDOWN: Names = &[(0, "SHUT_RD"), (1, "SHUT_WR"), (2, "SHUT_RDWR")];

impl<H: Host> Table<H> {
    pub(super) const EVENTS: &'static [Call<H>] = &[
        sys(7, "poll", &[Ptr, Size, Int], Full, |cx, a| poll::poll(cx, a.ptr(0), a.uint(1), a.int(2))),
        sys(22, "pipe", &[FdPair], Full, |cx, a| pipe::pipe2(cx, a.ptr(0), 0)),
        sys(23, "select", &[Int, Ptr, Ptr, Ptr, Ptr], Full, |cx, a| {
            poll::select(cx, a.int(0), [a.ptr(1), a.ptr(2), a.ptr(3)], a.ptr(4))
        }),
        sys(
            202,
            "futex",
            &[Ptr, Enum(FUTEX_OPS), Int, Ptr, Ptr, Hex],
            Partial("no priorities, so none are inherited"),
            futex::futex,
        ),
        sys(213, "epoll_create", &[Int], Full, |cx, a| epoll::epoll_create(cx, a.int(0))),
        sys(232, "epoll_wait", &[Fd, Ptr, Int, Int], Full, |cx, a| {
            epoll::epoll_wait(cx, a.fd(0), a.ptr(1), a.int(2), a.int(3))
        }),
        sys(233, "epoll_ctl", &[Fd, Enum(EPOLL_OPS), Fd, Ptr], Full, |cx, a| {
            epoll::epoll_ctl(cx, a.fd(0), a.uint(1), a.fd(2), a.ptr(3))
        }),
        sys(270, "pselect6", &[Int, Ptr, Ptr, Ptr, Time, Ptr], Full, |cx, a| {
            poll::pselect6(cx, a.int(0), [a.ptr(1), a.ptr(2), a.ptr(3)], a.ptr(4), a.ptr(5))
        }),
        sys(271, "ppoll", &[Ptr, Size, Time, SignalSet, Size], Full, |cx, a| {
            poll::ppoll(cx, a.ptr(0), a.uint(1), a.ptr(2), (a.ptr(3), a.size(4)))
        }),
        sys(281, "epoll_pwait", &[Fd, Ptr, Int, Int, SignalSet, Size], Full, |cx, a| {
            epoll::epoll_pwait(cx, a.fd(0), a.ptr(1), a.int(2), a.int(3), (a.ptr(4), a.size(5)))
        }),
        sys(282, "signalfd", &[Fd, SignalSet, Size], Full, |cx, a| {
            eventfds::signalfd4(cx, a.fd(0), a.ptr(1), a.size(2), 0)
        }),
        sys(253, "inotify_init", &[], Full, |cx, _| inotify::init1(cx, 0)),
        sys(254, "inotify_add_watch", &[Fd, Str, Flags(io::INOTIFY)], Full, |cx, a| {
            inotify::add_watch(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(255, "inotify_rm_watch", &[Fd, Int], Full, |cx, a| inotify::rm_watch(cx, a.fd(0), a.int(1))),
        sys(294, "inotify_init1", &[Flags(EVENTFD_FLAGS)], Full, |cx, a| inotify::init1(cx, a.uint(0))),
        sys(283, "timerfd_create", &[Enum(CLOCKS), Flags(EVENTFD_FLAGS)], Full, |cx, a| {
            eventfds::timerfd_create(cx, a.uint(0), a.uint(1))
        }),
        sys(284, "eventfd", &[Int], Full, |cx, a| eventfds::eventfd2(cx, a.uint(0), 0)),
        sys(286, "timerfd_settime", &[Fd, Flags(io::TIMER), Ptr, Ptr], Full, |cx, a| {
            eventfds::timerfd_settime(cx, a.fd(0), a.uint(1), a.ptr(2), a.ptr(3))
        }),
        sys(287, "timerfd_gettime", &[Fd, Ptr], Full, |cx, a| {
            eventfds::timerfd_gettime(cx, a.fd(0), a.ptr(1))
        }),
        sys(289, "signalfd4", &[Fd, SignalSet, Size, Flags(EVENTFD_FLAGS)], Full, |cx, a| {
            eventfds::signalfd4(cx, a.fd(0), a.ptr(1), a.size(2), a.uint(3))
        }),
        sys(290, "eventfd2", &[Int, Flags(EVENTFD_FLAGS)], Full, |cx, a| {
            eventfds::eventfd2(cx, a.uint(0), a.uint(1))
        }),
        sys(291, "epoll_create1", &[Flags(PIPE_FLAGS)], Full, |cx, a| epoll::epoll_create1(cx, a.uint(0))),
        sys(293, "pipe2", &[FdPair, Flags(PIPE_FLAGS)], Full, |cx, a| pipe::pipe2(cx, a.ptr(0), a.uint(1))),
        sys(441, "epoll_pwait2", &[Fd, Ptr, Int, Time, SignalSet, Size], Full, |cx, a| {
            epoll::epoll_pwait2(cx, a.fd(0), a.ptr(1), a.int(2), a.ptr(3), (a.ptr(4), a.size(5)))
        }),
    ];

    pub(super) const TIME: &'static [Call<H>] = &[
        sys(35, "nanosleep", &[Time, Ptr], Full, |cx, a| time::nanosleep(cx, a.ptr(0), a.ptr(1))),
        sys(36, "getitimer", &[Enum(io::ITIMER), Ptr], Full, |cx, a| {
            timers::getitimer(cx, a.uint(0), a.ptr(1))
        }),
        sys(37, "alarm", &[Int], Full, |cx, a| timers::alarm(cx, a.uint(0))),
        sys(38, "setitimer", &[Enum(io::ITIMER), Ptr, Ptr], Full, |cx, a| {
            timers::setitimer(cx, a.uint(0), a.ptr(1), a.ptr(2))
        }),
        sys(96, "gettimeofday", &[Ptr, Ptr], Full, |cx, a| time::gettimeofday(cx, a.ptr(0), a.ptr(1))),
        sys(164, "settimeofday", &[Ptr, Ptr], Partial("the clock is the host's"), |cx, a| {
            time::settimeofday(cx, a.ptr(0), a.ptr(1))
        }),
        sys(201, "time", &[Ptr], Full, |cx, a| time::time(cx, a.ptr(0))),
        sys(222, "timer_create", &[Enum(CLOCKS), Ptr, Ptr], Full, |cx, a| {
            timers::timer_create(cx, a.uint(0), a.ptr(1), a.ptr(2))
        }),
        sys(223, "timer_settime", &[Int, Flags(io::TIMER), Ptr, Ptr], Full, |cx, a| {
            timers::timer_settime(cx, a.int(0), a.uint(1), a.ptr(2), a.ptr(3))
        }),
        sys(224, "timer_gettime", &[Int, Ptr], Full, |cx, a| timers::timer_gettime(cx, a.int(0), a.ptr(1))),
        sys(225, "timer_getoverrun", &[Int], Full, |cx, a| timers::timer_getoverrun(cx, a.int(0))),
        sys(226, "timer_delete", &[Int], Full, |cx, a| timers::timer_delete(cx, a.int(0))),
        sys(227, "clock_settime", &[Enum(CLOCKS), Time], Partial("the clock is the host's"), |cx, a| {
            time::clock_settime(cx, a.int(0), a.ptr(1))
        }),
        sys(228, "clock_gettime", &[Enum(CLOCKS), Ptr], Full, |cx, a| {
            time::clock_gettime(cx, a.int(0), a.ptr(1))
        }),
        sys(229, "clock_getres", &[Enum(CLOCKS), Ptr], Full, |cx, a| {
            time::clock_getres(cx, a.int(0), a.ptr(1))
        }),
        sys(230, "clock_nanosleep", &[Enum(CLOCKS), Flags(io::TIMER), Time, Ptr], Full, |cx, a| {
            time::clock_nanosleep(cx, a.int(0), a.uint(1), a.ptr(2), a.ptr(3))
        }),
    ];

    pub(super) const SOCKETS: &'static [Call<H>] = &[
        sys(41, "socket", &[Enum(io::FAMILY), Flags(io::SOCKET), Int], Partial("AF_UNIX only"), |cx, a| {
            socket::socket(cx, a.int(0), a.uint(1), a.int(2))
        }),
        sys(42, "connect", &[Fd, SocketAddr(2), Int], Full, |cx, a| {
            socket_name::connect(cx, a.fd(0), a.ptr(1), a.int(2))
        }),
        sys(43, "accept", &[Fd, Ptr, Ptr], Full, |cx, a| {
            socket_name::accept4(cx, a.fd(0), a.ptr(1), a.ptr(2), 0)
        }),
        sys(
            44,
            "sendto",
            &[Fd, In(2), Size, Flags(io::MSG), SocketAddr(5), Int],
            Partial("no MSG_OOB"),
            |cx, a| {
                socket_message::sendto(cx, a.fd(0), (a.ptr(1), a.raw(2)), a.uint(3), (a.ptr(4), a.int(5)))
            },
        ),
        sys(45, "recvfrom", &[Fd, Out, Size, Flags(io::MSG), Ptr, Ptr], Partial("no MSG_OOB"), |cx, a| {
            socket_message::recvfrom(cx, a.fd(0), (a.ptr(1), a.raw(2)), a.uint(3), (a.ptr(4), a.ptr(5)))
        }),
        sys(46, "sendmsg", &[Fd, Ptr, Flags(io::MSG)], Partial("no MSG_OOB"), |cx, a| {
            socket_message::sendmsg(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(47, "recvmsg", &[Fd, Ptr, Flags(io::MSG)], Partial("no MSG_OOB"), |cx, a| {
            socket_message::recvmsg(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(48, "shutdown", &[Fd, Enum(SHUTDOWN)], Full, |cx, a| socket::shutdown(cx, a.fd(0), a.int(1))),
        sys(49, "bind", &[Fd, SocketAddr(2), Int], Full, |cx, a| {
            socket_name::bind(cx, a.fd(0), a.ptr(1), a.int(2))
        }),
        sys(50, "listen", &[Fd, Int], Full, |cx, a| socket_name::listen(cx, a.fd(0), a.int(1))),
        sys(51, "getsockname", &[Fd, Ptr, Ptr], Full, |cx, a| {
            socket_name::getsockname(cx, a.fd(0), a.ptr(1), a.ptr(2))
        }),
        sys(52, "getpeername", &[Fd, Ptr, Ptr], Full, |cx, a| {
            socket_name::getpeername(cx, a.fd(0), a.ptr(1), a.ptr(2))
        }),
        sys(
            53,
            "socketpair",
            &[Enum(io::FAMILY), Flags(io::SOCKET), Int, FdPair],
            Partial("AF_UNIX only"),
            |cx, a| socket::socketpair(cx, a.int(0), a.uint(1), a.int(2), a.ptr(3)),
        ),
        sys(
            54,
            "setsockopt",
            &[Fd, Enum(io::SOCKET_LEVEL), Enum(io::SOCKET_OPTION), Ptr, Int],
            Full,
            |cx, a| socket::setsockopt(cx, a.fd(0), (a.uint(1), a.uint(2)), a.ptr(3), a.int(4)),
        ),
        sys(
            55,
            "getsockopt",
            &[Fd, Enum(io::SOCKET_LEVEL), Enum(io::SOCKET_OPTION), Ptr, Ptr],
            Full,
            |cx, a| socket::getsockopt(cx, a.fd(0), (a.uint(1), a.uint(2)), a.ptr(3), a.ptr(4)),
        ),
        sys(288, "accept4", &[Fd, Ptr, Ptr, Flags(io::SOCKET)], Full, |cx, a| {
            socket_name::accept4(cx, a.fd(0), a.ptr(1), a.ptr(2), a.uint(3))
        }),
        sys(299, "recvmmsg", &[Fd, Ptr, Size, Flags(io::MSG), Time], Partial("no MSG_OOB"), |cx, a| {
            socket_message::recvmmsg(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3), a.ptr(4))
        }),
        sys(307, "sendmmsg", &[Fd, Ptr, Size, Flags(io::MSG)], Partial("no MSG_OOB"), |cx, a| {
            socket_message::sendmmsg(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
    ];
}
