//! The XSAVE area: initial contents, and the form it has in a signal frame.
//! Source: Intel SDM volume 1, chapter 13; Linux `arch/x86/include/uapi/asm/sigcontext.h`.

use alloc::vec;
use alloc::vec::Vec;

/// Bytes of the legacy (FXSAVE) region.
pub const LEGACY: usize = 512;
/// Legacy region and header.
pub const MINIMUM: usize = 576;
/// Where the legacy region has MXCSR.
const MXCSR: usize = 24;
/// Where the legacy region tells the kernel about the rest (`struct _fpx_sw_bytes`).
const SW_BYTES: usize = 464;
/// Where the header has the set of components that are not in their initial state.
const XSTATE_BV: usize = 512;
/// `FP_XSTATE_MAGIC1`.
const MAGIC1: u32 = 0x4650_5853;
/// `FP_XSTATE_MAGIC2`, behind the area.
pub const MAGIC2: u32 = 0x4650_5845;
/// Bits of MXCSR that exist on every x86-64.
const MXCSR_MASK: u32 = 0xffff;

/// The state of a program that starts: all exceptions masked, everything else zero.
pub fn initial(size: usize) -> Vec<u8> {
    let mut area = vec![0; size.max(MINIMUM)];
    put(&mut area, 0, &0x37fu16.to_le_bytes());
    put(&mut area, MXCSR, &0x1f80u32.to_le_bytes());
    put(&mut area, 28, &MXCSR_MASK.to_le_bytes());
    put(&mut area, XSTATE_BV, &3u64.to_le_bytes());
    area
}

/// Notes in an area which components there are, where debuggers look for that in a register set (`NT_X86_XSTATE`).
pub fn note_features(area: &mut [u8], features: u64) {
    put(area, SW_BYTES, &features.to_le_bytes());
}

/// Marks an area as extended, as the kernel does in a signal frame: `area` without the trailing [`MAGIC2`].
pub fn mark(area: &mut [u8], features: u64) {
    let size = area.len() as u32;
    put(area, SW_BYTES, &MAGIC1.to_le_bytes());
    put(area, SW_BYTES + 4, &(size + 4).to_le_bytes());
    put(area, SW_BYTES + 8, &features.to_le_bytes());
    put(area, SW_BYTES + 16, &size.to_le_bytes());
}

/// Whether a frame's legacy region says that an area of `size` bytes follows; if not, only the legacy region counts.
pub fn is_marked(legacy: &[u8], size: usize) -> bool {
    word(legacy, SW_BYTES) == MAGIC1 && word(legacy, SW_BYTES + 16) as usize == size
}

/// Makes what a guest wrote into an area loadable: header bytes that must be zero are, components are ones that exist.
/// `false`: MXCSR has bits that do not exist, for which Linux kills.
pub fn sanitize(area: &mut [u8], features: u64) -> bool {
    if word(area, MXCSR) & !MXCSR_MASK != 0 {
        return false;
    }
    let present = u64::from(word(area, XSTATE_BV)) | u64::from(word(area, XSTATE_BV + 4)) << 32;
    put(area, XSTATE_BV, &(present & features).to_le_bytes());
    if let Some(reserved) = area.get_mut(XSTATE_BV + 8..MINIMUM) {
        reserved.fill(0);
    }
    true
}

/// Overwrites the legacy region, or all of an area, with what a debugger has.
pub fn put_part(area: &mut [u8], new: &[u8]) {
    put(area, 0, new);
    if new.len() == LEGACY {
        // These components count now, whether they did before or not.
        let present = area.get(XSTATE_BV).copied().unwrap_or(0);
        put(area, XSTATE_BV, &[present | 3]);
    }
}

/// Says that the area holds x87 and SSE state only; for frames without an extended area.
pub fn keep_legacy_only(area: &mut [u8]) {
    put(area, XSTATE_BV, &3u64.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
