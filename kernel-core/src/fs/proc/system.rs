//! Files of `/proc` about the system as a whole.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::tree::Item;
use super::{Facts, sysvipc};
use crate::errno::{EINVAL, EPERM, Result};
use crate::ipc::limit::Limit;
use crate::task::cred::Caps;
use crate::task::namespaces::HostNames;
use crate::vfs::caller::Caller;
use crate::vfs::types::Needs;
use Item::{Dir, File, Fixed, Link, Private, Setting};

/// Nanoseconds in a clock tick, of which there are 100 a second.
pub(super) const TICK_NS: u64 = 10_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// The root of `/proc` without processes.
pub(super) const ROOT: &[Item] = &[
    File("cgroups", |facts, _| {
        let groups = facts.source.cgroups();
        text(&format!("#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t0\t{groups}\t1\n"))
    }),
    File("cmdline", |facts, _| line(facts.source.system().command_line)),
    File("cpuinfo", |facts, _| Ok(cpuinfo(facts))),
    File("devices", |_, _| {
        text(
            "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\n\
             Block devices:\n 98 ubd\n",
        )
    }),
    File("filesystems", |facts, _| Ok(filesystems(facts))),
    File("interrupts", |facts, _| Ok(columns(facts, 10))),
    File("loadavg", |facts, caller| Ok(loadavg(facts, caller))),
    File("locks", super::locks::locks),
    File("meminfo", |facts, _| Ok(meminfo(facts))),
    File("misc", |_, _| text("")),
    File("partitions", |facts, _| Ok(facts.disks.partitions_text())),
    File("softirqs", |facts, _| Ok(columns(facts, 20))),
    File("stat", |facts, _| Ok(stat(facts))),
    File("swaps", |_, _| text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")),
    File("uptime", |facts, _| Ok(uptime(facts))),
    File("version", |facts, _| Ok(version(facts))),
    File("vmstat", |facts, _| {
        Ok(format!("nr_free_pages {}\npgfault 0\npgmajfault 0\n", facts.services.ram.free() / 4096)
            .into_bytes())
    }),
    Link("mounts", "self/mounts"),
    Link("net", "self/net"),
    Dir("sys", SYS),
    Dir("sysvipc", sysvipc::TABLES),
];

const SYS: &[Item] = &[
    Dir("crypto", &[File("fips_enabled", |_, _| text("0\n"))]),
    Dir(
        "fs",
        &[
            File("aio-max-nr", |facts, _| {
                Ok(facts.source.aio()).map(|(_, most)| format!("{most}\n").into_bytes())
            }),
            File("aio-nr", |facts, _| {
                Ok(facts.source.aio()).map(|(used, _)| format!("{used}\n").into_bytes())
            }),
            Fixed("dir-notify-enable", "1\n"),
            Dir(
                "epoll",
                &[Setting(
                    "max_user_watches",
                    |facts, _| number(&facts.services.epoll.most_watches),
                    |facts, _, bytes| set_number(&facts.services.epoll.most_watches, bytes),
                )],
            ),
            Fixed("file-max", "9223372036854775807\n"),
            File("file-nr", |_, _| text("0\t0\t9223372036854775807\n")),
            Fixed("lease-break-time", "45\n"),
            Fixed("mount-max", "4096\n"),
            Dir("mqueue", sysvipc::MQUEUE),
            Dir(
                "inotify",
                &[
                    Setting(
                        "max_queued_events",
                        |facts, _| number(&facts.services.inotify.queued_events),
                        |facts, _, bytes| set_number(&facts.services.inotify.queued_events, bytes),
                    ),
                    Setting(
                        "max_user_instances",
                        |facts, _| number(&facts.services.inotify.instances),
                        |facts, _, bytes| set_number(&facts.services.inotify.instances, bytes),
                    ),
                    Setting(
                        "max_user_watches",
                        |facts, _| number(&facts.services.inotify.watches),
                        |facts, _, bytes| set_number(&facts.services.inotify.watches, bytes),
                    ),
                ],
            ),
            Fixed("nr_open", "1048576\n"),
            Fixed("overflowgid", "65534\n"),
            Fixed("overflowuid", "65534\n"),
            Fixed("pipe-max-size", "1048576\n"),
            Fixed("pipe-user-pages-soft", "16384\n"),
            Fixed("protected_fifos", "0\n"),
            Fixed("protected_hardlinks", "0\n"),
            Fixed("protected_regular", "0\n"),
            Fixed("protected_symlinks", "0\n"),
            Fixed("suid_dumpable", "0\n"),
        ],
    ),
    Dir(
        "kernel",
        &[
            File("cap_last_cap", |_, _| text("40\n")),
            Fixed("core_pattern", "core\n"),
            Fixed("core_uses_pid", "0\n"),
            Fixed("dmesg_restrict", "0\n"),
            Setting(
                "domainname",
                |_, caller| line(names(caller).domain),
                |_, caller, bytes| set_name(caller, bytes, |names| &mut names.domain),
            ),
            Setting(
                "hostname",
                |_, caller| line(names(caller).host),
                |_, caller, bytes| set_name(caller, bytes, |names| &mut names.host),
            ),
            File("ngroups_max", |_, _| text("65536\n")),
            File("osrelease", |facts, _| line(facts.source.system().release)),
            File("ostype", |_, _| text("Linux\n")),
            Fixed("overflowgid", "65534\n"),
            Fixed("overflowuid", "65534\n"),
            Fixed("panic", "0\n"),
            Fixed("panic_on_oops", "0\n"),
            Fixed("pid_max", "32768\n"),
            Fixed("printk", "4\t4\t1\t7\n"),
            Dir(
                "random",
                &[
                    File("boot_id", |facts, _| Ok(uuid(facts.boot_id))),
                    File("entropy_avail", |_, _| text("256\n")),
                    File("poolsize", |_, _| text("256\n")),
                    File("uuid", |facts, _| {
                        let mut bytes = [0; 16];
                        facts.services.clock.entropy(&mut bytes);
                        Ok(uuid(bytes))
                    }),
                ],
            ),
            Fixed("randomize_va_space", "2\n"),
            sysvipc::MSG_NEXT,
            sysvipc::MSGMAX,
            sysvipc::MSGMNB,
            sysvipc::MSGMNI,
            sysvipc::SEM,
            sysvipc::SEM_NEXT,
            sysvipc::SHM_NEXT,
            sysvipc::SHMALL,
            sysvipc::SHMMAX,
            sysvipc::SHMMNI,
            File("tainted", |_, _| text("0\n")),
            File("threads-max", |facts, _| text(&format!("{}\n", facts.source.system().max_tasks))),
            File("version", |facts, _| line(facts.source.system().version)),
            Dir("yama", &[File("ptrace_scope", |_, _| text("0\n"))]),
        ],
    ),
    Dir(
        "net",
        &[Dir(
            "core",
            &[File("somaxconn", |_, _| text("4096\n")), Private("bpf_jit_enable", |_, _| text("0\n"))],
        )],
    ),
    Dir("user", super::limits::USER),
    Dir(
        "vm",
        &[
            Fixed("max_map_count", "65530\n"),
            Fixed("mmap_min_addr", "65536\n"),
            Fixed("oom_kill_allocating_task", "0\n"),
            Fixed("overcommit_kbytes", "0\n"),
            Fixed("overcommit_memory", "0\n"),
            Fixed("overcommit_ratio", "50\n"),
            Fixed("panic_on_oom", "0\n"),
            Fixed("swappiness", "60\n"),
        ],
    ),
];

pub(super) fn text(text: &str) -> Result<Vec<u8>> {
    Ok(text.as_bytes().to_vec())
}

fn line(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    bytes.push(b'\n');
    Ok(bytes)
}

/// A setting that is a number.
fn number(limit: &Limit) -> Result<Vec<u8>> {
    line(limit.get().to_string().into_bytes())
}

/// Sets one; EINVAL for what is none, or out of its bounds.
fn set_number(limit: &Limit, bytes: &[u8]) -> Result<()> {
    limit.set(super::sysctl::number(bytes)?.into())
}

/// The reader's names of the machine.
fn names(caller: &dyn Caller) -> HostNames {
    match caller.namespaces() {
        Some(namespaces) => namespaces.uts.names.lock().clone(),
        None => HostNames { host: Vec::new(), domain: Vec::new() },
    }
}

fn set_name(caller: &dyn Caller, bytes: &[u8], which: fn(&mut HostNames) -> &mut Vec<u8>) -> Result<()> {
    let uts = caller.namespaces().ok_or(EPERM)?.uts.clone();
    if !caller.cred().capable_in(&uts.user_ns, Caps::SYS_ADMIN) {
        return Err(EPERM);
    }
    let name = bytes.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
    if name.len() > 64 {
        return Err(EINVAL);
    }
    *which(&mut uts.names.lock()) = name.to_vec();
    Ok(())
}

/// As a random (version 4) UUID.
fn uuid(mut bytes: [u8; 16]) -> Vec<u8> {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text.into_bytes()
}

fn filesystems(facts: &Facts) -> Vec<u8> {
    let mut text = String::new();
    for kind in facts.types.upgrade().map(|types| types.all()).unwrap_or_default() {
        let prefix = if kind.needs() == Needs::Nothing { "nodev" } else { "" };
        let _ = writeln!(text, "{prefix}\t{}", kind.name());
    }
    text.into_bytes()
}

fn uptime(facts: &Facts) -> Vec<u8> {
    let hundredths = |ns: u64| (ns / SECOND_NS, ns % SECOND_NS / TICK_NS);
    let (up, up_rest) = hundredths(facts.services.clock.uptime_ns());
    let (idle, idle_rest) = hundredths(facts.source.system().idle_ns);
    format!("{up}.{up_rest:02} {idle}.{idle_rest:02}\n").into_bytes()
}

fn loadavg(facts: &Facts, caller: &dyn Caller) -> Vec<u8> {
    let system = facts.source.system();
    let mut text = String::new();
    for load in system.load {
        let _ = write!(text, "{}.{:02} ", load / 1000, load % 1000 / 10);
    }
    let last = caller.pid_ns().last().unwrap_or(system.last_pid);
    let _ = writeln!(text, "{}/{} {}", system.running, system.tasks, last);
    text.into_bytes()
}

fn version(facts: &Facts) -> Vec<u8> {
    let system = facts.source.system();
    let mut text = b"Linux version ".to_vec();
    text.extend_from_slice(&system.release);
    text.extend_from_slice(b" (lodger@lodger) (rustc) ");
    text.extend_from_slice(&system.version);
    text.push(b'\n');
    text
}

fn meminfo(facts: &Facts) -> Vec<u8> {
    let ram = &facts.services.ram;
    let (total, free, cached, dirty) = (ram.total(), ram.free(), ram.cached(), ram.unwritten());
    let [total, free, cached, dirty] = [total, free, cached, dirty].map(|bytes| bytes / 1024);
    // The kernel's own memory is not of RAM, see `task/heap.rs`.
    let slab = facts.source.system().heap_bytes / 1024;
    let used = total.saturating_sub(free).saturating_sub(cached);
    let mut text = String::new();
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free + cached.saturating_sub(dirty)),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", cached),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", dirty),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", slab),
        ("SReclaimable", 0),
        ("SUnreclaim", slab),
        ("CommitLimit", total),
        ("Committed_AS", total - free),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ];
    for (name, kib) in rows {
        let _ = writeln!(text, "{:<15} {kib:>8} kB", format!("{name}:"));
    }
    text.push_str("HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
    text.into_bytes()
}

