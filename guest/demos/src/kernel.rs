//! Looks for the kernel.
//!
//! What is public of TT: the kernel shares the address space. It maps all guest RAM, one terabyte of addresses, below its
//! libraries, somewhere between 0x7dff_... and 0x7fff_...; what it maps later, the stacks of its threads and fibers among
//! them, lies right below that. A stack is full of pointers to everything else.

use std::collections::{HashSet, VecDeque};

use crate::maps;
use crate::probe::{self, PAGE};
use crate::say::Voice;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where guest RAM can begin.
const PLACES: std::ops::Range<u64> = 0x7d00_0000_0000..0x7fff_c000_0000;

/// How far below the edge, and above it, the kernel's stacks are looked for: the heaps of its threads, 64 MiB each, may
/// lie in between. A stack has some of such blocks.
const BELOW: u64 = 256 * MIB;
const ABOVE: u64 = 2 * MIB;
const BLOCK: u64 = 16 * PAGE;

/// How much of guest RAM is looked through: what is in use begins at its start.
const IN_USE: u64 = 2 * GIB;

/// Where the kernel lies: an edge below which there is a gap, with guest RAM not far above it.
pub struct Kernel {
    edge: u64,
}

/// Tries one address in each gigabyte, from below; then finds the edge by halving.
pub fn find(me: Voice) -> Option<Kernel> {
    let own = maps::own();
    let is_own = |at: u64| own.iter().any(|range| range.contains(&at));
    me.say(&format!("I try one pointer in each GiB from {:#x} to {:#x}.", PLACES.start, PLACES.end));
    let first = PLACES.step_by(GIB as usize).find(|&at| !is_own(at) && is_vast(at));
    let (tried, faults) = probe::counts();
    let Some(first) = first else {
        me.say(&format!("{tried} pointers, {faults} of them SIGSEGV: no kernel is there."));
        return None;
    };
    me.say(&format!(
        "{tried} pointers, {faults} of them SIGSEGV: {first:#x} answers, and much above it. It is not mine."
    ));
    // The edge is between an address from which all answers and one from which it does not.
    let (mut outside, mut inside) = (first - GIB, first);
    while inside - outside > PAGE {
        let middle = outside + (inside - outside) / 2 / PAGE * PAGE;
        if is_vast(middle) { inside = middle } else { outside = middle }
    }
    me.say(&format!("By halving I find where that begins: at {inside:#x}."));
    Some(Kernel { edge: inside })
}

/// Whether something vast begins there or goes on, without gaps as they are between stacks and between heaps. Only a few
/// pages are touched: reading all of guest RAM would fill the host's memory.
fn is_vast(at: u64) -> bool {
    let near = (0..32).map(|step| step * 33 * PAGE);
    let far = (0..4).map(|step| (64 * MIB) << step);
    near.chain(far).all(|distance| probe::answers(at + distance))
}

impl Kernel {
    /// Looks through the start of guest RAM in steps of `step` bytes for a page that `wanted` finds something in.
    pub fn search_ram<T>(&self, step: u64, wanted: impl Fn(&[u8]) -> Option<T>) -> Option<(u64, T)> {
        let mut page = vec![0; PAGE as usize];
        (self.edge..self.edge + IN_USE).step_by(step as usize).find_map(|at| {
            let there = probe::read_into(at, &mut page);
            there.then(|| wanted(&page)).flatten().map(|found| (at, found))
        })
    }

    /// The pages around the edge that answer: the kernel's stacks are among them.
    pub fn stacks(&self) -> Vec<u64> {
        (self.edge - BELOW..self.edge + ABOVE)
            .step_by(BLOCK as usize)
            .filter(|&block| probe::answers(block))
            .flat_map(|block| (block..block + BLOCK).step_by(PAGE as usize))
            .filter(|&at| probe::answers(at))
            .collect()
    }

    /// Walks through the kernel's memory: from its stacks along every word that could be a pointer, and on from there.
    /// `visit` gets the address and the words of each page, and ends the walk with false. Returns how many pages it saw.
    pub fn walk(&self, mut visit: impl FnMut(u64, &[u64]) -> bool) -> usize {
        let mut waiting: VecDeque<u64> = self.stacks().into();
        let mut seen: HashSet<u64> = waiting.iter().copied().collect();
        let mut page = vec![0; PAGE as usize];
        let mut pages = 0;
        while let Some(at) = waiting.pop_front() {
            if !probe::read_into(at, &mut page) {
                continue;
            }
            pages += 1;
            let words: Vec<u64> =
                page.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
            if !visit(at, &words) {
                break;
            }
            let targets = words.iter().map(|word| word - word % PAGE).chain([at + PAGE]);
            for target in targets.filter(|&target| self.could_be_the_kernels(target)) {
                if seen.insert(target) {
                    waiting.push_back(target);
                }
            }
        }
        pages
    }

    /// Where a position-independent program, its heap and its stacks lie on Linux. What is above guest RAM (libraries, the
    /// host's own pages) is of no interest.
    fn could_be_the_kernels(&self, at: u64) -> bool {
        (0x5500_0000_0000..self.edge + ABOVE).contains(&at)
    }
}
