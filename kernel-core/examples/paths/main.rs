//! What the kernel's own path costs: from an [`Exit`] to the next entry into the guest, without a trap, a process or a
//! mapping of the host's. Guests are closures as with FakeHost, but RAM is flat, fibers are real, the clock is the
//! host's, and an address space is a list of ranges.
//!
//! ```text
//! cargo run --release -p kernel-core --features fake-host --example paths [CASE [ROUNDS]]
//! ```
//!
//! For each case: nanoseconds a round (the best of some samples), and how many faults, batches of changes to address
//! spaces and changes in them it took.

mod machine;

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use kernel_core::boot::BootConfig;
use kernel_core::boot::testing::{self, Segment};
use kernel_core::host::{Access, Cpu, Exit, FiberBody, Frames, Host, HostError, UserContext, VcpuId};
use kernel_core::kernel::Kernel;
use linux_raw_sys::general as sys;

use machine::{Counts, FiberIndex, Flat, Ranges, lock};

const PAGE: u64 = 4096;
/// Where programs start: the one that measures, and the one that it executes.
const ENTRY: u64 = 0x40_1000;
const EXIT_ENTRY: u64 = 0x40_1800;
/// Where the program's data is: two pages of a file, then pages of zeroes.
const DATA: u64 = 0x40_2000;
const DATA_END: u64 = 0x42_0000;

/// The machine, and the guests: what `run` does is in [`Script`].
struct Machine {
    ram: Arc<Flat>,
    counts: Arc<Counts>,
    start: Instant,
    script: Mutex<Script>,
}

impl Host for Machine {
    type Space = Ranges;
    type Fiber = FiberIndex;

    fn ram(&self) -> Arc<dyn Frames> {
        self.ram.clone()
    }
    fn new_space(&self, _: Range<u64>) -> Result<Ranges, HostError> {
        Ok(Ranges::new(&self.counts))
    }
    fn run(&self, _: VcpuId, space: &Ranges, ctx: &mut UserContext, _: Option<u64>) -> Exit {
        let next = match ctx.regs.rip {
            EXIT_ENTRY => exiting_program(space, ctx),
            _ => lock(&self.script).step(self, space, ctx),
        };
        next.err().unwrap_or(Exit::Syscall)
    }
    fn save_fpu(&self, _: &Ranges, _: &UserContext) {}
    fn fpu_size(&self) -> usize {
        576
    }
    fn cpu(&self) -> Cpu {
        Cpu { hwcap: 0, hwcap2: 0, xstate_features: 3 }
    }
    fn kick(&self, _: VcpuId) {}
    fn wait(&self, _: VcpuId, _: Option<u64>) {
        std::thread::yield_now();
    }
    fn heap_bytes(&self) -> u64 {
        0
    }
    fn new_fiber(&self, body: FiberBody) -> Result<FiberIndex, HostError> {
        FiberIndex::new(body)
    }
    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }
    fn boottime_ns(&self) -> u64 {
        self.monotonic_ns()
    }
    fn realtime_ns(&self) -> u64 {
        self.monotonic_ns()
    }
    fn clock_image(&self) -> Option<u64> {
        None
    }
    fn entropy(&self, buf: &mut [u8]) {
        buf.fill(0x5a);
    }
}

/// Number and arguments of a system call.
type Call = (u32, [u64; 6]);

fn call<const N: usize>(number: u32, args: [u64; N]) -> Call {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&args);
    (number, all)
}

/// What is measured: a round is `calls` in turn.
struct Case {
    name: &'static str,
    /// Made once before.
    before: Vec<Call>,
    calls: Vec<Call>,
    /// What a child made by any of these does, over and over.
    child: Vec<Call>,
}

/// Where strings and buffers are in the program's data.
mod place {
    use super::DATA;
    pub const DIR: u64 = DATA + 0x2000;
    pub const SUBDIR: u64 = DIR + 0x20;
    pub const FILE: u64 = DIR + 0x40;
    pub const NULL: u64 = DIR + 0x60;
    pub const PROGRAM: u64 = DIR + 0x80;
    pub const ABSENT: u64 = DIR + 0xa0;
    pub const STAT: u64 = DIR + 0x100;
    pub const PIPES: u64 = DIR + 0x200;
    pub const ARGV: u64 = DIR + 0x300;
    pub const BUF: u64 = DATA + 0x4000;
}

