//! Lodger on a real terminal: a pseudoterminal, keys that are typed, a screen that is looked at.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::roots::{self, Root};
use lodger_tests::run::{self, LIMIT, Running};
use lodger_tests::term::Terminal;
use lodger_tests::{demos, lodger, userland};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;

type Test = fn(&mut Terminal) -> Result<()>;
type Whole = fn(Backend) -> Result<()>;

/// What every shell must do: in the default userland and in a root with busybox.
const SHELL: &[(&str, Test)] = &[
    ("echo_and_pipes", echo_and_pipes),
    ("history", history),
    ("interrupt", interrupt),
    ("job_control", job_control),
    ("background", background),
    ("typed_ahead", typed_ahead),
    ("end_of_file", end_of_file),
    ("erase_and_kill", erase_and_kill),
    ("resize", resize),
    ("escape_is_typed", escape_is_typed),
];

/// What does not start with a prompt.
const OTHERS: &[(&str, Whole)] = &[
    ("exit_restores_the_terminal", exit_restores_the_terminal),
    ("stopped_and_continued", stopped_and_continued),
    ("the_terminal_goes_away", the_terminal_goes_away),
    ("a_terminal_without_one", a_terminal_without_one),
    ("escape_help", escape_help),
    ("escape_ends_a_hung_guest", escape_ends_a_hung_guest),
    ("editor", editor),
    ("window_change_is_signalled", window_change_is_signalled),
];

fn main() -> ExitCode {
    backend::run("terminal", |trials| {
        for (name, test) in SHELL {
            trials.each(&format!("default::{name}"), |on| {
                userland()?;
                let mut terminal = start(on, &[])?;
                prompt(&mut terminal, "$")?;
                test(&mut terminal)
            });
            trials.each(&format!("busybox::{name}"), |on| {
                let root = roots::busybox()?;
                let mut terminal = shell(on, &root)?;
                test(&mut terminal)
            });
        }
        OTHERS.iter().for_each(|(name, body)| trials.each(name, *body));
        trials.once("tt::wrecked_kernel", wrecked_kernel);
    })
}

fn start(on: Backend, words: &[&str]) -> Result<Terminal> {
    let mut command = Command::new(lodger()?);
    command.args(on.run()).args(words);
    Terminal::start(command)
}

fn start_in(on: Backend, root: &Path, command: &[&str]) -> Result<Terminal> {
    let root = root.to_str().unwrap_or_default();
    start(on, &[&["--root", root, "--"], command].concat())
}

/// Waits for a prompt, and makes it one that no command prints by accident.
fn prompt(terminal: &mut Terminal, sign: &str) -> Result<()> {
    let ends = |line: &str| line.trim_end().ends_with(sign) || line.trim_end().ends_with('#');
    terminal.screen_until("a prompt", |screen| screen.lines().any(ends))?;
    // The quotes keep the echo of the line from looking like the prompt.
    terminal.send("PS1='rea''dy> '\r")?;
    terminal.screen_until("the new prompt", |screen| screen.contains("ready>"))
}

fn shell(on: Backend, root: &Root) -> Result<Terminal> {
    let mut terminal = start_in(on, root.path(), &["/bin/sh", "-i"])?;
    prompt(&mut terminal, "$")?;
    Ok(terminal)
}

fn echo_and_pipes(terminal: &mut Terminal) -> Result<()> {
    terminal.send("echo one-$((40+2)) | tr o 0\r")?;
    terminal.expect("0ne-42")?;
    terminal.expect("ready>")
}

fn history(terminal: &mut Terminal) -> Result<()> {
    terminal.send("echo first-$((1+1))\r")?;
    terminal.expect("first-2")?;
    terminal.expect("ready>")?;
    terminal.send("\x1b[A")?;
    terminal.expect("echo first-$((1+1))")?;
    terminal.send("\r")?;
    terminal.expect("first-2")
}

