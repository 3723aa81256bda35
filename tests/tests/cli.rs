//! The command line's contract: exit statuses, streams, flags, signals, bad input.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::roots::{self, Root};
use lodger_tests::run::{LIMIT, Ran, Running, first_line, lodger, run, words};
use lodger_tests::user::{Installed, copy_program};
use lodger_tests::userland;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

type Test = fn(Backend) -> Result<()>;
type Once = fn() -> Result<()>;

fn main() -> ExitCode {
    let once: &[(&str, Once)] = &[
        ("help_and_version", help_and_version),
        ("usage_errors_are_125", usage_errors_are_125),
        ("later_features_are_refused_by_name", later_features_are_refused_by_name),
        ("the_other_program_is_missing", the_other_program_is_missing),
        ("tt_warns_and_refuses", tt_warns_and_refuses),
    ];
    let each: &[(&str, Test)] = &[
        ("status_is_the_command's", status_is_the_commands),
        ("status_of_signals", status_of_signals),
        ("status_126_and_127", status_126_and_127),
        ("corrupt_programs", corrupt_programs),
        ("init_that_is_none", init_that_is_none),
        ("own_init", own_init),
        ("reboot_starts_again", reboot_starts_again),
        ("memory_sizes", memory_sizes),
        ("streams_are_byte_for_byte", streams_are_byte_for_byte),
        ("stdout_and_stderr_are_apart", stdout_and_stderr_are_apart),
        ("a_slow_reader_gets_all", a_slow_reader_gets_all),
        ("any_standard_input", any_standard_input),
        ("closed_stdout", closed_stdout),
        ("environment_is_clean", environment_is_clean),
        ("workdir_user_and_hostname", workdir_user_and_hostname),
        ("uname_names_the_release", uname_names_the_release),
        ("uml_words", uml_words),
        ("strace_is_decoded", strace_is_decoded),
        ("signals_are_passed_on", signals_are_passed_on),
        ("second_sigterm_ends_all", second_sigterm_ends_all),
        ("spinning_guest_is_ended", spinning_guest_is_ended),
        ("guest_that_fills_its_root", guest_that_fills_its_root),
        ("ordinary_user", ordinary_user),
        ("several_at_once", several_at_once),
        ("ptrace_is_refused", ptrace_is_refused),
        ("shell_pipeline", shell_pipeline),
        ("no_room_for_addresses", no_room_for_addresses),
        ("no_signal_may_wait", no_signal_may_wait),
        ("doctor_looks", doctor_looks),
        ("no_lockdown_is_said", no_lockdown_is_said),
    ];
    backend::run("cli", |trials| {
        once.iter().for_each(|(name, body)| trials.once(name, *body));
        each.iter().for_each(|(name, body)| trials.each(name, *body));
    })
}

/// Runs a command of the root with `/abi`.
fn abi(on: Backend, flags: &[&str], command: &[&str]) -> Result<Ran> {
    let root = roots::abi()?;
    run(&words(on, root.path(), flags, command))
}

fn sh(on: Backend, script: &str) -> Result<Ran> {
    userland()?;
    run(&[&on.run()[..], &["--", "sh", "-c", script]].concat())
}

fn help_and_version() -> Result<()> {
    let help = run(&["--help"])?.expect(0)?;
    ensure!(help.text().contains("run") && help.text().contains("Usage"), "{}", help.text());
    let help = run(&["run", "--help"])?.expect(0)?;
    ensure!(help.text().contains("--root") && help.text().contains("--mem"), "{}", help.text());
    ensure!(run(&["--version"])?.expect(0)?.text().starts_with("lodger "), "the version");
    Ok(())
}

fn status_is_the_commands(on: Backend) -> Result<()> {
    for status in [0, 1, 7, 124, 255] {
        abi(on, &[], &["/abi", "exit", &status.to_string()])?.expect(status)?;
    }
    Ok(())
}

