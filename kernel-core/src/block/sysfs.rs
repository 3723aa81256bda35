//! What `/sys` shows of disks. Source: the kernel's `Documentation/ABI/stable/sysfs-block`, as far as User-mode Linux
//! has it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Disk, Disks, MINORS, Volume, sectors};
use crate::fs::made::{Made, Make};
use crate::host::block::BlockDevice;

type Entries = Vec<(String, Made)>;

/// Where a volume's directory is, below `/sys`.
fn place(disk: &Disk, volume: &Volume) -> String {
    let whole = &disk.whole.name;
    let folder = match disk.looped {
        Some(_) => format!("devices/virtual/block/{whole}"),
        None => format!("devices/platform/{}/block/{whole}", platform(disk)),
    };
    if volume.partition.is_some() { format!("{folder}/{}", volume.name) } else { folder }
}

fn platform(disk: &Disk) -> String {
    format!("uml-blkdev.{}", disk.whole.number.minor / MINORS)
}

fn links(disks: &Disks, up: &str, name: impl Fn(&Volume) -> String, partitions: bool) -> Entries {
    let mut entries = Vec::new();
    for disk in disks.all() {
        let parts = if partitions { disk.partitions() } else { Vec::new() };
        for volume in [disk.whole.clone()].iter().chain(&parts) {
            entries.push((name(volume), Made::Link(format!("{up}{}", place(&disk, volume)))));
        }
    }
    entries
}

/// `/sys/block`.
pub fn block(disks: &Arc<Disks>) -> Make {
    let disks = disks.clone();
    Box::new(move || links(&disks, "../", |volume| volume.name.clone(), false))
}

/// `/sys/class/block`.
pub fn class(disks: &Arc<Disks>) -> Make {
    let disks = disks.clone();
    Box::new(move || links(&disks, "../../", |volume| volume.name.clone(), true))
}

/// `/sys/dev/block`.
pub fn numbers(disks: &Arc<Disks>) -> Make {
    let disks = disks.clone();
    let number = |volume: &Volume| format!("{}:{}", volume.number.major, volume.number.minor);
    Box::new(move || links(&disks, "../../", number, true))
}

/// `/sys/devices/platform`.
pub fn platforms(disks: &Arc<Disks>) -> Make {
    let disks = disks.clone();
    Box::new(move || {
        let all = disks.all().into_iter().filter(|disk| disk.looped.is_none());
        all.map(|disk| (platform(&disk), directory(move || platform_dir(&disk)))).collect()
    })
}

/// `/sys/devices/virtual/block`.
pub fn loops(disks: &Arc<Disks>) -> Make {
    let disks = disks.clone();
    Box::new(move || {
        let all = disks.all().into_iter().filter(|disk| disk.looped.is_some());
        all.map(|disk| (disk.whole.name.clone(), directory(move || whole(&disk)))).collect()
    })
}

fn directory(make: impl Fn() -> Entries + Send + Sync + 'static) -> Made {
    Made::Directory(Box::new(make))
}

fn platform_dir(disk: &Arc<Disk>) -> Entries {
    let disk = disk.clone();
    let block = move || {
        let inner = disk.clone();
        alloc::vec![(disk.whole.name.clone(), directory(move || whole(&inner)))]
    };
    alloc::vec![("block".to_string(), directory(block))]
}

fn text(name: &str, value: impl ToString) -> (String, Made) {
    (name.to_string(), Made::Text(format!("{}\n", value.to_string())))
}

/// What disks and partitions have alike.
fn common(volume: &Volume, kind: &str, up: &str) -> Entries {
    let (major, minor, name) = (volume.number.major, volume.number.minor, &volume.name);
    let mut uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE={kind}");
    if let Some(number) = volume.partition {
        uevent.push_str(&format!("\nPARTN={number}"));
    }
    alloc::vec![
        text("alignment_offset", 0),
        text("dev", format!("{major}:{minor}")),
        text("ro", u8::from(volume.read_only())),
        text("size", sectors(volume.size())),
        text("uevent", uevent),
        ("holders".to_string(), directory(Vec::new)),
        ("subsystem".to_string(), Made::Link(format!("{up}class/block"))),
    ]
}

fn whole(disk: &Arc<Disk>) -> Entries {
    let up = if disk.looped.is_some() { "../../../../" } else { "../../../../../" };
    let mut entries = common(&disk.whole, "disk", up);
    match &disk.looped {
        Some(looped) => {
            let made = looped.facts().map(|facts| {
                move || -> Entries { facts.iter().map(|(name, value)| text(name, value)).collect() }
            });
            entries.extend(made.map(|made| ("loop".to_string(), directory(made))));
        }
        None => {
            entries.push(("device".to_string(), Made::Link(format!("../../../{}", platform(disk)))));
        }
    }
    entries.extend([
        text("hidden", 0),
        text("range", if disk.looped.is_some() { 1 } else { MINORS }),
        text("removable", 0),
        ("queue".to_string(), directory(queue)),
        ("slaves".to_string(), directory(Vec::new)),
    ]);
    for part in disk.partitions() {
        let up = format!("../{up}");
        entries.push((part.name.clone(), directory(move || partition(&part, &up))));
    }
    entries
}

fn partition(part: &Volume, up: &str) -> Entries {
    let mut entries = common(part, "partition", up);
    entries.push(text("partition", part.partition.unwrap_or_default()));
    entries.push(text("start", sectors(part.start())));
    entries
}

fn queue() -> Entries {
    alloc::vec![
        text("discard_granularity", 512),
        text("discard_zeroes_data", 0),
        text("hw_sector_size", 512),
        text("logical_block_size", 512),
        text("minimum_io_size", 512),
        text("optimal_io_size", 0),
        text("physical_block_size", 512),
        text("read_ahead_kb", 128),
        text("rotational", 0),
        text("write_cache", "write back"),
        text("zoned", "none"),
    ]
}
