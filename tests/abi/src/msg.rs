//! System V message queues: `msgget(2)`, `msgop(2)`, `msgctl(2)`.

use std::ptr::null_mut;

use libc::{c_int, c_long, msqid_ds};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    first_in_first_out,
    kinds_are_chosen,
    sizes_are_checked,
    copy_leaves_the_message,
    full_queues_block_senders,
    receivers_are_served_in_order,
    too_large_for_a_waiting_receiver,
    removal_wakes,
    signals_end_a_wait,
    stat_and_set,
    permissions,
    proc_lists_queues,
    an_id_can_be_asked_for,
];

const COPY: c_int = 0o40000;

#[repr(C)]
struct Message {
    kind: c_long,
    text: [u8; 64],
}

/// A queue that is removed when the test ends.
struct Queue(c_int);

impl Queue {
    #[track_caller]
    fn new() -> Done<Queue> {
        // SAFETY: no memory is involved.
        Ok(Queue(ok(unsafe { libc::msgget(libc::IPC_PRIVATE, libc::IPC_CREAT | 0o600) })?))
    }

    fn send(&self, kind: c_long, text: &[u8], flags: c_int) -> c_int {
        let mut message = Message { kind, text: [0; 64] };
        message.text[..text.len()].copy_from_slice(text);
        // SAFETY: the message is longer than that.
        unsafe { libc::msgsnd(self.0, (&raw const message).cast(), text.len(), flags) }
    }

    fn receive(&self, size: usize, kind: c_long, flags: c_int) -> (isize, Message) {
        let mut message = Message { kind: 0, text: [0; 64] };
        // SAFETY: no case asks for more than there is room for.
        let n = unsafe { libc::msgrcv(self.0, (&raw mut message).cast(), size, kind, flags) };
        (n, message)
    }

    /// Receives, and checks the kind and the text.
    #[track_caller]
    fn expect(&self, kind: c_long, flags: c_int, want: (c_long, &[u8])) -> Done {
        let (n, message) = self.receive(64, kind, flags);
        let n = ok(n)? as usize;
        eq((message.kind, &message.text[..n]), want)
    }

    #[track_caller]
    fn stat(&self) -> Done<msqid_ds> {
        // SAFETY: the structure is the one that is asked for.
        unsafe {
            let mut ds = std::mem::zeroed();
            ok(libc::msgctl(self.0, libc::IPC_STAT, &mut ds))?;
            Ok(ds)
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: no memory is involved.
        unsafe { libc::msgctl(self.0, libc::IPC_RMID, null_mut()) };
    }
}

unsafe fn first_in_first_out() -> Done {
    let key = 0x4d53_0000 ^ (libc::getpid() << 4);
    fails(libc::msgget(key, 0o600), libc::ENOENT)?;
    let queue = Queue(ok(libc::msgget(key, libc::IPC_CREAT | 0o600))?);
    eq(ok(libc::msgget(key, 0o600))?, queue.0)?;
    fails(libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL), libc::EEXIST)?;
    ok(queue.send(3, b"one", 0))?;
    ok(queue.send(1, b"", 0))?;
    queue.expect(0, 0, (3, b"one"))?;
    queue.expect(0, 0, (1, b""))?;
    fails(queue.receive(64, 0, libc::IPC_NOWAIT).0, libc::ENOMSG)
}

unsafe fn kinds_are_chosen() -> Done {
    let queue = Queue::new()?;
    for (kind, text) in [(5, b"a"), (3, b"b"), (4, b"c"), (3, b"d")] {
        ok(queue.send(kind, text, 0))?;
    }
    queue.expect(4, 0, (4, b"c"))?;
    queue.expect(-4, 0, (3, b"b"))?;
    queue.expect(5, libc::MSG_EXCEPT, (3, b"d"))?;
    fails(queue.receive(64, -4, libc::IPC_NOWAIT).0, libc::ENOMSG)?;
    queue.expect(c_long::MIN, 0, (5, b"a"))
}

