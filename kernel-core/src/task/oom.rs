//! Who ends when memory has run out: RAM, or what the kernel may have of its own (see [`crate::task::heap`]).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::host::Host;
use crate::kernel::Kernel;
use crate::mm::reclaim::Reach;
use crate::syscall::Cx;
use crate::task::Process;
use crate::task::process::ExitStatus;
use crate::task::signal::SIGKILL;
use crate::vfs::fd::FdTable;
use crate::vfs::inode::FileKind;

/// As much of files' pages is given back at least when RAM has run out, in bytes.
const EVICTED: u64 = 4 << 20;

/// `oom_score_adj` of a process that RAM is not taken from.
pub(super) const EXEMPT: i32 = -1000;

/// A process, its parent, and what it has of what has run out.
struct Candidate<H: Host> {
    process: Arc<Process<H>>,
    parent: u32,
    size: u64,
}

impl<H: Host> Kernel<H> {
    /// RAM ran out under a task: pages of files are given back, or if there are none whoever has most is killed, and the
    /// task tries again; if it is itself, it ends.
    pub(crate) fn out_of_memory(&self, cx: &Cx<'_, H>) {
        // With less than that, programs would lose the pages that they run on, and bring them in again, for ever.
        let ram = &self.services.ram;
        let enough = EVICTED.min(ram.total() / 32);
        if ram.evict(enough, Reach::All) >= enough {
            return;
        }
        if self.is_another_ending(&cx.task.process) {
            // It gives its memory back once it has run; more need not end.
            cx.yield_now();
            return;
        }
        let total = ram.total();
        // Processes may share their descriptors.
        let mut tables = BTreeMap::new();
        let size = |process: &Arc<Process<H>>| {
            let adj = process.oom_score_adj.load(Ordering::Relaxed);
            let resources = process.threads().first().and_then(|task| task.resources());
            let Some(resources) = resources.filter(|_| adj != EXEMPT) else { return 0 };
            let table = Arc::as_ptr(&resources.files).addr();
            let nameless: u64 = *tables.entry(table).or_insert_with(|| nameless(&resources.files));
            let usage = resources.mm.usage();
            let own = (usage.resident_anonymous + usage.resident_file).saturating_add(nameless);
            own.saturating_add_signed(i64::from(adj) * (total / 1000).cast_signed())
        };
        let mut victims = culprits(self.candidates(size), total / 64);
        victims.retain(|victim| victim.oom_score_adj.load(Ordering::Relaxed) != EXEMPT);
        if victims.is_empty() {
            victims.push(cx.task.process.clone());
        }
        self.kill_for_memory(cx, &victims);
    }

    /// The kernel itself has become too large: whoever made it so is killed. If none did by much, what takes the memory is
    /// held by no process (names in file systems), and is bounded by itself.
    pub(crate) fn heap_is_full(&self, cx: &Cx<'_, H>) {
        self.ipc.unix.flight().collect();
        if !self.is_heap_full() {
            return;
        }
        if self.is_another_ending(&cx.task.process) {
            cx.yield_now();
            return;
        }
        let victims = culprits(self.candidates(|process| process.heap.bytes()), self.heap_growth() / 64);
        if victims.iter().any(|victim| victim.heap.is_large()) {
            self.kill_for_memory(cx, &victims);
        }
    }

    fn kill_for_memory(&self, cx: &Cx<'_, H>, victims: &[Arc<Process<H>>]) {
        if let Some(victim) = victims.first() {
            let comm = victim.threads().first().map(|task| task.comm()).unwrap_or_default();
            let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            match victims.len() - 1 {
                0 => log::warn!("out of memory: killed process {} ({name})", victim.pid),
                more => {
                    log::warn!("out of memory: killed process {} ({name}) and {more} below it", victim.pid)
                }
            }
        }
        for victim in victims {
            victim.end(ExitStatus::Signaled { signal: SIGKILL, core: false });
        }
        if victims.iter().any(|victim| !Arc::ptr_eq(victim, &cx.task.process)) {
            // They have to run to end, and to give their memory back.
            cx.yield_now();
        }
    }

