//! The directory of a process or thread.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::AtomicU64;

use super::map_files::MapFiles;
use super::source::TaskView;
use super::status::status;
use super::system::{TICK_NS, text};
use super::{FactFs, fds, namespaces, smaps};
use crate::errno::{EINVAL, ENAMETOOLONG, ENOENT, EPERM, ERANGE, ESRCH, Result};
use crate::fs::pseudo::{Body, Listed, Listing, Node, NodeAttr, Watch, WriteText};
use crate::host::Prot;
use crate::ipc::pidfd::PidFd;
use crate::mm::info::MapInfo;
use crate::syscall::paths::PATH_MAX;
use crate::syscall::prctl::TIMER_SLACK_NS;
use crate::task::access::Ids;
use crate::task::user_ns::IdKind;
use crate::vfs::caller::Caller;
use crate::vfs::inode::{FileKind, Guard, Inode, LinkTarget};
use crate::vfs::limit::check_text;
use crate::vfs::path::{Path, path_of};

/// Most bytes of arguments or environment that are shown.
const ARGS_MAX: u64 = 2 << 20;
/// Inode numbers of tasks: above others, with room for the entries of each.
const INO_BASE: u64 = 1 << 48;
const INO_STEP: u64 = 1 << 8;
/// What can be set in `coredump_filter`.
const COREDUMP_FILTER_BITS: u32 = 0x1ff;

/// Which task a directory is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    /// The process.
    pub pid: u32,
    /// The thread, in `/proc/PID/task`.
    pub tid: Option<u32>,
}

impl Whose {
    /// The directory's inode number.
    pub fn ino(self) -> u64 {
        let thread = self.tid.map_or(0, |tid| u64::from(tid) + 1);
        INO_BASE + (u64::from(self.pid) << 32 | thread) * INO_STEP
    }

    /// The task as it is now; ESRCH if it is gone.
    pub fn view(self, fs: &FactFs) -> Result<Arc<dyn TaskView>> {
        let source = &fs.facts.source;
        match self.tid {
            None => source.process(&fs.pid_ns, self.pid),
            Some(tid) => source.thread(&fs.pid_ns, self.pid, tid),
        }
        .ok_or(ESRCH)
    }
}

/// Makes the text of a file about a task.
type Text = fn(&dyn TaskView, &dyn Caller) -> Result<Vec<u8>>;
/// Takes what was written to a file about a task.
type Change = fn(&dyn TaskView, &[u8]) -> Result<()>;
/// Says what place a link leads to.
type Target = fn(&dyn TaskView) -> Option<Path>;

enum Entry {
    File(u32, Text),
    Mounts(Text),
    Setting(Text, Change),
    Jump(Target),
    Children,
    IdMap(IdKind),
    Setgroups,
    Fds,
    FdInfo,
    Namespaces,
    Threads,
    Net,
    Memory,
    MapFiles,
}

const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", Entry::File(0o400, auxv)),
    ("children", Entry::Children),
    ("cgroup", Entry::File(0o444, cgroup)),
    ("cmdline", Entry::File(0o444, cmdline)),
    ("comm", Entry::Setting(comm, set_comm)),
    ("coredump_filter", Entry::Setting(coredump_filter, set_coredump_filter)),
    ("cwd", Entry::Jump(|view| Some(view.fs()?.cwd()))),
    ("environ", Entry::File(0o400, environ)),
    ("exe", Entry::Jump(|view| view.exe())),
    ("fd", Entry::Fds),
    ("fdinfo", Entry::FdInfo),
    ("gid_map", Entry::IdMap(IdKind::Group)),
    ("limits", Entry::File(0o444, limits)),
    ("loginuid", Entry::File(0o444, |_, _| text("4294967295"))),
    ("map_files", Entry::MapFiles),
    ("maps", Entry::File(0o444, maps)),
    ("mem", Entry::Memory),
    ("mountinfo", Entry::Mounts(mountinfo)),
    ("mounts", Entry::Mounts(mounts)),
    ("mountstats", Entry::File(0o400, mountstats)),
    ("net", Entry::Net),
    ("ns", Entry::Namespaces),
    ("oom_score", Entry::File(0o444, |view, _| Ok(format!("{}\n", view.oom_score()).into_bytes()))),
    ("oom_score_adj", Entry::Setting(oom_score_adj, set_oom_score_adj)),
    ("personality", Entry::File(0o400, personality)),
    ("projid_map", Entry::IdMap(IdKind::Project)),
    ("root", Entry::Jump(|view| Some(view.fs()?.root()))),
    ("sessionid", Entry::File(0o444, |_, _| text("4294967295"))),
    ("setgroups", Entry::Setgroups),
    ("smaps", Entry::File(0o444, smaps::smaps)),
    ("smaps_rollup", Entry::File(0o444, smaps::rollup)),
    ("stat", Entry::File(0o444, stat)),
    ("statm", Entry::File(0o444, statm)),
    ("status", Entry::File(0o444, status)),
    ("task", Entry::Threads),
    ("timerslack_ns", Entry::Setting(timer_slack, set_timer_slack)),
    ("uid_map", Entry::IdMap(IdKind::User)),
    ("wchan", Entry::File(0o444, |_, _| text("0"))),
];

