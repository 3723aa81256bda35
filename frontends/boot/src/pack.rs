//! A directory as a stream of a cpio archive ("newc", `cpio(5)`): the kernel takes one format, whatever `--root` names.
//! Files are read as the stream is read, so that even a large directory is in memory once.
//!
//! What the guest sees: files, directories, symbolic links and FIFOs with their modes and times; hard links as links;
//! what belongs to the user who runs Lodger belongs to root, as in a user namespace. Mount points are empty directories.
//! Device nodes and sockets are left out (the guest has a /dev of its own), and so is what cannot be read.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The archive of a directory; read it to its end.
pub struct Packer {
    root: PathBuf,
    device: u64,
    /// Who runs Lodger: its files become root's.
    me: (u32, u32),
    /// Entries still to come, the next one last; paths are relative to `root`.
    pending: Vec<PathBuf>,
    /// Inode numbers in the archive of files that have several links.
    links: HashMap<(u64, u64), u32>,
    next_inode: u32,
    /// Bytes that are ready: headers, names, link targets, padding.
    ready: Vec<u8>,
    taken: usize,
    /// The data that follow `ready`.
    body: Option<Body>,
    finished: bool,
    left_out: Vec<PathBuf>,
}

impl Packer {
    /// An archive of `root`, which must be a directory that can be read.
    pub fn new(root: &Path) -> io::Result<Packer> {
        let metadata = std::fs::metadata(root)?;
        std::fs::read_dir(root)?;
        let me = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Ok(Packer {
            root: root.to_owned(),
            device: metadata.dev(),
            me,
            pending: vec![PathBuf::new()],
            links: HashMap::new(),
            next_inode: 1,
            ready: Vec::new(),
            taken: 0,
            body: None,
            finished: false,
            left_out: Vec::new(),
        })
    }

    /// What was left out because it cannot be read, relative to the directory.
    pub fn into_left_out(self) -> Vec<PathBuf> {
        self.left_out
    }

    /// Makes the next entry ready.
    fn advance(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.taken = 0;
        let Some(path) = self.pending.pop() else {
            self.header(b"TRAILER!!!", &Entry { links: 1, ..Entry::default() });
            self.finished = true;
            return Ok(());
        };
        match self.entry(&path) {
            Ok(()) => Ok(()),
            Err(error) if path.as_os_str().is_empty() || error.kind() == io::ErrorKind::FileTooLarge => {
                Err(error)
            }
            Err(error) => {
                // A file that was removed since the directory was read is simply not there.
                if error.kind() != io::ErrorKind::NotFound {
                    self.left_out.push(path);
                }
                Ok(())
            }
        }
    }

    fn entry(&mut self, path: &Path) -> io::Result<()> {
        let on_host = self.root.join(path);
        let top = path.as_os_str().is_empty();
        let metadata = if top { std::fs::metadata(&on_host)? } else { std::fs::symlink_metadata(&on_host)? };
        let kind = metadata.file_type();
        if kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            return Ok(());
        }
        let mut entry = self.describe(&metadata);
        let name = if top { b".".as_slice() } else { path.as_os_str().as_bytes() };
        if kind.is_dir() {
            let entered = if metadata.dev() == self.device { self.enter(path, &on_host) } else { Ok(()) };
            self.header(name, &entry);
            return entered;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&on_host)?.into_os_string().into_vec();
            entry.size = target.len() as u32;
            self.header(name, &entry);
            self.ready.extend_from_slice(&target);
            self.pad();
        } else if kind.is_file() {
            self.regular(name, &on_host, &metadata, entry)?;
        } else {
            self.header(name, &entry);
        }
        Ok(())
    }

    /// Puts the entries of a directory before what is pending, in the order of their names.
    fn enter(&mut self, path: &Path, on_host: &Path) -> io::Result<()> {
        let mut names = std::fs::read_dir(on_host)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.pending.extend(names.into_iter().map(|name| path.join(name)));
        Ok(())
    }

    fn regular(
        &mut self,
        name: &[u8],
        on_host: &Path,
        metadata: &Metadata,
        mut entry: Entry,
    ) -> io::Result<()> {
        if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(inode) = self.links.get(&key) {
                // The data came with the first name.
                entry.inode = *inode;
                self.header(name, &entry);
                return Ok(());
            }
            entry.links = u32::try_from(metadata.nlink()).unwrap_or(u32::MAX);
            let file = open(on_host, metadata)?;
            self.links.insert(key, entry.inode);
            return self.data(name, file, metadata.len(), entry);
        }
        let file = open(on_host, metadata)?;
        self.data(name, file, metadata.len(), entry)
    }

    fn data(&mut self, name: &[u8], file: File, len: u64, mut entry: Entry) -> io::Result<()> {
        entry.size = u32::try_from(len).map_err(|_| {
            let name = String::from_utf8_lossy(name).into_owned();
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{name} is larger than 4 GiB, more than cpio can hold"),
            )
        })?;
        self.header(name, &entry);
        self.body = Some(Body { file, left: len, padding: (len.next_multiple_of(4) - len) as usize });
        Ok(())
    }

    fn describe(&mut self, metadata: &Metadata) -> Entry {
        let inode = self.next_inode;
        self.next_inode += 1;
        Entry {
            inode,
            mode: metadata.mode(),
            uid: if metadata.uid() == self.me.0 { 0 } else { metadata.uid() },
            gid: if metadata.gid() == self.me.1 { 0 } else { metadata.gid() },
            links: if metadata.is_file() { u32::try_from(metadata.nlink()).unwrap_or(u32::MAX) } else { 1 },
            mtime: u32::try_from(metadata.mtime().max(0)).unwrap_or(u32::MAX),
            size: 0,
        }
    }

    fn header(&mut self, name: &[u8], entry: &Entry) {
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let device = 0;
        let fields = [
            entry.inode,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.links,
            entry.mtime,
            entry.size,
            device,
            1,
            0,
            0,
            name_size,
            0,
        ];
        self.ready.extend_from_slice(b"070701");
        for field in fields {
            self.ready.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.ready.extend_from_slice(name);
        self.ready.push(0);
        self.pad();
    }

    /// Headers with their names, and data, each begin at a multiple of four.
    fn pad(&mut self) {
        self.ready.resize(self.ready.len().next_multiple_of(4), 0);
    }
}