unsafe fn sizes_are_checked() -> Done {
    let queue = Queue::new()?;
    fails(queue.send(0, b"x", 0), libc::EINVAL)?;
    fails(queue.send(-1, b"x", 0), libc::EINVAL)?;
    fails(libc::msgsnd(queue.0, memory(1 << 20)?.cast(), 1 << 20, 0), libc::EINVAL)?;
    fails(libc::msgsnd(queue.0, null_mut(), 1, 0), libc::EFAULT)?;
    fails(libc::msgsnd(-1, memory(PAGE)?.cast(), 1, 0), libc::EINVAL)?;
    ok(queue.send(1, b"longer", 0))?;
    fails(queue.receive(3, 0, 0).0, libc::E2BIG)?;
    let (n, message) = queue.receive(3, 0, libc::MSG_NOERROR);
    eq((n, &message.text[..4]), (3, &b"lon\0"[..]))?;
    fails(queue.receive(64, 0, libc::IPC_NOWAIT).0, libc::ENOMSG)?;
    fails(libc::msgrcv(queue.0, memory(PAGE)?.cast(), usize::MAX, 0, 0), libc::EINVAL)?;
    fails(libc::msgctl(queue.0, 99, null_mut()), libc::EINVAL)
}

unsafe fn copy_leaves_the_message() -> Done {
    let queue = Queue::new()?;
    ok(queue.send(1, b"a", 0))?;
    ok(queue.send(2, b"b", 0))?;
    fails(queue.receive(64, 0, COPY).0, libc::EINVAL)?;
    fails(queue.receive(64, 0, COPY | libc::IPC_NOWAIT | libc::MSG_EXCEPT).0, libc::EINVAL)?;
    queue.expect(1, COPY | libc::IPC_NOWAIT, (2, b"b"))?;
    fails(queue.receive(64, 2, COPY | libc::IPC_NOWAIT).0, libc::ENOMSG)?;
    eq(queue.stat()?.msg_qnum, 2)
}

unsafe fn full_queues_block_senders() -> Done {
    let queue = Queue::new()?;
    let mut ds = queue.stat()?;
    ds.msg_qbytes = 4;
    ok(libc::msgctl(queue.0, libc::IPC_SET, &mut ds))?;
    ok(queue.send(1, b"abc", 0))?;
    fails(queue.send(1, b"de", libc::IPC_NOWAIT), libc::EAGAIN)?;
    ok(queue.send(1, b"d", libc::IPC_NOWAIT))?;
    let sender = spawn(|| ok(queue.send(2, b"xy", 0)).map(drop))?;
    asleep(sender);
    queue.expect(0, 0, (1, b"abc"))?;
    join(sender)?;
    eq(queue.stat()?.msg_lspid, sender)?;
    // Empty messages count as well.
    queue.expect(0, 0, (1, b"d"))?;
    queue.expect(0, 0, (2, b"xy"))?;
    for _ in 0..4 {
        ok(queue.send(1, b"", libc::IPC_NOWAIT))?;
    }
    fails(queue.send(1, b"", libc::IPC_NOWAIT), libc::EAGAIN)
}

unsafe fn receivers_are_served_in_order() -> Done {
    let queue = Queue::new()?;
    let first = spawn(|| queue.expect(7, 0, (7, b"seven")))?;
    asleep(first);
    let second = spawn(|| queue.expect(0, 0, (8, b"eight")))?;
    asleep(second);
    ok(queue.send(8, b"eight", 0))?;
    join(second)?;
    ok(queue.send(7, b"seven", 0))?;
    join(first)?;
    let ds = queue.stat()?;
    eq((ds.msg_qnum, ds.msg_lrpid, ds.msg_lspid), (0, first, libc::getpid()))
}

unsafe fn too_large_for_a_waiting_receiver() -> Done {
    let queue = Queue::new()?;
    let small = spawn(|| fails(queue.receive(2, 0, 0).0, libc::E2BIG))?;
    asleep(small);
    ok(queue.send(1, b"abc", 0))?;
    join(small)?;
    queue.expect(0, libc::IPC_NOWAIT, (1, b"abc"))
}

unsafe fn removal_wakes() -> Done {
    let queue = Queue::new()?;
    let receiver = spawn(|| fails(queue.receive(64, 0, 0).0, libc::EIDRM))?;
    asleep(receiver);
    ok(libc::msgctl(queue.0, libc::IPC_RMID, null_mut()))?;
    join(receiver)?;
    fails(queue.send(1, b"", 0), libc::EINVAL)
}