fn interrupt(terminal: &mut Terminal) -> Result<()> {
    terminal.send("sleep 1000\r")?;
    terminal.expect("sleep 1000")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\x03")?;
    terminal.expect("ready>")?;
    terminal.send("echo st=$?\r")?;
    terminal.expect("st=130")
}

fn job_control(terminal: &mut Terminal) -> Result<()> {
    terminal.send("sleep 1000\r")?;
    terminal.expect("sleep 1000")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\x1a")?;
    terminal.expect("ready>")?;
    terminal.send("jobs\r")?;
    terminal.expect("topped")?;
    terminal.send("bg\r")?;
    terminal.expect("ready>")?;
    terminal.send("jobs\r")?;
    terminal.expect("unning")?;
    terminal.send("fg\r")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\x03")?;
    terminal.expect("ready>")
}

fn background(terminal: &mut Terminal) -> Result<()> {
    terminal.send("(sleep 0.3; echo la''ter) & echo no''w\r")?;
    terminal.expect("now")?;
    terminal.expect("later")
}

/// Lines that are typed while a command runs come one after the other when it has ended.
fn typed_ahead(terminal: &mut Terminal) -> Result<()> {
    terminal.send("sleep 1\r")?;
    terminal.expect("sleep 1")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.send("echo fi''rst\recho se''cond\r")?;
    terminal.send("echo th''ird\recho fou''r")?;
    terminal.expect("first")?;
    terminal.expect("second")?;
    terminal.expect("third")?;
    terminal.send("th\r")?;
    terminal.expect("fourth")
}

fn end_of_file(terminal: &mut Terminal) -> Result<()> {
    terminal.send("cat | tr a-z A-Z\r")?;
    terminal.expect("A-Z")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.send("typed\r\x04")?;
    terminal.expect("TYPED")?;
    terminal.expect("ready>")
}

fn erase_and_kill(terminal: &mut Terminal) -> Result<()> {
    terminal.send("nonsense\x15echo abX\x7fc-$((1+2))\r")?;
    terminal.expect("abc-3")
}

fn resize(terminal: &mut Terminal) -> Result<()> {
    terminal.send("stty size\r")?;
    terminal.expect("24 80")?;
    terminal.resize(40, 100)?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("stty size\r")?;
    terminal.expect("40 100")
}

fn escape_is_typed(terminal: &mut Terminal) -> Result<()> {
    terminal.send("cat -v\r")?;
    terminal.expect("cat -v")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.send("\x01\x01\r")?; // Ctrl-a Ctrl-a is Ctrl-a
    terminal.expect("^A")?;
    terminal.send("\x03")?;
    terminal.expect("ready>")
}

fn exit_restores_the_terminal(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let mut terminal = start_in(on, root.path(), &["/bin/sh", "-i"])?;
    prompt(&mut terminal, "$")?;
    let running = terminal.attributes()?;
    ensure!(!running.local_flags.contains(LocalFlags::ICANON), "raw while the guest runs");
    terminal.send("exit 7\r")?;
    let (status, after) = terminal.end()?;
    ensure!(status == 7, "status {status}");
    let usual = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
    ensure!(after.local_flags.contains(usual), "restored: {:?}", after.local_flags);
    Ok(())
}

/// Whoever stops lodger gets the terminal as it was; when it goes on, it is raw again.
fn stopped_and_continued(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let root_path = root.path().display().to_string();
    // A session of its own must not be stopped: the shell that started it is its leader.
    let mut command = Command::new("/bin/sh");
    let script = "\"$@\" -- /bin/sh -i; echo st-$?";
    command.args(["-c", script, "sh"]).arg(lodger()?).args(on.run()).args(["--root", &root_path]);
    let mut terminal = Terminal::start(command)?;
    prompt(&mut terminal, "$")?;
    let child = terminal.child()?;
    let cooked = |terminal: &Terminal| -> Result<bool> {
        Ok(terminal.attributes()?.local_flags.contains(LocalFlags::ICANON))
    };
    ensure!(!cooked(&terminal)?, "raw while the guest runs");
    kill(child, Signal::SIGTSTP)?;
    terminal.wait_for("the terminal as it was", cooked)?;
    terminal.wait_for("lodger to stop", |_| Ok(state(child)? == 'T'))?;
    kill(child, Signal::SIGCONT)?;
    terminal.wait_for("a raw terminal", |terminal| Ok(!cooked(terminal)?))?;
    terminal.send("echo st''ill; exit 4\r")?;
    terminal.expect("still")?;
    terminal.expect("st-4")
}

