//! The filters of system calls (`seccomp(2)`): what a stub's threads may ask of the host. They are the boundary: whatever a
//! guest does, no other call of its thread reaches the host.
//!
//! A rule is for one instruction, by its exact address, and checks every bit that the host looks at.

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_MISC, BPF_RET, BPF_W, BPF_X,
    sock_filter,
};

use crate::layout::{CONSTANTS, DATA, DONE_FD, GUEST_END, RAM_FD, REQUESTS};
use crate::seccomp::{code, data};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const INSTRUCTION: u32 = 8;
const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_X86_64.
pub const X86_64: u32 = 0xc000_003e;

/// One condition.
#[derive(Clone, Copy)]
enum Test {
    /// The word at an offset has this value.
    Equal(u32, u32),
    /// The word at an offset is less than this.
    Below(u32, u32),
    /// The words at two offsets, each below 2^31, add up to less than this.
    SumBelow(u32, u32, u32),
}

impl Test {
    /// How many instructions it takes.
    fn len(self) -> usize {
        match self {
            Test::Equal(..) | Test::Below(..) => 2,
            Test::SumBelow(..) => 5,
        }
    }

    /// Appends its instructions; `fail` more follow behind them that are left out if it does not hold.
    fn compile(self, fail: usize, program: &mut Vec<sock_filter>) {
        // No rule has as many instructions as a jump can pass over.
        let fail = fail as u8;
        match self {
            Test::Equal(at, value) => program.extend([load(at), jump(BPF_JEQ, value, 0, fail)]),
            Test::Below(at, limit) => program.extend([load(at), jump(BPF_JGE, limit, fail, 0)]),
            Test::SumBelow(one, other, limit) => program.extend([
                load(one),
                statement(BPF_MISC | libc::BPF_TAX, 0),
                load(other),
                statement(BPF_ALU | BPF_ADD | BPF_X, 0),
                jump(BPF_JGE, limit, fail, 0),
            ]),
        }
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

fn jump(how: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt, jf, k }
}

/// The lower half of argument `n`.
fn low(n: u32) -> u32 {
    ARGUMENTS + 8 * n
}

/// The upper half of argument `n`.
fn high(n: u32) -> u32 {
    ARGUMENTS + 8 * n + 4
}

/// Argument `n` has this value, in all its bits.
fn argument(n: u32, value: u64) -> [Test; 2] {
    [Test::Equal(low(n), value as u32), Test::Equal(high(n), (value >> 32) as u32)]
}

/// A rule: which instruction it is for, by the address behind it, and what else has to hold.
struct Rule {
    behind: u64,
    number: i64,
    tests: Vec<Test>,
}

impl Rule {
    fn new(behind: u64, number: i64, tests: impl IntoIterator<Item = Test>) -> Rule {
        Rule { behind, number, tests: tests.into_iter().collect() }
    }

    fn compile(&self, program: &mut Vec<sock_filter>) {
        let mut tests =
            vec![Test::Equal(INSTRUCTION, self.behind as u32), Test::Equal(NUMBER, self.number as u32)];
        tests.extend(&self.tests);
        let mut left: usize = tests.iter().map(|test| test.len()).sum::<usize>() + 1;
        let end = program.len() + left;
        for test in tests {
            left -= test.len();
            test.compile(left, program);
        }
        program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
        debug_assert_eq!(program.len(), end);
    }
}

/// A filter that allows what a rule allows; anything else ends in `otherwise`. What is not made by the stub's code, which is
/// all that guests ask for, is decided first.
fn compile(rules: &[Rule], otherwise: u32) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE),
        jump(BPF_JEQ, X86_64, 1, 0),
        statement(BPF_RET | BPF_K, otherwise),
        load(INSTRUCTION + 4),
        jump(BPF_JEQ, (CONSTANTS >> 32) as u32, 1, 0),
        statement(BPF_RET | BPF_K, otherwise),
    ];
    rules.iter().for_each(|rule| rule.compile(&mut program));
    program.push(statement(BPF_RET | BPF_K, otherwise));
    program
}

/// The filter of the thread that carries guests: it may wake the kernel, wait without a time limit until it is woken, and
/// load registers. Everything else becomes a signal.
pub fn guest() -> Vec<sock_filter> {
    let wake = argument(0, DATA + data::POSTED).into_iter().chain(argument(1, libc::FUTEX_WAKE as u64));
    let wait = argument(0, DATA + data::GO).into_iter().chain(argument(1, libc::FUTEX_WAIT as u64));
    let rules = [
        Rule::new(code::wait(), libc::SYS_futex, wait.chain(argument(3, 0))),
        Rule::new(code::wake(), libc::SYS_futex, wake),
        Rule::new(code::sigreturn(), libc::SYS_rt_sigreturn, []),
    ];
    compile(&rules, libc::SECCOMP_RET_TRAP)
}

/// The filter of the mapper: it may wait for requests, map RAM to a guest's addresses, and change or remove such mappings,
/// and say that it is done. Anything else ends the stub.
pub fn mapper() -> Vec<sock_filter> {
    let wait = argument(0, REQUESTS).into_iter().chain(argument(1, libc::FUTEX_WAIT as u64));
    let inside = || {
        let limit = (GUEST_END >> 32) as u32;
        [Test::Below(high(0), limit), Test::Below(high(1), limit), Test::SumBelow(high(0), high(1), limit)]
    };
    let protection = [Test::Below(low(2), 8), Test::Equal(high(2), 0)];
    let shared = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let map = |flags: u64| {
        let of_ram = argument(3, flags).into_iter().chain(argument(4, RAM_FD as u64));
        Rule::new(code::map(), libc::SYS_mmap, inside().into_iter().chain(protection).chain(of_ram))
    };
    let done = argument(0, DONE_FD as u64).into_iter().chain(argument(2, 8));
    let rules = [
        Rule::new(code::mapper_wait(), libc::SYS_futex, wait.chain(argument(3, 0))),
        map(shared),
        map(shared | libc::MAP_POPULATE as u64),
        Rule::new(code::map(), libc::SYS_munmap, inside()),
        Rule::new(code::map(), libc::SYS_mprotect, inside().into_iter().chain(protection)),
        Rule::new(code::done(), libc::SYS_write, done),
    ];
    compile(&rules, libc::SECCOMP_RET_KILL_PROCESS)
}
