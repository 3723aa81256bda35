//! Classic BPF as seccomp has it: a check when a filter is installed, and an interpreter that cannot fail afterwards.
//!
//! Jumps only go forward and every program ends with a return, so a run takes at most as many steps as there are
//! instructions. Sources: `seccomp(2)`, Linux `Documentation/networking/filter.rst`.

use alloc::vec;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{EINVAL, Result};

/// The most instructions of one program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Words of `struct seccomp_data`, which is all that a program sees.
pub const DATA_WORDS: usize = 16;

/// Words of scratch memory (`BPF_MEMWORDS`).
const MEMORY: usize = 16;

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawInstruction {
    /// `BPF_*`, added up.
    pub code: u16,
    /// How many instructions to skip if a test holds.
    pub jt: u8,
    /// How many if not.
    pub jf: u8,
    /// A constant, an offset or an index.
    pub k: u32,
}

#[derive(Clone, Copy, Debug)]
enum Operand {
    Constant(u32),
    X,
}

#[derive(Clone, Copy, Debug)]
enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    Shl,
    Shr,
    Xor,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// Which of the two registers.
#[derive(Clone, Copy, Debug)]
enum Register {
    A,
    X,
}

/// Indices are of words, and distances count from the next instruction.
#[derive(Clone, Copy, Debug)]
enum Instruction {
    LoadData(usize),
    Load(Register, u32),
    LoadFrom(Register, usize),
    StoreTo(Register, usize),
    Alu(Alu, Operand),
    Negate,
    Jump { distance: u32 },
    Branch { test: Test, operand: Operand, jt: u8, jf: u8 },
    AToX,
    XToA,
    ReturnConstant(u32),
    ReturnA,
}
use Instruction::{
    AToX, Branch, Jump, Load, LoadData, LoadFrom, Negate, ReturnA, ReturnConstant, StoreTo, XToA,
};

/// A checked program.
#[derive(Debug)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Checks a program. EINVAL: an instruction that is none or not for seccomp, a jump or an access that leads outside, a
    /// word of scratch memory that may be read before it is written, no return at the end, none or more than
    /// [`MAX_INSTRUCTIONS`] instructions.
    pub fn new(raw: &[RawInstruction]) -> Result<Program> {
        if raw.is_empty() || raw.len() > MAX_INSTRUCTIONS {
            return Err(EINVAL);
        }
        let decoded: Option<Vec<Instruction>> = raw.iter().map(decode).collect();
        let program = Program(decoded.ok_or(EINVAL)?);
        if program.jumps_stay_inside() && program.memory_is_written_first() {
            Ok(program)
        } else {
            Err(EINVAL)
        }
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no instructions; a checked one has some.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn jumps_stay_inside(&self) -> bool {
        let ends = matches!(self.0.last(), Some(ReturnConstant(_) | ReturnA));
        ends && self.0.iter().enumerate().all(|(at, instruction)| {
            let left = (self.0.len() - at - 1) as u64;
            match *instruction {
                Jump { distance } => u64::from(distance) < left,
                Branch { jt, jf, .. } => u64::from(jt.max(jf)) < left,
                _ => true,
            }
        })
    }

    /// Whether on every way to a load from scratch memory there is a store to the same word.
    fn memory_is_written_first(&self) -> bool {
        // For each instruction, the words that are written on every way to it.
        let mut known = vec![u16::MAX; self.0.len()];
        let mut written = 0u16;
        for (at, instruction) in self.0.iter().enumerate() {
            written &= known.get(at).copied().unwrap_or(0);
            let mut jump = |distance: u32, written: u16| {
                if let Some(target) = known.get_mut(at + 1 + distance as usize) {
                    *target &= written;
                }
            };
            match *instruction {
                StoreTo(_, word) => written |= 1 << word,
                LoadFrom(_, word) if written & 1 << word == 0 => return false,
                Jump { distance } => {
                    jump(distance, written);
                    written = u16::MAX;
                }
                Branch { jt, jf, .. } => {
                    jump(jt.into(), written);
                    jump(jf.into(), written);
                    written = u16::MAX;
                }
                _ => {}
            }
        }
        true
    }

    /// What the program returns for `struct seccomp_data`, as words.
    pub fn run(&self, data: &[u32; DATA_WORDS]) -> u32 {
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY];
        let mut at = 0usize;
        // A checked program returns; one that ran out of instructions would be a kill.
        while let Some(instruction) = self.0.get(at) {
            at += 1;
            let value = |operand| match operand {
                Operand::Constant(k) => k,
                Operand::X => x,
            };
            match *instruction {
                LoadData(word) => a = data.get(word).copied().unwrap_or(0),
                Load(Register::A, k) => a = k,
                Load(Register::X, k) => x = k,
                LoadFrom(Register::A, word) => a = memory.get(word).copied().unwrap_or(0),
                LoadFrom(Register::X, word) => x = memory.get(word).copied().unwrap_or(0),
                StoreTo(register, word) => {
                    if let Some(place) = memory.get_mut(word) {
                        *place = if matches!(register, Register::A) { a } else { x };
                    }
                }
                Instruction::Alu(alu, operand) => match compute(alu, a, value(operand)) {
                    Some(result) => a = result,
                    None => return 0,
                },
                Negate => a = a.wrapping_neg(),
                Jump { distance } => at += distance as usize,
                Branch { test, operand, jt, jf } => {
                    at += usize::from(if holds(test, a, value(operand)) { jt } else { jf });
                }
                AToX => x = a,
                XToA => a = x,
                ReturnConstant(k) => return k,
                ReturnA => return a,
            }
        }
        0
    }
}

