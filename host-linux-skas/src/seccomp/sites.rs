//! Call sites that are rewritten, so that a call there becomes a jump and not a signal.
//!
//! Two forms of system calls have room for a jump, as the instruction before `syscall` has five bytes: `mov eax, NUMBER`, by
//! which most calls are made, and `mov r9, [rsp + 8]`, as it stands in glibc's `syscall()`. The seven bytes are replaced by
//! `jmp [ADDRESS]`, through a table at a low address, to a copy of the first instruction, and on to the trampoline. It is a
//! jump and not a call, as the guest may use the bytes below its stack pointer.
//!
//! Another thread may be about to execute the second of the two instructions, or jump there later: where it was, the jump
//! has the upper half of its address, and no instruction begins with those bytes (06, 00). The processor raises an
//! exception, by which the call is found again.
//!
//! This is for speed only. The filter stays what it was: a guest gains nothing by changing or avoiding any of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_linux::ram::Ram;
use kernel_core::host::{CallCode, Frames, Phys};

use crate::layout::{SITE_COUNT, SITE_SIZE, SITE_TABLE, SITE_TABLE_OFFSET, SITES, SITES_OFFSET};
use crate::seccomp::code;

/// Bytes of the two instructions, and where the second one begins.
const LENGTH: u64 = 7;
const SECOND: u64 = 5;
/// `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// `mov eax, NUMBER` begins so.
const MOV_EAX: u8 = 0xb8;
/// `mov r9, [rsp + 8]`.
const MOV_R9: [u8; 5] = [0x4c, 0x8b, 0x4c, 0x24, 0x08];
/// `jmp [ADDRESS]` begins so.
const JUMP: [u8; 3] = [0xff, 0x24, 0x25];
/// How often a call is made at one place before that is rewritten: programs that end soon are left alone.
const OFTEN: u32 = 64;

/// All sites of a host. The same code at the same address of two programs is the same site.
pub struct Sites {
    requests: Arc<Ram>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<(u64, CallCode), u64>,
    /// Where the sites are, by their number.
    places: Vec<u64>,
}

impl Sites {
    /// None yet. Their code and table are in the file of requests.
    pub fn new(requests: Arc<Ram>) -> Sites {
        Sites { requests, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jump to put in place of a call; `None` if it is of another form, or there are too many.
    pub fn rewrite(&self, at: u64, code: CallCode) -> Option<CallCode> {
        let (first, second) = code.split_first_chunk::<{ SECOND as usize }>()?;
        if *second != SYSCALL || (first[0] != MOV_EAX && *first != MOV_R9) {
            return None;
        }
        let mut known = self.known();
        let Known { numbers, places } = &mut *known;
        let number = match numbers.get(&(at, code)) {
            Some(number) => *number,
            None => {
                let number = places.len() as u64;
                if number == SITE_COUNT {
                    return None;
                }
                self.write(number, first, at + LENGTH);
                places.push(at);
                numbers.insert((at, code), number);
                number
            }
        };
        Some(jump(number))
    }

    /// Whether this is such a jump for this place.
    pub fn is_rewritten(&self, at: u64, code: CallCode) -> bool {
        let number = u64::from(u32::from_le_bytes([code[3], code[4], code[5], code[6]]));
        let number = number.wrapping_sub(SITE_TABLE) / 8;
        let place = usize::try_from(number).ok().and_then(|number| self.known().places.get(number).copied());
        place == Some(at) && code == jump(number)
    }

    /// Where the site is whose code has this address.
    pub fn place(&self, address: u64) -> Option<u64> {
        let number = address.checked_sub(SITES)? / SITE_SIZE;
        self.known().places.get(usize::try_from(number).ok()?).copied()
    }

    /// Where the site would be whose second instruction has this address.
    pub fn of_second(address: u64) -> u64 {
        address.wrapping_sub(SECOND)
    }

    /// Writes the code of a site, then its address into the table.
    fn write(&self, number: u64, first: &[u8], behind: u64) {
        let address = SITES + number * SITE_SIZE;
        let mut code = first.to_vec();
        code.extend([0x48, 0xb9]);
        code.extend(behind.to_le_bytes()); // movabs rcx, BEHIND
        code.push(0xe9);
        let end = address + code.len() as u64 + 4;
        code.extend((code::trampoline().wrapping_sub(end) as u32).to_le_bytes()); // jmp TRAMPOLINE
        self.requests.write(Phys(SITES_OFFSET + number * SITE_SIZE), &code);
        self.requests.store_words(Phys(SITE_TABLE_OFFSET + 8 * number), [address]);
    }
}

/// The jump to a site.
fn jump(number: u64) -> CallCode {
    let ([a, b, c], [d, e, f, g]) = (JUMP, ((SITE_TABLE + 8 * number) as u32).to_le_bytes());
    [a, b, c, d, e, f, g]
}

/// How often calls were made where: a few places, as they are made in few.
pub struct Counts([(u64, u32); 32]);

impl Counts {
    /// Nothing yet.
    pub fn new() -> Counts {
        Counts([(0, 0); 32])
    }

    /// A call was made by an instruction that ends at `end`. Where the site begins, if that happens often, once.
    pub fn add(&mut self, end: u64) -> Option<u64> {
        let place = (end ^ (end >> 5)) as usize % self.0.len();
        let (last, count) = &mut self.0[place];
        if *last != end {
            (*last, *count) = (end, 0);
        }
        *count = count.saturating_add(1);
        (*count == OFTEN).then(|| end.checked_sub(LENGTH)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use host_linux::ram::RamFile;

    use super::*;

    #[test]
    fn a_place_is_told_once_when_it_is_frequent() {
        let mut counts = Counts::new();
        let told = (0..1000).filter_map(|_| counts.add(0x40_1007)).collect::<Vec<_>>();
        assert_eq!(told, [0x40_1000]);
    }

    #[test]
    fn no_instruction_begins_where_the_second_one_was() {
        for number in [0, SITE_COUNT - 1] {
            assert_eq!(jump(number)[SECOND as usize..], [6, 0]);
        }
    }

    #[test]
    fn only_calls_that_have_room_are_rewritten() {
        let file = RamFile::new(c"test-sites", SITES_OFFSET + SITE_SIZE * SITE_COUNT).unwrap();
        let sites = Sites::new(Arc::new(file.map().unwrap()));
        let number = [0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        let new = sites.rewrite(0x40_1000, number).unwrap();
        assert_eq!(sites.rewrite(0x40_1000, number), Some(new));
        assert_ne!(sites.rewrite(0x40_2000, number), Some(new));
        assert!(sites.is_rewritten(0x40_1000, new) && !sites.is_rewritten(0x40_2000, new));
        assert!(!sites.is_rewritten(0x40_1000, number));
        assert!(sites.rewrite(0x40_1000, [0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05]).is_some());
        for other in [[0x90; 7], [0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05], [0xb8, 39, 0, 0, 0, 0x0f, 0x34]]
        {
            assert_eq!(sites.rewrite(0x40_1000, other), None);
        }
    }
}
