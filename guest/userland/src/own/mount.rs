//! `mount` and `umount`, see mount(8) and mount(2).

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{c_string, fail, last_error, plain, usage};

const MOUNT_USAGE: &str = "mount [-r] [-t TYPE] [-o OPTIONS] [--bind|--rbind|--move] SOURCE TARGET";

/// Options that are flags of mount(2): name, flags to set, flags to clear.
const FLAGS: &[(&str, u64, u64)] = &[
    ("defaults", 0, 0),
    ("ro", libc::MS_RDONLY, 0),
    ("rw", 0, libc::MS_RDONLY),
    ("nosuid", libc::MS_NOSUID, 0),
    ("suid", 0, libc::MS_NOSUID),
    ("nodev", libc::MS_NODEV, 0),
    ("dev", 0, libc::MS_NODEV),
    ("noexec", libc::MS_NOEXEC, 0),
    ("exec", 0, libc::MS_NOEXEC),
    ("sync", libc::MS_SYNCHRONOUS, 0),
    ("async", 0, libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC, 0),
    ("noatime", libc::MS_NOATIME, 0),
    ("atime", 0, libc::MS_NOATIME),
    ("nodiratime", libc::MS_NODIRATIME, 0),
    ("relatime", libc::MS_RELATIME, 0),
    ("strictatime", libc::MS_STRICTATIME, 0),
    ("remount", libc::MS_REMOUNT, 0),
    ("bind", libc::MS_BIND, 0),
    ("rbind", libc::MS_BIND | libc::MS_REC, 0),
    ("move", libc::MS_MOVE, 0),
    ("shared", libc::MS_SHARED, 0),
    ("private", libc::MS_PRIVATE, 0),
    ("slave", libc::MS_SLAVE, 0),
    ("unbindable", libc::MS_UNBINDABLE, 0),
    ("rprivate", libc::MS_PRIVATE | libc::MS_REC, 0),
    ("rshared", libc::MS_SHARED | libc::MS_REC, 0),
    ("rslave", libc::MS_SLAVE | libc::MS_REC, 0),
];

/// Operations that take no type: the file system is there already.
const NO_TYPE: u64 = libc::MS_REMOUNT
    | libc::MS_BIND
    | libc::MS_MOVE
    | libc::MS_SHARED
    | libc::MS_PRIVATE
    | libc::MS_SLAVE
    | libc::MS_UNBINDABLE;

/// Flags of mount(2), and the rest of the options for the file system.
#[derive(Debug, Default, PartialEq)]
struct Options {
    flags: u64,
    data: Vec<u8>,
}

impl Options {
    fn add(&mut self, list: &OsStr) {
        for word in list.as_bytes().split(|&b| b == b',').filter(|word| !word.is_empty()) {
            match FLAGS.iter().find(|(name, ..)| name.as_bytes() == word) {
                Some((_, set, clear)) => self.flags = (self.flags | set) & !clear,
                None => {
                    if !self.data.is_empty() {
                        self.data.push(b',');
                    }
                    self.data.extend(word);
                }
            }
        }
    }
}

/// `mount`: without arguments it lists what is mounted.
pub fn mount(words: &[OsString]) -> i32 {
    let (mut kind, mut options, mut operands) = (None, Options::default(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"-t" => kind = words.next().cloned(),
            b"-o" => options.add(words.next().map_or(OsStr::new(""), OsString::as_os_str)),
            b"-r" => options.add(OsStr::new("ro")),
            b"-w" => options.add(OsStr::new("rw")),
            b"-n" => {}
            flag if flag.starts_with(b"--make-") => options.add(OsStr::from_bytes(&flag[7..])),
            b"--bind" | b"--rbind" | b"--move" => options.add(OsStr::from_bytes(&word.as_bytes()[2..])),
            flag if flag.len() > 1 && flag[0] == b'-' => match (flag[1], flag.len() > 2) {
                (b't', true) => kind = Some(OsString::from_vec(flag[2..].to_vec())),
                (b'o', true) => options.add(OsStr::from_bytes(&flag[2..])),
                _ => return usage(MOUNT_USAGE),
            },
            _ => operands.push(word.clone()),
        }
    }
    let (source, target) = match operands.as_slice() {
        [] if options == Options::default() => return list(kind.as_deref()),
        [source, target] => (source.clone(), target.clone()),
        // A change of what is mounted needs no source.
        [target] if options.flags & NO_TYPE != 0 => ("none".into(), target.clone()),
        _ => return usage(MOUNT_USAGE),
    };
    let kinds = match kind {
        Some(kind) => vec![kind],
        None if options.flags & NO_TYPE != 0 => vec!["none".into()],
        None => disk_file_systems(),
    };
    if kinds.is_empty() {
        return fail("mount", "this kernel has no file system for disks; name one with -t");
    }
    let mut why = String::new();
    for kind in kinds {
        match mount_one(&source, &target, &kind, &options) {
            Ok(()) => return 0,
            Err(error) => why = error,
        }
    }
    fail("mount", format!("cannot mount {} on {}: {why}", source.display(), target.display()))
}

