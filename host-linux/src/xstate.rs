//! Vector state: XSAVE areas in the standard format (Intel SDM volume 1, chapter 13), as `ptrace` and signal
//! frames have them.
//!
//! An area comes from a guest in the end (a signal frame that it wrote), and the host refuses one that the processor
//! would refuse. So an area is made valid before it is loaded.

/// End of the legacy area, start of the header.
const HEADER: usize = 512;
/// End of the header, which is also the size of the smallest area.
const HEADER_END: usize = 576;
/// Where `ptrace` puts the mask of the enabled features.
const FEATURES: usize = 464;
const FCW: usize = 0;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// The 16 XMM registers.
const XMM: std::ops::Range<usize> = 160..416;
/// The eight x87 registers.
const X87: std::ops::Range<usize> = 32..160;
const FEATURE_X87: u64 = 1;
const FEATURE_SSE: u64 = 2;
/// AMX, which a process has to ask the host for, and PKRU: guests have no protection keys, and a stub that loaded one of theirs
/// could not read its own memory any more.
const FEATURES_NOT_OFFERED: u64 = 3 << 17 | 1 << 9;
const DEFAULT_FCW: u16 = 0x37f;
const DEFAULT_MXCSR: u32 = 0x1f80;

/// The format of areas on this machine.
#[derive(Clone, Copy)]
pub struct Format {
    size: usize,
    features: u64,
    mxcsr_mask: u32,
}

impl Format {
    /// By an area that the host has filled, as `ptrace` gives it; `None` if it is none.
    pub fn of(area: &[u8]) -> Option<Format> {
        if area.len() < HEADER_END {
            return None;
        }
        let features = u64::from_ne_bytes(field(area, FEATURES));
        let mxcsr_mask = match u32::from_ne_bytes(field(area, MXCSR_MASK)) {
            0 => 0xffbf, // what a processor that says nothing supports
            mask => mask,
        };
        let features = (features & !FEATURES_NOT_OFFERED) | FEATURE_X87 | FEATURE_SSE;
        Some(Format { size: area.len(), features, mxcsr_mask })
    }

    /// Bytes of an area.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The components that guests have.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Copies `area`, made valid, to `valid`, which has [`Format::size`] bytes. An empty area is the initial state.
    pub fn copy_valid(&self, area: &[u8], valid: &mut [u8]) {
        let len = area.len().min(self.size);
        valid[..len].copy_from_slice(&area[..len]);
        valid[len..].fill(0);
        self.make_valid(valid);
    }

    /// Clears what is reserved, and writes out the initial x87 and SSE state where the area says that it has none: the
    /// host would keep the MXCSR of whoever was there before.
    fn make_valid(&self, area: &mut [u8]) {
        let mut features = u64::from_ne_bytes(field(area, HEADER)) & self.features;
        if features & FEATURE_X87 == 0 {
            area[..MXCSR].fill(0);
            area[X87].fill(0);
            set(area, FCW, &DEFAULT_FCW.to_ne_bytes());
        }
        if features & FEATURE_SSE == 0 {
            area[XMM].fill(0);
            set(area, MXCSR, &DEFAULT_MXCSR.to_ne_bytes());
        }
        features |= FEATURE_X87 | FEATURE_SSE;
        let mxcsr = u32::from_ne_bytes(field(area, MXCSR)) & self.mxcsr_mask;
        set(area, MXCSR, &mxcsr.to_ne_bytes());
        area[HEADER..HEADER_END].fill(0);
        set(area, HEADER, &features.to_ne_bytes());
    }
}

/// The `N` bytes at `at` of an area of at least [`HEADER_END`] bytes.
fn field<const N: usize>(area: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&area[at..at + N]);
    bytes
}

fn set(area: &mut [u8], at: usize, bytes: &[u8]) {
    area[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keys_and_no_tiles_are_offered() {
        let mut area = vec![0; HEADER_END];
        set(&mut area, FEATURES, &0x6_02ffu64.to_ne_bytes());
        assert_eq!(Format::of(&area).map(|format| format.features()), Some(0xff));
    }

    #[test]
    fn an_empty_area_becomes_the_initial_state_and_rubbish_is_cleared() {
        let format = Format { size: HEADER_END, features: 7, mxcsr_mask: 0xffff };
        let mut area = vec![0; HEADER_END];
        format.make_valid(&mut area);
        assert_eq!(field(&area, FCW), DEFAULT_FCW.to_ne_bytes());
        assert_eq!(field(&area, MXCSR), DEFAULT_MXCSR.to_ne_bytes());
        assert_eq!(field(&area, HEADER), 3u64.to_ne_bytes());
        area.fill(0xff);
        format.make_valid(&mut area);
        assert_eq!(field(&area, HEADER), 7u64.to_ne_bytes());
        assert_eq!(field(&area, MXCSR), 0xffffu32.to_ne_bytes());
        assert_eq!(area[HEADER + 8..], [0; 56]);
    }
}
