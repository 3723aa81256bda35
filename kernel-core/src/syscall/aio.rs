//! `io_setup(2)`, `io_submit(2)`, `io_getevents(2)` and their kin; results are kept in [`crate::ipc::aio`].

use linux_raw_sys::general as sys;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{EBADF, EINTR, EINVAL, EOPNOTSUPP, ESPIPE, Result};
use crate::host::{Host, PAGE_SIZE};
use crate::ipc::aio::{AioContext, IoEvent};
use crate::ipc::eventfd::EventFd;
use crate::mm::map::{MapRequest, Object};
use crate::sched::wait::Events;
use crate::syscall::args::RawFd;
use crate::syscall::deadline;
use crate::syscall::{Cx, Restart, SysError, SysResult, Wait, file_io, poll};

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

/// `IOCB_FLAG_RESFD`: an eventfd is told.
const FLAG_EVENTFD: u32 = 1;

/// `struct iocb`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: RawFd,
    buf: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: RawFd,
}
static_assertions::const_assert_eq!(size_of::<Request>(), 64);

/// `io_setup(2)`.
pub fn io_setup<H: Host>(cx: &Cx<'_, H>, capacity: u32, id: u64) -> SysResult {
    if cx.user().get::<u64>(id)? != 0 {
        return Err(EINVAL.into());
    }
    let context = AioContext::new(&cx.kernel.ipc.aio, capacity)?;
    let addr = cx.mm.mmap(&MapRequest {
        addr: 0,
        len: PAGE_SIZE,
        prot: sys::PROT_READ | sys::PROT_WRITE,
        flags: sys::MAP_PRIVATE,
        object: Object::Anonymous,
    })?;
    // A fork's child has none of its parent's contexts.
    let made = cx.mm.madvise(addr, PAGE_SIZE, sys::MADV_DONTFORK).and_then(|()| cx.user().set(id, &addr));
    if let Err(errno) = made {
        let _ = cx.mm.munmap(addr, PAGE_SIZE);
        return Err(errno.into());
    }
    cx.mm.aio.add(addr, context);
    Ok(0)
}

/// `io_destroy(2)`.
pub fn io_destroy<H: Host>(cx: &Cx<'_, H>, id: u64) -> SysResult {
    cx.mm.aio.remove(id)?;
    let _ = cx.mm.munmap(id, PAGE_SIZE);
    Ok(0)
}

/// `io_submit(2)`: how many requests were taken; the error of the first if none was.
pub fn io_submit<H: Host>(cx: &Cx<'_, H>, id: u64, count: i64, list: u64) -> SysResult {
    let count = u64::try_from(count).map_err(|_| EINVAL)?;
    let context = cx.mm.aio.get(id)?;
    for index in 0..count {
        let submitted = cx
            .user()
            .get::<u64>(list.wrapping_add(8 * index))
            .and_then(|request| submit(cx, &context, request));
        match submitted {
            Ok(()) => {}
            Err(_) if index > 0 => return Ok(index),
            Err(errno) => return Err(errno.into()),
        }
        if cx.task.is_leaving() {
            return Ok(index + 1);
        }
    }
    Ok(count)
}

fn submit<H: Host>(cx: &Cx<'_, H>, context: &AioContext, addr: u64) -> Result<()> {
    let request: Request = cx.user().get(addr)?;
    if request.reserved != 0 || i64::try_from(request.len).is_err() {
        return Err(EINVAL);
    }
    context.reserve()?;
    let done = serve(cx, &request, addr);
    context.finish(done.as_ref().ok().map(|(event, _)| *event));
    let (_, eventfd) = done?;
    if let Some(eventfd) = eventfd.as_ref().and_then(|file| file.ops.as_any().downcast_ref::<EventFd>()) {
        eventfd.add(1);
    }
    Ok(())
}

type Served = (IoEvent, Option<alloc::sync::Arc<crate::vfs::file::OpenFile>>);

