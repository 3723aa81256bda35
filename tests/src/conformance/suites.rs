//! The suites: how each is built, run and read.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Results;
use super::fetch::{find, output, source};
use super::{inside, kernel, open};
use crate::backend::Backend;
use crate::roots::{self, Root};
use crate::run::Running;

/// How long a suite may take in one run.
const LIMIT: Duration = Duration::from_secs(3600);

/// A suite. Its folder is laid out as it is in the guest, under `/suite`.
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// Fetches and builds it, and returns its folder.
    pub build: fn(&Path) -> Result<PathBuf>,
    /// It runs in a Debian, whose root is its folder, and as an ordinary user.
    pub inside: bool,
    /// The shell script that runs it; `$SUITE` is its folder, and `$CASES` the cases to run, empty for all.
    pub script: &'static str,
    /// The cases of the quick sample, empty for all; none if the suite is not in it.
    pub sample: Option<&'static str>,
    /// Reads its output.
    pub parse: fn(&str) -> Results,
    /// Why cases may differ in a guest, and these, one a line.
    pub explained: &'static [(&'static str, &'static str)],
}

/// How much of a suite is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What takes less than a minute, always the same.
    Sample,
    /// Everything.
    All,
}

/// All, the smallest first.
pub const ALL: &[Suite] = &[
    kernel::NOLIBC,
    Suite {
        name: "busybox",
        build: build_busybox,
        inside: false,
        // bc comes last: it makes some 16 million system calls, many times those of all the others.
        script: "cd $SUITE/testsuite; bindir=$SUITE tsdir=$SUITE/testsuite \
                 sh ./runtest ${CASES:-$(../busybox --list | grep -vx bc) bc}",
        sample: Some(
            "cat cp cpio dd du find ln ls makedevs mdev mkdir mount mv pidof rm rmdir start-stop-daemon \
             tail tar tee touch xargs",
        ),
        parse: parse_busybox,
        explained: &[],
    },
    open::NIX,
    open::LIBUV,
    open::POSIX,
    kernel::KSELFTEST,
    inside::STRESS_NG,
    inside::PYTHON,
];

impl Suite {
    fn cases(&self, extent: Extent) -> &'static str {
        match extent {
            Extent::Sample => self.sample.unwrap_or_default(),
            Extent::All => "",
        }
    }
}

/// Runs a suite on this machine. Its output goes to a file: some leave children that hold it open.
pub fn natively(suite: &Suite, folder: &Path, extent: Extent) -> Result<String> {
    let mut command = match apart() {
        Some(apart) if suite.inside => inside::natively(apart, folder),
        None if suite.inside => bail!("run natively, {} takes root (unshare refused)", suite.name),
        Some(apart) => apart,
        None => Command::new("/bin/sh"),
    };
    command.args(["-c", suite.script]).env_clear();
    command.env("SUITE", folder).env("CASES", suite.cases(extent)).env("TERM", "linux");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/tmp");
    logged(command, &folder.with_extension("native.log"))
}

