//! A program without std that links the kernel; `cargo xtask tidy` builds it and nobody runs it.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};

/// An allocator that has nothing to give.
struct Nothing;

// SAFETY: it never gives memory out, so there is nothing it could break.
unsafe impl GlobalAlloc for Nothing {
    // SAFETY: returning null is always allowed.
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    // SAFETY: never called, as nothing was given.
    unsafe fn dealloc(&self, _at: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The precompiled `core` names it, though nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let lock = kernel_core::sync::Mutex::new(0);
    *lock.lock() += 1;
    loop {}
}
