//! `/proc/sysvipc`, and the limits of System V IPC and message queues in `/proc/sys`. Sources: `sysvipc(7)`,
//! `proc_sys_kernel(5)`, `mq_overview(7)`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::tree::Item;
use super::tree::Item::{File, Setting};
use crate::abi::sysv::IpcPerm;
use crate::errno::{EINVAL, Result};
use crate::ipc::limit::Limit;
use crate::ipc::sysv::IpcNamespace;
use crate::ipc::sysv::limits::NextId;
use crate::ipc::sysv::perm::shown_in;
use crate::vfs::caller::Caller;

/// `/proc/sysvipc`.
pub(super) const TABLES: &[Item] = &[
    File("msg", |_, caller| Ok(table(caller, MSG_HEAD, msg))),
    File("sem", |_, caller| Ok(table(caller, SEM_HEAD, sem))),
    File("shm", |_, caller| Ok(table(caller, SHM_HEAD, shm))),
];

const MSG_HEAD: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
const SEM_HEAD: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SHM_HEAD: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

/// Numbers are those that the caller has for users and processes.
fn table(caller: &dyn Caller, head: &str, rows: fn(&IpcNamespace, &dyn Caller, &mut String)) -> Vec<u8> {
    let mut text = String::from(head);
    if let Ok(ipc) = namespace(caller) {
        rows(&ipc, caller, &mut text);
    }
    text.into_bytes()
}

/// Owner, owner's group, creator and creator's group.
fn owners(caller: &dyn Caller, perm: IpcPerm) -> [u32; 4] {
    let IpcPerm { uid, gid, cuid, cgid, .. } = shown_in(&caller.cred().user_ns, perm);
    [uid, gid, cuid, cgid]
}

fn msg(ipc: &IpcNamespace, caller: &dyn Caller, text: &mut String) {
    for (id, ds) in ipc.msg.all() {
        let perm = ds.perm;
        let _ = write!(
            text,
            "{:>10} {id:>10}  {:>4o}  {:>10} {:>10} ",
            perm.key, perm.mode, ds.bytes, ds.messages
        );
        let [lspid, lrpid] = [ds.lspid, ds.lrpid].map(|pid| caller.pid_ns().shown(pid));
        let [uid, gid, cuid, cgid] = owners(caller, perm);
        let _ = write!(text, "{lspid:>5} {lrpid:>5} {uid:>5} {gid:>5} {cuid:>5} {cgid:>5} ");
        let _ = writeln!(text, "{:>10} {:>10} {:>10}", ds.stime, ds.rtime, ds.ctime);
    }
}

fn sem(ipc: &IpcNamespace, caller: &dyn Caller, text: &mut String) {
    for (id, ds) in ipc.sem.all() {
        let perm = ds.perm;
        let _ = write!(text, "{:>10} {id:>10}  {:>4o} {:>10} ", perm.key, perm.mode, ds.nsems);
        let [uid, gid, cuid, cgid] = owners(caller, perm);
        let _ = write!(text, "{uid:>5} {gid:>5} {cuid:>5} {cgid:>5} ");
        let _ = writeln!(text, "{:>10} {:>10}", ds.otime, ds.ctime);
    }
}

fn shm(ipc: &IpcNamespace, caller: &dyn Caller, text: &mut String) {
    for stat in ipc.shm.all() {
        let (ds, perm) = (stat.ds, stat.ds.perm);
        let _ = write!(text, "{:>10} {:>10}  {:>4o} {:>21} ", perm.key, stat.id, perm.mode, ds.size);
        let [cpid, lpid] = [ds.cpid, ds.lpid].map(|pid| caller.pid_ns().shown(pid));
        let [uid, gid, cuid, cgid] = owners(caller, perm);
        let _ = write!(text, "{cpid:>5} {lpid:>5}  {:>5} ", ds.nattch);
        let _ = write!(text, "{uid:>5} {gid:>5} {cuid:>5} {cgid:>5} ");
        let _ = writeln!(
            text,
            "{:>10} {:>10} {:>10} {:>21} {:>21}",
            ds.atime, ds.dtime, ds.ctime, stat.resident, 0
        );
    }
}

/// A limit that is one number.
macro_rules! limit {
    ($name:literal, $($field:ident).+) => {
        Setting(
            $name,
            |_, caller| Ok(show(caller, |ipc| core::slice::from_ref(&ipc.$($field).+))),
            |_, caller, bytes| set(caller, bytes, |ipc| core::slice::from_ref(&ipc.$($field).+)),
        )
    };
}

pub(super) const MSGMAX: Item = limit!("msgmax", limits.msg_max);
pub(super) const MSGMNB: Item = limit!("msgmnb", limits.msg_queue_bytes);
pub(super) const MSGMNI: Item = limit!("msgmni", limits.msg_queues);
pub(super) const SHMALL: Item = limit!("shmall", limits.shm_all);
pub(super) const SHMMAX: Item = limit!("shmmax", limits.shm_max);
pub(super) const SHMMNI: Item = limit!("shmmni", limits.shm_segments);
pub(super) const SEM: Item = Setting(
    "sem",
    |_, caller| Ok(show(caller, |ipc| &ipc.limits.sem)),
    |_, caller, bytes| set(caller, bytes, |ipc| &ipc.limits.sem),
);

/// The id of the next object.
macro_rules! next {
    ($name:literal, $kind:literal) => {
        Setting(
            $name,
            |_, caller| {
                Ok(namespace(caller).map_or_else(|_| Vec::new(), |ipc| number(&ipc.limits.next[$kind])))
            },
            |_, caller, bytes| {
                let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
                namespace(caller)?.limits.next[$kind].set(text.trim().parse().map_err(|_| EINVAL)?)
            },
        )
    };
}

fn number(next: &NextId) -> Vec<u8> {
    format!("{}\n", next.get()).into_bytes()
}

pub(super) const SHM_NEXT: Item = next!("shm_next_id", 0);
pub(super) const SEM_NEXT: Item = next!("sem_next_id", 1);
pub(super) const MSG_NEXT: Item = next!("msg_next_id", 2);

/// `/proc/sys/fs/mqueue`.
pub(super) const MQUEUE: &[Item] = &[
    limit!("msg_default", mqueue.limits.default_messages),
    limit!("msg_max", mqueue.limits.messages),
    limit!("msgsize_default", mqueue.limits.default_size),
    limit!("msgsize_max", mqueue.limits.size),
    limit!("queues_max", mqueue.limits.queues),
];

fn namespace(caller: &dyn Caller) -> Result<Arc<IpcNamespace>> {
    Ok(caller.namespaces().ok_or(EINVAL)?.ipc.clone())
}

fn show(caller: &dyn Caller, which: fn(&IpcNamespace) -> &[Limit]) -> Vec<u8> {
    let Ok(ipc) = namespace(caller) else { return Vec::new() };
    let words: Vec<String> = which(&ipc).iter().map(|limit| format!("{}", limit.get())).collect();
    format!("{}\n", words.join("\t")).into_bytes()
}

/// Takes one number or several; those that are not given stay.
fn set(caller: &dyn Caller, bytes: &[u8], which: fn(&IpcNamespace) -> &[Limit]) -> Result<()> {
    let ipc = namespace(caller)?;
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let mut words = text.split_ascii_whitespace().peekable();
    words.peek().ok_or(EINVAL)?;
    for (limit, word) in which(&ipc).iter().zip(words) {
        limit.set(word.parse().map_err(|_| EINVAL)?)?;
    }
    Ok(())
}
