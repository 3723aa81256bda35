//! Guest programs: PID 1, which makes children for as long as the instance lives, and children, which do anything.

use kernel_core::boot::testing::{self, Segment};
use kernel_core::host::fake::{FakeSpace, GuestMem};
use kernel_core::host::{Access, Exit, Registers, Trap};
use kernel_core::syscall::Arg;
use kernel_core::syscall::table::Table;
use linux_raw_sys::general as sys;

use crate::machine::Machine;
use crate::random::Random;

const PAGE: u64 = 0x1000;
/// Where PID 1 starts, and where what it makes goes on. An interrupted call is made again two bytes before.
const INIT: u64 = 0x40_0800;
const CHILD: u64 = 0x40_0100;
/// Strings of 64 bytes each, then structures.
const STRINGS: u64 = 0x50_0000;
const STRUCTURES: u64 = STRINGS + PAGE;
const DATA_END: u64 = STRINGS + 0x1_0000;

const PATHS: [&str; 48] = [
    "/",
    ".",
    "..",
    "",
    "/dir",
    "/dir/file",
    "/dir/link",
    "/tmp",
    "/tmp/a",
    "/tmp/b",
    "/tmp/a/b",
    "/tmp/a/c",
    "/tmp/fifo",
    "/tmp/sock",
    "a",
    "b",
    "a/b",
    "../a",
    "/bin/prog",
    "/bin/script",
    "/proc/self/maps",
    "/proc/self/mem",
    "/proc/self/fd/0",
    "/proc/self/exe",
    "/proc/self/status",
    "/proc/self/mountinfo",
    "/proc/self/oom_score_adj",
    "/proc/1/stat",
    "/proc/meminfo",
    "/proc/sys/kernel/hostname",
    "/proc/self/task",
    "/proc/self/root/tmp",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/ptmx",
    "/dev/pts/0",
    "/dev/tty",
    "/dev/random",
    "/sys",
    "/tmp/a/../b",
    "proc",
    "tmpfs",
    "devpts",
    "overlay",
    "sysfs",
    "user.attr",
    "size=1m,mode=700",
];

/// What PID 1 does first: mounts, and descriptors from 3 on that its children inherit.
fn before(count: u64) -> Option<(u32, [u64; 5])> {
    let read_write = 0o102;
    Some(match count {
        0 => (sys::__NR_mount, [path("proc"), path("/proc"), path("proc"), 0, 0]),
        1 => (sys::__NR_mount, [path("tmpfs"), path("/tmp"), path("tmpfs"), 0, 0]),
        2 => (sys::__NR_mount, [path("sysfs"), path("/sys"), path("sysfs"), 0, 0]),
        3 => (sys::__NR_chdir, [path("/tmp"), 0, 0, 0, 0]),
        4 => (sys::__NR_mkdir, [path("/tmp/a"), 0o777, 0, 0, 0]),
        5 => (sys::__NR_open, [path("/tmp/b"), read_write, 0o666, 0, 0]),
        6 => (sys::__NR_open, [path("/dir/file"), 2, 0, 0, 0]),
        7 => (sys::__NR_open, [path("/tmp"), 0, 0, 0, 0]),
        8 => (sys::__NR_pipe2, [STRUCTURES, 0o4000, 0, 0, 0]),
        9 => (sys::__NR_pipe2, [STRUCTURES, 0, 0, 0, 0]),
        10 => (sys::__NR_socketpair, [1, 1, 0, STRUCTURES, 0]),
        11 => (sys::__NR_socketpair, [1, 2, 0, STRUCTURES, 0]),
        12 => (sys::__NR_socket, [1, 1, 0, 0, 0]),
        13 => (sys::__NR_epoll_create1, [0; 5]),
        14 => (sys::__NR_eventfd2, [3, 0, 0, 0, 0]),
        15 => (sys::__NR_timerfd_create, [1, 0, 0, 0, 0]),
        16 => (sys::__NR_signalfd4, [u64::MAX, STRUCTURES, 8, 0, 0]),
        17 => (sys::__NR_memfd_create, [path("a"), 2, 0, 0, 0]),
        18 => (sys::__NR_open, [path("/dev/ptmx"), 2, 0, 0, 0]),
        _ => return None,
    })
}

/// The descriptors that all have, and some more.
const DESCRIPTORS: u64 = 26;

/// Whether these are registers of PID 1's first thread.
pub fn is_init(regs: &Registers) -> bool {
    (INIT - 2..=INIT).contains(&regs.rip)
}

/// The last calls of PID 1: it ends all others, waits for them, and ends. In `r12` it knows which comes next.
pub fn end(regs: &mut Registers) -> Exit {
    const ECHILD: u64 = -(linux_raw_sys::errno::ECHILD as i64) as u64;
    regs.rip = INIT;
    let (number, first, second) = match regs.r12 {
        0 => (sys::__NR_kill, u64::MAX, 9),
        _ if regs.rax == ECHILD => (sys::__NR_exit_group, 0, 0),
        _ => (sys::__NR_wait4, u64::MAX, 0),
    };
    regs.r12 += 1;
    [regs.rax, regs.rdi, regs.rsi, regs.rdx, regs.r10] = [number.into(), first, second, 0, 0];
    Exit::Syscall
}