/// The data of a regular file.
struct Body {
    file: File,
    /// Bytes that the header promised and that are still to come.
    left: u64,
    /// Zeros behind them, up to a multiple of four.
    padding: usize,
}

impl Body {
    /// Reads some of what is left; `buf` and what is left are not empty.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = match self.file.read(&mut buf[..want])? {
            0 => {
                // The file shrank: the header has promised its length, so zeros follow.
                buf[..want].fill(0);
                want
            }
            n => n,
        };
        self.left -= n as u64;
        Ok(n)
    }
}

/// The numbers of a header.
#[derive(Default)]
struct Entry {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    size: u32,
}

/// Opens the regular file that `metadata` describes, and nothing that took its place meanwhile.
fn open(path: &Path, metadata: &Metadata) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if (found.dev(), found.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(io::Error::other("it was replaced while it was read"));
    }
    Ok(file)
}

impl Read for Packer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if self.taken < self.ready.len() {
                let n = buf.len().min(self.ready.len() - self.taken);
                buf[..n].copy_from_slice(&self.ready[self.taken..self.taken + n]);
                self.taken += n;
                return Ok(n);
            }
            match &mut self.body {
                Some(body) if body.left > 0 => return body.read(buf),
                Some(body) => {
                    self.ready = vec![0; body.padding];
                    self.taken = 0;
                    self.body = None;
                    continue;
                }
                None => {}
            }
            if self.finished {
                return Ok(0);
            }
            self.advance()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A file system object as an archive describes it.
    struct Found {
        name: String,
        fields: Vec<u32>,
        data: Vec<u8>,
    }

    fn parse(mut bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |i: usize| std::str::from_utf8(&bytes[6 + 8 * i..14 + 8 * i]).unwrap();
            let fields: Vec<u32> = (0..13).map(|i| u32::from_str_radix(field(i), 16).unwrap()).collect();
            let (name_len, size) = (fields[11] as usize, fields[6] as usize);
            let name = String::from_utf8(bytes[110..110 + name_len - 1].to_vec()).unwrap();
            let at = (110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(bytes.len(), at);
                return found;
            }
            found.push(Found { name, fields, data: bytes[at..at + size].to_vec() });
            bytes = &bytes[(at + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn a_directory_becomes_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("b/empty")).unwrap();
        std::fs::write(path("b/file"), b"hello").unwrap();
        std::fs::set_permissions(path("b/file"), PermissionsExt::from_mode(0o4750)).unwrap();
        std::fs::hard_link(path("b/file"), path("b/second")).unwrap();
        std::fs::write(path("a"), vec![7; 100_000]).unwrap();
        symlink("b/file", path("z")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();

        let mut packer = Packer::new(dir.path()).unwrap();
        let mut bytes = Vec::new();
        // Odd pieces, so that every boundary is met.
        while packer.by_ref().take(777).read_to_end(&mut bytes).unwrap() > 0 {}
        assert!(packer.into_left_out().is_empty());

        let found = parse(&bytes);
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, [".", "a", "b", "b/empty", "b/file", "b/second", "z"]);
        assert!(found[1].data.len() == 100_000 && found[1].data.iter().all(|byte| *byte == 7));
        let (first, second) = (&found[4], &found[5]);
        assert_eq!((first.data.as_slice(), second.data.len()), (b"hello".as_slice(), 0));
        assert_eq!((first.fields[0], first.fields[4]), (second.fields[0], 2), "one inode, two links");
        assert_eq!((first.fields[1], first.fields[2]), (0o104750, 0), "mode, owner");
        assert_eq!(
            (found[6].data.as_slice(), found[6].fields[1] & 0o170000),
            (b"b/file".as_slice(), 0o120000)
        );
    }

    #[test]
    fn a_file_that_shrinks_is_filled_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), vec![1; 64]).unwrap();
        let mut packer = Packer::new(dir.path()).unwrap();
        let mut head = [0; 240];
        packer.read_exact(&mut head).unwrap();
        std::fs::write(dir.path().join("log"), b"").unwrap();
        let mut bytes = head.to_vec();
        packer.read_to_end(&mut bytes).unwrap();
        assert_eq!(parse(&bytes)[1].data.len(), 64);
    }

    #[test]
    fn only_a_directory_can_be_packed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Packer::new(file.path()).is_err());
    }
}