/// The head of a table with a column for each CPU, and no rows: nothing interrupts a CPU here.
fn columns(facts: &Facts, indent: usize) -> Vec<u8> {
    let mut text = " ".repeat(indent);
    for cpu in 0..facts.source.system().cpus {
        let _ = write!(text, "{:<11}", format!("CPU{cpu}"));
    }
    text.push('\n');
    text.into_bytes()
}

/// What the host says of its processor, for each vCPU: they are cores of one processor.
fn cpuinfo(facts: &Facts) -> Vec<u8> {
    let system = facts.source.system();
    let (cpus, mut text) = (system.cpus, String::new());
    for cpu in 0..cpus {
        let place = [
            ("physical id", 0),
            ("siblings", cpus),
            ("core id", cpu),
            ("cpu cores", cpus),
            ("apicid", cpu),
            ("initial apicid", cpu),
        ];
        push_line(&mut text, "processor", &format!("{cpu}"));
        // Where it is comes between what it is and what it can do.
        let known = system.processor.iter();
        let (what, can): (Vec<_>, Vec<_>) =
            (known.clone().take_while(is_name).collect(), known.skip_while(is_name).collect());
        for (name, value) in what {
            push_line(&mut text, name, value);
        }
        for (name, number) in place {
            push_line(&mut text, name, &format!("{number}"));
        }
        for (name, value) in can {
            push_line(&mut text, name, value);
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// Whether a line says what the processor is.
fn is_name(line: &&(String, String)) -> bool {
    line.0 != "fpu"
}

/// Adds a line as Linux does, its colon below those of others.
fn push_line(text: &mut String, name: &str, value: &str) {
    let gap = match name.len() {
        0..8 => "\t\t",
        16.. => "",
        _ => "\t",
    };
    let space = if value.is_empty() && gap.is_empty() { "" } else { " " };
    let _ = writeln!(text, "{name}{gap}:{space}{value}");
}

fn stat(facts: &Facts) -> Vec<u8> {
    let system = facts.source.system();
    let ticks = |ns: u64| ns / TICK_NS;
    let clock = &facts.services.clock;
    let boot = (clock.realtime_ns().saturating_sub(clock.uptime_ns())) / SECOND_NS;
    let times = |share: u64| {
        let share = share.max(1);
        let (user, kernel, idle) = (system.user_ns, system.system_ns, system.idle_ns);
        format!("{} 0 {} {} 0 0 0 0 0 0", ticks(user / share), ticks(kernel / share), ticks(idle / share))
    };
    let mut text = format!("cpu  {}\n", times(1));
    for cpu in 0..system.cpus {
        let _ = writeln!(text, "cpu{cpu} {}", times(u64::from(system.cpus)));
    }
    let _ = write!(
        text,
        "intr 0\nctxt {}\nbtime {boot}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n",
        system.switches, system.forks, system.running
    );
    text.into_bytes()
}
