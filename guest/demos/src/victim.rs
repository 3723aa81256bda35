//! The victim: a program with a secret and a variable in its memory. It does what it is told on standard input, and what it
//! says goes to whoever started it.

use std::cell::UnsafeCell;
use std::io::BufRead;
use std::process::ExitCode;

use crate::say::{Voice, hex};
use crate::{probe, random};

/// Bytes of the victim's records.
pub const RECORDS: usize = 32 << 20;

/// Where a record may begin.
pub const ALIGN: usize = 64;

/// What a record begins with ("Lodger secret : "), with all bits inverted, and inverted back only at run time: the label
/// itself is in no program's file, so whoever finds it has found a record.
const INVERTED: [u8; 16] =
    [0xb3, 0x90, 0x9b, 0x98, 0x9a, 0x8d, 0xdf, 0x8c, 0x9a, 0x9c, 0x8d, 0x9a, 0x8b, 0xdf, 0xc5, 0xdf];

/// The victim's memory: records that do not matter, and among them the one that does.
#[repr(C, align(4096))]
struct Records(UnsafeCell<[u8; RECORDS]>);

// SAFETY: the program has one thread.
unsafe impl Sync for Records {}

static MEMORY: Records = Records(UnsafeCell::new([0; RECORDS]));

/// The record that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What nobody else may know.
    pub secret: [u8; 16],
    /// What nobody else may change.
    pub balance: u64,
}

impl Record {
    /// Bytes of one, its label included.
    pub const SIZE: usize = 40;

    /// Reads one, if there is its label.
    pub fn parse(bytes: &[u8]) -> Option<Record> {
        let (label, rest) = bytes.get(..Record::SIZE)?.split_at(16);
        let labelled = label == label_bytes();
        let (secret, balance) = rest.split_at(16);
        let record =
            Record { secret: secret.try_into().ok()?, balance: u64::from_le_bytes(balance.try_into().ok()?) };
        labelled.then_some(record)
    }

    fn bytes(&self) -> Vec<u8> {
        [&label_bytes()[..], &self.secret, &self.balance.to_le_bytes()].concat()
    }
}

fn label_bytes() -> [u8; 16] {
    std::hint::black_box(INVERTED).map(|byte| !byte)
}

/// Where the balance is in a record.
pub const BALANCE: u64 = 32;

/// The victim's whole life.
pub fn live() -> ExitCode {
    let me = Voice("victim");
    let at = random::below((RECORDS / ALIGN) as u64) as usize * ALIGN;
    let record = Record { secret: random::bytes(), balance: 1 + random::below(1_000_000) };
    let base = MEMORY.0.get().cast::<u8>();
    // SAFETY: all of it lies in this program's own static, of which no reference exists.
    unsafe {
        // Touched from end to end, as memory in use is.
        base.write_bytes(0x2e, RECORDS);
        let bytes = record.bytes();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(at), bytes.len());
    }
    me.say(&format!(
        "I am user {}. In my {} MiB of records is a secret that I have just made up. I tell nobody.",
        // SAFETY: no preconditions.
        unsafe { libc::getuid() },
        RECORDS >> 20,
    ));
    me.fact("address", &format!("{:x}", base as usize + at));
    for order in std::io::stdin().lock().lines().map_while(Result::ok) {
        let mut bytes = [0; Record::SIZE];
        // Read like the attacker does it: what is there now, not what the compiler remembers.
        probe::read_into(base as u64 + at as u64, &mut bytes);
        match (order.as_str(), Record::parse(&bytes)) {
            (_, None) => me.say("My record is gone."),
            ("before", Some(now)) => {
                me.say(&format!("In the record is also a variable, `balance`. It is {}.", now.balance));
                me.fact("before", &now.balance.to_string());
            }
            ("after", Some(now)) => {
                let change = if now.balance == record.balance {
                    "still"
                } else {
                    "was never changed by me. Now it is"
                };
                me.say(&format!("My `balance` {change} {}.", now.balance));
                me.fact("after", &now.balance.to_string());
            }
            ("alive", Some(now)) => {
                me.say(&format!("I live on, and my `balance` is {}.", now.balance));
                me.fact("alive", &now.balance.to_string());
            }
            (_, Some(now)) => {
                me.say(&format!("My secret was {}.", hex(&now.secret)));
                me.fact("secret", &hex(&now.secret));
            }
        }
        me.fact("done", &order);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_label() {
        let record = Record { secret: [7; 16], balance: 9 };
        let bytes = record.bytes();
        assert!(bytes.starts_with(b"Lodger secret : "));
        assert_eq!(bytes.len(), Record::SIZE);
        assert_eq!(Record::parse(&bytes), Some(record));
        assert_eq!(Record::parse(&bytes[1..]), None);
        assert_eq!(Record::parse(&[0; 64]), None);
    }
}