fn status_of_signals(on: Backend) -> Result<()> {
    for signal in [2, 6, 9, 15] {
        abi(on, &[], &["/abi", "kill-self", &signal.to_string()])?.expect(128 + signal)?;
    }
    abi(on, &[], &["/abi", "segv"])?.expect(128 + 11).map(drop)
}

fn status_126_and_127(on: Backend) -> Result<()> {
    abi(on, &[], &["/nothing"])?.expect(127)?;
    abi(on, &[], &["nothing-in-path"])?.expect(127)?;
    abi(on, &[], &["/etc/passwd"])?.expect(126)?; // not executable
    abi(on, &[], &["/tmp"])?.expect(126).map(drop) // a directory
}

fn usage_errors_are_125() -> Result<()> {
    run(&["run", "--nonsense"])?.refused("--nonsense")?;
    run(&["nonsense"])?.refused("nonsense")?;
    run(&["run", "--root"])?.refused("--root")?;
    run(&["run", "--hostname", "a b"])?.refused("host name")?;
    run(&["run", "--log", "loud"])?.refused("level")
}

/// It says what this machine allows, and that all is given up.
fn doctor_looks(on: Backend) -> Result<()> {
    let trap = on.run()[5];
    let doctor = |flags: &[&str]| {
        let words = [&["doctor", "--backend", on.flag(), "--trap", trap], flags].concat();
        run(&words)?.expect(0).map(|ran| ran.text())
    };
    let text = doctor(&[])?;
    for part in ["given up before guests run", "system calls", "FSGSBASE", "as asked for"] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&doctor(&["--json"])?)?;
    ensure!(json["schema"] == "lodger-doctor/1", "{json}");
    let locked = &json["tables"]["given up before guests run"];
    ensure!(locked["new privileges"] == "off" && locked["capabilities"] == "none left", "{json}");
    let calls = doctor(&["--syscalls"])?;
    let has = |name: &str| calls.lines().any(|line| line.split_whitespace().next() == Some(name));
    ensure!(has("futex") && has("openat") && has("ptrace") == (trap == "ptrace"), "{calls}");
    ensure!(!has("execve") && !has("socket") && has("clone") == (on == Backend::Tt), "{calls}");
    Ok(())
}

fn no_lockdown_is_said(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let root = root.path().to_str().unwrap_or_default();
    let words = ["run", "--backend", on.flag(), "--no-lockdown", "--root", root, "--", "/abi", "exit", "3"];
    let ran = run(&words)?.expect(3)?;
    ensure!(ran.err.contains("--no-lockdown: "), "{}", ran.err);
    Ok(())
}

fn later_features_are_refused_by_name() -> Result<()> {
    for (words, name) in [(&["--name", "n"], "--name"), (&["--cpus", "2"], "--cpus")] {
        run(&[&["run"][..], words, &["--", "true"]].concat())?.refused(name)?;
    }
    for verb in ["ps", "exec", "stop", "kill"] {
        run(&[verb])?.refused(verb)?;
    }
    Ok(())
}

fn corrupt_programs(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let whole = fs::read(lodger_tests::abi()?)?;
    let status = |name: &str, bytes: &[u8]| -> Result<i32> {
        root.write(name, bytes, 0o755)?;
        let ran = run(&words(on, root.path(), &[], &[&format!("/{name}")]))?;
        ensure!(!ran.late && !ran.err.contains("panic"), "{name}: {}", ran.err);
        Ok(ran.status)
    };
    ensure!(status("empty", b"")? == 126, "an empty file");
    ensure!(status("text", b"just words\n")? == 126, "a text");
    ensure!(status("head", &whole[..60])? == 126, "half a header");
    let mut wild = whole.clone();
    wild[54..58].fill(0xff); // size and number of the program headers
    ensure!(status("headers", &wild)? == 126, "wild program headers");
    // Without most of its segments: it may be refused or die, but of its own signal.
    let cut = status("cut", &whole[..0x3000])?;
    ensure!(cut == 126 || cut > 128, "the beginning of a program: {cut}");
    let mut entry = whole.clone();
    entry[24..32].fill(0xff); // the entry point
    let entry = status("entry", &entry)?;
    ensure!(entry == 126 || entry == 139, "a wild entry point: {entry}");
    Ok(())
}