/// A shell with processes, mounts and IPC of its own, so that nothing of what a suite leaves behind stays on the machine,
/// even if this process is killed; none where that takes root.
fn apart() -> Option<Command> {
    let shell = || {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        // The first process stays who it is: one that becomes another user, as some suites do, would outlive this one.
        command.args(["/bin/sh", "-c", "/bin/sh \"$@\"; exit $?", "sh"]);
        command
    };
    let works =
        shell().args(["-c", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    works.then(shell)
}

/// Runs a suite in a guest.
pub fn in_guest(suite: &Suite, folder: &Path, extent: Extent, on: Backend) -> Result<String> {
    let mut command = Command::new(crate::lodger()?);
    // Half of it is what fits into a file in memory.
    command.args(on.run()).args(["--mem", "4G", "--env", "SUITE=/suite", "--env", "TERM=linux", "--env"]);
    command.arg(format!("CASES={}", suite.cases(extent)));
    let busybox = if suite.inside { None } else { Some(with_suite(folder)?) };
    match &busybox {
        Some(root) => drop(command.arg("--root").arg(root.path())),
        None => inside::in_guest(&mut command, folder),
    }
    command.args(["--", "/bin/sh", "-c", suite.script]);
    let text = logged(command, &folder.with_extension(format!("{}.log", on.flag())))?;
    ensure!(
        !(suite.parse)(&text).is_empty(),
        "the guest ran no case: {}",
        text.lines().last().unwrap_or_default()
    );
    Ok(text)
}

/// A root of busybox, the suite's folder, and those programs of this machine that the suite finds natively too.
fn with_suite(folder: &Path) -> Result<Root> {
    let root = roots::busybox()?;
    for name in ["sh", "bash", "false", "true", "zip"] {
        let program = Path::new("/usr/bin").join(name);
        if program.exists() {
            root.program(&program, &format!("bin/{name}"))?;
        }
    }
    // The C library loads it when a thread is cancelled or ends.
    let unwinder = "lib/x86_64-linux-gnu/libgcc_s.so.1";
    if Path::new("/").join(unwinder).exists() {
        root.copy(&Path::new("/").join(unwinder), unwinder)?;
    }
    for folder in ["mnt", "var"] {
        fs::create_dir(root.path().join(folder))?;
    }
    symlink("/tmp", root.path().join("var/tmp"))?;
    output(Command::new("cp").arg("-a").arg(folder).arg(root.path().join("suite")))?;
    Ok(root)
}

fn logged(mut command: Command, log: &Path) -> Result<String> {
    let file = File::create(log)?;
    command.stdin(Stdio::null()).stdout(file);
    let ran = Running::start(command, Vec::new())?.wait(LIMIT)?;
    let mut text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    text.push_str(&ran.err);
    if ran.late {
        text.push_str("\n(its time was over)\n");
    }
    Ok(text)
}

/// The tests of busybox, on Debian's static one.
fn build_busybox(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("busybox");
    if folder.join(".config").exists() {
        return Ok(folder);
    }
    let files = source(cache, "busybox")?;
    fs::create_dir_all(&folder)?;
    let part = |end: &str| find(&files, "busybox_", end).with_context(|| format!("the source has no {end}"));
    let tar = |archive: PathBuf, words: &[&str]| {
        output(Command::new("tar").arg("xf").arg(archive).arg("-C").arg(&folder).args(words))
    };
    tar(part(".orig.tar.bz2")?, &["--strip-components=1", "--wildcards", "*/testsuite", "*/scripts/echo.c"])?;
    tar(part(".debian.tar.xz")?, &["debian/config/pkg/static"])?;
    fs::copy(roots::static_busybox()?, folder.join("busybox"))?;
    // Last: it says that all is there. The tests look up in it which features the program has.
    fs::rename(folder.join("debian/config/pkg/static"), folder.join(".config"))?;
    Ok(folder)
}

/// Lines `PASS: name` and `FAIL: name`; names repeat.
pub fn parse_busybox(text: &str) -> Results {
    let mut results = Results::new();
    for line in text.lines() {
        let (passed, name) = match line.split_once(": ") {
            Some(("PASS", name)) => (true, name),
            Some(("FAIL", name)) => (false, name),
            _ => continue,
        };
        let nth = (1..).map(|n| if n == 1 { name.to_string() } else { format!("{name} ({n})") });
        if let Some(free) = nth.into_iter().find(|name| !results.contains_key(name)) {
            results.insert(free, passed);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let text = "PASS: ls works\nFAIL: ls works\nSKIPPED: x\nPASS: a: b\n";
        let want = [("ls works", true), ("ls works (2)", false), ("a: b", true)];
        assert_eq!(parse_busybox(text), want.into_iter().map(|(name, ok)| (name.to_string(), ok)).collect());
    }
}