/// The directory of a task.
pub(super) fn directory(fs: &FactFs, whose: Whose, view: &dyn TaskView) -> Arc<dyn Inode> {
    let pidfd = whose.tid.is_none().then(|| PidFd { pid: view.kernel_pid(), exit: view.exit() });
    let listing = TaskDir { fs: fs.clone(), whose, pidfd };
    Node::new(owned(fs, whose.ino(), 0o555, view), Body::Directory(Arc::new(listing)))
}

/// Attributes of a node that belongs to the task's user, or to the superuser if others must not look into the task.
pub(super) fn owned(fs: &FactFs, ino: u64, mode: u32, view: &dyn TaskView) -> NodeAttr {
    let mut attr = fs.attr(ino, mode);
    if view.is_dumpable() {
        let cred = view.cred();
        (attr.uid, attr.gid) = (cred.euid, cred.egid);
    }
    attr
}

/// A place as the task itself names it.
pub(super) fn named(view: &dyn TaskView, path: &Path) -> Vec<u8> {
    match view.fs() {
        Some(context) => path_of(path, &context.root()).shown(),
        None => path_of(path, path).shown(),
    }
}

struct TaskDir {
    fs: FactFs,
    whose: Whose,
    /// Of a process, not of a thread.
    pidfd: Option<PidFd>,
}

impl TaskDir {
    /// A thread's directory has no threads, and only that has the children, which a thread has made.
    fn entries(&self) -> impl Iterator<Item = (u64, &'static (&'static str, Entry))> {
        let is_thread = self.whose.tid.is_some();
        (1..).zip(ENTRIES).filter(move |(_, (_, entry))| match entry {
            Entry::Threads => !is_thread,
            Entry::Children => is_thread,
            _ => true,
        })
    }
}

impl Guard for TaskDir {
    fn check_found(&self, caller: &dyn Caller) -> Result<()> {
        let hiding = &self.fs.hiding;
        if !hiding.is_on() {
            return Ok(());
        }
        hiding.check_found(&*self.whose.view(&self.fs).map_err(|_| ENOENT)?, caller)
    }

    fn check_used(&self, caller: &dyn Caller) -> Result<()> {
        let hiding = &self.fs.hiding;
        if !hiding.is_on() {
            return Ok(());
        }
        hiding.check_used(&*self.whose.view(&self.fs)?, caller)
    }
}

impl Listing for TaskDir {
    fn pidfd(&self) -> Option<&PidFd> {
        self.pidfd.as_ref()
    }

