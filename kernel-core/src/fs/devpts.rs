//! devpts: the directory of pseudoterminals, usually on `/dev/pts`. Source: `Documentation/filesystems/devpts`.
//!
//! Each has pseudoterminals of its own. Its `ptmx` makes them, as does `/dev/ptmx` beside the directory it is mounted on
//! ([`crate::tty::pty::Ptmx`]).

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::AtomicUsize;

use crate::errno::{EINVAL, EIO, ENOENT, Result};
use crate::sync::Mutex;
use crate::task::cred::{Caps, Cred};
use crate::task::user_ns::UserNs;
use crate::tty::PTMX;
use crate::tty::pty::{MAX_PTYS, PtsOptions, Ptys};
use crate::tty::tty::TtyServices;
use crate::vfs::caller::Caller;
use crate::vfs::dir::{DirSink, Directory, DirectoryFile, list_dots};
use crate::vfs::file::{Op, OpenFlags};
use crate::vfs::inode::{
    Device, FileKind, Inode, MODE_BITS, Metadata, Opened, Owner, SetAttr, StatFs, Timestamp,
};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::{FsType, NewFs};

/// `DEVPTS_SUPER_MAGIC`.
const MAGIC: u64 = 0x1cd1;
/// Inode number of the root; `ptmx` has the next, and terminal N has N + 3.
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;

/// A node for a character device: a terminal, or `ptmx`.
pub struct PtsNode {
    ino: u64,
    device: Device,
    ptys: Weak<Ptys>,
    /// The file system's number.
    fs: Device,
    state: Mutex<NodeState>,
}

struct NodeState {
    owner: Owner,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl PtsNode {
    /// The node of a new terminal of `ptys` whose master `cred` has opened.
    pub fn new(ptys: &Arc<Ptys>, device: Device, options: &PtsOptions, cred: &Cred) -> Arc<PtsNode> {
        let owner = Owner::new(
            FileKind::Char.mode_bits() | options.mode & MODE_BITS,
            options.uid.unwrap_or(cred.fsuid),
            options.gid.unwrap_or(cred.fsgid),
        );
        PtsNode::with(u64::from(device.minor) + 3, device, owner, ptys)
    }

    fn with(ino: u64, device: Device, owner: Owner, ptys: &Arc<Ptys>) -> Arc<PtsNode> {
        let now = Timestamp::from_ns(ptys.clock().realtime_ns());
        let state = Mutex::new(NodeState { owner, atime: now, mtime: now, ctime: now });
        Arc::new(PtsNode { ino, device, ptys: Arc::downgrade(ptys), fs: ptys.device, state })
    }
}

impl Inode for PtsNode {
    fn metadata(&self) -> Metadata {
        let state = self.state.lock();
        Metadata {
            dev: self.fs,
            ino: self.ino,
            mode: state.owner.mode,
            nlink: 1,
            uid: state.owner.uid,
            gid: state.owner.gid,
            rdev: self.device,
            size: 0,
            block_size: 1024,
            blocks: 0,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: state.ctime,
        }
    }

    fn owner(&self) -> Owner {
        self.state.lock().owner
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    /// EIO: the master is gone.
    fn open(&self, flags: OpenFlags, caller: &dyn Caller) -> Result<Opened> {
        let ptys = self.ptys.upgrade().ok_or(EIO)?;
        Ok(Opened::File(match self.device {
            PTMX => ptys.open_master(&caller.cred())?,
            device => ptys.get(device.minor).ok_or(EIO)?.tty.open(flags, caller)?,
        }))
    }

    fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        if attr.size.is_some() {
            return Err(EINVAL);
        }
        let now = Timestamp::from_ns(self.ptys.upgrade().ok_or(EIO)?.clock().realtime_ns());
        let mut state = self.state.lock();
        state.owner.change(attr);
        state.atime = attr.atime.map_or(state.atime, |time| time.at(now));
        state.mtime = attr.mtime.map_or(state.mtime, |time| time.at(now));
        state.ctime = now;
        Ok(())
    }
}

fn statfs() -> StatFs {
    StatFs { magic: MAGIC, block_size: 4096, ..StatFs::default() }
}

/// A devpts.
pub struct DevPts {
    root: Arc<Root>,
    /// Whose ids options speak of.
    user_ns: UserNs,
}

impl DevPts {
    /// Shows `ptys`, with the mount options `gid=`, `uid=`, `mode=`, `ptmxmode=`, `max=` and `newinstance`. EINVAL for
    /// any other. `cred` is who mounts it.
    pub fn new(ptys: Arc<Ptys>, options: &[u8], cred: &Cred) -> Result<DevPts> {
        let options = parse_options(options, &cred.user_ns)?;
        ptys.set_options(options);
        let made = Timestamp::from_ns(ptys.clock().realtime_ns());
        let mode = FileKind::Char.mode_bits() | options.ptmx_mode & MODE_BITS;
        let owner = Owner::new(mode, cred.fsuid, cred.fsgid);
        let ptmx = PtsNode::with(PTMX_INO, PTMX, owner, &ptys);
        Ok(DevPts { root: Arc::new(Root { ptys, ptmx, made }), user_ns: cred.user_ns.clone() })
    }
}

/// The type, for `mount(2)`.
pub struct PtsType {
    services: TtyServices,
    /// How many pseudoterminals there are in all.
    used: Arc<AtomicUsize>,
}

impl PtsType {
    /// Without any yet.
    pub fn new(services: TtyServices) -> PtsType {
        PtsType { services, used: Arc::default() }
    }
}

impl FsType for PtsType {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn may_mount(&self, caller: &dyn Caller) -> bool {
        caller.cred().capable_here(Caps::SYS_ADMIN)
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let ptys = Ptys::new(self.services.clone(), new.device, self.used.clone());
        Ok(Arc::new(DevPts::new(ptys, new.options, &new.caller.cred())?))
    }
}

/// The pseudoterminals of the devpts whose root directory `inode` is.
pub fn ptys_of(inode: &dyn Inode) -> Option<Arc<Ptys>> {
    inode.as_any().downcast_ref::<Root>().map(|root| root.ptys.clone())
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.root.ptys.device
    }

