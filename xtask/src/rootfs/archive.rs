//! Cpio archives ("newc"), which a kernel starts from without copying, made of tar archives: owners, modes, device nodes and
//! hard links stay, whoever does this.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc;
use tar::EntryType;

/// A folder's mode, without permissions.
pub const FOLDER: u32 = 0o040_000;
/// A regular file's.
pub const REGULAR: u32 = 0o100_000;
/// A symbolic link's.
pub const LINK: u32 = 0o120_000;

/// Folders that a merged Debian has under /usr, with links to them in /.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// An archive that is being written.
pub struct Writer<W: Write> {
    to: W,
    /// Folders that are in it.
    folders: HashSet<String>,
    inodes: u32,
    /// Names in /bin, /lib, ... become names in /usr.
    merged: bool,
}

/// What of an inode is not its data.
struct Node {
    inode: u32,
    mode: u32,
    owner: (u32, u32),
    links: u32,
    mtime: u32,
    device: (u32, u32),
}

impl Writer<BufWriter<File>> {
    /// An empty one in a new file.
    pub fn new(path: &Path, layout: Layout) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        Writer::over(BufWriter::with_capacity(1 << 20, file), layout)
    }
}

impl<W: Write> Writer<W> {
    /// An empty one. With `Layout::MergedUsr` it starts with the folders and links of a merged /usr.
    pub fn over(to: W, layout: Layout) -> Result<Self> {
        let merged = layout == Layout::MergedUsr;
        let mut writer = Writer { to, folders: HashSet::new(), inodes: 0, merged };
        if merged {
            writer.folder("usr", 0o755)?;
            for name in MERGED {
                writer.folder(&format!("usr/{name}"), 0o755)?;
                writer.link(name, &format!("usr/{name}"))?;
            }
        }
        Ok(writer)
    }

    /// Adds a folder that belongs to root.
    pub fn folder(&mut self, name: &str, mode: u32) -> Result<()> {
        if self.folders.insert(name.to_owned()) {
            self.add(name, FOLDER | mode, 0, &[])?;
        }
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, to: &str) -> Result<()> {
        self.add(name, LINK | 0o777, 0, to.as_bytes())
    }

    /// Adds a file that belongs to root.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.add(name, REGULAR | mode, 0, content)
    }

    /// Adds what has this mode, with the type, and belongs to this user and group.
    pub fn add(&mut self, name: &str, mode: u32, owner: u32, mut content: &[u8]) -> Result<()> {
        let node = self.plain(mode, owner);
        self.put(name, &node, content.len() as u64, &mut content)
    }

    /// Adds a file of this machine as one that belongs to root.
    pub fn copy(&mut self, name: &str, mode: u32, from: &Path) -> Result<()> {
        let mut file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
        let node = self.plain(REGULAR | mode, 0);
        self.put(name, &node, file.metadata()?.len(), &mut file)
    }

    /// Adds all that is in a tar archive.
    pub fn tar(&mut self, tar: &mut File) -> Result<()> {
        // How many names a file has stands with each of them, so all have to be known before the first is written.
        let mut links: HashMap<Vec<u8>, u32> = HashMap::new();
        tar.rewind()?;
        for entry in tar::Archive::new(BufReader::with_capacity(1 << 20, &mut *tar)).entries_with_seek()? {
            let entry = entry?;
            if entry.header().entry_type() == EntryType::Link {
                *links.entry(entry.link_name_bytes().unwrap_or_default().to_vec()).or_insert(1) += 1;
            }
        }
        tar.rewind()?;
        let mut linked: HashMap<Vec<u8>, Node> = HashMap::new();
        for entry in tar::Archive::new(BufReader::with_capacity(1 << 20, &mut *tar)).entries()? {
            let mut entry = entry?;
            let raw = entry.path_bytes().to_vec();
            let name = self.place(&String::from_utf8(raw.clone()).context("a name is not UTF-8")?);
            if name.is_empty() {
                continue;
            }
            let kind = entry.header().entry_type();
            if kind == EntryType::Link {
                let first = entry.link_name_bytes().unwrap_or_default().to_vec();
                let node = linked.get(&first).with_context(|| format!("{name} is a link to nothing"))?;
                self.put(&name, node, 0, &mut std::io::empty())?;
                continue;
            }
            let node = self.node(entry.header(), links.get(&raw).copied().unwrap_or(1))?;
            match kind {
                EntryType::Directory if self.folders.contains(&name) || self.is_merged(&name) => continue,
                EntryType::Directory => {
                    self.folders.insert(name.clone());
                    self.put(&name, &node, 0, &mut std::io::empty())?;
                }
                EntryType::Symlink => {
                    let to = entry.link_name_bytes().unwrap_or_default().to_vec();
                    self.put(&name, &node, to.len() as u64, &mut to.as_slice())?;
                }
                EntryType::Regular | EntryType::Continuous => {
                    let size = entry.size();
                    self.put(&name, &node, size, &mut entry)?;
                }
                _ => self.put(&name, &node, 0, &mut std::io::empty())?,
            }
            if node.links > 1 {
                linked.insert(raw, node);
            }
        }
        Ok(())
    }

    /// Writes the end, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        newc::trailer(&mut self.to)?;
        self.to.flush().context("cannot write the archive")?;
        Ok(self.to)
    }

    /// Where something of that name goes; empty for the root itself.
    fn place(&self, name: &str) -> String {
        let name = name.trim_start_matches("./").trim_matches('/');
        let name = if name == "." { "" } else { name };
        match name.split_once('/') {
            Some((first, _)) if self.is_merged(first) => format!("usr/{name}"),
            _ => name.to_owned(),
        }
    }

    fn is_merged(&self, name: &str) -> bool {
        self.merged && MERGED.contains(&name)
    }

    fn inode(&mut self) -> u32 {
        self.inodes += 1;
        self.inodes
    }

    fn plain(&mut self, mode: u32, owner: u32) -> Node {
        Node { inode: self.inode(), mode, owner: (owner, owner), links: 1, mtime: 0, device: (0, 0) }
    }

    fn node(&mut self, header: &tar::Header, links: u32) -> Result<Node> {
        let kind = match header.entry_type() {
            EntryType::Directory => FOLDER,
            EntryType::Symlink => LINK,
            EntryType::Char => 0o020_000,
            EntryType::Block => 0o060_000,
            EntryType::Fifo => 0o010_000,
            _ => REGULAR,
        };
        // What is no device may have anything there.
        let device = match kind {
            0o020_000 | 0o060_000 => {
                (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
            }
            _ => (0, 0),
        };
        Ok(Node {
            inode: self.inode(),
            mode: kind | header.mode()? & 0o7777,
            owner: (u32::try_from(header.uid()?)?, u32::try_from(header.gid()?)?),
            links,
            mtime: u32::try_from(header.mtime()?).unwrap_or(u32::MAX),
            device,
        })
    }

    fn put(&mut self, name: &str, node: &Node, size: u64, content: &mut dyn Read) -> Result<()> {
        let size = u32::try_from(size)
            .with_context(|| format!("{name} is larger than 4 GiB, more than cpio can hold"))?;
        let links = if node.mode & 0o170_000 == FOLDER { 2 } else { node.links };
        let header = newc::Builder::new(name)
            .ino(node.inode)
            .mode(node.mode)
            .uid(node.owner.0)
            .gid(node.owner.1)
            .nlink(links)
            .mtime(node.mtime)
            .rdev_major(node.device.0)
            .rdev_minor(node.device.1);
        let mut file = header.write(&mut self.to, size);
        std::io::copy(content, &mut file).with_context(|| format!("cannot add {name}"))?;
        file.finish()?;
        Ok(())
    }
}