    fn guard(&self) -> Option<&dyn Guard> {
        Some(self)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = self.entries().find(|(_, (known, _))| known.as_bytes() == name);
        let (index, (_, entry)) = found.ok_or(ENOENT)?;
        let (fs, whose) = (self.fs.clone(), self.whose);
        let view = whose.view(&fs).map_err(|_| ENOENT)?;
        let ino = whose.ino() + index;
        let node = |mode, body| -> Arc<dyn Inode> { Node::new(owned(&self.fs, ino, mode, &*view), body) };
        Ok(match *entry {
            Entry::File(mode, read) => {
                let read = Box::new(move |caller: &dyn Caller| read(&*whose.view(&fs)?, caller));
                node(mode, Body::Text { read, write: None })
            }
            Entry::Mounts(read) => {
                let of = fs.clone();
                let read = Box::new(move |caller: &dyn Caller| read(&*whose.view(&fs)?, caller));
                let watch = Box::new(move || watch_mounts(&*whose.view(&of)?));
                node(0o444, Body::Watched { read, watch })
            }
            Entry::Setting(read, change) => {
                let writes = self.fs.clone();
                let read = Box::new(move |caller: &dyn Caller| read(&*whose.view(&fs)?, caller));
                let write: WriteText = Box::new(move |caller, _, bytes| {
                    change(&*whose.view(&writes)?.look(caller, Ids::FileSystem)?, bytes)
                });
                node(0o644, Body::Text { read, write: Some(write) })
            }
            Entry::Jump(target) => {
                let read = Box::new(move |caller: &dyn Caller| {
                    let view = whose.view(&fs)?.look(caller, Ids::FileSystem)?;
                    let path = target(&*view).ok_or(ENOENT)?;
                    Ok(LinkTarget::Jump { text: named(&*view, &path), path })
                });
                node(0o777, Body::Link(read))
            }
            Entry::Children => {
                let read = Box::new(move |_: &dyn Caller| Ok(children(&*whose.view(&fs)?)));
                node(0o444, Body::Text { read, write: None })
            }
            Entry::IdMap(kind) => node(0o644, namespaces::id_map(fs, whose, kind)),
            Entry::Setgroups => node(0o644, namespaces::setgroups(fs, whose)),
            Entry::MapFiles => node(0o500, Body::Directory(Arc::new(MapFiles { fs, whose }))),
            Entry::Fds => node(0o500, Body::Directory(Arc::new(fds::Fds { fs, whose }))),
            Entry::FdInfo => node(0o500, Body::Directory(Arc::new(fds::FdInfos { fs, whose }))),
            Entry::Namespaces => node(0o511, Body::Directory(Arc::new(namespaces::Links { fs, whose }))),
            Entry::Threads => node(0o555, Body::Directory(Arc::new(Threads { fs, pid: whose.pid }))),
            Entry::Memory => {
                let open = Box::new(move |caller: &dyn Caller| {
                    super::mem::open(&*whose.view(&fs)?.look(caller, Ids::FileSystem)?)
                });
                node(0o600, Body::File(open))
            }
            Entry::Net => {
                let table = super::tree::StaticDir::new(&fs, super::net::NET, ino);
                node(0o555, Body::Directory(Arc::new(table)))
            }
        })
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        let kind = |entry: &Entry| match entry {
            Entry::File(..)
            | Entry::Setting(..)
            | Entry::Memory
            | Entry::Mounts(_)
            | Entry::IdMap(_)
            | Entry::Setgroups => FileKind::Regular,
            Entry::Jump(_) => FileKind::Symlink,
            _ => FileKind::Directory,
        };
        self.entries()
            .map(|(index, (name, entry))| Listed {
                key: index,
                ino: self.whose.ino() + index,
                kind: kind(entry),
                name: name.as_bytes().to_vec(),
            })
            .collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}

/// `/proc/PID/task`.
struct Threads {
    fs: FactFs,
    pid: u32,
}

impl Listing for Threads {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let whose = Whose { pid: self.pid, tid: Some(super::number(name).ok_or(ENOENT)?) };
        let view = whose.view(&self.fs).map_err(|_| ENOENT)?;
        Ok(directory(&self.fs, whose, &*view))
    }

    fn list(&self, _: &dyn Caller) -> Vec<Listed> {
        let listed = |tid: u32| Listed {
            key: u64::from(tid),
            ino: Whose { pid: self.pid, tid: Some(tid) }.ino(),
            kind: FileKind::Directory,
            name: format!("{tid}").into_bytes(),
        };
        self.fs.facts.source.threads(&self.fs.pid_ns, self.pid).into_iter().map(listed).collect()
    }

    fn is_stable(&self) -> bool {
        false
    }
}

fn comm(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    let mut name = view.stat().comm;
    name.push(b'\n');
    Ok(name)
}

