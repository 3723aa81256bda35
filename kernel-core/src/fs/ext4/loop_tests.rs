//! ext4 on loop devices, and on those that are on it in turn.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::tests::{MIB, Machine, complaints, formatted};
use super::*;
use crate::block::loops::{LoopConfig, LoopDevice};
use crate::errno::{EBUSY, ELOOP};
use crate::mm::reclaim::Reach;
use crate::task::user_ns::UserNs;
use crate::vfs::file::OpenFlags;
use crate::vfs::mount::Unmount;

/// Mounts the ext4 in a file, as `mount -o loop` does.
fn mount_file(machine: &Machine, mounted: &Arc<Mounted>, file: &str, at: &str) -> Result<Arc<LoopDevice>> {
    let world = &machine.world;
    let number = mounted.disks.add_loop(None)?;
    let device = mounted.disks.looped(number).unwrap();
    device.opened();
    let file = world.open(file, OpenFlags::RDWR)?;
    let mut config = LoopConfig::of(0);
    config.info.flags = crate::block::loops::AUTOCLEAR;
    let name = format!("loop{number}");
    let bound = device.bind(file, String::new(), true, &config);
    let done = bound.and_then(|()| {
        let number = Device::new(crate::block::loops::MAJOR, number);
        let fs = mounted.mount("ext4", number, MountFlags::empty(), b"")?;
        let at = world.resolve(at)?;
        world.context.namespace().mount(fs, name.as_bytes(), &at, MountFlags::empty(), &UserNs::INITIAL)
    });
    device.closed();
    done.map(|_| device)
}

fn unmount(machine: &Machine, at: &str) -> Result<()> {
    let at = machine.world.resolve(at)?;
    machine.world.context.namespace().unmount(at, Unmount::Idle)
}

#[test]
fn an_ext4_may_be_in_a_file_of_another() {
    let machine = Machine::new(formatted(112 * MIB));
    let mounted = machine.mount_kept(MountFlags::empty(), b"").unwrap();
    let world = &machine.world;
    world.mkdir("/outer").unwrap();
    world.mkdir("/inner").unwrap();
    drop(world.file("/mnt/image", &formatted(64 * MIB)));
    let outer = mount_file(&machine, &mounted, "/mnt/image", "/outer").unwrap();
    drop(world.file("/outer/image", &formatted(24 * MIB)));
    let inner = mount_file(&machine, &mounted, "/outer/image", "/inner").unwrap();
    assert_eq!((outer.levels(), inner.levels()), (1, 2));
    drop(world.file("/inner/image", &vec![0; 4096]));
    assert_eq!(mount_file(&machine, &mounted, "/inner/image", "/mnt").err(), Some(ELOOP));
    assert_eq!(unmount(&machine, "/outer").err(), Some(EBUSY));
    // Their images alone are more than there is RAM for.
    for round in 0..6u8 {
        for top in ["/mnt", "/outer", "/inner"] {
            let file = world.file(&format!("{top}/f{round}"), &vec![round; MIB as usize / 2]);
            machine.fsync(&file).unwrap();
        }
        world.services.ram.evict(64 * MIB, if round % 2 == 0 { Reach::All } else { Reach::Ground });
    }
    for top in ["/mnt", "/outer", "/inner"] {
        assert_eq!(machine.contents(&format!("{top}/f5")).unwrap(), vec![5; MIB as usize / 2]);
    }
    for at in ["/inner", "/outer"] {
        unmount(&machine, at).unwrap();
    }
    assert!(!outer.is_bound() && !inner.is_bound() && !outer.is_used());
    unmount(&machine, "/mnt").unwrap();
    assert_eq!(complaints(&machine.disk.bytes(), "outermost"), "");
}

#[test]
fn an_ext4_may_be_in_a_file_in_ram() {
    let machine = Machine::new(formatted(24 * MIB));
    let mounted = machine.mount_kept(MountFlags::empty(), b"").unwrap();
    let world = &machine.world;
    world.mkdir("/loop").unwrap();
    drop(world.file("/image", &formatted(24 * MIB)));
    let device = mount_file(&machine, &mounted, "/image", "/loop").unwrap();
    let file = world.file("/loop/f", b"there");
    machine.fsync(&file).unwrap();
    drop(file);
    unmount(&machine, "/loop").unwrap();
    assert!(!device.is_bound());
    let image = world.open("/image", OpenFlags::empty()).unwrap();
    let bytes = world.read_at(&image, 0, 24 * MIB as usize).unwrap();
    assert_eq!(complaints(&bytes, "inram"), "");
    mount_file(&machine, &mounted, "/image", "/loop").unwrap();
    assert_eq!(machine.contents("/loop/f"), Ok(b"there".to_vec()));
}
