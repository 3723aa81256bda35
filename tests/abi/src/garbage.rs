//! Every system call with hostile arguments: nothing may come of it but error numbers and dead children. In Lodger
//! only, or natively as an ordinary user: as root it could mount, reboot, or set the clock.

use libc::{c_int, c_long};

use crate::support::{now_ms, sleep_ms};

/// One past the last call tried.
const CALLS: c_long = 463;
/// How often each call is tried.
const ROUNDS: usize = 24;
/// How long the tries of one call may take; some rightly block.
const LIMIT_MS: i64 = 300;

/// A small generator (xorshift64*): the same seed gives the same calls.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An argument that a kernel might trust too much.
    fn argument(&mut self, page: u64) -> u64 {
        const WORST: [u64; 20] = [
            0,
            1,
            2,
            3,
            8,
            0xfff,
            0x1000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_f000,
            0x7fff_ffff_ffff,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_ffff_8000_0000,
            0xffff_ffff_ff60_0000,
            i64::MAX as u64,
            i64::MIN as u64,
            u64::MAX,
        ];
        match self.next() % 4 {
            0 => WORST[(self.next() % WORST.len() as u64) as usize],
            1 => page + self.next() % 4096, // real memory, at times up to its very end
            2 => 1 << (self.next() % 64),
            _ => self.next() >> (self.next() % 64),
        }
    }
}

/// Whether a call may be tried; those that end the caller or wait for ever tell nothing.
fn tried(nr: c_long) -> bool {
    let pointless = [
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_pause,
        libc::SYS_rt_sigreturn,
        libc::SYS_vfork,
        libc::SYS_reboot, // in a guest it may rightly end everything
        libc::SYS_kexec_load,
    ];
    !pointless.contains(&nr)
}

/// Tries all calls and prints what became of the children.
pub fn run(seed: u64) -> c_int {
    // SAFETY: asks only.
    if std::env::var_os("ABI_IN_LODGER").is_none() && unsafe { libc::geteuid() } == 0 {
        eprintln!("garbage: not natively as root: it could mount, reboot, or set the clock");
        return 2;
    }
    let (mut ended, mut died, mut late) = (0, 0, 0);
    for nr in (0..CALLS).filter(|nr| tried(*nr)) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (nr as u64 + 1) << 32 | 1);
        // SAFETY: the child is thrown away whatever becomes of its memory.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => {
                eprintln!("garbage: cannot fork before call {nr}");
                return 1;
            }
            0 => child(nr, &mut random),
            _ => match end_of(pid) {
                Some(word) if libc::WIFEXITED(word) => ended += 1,
                Some(_) => died += 1,
                None => late += 1,
            },
        }
    }
    println!("garbage: {ended} ended, {died} died, {late} were stopped");
    0
}

/// Calls `nr` some times and leaves. A group of its own keeps `kill(0)` away from the others; kill(-1) and the
/// like stay within what this user may signal, so their first argument is kept to the child itself.
fn child(nr: c_long, random: &mut Random) -> ! {
    let signals = [libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo];
    let signals =
        [&signals[..], &[libc::SYS_rt_tgsigqueueinfo, libc::SYS_setpriority, libc::SYS_prlimit64]].concat();
    // SAFETY: garbage in, and nobody relies on this process afterwards.
    unsafe {
        libc::setsid();
        libc::alarm(1);
        libc::syscall(libc::SYS_close_range, 0, 2, 0); // no garbage on anybody's streams
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) as u64;
        let parent = libc::getppid();
        for _ in 0..ROUNDS {
            let mut a: [u64; 6] = std::array::from_fn(|_| random.argument(page));
            if signals.contains(&nr) {
                a[0] = libc::getpid() as u64;
            }
            libc::syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
            if libc::getppid() != parent {
                break; // a fork of ours that went on
            }
        }
        libc::_exit(0);
    }
}

/// The child's status word, or `None` when it had to be killed.
fn end_of(pid: c_int) -> Option<c_int> {
    let end = now_ms() + LIMIT_MS;
    let mut word = 0;
    // SAFETY: `word` lives; the group is the child's own.
    unsafe {
        loop {
            if libc::waitpid(pid, &mut word, libc::WNOHANG) == pid {
                libc::kill(-pid, libc::SIGKILL);
                return Some(word);
            }
            if now_ms() > end {
                libc::kill(-pid, libc::SIGKILL);
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, &mut word, 0);
                return None;
            }
            sleep_ms(1);
        }
    }
}
