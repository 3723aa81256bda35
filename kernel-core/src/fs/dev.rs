//! `/dev`: a tmpfs with the nodes that the kernel makes, and the memory devices. Sources: `null(4)`, `full(4)`,
//! `random(4)`, the kernel's `admin-guide/devices`.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{EAGAIN, EINVAL, ENOSPC, ENXIO, Result};
use crate::fs::proc::source::ProcessSource;
use crate::fs::tmpfs::{Options, Tmpfs};
use crate::io::{Sink, Source};
use crate::mm::cache::{Backing, PageCache};
use crate::services::Services;
use crate::vfs::device::{Devices, Opener, Special};
use crate::vfs::file::{FileOps, Op, Whence};
use crate::vfs::inode::{Device, NewAttr, NewNode, S_ISVTX};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::{FsType, NewFs};

/// The driver of memory devices.
const MEM: u32 = 1;
const NULL: u32 = 3;
const ZERO: u32 = 5;
const FULL: u32 = 7;
const RANDOM: u32 = 8;
const URANDOM: u32 = 9;
const KMSG: u32 = 11;

/// Most random bytes of one read.
const RANDOM_MAX: usize = 32 << 20;
/// Longest line that a guest may log.
const LINE_MAX: usize = 1024;
/// Size of `/dev/zero` as far as mappings are concerned.
const ZERO_LEN: u64 = 1 << 46;

/// The nodes: name, device, permissions.
const NODES: &[(&[u8], Device, u32)] = &[
    (b"null", Device::new(MEM, NULL), 0o666),
    (b"zero", Device::new(MEM, ZERO), 0o666),
    (b"full", Device::new(MEM, FULL), 0o666),
    (b"random", Device::new(MEM, RANDOM), 0o666),
    (b"urandom", Device::new(MEM, URANDOM), 0o666),
    (b"kmsg", Device::new(MEM, KMSG), 0o644),
    (b"tty", Device::new(5, 0), 0o666),
    (b"console", Device::new(5, 1), 0o600),
    (b"ptmx", Device::new(5, 2), 0o666),
    (b"loop-control", crate::block::loop_control::DEVICE, 0o660),
];

