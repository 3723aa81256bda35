//! COW files of any contents, over a backing file: read, written, and read again.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arbitrary::Unstructured;
use host_linux::disk::cow::CowFile;
use host_linux::disk::header::{self, Header};
use host_linux::disk::{Options, image};
use kernel_core::host::block::{BlockDevice, SECTOR};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes of the backing file.
const SIZE: u64 = 16 * SECTOR;

/// Two files in memory without names of their own, so that nothing of them outlives the process; an input has them alone.
struct Files {
    backing: File,
    cow: File,
}

impl Files {
    fn get() -> &'static Files {
        static FILES: OnceLock<Files> = OnceLock::new();
        FILES.get_or_init(|| {
            let [backing, cow] = ["backing", "cow"]
                .map(|name| File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC).expect("a file")));
            let bytes: Vec<u8> = (0..SIZE).map(|at| (at / SECTOR) as u8).collect();
            fs::write(path(&backing), bytes).expect("it can be written");
            Files { backing, cow }
        })
    }
}

/// Where it can be opened: in one folder for both, as a COW file finds its backing file.
fn path(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The bytes are a file, or choose the fields of one that can be opened.
pub fn run(data: &[u8]) {
    let _ = Header::decode(data);
    if !header::is_cow(data) {
        let _ = with_fields(&mut Unstructured::new(data));
    }
}

fn with_fields(choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let files = Files::get();
    let (backing, path) = (path(&files.backing), path(&files.cow));
    let name = PathBuf::from(backing.file_name().expect("it has one"));
    let mtime = files.backing.metadata().expect("it is there").mtime();
    let made = Header::new(&name, mtime as u32, SIZE).expect("it fits");
    let mut bytes = made.encode();
    // Some alignment, and whatever is wrong beside that.
    let align = *choices.choose(&[1u32, 3, 512, 4096, 4097, 65536])?;
    bytes[24..28].copy_from_slice(&align.to_be_bytes());
    for _ in 0..choices.int_in_range(0..=2)? {
        let at = choices.int_in_range(4..=36)?;
        // The path stays: another could be any file of this machine.
        if !(32..=32 + name.as_os_str().len()).contains(&at) {
            bytes[at] = choices.arbitrary()?;
        }
    }
    let Ok(header) = Header::decode(&bytes) else { return Ok(()) };
    if header.backing != name {
        return Ok(());
    }
    assert!(header.bitmap_offset >= 4128 && header.data_offset >= header.bitmap_offset + header.bitmap_len());
    let cut = choices.int_in_range(0..=20)?;
    bytes.resize(header.bitmap_offset.min(1 << 20) as usize, 0);
    bytes.extend_from_slice(&choices.arbitrary::<[u8; 2]>()?);
    bytes.truncate(bytes.len() - cut);
    fs::write(&path, &bytes).expect("it can be written");
    let _ = image::inspect(&path);
    if let Ok(cow) = CowFile::open(&path, Some(&backing), Options::default()) {
        use_it(&cow, choices)?;
    }
    let _ = image::inspect(&path);
    Ok(())
}

/// What is written is what is read, and the rest stays as it was.
fn use_it(cow: &CowFile, choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let size = cow.size();
    assert!(size <= SIZE);
    let mut model = vec![0; size as usize];
    cow.read(0, &mut model).expect("the whole disk can be read");
    for _ in 0..choices.int_in_range(0..=8)? {
        let (at, len) = (choices.arbitrary::<u8>()? % 20, choices.arbitrary::<u8>()? % 20);
        let (at, len) = (u64::from(at) * SECTOR, usize::from(len) * SECTOR as usize);
        let range = (at as usize).min(model.len())..(at as usize + len).min(model.len());
        let inside = range.len() == len && at <= size;
        match choices.int_in_range(0..=3)? {
            0 => {
                let mut bytes = vec![0; len];
                let read = cow.read(at, &mut bytes);
                assert_eq!(read.is_ok(), inside);
                assert!(!inside || bytes == model[range]);
            }
            1 => {
                let bytes = vec![choices.arbitrary()?; len];
                let written = cow.write(at, &bytes);
                assert_eq!(written.is_ok(), inside);
                if inside {
                    model[range].copy_from_slice(&bytes);
                }
            }
            2 if inside => {
                if cow.zero(at..at + len as u64).is_ok() {
                    model[range].fill(0);
                }
            }
            _ => assert!(cow.flush().is_ok()),
        }
    }
    let mut bytes = vec![0; size as usize];
    cow.read(0, &mut bytes).expect("the whole disk can be read");
    assert!(bytes == model, "what is read is not what was written");
    Ok(())
}