    /// Whether a process other than `own` ends, and so gives memory back soon: its tracer is not waited for.
    fn is_another_ending(&self, own: &Arc<Process<H>>) -> bool {
        let ending: Vec<Arc<Process<H>>> = {
            let tree = self.tree.lock();
            let others = tree.nodes().filter(|node| {
                node.zombie.is_none()
                    && !Arc::ptr_eq(&node.process, own)
                    && node.process.signals.lock().ending.is_some()
            });
            others.map(|node| node.process.clone()).collect()
        };
        ending.iter().for_each(|process| process.end_trace_stops());
        !ending.is_empty()
    }

    /// The processes that do not end already, by number.
    fn candidates(&self, mut size: impl FnMut(&Arc<Process<H>>) -> u64) -> BTreeMap<u32, Candidate<H>> {
        let processes: Vec<(Arc<Process<H>>, u32)> = {
            let tree = self.tree.lock();
            let living = tree.nodes().filter(|node| node.zombie.is_none());
            living.map(|node| (node.process.clone(), node.parent)).collect()
        };
        let living = processes.into_iter().filter(|(process, _)| process.signals.lock().ending.is_none());
        living
            .map(|(process, parent)| {
                let size = size(&process);
                (process.pid, Candidate { process, parent, size })
            })
            .collect()
    }
}

/// What open files take that have no name.
fn nameless(files: &FdTable) -> u64 {
    let (mut sum, mut next) = (0_u64, 0);
    while let Some((fd, file)) = files.next_open(next) {
        next = fd as usize + 1;
        if file.inode.kind() == FileKind::Regular {
            let metadata = file.inode.metadata();
            if metadata.nlink == 0 {
                sum = sum.saturating_add(metadata.blocks.saturating_mul(512));
            }
        }
    }
    sum
}

/// Who has to end: the largest process but PID 1. If even that has less than `much`, it is their number that takes the
/// memory, as of a program that forks for ever: then a process and all below it, the lowest that have half of all; or, below
/// one that has only adopted them, those of a session.
fn culprits<H: Host>(all: BTreeMap<u32, Candidate<H>>, much: u64) -> Vec<Arc<Process<H>>> {
    let largest = all.values().filter(|one| one.process.pid != 1 && one.size > 0).max_by_key(|one| one.size);
    let Some(largest) = largest else { return Vec::new() };
    let single = Vec::from([largest.process.clone()]);
    if largest.size >= much {
        return single;
    }
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, one) in &all {
        children.entry(one.parent).or_default().push(*pid);
    }
    let below = |pid: u32| {
        let mut found = Vec::from([pid]);
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            next += 1;
            found.extend(children.get(pid).into_iter().flatten());
        }
        found
    };
    // Children behind their parents, so that from the end all that is below one is summed before it.
    let order = below(1);
    let size = |pid: &u32| all.get(pid).map_or(0, |one| one.size);
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for pid in order.iter().rev() {
        let under: u64 = children.get(pid).into_iter().flatten().filter_map(|child| sums.get(child)).sum();
        sums.insert(*pid, under.saturating_add(size(pid)));
    }
    let half = sums.get(&1).copied().unwrap_or(0) / 2;
    let mut at = 1;
    while let Some(child) =
        children.get(&at).into_iter().flatten().find(|child| sums.get(child).is_some_and(|sum| *sum > half))
    {
        at = *child;
    }
    let named = |pids: &[u32]| -> Vec<Arc<Process<H>>> {
        pids.iter().filter_map(|pid| all.get(pid)).map(|one| one.process.clone()).collect()
    };
    let below = below(at);
    let adopts = all.get(&at).is_none_or(|one| one.process.child_subreaper.load(Ordering::Relaxed) != 0);
    if at != 1 && !adopts {
        return named(&below);
    }
    // It has taken in those whose parents have ended, and has no part in what they do; but they are of a session.
    let adopted = below.get(1..).unwrap_or_default();
    let mut sessions: BTreeMap<u32, (u64, Vec<u32>)> = BTreeMap::new();
    for pid in adopted {
        let Some(one) = all.get(pid) else { continue };
        let (sum, members) = sessions.entry(one.process.session().id).or_default();
        *sum = sum.saturating_add(one.size);
        members.push(*pid);
    }
    sessions.into_values().find(|(sum, _)| *sum > half).map_or(single, |(_, members)| named(&members))
}
