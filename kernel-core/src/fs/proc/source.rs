//! What `/proc` must know of tasks and of the system. The kernel implements it; `/proc` does not know the host.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::errno::Result;
use crate::fs::nsfs::AnyNs;
use crate::fs::proc::locks::HeldLock;
use crate::ipc::pidfd::ExitState;
use crate::mm::info::{Amounts, Layout, MapInfo, Usage};
use crate::task::access::Ids;
use crate::task::cgroup::Group;
use crate::task::cred::Cred;
use crate::task::namespaces::{NsCounts, NsKind};
use crate::task::pid_ns::PidNs;
use crate::vfs::caller::Caller;
use crate::vfs::context::FsContext;
use crate::vfs::fd::FdTable;
use crate::vfs::path::Path;

/// Processes and the system, as `/proc` shows them: with the numbers of the PID namespace that it is mounted for.
pub trait ProcessSource: Send + Sync {
    /// Ids of all processes that were not waited for yet, ascending.
    fn pids(&self, seen_from: &PidNs) -> Vec<u32>;
    /// Thread ids of a process, ascending; empty if there is no such process.
    fn threads(&self, seen_from: &PidNs, pid: u32) -> Vec<u32>;
    /// The process with this id, or the process of the thread with this id (`/proc/TID` can be entered too).
    fn process(&self, seen_from: &PidNs, pid: u32) -> Option<Arc<dyn TaskView>>;
    /// One thread of a process.
    fn thread(&self, seen_from: &PidNs, pid: u32, tid: u32) -> Option<Arc<dyn TaskView>>;
    /// Results of asynchronous I/O that there is room for: in all contexts, and at most.
    fn aio(&self) -> (u64, u64);
    /// Locks on files.
    fn locks(&self) -> Vec<HeldLock>;
    /// The system as a whole.
    fn system(&self) -> System;
    /// How many control groups there are.
    fn cgroups(&self) -> usize;
    /// How many namespaces there may be of whom.
    fn ns_counts(&self) -> Option<Arc<NsCounts>>;
    /// The kernel's log as text, for reading `/dev/kmsg`, from record `from` on: the record's sequence number and text
    /// (`priority,sequence,microseconds,-;message` and a newline). `None`: nothing yet.
    fn log_record(&self, from: u64) -> Option<(u64, Vec<u8>)>;
    /// Adds a line that a guest wrote to `/dev/kmsg` to the log.
    fn log(&self, line: &[u8]);
}

/// A process or a thread at one moment. What a zombie no longer has is `None` or empty.
pub trait TaskView: Send + Sync {
    /// The same for a caller that may look into it, as `ptrace(2)` has it, with the memory, files and directories that it has
    /// now, whatever it executes meanwhile: EACCES.
    fn look(&self, caller: &dyn Caller, ids: Ids) -> Result<Arc<dyn TaskView>>;
    /// Whether others with its credentials may look into it.
    fn is_dumpable(&self) -> bool;
    /// Numbers and times.
    fn stat(&self) -> TaskStat;
    /// Credentials.
    fn cred(&self) -> Arc<Cred>;
    /// Whether its process has ended.
    fn exit(&self) -> Arc<ExitState>;
    /// Signals.
    fn signals(&self) -> SignalSets;
    /// Soft and hard limit of each `RLIMIT_*`, in their order.
    fn limits(&self) -> [(u64, u64); 16];
    /// The program it executes.
    fn exe(&self) -> Option<Path>;
    /// Root and working directory.
    fn fs(&self) -> Option<Arc<FsContext>>;
    /// Descriptors.
    fn files(&self) -> Option<Arc<FdTable>>;
    /// Mappings, ascending.
    fn maps(&self) -> Vec<MapInfo>;
    /// The same, and how much of each is in RAM.
    fn amounts(&self) -> Vec<(MapInfo, Amounts)>;
    /// Sizes of its memory.
    fn usage(&self) -> Usage;
    /// Children that this very thread made, and that were not waited for.
    fn children(&self) -> Vec<u32>;
    /// How much it would help to end it when RAM runs out: 0 to 1000, and more for `oom_score_adj`.
    fn oom_score(&self) -> u64;
    /// The kernel's number of its process.
    fn kernel_pid(&self) -> u32;
    /// Its numbers and those of its thread in each PID namespace, from the reader's on inwards (`NStgid`, `NSpid`,
    /// `NSpgid`, `NSsid`).
    fn ns_numbers(&self) -> [Vec<u32>; 4];
    /// Where processes that it makes get their numbers.
    fn pid_for_children(&self) -> Option<PidNs>;
    /// One of its namespaces; `None` of a zombie.
    fn namespace(&self, kind: NsKind) -> Option<AnyNs>;
    /// Its control group.
    fn cgroup(&self) -> Arc<Group>;
    /// Where arguments, environment and auxiliary vector are in its memory.
    fn layout(&self) -> Option<Layout>;
    /// Its memory as a debugger has it.
    fn memory(&self) -> Option<Weak<dyn TaskMemory>>;
    /// Reads its memory at `addr`; fewer bytes if not all can be read.
    fn read_memory(&self, addr: u64, buf: &mut [u8]) -> usize;
    /// Sets its name (`/proc/PID/comm`).
    fn set_comm(&self, name: &[u8]);
    /// What a core dump would have of its memory, if there were any (`core(5)`).
    fn coredump_filter(&self) -> u32;
    /// Sets it.
    fn set_coredump_filter(&self, value: u32);
    /// What its timers may be late by.
    fn timer_slack_ns(&self) -> u64;
    /// Sets it.
    fn set_timer_slack_ns(&self, ns: u64);
    /// Sets `/proc/PID/oom_score_adj`.
    fn set_oom_score_adj(&self, value: i32);
}