/// The letter of a process's state: R, S, T and so on.
fn state(pid: Pid) -> Result<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?'))
}

/// The hang-up reaches the guest's shell, and all ends with it.
fn the_terminal_goes_away(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let terminal = shell(on, &root)?;
    let status = terminal.hang_up()?;
    ensure!(status == 129, "status {status}");
    Ok(())
}

/// `--tty` with streams that are none: the guest has a terminal all the same.
fn a_terminal_without_one(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let root = root.path().to_str().unwrap_or_default();
    let script = "tty; read x; echo got $x; exit 6";
    let words = [&on.run()[..], &["--tty", "--root", root, "--", "/bin/sh", "-c", script]].concat();
    let ran = Running::start(run::lodger(&words)?, b"word\n".to_vec())?.wait(LIMIT)?.expect(6)?;
    ensure!(ran.text().contains("/dev/") && ran.text().ends_with("got word\r\n"), "{:?}", ran.text());
    Ok(())
}

fn escape_help(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let mut terminal = shell(on, &root)?;
    terminal.send("\x01h")?;
    terminal.expect("Ctrl-a")?;
    terminal.send("echo st''ill\r")?;
    terminal.expect("still")
}

fn escape_ends_a_hung_guest(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let mut terminal = start_in(on, root.path(), &["/abi", "spin-blocked"])?;
    terminal.expect("spinning")?;
    terminal.send("\x03")?; // it is deaf
    terminal.send("\x01x")?;
    let (status, after) = terminal.end()?;
    ensure!(status != 0, "status {status}");
    ensure!(after.local_flags.contains(LocalFlags::ICANON), "restored");
    Ok(())
}

fn editor(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let mut terminal = shell(on, &root)?;
    terminal.send("vi /tmp/file\r")?;
    terminal.screen_until("vi's empty lines", |screen| {
        screen.lines().filter(|line| line.starts_with('~')).count() > 15
    })?;
    terminal.send("ihello from vi\x1b")?;
    terminal.screen_until("the text", |screen| screen.starts_with("hello from vi"))?;
    terminal.send(":wq\r")?;
    terminal.screen_until("the prompt", |screen| screen.contains("ready>"))?;
    terminal.send("tr a-z A-Z < /tmp/file\r")?;
    terminal.expect("HELLO FROM VI")
}

fn window_change_is_signalled(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let script = "trap 'stty size' WINCH; echo wait''ing; while :; do sleep 0.1; done";
    let mut terminal = start_in(on, root.path(), &["/bin/sh", "-c", script])?;
    terminal.expect("waiting")?;
    terminal.resize(30, 90)?;
    terminal.expect("30 90")
}

/// Where a guest can write over the kernel, that is the end of it, but it is said and the terminal is as it was.
fn wrecked_kernel() -> Result<()> {
    let root = demos()?;
    let mut terminal = start_in(Backend::Tt, &root, &["/demo", "scene", "crash"])?;
    terminal.expect("lodger: the guest overwrote kernel memory; TT cannot prevent this")?;
    let (status, after) = terminal.end()?;
    ensure!(status == 125, "status {status}");
    let usual = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
    ensure!(after.local_flags.contains(usual), "restored: {:?}", after.local_flags);
    Ok(())
}