fn mount_one(source: &OsStr, target: &OsStr, kind: &OsStr, options: &Options) -> Result<(), String> {
    let (source, target, kind) = (c_string(source), c_string(target), c_string(kind));
    let data = CString::new(options.data.clone()).unwrap_or_default();
    // SAFETY: all pointers are strings that outlive the call.
    let done = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), options.flags, data.as_ptr().cast())
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// The types to try when none is named, see /proc/filesystems in proc(5).
fn disk_file_systems() -> Vec<OsString> {
    let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    list.lines().filter(|line| !line.starts_with("nodev")).map(|line| line.trim().into()).collect()
}

fn list(kind: Option<&OsStr>) -> i32 {
    let mounts = match std::fs::read("/proc/self/mounts") {
        Ok(mounts) => mounts,
        Err(error) => return fail("mount", format!("/proc/self/mounts: {}", plain(&error))),
    };
    for entry in entries(&mounts) {
        let show = |at: usize| String::from_utf8_lossy(&entry[at]).into_owned();
        if kind.is_none_or(|kind| kind.as_bytes() == entry[2]) {
            println!("{} on {} type {} ({})", show(0), show(1), show(2), show(3));
        }
    }
    0
}

/// The lines of /proc/mounts: source, target, type, options; unescaped.
fn entries(mounts: &[u8]) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let fields = |line: &[u8]| -> Vec<Vec<u8>> { line.split(|&b| b == b' ').map(unescape).collect() };
    mounts.split(|&b| b == b'\n').map(fields).filter(|entry| entry.len() >= 4)
}

/// Undoes `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, tail.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

/// `umount [-l] [-f] TARGET...`, a target or the source that is mounted there.
pub fn umount(words: &[OsString]) -> i32 {
    let (mut flags, mut targets) = (0, Vec::new());
    for word in words {
        match word.as_bytes() {
            b"-l" => flags |= libc::MNT_DETACH,
            b"-f" => flags |= libc::MNT_FORCE,
            flag if flag.len() > 1 && flag[0] == b'-' => return usage("umount [-l] [-f] TARGET..."),
            _ => targets.push(word),
        }
    }
    if targets.is_empty() {
        return usage("umount [-l] [-f] TARGET...");
    }
    let mounts = std::fs::read("/proc/self/mounts").unwrap_or_default();
    let mut status = 0;
    for target in targets {
        // The last mount of a device is the one on top.
        let by_source = entries(&mounts).filter(|entry| entry[0] == target.as_bytes()).last();
        let is_target = entries(&mounts).any(|entry| entry[1] == target.as_bytes());
        let path = match by_source {
            Some(entry) if !is_target => CString::new(entry[1].clone()).unwrap_or_default(),
            _ => c_string(target),
        };
        // SAFETY: the pointer is a string that outlives the call.
        if unsafe { libc::umount2(path.as_ptr(), flags) } != 0 {
            status = fail("umount", format!("{}: {}", target.display(), last_error()));
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_data_and_the_last_word_wins() {
        let mut options = Options::default();
        options.add(OsStr::new("ro,size=1m,nosuid,rw"));
        options.add(OsStr::new("mode=755"));
        assert_eq!(options, Options { flags: libc::MS_NOSUID, data: b"size=1m,mode=755".to_vec() });
    }

    #[test]
    fn mount_points_are_unescaped() {
        let found: Vec<_> = entries(b"none /a\\040b\\134 tmpfs rw 0 0\n").collect();
        assert_eq!(found[0][1], b"/a b\\");
        assert_eq!(unescape(b"x\\0"), b"x\\0");
    }
}
