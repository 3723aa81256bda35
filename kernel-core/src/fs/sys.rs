//! `/sys`: the few files that programs look at. Source: `sysfs(5)`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::sysfs;
use crate::errno::Result;
use crate::fs::proc::tree::{Item, StaticDir};
use crate::fs::proc::{FactFs, Facts};
use crate::fs::pseudo::{Body, Node};
use crate::vfs::inode::{Device, Inode};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::FsType;
use Item::{Dir, File, Made};

/// `SYSFS_MAGIC`.
const MAGIC: u64 = 0x6265_6572;
const ROOT_INO: u64 = 1;

const ROOT: &[Item] = &[
    Made("block", |facts| sysfs::block(&facts.disks)),
    Dir("bus", &[]),
    Dir("class", &[Made("block", |facts| sysfs::class(&facts.disks)), Dir("net", &[]), Dir("tty", &[])]),
    Dir("dev", &[Made("block", |facts| sysfs::numbers(&facts.disks)), Dir("char", &[])]),
    Dir(
        "devices",
        &[
            Made("platform", |facts| sysfs::platforms(&facts.disks)),
            Dir(
                "system",
                &[
                    Dir(
                        "cpu",
                        &[
                            File("online", |facts, _| Ok(cpus(facts))),
                            File("possible", |facts, _| Ok(cpus(facts))),
                            File("present", |facts, _| Ok(cpus(facts))),
                            File("kernel_max", |_, _| Ok(b"8191\n".to_vec())),
                        ],
                    ),
                    Dir("node", &[File("online", |_, _| zero()), File("possible", |_, _| zero())]),
                ],
            ),
        ],
    ),
    Dir("firmware", &[]),
    Dir("fs", &[Dir("cgroup", &[])]),
    Dir(
        "kernel",
        &[Dir(
            "mm",
            &[Dir(
                "transparent_hugepage",
                &[
                    File("enabled", |_, _| Ok(b"always madvise [never]\n".to_vec())),
                    File("hpage_pmd_size", |_, _| Ok(b"2097152\n".to_vec())),
                ],
            )],
        )],
    ),
    Dir("module", &[]),
];

fn zero() -> Result<Vec<u8>> {
    Ok(b"0\n".to_vec())
}

/// The list of vCPUs.
fn cpus(facts: &Facts) -> Vec<u8> {
    match facts.source.system().cpus {
        0 | 1 => b"0\n".to_vec(),
        cpus => format!("0-{}\n", cpus - 1).into_bytes(),
    }
}

/// The type `sysfs`.
pub struct SysType(pub Arc<Facts>);

impl FsType for SysType {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn mount(&self, _: &[u8], _: &[u8], device: Device) -> Result<Arc<dyn FileSystem>> {
        let fs = FactFs::new(&self.0, device, MAGIC);
        let listing = StaticDir::new(&fs, ROOT, ROOT_INO);
        let root = Node::new(fs.attr(ROOT_INO, 0o555), Body::Directory(Arc::new(listing)));
        Ok(Arc::new(Sys { device, root }))
    }
}

struct Sys {
    device: Device,
    root: Arc<Node>,
}

impl FileSystem for Sys {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> Device {
        self.device
    }
}