/// `lodger run` with this program as PID 1.
fn init<'a>(on: Backend, root: &'a str, init: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&on.run()[..], &["--root", root, "--init", init, "--"], words].concat()
}

fn init_that_is_none(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let path = root.path().to_str().unwrap_or_default();
    run(&init(on, path, "/no/init", &[]))?.refused("/no/init")?;
    run(&init(on, path, "/etc/passwd", &[]))?.refused("/etc/passwd")?;
    run(&init(on, path, "relative", &[]))?.refused("relative")
}

fn own_init(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let path = root.path().to_str().unwrap_or_default();
    let ran = run(&init(on, path, "/abi", &["args", "one"]))?;
    ensure!(ran.text().contains("[one]"), "PID 1 gets the words: {} {}", ran.text(), ran.err);
    ran.expect(125).map(drop) // an init that ends is a panic of the guest
}

/// After each `reboot(2)` the guest is there anew; standard input goes on where it was.
fn reboot_starts_again(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let path = root.path().to_str().unwrap_or_default();
    let script =
        "read x; echo $x; ls /mark; touch /mark; [ $x = last ] && exec poweroff -f; reboot -f; sleep 9";
    let command = lodger(&init(on, path, "/bin/sh", &["-c", script]))?;
    let ran = Running::start(command, b"first\nsecond\nlast\n".to_vec())?.wait(LIMIT)?.expect(0)?;
    ensure!(ran.text() == "first\nsecond\nlast\n", "each time from the start: {}", ran.text());
    Ok(())
}

fn memory_sizes(on: Backend) -> Result<()> {
    for size in ["", "x", "-1", "0", "12Q", "99999999999999999999", "1e9"] {
        run(&["run", &format!("--mem={size}"), "--", "true"])?.refused("mem")?;
    }
    abi(on, &["--mem", "64K"], &["/abi", "exit", "0"])?.refused("mem")?;
    abi(on, &["--mem", "64M"], &["/abi", "exit", "4"])?.expect(4).map(drop)
}

fn streams_are_byte_for_byte(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let input: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let command = lodger(&words(on, root.path(), &[], &["/bin/cat"]))?;
    let ran = Running::start(command, input.clone())?.wait(LIMIT)?.expect(0)?;
    ensure!(ran.out == input, "{} bytes came back of {}", ran.out.len(), input.len());
    ensure!(ran.err.is_empty(), "nothing else is printed: {}", ran.err);
    Ok(())
}

/// Writes that the host takes in parts, or not at all for a while, lose and repeat nothing.
fn a_slow_reader_gets_all(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let mut command = lodger(&words(on, root.path(), &[], &["/bin/seq", "1", "100000"]))?;
    let (mut reader, writer) = std::io::pipe()?;
    command.stdout(writer);
    let running = Running::start(command, Vec::new())?;
    let mut text = String::new();
    let mut piece = [0; 1111];
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(10));
        let n = reader.read(&mut piece)?;
        text.push_str(std::str::from_utf8(&piece[..n])?);
    }
    reader.read_to_string(&mut text)?;
    running.wait(LIMIT)?.expect(0)?;
    let wanted: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    ensure!(text == wanted, "{} bytes of {}", text.len(), wanted.len());
    Ok(())
}

