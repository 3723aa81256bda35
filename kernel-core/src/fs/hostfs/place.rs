//! Where the bytes of a file of hostfs last.

use alloc::sync::Arc;

use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};

use super::attr::Kept;
use crate::errno::Result;
use crate::host::tree::{Access, Attr, Node, OpenNode};
use crate::host::{Frames, Phys};
use crate::mm::cache::Store;
use crate::services::Services;
use crate::sync::Mutex;

/// Where a file's bytes last, and what is known of it. Apart from the inode, which owns the cache that owns this.
pub(super) struct PlaceOf {
    services: Arc<Services>,
    pub(super) node: Mutex<Arc<dyn Node>>,
    open: Mutex<Open>,
    pub(super) state: Mutex<State>,
}

/// How a regular file is open on the host.
#[derive(Default)]
struct Open {
    file: Option<(Access, Arc<dyn OpenNode>)>,
    users: u64,
}

/// What was learned.
pub(super) struct State {
    pub(super) attr: Attr,
    pub(super) kept: Kept,
    /// When; 0: it is known to be old.
    pub(super) checked_ns: u64,
    pub(super) epoch: u64,
}

impl PlaceOf {
    pub(super) fn new(services: &Arc<Services>, node: Arc<dyn Node>, attr: Attr, kept: Kept) -> Arc<PlaceOf> {
        let state = State { attr, kept, checked_ns: services.clock.monotonic_ns(), epoch: 1 };
        Arc::new(PlaceOf {
            services: services.clone(),
            node: Mutex::new(node),
            open: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    pub(super) fn node(&self) -> Arc<dyn Node> {
        self.node.lock().clone()
    }

    /// An open file, for as long as it is used.
    pub(super) fn file(&self, wanted: Access) -> Result<Arc<dyn OpenNode>> {
        let open = self.open.lock().file.clone();
        match open {
            Some((access, file)) if access == Access::Write || wanted == Access::Read => Ok(file),
            _ => Ok(self.node().open(wanted)?),
        }
    }

    /// It is open already, for writing.
    pub(super) fn set_open(&self, file: Arc<dyn OpenNode>) {
        self.open.lock().file = Some((Access::Write, file));
    }

    /// Keeps the file open until [`PlaceOf::close`].
    pub(super) fn keep_open(&self, access: Access) -> Result<()> {
        let has = |open: &Open| {
            open.file.as_ref().is_some_and(|(has, _)| *has == Access::Write || access == Access::Read)
        };
        {
            let mut open = self.open.lock();
            if has(&open) {
                open.users += 1;
                return Ok(());
            }
        }
        let file = self.node().open(access)?;
        let mut open = self.open.lock();
        open.users += 1;
        let old = if has(&open) { None } else { open.file.replace((access, file)) };
        drop(open);
        drop(old);
        Ok(())
    }

    /// One user of the open file less.
    pub(super) fn close(&self) {
        let mut open = self.open.lock();
        open.users = open.users.saturating_sub(1);
        let unused = if open.users == 0 { open.file.take() } else { None };
        drop(open);
        drop(unused);
    }

    /// It was changed here: the new attributes say nothing of others.
    pub(super) fn changed(&self) {
        let attr = self.node().attr();
        let mut state = self.state.lock();
        match attr {
            Ok(attr) => (state.attr, state.checked_ns) = (attr, self.services.clock.monotonic_ns()),
            Err(_) => state.checked_ns = 0,
        }
    }
}

impl Store for PlaceOf {
    fn read(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        let read = self.file(Access::Read)?.read(ram, offset, at, len)?.min(len);
        ram.zero(Phys(at.0 + read), len - read);
        Ok(())
    }

    fn write(&self, ram: &dyn Frames, offset: u64, at: Phys, len: u64) -> Result<()> {
        let result = self.file(Access::Write)?.write(ram, offset, at, len);
        // Some of it may be there even if it failed.
        self.changed();
        Ok(result?)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file(Access::Write)?.set_len(len)?;
        self.changed();
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        self.file(Access::Write)?.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len)?;
        self.changed();
        Ok(())
    }

    fn next_data(&self, offset: u64) -> Result<u64> {
        Ok(self.file(Access::Read)?.next_data(offset)?)
    }

    fn next_hole(&self, offset: u64, _: u64) -> Result<u64> {
        Ok(self.file(Access::Read)?.next_hole(offset)?)
    }
}
