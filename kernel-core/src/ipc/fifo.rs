//! Pipes with a name. Source: `fifo(7)`.

use alloc::sync::{Arc, Weak};

use crate::errno::{EINVAL, ENXIO, EOPNOTSUPP, Result};
use crate::ipc::pipe::{Pipe, PipeEnd};
use crate::sync::Mutex;
use crate::vfs::device::{Opener, Special};
use crate::vfs::file::{FileOps, OpenFlags};
use crate::vfs::inode::Inode;

/// What is attached to the inode of a FIFO: the pipe, while anyone has it open.
#[derive(Default)]
struct Fifo {
    pipe: Mutex<Weak<Pipe>>,
}

/// Opens FIFOs, and anonymous pipes by their names in `/proc`.
///
/// ENXIO: only for writing, without blocking, and nobody reads. EINVAL: for neither reading nor writing.
pub struct FifoOpener;

impl Opener for FifoOpener {
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        Ok(attached(&**file.inode)?.open(file.flags)?)
    }
}

/// Makes `pipe` what is opened by the name of an anonymous pipe's inode.
pub fn attach(inode: &dyn Inode, pipe: &Arc<Pipe>) -> Result<()> {
    *attached(inode)?.pipe.lock() = Arc::downgrade(pipe);
    Ok(())
}

fn attached(inode: &dyn Inode) -> Result<Arc<Fifo>> {
    let mut attachment = inode.attachment().ok_or(EOPNOTSUPP)?.lock();
    let any = attachment.get_or_insert_with(|| Arc::new(Fifo::default())).clone();
    any.downcast().map_err(|_| EOPNOTSUPP)
}

impl Fifo {
    fn open(&self, flags: OpenFlags) -> Result<Arc<PipeEnd>> {
        let mut current = self.pipe.lock();
        let pipe = current.upgrade();
        let unread = !pipe.as_ref().is_some_and(|pipe| pipe.is_anonymous() || pipe.has_readers());
        if !flags.writable() && !flags.readable() {
            return Err(EINVAL);
        }
        if flags.writable() && !flags.readable() && flags.contains(OpenFlags::NONBLOCK) && unread {
            return Err(ENXIO);
        }
        let pipe = pipe.unwrap_or_default();
        *current = Arc::downgrade(&pipe);
        drop(current);
        Ok(pipe.open(flags))
    }
}