const STRINGS: [(u64, &[u8]); 6] = [
    (place::DIR, b"/one\0"),
    (place::SUBDIR, b"/one/two\0"),
    (place::FILE, b"/one/two/three\0"),
    (place::NULL, b"/dev/null\0"),
    (place::PROGRAM, b"/program\0"),
    (place::ABSENT, b"/one/two/absent\0"),
];

/// Descriptors that the set-up opens, in this order.
const FILE_FD: u64 = 3;
const NULL_FD: u64 = 4;
const PIPE: [u64; 2] = [5, 6];
const BACK: [u64; 2] = [7, 8];

/// No call: the program writes to the address, and then asks for its id.
const TOUCH: u32 = u32::MAX;

fn set_up() -> Vec<Call> {
    vec![
        call(sys::__NR_mkdir, [place::DIR, 0o755]),
        call(sys::__NR_mkdir, [place::SUBDIR, 0o755]),
        call(sys::__NR_open, [place::FILE, 0o102, 0o644]),
        call(sys::__NR_write, [FILE_FD, place::BUF, 0x1_0000]),
        call(sys::__NR_open, [place::NULL, 2, 0]),
        call(sys::__NR_pipe, [place::PIPES]),
        call(sys::__NR_pipe, [place::PIPES + 8]),
        call(sys::__NR_fcntl, [PIPE[0], u64::from(sys::F_SETPIPE_SZ), 1 << 17]),
    ]
}

fn cases() -> Vec<Case> {
    let buf = place::BUF;
    let plain = |name, calls| Case { name, before: Vec::new(), calls, child: Vec::new() };
    let fork = call(sys::__NR_fork, []);
    let wait = call(sys::__NR_wait4, [u64::MAX, 0, 0, 0]);
    let exit = call(sys::__NR_exit_group, [0]);
    vec![
        plain("getpid", vec![call(sys::__NR_getpid, [])]),
        plain("pread-4k", vec![call(sys::__NR_pread64, [FILE_FD, buf, PAGE, 0])]),
        plain("pwrite-4k", vec![call(sys::__NR_pwrite64, [FILE_FD, buf, PAGE, 0])]),
        plain("pread-1", vec![call(sys::__NR_pread64, [FILE_FD, buf, 1, 0])]),
        plain("write-null", vec![call(sys::__NR_write, [NULL_FD, buf, 1])]),
        plain("stat", vec![call(sys::__NR_stat, [place::FILE, place::STAT])]),
        plain("access-absent", vec![call(sys::__NR_access, [place::ABSENT, 0])]),
        plain("fstat", vec![call(sys::__NR_fstat, [FILE_FD, place::STAT])]),
        plain("open-close", vec![call(sys::__NR_open, [place::FILE, 0, 0]), call(sys::__NR_close, [9])]),
        plain(
            "pipe-1",
            vec![call(sys::__NR_write, [PIPE[1], buf, 1]), call(sys::__NR_read, [PIPE[0], buf, 1])],
        ),
        plain(
            "pipe-64k",
            vec![
                call(sys::__NR_write, [PIPE[1], buf, 0x1_0000]),
                call(sys::__NR_read, [PIPE[0], buf, 0x1_0000]),
            ],
        ),
        plain("futex-wake", vec![call(sys::__NR_futex, [buf, 129, 1])]),
        plain("sigprocmask", vec![call(sys::__NR_rt_sigprocmask, [0, place::STAT, place::STAT + 8, 8])]),
        Case {
            name: "switch",
            before: vec![fork],
            calls: vec![call(sys::__NR_write, [PIPE[1], buf, 1]), call(sys::__NR_read, [BACK[0], buf, 1])],
            child: vec![call(sys::__NR_read, [PIPE[0], buf, 1]), call(sys::__NR_write, [BACK[1], buf, 1])],
        },
        plain(
            "mmap-munmap",
            vec![
                call(sys::__NR_mmap, [0x7000_0000, PAGE, 3, 0x32, u64::MAX, 0]),
                call(sys::__NR_munmap, [0x7000_0000, PAGE]),
            ],
        ),
        plain(
            "mmap-touch-munmap",
            vec![
                call(sys::__NR_mmap, [0x7000_0000, 0x10_0000, 3, 0x32, u64::MAX, 0]),
                call(TOUCH, [0x7000_0000]),
                call(sys::__NR_munmap, [0x7000_0000, 0x10_0000]),
            ],
        ),
        Case { name: "fork-wait", before: Vec::new(), calls: vec![fork, wait], child: vec![exit] },
        Case {
            name: "fork-exec-wait",
            before: Vec::new(),
            calls: vec![fork, wait],
            child: vec![call(sys::__NR_execve, [place::PROGRAM, place::ARGV, 0])],
        },
    ]
}