/// The end of standard input is the end of the guest's, whatever it is.
fn any_standard_input(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "one\ntwo\n")?;
    let script = "read a; echo \"$a\"; cat | wc -c";
    let command = || lodger(&words(on, root.path(), &[], &["/bin/sh", "-c", script]));
    for (input, wanted) in [(file.path(), "one\n4\n"), (Path::new("/dev/null"), "\n0\n")] {
        let output = command()?.stdin(fs::File::open(input)?).output()?;
        ensure!(output.status.success() && output.stdout == wanted.as_bytes(), "{input:?}: {output:?}");
    }
    let mut closed = command()?;
    // SAFETY: one system call between fork and exec.
    unsafe { closed.pre_exec(|| Ok(nix::unistd::close(0)?)) };
    let output = closed.output()?;
    ensure!(output.status.success() && output.stdout == b"\n0\n", "closed: {output:?}");
    // What the guest has not read is left for whoever reads next.
    let text = fs::File::open(file.path())?;
    lodger(&words(on, root.path(), &[], &["/bin/true"]))?.stdin(text.try_clone()?).status()?;
    ensure!(std::io::read_to_string(text)? == "one\ntwo\n", "nothing was read ahead");
    Ok(())
}

fn stdout_and_stderr_are_apart(on: Backend) -> Result<()> {
    let ran = sh(on, "echo out; echo err >&2")?.expect(0)?;
    ensure!(ran.out == b"out\n" && ran.err == "err\n", "out {:?}, err {:?}", ran.text(), ran.err);
    Ok(())
}

fn closed_stdout(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let mut command =
        lodger(&words(on, root.path(), &[], &["/bin/sh", "-c", "echo x; echo done >&2; exit 3"]))?;
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| Ok(nix::unistd::close(1)?)) };
    let ran = Running::start(command, Vec::new())?.wait(LIMIT)?.expect(3)?;
    ensure!(ran.err.contains("done"), "it ran to its end: {}", ran.err);
    // A reader that leaves: the guest's writer gets SIGPIPE, and lodger ends as it does.
    let mut command = lodger(&words(on, root.path(), &[], &["/bin/yes"]))?;
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer);
    let running = Running::start(command, Vec::new())?;
    drop(reader);
    running.wait(LIMIT)?.expect(128 + 13).map(drop)
}

fn environment_is_clean(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let mut command =
        lodger(&words(on, root.path(), &["--env", "A=b=c", "--env", "COPIED"], &["/abi", "show", "env"]))?;
    command.env("COPIED", "yes").env("SECRET", "no");
    let text = Running::start(command, Vec::new())?.wait(LIMIT)?.expect(0)?.text();
    for word in ["PATH=", "HOME=", "TERM=", "A=b=c", "COPIED=yes"] {
        ensure!(text.lines().any(|line| line.starts_with(word)), "{word} is missing in {text}");
    }
    ensure!(!text.contains("SECRET") && text.lines().count() <= 7, "nothing else: {text}");
    Ok(())
}

fn workdir_user_and_hostname(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let flags = ["--workdir", "/tmp", "--user", "1000:1001", "--hostname", "guest-7"];
    let script = "pwd; id -u; id -g; hostname";
    let ran = run(&words(on, root.path(), &flags, &["/bin/sh", "-c", script]))?.expect(0)?;
    ensure!(ran.text() == "/tmp\n1000\n1001\nguest-7\n", "{}", ran.text());
    let ran = run(&words(on, root.path(), &["--user", "nobody"], &["/bin/id", "-u"]))?.expect(0)?;
    ensure!(ran.text() == "65534\n", "{}", ran.text());
    let ran = run(&words(on, root.path(), &["--user", "nosuchuser"], &["/bin/id"]))?;
    ensure!(ran.status == 125 && ran.err.contains("nosuchuser"), "{} {}", ran.status, ran.err);
    Ok(())
}

fn uname_names_the_release(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let ran = run(&words(on, root.path(), &[], &["/bin/uname", "-snrm"]))?.expect(0)?;
    ensure!(ran.text() == "Linux lodger 6.1.0-lodger x86_64\n", "{}", ran.text());
    Ok(())
}

fn uml_words(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let (path, mode) = (format!("root={}", root.path().display()), format!("mode={}", on.flag()));
    let command = lodger(&[
        "mem=256M",
        &mode,
        "quiet",
        &path,
        "init=/bin/sh",
        "--",
        "-c",
        "cat /proc/cmdline; poweroff -f",
    ])?;
    let ran = Running::start(command, Vec::new())?.wait(LIMIT)?;
    // Without /proc mounted by an init of ours the shell cannot tell; that it ran and ended the guest counts.
    ran.expect(0).map(drop)
}

