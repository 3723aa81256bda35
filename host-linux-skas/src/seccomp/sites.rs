//! Call sites that are rewritten, so that a call there becomes a jump and not a signal.
//!
//! Most system calls are made by `mov eax, NUMBER; syscall`, seven bytes. They are replaced by a jump of seven bytes,
//! `jmp [ADDRESS]`, through a table at a low address to a piece of code that knows the number and the address behind the
//! site, and goes to the trampoline. It is a jump and not a call, as the guest may use the bytes below its stack pointer.
//!
//! Another thread may be about to execute the second of the two instructions, or jump there later: where it was, the jump
//! has the upper half of its address, and no instruction begins with those bytes (06, 00). The processor raises an
//! exception, by which the call is found again.
//!
//! This is for speed only. The filter stays what it was: a guest gains nothing by changing or avoiding any of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use host_linux::ram::Ram;
use kernel_core::host::{Frames, Phys, Rewrite};

use crate::layout::{SITE_COUNT, SITE_SIZE, SITE_TABLE, SITE_TABLE_OFFSET, SITES, SITES_OFFSET};
use crate::seccomp::code;

/// Bytes of the two instructions, and where the second one begins.
const LENGTH: u64 = 7;
const SECOND: u64 = 5;
/// How often a call is made at one place before that is rewritten: programs that end soon are left alone.
const OFTEN: u32 = 64;

/// All sites of a host. What is at one address in two programs is the same site if the number is.
pub struct Sites {
    requests: Arc<Ram>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<Site, u64>,
    sites: Vec<Site>,
}

/// A place where a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Where its two instructions begin.
    pub at: u64,
    /// The number of the call.
    pub number: u32,
}

impl Sites {
    /// None yet. Their code and table are in the file of requests.
    pub fn new(requests: Arc<Ram>) -> Sites {
        Sites { requests, known: Mutex::default() }
    }

    /// How to rewrite a site; `None` if there are too many.
    pub fn rewrite(&self, site: Site) -> Option<Rewrite> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { numbers, sites } = &mut *known;
        let number = match numbers.get(&site) {
            Some(number) => *number,
            None => {
                let number = sites.len() as u64;
                if number == SITE_COUNT {
                    return None;
                }
                self.write(number, site);
                sites.push(site);
                numbers.insert(site, number);
                number
            }
        };
        Some(site.rewrite(number))
    }

    /// The site whose code has this address.
    pub fn at_code(&self, address: u64) -> Option<Site> {
        let number = address.checked_sub(SITES)? / SITE_SIZE;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.sites.get(usize::try_from(number).ok()?).copied()
    }

    /// The rewritten sites whose second instruction was at this address.
    pub fn at_second(&self, address: u64) -> Option<Rewrite> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = address.checked_sub(SECOND)?;
        let (site, number) = known.numbers.iter().find(|(site, _)| site.at == at)?;
        Some(site.rewrite(*number))
    }

    /// Writes the code of a site, then its address into the table.
    fn write(&self, number: u64, site: Site) {
        let address = SITES + number * SITE_SIZE;
        let mut code = vec![0xb8];
        code.extend(site.number.to_le_bytes()); // mov eax, NUMBER
        code.extend([0x48, 0xb9]);
        code.extend((site.at + LENGTH).to_le_bytes()); // movabs rcx, BEHIND
        code.push(0xe9);
        let end = address + code.len() as u64 + 4;
        code.extend((code::trampoline().wrapping_sub(end) as u32).to_le_bytes()); // jmp TRAMPOLINE
        self.requests.write(Phys(SITES_OFFSET + number * SITE_SIZE), &code);
        self.requests.store_words(Phys(SITE_TABLE_OFFSET + 8 * number), [address]);
    }
}

impl Site {
    fn rewrite(self, number: u64) -> Rewrite {
        let [a, b, c, d] = self.number.to_le_bytes();
        let old = [0xb8, a, b, c, d, 0x0f, 0x05];
        let [a, b, c, d] = ((SITE_TABLE + 8 * number) as u32).to_le_bytes();
        Rewrite { at: self.at, old, new: [0xff, 0x24, 0x25, a, b, c, d] }
    }

    /// Behind it.
    pub fn end(self) -> u64 {
        self.at + LENGTH
    }
}

/// How often calls were made where: a few places, as they are made in few.
pub struct Counts([(u64, u32); 32]);

impl Counts {
    /// Nothing yet.
    pub fn new() -> Counts {
        Counts([(0, 0); 32])
    }

    /// A call of this number was made by an instruction that ends at `end`. The site, if that happens often, once.
    pub fn add(&mut self, end: u64, number: u64) -> Option<Site> {
        let place = (end ^ (end >> 5)) as usize % self.0.len();
        let (last, count) = &mut self.0[place];
        if *last != end {
            (*last, *count) = (end, 0);
        }
        *count = count.saturating_add(1);
        let number = u32::try_from(number).ok()?;
        (*count == OFTEN).then(|| Some(Site { at: end.checked_sub(LENGTH)?, number })).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once_when_it_is_frequent() {
        let mut counts = Counts::new();
        let told = (0..1000).filter_map(|_| counts.add(0x40_1007, 39)).collect::<Vec<_>>();
        assert!(matches!(told[..], [Site { at: 0x40_1000, number: 39 }]));
        assert!((0..1000).all(|_| counts.add(0x40_1010, 1 << 40).is_none()));
    }

    #[test]
    fn no_instruction_begins_where_the_second_one_was() {
        for number in [0, SITE_COUNT - 1] {
            let rewrite = Site { at: 0x40_1000, number: 39 }.rewrite(number);
            assert_eq!(rewrite.old, [0xb8, 39, 0, 0, 0, 0x0f, 0x05]);
            assert_eq!(
                (rewrite.new[..3].to_vec(), rewrite.new[5..].to_vec()),
                (vec![0xff, 0x24, 0x25], vec![6, 0])
            );
        }
    }
}