unsafe fn signals_end_a_wait() -> Done {
    let queue = Queue::new()?;
    let child = spawn(|| {
        on(libc::SIGUSR1, note, libc::SA_RESTART)?;
        fails(queue.receive(64, 0, 0).0, libc::EINTR)
    })?;
    asleep(child);
    ok(libc::kill(child, libc::SIGUSR1))?;
    join(child)?;
    ok(queue.send(1, b"a", 0))?;
    queue.expect(0, libc::IPC_NOWAIT, (1, b"a"))
}

unsafe fn stat_and_set() -> Done {
    let queue = Queue::new()?;
    let ds = queue.stat()?;
    eq((ds.msg_qnum, ds.msg_stime, ds.msg_rtime, ds.msg_lspid), (0, 0, 0, 0))?;
    check(ds.msg_qbytes >= 16384, "the usual size")?;
    ok(queue.send(1, b"abc", 0))?;
    let mut ds = queue.stat()?;
    eq((ds.msg_qnum, ds.__msg_cbytes, ds.msg_lspid), (1, 3, libc::getpid()))?;
    check(ds.msg_stime >= ds.msg_ctime, "times")?;
    ds.msg_perm.mode = 0o7604;
    ok(libc::msgctl(queue.0, libc::IPC_SET, &mut ds))?;
    eq(queue.stat()?.msg_perm.mode, 0o604)?;
    in_child(|| {
        drop_root()?;
        ds.msg_qbytes = 1 << 28;
        fails(libc::msgctl(queue.0, libc::IPC_SET, &mut ds), libc::EPERM)
    })?;
    let mut info = [0 as c_int; 8];
    let highest = ok(libc::msgctl(0, libc::IPC_INFO, info.as_mut_ptr().cast()))?;
    check(info[2] >= 8192, "a message may have 8 KiB")?;
    let mut found = false;
    for place in 0..=highest {
        found |= libc::msgctl(place, 11, &mut ds) == queue.0;
    }
    check(found, "a place has the queue")
}

unsafe fn permissions() -> Done {
    need_root()?;
    let queue = Queue::new()?;
    let mut ds = queue.stat()?;
    ds.msg_perm.mode = 0o602;
    ok(libc::msgctl(queue.0, libc::IPC_SET, &mut ds))?;
    in_child(|| {
        drop_root()?;
        ok(queue.send(1, b"a", 0))?;
        fails(queue.receive(64, 0, libc::IPC_NOWAIT).0, libc::EACCES)?;
        let mut ds: msqid_ds = std::mem::zeroed();
        fails(libc::msgctl(queue.0, libc::IPC_STAT, &mut ds), libc::EACCES)?;
        fails(libc::msgctl(queue.0, libc::IPC_RMID, null_mut()), libc::EPERM)
    })
}

unsafe fn proc_lists_queues() -> Done {
    let queue = Queue::new()?;
    ok(queue.send(1, b"four", 0))?;
    let text = std::fs::read_to_string("/proc/sysvipc/msg").unwrap_or_default();
    let id = queue.0.to_string();
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(&id)).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    eq(words.len(), 14)?;
    eq((words[2], words[3], words[4]), ("600", "4", "1"))
}

unsafe fn an_id_can_be_asked_for() -> Done {
    need_root()?;
    let file = "/proc/sys/kernel/msg_next_id";
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    if read().is_empty() {
        return skip("not configured");
    }
    in_child(|| {
        ok(libc::unshare(libc::CLONE_NEWIPC))?;
        eq(read(), "-1\n")?;
        check(std::fs::write(file, "-2").is_err(), "no id")?;
        let asked = 3 << 15 | 5;
        check(std::fs::write(file, asked.to_string()).is_ok(), "asks")?;
        eq(read(), format!("{asked}\n"))?;
        let first = Queue::new()?;
        eq((first.0, read()), (asked, "-1\n".to_owned()))?;
        let second = Queue::new()?;
        check(second.0 != asked, "once")
    })
}
