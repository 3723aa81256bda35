//! Changes of inputs without knowing what they lead to: the little of a fuzzer that any build has.

use crate::random::Random;

const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// A few changes of `input`, with parts of `other`.
pub fn mutated(input: &[u8], other: &[u8], random: &Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.place(4) {
        let at = random.place(bytes.len());
        let len = random.place(16.min(bytes.len() - at)) + 1;
        match random.place(7) {
            _ if bytes.is_empty() => bytes.extend_from_slice(other),
            0 => bytes[at] ^= 1 << random.place(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let number = random.pick(&NUMBERS).to_le_bytes();
                let width = (1 << random.place(4)).min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let copy = bytes[at..at + len].to_vec();
                let to = random.place(bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let from = random.place(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from.min(other.len())..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}
