//! Cases about files and their names, all of them in memory.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cases::{PAGE, timed};
use crate::sys;

/// 4 KiB written to where nothing is kept.
pub fn write_null(n: u64) -> Duration {
    let null = sys::open(c"/dev/null", libc::O_WRONLY);
    let took = timed(|| (0..n).for_each(|_| sys::write_all(null, &[0; PAGE])));
    sys::close(null);
    took
}

/// 4 KiB written to the same place of a file.
pub fn write(n: u64) -> Duration {
    let folder = Folder::new();
    let file = sys::open(&folder.name("file"), libc::O_RDWR | libc::O_CREAT);
    let took = timed(|| (0..n).for_each(|_| sys::write_at_start(file, &[0; PAGE])));
    sys::close(file);
    took
}

/// A file opened by a path of three names and closed.
pub fn open_close(n: u64) -> Duration {
    let folder = Folder::with(1);
    let name = folder.name("0");
    timed(|| (0..n).for_each(|_| sys::close(sys::open(&name, libc::O_RDONLY))))
}

/// A file made and removed.
pub fn create_unlink(n: u64) -> Duration {
    let folder = Folder::new();
    let name = folder.name("file");
    timed(|| {
        for _ in 0..n {
            create(&name);
            sys::unlink(&name);
        }
    })
}

/// A file that gets another name, and its own again the next time.
pub fn rename(n: u64) -> Duration {
    let folder = Folder::with(1);
    let names = [folder.name("0"), folder.name("1")];
    timed(|| (0..n).for_each(|at| sys::rename(&names[at as usize % 2], &names[1 - at as usize % 2])))
}

/// A folder of 100 files listed.
pub fn list(n: u64) -> Duration {
    let folder = Folder::with(100);
    timed(|| (0..n).for_each(|_| assert_eq!(folder.count(), 100, "entries")))
}

/// `n` files made in one folder, looked up by name and removed.
pub fn crowded(n: u64) -> Duration {
    let folder = Folder::new();
    let names: Vec<CString> = (0..n).map(|at| folder.name(&at.to_string())).collect();
    timed(|| {
        names.iter().for_each(create);
        names.iter().for_each(|name| assert_eq!(sys::size_of(name), 0, "stat"));
        names.iter().for_each(|name| sys::unlink(name));
    })
}

/// A folder of `n` files listed once.
pub fn list_crowded(n: u64) -> Duration {
    let folder = Folder::with(n);
    timed(|| assert_eq!(folder.count() as u64, n, "entries"))
}

fn create(name: &CString) {
    sys::close(sys::open(name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL));
}

/// A folder in memory that goes away with all that is in it.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Folder {
        let made = sys::IN_MEMORY.iter().find_map(|parent| {
            let path = Path::new(parent).join(format!("bench-folder.{}", std::process::id()));
            fs::create_dir(&path).ok().map(|()| Folder(path))
        });
        made.expect("no place for a folder")
    }

    /// One with empty files that have numbers as names.
    fn with(files: u64) -> Folder {
        let folder = Folder::new();
        (0..files).for_each(|at| create(&folder.name(&at.to_string())));
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn name(&self, file: &str) -> CString {
        CString::new(format!("{}/{file}", self.0.display())).expect("no NUL in it")
    }

    fn count(&self) -> usize {
        fs::read_dir(&self.0).expect("the folder is there").count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}
