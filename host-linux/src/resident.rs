//! Whose vector state a host thread has in its registers.
//!
//! It stays there for as long as the same guest thread comes back, as moving it costs more than a system call.

use std::sync::{Arc, Weak};

use kernel_core::host::Fpu;

/// The owner of the vector state that is loaded, and the generation of it.
#[derive(Default)]
pub struct Resident(Option<(Weak<Fpu>, u64)>);

impl Resident {
    /// Makes `fpu` the owner: saves what the last owner has in the registers with `save`, if that is another one, and has
    /// `load` load the new one's. Neither is called if `fpu` is the owner and was not replaced.
    pub fn switch_to<E>(
        &mut self,
        fpu: &Arc<Fpu>,
        save: impl FnOnce(&mut [u8]) -> Result<(), E>,
        load: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_current(fpu) {
            return Ok(());
        }
        if !self.is_of(fpu) {
            self.save(save)?;
        }
        self.0 = None;
        let generation = fpu.read(|area, now| load(area).map(|()| now))?;
        self.0 = Some((Arc::downgrade(fpu), generation));
        Ok(())
    }

    /// Makes `owner`'s area in memory current with `save`, if its state is here.
    pub fn save_of<E>(
        &self,
        owner: &Arc<Fpu>,
        save: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_of(owner) { self.save(save) } else { Ok(()) }
    }

    /// What is loaded is nobody's any more.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// Whether what is loaded is `fpu`'s, as it is now.
    pub fn is_current(&self, fpu: &Arc<Fpu>) -> bool {
        self.is_of(fpu) && self.0.as_ref().is_some_and(|(_, loaded)| fpu.read(|_, now| now == *loaded))
    }

    fn is_of(&self, fpu: &Arc<Fpu>) -> bool {
        self.0.as_ref().is_some_and(|(owner, _)| std::ptr::eq(owner.as_ptr(), Arc::as_ptr(fpu)))
    }

    /// Copies what is loaded to its owner, unless that has been given another since.
    fn save<E>(&self, save: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        let Some((owner, generation)) = &self.0 else { return Ok(()) };
        let Some(owner) = owner.upgrade() else { return Ok(()) };
        if owner.read(|_, now| now != *generation) {
            return Ok(());
        }
        let mut result = Ok(());
        owner.store(|area| result = save(area));
        result
    }
}
