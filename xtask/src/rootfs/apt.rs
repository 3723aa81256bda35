//! apt with a state of its own: it takes the machine's mirrors, keys and proxies, and knows of no installed package.
//! Needs no root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::progress::{Step, Unit};
use crate::cargo::output;

/// A private apt, with all its files in one folder.
pub struct Apt {
    dir: PathBuf,
    /// The lines of `sources.list` that it uses: the machine's, as far as they are Debian's.
    pub sources: String,
}

/// A package's file.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deb {
    /// `NAME_VERSION_ARCHITECTURE.deb`
    pub file: String,
    /// In bytes.
    pub size: u64,
}

impl Deb {
    /// The package's name.
    pub fn package(&self) -> &str {
        self.file.split('_').next().unwrap_or_default()
    }

    /// How much of it is in apt's folder of downloads, in bytes.
    fn downloaded(&self, folder: &Path) -> u64 {
        let mut places = [folder.join(&self.file), folder.join("partial").join(&self.file)].into_iter();
        places.find_map(|path| fs::metadata(path).ok()).map_or(0, |file| file.len())
    }
}

impl Apt {
    /// Opens the one in `dir`, and makes it first if it is not there. Its lists are asked from the mirror if there are
    /// none, or if `update` says so.
    pub fn open(dir: &Path, update: bool) -> Result<Apt> {
        let sources = machine_sources()?;
        let apt = Apt { dir: dir.to_owned(), sources };
        for folder in ["state/lists/partial", "cache/archives/partial", "empty/partial"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("status"), "")?;
        let (list, done) = (dir.join("sources.list"), dir.join("updated"));
        let same = fs::read_to_string(&list).is_ok_and(|old| old == apt.sources);
        if !same || update || !done.exists() {
            super::place::remove(&done)?;
            fs::write(&list, &apt.sources)?;
            let _step = Step::new("asking for the lists of packages", 0, Unit::Pieces);
            output(apt.command("apt-get").arg("update")).context("cannot get the lists of packages")?;
            fs::write(&done, "")?;
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        let path = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
        option("Dir::State", &path("state"));
        option("Dir::State::status", &path("status"));
        option("Dir::Cache", &path("cache"));
        option("Dir::Etc::SourceList", &path("sources.list"));
        option("Dir::Etc::SourceParts", "/dev/null");
        option("Dir::Etc::Preferences", "/dev/null");
        option("Dir::Etc::PreferencesParts", "/dev/null");
        option("APT::Architecture", "amd64");
        option("APT::Architectures", "amd64");
        option("APT::Install-Recommends", "false");
        option("APT::Get::Assume-Yes", "true");
        // Root need not give the downloads to another user: these folders are its own.
        option("APT::Sandbox::User", "");
        command.arg("-q").stdin(Stdio::null()).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The packages that no Debian goes without.
    pub fn required(&self) -> Result<Vec<String>> {
        let all = output(self.command("apt-cache").arg("dumpavail"))?;
        let found = required_of(&all);
        ensure!(!found.is_empty(), "apt's lists name no required package");
        Ok(found)
    }

    /// What has to be installed, in an empty system, to have these packages.
    pub fn closure(&self, packages: &[String]) -> Result<BTreeSet<Deb>> {
        let mut command = self.command("apt-get");
        // Files that are downloaded already would not be printed.
        command.arg("-o").arg(format!("Dir::Cache::archives={}", self.dir.join("empty").display()));
        let printed = output(command.args(["install", "--print-uris"]).args(packages))?;
        let debs: BTreeSet<Deb> = printed.lines().filter_map(parse_uri).collect();
        ensure!(!debs.is_empty(), "apt-get says of nothing where it is: {printed}");
        Ok(debs)
    }

    /// Downloads what is still missing of these packages and all that they need, and returns the folder.
    pub fn download(&self, packages: &[String], debs: &BTreeSet<Deb>) -> Result<PathBuf> {
        let folder = self.dir.join("cache/archives");
        let there =
            |deb: &&Deb| fs::metadata(folder.join(&deb.file)).is_ok_and(|file| file.len() == deb.size);
        if debs.iter().all(|deb| there(&deb)) {
            return Ok(folder);
        }
        let step = Step::new("downloading packages", debs.iter().map(|deb| deb.size).sum(), Unit::Bytes);
        let mut command = self.command("apt-get");
        command
            .args(["install", "--download-only"])
            .args(packages)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start apt-get")?;
        while child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(200));
            step.at(debs.iter().map(|deb| deb.downloaded(&folder)).sum());
        }
        finish(child)
            .context("cannot download packages; `cargo xtask rootfs --update` asks for new lists of them")?;
        match debs.iter().find(|deb| !there(deb)) {
            Some(deb) => bail!("apt-get has not downloaded {}", deb.file),
            None => Ok(folder),
        }
    }
}

fn finish(child: Child) -> Result<()> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "apt-get: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Where the machine gets Debian's packages from, as lines of a `sources.list`.
fn machine_sources() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]);
    let known =
        output(&mut targets).context("roots of Debian are made with apt, which a Debian machine has")?;
    let ours = |line: &&str| line.contains("/debian") && line.ends_with(" main");
    let lines: BTreeSet<String> = known
        .lines()
        .filter(ours)
        .map(|line| format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {line}\n"))
        .collect();
    ensure!(!lines.is_empty(), "this machine's apt knows no mirror of Debian");
    Ok(lines.into_iter().collect())
}

/// The names in a list of packages that are essential or of the priority `required`; and the one that says that /usr is merged,
/// lest apt chooses the other one, which merges it and needs perl.
fn required_of(list: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for stanza in list.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("Package:");
        let required = field("Essential:") == Some("yes") || field("Priority:") == Some("required");
        if required || name == Some("usr-is-merged") {
            found.extend(name.map(str::to_owned));
        }
    }
    found.into_iter().collect()
}

/// Reads a line `'URI' FILE SIZE HASH`. Colons of a version are `%3a` in the file's name, as apt writes it.
fn parse_uri(line: &str) -> Option<Deb> {
    let mut words = line.strip_prefix('\'')?.split_whitespace().skip(1);
    let (file, size) = (words.next()?, words.next()?.parse().ok()?);
    file.ends_with(".deb").then(|| Deb { file: file.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_read() {
        let line = "'http://mirror/pool/l/login_4.13%2bdfsg1_amd64.deb' login_1%3a4.13+dfsg1_amd64.deb 617324 SHA256:00";
        let deb = parse_uri(line).unwrap();
        assert_eq!((deb.package(), deb.size), ("login", 617_324));
        assert_eq!(parse_uri("The following NEW packages will be installed:"), None);
        let list = "Package: a\nEssential: yes\n\nPackage: b\nPriority: optional\n\nPackage: c\nPriority: required\n";
        assert_eq!(required_of(list), ["a", "c"]);
    }
}
