//! What a task may do with others: their memory and descriptors. Sources: `process_vm_readv(2)`, `pidfd_getfd(2)`,
//! `kcmp(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::errno::{EBADF, EINVAL, EOPNOTSUPP, ESRCH, Result};
use crate::host::Host;
use crate::io::{Sink, Source};
use crate::ipc::pidfd::PidFd;
use crate::mm::user::{Buffers, MAX_IOVECS};
use crate::syscall::args::RawFd;
use crate::syscall::{Cx, SysResult};
use crate::task::Task;
use crate::task::access::Ids;
use crate::task::thread::Resources;
use crate::vfs::fd::OnExec;

/// So many bytes are copied through the kernel at a time.
const STEP: usize = 4096;

/// Which way memory is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the other process.
    Read,
    /// To the other process.
    Write,
}

/// An iovec array of the caller: how many, and where.
pub type Iovecs = (u64, u64);

/// `process_vm_readv(2)`, `process_vm_writev(2)`.
pub fn process_vm<H: Host>(
    cx: &Cx<'_, H>,
    pid: i32,
    (local, local_count): Iovecs,
    (remote, remote_count): Iovecs,
    flags: u64,
    direction: Direction,
) -> SysResult {
    if flags != 0 {
        return Err(EINVAL.into());
    }
    let mut local = cx.user().buffers(local, local_count)?;
    if Source::remaining(&local) == 0 {
        return Ok(0);
    }
    if remote_count > MAX_IOVECS {
        return Err(EINVAL.into());
    }
    let mut parts: Vec<[u64; 2]> = alloc::vec![[0; 2]; remote_count as usize];
    cx.user().read_bytes(remote, parts.as_mut_slice().as_mut_bytes())?;
    if parts.iter().any(|[_, len]| i64::try_from(*len).is_err()) {
        return Err(EINVAL.into());
    }
    parts.retain(|[_, len]| *len > 0);
    if parts.is_empty() {
        return Ok(0);
    }
    let task = u32::try_from(pid).ok().and_then(|pid| cx.thread_numbered(pid)).ok_or(ESRCH)?;
    let mm = cx.look_into(&task, Ids::Real)?.mm;
    let user = mm.user();
    let mut remote = user.buffers_of(parts.into_iter().map(|[addr, len]| (addr, len)));
    match direction {
        Direction::Read => copy(&mut remote, &mut local),
        Direction::Write => copy(&mut local, &mut remote),
    }
}

/// Copies until one side ends or cannot be reached; EFAULT if that is at once.
fn copy<H: Host>(from: &mut Buffers<'_, H>, to: &mut Buffers<'_, H>) -> SysResult {
    let mut buf = [0; STEP];
    let mut done = 0u64;
    loop {
        let want = STEP.min(Source::remaining(from)).min(Sink::remaining(to));
        let part = &mut buf[..want];
        let copied = from.take(part).and_then(|taken| to.put(part.get(..taken).unwrap_or_default()));
        match copied {
            Ok(0) => return Ok(done),
            Ok(copied) => done += copied as u64,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `pidfd_getfd(2)`.
pub fn pidfd_getfd<H: Host>(cx: &Cx<'_, H>, pidfd: RawFd, fd: RawFd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(EINVAL.into());
    }
    let file = cx.file(pidfd)?;
    let pidfd = file.ops.as_any().downcast_ref::<PidFd>().ok_or(EBADF)?;
    if pidfd.exit.has_exited() {
        return Err(ESRCH.into());
    }
    let (found, _kept) = {
        let tree = cx.kernel.tree.lock();
        let task = tree.thread(pidfd.pid).ok_or(ESRCH)?;
        cx.check_access(&task, Ids::Real)?;
        let resources = task.resources().ok_or(ESRCH)?;
        (resources.files.get_any(fd), (task, resources))
    };
    cx.install_file(found?, OnExec::Close)
}

const KCMP_FILE: u32 = 0;
const KCMP_VM: u32 = 1;
const KCMP_FILES: u32 = 2;
const KCMP_FS: u32 = 3;
const KCMP_SIGHAND: u32 = 4;
const KCMP_IO: u32 = 5;
const KCMP_SYSVSEM: u32 = 6;
const KCMP_EPOLL_TFD: u32 = 7;

/// `kcmp(2)`: 0 for the same, 1 and 2 for two different ones, in an order that says nothing of where they are.
pub fn kcmp<H: Host>(cx: &Cx<'_, H>, pids: [i32; 2], kind: u32, indexes: [u64; 2]) -> SysResult {
    let find = |pid: i32| -> Result<Arc<Task<H>>> {
        u32::try_from(pid).ok().and_then(|pid| cx.thread_numbered(pid)).ok_or(ESRCH)
    };
    let tasks = [find(pids[0])?, find(pids[1])?];
    let resources: Vec<Resources<H>> =
        tasks.iter().map(|task| cx.look_into(task, Ids::Real)).collect::<Result<_>>()?;
    let [one, other] = resources.as_slice() else { return Err(ESRCH.into()) };
    let both = |of: fn(&Resources<H>) -> usize| [of(one), of(other)];
    let addresses = match kind {
        KCMP_FILE => {
            let file = |of: &Resources<H>, index: u64| -> Result<usize> {
                let fd = RawFd::try_from(index).map_err(|_| EBADF)?;
                Ok(Arc::as_ptr(&of.files.get_any(fd)?).addr())
            };
            [file(one, indexes[0])?, file(other, indexes[1])?]
        }
        KCMP_VM => both(|resources| Arc::as_ptr(&resources.mm).addr()),
        KCMP_FILES => both(|resources| Arc::as_ptr(&resources.files).addr()),
        KCMP_FS => both(|resources| Arc::as_ptr(&resources.fs).addr()),
        KCMP_SIGHAND => [0, 1].map(|index: usize| Arc::as_ptr(&tasks[index].process.actions()).addr()),
        // No task has an I/O context.
        KCMP_IO => [0, 0],
        KCMP_SYSVSEM => [0, 1].map(|index: usize| {
            let list = tasks[index].sem_undo.lock();
            list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
        }),
        KCMP_EPOLL_TFD => return Err(EOPNOTSUPP.into()),
        _ => return Err(EINVAL.into()),
    };
    let cookies = cx.kernel.ipc.cookies;
    let [one, other] = addresses.map(|addr| (addr as u64 ^ cookies[0]).wrapping_mul(cookies[1] | 1));
    Ok(match one.cmp(&other) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}