fn strace_is_decoded(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let log = tempfile::NamedTempFile::new()?;
    let flag = format!("--strace={}", log.path().display());
    run(&words(on, root.path(), &[&flag], &["/abi", "exit", "5"]))?.expect(5)?;
    let text = fs::read_to_string(log.path())?;
    ensure!(
        text.contains("execve(\"/abi\""),
        "execve with its path: {}",
        text.chars().take(2000).collect::<String>()
    );
    ensure!(text.contains("exit_group(5)"), "exit_group with its status");
    Ok(())
}

/// Starts a guest with stdout in a file, and waits for its first line.
fn ready(on: Backend, root: &Root, command: &[&str]) -> Result<(Running, tempfile::NamedTempFile)> {
    let out = tempfile::NamedTempFile::new()?;
    let mut lodger = lodger(&words(on, root.path(), &[], command))?;
    lodger.stdout(out.reopen()?);
    let running = Running::start(lodger, Vec::new())?;
    first_line(out.path())?;
    Ok((running, out))
}

fn signals_are_passed_on(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    for (signal, number) in [(Signal::SIGINT, "INT"), (Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP")] {
        let script = format!("trap 'echo got; exit 9' {number}; echo ready; while :; do sleep 0.1; done");
        let (running, out) = ready(on, &root, &["/bin/sh", "-c", &script])?;
        running.signal(signal)?;
        running.wait(LIMIT)?.expect(9)?;
        ensure!(fs::read_to_string(out.path())?.contains("got"), "the trap ran for {number}");
    }
    let (running, _out) = ready(on, &root, &["/bin/sh", "-c", "echo ready; exec sleep 100"])?;
    running.signal(Signal::SIGTERM)?;
    running.wait(LIMIT)?.expect(128 + 15).map(drop)
}

fn second_sigterm_ends_all(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let (running, _out) = ready(on, &root, &["/bin/sh", "-c", script])?;
    running.signal(Signal::SIGTERM)?;
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGTERM)?;
    running.wait(Duration::from_secs(5))?.expect(143).map(drop)
}

fn spinning_guest_is_ended(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let (running, _out) = ready(on, &root, &["/abi", "spin-blocked"])?;
    running.signal(Signal::SIGTERM)?;
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGTERM)?;
    running.wait(Duration::from_secs(5))?.expect(143).map(drop)
}

/// Files get half of the memory: a full root is an error of who fills it, and programs still run.
fn guest_that_fills_its_root(on: Backend) -> Result<()> {
    userland()?;
    let script = "cat /dev/zero > /full; echo st=$?; ls /full; rm /full; echo again > /full && cat /full";
    let ran = run(&[&on.run()[..], &["--mem", "64M", "--", "sh", "-c", script]].concat())?.expect(0)?;
    ensure!(ran.text() == "st=1\n/full\nagain\n", "{:?}", ran.text());
    ensure!(ran.err.contains("No space left"), "{:?}", ran.err);
    Ok(())
}

fn several_at_once(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let started = (1..=4).map(|n: i32| {
        let script = format!("sleep 0.3; echo {n} > /mine; cat /mine; exit {n}");
        Running::start(lodger(&words(on, root.path(), &[], &["/bin/sh", "-c", &script]))?, Vec::new())
    });
    for (n, running) in (1..).zip(started.collect::<Result<Vec<_>>>()?) {
        let ran = running.wait(LIMIT)?.expect(n)?;
        ensure!(ran.text() == format!("{n}\n"), "{n}: {}", ran.text());
    }
    Ok(())
}