/// `None` for a division by zero, which ends a program with 0.
fn compute(alu: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match alu {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        Alu::Div => a.checked_div(b)?,
        Alu::Or => a | b,
        Alu::And => a & b,
        Alu::Shl => a.wrapping_shl(b),
        Alu::Shr => a.wrapping_shr(b),
        Alu::Xor => a ^ b,
    })
}

fn holds(test: Test, a: u32, b: u32) -> bool {
    match test {
        Test::Equal => a == b,
        Test::Greater => a > b,
        Test::GreaterOrEqual => a >= b,
        Test::AnyBit => a & b != 0,
    }
}

/// Parts of a code: the class, the operand's source, the operation.
const CLASS: u16 = 0x07;
const X_OPERAND: u16 = 0x08;
const OPERATION: u16 = 0xf0;

/// An instruction by itself; `None` if seccomp has no such.
fn decode(raw: &RawInstruction) -> Option<Instruction> {
    let RawInstruction { code, jt, jf, k } = *raw;
    let word = || Some(k as usize).filter(|word| *word < MEMORY);
    let operand = if code & X_OPERAND != 0 { Operand::X } else { Operand::Constant(k) };
    Some(match code {
        // ld [k]
        0x20 => LoadData(Some(k as usize / 4).filter(|word| k.is_multiple_of(4) && *word < DATA_WORDS)?),
        // ld len, ldx len
        0x80 => Load(Register::A, DATA_WORDS as u32 * 4),
        0x81 => Load(Register::X, DATA_WORDS as u32 * 4),
        // ld #k, ldx #k
        0x00 => Load(Register::A, k),
        0x01 => Load(Register::X, k),
        // ld M[k], ldx M[k], st, stx
        0x60 => LoadFrom(Register::A, word()?),
        0x61 => LoadFrom(Register::X, word()?),
        0x02 => StoreTo(Register::A, word()?),
        0x03 => StoreTo(Register::X, word()?),
        // ret #k, ret a
        0x06 => ReturnConstant(k),
        0x16 => ReturnA,
        // tax, txa, neg, ja
        0x07 => AToX,
        0x87 => XToA,
        0x84 => Negate,
        0x05 => Jump { distance: k },
        _ if code > 0xff => return None,
        _ if code & CLASS == 4 => {
            let alu = match code & OPERATION {
                0x00 => Alu::Add,
                0x10 => Alu::Sub,
                0x20 => Alu::Mul,
                0x30 => Alu::Div,
                0x40 => Alu::Or,
                0x50 => Alu::And,
                0x60 => Alu::Shl,
                0x70 => Alu::Shr,
                0xa0 => Alu::Xor,
                _ => return None,
            };
            match (alu, operand) {
                (Alu::Div, Operand::Constant(0)) => return None,
                (Alu::Shl | Alu::Shr, Operand::Constant(32..)) => return None,
                _ => Instruction::Alu(alu, operand),
            }
        }
        _ if code & CLASS == 5 => {
            let test = match code & OPERATION {
                0x10 => Test::Equal,
                0x20 => Test::Greater,
                0x30 => Test::GreaterOrEqual,
                0x40 => Test::AnyBit,
                _ => return None,
            };
            Branch { test, operand, jt, jf }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(code: u16, jt: u8, jf: u8, k: u32) -> RawInstruction {
        RawInstruction { code, jt, jf, k }
    }

    fn result(program: &[RawInstruction]) -> u32 {
        let data = core::array::from_fn(|word| 100 + word as u32);
        Program::new(program).expect("a valid program").run(&data)
    }

    #[test]
    fn programs_compute() {
        let ret = raw(0x16, 0, 0, 0);
        assert_eq!(result(&[raw(0x20, 0, 0, 8), ret]), 102, "ld [8]");
        assert_eq!(result(&[raw(0x80, 0, 0, 0), ret]), 64, "ld len");
        assert_eq!(result(&[raw(0x00, 0, 0, 7), raw(0x84, 0, 0, 0), ret]), 7u32.wrapping_neg());
        // 60 / 0 by a register returns 0, and a shift by 33 one by 1.
        assert_eq!(result(&[raw(0x00, 0, 0, 60), raw(0x3c, 0, 0, 0), raw(0x06, 0, 0, 9)]), 0);
        assert_eq!(result(&[raw(0x00, 0, 0, 3), raw(0x01, 0, 0, 33), raw(0x6c, 0, 0, 0), ret]), 6);
        // st M[3], ldx M[3], txa
        let memory = [raw(0x00, 0, 0, 5), raw(0x02, 0, 0, 3), raw(0x61, 0, 0, 3), raw(0x87, 0, 0, 0), ret];
        assert_eq!(result(&memory), 5);
        for (k, want) in [(102, 1), (103, 2)] {
            let branch = [raw(0x20, 0, 0, 8), raw(0x15, 0, 1, k), raw(0x06, 0, 0, 1), raw(0x06, 0, 0, 2)];
            assert_eq!(result(&branch), want, "jeq {k}");
        }
        assert_eq!(result(&[raw(0x05, 0, 0, 1), raw(0x06, 0, 0, 1), raw(0x06, 0, 0, 2)]), 2, "ja");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let ret = raw(0x06, 0, 0, 0);
        for program in [
            &[][..],
            &[raw(0x00, 0, 0, 0)],
            &[raw(0x20, 0, 0, 2), ret],
            &[raw(0x20, 0, 0, 64), ret],
            &[raw(0x28, 0, 0, 0), ret],
            &[raw(0x30, 0, 0, 0), ret],
            &[raw(0x40, 0, 0, 0), ret],
            &[raw(0x34, 0, 0, 0), ret],
            &[raw(0x64, 0, 0, 32), ret],
            &[raw(0x94, 0, 0, 3), ret],
            &[raw(0x02, 0, 0, 16), ret],
            &[raw(0x05, 0, 0, 1), ret],
            &[raw(0x05, 0, 0, u32::MAX), ret],
            &[raw(0x15, 1, 0, 0), ret],
            &[raw(0x15, 0, 0, 0), raw(0x60, 0, 0, 0), ret],
            // The store is skipped on one of the ways.
            &[raw(0x15, 1, 0, 0), raw(0x02, 0, 0, 0), raw(0x60, 0, 0, 0), ret],
            &[raw(0x106, 0, 0, 0)],
        ] {
            assert!(Program::new(program).is_err(), "{program:?}");
        }
        let long = vec![ret; MAX_INSTRUCTIONS + 1];
        assert!(Program::new(&long).is_err());
        assert!(Program::new(&long[1..]).is_ok());
    }
}
