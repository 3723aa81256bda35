//! `/sys`: the few files that programs look at. Source: `sysfs(5)`.

pub(super) mod cpu;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::block::sysfs;
use crate::errno::Result;
use crate::fs::cgroup::files;
use crate::fs::proc::tree::{Item, StaticDir};
use crate::fs::proc::{FactFs, Facts};
use crate::fs::pseudo::{Body, Node};
use crate::vfs::inode::{Device, Inode};
use crate::vfs::mount::FileSystem;
use crate::vfs::types::{FsType, NewFs};
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
            Dir("virtual", &[Made("block", |facts| sysfs::loops(&facts.disks))]),
            Dir(
                "system",
                &[
                    Made("cpu", cpu::directory),
                    Dir("node", &[File("online", |_, _| zero()), File("possible", |_, _| zero())]),
                ],
            ),
        ],
    ),
    Dir("firmware", &[]),
    Dir("fs", &[Dir("cgroup", &[])]),
    Dir(
        "kernel",
        &[
            File("address_bits", |_, _| Ok(b"64\n".to_vec())),
            Dir(
                "cgroup",
                &[
                    File("delegate", |_, _| {
                        Ok(files::delegated_names()
                            .flat_map(|name| [name, "\n"])
                            .collect::<String>()
                            .into_bytes())
                    }),
                    File("features", |_, _| Ok(b"nsdelegate\n".to_vec())),
                ],
            ),
            File("cpu_byteorder", |_, _| Ok(b"little\n".to_vec())),
            // Capabilities of files are honoured.
            File("fscaps", |_, _| Ok(b"1\n".to_vec())),
            Dir(
                "mm",
                &[Dir(
                    "transparent_hugepage",
                    &[
                        File("enabled", |_, _| Ok(b"always madvise [never]\n".to_vec())),
                        File("hpage_pmd_size", |_, _| Ok(b"2097152\n".to_vec())),
                    ],
                )],
            ),
            // Nothing comes or goes, so nobody is ever told.
            File("uevent_seqnum", |_, _| Ok(b"0\n".to_vec())),
        ],
    ),
    Dir("module", &[]),
];

fn zero() -> Result<Vec<u8>> {
    Ok(b"0\n".to_vec())
}

/// The type `sysfs`.
pub struct SysType(pub Arc<Facts>);

impl FsType for SysType {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn mount(&self, new: &NewFs<'_>) -> Result<Arc<dyn FileSystem>> {
        let device = new.device;
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
