//! `--root`: what the name or path means, and what the kernel makes a file system of.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use host_linux::disk::{self, Format};
use host_linux::tree::{self, Rights};
use kernel_core::block::is_ext;
use kernel_core::boot::{Changes, RootFs};

use crate::cli::Backend;
use crate::mapped;
use crate::places;
use crate::userland::Userland;

/// How much of a file tells what it is.
const HEAD: usize = 2048;

/// A root file system that was found and is not loaded yet.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Directory,
    /// An archive in a regular file.
    File(File),
    /// A disk image with an ext4.
    Image,
    /// An archive that can only be read from its start to its end.
    Pipe(File),
}

/// What a root file system is made of, if it is there another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the host's.
    Directory,
    /// A cpio archive.
    Archive,
    /// A disk image.
    Image,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Directory, Kind::Archive, Kind::Image];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::Archive => "archive",
            Kind::Image => "image",
        }
    }
}

impl Root {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is made of; none if it can be read only once.
    pub fn kind(&self) -> Option<Kind> {
        match self.source {
            Source::Directory => Some(Kind::Directory),
            Source::File(_) => Some(Kind::Archive),
            Source::Image => Some(Kind::Image),
            Source::Pipe(_) => None,
        }
    }

    /// The disk image, if it is one.
    pub fn image(&self) -> Option<&Path> {
        matches!(self.source, Source::Image).then_some(&*self.path)
    }

    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        matches!(self.source, Source::Directory).then_some(&*self.path)
    }

    /// Loads it: an archive is mapped, a directory is opened, and read as the guest uses it. After the host was started, which
    /// would hand an open directory on.
    pub fn load(self, changes: Changes) -> Result<RootFs> {
        let shown = self.path.display();
        match self.source {
            Source::File(file) => {
                let archive = mapped::blob(&file).with_context(|| format!("cannot map {shown}"))?;
                Ok(RootFs::Archive(archive))
            }
            Source::Image => bail!("{shown} is a disk image, which is no archive"),
            Source::Pipe(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).with_context(|| format!("cannot read {shown}"))?;
                check(&bytes).with_context(|| format!("cannot use {shown} as the root file system"))?;
                Ok(RootFs::Archive(Arc::new(bytes)))
            }
            Source::Directory => {
                let open = |rights| {
                    tree::open(&self.path, rights)
                        .with_context(|| format!("cannot open the directory {shown}"))
                };
                Ok(match changes {
                    Changes::InMemory => RootFs::Below(open(Rights::Read)?),
                    Changes::Kept => RootFs::Directory(open(Rights::Write)?),
                })
            }
        }
    }

    /// Says in one sentence why changes to it cannot be kept, if they cannot.
    pub fn check_changes(&self, changes: Changes, backend: Backend) -> Result<()> {
        match (changes, &self.source, backend) {
            (Changes::InMemory, ..) | (_, Source::Image, _) | (_, Source::Directory, Backend::Skas) => Ok(()),
            (_, Source::Directory, Backend::Tt) => bail!(
                "--root-rw of a directory is not for --backend tt: its guests can reach the kernel, and would reach your files"
            ),
            (_, Source::File(_) | Source::Pipe(_), _) => {
                bail!("--root-rw is for directories and disk images: changes to an archive stay in memory")
            }
        }
    }
}

/// Finds what `--root` names: the root of a userland if it is a word without a `/`, a path otherwise.
pub fn open(root: &OsStr, userland: &Userland) -> Result<Root> {
    if root.is_empty() {
        bail!("--root is empty: it takes `default` or a path to a directory, a cpio archive or a disk image");
    }
    if !root.as_bytes().contains(&b'/') {
        return open_path(named(root, userland)?);
    }
    open_path(root.into())
}

fn named(name: &OsStr, userland: &Userland) -> Result<PathBuf> {
    let shown = name.to_string_lossy();
    let path = userland.dir.join(format!("{shown}.cpio"));
    if path.exists() {
        return Ok(path);
    }
    if let Some(path) = places::root(&shown) {
        return Ok(path);
    }
    match name.to_str() {
        Some("default") => bail!("there is no root file system `default` in {}", userland.dir.display()),
        Some("busybox" | "debian") => bail!(
            "the root file system `{shown}` is not there yet: `cargo xtask rootfs {shown}` in Lodger's source tree makes it"
        ),
        _ if Path::new(name).exists() => {
            bail!("`{shown}` is no name of a root file system; if the path is meant, write ./{shown}")
        }
        _ => bail!(
            "`{shown}` is no name of a root file system; there are default and what `cargo xtask rootfs` has made, and a path \
             has a `/` in it"
        ),
    }
}

