//! Root file systems: directories, archives, Debian's busybox, programs that need Debian's C library, and what is no root.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::roots;
use lodger_tests::run::{run, words};

type Test = fn(Backend) -> Result<()>;

fn main() -> ExitCode {
    let each: &[(&str, Test)] = &[
        ("corrupt_archives", corrupt_archives),
        ("root_directory_is_unchanged", root_directory_is_unchanged),
        ("odd_files_of_a_root", odd_files_of_a_root),
        ("busybox_root", busybox_root),
        ("dynamic_root", dynamic_root),
        ("threads_of_a_dynamic_program", threads_of_a_dynamic_program),
    ];
    backend::run("roots", |trials| {
        trials.once("no_such_root", no_such_root);
        trials.once("roots_that_are_none", roots_that_are_none);
        each.iter().for_each(|(name, body)| trials.each(name, *body));
    })
}

fn no_such_root() -> Result<()> {
    run(&["run", "--root", "/no/such/root", "--", "true"])?.refused("/no/such/root")?;
    run(&["run", "--root", "nosuchname", "--", "true"])?.refused("nosuchname")
}

fn roots_that_are_none() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    let text = path.to_str().unwrap_or_default();
    for content in [&b""[..], b"hello", &[0x1f, 0x8b, 8, 0, 1, 2, 3], b"070707nonsense", &[0u8; 4096]] {
        fs::write(&path, content)?;
        run(&["run", "--root", text, "--", "/abi"])?.refused("file")?;
    }
    run(&["run", "--root", "/dev/null", "--", "/abi"])?.refused("/dev/null")
}

/// A cpio archive (newc) with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let entry = |name: &str, mode: u32, content: &[u8]| {
        let mut bytes = format!("070701{:08x}{mode:08x}", 1).into_bytes();
        for field in [0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0] {
            bytes.extend(format!("{field:08x}").bytes());
        }
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    [entry(name, 0o100_755, content), entry("TRAILER!!!", 0, b"")].concat()
}

fn corrupt_archives(on: Backend) -> Result<()> {
    let program = fs::read(lodger_tests::abi()?)?;
    let whole = archive("abi", &program);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("root.cpio");
    let try_with = |bytes: &[u8]| {
        fs::write(&path, bytes)?;
        run(&words(on, &path, &[], &["/abi", "exit", "3"]))
    };
    try_with(&whole)?.expect(3)?;
    try_with(&whole[..whole.len() / 2])?.refused("root.cpio")?;
    let mut wild = whole.clone();
    wild[54..62].copy_from_slice(b"ffffffff"); // the size of the file
    try_with(&wild)?.refused("root.cpio")?;
    wild[54..62].copy_from_slice(b"zzzzzzzz");
    try_with(&wild)?.refused("root.cpio")
}

fn root_directory_is_unchanged(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    root.write("data", "before", 0o644)?;
    let script = "echo after > /data && rm /etc/passwd && mkdir /new && cat /data && ls -d /new";
    let ran = run(&words(on, root.path(), &[], &["/bin/sh", "-c", script]))?.expect(0)?;
    ensure!(ran.text() == "after\n/new\n", "{}", ran.text());
    ensure!(fs::read_to_string(root.path().join("data"))? == "before", "the file is as it was");
    ensure!(root.path().join("etc/passwd").exists() && !root.path().join("new").exists(), "so are the names");
    Ok(())
}

fn odd_files_of_a_root(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let at = |name: &str| root.path().join(name);
    root.write("a", "same", 0o640)?;
    fs::hard_link(at("a"), at("b"))?;
    symlink("/no/where", at("dangling"))?;
    symlink("loop", at("loop"))?;
    root.write("new\nline", "x", 0o4755)?;
    let _socket = UnixListener::bind(at("socket"))?;
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    // As on any overlay, a change parts a file from its other names.
    let script = "stat -c '%h %a' /a /b; echo more >> /a; cat /a; cat /b; echo; readlink /dangling; readlink /loop; \
                  stat -c '%a %F' /new*; stat -c %F /fifo /socket; cat /socket";
    let ran = run(&words(on, root.path(), &[], &["/bin/sh", "-c", script]))?.expect(1)?;
    let wanted = "2 640\n2 640\nsamemore\nsame\n/no/where\nloop\n4755 regular file\nfifo\nsocket\n";
    ensure!(ran.text() == wanted, "{}", ran.text());
    ensure!(ran.err.contains("No such device or address"), "a socket is opened: {}", ran.err);
    Ok(())
}

fn busybox_root(on: Backend) -> Result<()> {
    let root = roots::busybox()?;
    let script = "set -e; cd /tmp; seq 1 1000 > n; wc -l < n; gzip n; gunzip -c n.gz | md5sum | cut -c1-8; \
                  mkdir -p a/b/c; find . -type d | sort | tail -n 1; (sleep 0.1; echo late) & wait; exit 5";
    let ran = run(&words(on, root.path(), &[], &["/bin/sh", "-c", script]))?.expect(5)?;
    ensure!(
        ran.text() == "1000\n53d025127\n./a/b/c\nlate\n".replace("53d025127", &native_sum()?),
        "{}",
        ran.text()
    );
    Ok(())
}

/// The first eight digits of the sum that the same busybox computes natively.
fn native_sum() -> Result<String> {
    let mut child =
        Command::new("/bin/busybox").arg("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(numbers.as_bytes())?;
    }
    let out = child.wait_with_output()?.stdout;
    Ok(String::from_utf8_lossy(&out[..8]).into_owned())
}

fn dynamic_root(on: Backend) -> Result<()> {
    let root = roots::dynamic(&[Path::new("/bin/ls")])?;
    let ran = run(&words(on, root.path(), &[], &["/bin/ls", "/bin"]))?.expect(0)?;
    ensure!(ran.text() == "ls\n", "{}", ran.text());
    Ok(())
}

const THREADS: &str = r#"
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;
static __thread long own;
static void *work(void *arg) {
    for (int i = 0; i < 10000; i++) { own += (long)arg; pthread_mutex_lock(&lock); sum++; pthread_mutex_unlock(&lock); }
    return (void *)own;
}
int main(void) {
    pthread_t all[8]; long total = 0;
    for (long i = 0; i < 8; i++) if (pthread_create(&all[i], 0, work, (void *)i)) return 2;
    for (int i = 0; i < 8; i++) { void *one; pthread_join(all[i], &one); total += (long)one; }
    printf("%ld %ld\n", sum, total);
    return 3;
}
"#;

fn threads_of_a_dynamic_program(on: Backend) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let program = roots::compile(dir.path(), "threads", THREADS)?;
    let root = roots::dynamic(&[&program])?;
    let ran = run(&words(on, root.path(), &[], &["/bin/threads"]))?.expect(3)?;
    ensure!(ran.text() == "80000 280000\n", "{}", ran.text());
    Ok(())
}
