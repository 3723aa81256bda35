//! What the host says is mapped in one of its processes: `/proc/PID/maps`. Source: `proc_pid_maps(5)`.

use std::ops::Range;

use anyhow::{Context, Result};

/// A line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMapping {
    /// Addresses.
    pub range: Range<u64>,
    /// Loads are allowed.
    pub readable: bool,
    /// Stores are allowed.
    pub writable: bool,
    /// Instructions may be fetched.
    pub executable: bool,
    /// Stores go to the file.
    pub shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// Device and inode number of the file; nothing of other memory.
    pub file: Option<(String, u64)>,
    /// The file's path, a label in brackets, or empty.
    pub name: String,
}

impl HostMapping {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The part of the file that is mapped.
    pub fn file_range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes())
    }
}

/// What is mapped in a process of the host now.
pub fn read(pid: i32) -> Result<Vec<HostMapping>> {
    let path = format!("/proc/{pid}/maps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&text).with_context(|| format!("cannot understand {path}"))
}

/// The lines of a maps file.
pub fn parse(text: &str) -> Result<Vec<HostMapping>> {
    text.lines().map(|line| parse_line(line).with_context(|| format!("the line `{line}`"))).collect()
}

fn parse_line(line: &str) -> Option<HostMapping> {
    let mut rest = line;
    let mut field = || {
        let (word, after) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        rest = after;
        word
    };
    let (start, end) = field().split_once('-')?;
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let range = hex(start)?..hex(end)?;
    let &[read, write, execute, share] = field().as_bytes() else { return None };
    let (offset, device) = (hex(field())?, field().to_owned());
    let inode: u64 = field().parse().ok()?;
    (range.start < range.end).then(|| HostMapping {
        range,
        readable: read == b'r',
        writable: write == b'w',
        executable: execute == b'x',
        shared: share == b's',
        offset,
        file: (inode != 0).then_some((device, inode)),
        name: rest.trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_host_are_understood() {
        let text = "\
10000000-10040000 rw-s 00200000 00:01 2061                               /memfd:lodger-ram (deleted)
7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0                          [vdso]
7ffff7fc3000-7ffff7fc4000 ---p 00000000 00:00 0 
";
        let [ram, vdso, guard] = &parse(text).unwrap()[..] else { panic!() };
        assert_eq!((ram.range.clone(), ram.file_range()), (0x1000_0000..0x1004_0000, 0x20_0000..0x24_0000));
        assert!(ram.readable && ram.writable && !ram.executable && ram.shared);
        assert_eq!(ram.file, Some(("00:01".into(), 2061)));
        assert_eq!(ram.name, "/memfd:lodger-ram (deleted)");
        assert_eq!((&vdso.name[..], &vdso.file, vdso.executable), ("[vdso]", &None, true));
        assert!(!guard.readable && guard.name.is_empty());
        for wrong in ["7f-7e rw-p 0 00:00 0", "7e-7f rw 0 00:00 0", "x-y rw-p 0 00:00 0", "7e-7f rw-p 0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_process_can_be_read() {
        let own = read(std::process::id().cast_signed()).unwrap();
        let here = &raw const own as u64;
        assert!(own.iter().any(|mapping| mapping.range.contains(&here) && mapping.writable));
    }
}
