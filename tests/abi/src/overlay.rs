//! overlayfs: what is shown of the layers, and what is written to the upper one. mount(8), Linux's
//! Documentation/filesystems/overlayfs.rst.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    reads_through,
    copies_up_on_write,
    attributes_are_copied_up,
    truncation_copies_no_data,
    unlink_hides,
    rmdir_hides_and_mkdir_is_opaque,
    readdir_merges,
    readdir_keeps_positions,
    rename_files,
    rename_one_of_two_names,
    rename_directories,
    rename_over_what_was_removed,
    exchange_and_noreplace,
    old_descriptor_after_copy_up,
    unlinked_before_copy_up,
    hard_links,
    unnamed_files,
    permissions_are_the_overlays,
    fifo_and_socket,
    runs_programs,
];

/// A C string.
pub fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// `mount(2)` of a file system without a device.
pub unsafe fn mount(kind: &CStr, at: &CStr, options: &str) -> c_int {
    libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, c(options).as_ptr().cast())
}

/// What a function of the library returned.
#[track_caller]
pub fn io<T>(result: std::io::Result<T>) -> Done<T> {
    result.or_else(|error| fail(error))
}

/// Fails unless the file has that content.
#[track_caller]
pub fn says(path: &str, want: &str) -> Done {
    eq(io(fs::read_to_string(path))?, want)
}

