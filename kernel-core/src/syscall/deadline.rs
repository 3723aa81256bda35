//! Deadlines in monotonic nanoseconds, of the times that programs pass.

use crate::abi::time::TimeSpec;
use crate::errno::Result;
use crate::host::Host;
use crate::syscall::Cx;

/// In so many nanoseconds.
pub fn after<H: Host>(cx: &Cx<'_, H>, ns: u64) -> u64 {
    cx.services().clock.after(ns)
}

/// In so many milliseconds; a negative number is no deadline.
pub fn after_ms<H: Host>(cx: &Cx<'_, H>, timeout_ms: i32) -> Option<u64> {
    let ns = u64::try_from(timeout_ms).ok()?.saturating_mul(1_000_000);
    Some(after(cx, ns))
}

/// Of a relative `struct timespec` at `addr`, 0 being none; EFAULT, EINVAL.
pub fn relative<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Option<u64>> {
    Ok(read(cx, addr)?.map(|ns| after(cx, ns)))
}

/// Of an absolute `struct timespec` at `addr` of the real-time or the monotonic clock, 0 being none; EFAULT, EINVAL.
pub fn absolute<H: Host>(cx: &Cx<'_, H>, addr: u64, realtime: bool) -> Result<Option<u64>> {
    Ok(read(cx, addr)?.map(|ns| if realtime { cx.services().clock.at_realtime(ns) } else { ns }))
}

fn read<H: Host>(cx: &Cx<'_, H>, addr: u64) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    Ok(Some(cx.user().get::<TimeSpec>(addr)?.to_ns()?))
}