    fn has_own_devices(&self) -> bool {
        true
    }

    fn options(&self) -> String {
        let options = self.root.ptys.options();
        let mut text = String::new();
        if let Some(uid) = options.uid {
            text += &format!(",uid={uid}");
        }
        if let Some(gid) = options.gid {
            text += &format!(",gid={gid}");
        }
        text += &format!(",mode={:03o},ptmxmode={:03o}", options.mode, options.ptmx_mode);
        if options.max < MAX_PTYS {
            text += &format!(",max={}", options.max);
        }
        text
    }

    fn remount(&self, options: &[u8]) -> Result<()> {
        let options = parse_options(options, &self.user_ns)?;
        self.root.ptys.set_options(options);
        self.root.ptmx.state.lock().owner.mode = FileKind::Char.mode_bits() | options.ptmx_mode & MODE_BITS;
        Ok(())
    }
}

fn parse_options(text: &[u8], user_ns: &UserNs) -> Result<PtsOptions> {
    let mut options = PtsOptions::default();
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let decimal = || value.parse::<u32>().map_err(|_| EINVAL);
        let mode = || u32::from_str_radix(value, 8).map(|mode| mode & 0o777).map_err(|_| EINVAL);
        match name {
            "uid" => options.uid = Some(user_ns.uid(decimal()?).ok_or(EINVAL)?),
            "gid" => options.gid = Some(user_ns.gid(decimal()?).ok_or(EINVAL)?),
            "mode" => options.mode = mode()?,
            "ptmxmode" => options.ptmx_mode = mode()?,
            "max" => {
                options.max = decimal()? as usize;
                if options.max > MAX_PTYS {
                    return Err(EINVAL);
                }
            }
            "newinstance" if value.is_empty() => {}
            _ => return Err(EINVAL),
        }
    }
    Ok(options)
}

/// The directory.
struct Root {
    ptys: Arc<Ptys>,
    ptmx: Arc<PtsNode>,
    made: Timestamp,
}

impl Inode for Root {
    fn metadata(&self) -> Metadata {
        Metadata {
            dev: self.ptys.device,
            ino: ROOT_INO,
            mode: FileKind::Directory.mode_bits() | 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: Device::default(),
            size: 0,
            block_size: 1024,
            blocks: 0,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            btime: self.made,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        statfs()
    }

    fn open(&self, _: OpenFlags, _: &dyn Caller) -> Result<Opened> {
        Ok(Opened::File(Arc::new(DirectoryFile(OpenRoot { ptys: self.ptys.clone() }))))
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            return Ok(self.ptmx.clone());
        }
        let index = parse_index(name).ok_or(ENOENT)?;
        Ok(self.ptys.get(index).ok_or(ENOENT)?.node)
    }

    /// Terminals come and go with their masters.
    fn names_are_stable(&self) -> bool {
        false
    }
}

/// The number that `name` is, as it is written: without sign and leading zeros.
fn parse_index(name: &[u8]) -> Option<u32> {
    let is_canonical = name == b"0" || name.first().is_some_and(|&first| first != b'0' && first != b'+');
    if !is_canonical {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

/// The directory, open.
struct OpenRoot {
    ptys: Arc<Ptys>,
}

/// Positions of entries: `.`, `..` and `ptmx` have 0 to 2, terminal N has N + 3.
const FIRST_PTS: u64 = 3;

impl Directory for OpenRoot {
    fn read_dir(&self, op: Op<'_>, emit: &mut dyn DirSink) -> Result<()> {
        let mut position = op.file.position.lock();
        if !list_dots(&mut position, ROOT_INO, ROOT_INO, emit)? {
            return Ok(());
        }
        let device = FileKind::Char.dirent_type();
        loop {
            let (ino, next, name) = match *position {
                2 => (PTMX_INO, 3, String::from("ptmx")),
                at => {
                    let from = u32::try_from(at - FIRST_PTS).ok().and_then(|from| self.ptys.next(from));
                    let Some((index, _)) = from else { return Ok(()) };
                    let next = u64::from(index) + FIRST_PTS + 1;
                    (u64::from(index) + 3, next, format!("{index}"))
                }
            };
            if !emit.entry(ino, next, device, name.as_bytes())? {
                return Ok(());
            }
            *position = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_or_refused() {
        let parse_options = |text| parse_options(text, &UserNs::INITIAL);
        let options = parse_options(b"gid=5,mode=620,ptmxmode=666").unwrap();
        let expected = PtsOptions { gid: Some(5), mode: 0o620, ptmx_mode: 0o666, ..PtsOptions::default() };
        assert_eq!(options, expected);
        assert_eq!(parse_options(b""), Ok(PtsOptions::default()));
        for wrong in [&b"gid=x"[..], b"mode=9", b"color=red", b"max=5000", b"newinstance=1"] {
            assert_eq!(parse_options(wrong), Err(EINVAL));
        }
    }

    #[test]
    fn only_the_written_form_names_a_terminal() {
        assert_eq!(parse_index(b"0"), Some(0));
        assert_eq!(parse_index(b"17"), Some(17));
        for name in [&b"00"[..], b"+1", b"-1", b"", b"4294967296", b"x"] {
            assert_eq!(parse_index(name), None);
        }
    }
}
