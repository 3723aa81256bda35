//! Where roots are kept: `$LODGER_HOME`, else `$XDG_CACHE_HOME/lodger`, else `~/.cache/lodger`, else a folder of this user alone
//! among the temporary ones. `frontends/boot/src/places.rs` looks in the same places.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Format;

/// The cache folder; it is made if it is missing.
pub fn cache() -> Result<PathBuf> {
    let named =
        |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    let dir = if let Some(dir) = named("LODGER_HOME") {
        std::path::absolute(dir)?
    } else if let Some(dir) = named("XDG_CACHE_HOME").filter(absolute) {
        dir.join("lodger")
    } else if let Some(home) = named("HOME").filter(|home| home.is_absolute() && home.is_dir()) {
        home.join(".cache/lodger")
    } else {
        return private();
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A folder among the temporary ones, where others may write too: it has to be ours.
fn private() -> Result<PathBuf> {
    let me = nix::unistd::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("lodger-{me}"));
    if !dir.exists() {
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let metadata = fs::symlink_metadata(&dir)?;
    let ours = metadata.is_dir() && metadata.uid() == me && metadata.mode() & 0o022 == 0;
    ensure!(ours, "{} is somebody else's; name a folder in LODGER_HOME", dir.display());
    Ok(dir)
}

/// A root that has a name and is there or will be.
pub struct Root {
    /// What `--root` calls it.
    pub name: String,
    /// How it is kept.
    pub format: Format,
    /// How large it is, if it is a disk image.
    pub size: String,
    /// The cache folder.
    pub cache: PathBuf,
}

impl Root {
    /// One of this name.
    pub fn new(name: &str, format: Format, size: &str) -> Result<Root> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        ensure!(
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits),
            "`{name}` is no name: letters, digits, `-`, `_` and `.`, please"
        );
        ensure!(name != "default", "`default` is the userland that Lodger brings along; choose another name");
        let cache = cache()?;
        fs::create_dir_all(cache.join("roots"))?;
        Ok(Root { name: name.to_owned(), format, size: size.to_owned(), cache })
    }

    /// A hash of what it is made of, in 16 digits.
    pub fn key(&self, of: impl Hash) -> String {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        if self.format == Format::Ext4 {
            self.size.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }

    /// Where it will be, made of what `key` stands for.
    fn path(&self, key: &str) -> PathBuf {
        self.cache.join("roots").join(format!("{}-{key}{}", self.name, self.format.ending()))
    }

    /// Where it is, if that is what its name means now.
    pub fn there(&self, key: &str) -> Option<PathBuf> {
        let (path, link) = (self.path(key), self.link(self.format));
        (path.exists() && fs::read_link(&link).is_ok_and(|to| Some(to.as_os_str()) == path.file_name()))
            .then_some(link)
    }

    fn link(&self, format: Format) -> PathBuf {
        self.cache.join("roots").join(format!("{}{}", self.name, format.ending()))
    }

    /// Where to make it.
    pub fn unfinished(&self, key: &str) -> PathBuf {
        self.path(key).with_extension(format!("part{}", std::process::id()))
    }

    /// Gives what was made its name, and removes what had that name before, in whatever format.
    pub fn finish(&self, made: &Path, key: &str) -> Result<PathBuf> {
        let (path, link) = (self.path(key), self.link(self.format));
        let old = Format::ALL.map(|format| (format, self.led_to(format)));
        remove(&path)?;
        fs::rename(made, &path).with_context(|| format!("cannot write {}", path.display()))?;
        let new = self.unfinished(key);
        symlink(path.file_name().unwrap_or_default(), &new)?;
        fs::rename(&new, &link).with_context(|| format!("cannot write {}", link.display()))?;
        for (format, old) in old {
            let Some(old) = old.filter(|old| *old != path) else { continue };
            if format != self.format {
                // Or the name would still lead there.
                remove(&self.link(format))?;
            }
            remove(&old)?;
        }
        Ok(link)
    }

    /// What the name leads to in that format. A root whose own name ends like a format's is another one.
    fn led_to(&self, format: Format) -> Option<PathBuf> {
        let link = self.link(format);
        let to = fs::read_link(&link).ok()?;
        to.to_str()?.starts_with(&format!("{}-", self.name)).then(|| link.with_file_name(to))
    }

    /// The folder for what is needed on the way, locked as long as the file that comes with it is open.
    pub fn workshop(&self) -> Result<(PathBuf, File)> {
        let dir = self.cache.join("debian");
        fs::create_dir_all(&dir)?;
        let lock = File::create(dir.join("lock")).context("cannot make a lock file")?;
        lock.lock().context("cannot lock the cache")?;
        Ok((dir, lock))
    }
}

/// Removes a file or a folder that may be there.
pub fn remove(path: &Path) -> Result<()> {
    let removed =
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_what_was_made_last() {
        let cache = std::env::temp_dir().join(format!("xtask-roots-{}", std::process::id()));
        fs::create_dir_all(cache.join("roots")).unwrap();
        let root = Root { name: "r".into(), format: Format::Cpio, size: String::new(), cache: cache.clone() };
        assert!(root.there("1").is_none());
        for key in ["1", "2"] {
            let made = root.unfinished(key);
            fs::write(&made, key).unwrap();
            let link = root.finish(&made, key).unwrap();
            assert_eq!(root.there(key), Some(link.clone()));
            assert_eq!(fs::read_to_string(link).unwrap(), key);
        }
        assert!(root.there("1").is_none());
        let count = || fs::read_dir(cache.join("roots")).unwrap().count();
        assert_eq!(count(), 2, "the old one is gone");

        let image = Root { name: "r".into(), format: Format::Ext4, size: "1G".into(), cache: cache.clone() };
        fs::write(image.unfinished("3"), "3").unwrap();
        let link = image.finish(&image.unfinished("3"), "3").unwrap();
        assert_eq!(link, cache.join("roots/r.ext4"));
        assert!(root.there("2").is_none() && !root.link(Format::Cpio).is_symlink());
        assert_eq!(count(), 2, "the one in the other format is gone");
        fs::remove_dir_all(cache).unwrap();
    }
}