fn open_path(path: PathBuf) -> Result<Root> {
    let shown = path.display();
    let context = || format!("cannot use {shown} as the root file system");
    let metadata = std::fs::metadata(&path).with_context(context)?;
    if metadata.is_dir() {
        std::fs::read_dir(&path).with_context(context)?;
        // Its own name: another may lead through a descriptor that is closed before it is opened.
        let path = std::fs::canonicalize(&path).with_context(context)?;
        return Ok(Root { path, source: Source::Directory });
    }
    let file = File::open(&path).with_context(context)?;
    if !metadata.is_file() {
        return Ok(Root { path, source: Source::Pipe(file) });
    }
    let mut head = vec![0; usize::try_from(metadata.len()).map_or(HEAD, |len| len.min(HEAD))];
    file.read_exact_at(&mut head, 0).with_context(context)?;
    let format = disk::format_of_head(&head);
    if format == Format::Cow || is_ext(&head) {
        return Ok(Root { path, source: Source::Image });
    }
    if let Format::Foreign(name) = format {
        return Err(anyhow!("it is a {name} image, which lodger does not know; it knows ext4"))
            .with_context(context);
    }
    check(&head).with_context(context)?;
    Ok(Root { path, source: Source::File(file) })
}

/// Says in one sentence what it is if it is not a "newc" archive.
fn check(head: &[u8]) -> Result<()> {
    let is = |magic: &[u8]| head.starts_with(magic);
    if is(b"070701") || is(b"070702") || is(&[0x1f, 0x8b]) {
        return Ok(());
    }
    if head.is_empty() {
        bail!("it is empty");
    }
    if is(b"070707") || is(&[0xc7, 0x71]) || is(&[0x71, 0xc7]) {
        bail!("it is a cpio archive of the old format; make one with `cpio -o -H newc`");
    }
    if is(&[0x28, 0xb5, 0x2f, 0xfd]) || is(b"\xfd7zXZ") || is(b"BZh") || is(&[0x02, 0x21, 0x4c, 0x18]) {
        bail!("it is compressed, and not with gzip; decompress it first");
    }
    if head.get(257..262) == Some(b"ustar") {
        bail!("it is a tar archive; unpack it and give --root the directory");
    }
    if is(b"hsqs") {
        bail!("it is an image of a kind that lodger does not know; it knows ext4");
    }
    bail!(
        "it is neither a directory, a cpio archive (newc, plain or compressed with gzip) nor a disk image (ext4)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_files_or_pipes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cpio");
        std::fs::write(&path, b"070701 and what follows").unwrap();
        let load = |path: &Path| match open_path(path.to_owned())?.load(Changes::InMemory)? {
            RootFs::Archive(archive) => Ok(archive),
            _ => bail!("a directory"),
        };
        assert_eq!(load(&path).unwrap().bytes(), b"070701 and what follows");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&fifo, b"\x1f\x8b compressed"));
            assert_eq!(load(&fifo).unwrap().bytes(), b"\x1f\x8b compressed");
        });
        std::fs::write(&path, b"").unwrap();
        assert!(format!("{:#}", load(&path).err().unwrap()).contains("it is empty"));
        assert!(format!("{:#}", load(dir.path()).err().unwrap()).contains("a directory"));
    }

    #[test]
    fn changes_are_kept_where_they_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, image) = (dir.path().join("x.cpio"), dir.path().join("x.img"));
        std::fs::write(&archive, b"070701 and what follows").unwrap();
        let mut ext4 = vec![0; HEAD];
        ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        std::fs::write(&image, ext4).unwrap();
        // A COW file, of either order of bytes.
        for magic in [b"OOOM", b"MOOO"] {
            std::fs::write(dir.path().join("cow"), magic).unwrap();
            assert!(open_path(dir.path().join("cow")).unwrap().image().is_some());
        }
        std::fs::write(dir.path().join("foreign"), b"vhdxfile").unwrap();
        let sentence = format!("{:#}", open_path(dir.path().join("foreign")).unwrap_err());
        assert!(sentence.contains("it is a vhdx image"), "{sentence}");
        let kept = |path: &Path, backend| {
            let root = open_path(path.to_owned()).unwrap();
            assert!(root.check_changes(Changes::InMemory, backend).is_ok());
            root.check_changes(Changes::Kept, backend).is_ok()
        };
        assert_eq!([Backend::Skas, Backend::Tt].map(|on| kept(&archive, on)), [false, false]);
        assert_eq!([Backend::Skas, Backend::Tt].map(|on| kept(&image, on)), [true, true]);
        assert_eq!([Backend::Skas, Backend::Tt].map(|on| kept(dir.path(), on)), [true, false]);
    }

    #[test]
    fn what_is_no_archive_is_named() {
        let sentence = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
        assert!(sentence(b"").contains("empty"));
        assert!(sentence(b"070707000").contains("-H newc"));
        assert!(sentence(b"\xfd7zXZ\0").contains("not with gzip"));
        assert!(sentence(b"\x7fELF").contains("neither"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(sentence(&tar).contains("tar archive"));
    }

    #[test]
    fn names_and_paths_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("default.cpio"), b"070701").unwrap();
        let userland = Userland { dir: dir.path().to_owned() };
        let sentence = |root: &str| format!("{:#}", open(OsStr::new(root), &userland).unwrap_err());
        assert!(open(OsStr::new("default"), &userland).is_ok());
        assert!(sentence("src").contains("write ./src"), "the tests run in the package's directory");
        assert!(sentence("nonsense").contains("is no name"));
        assert!(sentence("./nonsense").contains("cannot use ./nonsense"));
        assert!(open(dir.path().as_os_str(), &userland).is_ok());
    }
}
