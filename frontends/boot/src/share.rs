//! `--share HOST:GUEST[:ro]`: directories of the host's in the guest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use host_linux::tree::{self, Rights};
use kernel_core::boot::Share;

/// What one `--share` says.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    host: PathBuf,
    guest: Vec<u8>,
    rights: Rights,
}

/// Whether a share may be written to, for who only has the words.
pub fn is_writable(words: &OsStr) -> bool {
    !words.as_bytes().ends_with(b":ro")
}

/// Reads all, and looks whether the directories are there.
pub fn parse_all(words: &[OsString]) -> Result<Vec<Words>> {
    words.iter().map(|words| parse(words).with_context(|| format!("--share {}", words.display()))).collect()
}

fn parse(words: &OsStr) -> Result<Words> {
    let bytes = words.as_bytes();
    let rights = if is_writable(words) { Rights::Write } else { Rights::Read };
    let places = bytes.strip_suffix(b":ro").or(bytes.strip_suffix(b":rw")).unwrap_or(bytes);
    // The guest's path is the shorter one, and a host's may have a colon in it.
    let Some(colon) = places.iter().rposition(|byte| *byte == b':') else {
        bail!("it takes HOST:GUEST or HOST:GUEST:ro, two directories");
    };
    let (host, guest) = (&places[..colon], &places[colon + 1..]);
    if !guest.starts_with(b"/") || guest.iter().all(|byte| *byte == b'/') {
        bail!("the guest's directory is no absolute path below /");
    }
    if guest.split(|byte| *byte == b'/').any(|name| name == b"..") {
        bail!("the guest's directory has a `..` in it");
    }
    let host = Path::new(OsStr::from_bytes(host));
    // Its own name: another may lead through a descriptor that is closed before it is opened.
    let host = std::fs::canonicalize(host).with_context(|| format!("cannot use {}", host.display()))?;
    if !host.is_dir() {
        bail!("{} is no directory", host.display());
    }
    Ok(Words { host, guest: guest.to_vec(), rights })
}

impl Words {
    /// The directory of the host's, and whether it is written to.
    pub fn directory(&self) -> (&Path, bool) {
        (&self.host, self.rights == Rights::Write)
    }

    /// Opens the directory; after the host was started, which would hand it on.
    pub fn open(self) -> Result<Share> {
        let node = tree::open(&self.host, self.rights)
            .with_context(|| format!("cannot open the directory {}", self.host.display()))?;
        Ok(Share { node, at: self.guest, read_only: self.rights == Rights::Read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_two_places_and_rights() {
        let read = |words: &str| parse(OsStr::new(words)).map_err(|error| format!("{error:#}"));
        let words = |guest: &str, rights| Words { host: "/".into(), guest: guest.into(), rights };
        assert_eq!(read("/:/mnt"), Ok(words("/mnt", Rights::Write)));
        assert_eq!(read("/:/a/b:rw"), Ok(words("/a/b", Rights::Write)));
        assert_eq!(read("/:/mnt:ro"), Ok(words("/mnt", Rights::Read)));
        for wrong in ["/", "/:mnt", "/:/", "/:/a/../b", "/nowhere:/mnt", "/proc/version:/mnt", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a:b");
        std::fs::create_dir(&odd).unwrap();
        let text = format!("{}:/x:ro", odd.display());
        assert_eq!(read(&text).unwrap(), Words { host: odd, guest: b"/x".to_vec(), rights: Rights::Read });
    }
}
