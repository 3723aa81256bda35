//! The part of the system call table that is about scheduling, other processes' memory and descriptors, and asynchronous
//! I/O: what few programs need.

use super::Arg::{Fd, Hex, Int, Ptr, Size, Time};
use super::remote::Direction;
use super::table::Support::{Full, Partial};
use super::table::{Call, Table, sys};
use super::{aio, futex_waitv, ioprio, membarrier, obsolete, remote, scheduling_attr};
use crate::host::Host;

impl<H: Host> Table<H> {
    pub(super) const MORE_SCHEDULING: &'static [Call<H>] = &[
        sys(251, "ioprio_set", &[Int, Int, Hex], Full, |cx, a| {
            ioprio::ioprio_set(cx, a.int(0), a.int(1), a.int(2))
        }),
        sys(252, "ioprio_get", &[Int, Int], Full, |cx, a| ioprio::ioprio_get(cx, a.int(0), a.int(1))),
        sys(314, "sched_setattr", &[Int, Ptr, Hex], Partial("no real-time policies"), |cx, a| {
            scheduling_attr::sched_setattr(cx, a.int(0), a.ptr(1), a.uint(2))
        }),
        sys(315, "sched_getattr", &[Int, Ptr, Size, Hex], Full, |cx, a| {
            scheduling_attr::sched_getattr(cx, a.int(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
        sys(324, "membarrier", &[Int, Hex, Int], Full, |cx, a| {
            membarrier::membarrier(cx, a.uint(0), a.uint(1))
        }),
        sys(449, "futex_waitv", &[Ptr, Size, Hex, Ptr, Int], Full, |cx, a| {
            futex_waitv::futex_waitv(cx, (a.ptr(0), a.uint(1)), a.uint(2), a.ptr(3), a.uint(4))
        }),
    ];

    pub(super) const AIO: &'static [Call<H>] = &[
        sys(206, "io_setup", &[Size, Ptr], Full, |cx, a| aio::io_setup(cx, a.uint(0), a.ptr(1))),
        sys(207, "io_destroy", &[Ptr], Full, |cx, a| aio::io_destroy(cx, a.ptr(0))),
        sys(208, "io_getevents", &[Ptr, Int, Int, Ptr, Time], Full, |cx, a| {
            let wanted = aio::Wanted { least: a.long(1), most: a.long(2), events: a.ptr(3) };
            aio::io_getevents(cx, a.ptr(0), wanted, a.ptr(4))
        }),
        sys(
            209,
            "io_submit",
            &[Ptr, Int, Ptr],
            Partial("no IOCB_CMD_POLL, flags only with several buffers"),
            |cx, a| aio::io_submit(cx, a.ptr(0), a.long(1), a.ptr(2)),
        ),
        sys(210, "io_cancel", &[Ptr, Ptr, Ptr], Full, |cx, a| aio::io_cancel(cx, a.ptr(0), a.ptr(1))),
        sys(333, "io_pgetevents", &[Ptr, Int, Int, Ptr, Time, Ptr], Full, |cx, a| {
            let wanted = aio::Wanted { least: a.long(1), most: a.long(2), events: a.ptr(3) };
            aio::io_pgetevents(cx, a.ptr(0), wanted, a.ptr(4), a.ptr(5))
        }),
    ];

    pub(super) const OBSOLETE: &'static [Call<H>] = &[
        sys(136, "ustat", &[Hex, Ptr], Full, |cx, a| obsolete::ustat(cx, a.uint(0), a.ptr(1))),
        sys(139, "sysfs", &[Int, Hex, Ptr], Full, |cx, a| obsolete::sysfs(cx, a.uint(0), a.raw(1), a.ptr(2))),
        sys(172, "iopl", &[Int], Partial("nobody may have ports"), |_, a| obsolete::iopl(a.uint(0))),
        sys(173, "ioperm", &[Hex, Size, Int], Partial("nobody may have ports"), |_, a| {
            obsolete::ioperm(a.raw(0), a.raw(1), a.int(2))
        }),
    ];

    pub(super) const REMOTE: &'static [Call<H>] = &[
        sys(310, "process_vm_readv", &[Int, Ptr, Size, Ptr, Size, Hex], Full, |cx, a| {
            let (local, remote) = ((a.ptr(1), a.raw(2)), (a.ptr(3), a.raw(4)));
            remote::process_vm(cx, a.int(0), local, remote, a.raw(5), Direction::Read)
        }),
        sys(311, "process_vm_writev", &[Int, Ptr, Size, Ptr, Size, Hex], Full, |cx, a| {
            let (local, remote) = ((a.ptr(1), a.raw(2)), (a.ptr(3), a.raw(4)));
            remote::process_vm(cx, a.int(0), local, remote, a.raw(5), Direction::Write)
        }),
        sys(312, "kcmp", &[Int, Int, Int, Hex, Hex], Partial("no KCMP_EPOLL_TFD"), |cx, a| {
            remote::kcmp(cx, [a.int(0), a.int(1)], a.uint(2), [a.raw(3), a.raw(4)])
        }),
        sys(438, "pidfd_getfd", &[Fd, Int, Hex], Full, |cx, a| {
            remote::pidfd_getfd(cx, a.fd(0), a.fd(1), a.uint(2))
        }),
    ];
}
