//! The kernel's locks, and the atomics that its scheduling rests on.
//!
//! [`Mutex`] is a spin lock for short sections. Kernel code is not preempted and never suspends with a guard alive,
//! so a holder is always on its way out. In builds with a std (unit tests), guards are counted by thread and
//! [`assert_no_guards`] shows that none lives across a suspension.
//!
//! In a build with `--cfg shuttle` both are those of the model checker, which decides at each use of one who goes on
//! (see [`crate::model`]).

use core::ops::{Deref, DerefMut};

#[cfg(not(shuttle))]
pub use core::sync::atomic;
#[cfg(shuttle)]
pub use shuttle::sync::atomic;

#[cfg(not(shuttle))]
use spin::{Mutex as Lock, MutexGuard as Guard};

#[cfg(shuttle)]
use shuttled::{Guard, Lock};

/// A spin lock around `T`.
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    inner: Lock<T>,
}

impl<T> Mutex<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Mutex { inner: Lock::new(value) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.inner.lock();
        count::up();
        MutexGuard { guard }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.inner.try_lock()?;
        count::up();
        Some(MutexGuard { guard })
    }
}

/// A held lock; gives way when dropped.
pub struct MutexGuard<'a, T: ?Sized> {
    guard: Guard<'a, T>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        count::down();
    }
}

/// Panics, in unit tests, when the calling fiber holds a lock.
pub fn assert_no_guards() {
    count::assert_zero();
}

/// The model checker's lock with the face of the spin lock.
#[cfg(shuttle)]
mod shuttled {
    extern crate std;
    use std::sync::PoisonError;

    pub use shuttle::sync::MutexGuard as Guard;

    #[derive(Default)]
    pub struct Lock<T: ?Sized>(shuttle::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub const fn new(value: T) -> Self {
            Lock(shuttle::sync::Mutex::new(value))
        }
    }

    impl<T: ?Sized> Lock<T> {
        pub fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub fn try_lock(&self) -> Option<Guard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

// Not with the model checker: its threads are one thread of the host's.
#[cfg(all(any(test, feature = "fake-host"), not(shuttle)))]
mod count {
    use core::cell::Cell;
    extern crate std;
    std::thread_local!(static HELD: Cell<usize> = const { Cell::new(0) });
    pub fn up() {
        HELD.with(|held| held.set(held.get() + 1));
    }
    pub fn down() {
        HELD.with(|held| held.set(held.get() - 1));
    }
    pub fn assert_zero() {
        HELD.with(|held| assert_eq!(held.get(), 0, "a lock is held across a suspension"));
    }
}

#[cfg(any(shuttle, not(any(test, feature = "fake-host"))))]
mod count {
    pub fn up() {}
    pub fn down() {}
    pub fn assert_zero() {}
}
