//! Programs that make as much of one kind of thing as they can; the system tests run them in Lodger only.
//!
//! `abi bomb NAME` runs one in a child, in a mount namespace with a tmpfs of its own on `/tmp`, kills whatever is left of
//! it, and looks whether the system is as it was: memory is back, the kernel's own too, and a program starts.

mod files;
mod messages;
mod tasks;

use std::fmt::Display;

use libc::c_int;

use crate::overlay::mount;
use crate::support::{describe, errno, name_of, now_ms, run_self, sleep_ms};

/// A bomb, which ends when it is refused more, or is killed.
type Bomb = fn();

const BOMBS: &[(&str, Bomb)] = &[
    ("forks", tasks::forks),
    ("zombies", tasks::zombies),
    ("threads", tasks::threads),
    ("memory", tasks::memory),
    ("memory-files", tasks::memory_files),
    ("maps", tasks::maps),
    ("arguments", tasks::arguments),
    ("timers", tasks::timers),
    ("signals", tasks::signals),
    ("futexes", tasks::futexes),
    ("namespaces", tasks::namespaces),
    ("filters", tasks::filters),
    ("vectors", tasks::vectors),
    ("pipes", messages::pipes),
    ("eventfds", messages::eventfds),
    ("epolls", messages::epolls),
    ("nested-epolls", messages::nested_epolls),
    ("sockets-in-flight", messages::sockets_in_flight),
    ("circles-in-flight", messages::circles_in_flight),
    ("orphans-in-flight", messages::orphans_in_flight),
    ("datagrams", messages::datagrams),
    ("terminals", messages::terminals),
    ("queues", messages::queues),
    ("sysv", messages::sysv),
    ("tables", messages::tables),
    ("watches", files::watches),
    ("locks", files::locks),
    ("deep-tree", files::deep_tree),
    ("deep-tree-removed", files::deep_tree_removed),
    ("links", files::links),
    ("names", files::names),
    ("names-by-many", files::names_by_many),
    ("names-in-many", files::names_in_many),
    ("attributes", files::attributes),
    ("mounts", files::mounts),
    ("stacked-mounts", files::stacked_mounts),
    ("overlays", files::overlays),
    ("open-directories", files::open_directories),
];

/// What a bomb may leave, for caches: bytes of the kernel's own memory, and of RAM.
const LEFT: u64 = 4 << 20;
/// So long a bomb may take, and then what it left to go, in milliseconds.
const LIMIT_MS: i64 = 40_000;
const SETTLE_MS: i64 = 8_000;

/// The names, one a line.
pub fn list() -> c_int {
    BOMBS.iter().for_each(|(name, _)| println!("{name}"));
    0
}

/// Runs one: 0 if the system is as it was then.
pub fn run(name: &str) -> c_int {
    let Some((_, bomb)) = BOMBS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no bomb `{name}`");
        return 2;
    };
    // SAFETY: one thread; children leave by _exit or are executed.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        if !starts() {
            eprintln!("no program starts");
            return 1;
        }
        let before = Memory::now();
        let start = now_ms();
        let pid = libc::fork();
        if pid == -1 {
            eprintln!("no process for the bomb: {}", name_of(errno()));
            return 1;
        }
        if pid == 0 {
            libc::unshare(libc::CLONE_NEWNS);
            crate::mount::mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE);
            mount(c"tmpfs", c"/tmp", "nr_inodes=0");
            libc::chdir(c"/tmp".as_ptr());
            bomb();
            libc::_exit(0);
        }
        let mut status = 0;
        let mut late = false;
        let mut least = Memory::now();
        while libc::waitpid(pid, &mut status, libc::WNOHANG) == 0 {
            least.note(&Memory::now());
            if now_ms() - start > LIMIT_MS {
                late = true;
                libc::kill(pid, libc::SIGKILL);
            }
            sleep_ms(20);
        }
        let took = now_ms() - start;
        // All but the first process and this one.
        libc::kill(-1, libc::SIGKILL);
        while libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 {}
        let ended = now_ms();
        let mut after = Memory::now();
        while !after.is_back(&before) && now_ms() - ended < SETTLE_MS {
            sleep_ms(50);
            after = Memory::now();
        }
        let works = starts();
        println!(
            "{name}: {} after {took} ms, gone {} ms later; kernel {} KiB, most {}, then {}; free {} KiB, least {}, then {}",
            describe(status),
            now_ms() - ended,
            before.kernel >> 10,
            least.kernel >> 10,
            after.kernel >> 10,
            before.free >> 10,
            least.free >> 10,
            after.free >> 10
        );
        let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
        let fine = killed || libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        i32::from(late || !fine || !works || !after.is_back(&before))
    }
}

/// Sizes in bytes, as `/proc/meminfo` has them.
struct Memory {
    free: u64,
    kernel: u64,
}

impl Memory {
    fn now() -> Memory {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let row = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
        };
        Memory { free: row("MemAvailable:"), kernel: row("Slab:") }
    }

    fn note(&mut self, other: &Memory) {
        self.free = self.free.min(other.free);
        self.kernel = self.kernel.max(other.kernel);
    }

    fn is_back(&self, before: &Memory) -> bool {
        self.free + LEFT >= before.free && self.kernel <= before.kernel + LEFT
    }
}

/// Whether a program starts and ends well.
fn starts() -> bool {
    run_self(&[c"exit", c"0"], &[]).is_ok_and(|(_, status)| status == 0)
}

/// Says how many there were of something, and why no more.
fn refused(count: impl Display) {
    let errno = errno();
    let line = format!("  {count}, then {}\n", name_of(errno));
    // SAFETY: the bytes live. As one write, so that lines of several processes stay whole.
    unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
}

/// As many descriptors as there can be.
pub fn many_descriptors() {
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: the structure lives.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}

/// Children that run `body` one after another, until none can be made, or one gets nothing; each stays.
fn in_children(body: fn() -> bool) {
    let mut count = 0;
    loop {
        let mut ends = [0; 2];
        // SAFETY: one thread; the child never returns.
        unsafe {
            libc::pipe(ends.as_mut_ptr());
            let pid = libc::fork();
            if pid == -1 {
                return refused(format_args!("{count} children"));
            }
            if pid == 0 {
                libc::close(ends[0]);
                if !body() {
                    libc::_exit(0);
                }
                libc::write(ends[1], [0u8].as_ptr().cast(), 1);
                libc::close(ends[1]);
                loop {
                    libc::pause();
                }
            }
            libc::close(ends[1]);
            libc::read(ends[0], [0u8].as_mut_ptr().cast(), 1);
            libc::close(ends[0]);
            // Nobody is waited for but who has ended: none is left then.
            if libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {
                return refused(format_args!("{count} children, the last of which ended"));
            }
        }
        count += 1;
    }
}
