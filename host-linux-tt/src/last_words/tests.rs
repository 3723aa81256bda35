//! Processes that really crash: this program is started again, on a terminal of its own, and told how to.

use std::arch::asm;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use host_linux::terminal::RawMode;
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::*;

const HOW: &str = "LODGER_TEST_CRASH";

/// In the process that a test starts: takes the terminal, and crashes.
#[test]
fn crash() {
    let Ok(how) = std::env::var(HOW) else { return };
    install();
    let _raw = RawMode::enter(std::io::stdin().as_fd()).unwrap();
    match how.as_str() {
        "segv" => fault(),
        "bus" => read_beyond_a_file(),
        // SAFETY: undefined by the processor, and so an exception.
        "ill" => unsafe { asm!("ud2") },
        "abort" => std::process::abort(),
        // SAFETY: a division by zero, and so an exception.
        "fpe" => unsafe { asm!("div ecx", in("ecx") 0, inout("eax") 1 => _, inout("edx") 0 => _) },
        "scribble" => std::thread::spawn(scribble).join().unwrap(),
        other => panic!("{other}"),
    }
}

fn fault() {
    // SAFETY: it is the point that nothing is there.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

fn read_beyond_a_file() {
    let file = tempfile::tempfile().unwrap();
    // SAFETY: a new mapping; it is the point that the file is too short for it.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_SHARED,
            std::os::fd::AsRawFd::as_raw_fd(&file),
            0,
        );
        at.cast::<u8>().read_volatile();
    }
}

/// Overwrites all that this process may write, as a guest could: data, heap, thread-locals, the stacks of all threads. Its
/// own stack comes last, and it holds the list of what to overwrite.
fn scribble() {
    // A thread that starts another one has all signals blocked meanwhile, and so no handler: the test's own may still do so.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut places = [(0usize, 0usize); 256];
    let here = (&raw const places) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut n = 0;
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|modes| modes.starts_with("rw")))
    {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let number = |digits| usize::from_str_radix(digits, 16).unwrap();
        let range = (number(from), number(to));
        if !(range.0..range.1).contains(&here) {
            places[n] = range;
            n += 1;
        }
    }
    for (from, to) in places {
        for at in from..to {
            // SAFETY: no memory is safe from this, and that is the point: only volatile writes follow, and the end.
            unsafe { std::ptr::without_provenance_mut::<u8>(at).write_volatile(0xa5) };
        }
    }
    fault();
}

/// Status and output of a crash on a terminal; the terminal is as it was before.
fn crashed(how: &str) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let stream = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "last_words::tests::crash", "--nocapture"]).env(HOW, how);
    // As [`crate::rseq`] has it.
    command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
    drop(command);
    let status = child.wait().unwrap();
    let flags = tcgetattr(&pty.slave).unwrap().local_flags;
    assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "{how}: the terminal is as it was");
    drop(pty.slave);
    let mut text = Vec::new();
    // A terminal that nobody holds any more ends with an error.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut text);
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_fault_ends_with_the_sentence() {
    for how in ["segv", "bus", "ill", "abort", "fpe"] {
        let (status, text) = crashed(how);
        assert_eq!(status, Some(STATUS), "{how}: {text}");
        assert!(text.ends_with(&format!("lodger: {SENTENCE}\r\n")), "{how}: {text:?}");
    }
}

#[test]
fn a_process_without_memory_of_its_own_ends_with_the_sentence() {
    let (status, text) = crashed("scribble");
    assert_eq!(status, Some(STATUS), "{text}");
    assert!(text.ends_with(&format!("lodger: {SENTENCE}\r\n")), "{text:?}");
}