fn set_comm(view: &dyn TaskView, bytes: &[u8]) -> Result<()> {
    let name = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    view.set_comm(name.get(..15).unwrap_or(name));
    Ok(())
}

fn oom_score_adj(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    Ok(format!("{}\n", view.stat().oom_score_adj).into_bytes())
}

fn set_oom_score_adj(view: &dyn TaskView, bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let value: i32 = text.trim().parse().map_err(|_| EINVAL)?;
    if !(-1000..=1000).contains(&value) {
        return Err(EINVAL);
    }
    view.set_oom_score_adj(value);
    Ok(())
}

fn coredump_filter(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    Ok(format!("{:08x}\n", view.coredump_filter()).into_bytes())
}

/// The number is decimal, or behind `0x` or `0`; ERANGE.
fn set_coredump_filter(view: &dyn TaskView, bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?.trim();
    let number = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    let filter = u32::try_from(number.map_err(|_| EINVAL)?).map_err(|_| ERANGE)?;
    view.set_coredump_filter(filter & COREDUMP_FILTER_BITS);
    Ok(())
}

fn timer_slack(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem).map_err(|_| EPERM)?;
    Ok(format!("{}\n", view.timer_slack_ns()).into_bytes())
}

fn set_timer_slack(view: &dyn TaskView, bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let ns = text.trim().parse().map_err(|_| EINVAL)?;
    view.set_timer_slack_ns(if ns == 0 { TIMER_SLACK_NS } else { ns });
    Ok(())
}

fn memory(view: &dyn TaskView, range: core::ops::Range<u64>) -> Vec<u8> {
    let len = range.end.saturating_sub(range.start).min(ARGS_MAX);
    let mut bytes = alloc::vec![0; len as usize];
    let read = view.read_memory(range.start, &mut bytes);
    bytes.truncate(read);
    bytes
}

fn cmdline(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    Ok(view.layout().map(|layout| memory(view, layout.args)).unwrap_or_default())
}

fn environ(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    Ok(view.layout().map(|layout| memory(&*view, layout.env)).unwrap_or_default())
}

fn auxv(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    Ok(view.layout().map(|layout| layout.auxv).unwrap_or_default())
}

fn mounts(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    let context = view.fs().ok_or(EINVAL)?;
    context.namespace().mounts_text(&context.root())
}

fn personality(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    Ok(format!("{:08x}\n", view.stat().personality).into_bytes())
}

fn children(view: &dyn TaskView) -> Vec<u8> {
    let mut text = String::new();
    for pid in view.children() {
        let _ = write!(text, "{pid} ");
    }
    text.into_bytes()
}

fn watch_mounts(view: &dyn TaskView) -> Result<Watch> {
    let namespace = view.fs().ok_or(EINVAL)?.namespace().clone();
    let (queue, seen) = (namespace.changed.clone(), AtomicU64::new(namespace.changes()));
    Ok(Watch { queue, count: Box::new(move || namespace.changes()), seen })
}

/// Source: `cgroups(7)`. The path is from the root of the reader's namespace on.
fn cgroup(view: &dyn TaskView, reader: &dyn Caller) -> Result<Vec<u8>> {
    let group = view.cgroup();
    let root = group.root_for(reader.namespaces().as_deref()).ok_or(ESRCH)?;
    let path = group.path_from(&root);
    if path.len() >= PATH_MAX {
        return Err(ENAMETOOLONG);
    }
    let end: &[u8] = if group.is_removed() { b" (deleted)\n" } else { b"\n" };
    Ok([b"0::", path.as_slice(), end].concat())
}

fn mountinfo(view: &dyn TaskView, reader: &dyn Caller) -> Result<Vec<u8>> {
    let context = view.fs().ok_or(EINVAL)?;
    let namespaces = reader.namespaces();
    context.namespace().mountinfo_text(&context.root(), namespaces.as_deref())
}

fn mountstats(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    let context = view.fs().ok_or(EINVAL)?;
    context.namespace().mountstats_text(&context.root())
}

fn maps(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let view = view.look(caller, Ids::FileSystem)?;
    let root = view.fs().map(|context| context.root());
    let mut out = Vec::new();
    view.maps().iter().try_for_each(|map| map_line(map, root.as_ref(), &mut out))?;
    Ok(out)
}

