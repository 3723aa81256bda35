//! How the address space is cut up for guests, and who is resident where.
//!
//! All that guests may use is reserved at the start, and "unmapped" means reserved again, never given back: no allocation
//! of the kernel may land between a guest's mappings.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use host_linux::batch::{Batch, mmap_flags, protection};
use host_linux::ram::Ram;
use host_linux::vm;
use kernel_core::host::{MapOp, PAGE_SIZE, Prot};
use nix::errno::Errno;

use crate::error::StartError;
use crate::mappings::Mappings;

/// The first window is for programs that were linked for low addresses; it ends here.
const LOW_END: u64 = WINDOW;
/// The other windows lie here: below the place of position-independent programs, which is the kernel's.
const HIGH: Range<u64> = 0x1000_0000_0000..0x5500_0000_0000;
/// Bytes of each, but for the lowest addresses, which nobody may have.
const WINDOW: u64 = 256 << 30;
/// Mappings that are left to the kernel: its libraries, stacks of fibers, large allocations.
const KERNEL_MAPPINGS: usize = 5_500;

/// What things cost when a space takes the place of another, in nanoseconds: a change of mappings, the first write to a
/// page after it, and the first access to one that is only read (the host then makes some of its neighbours present too).
const CHANGE_NS: u64 = 4_000;
const WRITE_NS: u64 = 1_000;
const READ_NS: u64 = 100;

/// Numbers a space.
pub type SpaceId = u64;

/// All windows of the one address space.
pub struct Windows {
    /// The low one first.
    windows: Vec<Window>,
    ram: Arc<Ram>,
    /// How many mappings the host lets all guests have.
    most_mappings: usize,
    next_id: SpaceId,
    /// Which space ran last.
    last: Option<SpaceId>,
}

/// A range of addresses, which one space has at a time.
struct Window {
    range: Range<u64>,
    /// Spaces that use it.
    tenants: usize,
    /// Whose mappings are in it.
    resident: Option<SpaceId>,
    /// What is mapped in it.
    mapped: Mappings,
}

/// What a space has of the windows.
#[derive(Clone, Copy)]
pub struct Place {
    /// The space's number.
    id: SpaceId,
    /// Its window.
    window: usize,
}

impl Windows {
    /// Reserves all addresses that guests may ever have.
    pub fn reserve(ram: Arc<Ram>) -> Result<Windows, StartError> {
        let low = vm::lowest_address()..LOW_END;
        for range in [&low, &HIGH] {
            reserve(range, libc::MAP_FIXED_NOREPLACE).map_err(|errno| match errno {
                Errno::EEXIST => StartError::Taken,
                errno => StartError::Windows(errno.into()),
            })?;
        }
        let high = HIGH.step_by(WINDOW as usize).map(|start| start..start + WINDOW);
        let whole = high.filter(|range| range.end <= HIGH.end);
        let window = |range| Window { range, tenants: 0, resident: None, mapped: Mappings::default() };
        Ok(Windows {
            windows: std::iter::once(low).chain(whole).map(window).collect(),
            ram,
            most_mappings: vm::max_mappings().saturating_sub(KERNEL_MAPPINGS),
            next_id: 0,
            last: None,
        })
    }

    /// A place for a space that has to have the addresses `including`, or for any if that is empty.
    pub fn enter(&mut self, including: &Range<u64>) -> Place {
        let holds = |window: &Window| {
            window.range.start <= including.start
                && including.end <= window.range.end
                && !including.is_empty()
        };
        let window = self.windows.iter().position(holds).unwrap_or_else(|| {
            // The first of those with the fewest tenants, but not among those who have no choice.
            let choice = self.windows.iter().enumerate().skip(1);
            choice.min_by_key(|(_, window)| window.tenants).map_or(0, |(number, _)| number)
        });
        self.windows[window].tenants += 1;
        self.next_id += 1;
        Place { id: self.next_id, window }
    }

    /// A space ends.
    pub fn leave(&mut self, place: Place) {
        let window = &mut self.windows[place.window];
        window.tenants -= 1;
        if window.tenants == 0 {
            window.clear();
        } else if window.resident == Some(place.id) {
            // What is there is replaced when another tenant runs.
            window.resident = None;
        }
    }

    /// The addresses of a place.
    pub fn range(&self, place: Place) -> Range<u64> {
        self.windows[place.window].range.clone()
    }

    /// Whether all guests together may have `mappings`.
    pub fn allows(&self, mappings: &Mappings) -> bool {
        mappings.host_count() <= self.most_mappings
    }

    /// What a space wants is not what `make_resident` knows and `pending` adds: the next time, all is compared.
    pub fn forget(&mut self, place: Place) {
        let window = &mut self.windows[place.window];
        if window.resident == Some(place.id) {
            window.resident = None;
        }
    }

