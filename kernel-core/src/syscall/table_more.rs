//! The part of the system call table that is about scheduling and about other processes' memory and descriptors, beyond
//! what every program needs.

use super::Arg::{Fd, Hex, Int, Ptr, Size};
use super::remote::Direction;
use super::table::Support::{Full, Partial};
use super::table::{Call, Table, sys};
use super::{futex_waitv, ioprio, membarrier, remote, scheduling_attr};
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
