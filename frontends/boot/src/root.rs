//! `--root`: what the name or path means, and the stream of a cpio archive that the kernel unpacks.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::pack::{LeftOut, Packer};
use crate::userland::Userland;

/// Bytes read from a file at once.
const BUFFER: usize = 256 << 10;

/// A root file system that is ready to be unpacked.
pub struct Root {
    /// An archive in the "newc" format.
    pub archive: Box<dyn Read + Send>,
    /// Of a directory: what was left out; complete once the archive was read.
    pub left_out: LeftOut,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root")
    }
}

/// Finds what `--root` names: the root of a userland if it is a word without a `/`, a path otherwise.
pub fn open(root: &OsStr, userland: &Userland) -> Result<Root> {
    if root.is_empty() {
        bail!("--root is empty: it takes `default` or a path to a directory or a cpio archive");
    }
    if !root.as_bytes().contains(&b'/') {
        return open_path(&named(root, userland)?);
    }
    open_path(Path::new(root))
}

fn named(name: &OsStr, userland: &Userland) -> Result<PathBuf> {
    let shown = name.to_string_lossy();
    let path = userland.dir.join(format!("{shown}.cpio"));
    if path.exists() {
        return Ok(path);
    }
    match name.to_str() {
        Some("default" | "busybox" | "debian") => bail!(
            "there is no root file system `{shown}` in {}; give --root a directory or a cpio archive",
            userland.dir.display()
        ),
        _ if Path::new(name).exists() => {
            bail!("`{shown}` is no name of a root file system; if the path is meant, write ./{shown}")
        }
        _ => bail!(
            "`{shown}` is no name of a root file system; there are default, busybox and debian, and a path has a `/` in it"
        ),
    }
}

fn open_path(path: &Path) -> Result<Root> {
    let shown = path.display();
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot use {shown} as the root file system"))?;
    if metadata.is_dir() {
        let packer = Packer::new(path).with_context(|| format!("cannot read the directory {shown}"))?;
        let left_out = packer.left_out();
        return Ok(Root { archive: Box::new(BufReader::with_capacity(BUFFER, packer)), left_out });
    }
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let plain = BufReader::with_capacity(BUFFER, file);
    archive(plain).with_context(|| format!("cannot use {shown} as the root file system"))
}

/// An archive in a file, decompressed if need be.
fn archive(mut file: impl BufRead + Send + 'static) -> Result<Root> {
    let head = file.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let mut plain = BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(file));
        let head = plain.fill_buf().context("it cannot be decompressed")?;
        check(head)?;
        return Ok(Root { archive: Box::new(plain), left_out: LeftOut::default() });
    }
    check(head)?;
    Ok(Root { archive: Box::new(file), left_out: LeftOut::default() })
}

/// Says in one sentence what it is if it is not a "newc" archive.
fn check(head: &[u8]) -> Result<()> {
    let is = |magic: &[u8]| head.starts_with(magic);
    if is(b"070701") || is(b"070702") {
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
    if head.get(0x438..0x43a) == Some(&[0x53, 0xef]) || is(b"hsqs") || is(b"QFI\xfb") {
        bail!("it is a disk image, and a guest has no disks yet; use a directory or a cpio archive");
    }
    bail!("it is neither a directory nor a cpio archive (newc, plain or compressed with gzip)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        archive(std::io::Cursor::new(bytes))?.archive.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn archives_come_plain_and_compressed() {
        let plain = b"070701 and what follows".to_vec();
        assert_eq!(read(plain.clone()).unwrap(), plain);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        assert_eq!(read(gzip.finish().unwrap()).unwrap(), plain);
    }

    #[test]
    fn what_is_no_archive_is_named() {
        let sentence = |bytes: &[u8]| format!("{:#}", read(bytes.to_vec()).unwrap_err());
        assert!(sentence(b"").contains("empty"));
        assert!(sentence(b"070707000").contains("-H newc"));
        assert!(sentence(b"\x1f\x8bgarbage").contains("cannot be decompressed"));
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
        assert!(sentence("debian").contains("there is no root file system `debian`"));
        assert!(sentence("src").contains("write ./src"), "the tests run in the package's directory");
        assert!(sentence("nonsense").contains("is no name"));
        assert!(sentence("./nonsense").contains("cannot use ./nonsense"));
        assert!(open(dir.path().as_os_str(), &userland).is_ok());
    }
}