const LINKS: &[(&[u8], &[u8])] = &[
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

const DIRS: &[(&[u8], u32)] = &[(b"pts", 0o755), (b"shm", 0o777 | S_ISVTX)];

/// A new `/dev` with all nodes. There is one of an instance, shown wherever `devtmpfs` is mounted.
pub fn devtmpfs(services: &Arc<Services>, device: Device) -> Result<Arc<Tmpfs>> {
    let dev = Tmpfs::new(
        services,
        "devtmpfs",
        device,
        Options { mode: 0o755, ..Options::of_half(services.ram.total()) },
    );
    let root = dev.root_dir();
    let attr = |mode| NewAttr { mode, uid: 0, gid: 0 };
    for &(name, node, mode) in NODES {
        root.make_child(name, NewNode::Char(node), &attr(mode))?;
    }
    for &(name, target) in LINKS {
        root.make_child(name, NewNode::Symlink(target), &attr(0o777))?;
    }
    for &(name, mode) in DIRS {
        root.make_child(name, NewNode::Directory, &attr(mode))?;
    }
    Ok(dev)
}

/// The type `devtmpfs`: every mount shows the same tree.
pub struct DevType(pub Arc<Tmpfs>);

impl FsType for DevType {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(&self, _: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        Ok(self.0.clone())
    }
}

/// Registers the memory devices.
pub fn register(devices: &Devices, services: &Arc<Services>, source: &Arc<dyn ProcessSource>) {
    let opener = MemOpener { services: services.clone(), source: source.clone() };
    devices.register_char_major(MEM, Arc::new(opener));
}

struct MemOpener {
    services: Arc<Services>,
    source: Arc<dyn ProcessSource>,
}

impl Opener for MemOpener {
    fn open(&self, file: &Special<'_>) -> Result<Arc<dyn FileOps>> {
        let services = self.services.clone();
        Ok(match file.device.minor {
            NULL => Arc::new(Null),
            ZERO => Arc::new(Zero { services, write: ZeroWrite::Discard }),
            FULL => Arc::new(Zero { services, write: ZeroWrite::Full }),
            RANDOM | URANDOM => Arc::new(Random { services }),
            KMSG => Arc::new(Kmsg { source: self.source.clone(), next: AtomicU64::new(0) }),
            _ => return Err(ENXIO),
        })
    }
}

/// Takes all that is left of `src`, and says how much that was. The bytes are not looked at, as Linux does not.
fn discard(src: &mut dyn Source) -> Result<usize> {
    Ok(src.remaining())
}

struct Null;

impl FileOps for Null {
    fn read(&self, _: Op<'_>, _: &mut dyn Sink) -> Result<usize> {
        Ok(0)
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        discard(src)
    }

    fn read_at(&self, _: Op<'_>, _: u64, _: &mut dyn Sink) -> Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _: Op<'_>, _: u64, src: &mut dyn Source) -> Result<usize> {
        discard(src)
    }

    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ZeroWrite {
    Discard,
    Full,
}

/// `/dev/zero` and `/dev/full`.
struct Zero {
    services: Arc<Services>,
    write: ZeroWrite,
}

impl FileOps for Zero {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        dst.put_zeros(dst.remaining())
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        match self.write {
            ZeroWrite::Discard => discard(src),
            ZeroWrite::Full => Err(ENOSPC),
        }
    }

    fn read_at(&self, op: Op<'_>, _: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.read(op, dst)
    }

    fn write_at(&self, op: Op<'_>, _: u64, src: &mut dyn Source) -> Result<usize> {
        self.write(op, src)
    }

    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    /// Every mapping is memory of its own.
    fn mappable(&self, _: Op<'_>) -> Result<Arc<PageCache>> {
        let cache = PageCache::new(&self.services.ram, Backing::Empty);
        cache.truncate(ZERO_LEN)?;
        Ok(cache)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/random` and `/dev/urandom`: the host's entropy needs no waiting.
struct Random {
    services: Arc<Services>,
}

impl FileOps for Random {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let mut chunk = [0; 1024];
        let mut done = 0;
        while dst.remaining() > 0 && done < RANDOM_MAX {
            let len = dst.remaining().min(chunk.len());
            let bytes = chunk.get_mut(..len).unwrap_or_default();
            self.services.clock.entropy(bytes);
            match dst.put(bytes) {
                Ok(0) => break,
                Ok(put) => done += put,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// What is written is taken for added entropy, of which there is enough.
    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        discard(src)
    }

    fn read_at(&self, op: Op<'_>, _: u64, dst: &mut dyn Sink) -> Result<usize> {
        self.read(op, dst)
    }

    fn seek(&self, _: Op<'_>, _: i64, _: Whence) -> Result<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/kmsg`: one record a read, one line a write.
struct Kmsg {
    source: Arc<dyn ProcessSource>,
    next: AtomicU64,
}

impl FileOps for Kmsg {
    fn read(&self, _: Op<'_>, dst: &mut dyn Sink) -> Result<usize> {
        let Some((sequence, text)) = self.source.log_record(self.next.load(Ordering::Relaxed)) else {
            return Err(EAGAIN);
        };
        if text.len() > dst.remaining() {
            return Err(EINVAL);
        }
        dst.put_all(&text)?;
        self.next.store(sequence + 1, Ordering::Relaxed);
        Ok(text.len())
    }

    fn write(&self, _: Op<'_>, src: &mut dyn Source) -> Result<usize> {
        let mut line = [0; LINE_MAX];
        let len = src.remaining();
        if len > LINE_MAX {
            return Err(EINVAL);
        }
        let line = line.get_mut(..len).unwrap_or_default();
        src.take_all(line)?;
        self.source.log(line);
        Ok(len)
    }

    fn seek(&self, _: Op<'_>, _: i64, whence: Whence) -> Result<u64> {
        match whence {
            Whence::Set | Whence::Data => self.next.store(0, Ordering::Relaxed),
            Whence::End => {
                while let Some((sequence, _)) = self.source.log_record(self.next.load(Ordering::Relaxed)) {
                    self.next.store(sequence + 1, Ordering::Relaxed);
                }
            }
            _ => return Err(EINVAL),
        }
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
