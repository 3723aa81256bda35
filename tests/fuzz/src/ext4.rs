//! ext4 and ext2 on damaged disks: mounted, walked, read, written.
//!
//! The disks in `images/` are made by `images/make.sh`; their metadata has no checksums, which damage would not get past.

use std::sync::{Arc, OnceLock};

use arbitrary::Unstructured;
use kernel_core::block::testing::TestDisk;
use kernel_core::boot::BootConfig;
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, HERE};
use crate::instance;

const IMAGES: [&[u8]; 2] = [include_bytes!("../images/ext4.gz"), include_bytes!("../images/ext2.gz")];
static UNPACKED: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];

const PATHS: [&[u8]; 10] = [
    b"/mnt",
    b"/mnt/file",
    b"/mnt/big",
    b"/mnt/dir",
    b"/mnt/dir/a",
    b"/mnt/link",
    b"/mnt/long",
    b"/mnt/many",
    b"/mnt/many/17",
    b"/mnt/new",
];

/// Where there is something in the images, in bytes: damage elsewhere changes nothing.
const METADATA: u64 = 96 << 10;

/// The bytes choose a disk, its damage, and what is done with it.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let Ok((disk, calls)) = any(&mut choices) else { return };
    let config = BootConfig { disks: vec![(0, Arc::new(TestDisk::new(disk)))], ..instance::config(&[]) };
    instance::run_calls(config, calls);
}

fn image(number: usize) -> Vec<u8> {
    let unpacked = UNPACKED[number].get_or_init(|| {
        // A header of ten bytes without a name, the data, a checksum and a length.
        let packed = IMAGES[number];
        miniz_oxide::inflate::decompress_to_vec(&packed[10..packed.len() - 8]).expect("an image")
    });
    unpacked.clone()
}

fn any(choices: &mut Unstructured<'_>) -> arbitrary::Result<(Vec<u8>, Vec<Call>)> {
    let mut disk = image(choices.int_in_range(0..=IMAGES.len() - 1)?);
    for _ in 0..choices.int_in_range(0..=8)? {
        let at = match choices.int_in_range(0..=3)? {
            // The superblock and the group descriptors.
            0 => 1024 + u64::from(choices.arbitrary::<u16>()? % 1200),
            _ => choices.int_in_range(0..=METADATA)?,
        } as usize;
        let len = choices.int_in_range(1..=8)?;
        let bytes = choices.bytes(len)?;
        disk[at..at + len].copy_from_slice(bytes);
    }
    let kind: &[u8] = if choices.ratio(3, 4)? { b"ext4" } else { b"ext2" };
    let mount = Call::new(sys::__NR_mount, &[]).path(0, b"/dev/ubda").path(1, b"/mnt").path(2, kind);
    let mut calls = vec![mount];
    while !choices.is_empty() && calls.len() < 40 {
        act(choices, &mut calls)?;
    }
    calls.push(Call::new(sys::__NR_umount2, &[0, 0]).path(0, b"/mnt"));
    Ok((disk, calls))
}

fn act(choices: &mut Unstructured<'_>, calls: &mut Vec<Call>) -> arbitrary::Result<()> {
    let path = *choices.choose(&PATHS)?;
    let on_path = |number, args: &[u64]| Call::new(number, args).path(1, path);
    match choices.int_in_range(0..=10)? {
        0 => calls.push(on_path(sys::__NR_newfstatat, &[HERE, 0, DATA + 0x8000, 0x100])),
        1 | 2 => {
            let at = u64::from(choices.arbitrary::<u16>()?) << choices.int_in_range(0..=20)?;
            calls.push(on_path(sys::__NR_openat, &[HERE, 0, 0, 0]));
            calls.push(Call::new(sys::__NR_getdents64, &[3, DATA, 0x4000]));
            calls.push(Call::new(sys::__NR_pread64, &[3, DATA, 0x4000, at]));
            calls.push(Call::new(sys::__NR_close, &[3]));
        }
        3 => calls.push(on_path(sys::__NR_readlinkat, &[HERE, 0, DATA + 0x4000, 0x1000])),
        4 | 5 => {
            let at = u64::from(choices.arbitrary::<u16>()?) << choices.int_in_range(0..=8)?;
            calls.push(on_path(sys::__NR_openat, &[HERE, 0, 0o102, 0o644]));
            calls.push(Call::new(sys::__NR_pwrite64, &[3, DATA, 0x3000, at]));
            calls.push(Call::new(sys::__NR_fsync, &[3]));
            calls.push(Call::new(sys::__NR_close, &[3]));
        }
        6 => calls.push(on_path(sys::__NR_unlinkat, &[HERE, 0, *choices.choose(&[0, 0x200])?])),
        7 => calls.push(on_path(sys::__NR_mkdirat, &[HERE, 0, 0o755])),
        8 => {
            calls.push(Call::new(sys::__NR_truncate, &[0, choices.arbitrary::<u16>()?.into()]).path(0, path))
        }
        9 => {
            let to = *choices.choose(&PATHS)?;
            calls.push(on_path(sys::__NR_renameat, &[HERE, 0, HERE]).path(3, to));
        }
        _ => calls.push(Call::new(sys::__NR_sync, &[])),
    }
    Ok(())
}
