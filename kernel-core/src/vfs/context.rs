//! What path names of a process start from, shared by tasks made with CLONE_FS.

use alloc::sync::Arc;

use crate::errno::{ENOENT, Result};
use crate::sync::Mutex;
use crate::vfs::caller::Caller;
use crate::vfs::mount::Namespace;
use crate::vfs::path::Path;
use crate::vfs::walk::Walker;

/// Root directory, working directory and umask.
pub struct FsContext {
    namespace: Arc<Namespace>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    root: Path,
    cwd: Path,
    umask: u32,
}

impl FsContext {
    /// At the root of a namespace, with umask 022.
    pub fn new(namespace: Arc<Namespace>) -> Result<Arc<FsContext>> {
        let root = namespace.root().ok_or(ENOENT)?;
        let state = State { cwd: root.clone(), root, umask: 0o022 };
        Ok(Arc::new(FsContext { namespace, state: Mutex::new(state) }))
    }

    /// At other places, which may be in another namespace, with the same umask.
    pub fn moved(&self, namespace: Arc<Namespace>, root: Path, cwd: Path) -> Arc<FsContext> {
        let umask = self.umask();
        Arc::new(FsContext { namespace, state: Mutex::new(State { root, cwd, umask }) })
    }

    /// A copy that changes on its own (`fork`, `unshare(CLONE_FS)`).
    pub fn copy(&self) -> Arc<FsContext> {
        let state = self.state.lock().clone();
        Arc::new(FsContext { namespace: self.namespace.clone(), state: Mutex::new(state) })
    }

    /// The tree of mounts.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Where absolute paths start.
    pub fn root(&self) -> Path {
        self.state.lock().root.clone()
    }

    /// Where relative paths start.
    pub fn cwd(&self) -> Path {
        self.state.lock().cwd.clone()
    }

    /// `chroot(2)`, after all checks.
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// `chdir(2)`, after all checks.
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.state.lock().cwd, cwd);
        drop(old);
    }

    /// Permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.state.lock().umask
    }

    /// Sets the umask and gives the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }

    /// For `pivot_root(2)`: moves root and working directory from `old` to `new` if they are there.
    pub fn replace(&self, old: &Path, new: &Path) {
        let mut state = self.state.lock();
        let root = state.root.is(old).then(|| core::mem::replace(&mut state.root, new.clone()));
        let cwd = state.cwd.is(old).then(|| core::mem::replace(&mut state.cwd, new.clone()));
        drop(state);
        drop((root, cwd));
    }

    /// Walks paths for `caller` with its present credentials.
    pub fn walker<'a>(&'a self, caller: &'a dyn Caller) -> Walker<'a> {
        let cred = caller.cred();
        let state = self.state.lock();
        Walker::new(&self.namespace, state.root.clone(), caller, cred, state.umask)
    }
}