/// The names in a directory, sorted.
#[track_caller]
pub fn names(path: &str) -> Done<Vec<String>> {
    let mut names = Vec::new();
    for entry in io(fs::read_dir(path))? {
        names.push(io(entry)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn is_whiteout(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

/// Fails if there is something of that name.
#[track_caller]
pub fn gone(path: &str) -> Done {
    match fs::symlink_metadata(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => fail(format!("{path}: {other:?}")),
    }
}

/// Fails unless it failed with `want`.
#[track_caller]
pub fn error_of<T>(result: std::io::Result<T>, want: c_int) -> Done {
    match result {
        Ok(_) => fail(format!("worked, want {}", name_of(want))),
        Err(error) => eq(error.raw_os_error(), Some(want)),
    }
}

/// The value of an extended attribute.
pub unsafe fn xattr(path: &str, name: &CStr) -> Option<Vec<u8>> {
    let mut value = [0u8; 64];
    let n = libc::lgetxattr(c(path).as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len());
    usize::try_from(n).ok().map(|n| value[..n].to_vec())
}

/// Runs `body` in a tmpfs with the folders `l`, `u`, `w` and `o`, where nobody else sees its mounts.
pub unsafe fn in_layers(body: impl FnOnce() -> Done) -> Done {
    need_root()?;
    // Not all kernels have mount namespaces; then everybody sees the mounts for a while.
    if libc::unshare(libc::CLONE_NEWNS) == 0 {
        let none = std::ptr::null();
        ok(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
    }
    io(fs::create_dir("m"))?;
    ok(mount(c"tmpfs", c"m", "mode=755"))?;
    ok(libc::chdir(c"m".as_ptr()))?;
    let done = || -> Done {
        for dir in ["l", "u", "w", "o"] {
            io(fs::create_dir(dir))?;
        }
        body()
    }();
    libc::umount2(c"o".as_ptr(), libc::MNT_DETACH);
    ok(libc::chdir(c"..".as_ptr()))?;
    ok(libc::umount2(c"m".as_ptr(), libc::MNT_DETACH))?;
    done
}

/// As [`in_layers`], with `f`, `d/a`, `d/b`, `d/sub/x` and a link in the lower layer, and the overlay mounted on `o`.
pub unsafe fn mounted(body: impl FnOnce() -> Done) -> Done {
    in_layers(|| {
        io(fs::write("l/f", "lower"))?;
        io(fs::create_dir_all("l/d/sub"))?;
        for name in ["l/d/a", "l/d/b", "l/d/sub/x"] {
            io(fs::write(name, name))?;
        }
        io(symlink("f", "l/link"))?;
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w"))?;
        body()
    })
}

unsafe fn reads_through() -> Done {
    mounted(|| {
        says("o/f", "lower")?;
        says("o/link", "lower")?;
        says("o/d/sub/x", "l/d/sub/x")?;
        eq(names("o")?, ["d", "f", "link"])?;
        check(names("u")?.is_empty(), "nothing was copied")?;
        eq(names("w")?, ["work"])?;
        let mut fs: libc::statfs = std::mem::zeroed();
        ok(libc::statfs(c"o".as_ptr(), &mut fs))?;
        eq(fs.f_type as u64, 0x794c7630u64)?;
        let (dir, file) = (io(fs::metadata("o"))?, io(fs::metadata("o/f"))?);
        eq(dir.dev(), file.dev())?;
        let mounts = io(fs::read_to_string("/proc/self/mounts"))?;
        check(mounts.contains("lowerdir=l,upperdir=u,workdir=w"), "/proc/mounts has the layers")
    })
}

unsafe fn copies_up_on_write() -> Done {
    mounted(|| {
        let before = io(fs::metadata("o/d/a"))?;
        let dir = io(fs::metadata("o/d"))?;
        // Opening for reading copies nothing.
        drop(io(fs::File::open("o/d/a"))?);
        gone("u/d")?;
        drop(io(fs::OpenOptions::new().append(true).open("o/d/a"))?);
        says("u/d/a", "l/d/a")?;
        io(fs::write("o/d/a", "new"))?;
        says("o/d/a", "new")?;
        says("u/d/a", "new")?;
        says("l/d/a", "l/d/a")?;
        let after = io(fs::metadata("o/d/a"))?;
        eq((after.dev(), after.ino()), (before.dev(), before.ino()))?;
        // The directories above are there now, as they were.
        let copy = io(fs::metadata("o/d"))?;
        eq((copy.ino(), copy.mtime_nsec()), (dir.ino(), dir.mtime_nsec()))?;
        eq(names("u/d")?, ["a"])?;
        eq(names("o/d")?, ["a", "b", "sub"])
    })
}

unsafe fn attributes_are_copied_up() -> Done {
    mounted(|| {
        io(fs::set_permissions("l/f", fs::Permissions::from_mode(0o4751)))?;
        ok(libc::chown(c"l/d/b".as_ptr(), 7, 8))?;
        ok(libc::setxattr(c"l/f".as_ptr(), c"trusted.mine".as_ptr(), c"v".as_ptr().cast(), 1, 0))?;
        let times = [libc::timespec { tv_sec: 5, tv_nsec: 6 }, libc::timespec { tv_sec: 7, tv_nsec: 8 }];
        ok(libc::utimensat(libc::AT_FDCWD, c"l/f".as_ptr(), times.as_ptr(), 0))?;
        ok(libc::setxattr(c"o/f".as_ptr(), c"trusted.too".as_ptr(), c"w".as_ptr().cast(), 1, 0))?;
        let copy = io(fs::metadata("u/f"))?;
        eq(copy.mode(), 0o104751)?;
        eq((copy.mtime(), copy.mtime_nsec()), (7, 8))?;
        eq(xattr("o/f", c"trusted.mine"), Some(b"v".to_vec()))?;
        eq(xattr("l/f", c"trusted.too"), None)?;
        io(fs::set_permissions("o/d/b", fs::Permissions::from_mode(0o600)))?;
        let copy = io(fs::metadata("u/d/b"))?;
        eq((copy.mode() & 0o777, copy.uid(), copy.gid()), (0o600, 7, 8))?;
        eq(io(fs::metadata("l/d/b"))?.mode() & 0o777, 0o644)?;
        // What is not there is not removed, and nothing is copied for it.
        fails(libc::removexattr(c"o/d/a".as_ptr(), c"trusted.no".as_ptr()), libc::ENODATA)?;
        gone("u/d/a")
    })
}

unsafe fn truncation_copies_no_data() -> Done {
    in_layers(|| {
        // To copy that much would take longer than a case may.
        let big = io(fs::File::create("l/big"))?;
        io(big.set_len(1 << 40))?;
        ok(libc::pwrite(big.as_raw_fd(), c"begin".as_ptr().cast(), 5, 0))?;
        ok(libc::link(c"l/big".as_ptr(), c"l/big2".as_ptr()))?;
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w"))?;
        let cut = io(fs::OpenOptions::new().write(true).truncate(true).open("o/big"))?;
        eq(io(cut.metadata())?.len(), 0)?;
        says("u/big", "")?;
        ok(libc::truncate(c"o/big2".as_ptr(), 3))?;
        says("o/big2", "beg")?;
        eq(io(fs::metadata("l/big"))?.len(), 1 << 40)
    })
}

unsafe fn unlink_hides() -> Done {
    mounted(|| {
        io(fs::remove_file("o/f"))?;
        gone("o/f")?;
        check(is_whiteout("u/f"), "a whiteout is in the upper layer")?;
        eq(names("o")?, ["d", "link"])?;
        says("l/f", "lower")?;
        io(fs::write("o/f", "again"))?;
        says("u/f", "again")?;
        io(fs::remove_file("o/f"))?;
        check(is_whiteout("u/f"), "a whiteout is there again")?;
        // What only the upper layer has just goes.
        io(fs::write("o/n", "n"))?;
        io(fs::remove_file("o/n"))?;
        gone("u/n")?;
        error_of(fs::remove_file("o/n"), libc::ENOENT)
    })
}

unsafe fn rmdir_hides_and_mkdir_is_opaque() -> Done {
    mounted(|| {
        error_of(fs::remove_dir("o/d"), libc::ENOTEMPTY)?;
        io(fs::remove_dir_all("o/d"))?;
        gone("o/d")?;
        check(is_whiteout("u/d"), "a whiteout is in the upper layer")?;
        io(fs::create_dir("o/d"))?;
        check(names("o/d")?.is_empty(), "nothing shows through")?;
        eq(xattr("u/d", c"trusted.overlay.opaque"), Some(b"y".to_vec()))?;
        io(fs::write("o/d/a", "mine"))?;
        eq(names("o/d")?, ["a"])?;
        io(fs::remove_dir_all("o/d"))?;
        gone("o/d")?;
        check(names("w/work")?.len() <= 1, "nothing is left over but a whiteout for later")
    })
}

unsafe fn readdir_merges() -> Done {
    mounted(|| {
        io(fs::write("o/d/b", "changed"))?;
        io(fs::write("o/d/new", ""))?;
        io(fs::remove_file("o/d/a"))?;
        eq(names("o/d")?, ["b", "new", "sub"])?;
        for entry in io(fs::read_dir("o/d"))? {
            let entry = io(entry)?;
            use std::os::unix::fs::DirEntryExt;
            eq(entry.ino(), io(fs::symlink_metadata(entry.path()))?.ino())?;
        }
        Ok(())
    })
}

unsafe fn readdir_keeps_positions() -> Done {
    in_layers(|| {
        for n in 0..50 {
            io(fs::write(format!("l/l{n}"), ""))?;
            io(fs::write(format!("u/u{n}"), ""))?;
        }
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w"))?;
        let dir = libc::opendir(c"o".as_ptr());
        check(!dir.is_null(), "opendir works")?;
        let mut seen = Vec::new();
        loop {
            let entry = libc::readdir(dir);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            io(fs::remove_file(format!("o/{name}")))?;
            io(fs::write(format!("o/new-{name}"), ""))?;
            seen.push(name);
            check(seen.len() < 1000, "the listing ends")?;
        }
        let old = seen.iter().filter(|name| !name.starts_with("new")).count();
        eq(old, 100)?;
        libc::rewinddir(dir);
        let mut left = 0;
        loop {
            let entry = libc::readdir(dir);
            if entry.is_null() {
                break;
            }
            left += 1;
        }
        libc::closedir(dir);
        check(left >= 102, "after a rewind all that is new is seen")
    })
}

unsafe fn rename_files() -> Done {
    mounted(|| {
        io(fs::rename("o/f", "o/d/a"))?;
        says("o/d/a", "lower")?;
        gone("o/f")?;
        check(is_whiteout("u/f"), "what was moved left a whiteout")?;
        io(fs::rename("o/d/a", "o/f"))?;
        says("o/f", "lower")?;
        gone("o/d/a")?;
        check(is_whiteout("u/d/a"), "the lower layer's name is hidden")?;
        io(fs::write("o/mine", "mine"))?;
        io(fs::rename("o/mine", "o/other"))?;
        gone("u/mine")?;
        io(fs::rename("o/link", "o/l2"))?;
        eq(io(fs::read_link("o/l2"))?.to_string_lossy(), "f")?;
        check(names("w/work")?.len() <= 1, "nothing is left over but a whiteout for later")
    })
}

unsafe fn rename_one_of_two_names() -> Done {
    mounted(|| {
        io(fs::write("o/a", "new"))?;
        let same = |one: &str, other: &str| -> Done {
            let (one, other) = (io(fs::metadata(one))?, io(fs::metadata(other))?);
            eq((one.ino(), one.nlink()), (other.ino(), 2))
        };
        // One that is in the upper layer only, and one that is copied there.
        for name in ["o/a", "o/f"] {
            let text = io(fs::read_to_string(name))?;
            io(fs::hard_link(name, "o/b"))?;
            io(fs::rename("o/b", "o/c"))?;
            gone("o/b")?;
            same(name, "o/c")?;
            says("o/c", &text)?;
            io(fs::rename("o/c", "o/d/a"))?;
            gone("o/c")?;
            same(name, "o/d/a")?;
            io(fs::write("o/d/a", "both"))?;
            says(name, "both")?;
            io(fs::remove_file("o/d/a"))?;
            eq(io(fs::metadata(name))?.nlink(), 1)?;
        }
        Ok(())
    })
}

unsafe fn rename_directories() -> Done {
    mounted(|| {
        // What is in a lower layer does not move.
        error_of(fs::rename("o/d", "o/e"), libc::EXDEV)?;
        error_of(fs::rename("o/d/sub", "o/sub"), libc::EXDEV)?;
        io(fs::write("o/d/sub/y", "y"))?;
        error_of(fs::rename("o/d/sub", "o/sub"), libc::EXDEV)?;
        // What is not does.
        io(fs::create_dir_all("o/n/m"))?;
        io(fs::write("o/n/m/x", "x"))?;
        io(fs::rename("o/n", "o/p"))?;
        says("o/p/m/x", "x")?;
        error_of(fs::rename("o/p", "o/d"), libc::ENOTEMPTY)?;
        error_of(fs::rename("o/p", "o/f"), libc::ENOTDIR)?;
        error_of(fs::rename("o/f", "o/d"), libc::EISDIR)?;
        // Over an empty directory that hides one below.
        for name in ["o/d/a", "o/d/b", "o/d/sub/x", "o/d/sub/y"] {
            io(fs::remove_file(name))?;
        }
        io(fs::remove_dir("o/d/sub"))?;
        io(fs::rename("o/p", "o/d"))?;
        eq(names("o/d")?, ["m"])?;
        eq(names("o/d/m")?, ["x"])?;
        gone("u/p")?;
        check(names("w/work")?.len() <= 1, "nothing is left over but a whiteout for later")
    })
}

unsafe fn rename_over_what_was_removed() -> Done {
    mounted(|| {
        io(fs::remove_dir_all("o/d"))?;
        io(fs::create_dir("o/n"))?;
        io(fs::write("o/n/x", "x"))?;
        io(fs::rename("o/n", "o/d"))?;
        eq(names("o/d")?, ["x"])?;
        gone("u/n")?;
        gone("o/n")?;
        io(fs::remove_file("o/f"))?;
        io(fs::rename("o/link", "o/f"))?;
        eq(io(fs::read_link("o/f"))?.to_string_lossy(), "f")?;
        gone("o/link")?;
        check(names("w/work")?.len() <= 1, "nothing is left over but a whiteout for later")
    })
}

unsafe fn rename2(old: &CStr, new: &CStr, flags: u32) -> c_int {
    libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), flags)
}

unsafe fn exchange_and_noreplace() -> Done {
    mounted(|| {
        fails(rename2(c"o/f", c"o/link", libc::RENAME_NOREPLACE), libc::EEXIST)?;
        ok(rename2(c"o/f", c"o/link", libc::RENAME_EXCHANGE))?;
        says("o/link", "lower")?;
        eq(io(fs::read_link("o/f"))?.to_string_lossy(), "f")?;
        fails(rename2(c"o/f", c"o/d", libc::RENAME_EXCHANGE), libc::EXDEV)?;
        io(fs::create_dir("o/n"))?;
        io(fs::write("o/n/x", "x"))?;
        ok(rename2(c"o/n", c"o/d/a", libc::RENAME_EXCHANGE))?;
        says("o/n", "l/d/a")?;
        says("o/d/a/x", "x")?;
        fails(rename2(c"o/n", c"o/none", libc::RENAME_EXCHANGE), libc::ENOENT)?;
        fails(rename2(c"o/f", c"o/q", libc::RENAME_WHITEOUT), libc::EINVAL)
    })
}

unsafe fn old_descriptor_after_copy_up() -> Done {
    mounted(|| {
        let old = ok(libc::open(c"o/f".as_ptr(), libc::O_RDONLY))?;
        let mapped = map(PAGE, libc::PROT_READ, libc::MAP_SHARED, old)?;
        eq(*mapped, b'l')?;
        let new = ok(libc::open(c"o/f".as_ptr(), libc::O_RDWR))?;
        put(new, b"UPPER and more")?;
        eq(get(old)?, b"UPPER and more")?;
        // A mapping stays one of the file that was mapped.
        eq(*mapped, b'l')?;
        let again = map(PAGE, libc::PROT_READ, libc::MAP_SHARED, old)?;
        eq(*again, b'l')?;
        eq(ok(libc::lseek(old, 0, libc::SEEK_END))?, 14)?;
        let fresh = ok(libc::open(c"o/f".as_ptr(), libc::O_RDONLY))?;
        eq(*map(PAGE, libc::PROT_READ, libc::MAP_SHARED, fresh)?, b'U')
    })
}

unsafe fn unlinked_before_copy_up() -> Done {
    mounted(|| {
        let old = ok(libc::open(c"o/f".as_ptr(), libc::O_RDONLY))?;
        io(fs::remove_file("o/f"))?;
        eq(get(old)?, b"lower")?;
        ok(libc::lseek(old, 1, libc::SEEK_SET))?;
        eq(get(old)?, b"ower")?;
        // It has no name to be written by, so the lower layer stays as it is.
        libc::fchmod(old, 0o600);
        eq(io(fs::metadata("l/f"))?.mode() & 0o777, 0o644)?;
        gone("o/f")
    })
}

unsafe fn hard_links() -> Done {
    in_layers(|| {
        io(fs::write("l/one", "same"))?;
        io(fs::hard_link("l/one", "l/two"))?;
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w,index=off"))?;
        eq(io(fs::metadata("o/one"))?.nlink(), 2)?;
        // A change separates one name from the other.
        io(fs::write("o/one", "changed"))?;
        says("o/two", "same")?;
        eq(io(fs::metadata("o/one"))?.nlink(), 1)?;
        // Names that are given here stay together.
        io(fs::hard_link("o/two", "o/three"))?;
        io(fs::write("o/three", "both"))?;
        says("o/two", "both")?;
        let (two, three) = (io(fs::metadata("o/two"))?, io(fs::metadata("o/three"))?);
        eq((two.ino(), two.nlink()), (three.ino(), 2))?;
        io(fs::remove_file("o/two"))?;
        eq(io(fs::metadata("o/three"))?.nlink(), 1)?;
        error_of(fs::hard_link("o/one", "u/one2"), libc::EXDEV)
    })
}

unsafe fn unnamed_files() -> Done {
    mounted(|| {
        let flags = libc::O_TMPFILE | libc::O_RDWR;
        let fd = ok(libc::open(c"o/d".as_ptr(), flags, 0o640))?;
        put(fd, b"late")?;
        let own = c(&format!("/proc/self/fd/{fd}"));
        let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
        ok(libc::linkat(here, own.as_ptr(), here, c"o/d/named".as_ptr(), follow))?;
        says("o/d/named", "late")?;
        says("u/d/named", "late")?;
        let meta = io(fs::metadata("o/d/named"))?;
        eq((meta.nlink(), meta.mode() & 0o777), (1, 0o640))
    })
}

unsafe fn permissions_are_the_overlays() -> Done {
    mounted(|| {
        io(fs::create_dir("l/open"))?;
        io(fs::write("l/open/theirs", "t"))?;
        io(fs::set_permissions("l/open", fs::Permissions::from_mode(0o777)))?;
        ok(libc::chmod(c".".as_ptr(), 0o755))?;
        ok(libc::chmod(c"..".as_ptr(), 0o755))?;
        in_child(|| {
            drop_root()?;
            error_of(fs::write("o/f", "no"), libc::EACCES)?;
            error_of(fs::remove_file("o/f"), libc::EACCES)?;
            error_of(fs::set_permissions("o/f", fs::Permissions::from_mode(0o777)), libc::EPERM)?;
            // Layers are written to with the rights of whoever mounted.
            io(fs::remove_file("o/open/theirs"))?;
            io(fs::write("o/open/mine", "m"))?;
            let meta = io(fs::metadata("o/open/mine"))?;
            eq((meta.uid(), meta.gid()), (65534, 65534))
        })?;
        gone("u/f")?;
        check(is_whiteout("u/open/theirs"), "a user's unlink left a whiteout")
    })
}

unsafe fn fifo_and_socket() -> Done {
    in_layers(|| {
        ok(libc::mkfifo(c"l/fifo".as_ptr(), 0o666))?;
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w"))?;
        let fifo = ok(libc::open(c"o/fifo".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK))?;
        gone("u/fifo")?;
        put(fifo, b"through")?;
        // It is the same one after it was copied up.
        ok(libc::chmod(c"o/fifo".as_ptr(), 0o600))?;
        let other = ok(libc::open(c"o/fifo".as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK))?;
        eq(get(other)?, b"through")?;
        let listener = io(std::os::unix::net::UnixListener::bind("o/socket"))?;
        let _client = io(std::os::unix::net::UnixStream::connect("o/socket"))?;
        io(listener.accept())?;
        Ok(())
    })
}

unsafe fn runs_programs() -> Done {
    in_layers(|| {
        io(fs::copy(own_path().to_string_lossy().as_ref(), "l/abi"))?;
        ok(mount(c"overlay", c"o", "lowerdir=l,upperdir=u,workdir=w"))?;
        let status = io(std::process::Command::new("o/abi").args(["exit", "3"]).status())?;
        eq(status.code(), Some(3))?;
        check(names("u")?.is_empty(), "to run it nothing was copied")
    })
}