/// What the guest that measures is at. What a child is at is in its registers: `rbp` is 1, `rbx` counts its calls.
struct Script {
    cases: Vec<Case>,
    rounds: Option<u64>,
    /// Whether the program's data has its strings.
    strings: bool,
    /// What is to be done before the next round.
    before: Vec<Call>,
    /// The case, the sample of it, and calls of that made so far.
    case: usize,
    sample: u32,
    made: u64,
    /// When the sample began, and what was counted by then.
    began: (Instant, [u64; 3]),
    best: f64,
}

/// What one of the cases is about.
const ENOENT: u32 = linux_raw_sys::errno::ENOENT;

const SAMPLES: u32 = 7;

impl Script {
    fn new(cases: Vec<Case>, rounds: Option<u64>) -> Script {
        let mut script = Script {
            cases,
            rounds,
            strings: false,
            before: set_up(),
            case: 0,
            sample: 0,
            made: 0,
            began: (Instant::now(), [0; 3]),
            best: f64::INFINITY,
        };
        script.begin_case();
        script
    }

    fn begin_case(&mut self) {
        (self.sample, self.made, self.best) = (0, 0, f64::INFINITY);
        if let Some(case) = self.cases.get(self.case) {
            self.before.extend_from_slice(&case.before);
        }
    }

    /// Goes on to the guest's next system call; `Err`: to something else.
    fn step(&mut self, machine: &Machine, space: &Ranges, ctx: &mut UserContext) -> Result<(), Exit> {
        if ctx.regs.rip != ENTRY {
            // A call that starts again finds `rip` two bytes back, and its number and arguments as they were.
            ctx.regs.rip = ENTRY;
            return Ok(());
        }
        if !self.strings {
            write_strings(machine, space)?;
            self.strings = true;
        }
        // After a fork, `r15` is 1 in both; the child got 0.
        if core::mem::take(&mut ctx.regs.r15) == 1 && ctx.regs.rax == 0 {
            (ctx.regs.rbp, ctx.regs.rbx) = (1, 0);
        }
        if ctx.regs.rbp == 1 {
            space.touch(ENTRY, Access::Read)?;
            space.touch(place::STAT, Access::Write)?;
            let calls = &self.cases[self.case].child;
            let next = calls[ctx.regs.rbx as usize % calls.len()];
            make(space, ctx, next)?;
            ctx.regs.rbx += 1;
            return Ok(());
        }
        let result = ctx.regs.rax as i64;
        assert!(result >= 0 || result == -i64::from(ENOENT), "a call failed: {result}");
        if let Some(&next) = self.before.first() {
            make(space, ctx, next)?;
            self.before.remove(0);
            return Ok(());
        }
        self.next_round(machine, space, ctx)
    }