/// Where a path of the list is.
fn path(wanted: &str) -> u64 {
    let number = PATHS.iter().position(|path| *path == wanted);
    string(number.map_or(0, |number| number as u64))
}

fn string(number: u64) -> u64 {
    STRINGS + 64 * number
}

/// What guests have in common, as a fuzzer would keep it: addresses that some call gave.
#[derive(Default)]
pub struct Guests {
    addresses: Vec<u64>,
}

impl Guests {
    /// Goes on until there is something for the kernel.
    pub fn step(&mut self, random: &Random, regs: &mut Registers, space: &FakeSpace) -> Exit {
        if is_init(regs) {
            return init(random, regs);
        }
        let rax = regs.rax;
        if rax > 0x1_0000 && rax.is_multiple_of(PAGE) && rax < 1 << 47 {
            self.addresses.push(rax);
            if self.addresses.len() > 64 {
                self.addresses.remove(random.below(64) as usize);
            }
        }
        for _ in 0..16 {
            if let Err(exit) = self.act(random, regs, space) {
                return exit;
            }
        }
        Exit::Interrupted
    }

    fn act(&self, random: &Random, regs: &mut Registers, space: &FakeSpace) -> Result<(), Exit> {
        match random.below(1000) {
            0..700 => Err(self.call(random, regs, space)),
            700..880 => self.store(random, space),
            880..960 => {
                let mut bytes = [0; 16];
                space.read(self.place(random), &mut bytes)
            }
            960..963 => {
                regs.rip = random.pick(&[CHILD, CHILD, CHILD, self.address(random) & !INIT]);
                Err(Exit::Interrupted)
            }
            963..970 => {
                regs.rsp = self.address(random);
                Ok(())
            }
            970..972 => {
                let fault =
                    random.pick(&[Trap::Breakpoint, Trap::Debug, Trap::DivideError, Trap::GeneralProtection]);
                Err(Exit::Trap(fault))
            }
            972..975 => {
                let access = random.pick(&[Access::Read, Access::Write, Access::Exec, Access::Unknown]);
                Err(Exit::Fault { addr: self.place(random), access })
            }
            975..977 => Err(Exit::Rewrite(self.address(random))),
            977 => Err(Exit::Rewritten(self.address(random))),
            978..985 => {
                (regs.rbx, regs.rcx, regs.r11) = (random.next(), random.next(), random.next());
                regs.rflags = random.next();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A call of the table, mostly, with arguments of the kinds that it has.
    fn call(&self, random: &Random, regs: &mut Registers, space: &FakeSpace) -> Exit {
        let families = Table::<Machine>::FAMILIES;
        let family = random.pick(families);
        let call = &family[random.below(family.len() as u64) as usize];
        // The instance is to last, and its time to be the simulation's.
        let number = match call.number {
            sys::__NR_reboot => sys::__NR_getpid,
            _ if random.once_in(100) => random.below(500) as u32,
            number => number,
        };
        let mut args = [0; 6];
        for (n, arg) in args.iter_mut().enumerate() {
            let kind = call.args.get(n).copied().filter(|_| !random.once_in(40));
            *arg = self.argument(kind, random);
        }
        // What is pointed to may be a structure with times, lengths, addresses.
        for pointer in args.iter().filter(|arg| (STRUCTURES..DATA_END).contains(arg)) {
            for word in 0..random.below(8) {
                // It may be at the end of what is mapped.
                let _ = space.write_u64(pointer + 8 * word, self.value(random));
            }
        }
        regs.rax = number.into();
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        Exit::Syscall
    }

    fn argument(&self, kind: Option<Arg>, random: &Random) -> u64 {
        let bits = |random: &Random, names: &[(u64, &str)]| {
            let several = random.below(3);
            (0..several).fold(0, |sum, _| sum | random.pick(names).0)
        };
        match kind {
            Some(Arg::Fd) => random.below(DESCRIPTORS),
            Some(Arg::DirFd) => random.pick(&[sys::AT_FDCWD as u64, random.below(DESCRIPTORS)]),
            Some(Arg::Str) => {
                random.pick(&[string(random.below(48)), string(random.below(48)), self.address(random)])
            }
            Some(Arg::Signal) => random.below(66),
            Some(Arg::Int) => {
                random.pick(&[random.below(12), u64::MAX, random.below(70), self.value(random)])
            }
            Some(Arg::Size) => random.pick(&[0, 1, 8, 100, PAGE, 3 * PAGE, 1 << 20, self.value(random)]),
            Some(Arg::Mode) => random.below(0o10000),
            Some(Arg::OpenFlags) => {
                random.pick(&[0, 1, 2, 0o102, 0o101, 0o1102, 0o4000, 0o2000101, random.next() & 0o77777777])
            }
            // Not all of it shares the address space, or init would be the only one.
            Some(Arg::CloneFlags) => {
                random.pick(&[17, 17, 0x11 | random.next() & 0x7fff_ff00, 0x3d_0f00, random.next()])
            }
            Some(Arg::Flags(names)) if !names.is_empty() => bits(random, names),
            Some(Arg::Enum(names)) if !names.is_empty() => random.pick(names).0,
            Some(Arg::Hex) => random.pick(&[0, 1, 2, 0x32, 0x22, 0x5401, self.value(random)]),
            Some(
                Arg::Ptr
                | Arg::Strs
                | Arg::In(_)
                | Arg::Out
                | Arg::SignalSet
                | Arg::Time
                | Arg::SocketAddr(_)
                | Arg::FdPair,
            ) => random.pick(&[0, self.structure(random), self.structure(random), self.address(random)]),
            _ => self.value(random),
        }
    }

    fn structure(&self, random: &Random) -> u64 {
        STRUCTURES + 8 * random.below((DATA_END - STRUCTURES) / 8)
    }

    /// An address where something is, most of the time.
    fn place(&self, random: &Random) -> u64 {
        match random.below(100) {
            0 => self.address(random),
            1..60 => self.structure(random),
            _ => match self.addresses.len() as u64 {
                0 => self.structure(random),
                len => self.addresses[random.below(len) as usize],
            },
        }
    }

    /// An address that may mean something.
    fn address(&self, random: &Random) -> u64 {
        let known = match self.addresses.len() as u64 {
            0 => 0x7000_0000,
            len => self.addresses[random.below(len) as usize],
        };
        let edge = random.pick(&[0, 8, PAGE - 4, PAGE, 0x1_0000, u64::MAX - 7]);
        random.pick(&[
            self.structure(random),
            self.structure(random),
            known,
            known.wrapping_add(edge),
            DATA_END.wrapping_sub(edge),
            0x40_0000,
            0x7000_0000 + PAGE * random.below(64),
            random.pick(&[0, 1, 0x7fff_ffff_f000, 1 << 47, 1 << 63, u64::MAX]),
        ])
    }

    /// A number that may mean something.
    fn value(&self, random: &Random) -> u64 {
        match random.below(8) {
            0..3 => random.below(16),
            3 => random.below(1 << 16),
            4 => PAGE * random.below(64),
            5 => random.pick(&[
                u64::MAX,
                1 << 31,
                1 << 32,
                i64::MAX as u64,
                1 << 63,
                999_999_999,
                1_000_000_000,
            ]),
            6 => self.address(random),
            _ => random.next(),
        }
    }

    fn store(&self, random: &Random, space: &FakeSpace) -> Result<(), Exit> {
        let (address, value) = (self.place(random), self.value(random));
        space.write_u64(address, value)
    }
}

/// PID 1: a few mounts, then it makes children, sleeps and waits for those that ended. In `rbx` it counts.
fn init(random: &Random, regs: &mut Registers) -> Exit {
    if regs.rip != INIT {
        // The call that was interrupted.
        regs.rip = INIT;
        return Exit::Syscall;
    }
    // It was made by the last call.
    if regs.rbp == 1 && regs.rax == 0 {
        regs.rip = CHILD;
        return Exit::Interrupted;
    }
    let count = regs.rbx;
    regs.rbx += 1;
    let (number, args) = before(count).unwrap_or_else(|| match count % 4 {
        0 => (sys::__NR_fork, [0; 5]),
        1 => (sys::__NR_poll, [0, 0, random.below(4), 0, 0]),
        _ => (sys::__NR_wait4, [u64::MAX, 0, sys::WNOHANG.into(), 0, 0]),
    });
    regs.rbp = u64::from(number == sys::__NR_fork);
    regs.rax = number.into();
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8] = args;
    Exit::Syscall
}

/// The program of PID 1: a page that can be executed, a page of strings, and zeroes.
pub fn elf() -> Vec<u8> {
    program(INIT)
}

fn program(entry: u64) -> Vec<u8> {
    let text = Segment { flags: 5, offset: 0, addr: 0x40_0000, file_len: PAGE, len: PAGE };
    let data = Segment { flags: 6, offset: PAGE, addr: STRINGS, file_len: PAGE, len: DATA_END - STRINGS };
    let mut file = testing::elf(entry, &[text, data]);
    for (number, path) in PATHS.iter().enumerate() {
        let at = PAGE as usize + 64 * number;
        file[at..at + path.len()].copy_from_slice(path.as_bytes());
    }
    file
}

/// The root file system: name, mode and contents of its files.
pub fn files() -> Vec<(&'static str, u32, Vec<u8>)> {
    let folders = ["bin", "dev", "dir", "proc", "sys", "tmp"].map(|name| (name, 0o040_777, Vec::new()));
    let files = [
        ("bin/prog", 0o100_755, program(CHILD)),
        ("bin/script", 0o100_755, b"#!/bin/prog\n".to_vec()),
        ("dir/file", 0o100_644, vec![b'x'; 10_000]),
        ("dir/link", 0o120_777, b"../dir/file".to_vec()),
    ];
    folders.into_iter().chain(files).collect()
}
