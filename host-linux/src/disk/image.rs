//! Making, describing and merging images.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use kernel_core::host::block::{BlockDevice, SECTOR};

use super::cow::{self, CowFile};
use super::error::{DiskError, Problem};
use super::header::{Header, MAX_SIZE};
use super::raw::{self, RawFile};
use super::{Format, Options, format_of};

/// Bytes copied in one go.
const STEP: u64 = 1 << 20;
/// What is looked at for being all zero, and then left out.
const BLOCK: usize = 4096;

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its format.
    pub format: Format,
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes that the file takes on the host.
    pub allocated: u64,
    /// Of a COW file: what is below it and how it is.
    pub cow: Option<CowInfo>,
}

/// What a COW file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CowInfo {
    /// Version of the header.
    pub version: u32,
    /// The backing file.
    pub backing: PathBuf,
    /// Bytes of the disk that are in the COW file.
    pub changed: u64,
    /// Why the backing file is of no use, if it is not.
    pub problem: Option<String>,
}

fn create(path: &Path) -> Result<File, DiskError> {
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    opened.map_err(|error| {
        let exists = error.kind() == ErrorKind::AlreadyExists;
        DiskError::new(path, if exists { Problem::Exists } else { Problem::Open(error) })
    })
}

/// Makes a raw image of `size` bytes that takes no room yet.
pub fn create_raw(path: &Path, size: u64) -> Result<(), DiskError> {
    if size == 0 || size > MAX_SIZE || !size.is_multiple_of(SECTOR) {
        return Err(DiskError::new(path, Problem::Size(size)));
    }
    create(path)?.set_len(size).map_err(DiskError::io(path))
}

/// Makes a COW file over `backing` in which nothing is changed yet.
pub fn create_cow(path: &Path, backing: &Path) -> Result<(), DiskError> {
    let named = std::path::absolute(backing).map_err(DiskError::io(backing))?;
    let below = cow::open_backing(&named)?;
    let mtime = cow::seconds(below.file()).map_err(DiskError::io(backing))?;
    let size = raw::size_of(below.file()).map_err(DiskError::io(backing))?;
    let header =
        Header::new(&named, mtime, size).map_err(|what| DiskError::new(path, Problem::Header(what)))?;
    let file = create(path)?;
    let written = file
        .set_len(header.data_offset + header.size)
        .and_then(|()| file.write_all_at(&header.encode(), 0))
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Nothing is worse than half a header.
        let _ = std::fs::remove_file(path);
        DiskError::new(path, Problem::Io(error))
    })
}

/// Looks at an image without changing or locking it.
pub fn inspect(path: &Path) -> Result<Info, DiskError> {
    let file = File::open(path).map_err(|error| DiskError::new(path, Problem::Open(error)))?;
    let format = format_of(&file).map_err(DiskError::io(path))?;
    let allocated = file.metadata().map_err(DiskError::io(path))?.blocks() * 512;
    let size = raw::size_of(&file).map_err(DiskError::io(path))?;
    if format != Format::Cow {
        return Ok(Info { format, size, allocated, cow: None });
    }
    let header = cow::read_header(path, &file)?;
    let backing = cow::backing_path(path, &header);
    let state = File::open(&backing)
        .map_err(|error| DiskError::new(&backing, Problem::Open(error)))
        .and_then(|below| cow::check_backing(&backing, &below, &header));
    let changed = cow::changed_sectors(&file, &header).map_err(DiskError::io(path))? * SECTOR;
    let problem = state.err().map(|error| error.to_string());
    let info = CowInfo { version: header.version, backing, changed, problem };
    Ok(Info { format, size: header.size, allocated, cow: Some(info) })
}

/// Writes the disk that a COW file and its backing file make to a new raw image; what is all zero takes no room.
pub fn merge_to(path: &Path, new: &Path) -> Result<(), DiskError> {
    let disk = CowFile::open(path, None, Options { read_only: true, ..Options::default() })?;
    let target = create(new)?;
    let copied = copy_disk(&disk, &target).and_then(|()| target.sync_all());
    copied.map_err(|error| {
        let _ = std::fs::remove_file(new);
        DiskError::new(new, Problem::Io(error))
    })
}

fn failed(_: kernel_core::host::block::BlockError) -> std::io::Error {
    std::io::Error::other("reading the COW file or its backing file failed")
}

fn copy_disk(disk: &dyn BlockDevice, target: &File) -> std::io::Result<()> {
    target.set_len(disk.size())?;
    let mut buf = vec![0; STEP as usize];
    let mut at = 0;
    while at < disk.size() {
        let step = STEP.min(disk.size() - at) as usize;
        disk.read(at, &mut buf[..step]).map_err(failed)?;
        for (number, block) in buf[..step].chunks(BLOCK).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                target.write_all_at(block, at + (number * BLOCK) as u64)?;
            }
        }
        at += step as u64;
    }
    Ok(())
}

/// Writes what was changed into the backing file itself, and says how many bytes that were. From the first change on no
/// COW file over it is of use, this one neither; so it is removed at the end. Interrupted, the merge can be done again
/// with `changed_backing`, which does not ask when the backing file was changed.
pub fn merge_in_place(path: &Path, changed_backing: bool) -> Result<u64, DiskError> {
    let (file, _) = raw::open_locked(path, Options::default())?;
    if format_of(&file).map_err(DiskError::io(path))? != Format::Cow {
        return Err(DiskError::new(path, Problem::NotCow));
    }
    let header = cow::read_header(path, &file)?;
    let named = cow::backing_path(path, &header);
    let below = RawFile::open(&named, Options::default())?;
    if below.read_only() {
        return Err(DiskError::new(&named, Problem::Io(ErrorKind::PermissionDenied.into())));
    }
    match cow::check_backing(&named, below.file(), &header) {
        Err(DiskError { problem: Problem::BackingTime(_), .. }) if changed_backing => {}
        other => other?,
    }
    let mut changed = 0;
    for range in cow::changed_ranges(&file, &header).map_err(DiskError::io(path))? {
        let mut at = range.start;
        while at < range.end {
            let mut buf = vec![0; STEP.min(range.end - at) as usize];
            file.read_exact_at(&mut buf, header.data_offset + at).map_err(DiskError::io(path))?;
            below.file().write_all_at(&buf, at).map_err(DiskError::io(&named))?;
            at += buf.len() as u64;
        }
        changed += range.end - range.start;
    }
    below.file().sync_all().map_err(DiskError::io(&named))?;
    std::fs::remove_file(path).map_err(DiskError::io(path))?;
    Ok(changed)
}