    fn next_round(&mut self, machine: &Machine, space: &Ranges, ctx: &mut UserContext) -> Result<(), Exit> {
        let Some(case) = self.cases.get(self.case) else {
            return make(space, ctx, call(sys::__NR_exit_group, [0]));
        };
        let rounds = self.rounds.unwrap_or(if case.name.starts_with("fork") { 1000 } else { 20_000 });
        let each = case.calls.len() as u64;
        if self.made == 0 {
            self.began = (Instant::now(), machine.counts.now());
        }
        if self.made == rounds * each {
            self.end_sample(machine, rounds);
            return self.step(machine, space, ctx);
        }
        make(space, ctx, case.calls[(self.made % each) as usize])?;
        self.made += 1;
        Ok(())
    }

    fn end_sample(&mut self, machine: &Machine, rounds: u64) {
        let (began, before) = self.began;
        self.best = self.best.min(began.elapsed().as_nanos() as f64 / rounds as f64);
        (self.sample, self.made) = (self.sample + 1, 0);
        if self.sample < SAMPLES {
            return;
        }
        let now = machine.counts.now();
        let [faults, batches, changes] =
            [0, 1, 2].map(|which| (now[which] - before[which]) as f64 / rounds as f64);
        println!(
            "{:20} {:9.0} {faults:8.2} {batches:8.2} {changes:8.2}",
            self.cases[self.case].name, self.best
        );
        self.case += 1;
        self.begin_case();
    }
}

fn write_strings(machine: &Machine, space: &Ranges) -> Result<(), Exit> {
    space.touch(DATA, Access::Write)?;
    for (place, string) in STRINGS {
        machine.ram.write(space.touch(place, Access::Write)?, string);
    }
    machine.ram.write(space.touch(place::ARGV, Access::Write)?, &place::PROGRAM.to_ne_bytes());
    Ok(())
}

/// Sets the registers for a call, having touched what a program would.
fn make(space: &Ranges, ctx: &mut UserContext, (number, args): Call) -> Result<(), Exit> {
    if number == TOUCH {
        space.touch(args[0], Access::Write)?;
        ctx.regs.rax = u64::from(sys::__NR_getpid);
        return Ok(());
    }
    ctx.regs.rax = u64::from(number);
    ctx.regs.r15 = u64::from(number == sys::__NR_fork);
    [ctx.regs.rdi, ctx.regs.rsi, ctx.regs.rdx, ctx.regs.r10, ctx.regs.r8, ctx.regs.r9] = args;
    Ok(())
}

/// A program that touches its code, stack, data and zeroed data, and exits.
fn exiting_program(space: &Ranges, ctx: &mut UserContext) -> Result<(), Exit> {
    space.touch(EXIT_ENTRY, Access::Read)?;
    space.touch(ctx.regs.rsp - 8, Access::Write)?;
    space.touch(DATA, Access::Write)?;
    space.touch(DATA + 0x2000, Access::Write)?;
    make(space, ctx, call(sys::__NR_exit_group, [0]))
}

/// A static program: a page of headers, one of code, two of data, and zeroes.
fn elf(entry: u64) -> Vec<u8> {
    let segment =
        |flags, offset, file_len, len| Segment { flags, offset, addr: 0x40_0000 + offset, file_len, len };
    testing::elf(entry, &[segment(5, 0, 0x2000, 0x2000), segment(6, 0x2000, 0x1f00, DATA_END - DATA)])
}

fn main() {
    let mut args = std::env::args().skip(1);
    let filter = args.next().unwrap_or_default();
    let rounds = args.next().and_then(|rounds| rounds.parse().ok());
    let cases = cases().into_iter().filter(|case| case.name.contains(&filter)).collect();
    let machine = Arc::new(Machine {
        ram: Arc::new(Flat::new()),
        counts: Arc::default(),
        start: Instant::now(),
        script: Mutex::new(Script::new(cases, rounds)),
    });
    println!("{:20} {:>9} {:>8} {:>8} {:>8}", "a round of", "ns", "faults", "batches", "changes");
    let kernel = Kernel::boot(
        machine,
        BootConfig {
            memory: 1 << 30,
            ..testing::config(&[("program", 0o100_755, elf(EXIT_ENTRY))], elf(ENTRY))
        },
    )
    .expect("it boots");
    kernel.run_vcpu(VcpuId(0));
}
