//! Code of a guest that a host would have in another form, see [`Exit::Rewrite`](crate::host::Exit).
//!
//! Only code that the guest itself cannot write is changed, and only the guest's own copy: what is in the file, and what
//! other programs have of it, stays. A child has what its parent had, as of any private page.

use crate::host::{CallCode, Host, PAGE_SIZE, Prot};
use crate::mm::Mm;

impl<H: Host> Mm<H> {
    /// Writes the host's form of the code at an address, if it has one, and the code may be changed, and RAM is left for a
    /// copy. Whether it was.
    pub fn rewrite(&self, at: u64) -> bool {
        let new = self.program_code(at).and_then(|code| self.host.rewrite(at, code));
        new.is_some_and(|new| self.poke(at, &new) == new.len())
    }

    /// Whether the host's form is at an address.
    pub fn is_rewritten(&self, at: u64) -> bool {
        self.program_code(at).is_some_and(|code| self.host.is_rewritten(at, code))
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