    /// Makes the mappings of a space those of its window. `pending` is what `wanted` has got since this was called last. Says
    /// what it costs, if another space ran before: as much as is expected, or as it took.
    pub fn make_resident(
        &mut self,
        place: Place,
        wanted: &Mappings,
        pending: &mut Batch,
    ) -> Result<Option<u64>, Errno> {
        let start = Instant::now();
        let window = &self.windows[place.window];
        let mut cost_ns = 0;
        if window.resident != Some(place.id) {
            *pending = window.mapped.difference(wanted);
            cost_ns = pending.ops().iter().map(cost_of).sum();
        }
        if !pending.is_empty() {
            self.make_room(place, pending.len());
            let window = &mut self.windows[place.window];
            // Until all is done, nobody's mappings are there.
            window.resident = None;
            for op in pending.ops() {
                change(&self.ram, op)?;
                window.mapped.apply(op);
            }
            pending.clear();
        }
        self.windows[place.window].resident = Some(place.id);
        let is_switch = self.last.replace(place.id) != Some(place.id);
        Ok(is_switch.then(|| cost_ns.max(start.elapsed().as_nanos() as u64)))
    }

    /// Clears windows of others, the fullest first, until there is room for so many changes.
    fn make_room(&mut self, place: Place, changes: usize) {
        loop {
            let used: usize = self.windows.iter().map(|window| window.mapped.host_count()).sum();
            if used + 2 * changes <= self.most_mappings {
                return;
            }
            let others = self.windows.iter_mut().enumerate().filter(|(number, _)| *number != place.window);
            let fullest = others.map(|(_, window)| window).max_by_key(|window| window.mapped.host_count());
            match fullest {
                Some(window) if window.resident.is_some() || window.mapped.extent().is_some() => {
                    window.clear()
                }
                // The host will say whether it is too much.
                _ => return,
            }
        }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        for range in [&self.windows[0].range, &HIGH] {
            let at = std::ptr::without_provenance_mut(range.start as usize);
            // SAFETY: nothing but guests' mappings is there, and there are no guests any more.
            let unmapped = unsafe { libc::munmap(at, (range.end - range.start) as usize) };
            debug_assert_eq!(unmapped, 0);
        }
    }
}

impl Window {
    /// Unmaps everything.
    fn clear(&mut self) {
        self.resident = None;
        if let Some(extent) = self.mapped.extent() {
            // Replacing mappings by one needs no new one: this cannot be refused for their number.
            if reserve(&extent, libc::MAP_FIXED).is_ok() {
                self.mapped = Mappings::default();
            }
        }
    }
}

/// Reserves addresses: nothing can be accessed there, and the host maps nothing there of its own accord.
fn reserve(range: &Range<u64>, placement: i32) -> Result<(), Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | placement;
    let (at, len) =
        (std::ptr::without_provenance_mut(range.start as usize), (range.end - range.start) as usize);
    // SAFETY: at first the host refuses to replace anything (MAP_FIXED_NOREPLACE); later the range lies in a window,
    // where nothing of the kernel's is.
    let result = unsafe { libc::mmap(at, len, libc::PROT_NONE, flags, -1, 0) };
    match result {
        libc::MAP_FAILED => Err(Errno::last()),
        result if result == at => Ok(()),
        // A host that does not know MAP_FIXED_NOREPLACE takes the address for a wish.
        _ => Err(Errno::EEXIST),
    }
}

/// What a change costs when a space is made resident, with what comes after it: each page is touched again.
fn cost_of(op: &MapOp) -> u64 {
    CHANGE_NS
        + match op {
            MapOp::Map { len, prot, .. } if prot.contains(Prot::WRITE) => len / PAGE_SIZE * WRITE_NS,
            MapOp::Map { len, .. } => len / PAGE_SIZE * READ_NS,
            MapOp::Unmap { .. } | MapOp::Protect { .. } => 0,
        }
}

/// Makes one change in this process's own address space.
fn change(ram: &Ram, op: &MapOp) -> Result<(), Errno> {
    let at = |va: u64| std::ptr::without_provenance_mut::<libc::c_void>(va as usize);
    let result = match *op {
        MapOp::Map { va, len, phys, prot, fill } => {
            let (prot, flags, fd) = (protection(prot), mmap_flags(fill), ram.as_fd().as_raw_fd());
            // SAFETY: the space checked that the range lies in its window, where nothing of the kernel's is.
            let mapped = unsafe { libc::mmap(at(va), len as usize, prot, flags, fd, phys.0 as i64) };
            if mapped == libc::MAP_FAILED { -1 } else { 0 }
        }
        MapOp::Unmap { va, len } => return reserve(&(va..va + len), libc::MAP_FIXED),
        // SAFETY: as for Map.
        MapOp::Protect { va, len, prot } => unsafe { libc::mprotect(at(va), len as usize, protection(prot)) },
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use kernel_core::host::{Fill, Phys};

    use super::*;

    #[test]
    fn pages_that_are_written_cost_most() {
        let cost =
            |prot| cost_of(&MapOp::Map { va: 0, len: 64 * PAGE_SIZE, phys: Phys(0), prot, fill: Fill::Lazy });
        assert_eq!(cost(Prot::READ | Prot::WRITE), CHANGE_NS + 64 * WRITE_NS);
        assert_eq!(cost(Prot::READ | Prot::EXEC), CHANGE_NS + 64 * READ_NS);
        assert_eq!(cost_of(&MapOp::Unmap { va: 0, len: 64 * PAGE_SIZE }), CHANGE_NS);
    }
}
