//! Linux's system call interface as small cases. Natively they are the oracle: what passes on Linux must pass in
//! Lodger.
//!
//! * `abi --list` prints the cases, one a line, as `family::name`.
//! * `abi CASE` runs one in this process: 0 is right, 77 is skipped, 1 is wrong; the reason is on stderr.
//! * `abi --all [PREFIX]` runs each in a process of its own, ten seconds at most.
//! * `abi garbage [SEED]`, `abi eat-memory`, `abi eat-by-read`, `abi sparse`, `abi hoard`, `abi fork-bomb [N]`, `abi bomb [NAME]`,
//!   `abi spin-blocked`, `abi segv`, `abi exit N`, `abi exit-by-euid`, `abi kill-self N` misbehave, for the system tests; `abi show WHAT` serves
//!   the cases about `execve(2)`.

mod acl;
mod aio;
mod altstack;
mod bombs;
mod caps;
mod cgroup;
mod cgroup_ns;
mod cgroup_pids;
mod cpu_time;
mod devpts;
mod dispatch;
mod dnotify;
mod epoll;
mod event;
mod exec;
mod fault;
mod file;
mod follow;
mod futex;
mod garbage;
mod hostile;
mod inotify;
mod limits;
mod lock;
mod loops;
mod memory;
mod mount;
mod mountfd;
mod mqueue;
mod msg;
mod ns;
mod obsolete;
mod odds;
mod often;
mod overlay;
mod overlay_layers;
mod path;
mod perm;
mod pidns;
mod pipe;
mod proc;
mod process;
mod procfs;
mod ptrace;
mod remote;
mod runner;
mod seccomp;
mod sem;
mod shm;
mod signal;
mod support;
mod thread;
mod time;
mod tracee;
mod tracing;
mod tty;
mod unix;
mod userns;
mod wait;

use std::process::exit;

use support::{Case, conclude};

/// All families in the order in which they run: what others rest on comes first.
const FAMILIES: &[(&str, &[Case])] = &[
    ("process", process::CASES),
    ("wait", wait::CASES),
    ("exec", exec::CASES),
    ("memory", memory::CASES),
    ("fault", fault::CASES),
    ("signal", signal::CASES),
    ("altstack", altstack::CASES),
    ("thread", thread::CASES),
    ("futex", futex::CASES),
    ("seccomp", seccomp::CASES),
    ("often", often::CASES),
    ("ptrace", ptrace::CASES),
    ("tracee", tracee::CASES),
    ("follow", follow::CASES),
    ("path", path::CASES),
    ("file", file::CASES),
    ("perm", perm::CASES),
    ("overlay", overlay::CASES),
    ("overlay-layers", overlay_layers::CASES),
    ("acl", acl::CASES),
    ("caps", caps::CASES),
    ("lock", lock::CASES),
    ("pipe", pipe::CASES),
    ("odds", odds::CASES),
    ("epoll", epoll::CASES),
    ("limits", limits::CASES),
    ("event", event::CASES),
    ("aio", aio::CASES),
    ("inotify", inotify::CASES),
    ("unix", unix::CASES),
    ("shm", shm::CASES),
    ("sem", sem::CASES),
    ("msg", msg::CASES),
    ("mqueue", mqueue::CASES),
    ("remote", remote::CASES),
    ("tty", tty::CASES),
    ("time", time::CASES),
    ("cpu_time", cpu_time::CASES),
    ("devpts", devpts::CASES),
    ("dispatch", dispatch::CASES),
    ("dnotify", dnotify::CASES),
    ("proc", proc::CASES),
    ("procfs", procfs::CASES),
    ("obsolete", obsolete::CASES),
    ("loops", loops::CASES),
    ("mount", mount::CASES),
    ("mountfd", mountfd::CASES),
    ("ns", ns::CASES),
    ("userns", userns::CASES),
    ("pidns", pidns::CASES),
    ("cgroup", cgroup::CASES),
    ("cgroup-ns", cgroup_ns::CASES),
    ("cgroup-pids", cgroup_pids::CASES),
];

fn main() {
    // The language's runtime catches some faults and ignores SIGPIPE, and whoever started this may ignore what terminals
    // send (nohup, a shell's background): the cases start as a C program does from an interactive shell.
    let terminals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE].into_iter().chain(terminals) {
        // SAFETY: the default disposition.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse().unwrap_or(0);
    exit(match words[..] {
        ["--list"] => runner::list(""),
        ["--list", prefix] => runner::list(prefix),
        ["--all"] => runner::all(""),
        ["--all", prefix] => runner::all(prefix),
        ["show", what, ..] => exec::show(what),
        ["args", ..] => exec::show("args"),
        ["garbage"] => garbage::run(1),
        ["garbage", seed] => garbage::run(number(seed)),
        ["eat-memory"] => hostile::eat_memory(),
        ["sparse"] => hostile::sparse(),
        ["eat-by-read"] => hostile::eat_by_read(),
        ["hoard"] => hostile::hoard(),
        ["bomb"] => bombs::list(),
        ["bomb", name] => bombs::run(name),
        ["fork-bomb"] => hostile::fork_bomb(1000),
        ["fork-bomb", n] => hostile::fork_bomb(number(n)),
        ["spin-blocked"] => hostile::spin_blocked(),
        ["segv"] => hostile::segv(),
        // SAFETY: no memory is involved.
        ["exit-by-euid"] => i32::from(unsafe { libc::geteuid() } != 0),
        ["exit", n] => number(n) as i32,
        ["kill-self", n] => hostile::kill_self(number(n) as i32),
        [name] => match runner::find(name) {
            // SAFETY: nothing else runs in this process, so a case may do what it likes with it.
            Some(case) => conclude(unsafe { (case.run)() }),
            None => usage(),
        },
        _ => usage(),
    });
}

fn usage() -> i32 {
    eprintln!(
        "usage: abi --list [PREFIX] | --all [PREFIX] | CASE | garbage [SEED] | eat-memory | fork-bomb [N] | ..."
    );
    2
}