/// The memory of a process, for whoever may look into it.
pub trait TaskMemory: Send + Sync {
    /// Reads at `addr` whatever the mappings allow; fewer bytes where there is nothing.
    fn peek(&self, addr: u64, buf: &mut [u8]) -> usize;
    /// Writes to what is private or may be written; fewer bytes where that is not so.
    fn poke(&self, addr: u64, bytes: &[u8]) -> usize;
    /// Makes the program's code what it was made of, see `mm/rewrite`.
    fn keep_code(&self);
}

/// Numbers of a task, for `/proc/PID/{stat,status}`. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskStat {
    /// Process id.
    pub pid: u32,
    /// Thread id; that of the first thread, if the whole process is meant.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Device number of the controlling terminal, as `struct stat` has it; 0 for none.
    pub tty: u64,
    /// Foreground process group of the terminal; -1 for none.
    pub tty_pgid: i32,
    /// `R`, `S`, `D`, `T`, `t`, `Z` or `X`.
    pub state: u8,
    /// Name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// Number of threads.
    pub threads: u32,
    /// Process id of who traces it; 0 for nobody.
    pub tracer: u32,
    /// Time in the guest.
    pub user_ns: u64,
    /// Time in the kernel.
    pub system_ns: u64,
    /// The same of children that were waited for.
    pub children_user_ns: u64,
    /// The same of children that were waited for.
    pub children_system_ns: u64,
    /// When it started, since boot.
    pub start_ns: u64,
    /// Nice value, -20 to 19.
    pub nice: i32,
    /// `personality(2)`.
    pub personality: u32,
    /// How many vCPUs there are.
    pub cpus: u32,
    /// Which of them it may run on, bit n for vCPU n; 0 for all.
    pub affinity: u64,
    /// Page faults, all of them without I/O.
    pub faults: u64,
    /// The same of children that were waited for.
    pub children_faults: u64,
    /// Which vCPU it ran on last.
    pub cpu: u32,
    /// What the parent gets at its end.
    pub exit_signal: u8,
    /// Exit code as `wait4` reports it.
    pub exit_code: i32,
    /// Switches: by its own will, and not.
    pub switches: (u64, u64),
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: i32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: u8,
    /// Mode of seccomp, and how many filters.
    pub seccomp: (u8, usize),
}

/// Signal sets: bit n-1 is signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSets {
    /// Pending for the thread.
    pub pending: u64,
    /// Pending for the process.
    pub shared_pending: u64,
    /// Blocked.
    pub blocked: u64,
    /// Ignored.
    pub ignored: u64,
    /// With a handler.
    pub caught: u64,
    /// Number queued for the user.
    pub queued: u32,
}

/// The system as a whole. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// As `uname` tells it, such as `6.1.0-lodger`.
    pub release: Vec<u8>,
    /// As `uname` tells it.
    pub version: Vec<u8>,
    /// The kernel's command line.
    pub command_line: Vec<u8>,
    /// Number of vCPUs.
    pub cpus: u32,
    /// What the host says of its processor: name and value of each line of `/proc/cpuinfo`.
    pub processor: Arc<[(String, String)]>,
    /// Load averages over 1, 5 and 15 minutes, in thousandths.
    pub load: [u32; 3],
    /// Tasks that run or can run.
    pub running: u32,
    /// Threads in all.
    pub tasks: u32,
    /// The most there can be.
    pub max_tasks: u32,
    /// The id that was given last.
    pub last_pid: u32,
    /// Processes ever made.
    pub forks: u64,
    /// Switches of tasks ever made.
    pub switches: u64,
    /// Time of all vCPUs in guests.
    pub user_ns: u64,
    /// Time of all vCPUs in the kernel.
    pub system_ns: u64,
    /// Time of all vCPUs doing nothing.
    pub idle_ns: u64,
    /// The kernel's own memory.
    pub heap_bytes: u64,
}