/// A container whose filter refuses ptrace(2) is told so, and nothing is left.
fn ptrace_is_refused(on: Backend) -> Result<()> {
    use nix::libc::{
        self, BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog,
    };
    let root = roots::abi()?;
    let mut command = lodger(&words(on, root.path(), &[], &["/abi", "exit", "0"]))?;
    let step = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    // If the number of the call (the first word) is ptrace's, EPERM.
    let filter = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, libc::SYS_ptrace as u32),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        nix::sys::prctl::set_no_new_privs()?;
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: the program and its filter live, and the kernel copies them.
        let done =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        Ok(Errno::result(done).map(drop)?)
    };
    // SAFETY: two system calls between fork and exec.
    unsafe { command.pre_exec(install) };
    let ran = Running::start(command, Vec::new())?.wait(LIMIT)?;
    match on {
        // It needs no ptrace.
        Backend::Skas => ran.expect(0).map(drop),
        Backend::Ptrace | Backend::Tt => ran.refused("ptrace"),
    }
}

fn ordinary_user(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    root.write("closed/secret", "", 0o600)?;
    root.write("secret", "", 0o600)?;
    fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(0o700))?;
    let installed = Installed::new()?;
    let path = root.path().to_string_lossy();
    // With warnings.
    let words = ["run", "--backend", on.flag(), "--root", &path, "--", "/abi", "show", "ids"];
    let command = installed.lodger(&words, 65534);
    let ran = Running::start(command, Vec::new())?.wait(LIMIT)?.expect(0)?;
    ensure!(ran.text().trim_end().ends_with(" 0 0"), "root in the guest: {}", ran.text());
    Ok(())
}

fn shell_pipeline(on: Backend) -> Result<()> {
    let ran = sh(on, "printf 'c\\nb\\na\\n' | sort | head -n 1; ls / | wc -l; exit 6")?.expect(6)?;
    ensure!(ran.text().starts_with("a\n"), "{}", ran.text());
    Ok(())
}

/// `lodger` alone: what it needs beside it is named.
fn the_other_program_is_missing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("lodger");
    copy_program(&lodger_tests::lodger()?, dir.path())?;
    let mut command = Command::new(program);
    command.args(["run", "--backend", "tt", "--", "true"]).stdout(Stdio::piped());
    Running::start(command, Vec::new())?.wait(LIMIT)?.refused("lodger-tt")
}

fn tt_warns_and_refuses() -> Result<()> {
    let root = roots::abi()?;
    let root = root.path().to_str().unwrap_or_default();
    let on_tt = ["run", "--backend", "tt", "--root", root];
    let ran = run(&[&on_tt[..], &["--", "/abi", "exit", "3"]].concat())?.expect(3)?;
    let warning = "lodger: --backend tt has no protection between guest processes: ";
    ensure!(ran.err.starts_with(warning) && ran.err.lines().count() == 1, "one line: {}", ran.err);
    let ran = run(&[&on_tt[..], &["--quiet", "--", "/abi", "exit", "3"]].concat())?.expect(3)?;
    ensure!(ran.err.is_empty(), "silenced: {}", ran.err);
    run(&[&on_tt[..], &["--cpus", "2"]].concat())?.refused("one address space")?;
    run(&[&on_tt[..], &["--trap", "seccomp"]].concat())?.refused("--trap ptrace")
}

/// A guest on a host that gives no more than `most` of a resource.
fn limited(on: Backend, resource: Resource, most: u64) -> Result<Ran> {
    let root = roots::abi()?;
    let mut command = lodger(&words(on, root.path(), &[], &["/abi", "exit", "0"]))?;
    let limit = move || Ok(setrlimit(resource, most, most)?);
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(limit) };
    Running::start(command, Vec::new())?.wait(LIMIT)
}

/// A limit of address space that no host fits into.
fn no_room_for_addresses(on: Backend) -> Result<()> {
    limited(on, Resource::RLIMIT_AS, 1 << 30)?.refused("ulimit -v")
}

/// No timer of the host may have a signal wait: who is only safer with one does without.
fn no_signal_may_wait(on: Backend) -> Result<()> {
    limited(on, Resource::RLIMIT_SIGPENDING, 0)?.expect(0).map(drop)
}
