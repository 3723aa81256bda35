//! The part of the system call table that is about System V IPC and POSIX message queues.

use super::Arg::{CreateMode, Enum, Fd, Flags, Hex, In, Int, OpenFlags, Out, Ptr, Size, Str, Time};
use super::mqueue;
use super::sysv::{msg, sem, shm};
use super::table::Support::{Full, Partial};
use super::table::{Call, Table, sys};
use crate::debug::names::Names;
use crate::host::Host;

const GET: Names = &[(0o1000, "IPC_CREAT"), (0o2000, "IPC_EXCL")];
const SHM: Names =
    &[(0o10000, "SHM_RDONLY"), (0o20000, "SHM_RND"), (0o40000, "SHM_REMAP"), (0o100000, "SHM_EXEC")];
const MSG: Names =
    &[(0o4000, "IPC_NOWAIT"), (0o10000, "MSG_NOERROR"), (0o20000, "MSG_EXCEPT"), (0o40000, "MSG_COPY")];
const SHM_CONTROL: Names = &[
    (0, "IPC_RMID"),
    (1, "IPC_SET"),
    (2, "IPC_STAT"),
    (3, "IPC_INFO"),
    (11, "SHM_LOCK"),
    (12, "SHM_UNLOCK"),
    (13, "SHM_STAT"),
    (14, "SHM_INFO"),
    (15, "SHM_STAT_ANY"),
];
const SEM_CONTROL: Names = &[
    (0, "IPC_RMID"),
    (1, "IPC_SET"),
    (2, "IPC_STAT"),
    (3, "IPC_INFO"),
    (11, "GETPID"),
    (12, "GETVAL"),
    (13, "GETALL"),
    (14, "GETNCNT"),
    (15, "GETZCNT"),
    (16, "SETVAL"),
    (17, "SETALL"),
    (18, "SEM_STAT"),
    (19, "SEM_INFO"),
    (20, "SEM_STAT_ANY"),
];
const MSG_CONTROL: Names = &[
    (0, "IPC_RMID"),
    (1, "IPC_SET"),
    (2, "IPC_STAT"),
    (3, "IPC_INFO"),
    (11, "MSG_STAT"),
    (12, "MSG_INFO"),
    (13, "MSG_STAT_ANY"),
];

impl<H: Host> Table<H> {
    pub(super) const SYSV: &'static [Call<H>] = &[
        sys(29, "shmget", &[Int, Size, Flags(GET)], Full, |cx, a| {
            shm::shmget(cx, a.int(0), a.raw(1), a.uint(2))
        }),
        sys(30, "shmat", &[Int, Ptr, Flags(SHM)], Full, |cx, a| {
            shm::shmat(cx, a.int(0), a.ptr(1), a.uint(2))
        }),
        sys(31, "shmctl", &[Int, Enum(SHM_CONTROL), Ptr], Full, |cx, a| {
            shm::shmctl(cx, a.int(0), a.int(1), a.ptr(2))
        }),
        sys(64, "semget", &[Int, Int, Flags(GET)], Full, |cx, a| {
            sem::semget(cx, a.int(0), a.int(1), a.uint(2))
        }),
        sys(65, "semop", &[Int, Ptr, Size], Full, |cx, a| {
            sem::semtimedop(cx, a.int(0), a.ptr(1), u64::from(a.uint(2)), 0)
        }),
        sys(66, "semctl", &[Int, Int, Enum(SEM_CONTROL), Hex], Full, |cx, a| {
            sem::semctl(cx, a.int(0), a.int(1), a.int(2), a.raw(3))
        }),
        sys(67, "shmdt", &[Ptr], Full, |cx, a| shm::shmdt(cx, a.ptr(0))),
        sys(68, "msgget", &[Int, Flags(GET)], Full, |cx, a| msg::msgget(cx, a.int(0), a.uint(1))),
        sys(69, "msgsnd", &[Int, Ptr, Size, Flags(MSG)], Full, |cx, a| {
            msg::msgsnd(cx, a.int(0), a.ptr(1), a.raw(2), a.uint(3))
        }),
        sys(70, "msgrcv", &[Int, Ptr, Size, Int, Flags(MSG)], Full, |cx, a| {
            msg::msgrcv(cx, a.int(0), (a.ptr(1), a.raw(2)), a.long(3), a.uint(4))
        }),
        sys(71, "msgctl", &[Int, Enum(MSG_CONTROL), Ptr], Full, |cx, a| {
            msg::msgctl(cx, a.int(0), a.int(1), a.ptr(2))
        }),
        sys(220, "semtimedop", &[Int, Ptr, Size, Time], Full, |cx, a| {
            sem::semtimedop(cx, a.int(0), a.ptr(1), u64::from(a.uint(2)), a.ptr(3))
        }),
        sys(240, "mq_open", &[Str, OpenFlags, CreateMode(1), Ptr], Full, |cx, a| {
            mqueue::mq_open(cx, a.ptr(0), a.uint(1), a.uint(2), a.ptr(3))
        }),
        sys(241, "mq_unlink", &[Str], Full, |cx, a| mqueue::mq_unlink(cx, a.ptr(0))),
        sys(242, "mq_timedsend", &[Fd, In(2), Size, Int, Time], Full, |cx, a| {
            mqueue::mq_timedsend(cx, a.fd(0), (a.ptr(1), a.size(2)), a.uint(3), a.ptr(4))
        }),
        sys(243, "mq_timedreceive", &[Fd, Out, Size, Ptr, Time], Full, |cx, a| {
            mqueue::mq_timedreceive(cx, a.fd(0), (a.ptr(1), a.size(2)), a.ptr(3), a.ptr(4))
        }),
        sys(244, "mq_notify", &[Fd, Ptr], Partial("no netlink sockets, so no SIGEV_THREAD"), |cx, a| {
            mqueue::mq_notify(cx, a.fd(0), a.ptr(1))
        }),
        sys(245, "mq_getsetattr", &[Fd, Ptr, Ptr], Full, |cx, a| {
            mqueue::mq_getsetattr(cx, a.fd(0), a.ptr(1), a.ptr(2))
        }),
    ];
}
