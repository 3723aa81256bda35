//! Sets the scene: who runs as whom, which file is whose. It runs as root, as a machine's administrator does, and tells the
//! attacker nothing before the attacker has had its own try.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};

use crate::probe::PAGE;
use crate::random;
use crate::say::{Voice, hex};

const ME: Voice = Voice("scene");

/// The victim's user and group, and the attacker's.
const VICTIM: u32 = 1001;
const ATTACKER: (u32, u32) = (0xbeef, 0xcafe);

/// The file that the attacker must not read.
pub const FILE: &str = "/private/key";

/// Pages of that file. The key stands on each.
const FILE_PAGES: usize = 1024;

/// A search in steps of so many bytes does not miss it: the kernel keeps at least 2 MiB of it in one piece.
pub const KEY_STRIDE: u64 = 1 << 20;

/// What stands before the key on each page ("BEGIN KEY - "), with all bits inverted, and inverted back only at run time:
/// the text itself is in no program's file.
const INVERTED: [u8; 12] = [0xbd, 0xba, 0xb8, 0xb6, 0xb1, 0xdf, 0xb4, 0xba, 0xa6, 0xdf, 0xd2, 0xdf];

type Done<T> = std::io::Result<T>;

/// Plays the scene of this name, and says how it went.
pub fn play(name: &str) -> ExitCode {
    let played = match name {
        "peek" => records(name, &[], "secret"),
        "poke" => records(name, &["before"], "after"),
        "kernel-read" => file(name, VICTIM),
        "root" => file(name, 0),
        "crash" => crash(),
        "map" => map(),
        _ => {
            eprintln!("demo: there is no scene `{name}`");
            return ExitCode::from(2);
        }
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: the scene failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A victim with its records and an attacker that looks for them; what the victim says before and after.
fn records(name: &str, before: &[&str], after: &str) -> Done<()> {
    let mut victim = Victim::start()?;
    for order in before {
        victim.tell(order)?;
    }
    let mut attacker = attacker(name).stdout(Stdio::piped()).spawn()?;
    // What the attacker says is passed on as it comes; when it has had its own try, it is told the address.
    for line in BufReader::new(attacker.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?).lines() {
        let line = line?;
        if line != "attacker: ready" {
            println!("{line}");
        } else if let Some(mut stdin) = attacker.stdin.take() {
            writeln!(stdin, "{}", victim.address)?;
        }
    }
    attacker.wait()?;
    victim.tell(after)?;
    victim.end()
}

/// A file that belongs to somebody else.
fn file(name: &str, owner: u32) -> Done<()> {
    let key = hex(&random::bytes::<16>());
    write_file(&key, owner)?;
    ME.say(&format!("{FILE} belongs to user {owner}, mode 0600. It has a key in it, made up just now."));
    attacker(name).spawn()?.wait()?;
    ME.say(&format!("The key in {FILE} is {key}."));
    ME.fact("key", &key);
    Ok(())
}

/// Writes the file and wipes the buffer: what remains in memory is the kernel's.
fn write_file(key: &str, owner: u32) -> Done<()> {
    let mut text = vec![b'.'; FILE_PAGES * PAGE as usize];
    for page in text.chunks_exact_mut(PAGE as usize) {
        let line = [&begin()[..], key.as_bytes(), b"\n"].concat();
        page[..line.len()].copy_from_slice(&line);
    }
    std::fs::create_dir_all("/private")?;
    std::fs::write(FILE, &text)?;
    std::fs::set_permissions(FILE, Permissions::from_mode(0o600))?;
    chown(FILE, Some(owner), Some(owner))?;
    std::hint::black_box(text.as_mut_slice()).fill(0);
    Ok(())
}

/// The key, if this is the beginning of a page of the file.
pub fn key_in(page: &[u8]) -> Option<String> {
    let (start, rest) = page.split_at_checked(INVERTED.len())?;
    let key = rest.get(..32)?;
    let is_page = start == begin() && key.iter().all(u8::is_ascii_hexdigit) && rest.get(32) == Some(&b'\n');
    is_page.then(|| String::from_utf8_lossy(key).into_owned())
}

fn begin() -> [u8; 12] {
    std::hint::black_box(INVERTED).map(|byte| !byte)
}

/// Does anybody live when the attacker is through?
fn crash() -> Done<()> {
    let mut victim = Victim::start()?;
    victim.tell("before")?;
    let status = attacker("crash").spawn()?.wait()?;
    ME.say(&format!("The attacker ended with {}.", describe(status)));
    ME.fact("attacker", &describe(status));
    victim.tell("alive")?;
    victim.end()
}

/// A victim and an attacker that do nothing but be there. Comes back only if that fails.
fn map() -> Done<()> {
    let sleeper = |name, (user, group): (u32, u32)| {
        let mut command = Command::new("/proc/self/exe");
        command.args(["wait", name]).uid(user).gid(group);
        command
    };
    sleeper("attacker", ATTACKER).spawn()?;
    Err(sleeper("victim", (VICTIM, VICTIM)).exec())
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("status {}", status.code().unwrap_or_default()),
    }
}

/// The attacker, not started yet, as its own user.
fn attacker(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["attack", name]).uid(ATTACKER.0).gid(ATTACKER.1).stdin(Stdio::piped());
    command
}

/// A victim that runs.
struct Victim {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it has its record, in its own address space: hexadecimal.
    address: String,
}

impl Victim {
    fn start() -> Done<Victim> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("victim").uid(VICTIM).gid(VICTIM).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let answers = BufReader::new(child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?);
        let mut victim = Victim { child, orders, answers, address: String::new() };
        victim.address = victim.hear("address")?;
        Ok(victim)
    }

    /// Passes on what it says, up to the fact `key`, which is for this side only.
    fn hear(&mut self, key: &str) -> Done<String> {
        let start = format!("victim= {key} ");
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().strip_prefix(&start) {
                Some(value) => return Ok(value.to_owned()),
                None => print!("{line}"),
            }
        }
    }

    /// Gives it an order and passes on what it says to that.
    fn tell(&mut self, order: &str) -> Done<()> {
        writeln!(self.orders, "{order}")?;
        self.hear("done").map(drop)
    }

    fn end(mut self) -> Done<()> {
        drop(self.orders);
        self.child.wait().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_file_is_known_by_its_beginning() {
        let key = "0123456789abcdef0123456789abcdef";
        let page = format!("BEGIN KEY - {key}\n....");
        assert_eq!(key_in(page.as_bytes()), Some(key.into()));
        assert_eq!(key_in(&page.as_bytes()[1..]), None);
        assert_eq!(key_in(page.replace('f', "x").as_bytes()), None);
        assert_eq!(key_in(b"BEGIN KEY - "), None);
    }
}
