//! Root file systems that tests put together in temporary directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::Missing;

/// A directory that is a root file system; it is removed with this.
pub struct Root {
    dir: TempDir,
}

impl Root {
    /// With the usual empty directories.
    pub fn new() -> Result<Root> {
        let dir = TempDir::new().context("no temporary directory")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir(dir.path().join(name))?;
        }
        fs::set_permissions(dir.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        )?;
        fs::write(dir.path().join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        fs::write(dir.path().join("etc/hosts"), "127.0.0.1 localhost lodger\n")?;
        Ok(Root { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Copies a file of the host to `/to`, with its permissions.
    pub fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.path().join(to);
        fs::create_dir_all(to.parent().unwrap_or(self.path()))?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Copies a program of this machine to `/to`, with the loader and the libraries it asks for.
    pub fn program(&self, from: &Path, to: &str) -> Result<()> {
        let to_path = self.path().join(to);
        if to_path.is_symlink() {
            fs::remove_file(to_path)?;
        }
        self.copy(from, to)?;
        for library in libraries(from)? {
            // Under the very path that the loader of this machine found it at.
            let to = library.strip_prefix("/").unwrap_or(&library).to_string_lossy().into_owned();
            self.copy(&library, &to)?;
        }
        Ok(())
    }

    /// Writes a file `/to` with that mode.
    pub fn write(&self, to: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let to = self.path().join(to);
        fs::create_dir_all(to.parent().unwrap_or(self.path()))?;
        fs::write(&to, content)?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
    }
}

/// A root that holds `/abi`.
pub fn abi() -> Result<Root> {
    with_abi(&crate::abi()?)
}

/// A root that holds this program as `/abi`.
pub fn with_abi(program: &Path) -> Result<Root> {
    let root = Root::new()?;
    root.copy(program, "abi")?;
    Ok(root)
}

/// Debian's static busybox on this machine.
pub fn static_busybox() -> Result<&'static Path> {
    let program = Path::new("/bin/busybox");
    let is_static = fs::read(program).is_ok_and(|bytes| {
        let marker: &[u8] = b"/lib64/ld-linux-x86-64.so.2";
        !bytes.windows(marker.len()).any(|window| window == marker)
    });
    if !is_static {
        return Err(Missing("no static /bin/busybox: install busybox-static".into()).into());
    }
    Ok(program)
}

/// A root that holds Debian's static busybox, and a link for each of its applets.
pub fn busybox() -> Result<Root> {
    let program = static_busybox()?;
    let root = Root::new()?;
    root.copy(program, "bin/busybox")?;
    let list = Command::new(program).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.path().join("bin").join(applet))?;
    }
    Ok(root)
}

/// A root that holds dynamically linked programs of this machine, the loader and the libraries they ask for.
pub fn dynamic(programs: &[&Path]) -> Result<Root> {
    let root = Root::new()?;
    for program in programs {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        root.program(program, &format!("bin/{name}"))?;
    }
    Ok(root)
}

/// The loader and the shared libraries of a program, as `ldd` tells them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Ok(output) = Command::new("ldd").arg(program).output() else {
        return Err(Missing("no ldd".into()).into());
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from))
        .collect();
    if found.is_empty() {
        return Err(Missing(format!("{} is not dynamically linked", program.display())).into());
    }
    Ok(found)
}

/// Compiles a C program with the machine's compiler, dynamically linked.
pub fn compile(dir: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let (from, to) = (dir.join(format!("{name}.c")), dir.join(name));
    fs::write(&from, source)?;
    match Command::new("cc").args(["-O1", "-pthread", "-o"]).arg(&to).arg(&from).output() {
        Err(_) => Err(Missing("no C compiler".into()).into()),
        Ok(output) if output.status.success() => Ok(to),
        Ok(output) => bail!("cc: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
