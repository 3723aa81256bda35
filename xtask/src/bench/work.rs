//! Real work: root file systems with programs of the host's distribution, and scripts that use them.
//!
//! A guest and the host run the same files: busybox, which is static, out of the root itself; sqlite and the compiler
//! by their names, with copies of the libraries that they use on the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::peers::{UML_INIT, file_of, on_path};
use super::program::Root;
use super::rows::Job;
use crate::cargo;

/// The scripts, by their names in `/work`.
const SCRIPTS: [(&str, &str); 7] = [
    ("trues.sh", include_str!("work/trues.sh")),
    ("tar.sh", include_str!("work/tar.sh")),
    ("find.sh", include_str!("work/find.sh")),
    ("gzip.sh", include_str!("work/gzip.sh")),
    ("sqlite-rows.sh", include_str!("work/sqlite-rows.sh")),
    ("sqlite-commits.sh", include_str!("work/sqlite-commits.sh")),
    ("gcc.sh", include_str!("work/gcc.sh")),
];

/// What of Lodger's own sources is the tree that gets packed.
const TREE: [&str; 8] =
    ["kernel-core", "host-linux", "host-linux-skas", "host-linux-tt", "frontends", "guest", "xtask", "tests"];

impl Job {
    /// The script that does it.
    pub fn script(self) -> &'static str {
        match self {
            Job::Trues => "trues.sh",
            Job::Tar => "tar.sh",
            Job::Find => "find.sh",
            Job::Gzip => "gzip.sh",
            Job::SqliteRows => "sqlite-rows.sh",
            Job::SqliteCommits => "sqlite-commits.sh",
            Job::Gcc => "gcc.sh",
        }
    }

    /// The root file system that has what it needs.
    pub fn root(self) -> Root {
        if self == Job::Gcc { Root::Compiler } else { Root::Work }
    }

    /// What this machine lacks for it.
    pub fn lacks(self) -> Option<String> {
        let program = match self {
            Job::SqliteRows | Job::SqliteCommits => "sqlite3",
            Job::Gcc => "gcc",
            _ => return None,
        };
        on_path(program).is_none().then(|| format!("there is no {program} on the PATH"))
    }
}

/// What every root has: the bench program, and the empty folders that a guest mounts on.
pub fn fill_bench(folder: &Path, bench: &Path) -> Result<()> {
    for name in ["dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(bench, folder.join("bench")).context("cannot copy the bench program")?;
    Ok(())
}

/// A root for real work, made anew.
pub fn fill(root: Root, folder: &Path, bench: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fill_bench(folder, bench)?;
    for name in ["bin", "work"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy(busybox()?, folder.join("bin/busybox"))?;
    for name in ["sh", "true"] {
        symlink("busybox", folder.join("bin").join(name))?;
    }
    for (name, script) in SCRIPTS {
        fs::write(folder.join("work").join(name), script)?;
    }
    let init = folder.join(UML_INIT.0);
    fs::write(&init, UML_INIT.1)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    match root {
        Root::Bench => {}
        Root::Work => {
            for name in TREE {
                copy_tree(&cargo::root().join(name), &folder.join("work/tree").join(name))?;
            }
            if let Some(sqlite) = on_path("sqlite3") {
                copy_program(&sqlite, folder)?;
            }
        }
        Root::Compiler => {
            for program in compiler()? {
                copy_program(&program, folder)?;
            }
        }
    }
    Ok(())
}

/// A busybox that needs no libraries: the machine's, or else that of its distribution.
fn busybox() -> Result<PathBuf> {
    if let Some(own) = on_path("busybox")
        && libraries(&own)?.is_empty()
    {
        return Ok(own);
    }
    file_of("busybox-static", "bin/busybox").or_else(|why| {
        // Newer distributions have one folder of programs.
        file_of("busybox-static", "usr/bin/busybox").map_err(|_| why)
    })
}

/// The driver, the compiler and the assembler.
fn compiler() -> Result<Vec<PathBuf>> {
    let Some(gcc) = on_path("gcc") else { return Ok(Vec::new()) };
    let mut programs = vec![gcc.clone()];
    for name in ["cc1", "as"] {
        let output = Command::new(&gcc).arg(format!("-print-prog-name={name}")).output();
        let output = output.context("cannot start gcc")?;
        let found = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let found = if found.is_absolute() { Some(found) } else { on_path(name) };
        programs.push(found.with_context(|| format!("gcc has no {name}"))?);
    }
    Ok(programs)
}

/// A program of the host and the libraries that it needs, at the same places.
fn copy_program(program: &Path, folder: &Path) -> Result<()> {
    let program = program.to_owned();
    let needed = libraries(&program)?;
    for file in needed.into_iter().chain([program]) {
        let place = folder.join(file.strip_prefix("/").unwrap_or(&file));
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        // What a link leads to, under the name of the link.
        fs::copy(&file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

/// What a program is linked with, the loader too; nothing if it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("not found") {
        bail!("{} lacks libraries: {}", program.display(), text.trim());
    }
    Ok(paths(&text))
}

/// The paths in what `ldd` prints: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn paths(ldd: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    ldd.lines().filter_map(path).collect()
}

/// A folder with all that is in it but what is hidden or was built there.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type()? {
            kind if kind.is_dir() => copy_tree(&entry.path(), &to.join(name))?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), to.join(name))?),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read() {
        let said = "\tlinux-vdso.so.1 (0x7f)\n\tlibz.so.1 => /lib/libz.so.1 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(paths(said), [PathBuf::from("/lib/libz.so.1"), PathBuf::from("/lib64/ld.so")]);
        assert_eq!(paths("\tnot a dynamic executable\n"), Vec::<PathBuf>::new());
    }

    #[test]
    fn every_job_has_its_script() {
        for row in super::super::rows::all() {
            if let super::super::rows::How::Work(job) = row.how {
                assert!(SCRIPTS.iter().any(|(name, _)| *name == job.script()), "{}", row.name);
            }
        }
    }
}
