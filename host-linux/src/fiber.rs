//! Fibers: kernel code on stacks of its own, with a guard page below each. `corosensei` switches in a few nanoseconds.

use std::sync::{Arc, Mutex, PoisonError};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use kernel_core::host::{Fiber, FiberBody, HostError, Resumed, Suspend};

/// Bytes of a fiber's stack, without its guard page. Only touched pages cost memory.
const STACK_SIZE: usize = 256 * 1024;

/// Stacks kept for reuse; mapping one with its guard costs several microseconds.
const POOL_LIMIT: usize = 64;

/// Makes fibers and keeps the stacks of finished ones.
#[derive(Default)]
pub struct FiberPool {
    stacks: Arc<Mutex<Vec<DefaultStack>>>,
}

impl FiberPool {
    /// An empty pool.
    pub fn new() -> FiberPool {
        FiberPool::default()
    }

    /// A fiber that will run `body` when first resumed.
    pub fn fiber(&self, body: FiberBody) -> Result<HostFiber, HostError> {
        let kept = self.stacks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let stack = match kept {
            Some(stack) => stack,
            None => DefaultStack::new(STACK_SIZE).map_err(|_| HostError::OutOfMemory)?,
        };
        let routine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| body(&Way(yielder)));
        Ok(HostFiber { routine: Some(routine), stacks: self.stacks.clone() })
    }
}

/// The way out of a fiber, on that fiber's stack.
struct Way<'a>(&'a Yielder<(), ()>);

impl Suspend for Way<'_> {
    fn suspend(&self) {
        self.0.suspend(());
    }
}

/// A stackful context. Dropping an unfinished one unwinds its stack, so that what lies there is dropped too.
pub struct HostFiber {
    routine: Option<Coroutine<(), (), ()>>,
    stacks: Arc<Mutex<Vec<DefaultStack>>>,
}

// SAFETY: the body is `Send`. What lies on the stack while the fiber is suspended was made by kernel code, which has
// no thread-locals and holds no lock guard across a suspension (rules of `kernel_core::host`), so the stack does not
// belong to a thread.
unsafe impl Send for HostFiber {}

impl Fiber for HostFiber {
    fn resume(&mut self) -> Resumed {
        let Some(routine) = &mut self.routine else { return Resumed::Finished };
        if let CoroutineResult::Yield(()) = routine.resume(()) {
            return Resumed::Suspended;
        }
        if let Some(routine) = self.routine.take() {
            let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
            if stacks.len() < POOL_LIMIT {
                stacks.push(routine.into_stack());
            }
        }
        Resumed::Finished
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_fiber_moves_between_threads_and_ends() {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let body: FiberBody = Box::new(move |way| {
            for _ in 0..3 {
                seen.fetch_add(1, Ordering::Relaxed);
                way.suspend();
            }
        });
        let mut fiber = FiberPool::new().fiber(body).unwrap();
        assert_eq!(fiber.resume(), Resumed::Suspended);
        let mut fiber = std::thread::spawn(move || {
            assert_eq!(fiber.resume(), Resumed::Suspended);
            fiber
        })
        .join()
        .unwrap();
        assert_eq!(fiber.resume(), Resumed::Suspended);
        assert_eq!(fiber.resume(), Resumed::Finished);
        assert_eq!(fiber.resume(), Resumed::Finished);
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_dropped_fiber_drops_what_it_holds() {
        let held = Arc::new(());
        let inner = held.clone();
        let body: FiberBody = Box::new(move |way| {
            let _inner = inner;
            way.suspend();
        });
        let mut fiber = FiberPool::new().fiber(body).unwrap();
        fiber.resume();
        assert_eq!(Arc::strong_count(&held), 2);
        drop(fiber);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
