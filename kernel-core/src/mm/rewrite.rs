//! Code of a guest that a host would have in another form, see [`Exit::Rewrite`](crate::host::Exit).
//!
//! Only code that the guest itself cannot write is changed, and only the guest's own copy: what is in the file, and what
//! other programs have of it, stays. A child has what its parent had, as of any private page.
//!
//! Whoever looks at a program as a debugger does is to find what the program was made of: then what was there is put back,
//! and the code is left alone from then on.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::host::{CallCode, Host, PAGE_SIZE, Prot};
use crate::mm::Mm;

/// What was rewritten in an address space.
#[derive(Clone, Default)]
pub(super) struct Rewritten {
    /// What was there, by address. A child's is its parent's until one of them changes it.
    before: Arc<BTreeMap<u64, CallCode>>,
    /// Nothing is rewritten any more.
    left_alone: bool,
}

impl<H: Host> Mm<H> {
    /// Writes the host's form of the code at an address, if it has one, and the code may be changed, and RAM is left for a
    /// copy. Whether it was.
    pub fn rewrite(&self, at: u64) -> bool {
        let mut rewritten = self.rewritten.lock();
        if rewritten.left_alone {
            return false;
        }
        let Some(code) = self.program_code(at) else { return false };
        let Some(new) = self.host.rewrite(at, code) else { return false };
        Arc::make_mut(&mut rewritten.before).insert(at, code);
        self.poke(at, &new) == new.len()
    }

    /// Whether the host's form is at an address.
    pub fn is_rewritten(&self, at: u64) -> bool {
        self.program_code(at).is_some_and(|code| self.host.is_rewritten(at, code))
    }

    /// Whether there was the host's form at an address, and is not any more.
    pub fn is_restored(&self, at: u64) -> bool {
        let before = self.rewritten.lock().before.get(&at).copied();
        before.is_some() && self.program_code(at) == before
    }

    /// Puts back what was rewritten, and leaves it so.
    pub fn keep_code(&self) {
        let mut rewritten = self.rewritten.lock();
        if core::mem::replace(&mut rewritten.left_alone, true) {
            return;
        }
        for (at, code) in &*rewritten.before {
            // Something else may be there now.
            if self.is_rewritten(*at) {
                self.poke(*at, code);
            }
        }
    }

    /// For a copy of this space, which has its code: what it knows of it.
    pub(super) fn copy_rewritten(&self, to: &Mm<H>) {
        let rewritten = self.rewritten.lock().clone();
        *to.rewritten.lock() = rewritten;
    }

    /// The code at an address, within one page, that is private to this space and not written by it.
    fn program_code(&self, at: u64) -> Option<CallCode> {
        let mut code = CallCode::default();
        let is_program = self.change(|inner, _| {
            inner.vmas.get(at).is_some_and(|(_, vma)| {
                vma.is_private() && vma.prot.contains(Prot::EXEC) && !vma.prot.contains(Prot::WRITE)
            })
        });
        let in_one_page = at % PAGE_SIZE <= PAGE_SIZE - code.len() as u64;
        (is_program && in_one_page && self.peek(at, &mut code) == code.len()).then_some(code)
    }
}