/// A mapping's line in `maps`, for a process whose root directory is `root`. ENOMEM: the text is too long.
pub(super) fn map_line(map: &MapInfo, root: Option<&Path>, out: &mut Vec<u8>) -> Result<()> {
    let bit = |prot, letter| if map.prot.contains(prot) { letter } else { '-' };
    let meta = map.file.as_ref().map(|file| file.inode.metadata());
    let (dev, ino) = meta.map_or((Default::default(), 0), |meta| (meta.dev, meta.ino));
    let mut line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {ino} ",
        map.range.start,
        map.range.end,
        bit(Prot::READ, 'r'),
        bit(Prot::WRITE, 'w'),
        bit(Prot::EXEC, 'x'),
        if map.shared() { 's' } else { 'p' },
        map.offset,
        dev.major,
        dev.minor,
    );
    let name = map.name(root);
    if !name.is_empty() {
        // Names start in the same column.
        line = format!("{line:<73}");
    }
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(&name);
    out.push(b'\n');
    check_text(out.len())
}

fn statm(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    let usage = view.usage();
    let pages = |bytes: u64| bytes / 4096;
    let resident = usage.resident_anonymous + usage.resident_file;
    let (size, rss, shared) = (pages(usage.virtual_size), pages(resident), pages(usage.resident_file));
    let (text, data) = (pages(usage.text), pages(usage.data + usage.stack));
    Ok(format!("{size} {rss} {shared} {text} 0 {data} 0\n").into_bytes())
}

fn stat(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    let (stat, usage, signals) = (view.stat(), view.usage(), view.signals());
    let layout = view.layout().unwrap_or_default();
    let ticks = |ns: u64| ns / TICK_NS;
    let low = |set: u64| set & 0x7fff_ffff;
    let id = if stat.tid == 0 { stat.pid } else { stat.tid };
    let mut out = format!("{id} (").into_bytes();
    out.extend_from_slice(&stat.comm);
    let mut line = format!(") {} {} {} {}", char::from(stat.state), stat.ppid, stat.pgid, stat.sid);
    let resident = (usage.resident_anonymous + usage.resident_file) / 4096;
    // Fields 7 to 24 of proc_pid_stat(5).
    let _ = write!(
        line,
        " {} {} 0 {} {} 0 0 {} {} {} {} {} {} {} 0 {} {} {resident}",
        stat.tty,
        stat.tty_pgid,
        stat.faults,
        stat.children_faults,
        ticks(stat.user_ns),
        ticks(stat.system_ns),
        ticks(stat.children_user_ns),
        ticks(stat.children_system_ns),
        20 + stat.nice,
        stat.nice,
        stat.threads,
        ticks(stat.start_ns),
        usage.virtual_size,
    );
    // 25 to 44: the limit of memory, code and stack, signals, where it sleeps, scheduling.
    let _ = write!(
        line,
        " 18446744073709551615 {} {} {} 0 0 {} {} {} {} 0 0 0 {} {} 0 0 0 0 0",
        layout.code.start,
        layout.code.end,
        layout.stack_start,
        low(signals.pending | signals.shared_pending),
        low(signals.blocked),
        low(signals.ignored),
        low(signals.caught),
        stat.exit_signal,
        stat.cpu,
    );
    // 45 to 52: data, heap, arguments and environment, exit code.
    let _ = writeln!(
        line,
        " {} {} {} {} {} {} {} {}",
        layout.data.start,
        layout.data.end,
        layout.brk_start,
        layout.args.start,
        layout.args.end,
        layout.env.start,
        layout.env.end,
        stat.exit_code,
    );
    out.extend_from_slice(line.as_bytes());
    Ok(out)
}

fn limits(view: &dyn TaskView, _: &dyn Caller) -> Result<Vec<u8>> {
    const ROWS: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let shown = |limit: u64| match limit {
        u64::MAX => String::from("unlimited"),
        limit => format!("{limit}"),
    };
    for ((name, unit), (soft, hard)) in ROWS.iter().zip(view.limits()) {
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", shown(soft), shown(hard));
    }
    Ok(text.into_bytes())
}
