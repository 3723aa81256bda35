//! Time and chance: `clock_gettime(2)` and `getrandom(2)`.

use kernel_core::host::ImageClock;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
pub fn boottime_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds of `CLOCK_REALTIME`; 0 for a host that lives before 1970.
pub fn realtime_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

/// Nanoseconds of a clock that the vDSO reads too.
pub fn image_clock_ns(clock: ImageClock) -> u64 {
    nanoseconds(match clock {
        ImageClock::Raw => ClockId::CLOCK_MONOTONIC_RAW,
        ImageClock::CoarseMonotonic => ClockId::CLOCK_MONOTONIC_COARSE,
        ImageClock::CoarseRealtime => ClockId::CLOCK_REALTIME_COARSE,
    })
}

fn nanoseconds(clock: ClockId) -> u64 {
    // These clocks exist on every Linux; the vDSO reads them without a system call.
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The processor's time stamp counter, which is cheaper to read than a clock: for spans of a thread that keeps to a
/// processor.
pub fn ticks() -> u64 {
    // SAFETY: the instruction is there on every x86-64 processor, and Linux lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Fills `buf` with random bytes, waiting for the host's pool if that has only just booted.
///
/// # Panics
/// When the host refuses random numbers altogether (no `getrandom`): nothing safe could be done without.
pub fn entropy(buf: &mut [u8]) {
    let mut rest = buf;
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a live mutable slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => rest = &mut rest[got..],
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => panic!("the host gives no random numbers: {}", std::io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_and_chance_differs() {
        let start = monotonic_ns();
        assert!(monotonic_ns() >= start);
        assert!(realtime_ns() > 1_600_000_000_000_000_000);
        let (mut a, mut b) = ([0u8; 300], [0u8; 300]);
        entropy(&mut a);
        entropy(&mut b);
        assert_ne!(a, b);
    }
}