/// How an archive's folders lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As they come.
    Plain,
    /// /bin, /lib, /lib64 and /sbin are links into /usr.
    MergedUsr,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Name, mode, owner, links and size of each entry.
    pub fn list(mut reader: impl Read) -> Vec<(String, u32, u32, u32, u32)> {
        let mut found = Vec::new();
        loop {
            let entry = newc::Reader::new(reader).unwrap();
            if entry.entry().is_trailer() {
                return found;
            }
            let header = entry.entry();
            let size = header.file_size();
            found.push((header.name().to_owned(), header.mode(), header.uid(), header.nlink(), size));
            reader = entry.finish().unwrap();
        }
    }

    #[test]
    fn a_tar_becomes_an_archive_with_usr_merged() {
        let base = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        let (tar_path, cpio) = (base.with_extension("tar"), base.with_extension("cpio"));
        let mut tar = tar::Builder::new(File::create(&tar_path).unwrap());
        let mut add = |kind: EntryType, name: &str, mode: u32, link: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(7);
            header.set_gid(8);
            header.set_size(content.len() as u64);
            if link.is_empty() {
                tar.append_data(&mut header, name, content).unwrap();
            } else {
                tar.append_link(&mut header, name, link).unwrap();
            }
        };
        add(EntryType::Directory, "./bin", 0o755, "", b"");
        add(EntryType::Regular, "./bin/su", 0o4755, "", b"program");
        add(EntryType::Link, "./bin/su2", 0o4755, "bin/su", b"");
        add(EntryType::Symlink, "./etc", 0o777, "usr/etc", b"");
        tar.into_inner().unwrap();

        let mut writer = Writer::new(&cpio, Layout::MergedUsr).unwrap();
        writer.tar(&mut File::open(&tar_path).unwrap()).unwrap();
        writer.finish().unwrap();
        let entries = list(File::open(&cpio).unwrap());
        let of = |name: &str| entries.iter().find(|entry| entry.0 == name).cloned().unwrap();
        assert_eq!(of("bin"), ("bin".into(), LINK | 0o777, 0, 1, 7));
        assert_eq!(of("usr/bin/su"), ("usr/bin/su".into(), REGULAR | 0o4755, 7, 2, 7));
        assert_eq!(of("usr/bin/su2"), ("usr/bin/su2".into(), REGULAR | 0o4755, 7, 2, 0));
        assert_eq!(of("etc").4, 7);
        assert_eq!(entries.iter().filter(|entry| entry.0 == "usr/bin").count(), 1);
        for path in [tar_path, cpio] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
