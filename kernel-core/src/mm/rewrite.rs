//! Code of a guest that a host would have in another form, see [`Exit::Rewrite`](crate::host::Exit).
//!
//! Only code that the guest itself cannot write is changed, and only the guest's own copy: what is in the file, and what
//! other programs have of it, stays. A child has what its parent had, as of any private page.

use crate::host::{Host, PAGE_SIZE, Prot, Rewrite};
use crate::mm::Mm;

impl<H: Host> Mm<H> {
    /// Writes the new form, if the old one is there and may be changed, and RAM is left for a copy. Whether it was.
    pub fn rewrite(&self, rewrite: &Rewrite) -> bool {
        let len = rewrite.old.len();
        rewrite.at % PAGE_SIZE <= PAGE_SIZE - len as u64
            && self.is_program(rewrite.at)
            && self.has(rewrite.at, &rewrite.old)
            && self.poke(rewrite.at, &rewrite.new) == len
    }

    /// Whether the new form is there.
    pub fn is_rewritten(&self, rewrite: &Rewrite) -> bool {
        self.has(rewrite.at, &rewrite.new)
    }

    /// Whether an address has code that is private to this space and not written by it.
    fn is_program(&self, addr: u64) -> bool {
        self.change(|inner, _| {
            inner.vmas.get(addr).is_some_and(|(_, vma)| {
                vma.is_private() && vma.prot.contains(Prot::EXEC) && !vma.prot.contains(Prot::WRITE)
            })
        })
    }

    fn has(&self, addr: u64, code: &[u8; 7]) -> bool {
        let mut found = [0; 7];
        self.peek(addr, &mut found) == found.len() && found == *code
    }
}
