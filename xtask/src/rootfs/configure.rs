//! Installs packages in a guest and takes the whole root out of it, as a tar archive on its standard output. So nobody has to
//! be root on the host, and no package's script ever runs on it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::apt::Deb;
use super::progress::{Step, Unit};
use crate::cargo::{self, Profile};
use crate::guest;

/// In the order of debootstrap: what others cannot be unpacked without, then all at once. Dependencies are forced while things
/// are half done; the last step checks that nothing is left half done.
const SCRIPT: &str = r#"set -e
exec 3>&1 >&2
cd /debs
install() { dpkg --force-depends --force-unsafe-io "$@"; }
for first in base-passwd base-files dpkg; do install --install ${first}_*.deb; done
ln -sf /usr/share/zoneinfo/UTC /etc/localtime
install --unpack *.deb
install --configure --pending --force-configure-any
dpkg --audit
test -z "$(dpkg-query -W -f '${db:Status-Abbrev}\n' | grep -v '^ii')"
cd /
rm -rf /debs /usr/sbin/policy-rc.d /var/cache/apt/*.bin /var/log/*.log /var/log/apt/* /tmp/*
exec tar --create --file=- --one-file-system --numeric-owner --sort=name --blocking-factor=512 --directory=/ . >&3
"#;

/// Starts a guest from `start`, has it install all packages in its /debs, and writes its root to `tar`.
pub fn run(start: &Path, debs: &BTreeSet<Deb>, tar: &Path, profile: Profile) -> Result<()> {
    let lodger = cargo::build_lodger(profile)?;
    let userland = guest::build(&guest::Options::default())?;
    // Each package is unpacked once and set up once.
    let step = Step::new("installing packages in a guest", 2 * debs.len() as u64, Unit::Pieces);
    let mut command = Command::new(lodger);
    command.args(["run", "--quiet", "--no-tty", "--mem", &memory(debs), "--root"]).arg(start);
    for variable in ["DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true", "LC_ALL=C"] {
        command.args(["--env", variable]);
    }
    command.args(["--", "/bin/sh", "-c", SCRIPT]).env("LODGER_USERLAND", userland.dir);
    let file = File::create(tar).with_context(|| format!("cannot make {}", tar.display()))?;
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start lodger")?;
    let log_path = tar.with_extension("log");
    let mut log = File::create(&log_path)?;
    for line in BufReader::new(child.stderr.take().context("no standard error")?).split(b'\n') {
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        let line = String::from_utf8_lossy(&line);
        if let Some(rest) = line.strip_prefix("Unpacking ").or_else(|| line.strip_prefix("Setting up ")) {
            step.next(rest.split_whitespace().next().unwrap_or_default());
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("installing failed in the guest ({status}); {}:\n{}", log_path.display(), last.join("\n"));
    }
    Ok(())
}

/// What a guest needs: the files are in memory, and packages become about four times as large. Files may take half of it.
fn memory(debs: &BTreeSet<Deb>) -> String {
    let packed: u64 = debs.iter().map(|deb| deb.size).sum();
    format!("{}M", (1024 + 12 * packed.div_ceil(1 << 20)).min(1 << 20))
}
