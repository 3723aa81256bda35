//! gVisor: `runsc`, a kernel in Go whose guests are trapped by one of several platforms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::super::limited;
use super::super::tree;
use super::{Peer, program, version};
use crate::cargo;

struct Gvisor {
    program: PathBuf,
    platform: &'static str,
    /// Where its bundles and its notes about what runs are.
    state: PathBuf,
    /// How many guests there have been: each has a name of its own.
    started: AtomicU32,
}

/// The platforms, the best first. Not KVM: it hangs where a virtual machine has it from another one.
const PLATFORMS: [&str; 2] = ["systrap", "ptrace"];

/// What it is asked for to see whether it works at all.
const NO_PROGRAM: &str = "/no-such-program";

/// How long the first program may take.
const FIRST: Duration = Duration::from_secs(20);

/// The machine's, with the best platform that it has.
pub fn find() -> Result<Box<dyn Peer>> {
    let program = program("runsc", "runsc", "usr/bin/runsc")?;
    let state = cargo::target_dir().join("bench/gvisor");
    if state.exists() {
        fs::remove_dir_all(&state).context("cannot remove what gVisor left the last time")?;
    }
    let mut whys = Vec::new();
    for platform in PLATFORMS {
        let (program, state) = (program.clone(), state.clone());
        let gvisor = Gvisor { program, platform, state, started: AtomicU32::new(0) };
        match gvisor.starts() {
            Ok(()) => return Ok(Box::new(gvisor)),
            Err(why) => whys.push(format!("{platform}: {why:#}")),
        }
    }
    bail!("no platform of gVisor works here ({})", whys.join("; "))
}

impl Gvisor {
    /// Whether anything does: a root without a program is enough for it to say what is missing.
    fn starts(&self) -> Result<()> {
        let root = self.state.join("empty");
        fs::create_dir_all(&root)?;
        let mut command = self.command(&root, &[NO_PROGRAM.to_owned()])?;
        let tried = limited::run(&mut command, FIRST);
        tree::end_strays();
        match tried {
            Ok(_) => Ok(()),
            // The program is not there, which it found out after the platform had started.
            Err(why) if format!("{why:#}").contains(NO_PROGRAM) => Ok(()),
            Err(why) => Err(why),
        }
    }
}

impl Peer for Gvisor {
    fn what(&self) -> String {
        format!("gVisor (`runsc`) {}, platform {}", version(Command::new(&self.program)), self.platform)
    }

    fn command(&self, root: &Path, words: &[String]) -> Result<Command> {
        let id = format!("bench-{}-{}", std::process::id(), self.started.fetch_add(1, Ordering::Relaxed));
        let bundle = self.state.join(self.platform).join("bundle");
        fs::create_dir_all(&bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
        let config = configuration(root, words).to_string();
        fs::write(bundle.join("config.json"), config).context("cannot write gVisor's bundle")?;
        let mut command = Command::new(&self.program);
        command.args(["--ignore-cgroups", "--network=none"]).arg(format!("--platform={}", self.platform));
        command.arg(format!("--root={}", self.state.join(self.platform).join("state").display()));
        command.args(["run", "--bundle"]).arg(&bundle).arg(id);
        Ok(command)
    }
}

/// What the runtime specification wants of a container.
fn configuration(root: &Path, words: &[String]) -> serde_json::Value {
    let mount = |at: &str, kind: &str| json!({ "destination": at, "type": kind, "source": kind });
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": words,
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
        },
        "root": { "path": root, "readonly": false },
        "hostname": "gvisor",
        "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/tmp", "tmpfs")],
        "linux": { "namespaces": namespaces },
    })
}