/// Does a request. An error is one of submitting it; that of the operation itself is in the event.
fn serve<H: Host>(cx: &Cx<'_, H>, request: &Request, addr: u64) -> Result<Served> {
    let file = cx.file(request.fd)?;
    let eventfd = match request.flags & FLAG_EVENTFD {
        0 => None,
        _ => Some(cx.file(request.eventfd)?),
    };
    if eventfd.as_ref().is_some_and(|file| !file.ops.as_any().is::<EventFd>()) {
        return Err(EINVAL);
    }
    // KIOCB_KEY: says that the kernel has seen it.
    cx.user().set(addr.wrapping_add(8), &0u32)?;
    let (reads, writes) =
        (matches!(request.opcode, PREAD | PREADV), matches!(request.opcode, PWRITE | PWRITEV));
    if reads && !file.flags().readable() || writes && !file.flags().writable() {
        return Err(EBADF);
    }
    if (reads || writes) && request.offset < 0 {
        return Err(EINVAL);
    }
    let Request { fd, buf, len, offset, rw_flags, .. } = *request;
    if matches!(request.opcode, PREAD | PWRITE) && rw_flags != 0 {
        return Err(EOPNOTSUPP);
    }
    let flags = rw_flags;
    let result = match request.opcode {
        PREAD => anywhere(file_io::pread64(cx, fd, buf, len, offset), || file_io::read(cx, fd, buf, len)),
        PWRITE => anywhere(file_io::pwrite64(cx, fd, buf, len, offset), || file_io::write(cx, fd, buf, len)),
        PREADV => anywhere(file_io::preadv2(cx, fd, buf, len, Some(offset), flags), || {
            file_io::preadv2(cx, fd, buf, len, None, flags)
        }),
        PWRITEV => anywhere(file_io::pwritev2(cx, fd, buf, len, Some(offset), flags), || {
            file_io::pwritev2(cx, fd, buf, len, None, flags)
        }),
        FSYNC | FDSYNC if buf == 0 && len == 0 && offset == 0 && rw_flags == 0 => file_io::fsync(cx, fd),
        _ => return Err(EINVAL),
    };
    let result = match result {
        Ok(value) => value as i64,
        Err(SysError::Errno(errno)) => -i64::from(errno.code()),
        Err(SysError::Restart(_)) => -i64::from(EINTR.code()),
    };
    Ok((IoEvent { data: request.data, request: addr, result, result_2: 0 }, eventfd))
}

/// What is done at an offset is done at the only place there is in files without offsets.
fn anywhere(result: SysResult, otherwise: impl FnOnce() -> SysResult) -> SysResult {
    if result == Err(SysError::Errno(ESPIPE)) { otherwise() } else { result }
}

/// How many results are wanted, and where they go.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Fewer are waited for.
    pub least: i64,
    /// At most.
    pub most: i64,
    /// An array of `struct io_event`.
    pub events: u64,
}

fn collect<H: Host>(cx: &Cx<'_, H>, id: u64, wanted: Wanted, timeout: u64) -> Result<(u64, bool)> {
    let deadline_ns = deadline::relative(cx, timeout)?;
    let context = cx.mm.aio.get(id)?;
    let (least, most) = match (usize::try_from(wanted.least), usize::try_from(wanted.most)) {
        (Ok(least), Ok(most)) if least <= most => (least, most),
        _ => return Err(EINVAL),
    };
    let enough = || (context.count() >= least || context.is_destroyed()).then_some(());
    let waited = cx.wait_until(&[(&context.queue, Events::IN)], deadline_ns, enough);
    let events = context.take(most);
    cx.user().write_bytes(wanted.events, events.as_slice().as_bytes())?;
    Ok((events.len() as u64, waited == Wait::Interrupted))
}

/// `io_getevents(2)`.
pub fn io_getevents<H: Host>(cx: &Cx<'_, H>, id: u64, wanted: Wanted, timeout: u64) -> SysResult {
    match collect(cx, id, wanted, timeout)? {
        (0, true) => Err(EINTR.into()),
        (count, _) => Ok(count),
    }
}

/// `io_pgetevents(2)`: with another signal mask while it waits; `set` has its address and size.
pub fn io_pgetevents<H: Host>(cx: &Cx<'_, H>, id: u64, wanted: Wanted, timeout: u64, set: u64) -> SysResult {
    let mask = match set {
        0 => [0, 0],
        addr => cx.user().get::<[u64; 2]>(addr)?,
    };
    poll::with_mask(cx, (mask[0], mask[1] as usize), || match collect(cx, id, wanted, timeout)? {
        (0, true) => Err(SysError::Restart(Restart::WithoutHandler)),
        (count, _) => Ok(count),
    })
}

/// `io_cancel(2)`: whatever was submitted is done, so there is nothing to cancel.
pub fn io_cancel<H: Host>(cx: &Cx<'_, H>, id: u64, request: u64) -> SysResult {
    cx.user().get::<u32>(request.wrapping_add(8))?;
    cx.mm.aio.get(id)?;
    Err(EINVAL.into())
}
