//! Who writes a file and who executes it: never both at a time, the later one gets ETXTBSY. Sources: `execve(2)`,
//! `open(2)`, `truncate(2)`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::errno::{ETXTBSY, Result};
use crate::vfs::inode::Inode;

/// The part of an inode that counts its claims: those to write, or, below zero, those to execute.
#[derive(Debug, Default)]
pub struct Claims(AtomicI32);

/// What a file is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is open for writing, or is being cut.
    Write,
    /// It is a program that is started, or that a process runs.
    Execute,
}

/// A claim on a file; it ends when this is dropped.
pub struct Claim {
    inode: Arc<dyn Inode>,
    purpose: Purpose,
}

impl Purpose {
    fn step(self) -> i32 {
        match self {
            Purpose::Write => 1,
            Purpose::Execute => -1,
        }
    }
}

impl Claim {
    /// Claims a file, unless it is claimed for the other purpose: ETXTBSY. Inodes that count no claims take all.
    pub fn new(inode: &Arc<dyn Inode>, purpose: Purpose) -> Result<Claim> {
        if let Some(Claims(count)) = inode.claims() {
            let one_more = |count: i32| {
                let is_free = count.signum() != -purpose.step();
                count.checked_add(purpose.step()).filter(|_| is_free)
            };
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map_err(|_| ETXTBSY)?;
        }
        Ok(Claim { inode: inode.clone(), purpose })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(Claims(count)) = self.inode.claims() {
            count.fetch_sub(self.purpose.step(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::file::OpenFlags;
    use crate::vfs::testing::World;

    #[test]
    fn files_are_written_or_executed() {
        let world = World::new();
        let written = world.file("/f", b"x");
        assert_eq!(Claim::new(&written.inode, Purpose::Execute).err(), Some(ETXTBSY));
        let inode = written.inode.clone();
        drop(written);
        // Cutting is writing, but ends at once.
        drop(world.open("/f", OpenFlags::TRUNC).unwrap());
        let programs = [(); 2].map(|()| Claim::new(&inode, Purpose::Execute).ok());
        assert!(programs.iter().all(Option::is_some));
        assert_eq!(world.open("/f", OpenFlags::WRONLY).err(), Some(ETXTBSY));
        assert_eq!(world.open("/f", OpenFlags::TRUNC).err(), Some(ETXTBSY));
        assert!(world.open("/f", OpenFlags::empty()).is_ok());
        drop(programs);
        assert!(world.open("/f", OpenFlags::RDWR).is_ok());
    }
}
