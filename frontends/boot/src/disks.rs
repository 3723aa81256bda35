//! Disks of a guest: `ubd0=FILE` in User-mode Linux's words, `--ubd 0=FILE` in ours.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use host_linux::disk::{self, Options};
use kernel_core::block::{self, MOST_DISKS as MOST};
use kernel_core::host::block::BlockDevice;

/// A disk and its number.
pub type Numbered = (usize, Arc<dyn BlockDevice>);

/// What a disk is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ubd {
    /// 0 is `/dev/ubda`.
    pub index: usize,
    /// The raw image or COW file.
    pub file: PathBuf,
    /// What the COW file is over, if that was said.
    pub backing: Option<PathBuf>,
    /// How it is used.
    pub options: Options,
}

impl Ubd {
    /// Reads `N[FLAGS]=FILE[,BACKING]`; an error is a sentence.
    pub fn parse(word: &OsStr) -> Result<Ubd, String> {
        let bytes = word.as_bytes();
        let at = bytes.iter().position(|&byte| byte == b'=').ok_or("a disk is N[FLAGS]=FILE[,BACKING]")?;
        let (name, files) = (&bytes[..at], &bytes[at + 1..]);
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (index, flags) = match name {
            [letter @ b'a'..=b'z', flags @ ..] => (usize::from(letter - b'a'), flags),
            _ => {
                let number = std::str::from_utf8(&name[..digits]).ok().and_then(|digits| digits.parse().ok());
                (number.ok_or("a disk has a number or a letter, as in ubd0= or ubda=")?, &name[digits..])
            }
        };
        if index >= MOST {
            return Err(format!("there are at most {MOST} disks, 0 to {}", MOST - 1));
        }
        let mut options = Options::default();
        for flag in flags {
            match flag {
                b'r' => options.read_only = true,
                b's' => options.sync = true,
                b'd' => options.data = true,
                b'c' => options.shared = true,
                b't' => options.no_discard = true,
                _ => {
                    return Err(format!(
                        "a disk has no flag {}; there are r, s, d, c and t",
                        char::from(*flag)
                    ));
                }
            }
        }
        // A third part is a serial number, which nothing asks for.
        let mut parts = files
            .split(|&byte| byte == b',' || byte == b':')
            .map(|part| PathBuf::from(OsStr::from_bytes(part)));
        let path = |part: Option<PathBuf>| part.filter(|path| !path.as_os_str().is_empty());
        let file = path(parts.next()).ok_or("a disk needs a file")?;
        Ok(Ubd { index, file, backing: path(parts.next()), options })
    }
}

/// Opens the disks that `--ubd` names; of two with the same number the later one counts.
pub fn open(words: &[OsString]) -> Result<Vec<Numbered>> {
    let mut wanted: Vec<Ubd> = Vec::new();
    for word in words {
        let disk = Ubd::parse(word).map_err(|why| anyhow!("--ubd {}: {why}", word.to_string_lossy()))?;
        wanted.retain(|earlier| earlier.index != disk.index);
        wanted.push(disk);
    }
    wanted
        .iter()
        .map(|disk| Ok((disk.index, disk::open(&disk.file, disk.backing.as_deref(), disk.options)?)))
        .collect()
}

/// Adds the image of a root file system as the first disk that is free, and gives its name.
pub fn add(disks: &mut Vec<Numbered>, image: &Path, read_only: bool) -> Result<String> {
    let free = (0..MOST).find(|index| disks.iter().all(|(taken, _)| taken != index));
    let named = free.and_then(|index| Some((index, block::name_of(index)?)));
    let (index, name) =
        named.ok_or_else(|| anyhow!("with {MOST} disks there is none left for the root file system"))?;
    disks.push((index, disk::open(image, None, Options { read_only, ..Options::default() })?));
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<Ubd, String> {
        Ubd::parse(OsStr::new(word))
    }

    #[test]
    fn disks_are_read_as_user_mode_linux_reads_them() {
        let disk = parse("0=root.img").unwrap();
        assert_eq!((disk.index, disk.file, disk.backing), (0, "root.img".into(), None));
        let disk = parse("crs=cow,back").unwrap();
        assert_eq!((disk.index, disk.backing), (2, Some("back".into())));
        assert_eq!(disk.options, Options { read_only: true, sync: true, ..Options::default() });
        assert_eq!(parse("1=a:b").unwrap().backing, Some("b".into()));
        assert_eq!(parse("1=a,,serial").unwrap().backing, None);
    }

    #[test]
    fn nonsense_gets_a_sentence() {
        for (word, part) in [
            ("=x", "number"),
            ("0x=a", "flag x"),
            ("26=a", "at most"),
            ("0=", "needs a file"),
            ("0", "N[FLAGS]"),
        ] {
            assert!(parse(word).unwrap_err().contains(part), "{word}");
        }
    }

    #[test]
    fn the_later_disk_of_a_number_counts() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a");
        std::fs::write(&image, [0; 1024]).unwrap();
        let word = |path: &std::path::Path| OsString::from(format!("a={}", path.display()));
        let disks = open(&[word(&dir.path().join("none")), word(&image)]).unwrap();
        assert_eq!((disks.len(), disks[0].0, disks[0].1.size()), (1, 0, 1024));
        assert!(open(&[word(&dir.path().join("none"))]).is_err());
    }
}
