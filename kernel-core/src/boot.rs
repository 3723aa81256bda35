//! From a configuration to a kernel with PID 1 on its way.

#[cfg(any(test, feature = "fake-host"))]
pub mod testing;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::arch::x86_64::xsave;
use crate::block::file::DiskOpener;
use crate::block::loop_control::{self, LoopControl};
use crate::block::loops::{self, FIRST_LOOPS};
use crate::block::memory::MemoryOverlay;
use crate::block::{self, Disks};
use crate::errno::{EINVAL, EIO, ENOENT, ENOTDIR, Errno, Result};
use crate::fs::archive;
use crate::fs::cgroup::CgroupType;
use crate::fs::dev;
use crate::fs::ext4::{Ext4Type, Mounted};
use crate::fs::hostfs::HostFs;
use crate::fs::overlay::{Overlay, OverlayType};
use crate::fs::proc::source::ProcessSource;
use crate::fs::proc::{Facts, ProcType};
use crate::fs::stream::Stream;
use crate::fs::sys::SysType;
use crate::fs::tmpfs::{Options, RamfsType, Tmpfs, TmpfsType};
use crate::host::block::BlockDevice;
use crate::host::tree;
use crate::host::{ByteStream, Fpu, Host, Ready, Registers, StreamError, Suspend, UserContext};
use crate::ipc::epoll::Topology;
use crate::ipc::fifo::FifoOpener;
use crate::ipc::inotify::Limits;
use crate::ipc::mqueue::fs::MqueueType;
use crate::kernel::{HostClock, Kernel, KernelLink, Parts, Shutdown, TraceSink};
use crate::log_ring::LogRing;
use crate::mm::Mm;
use crate::mm::cache::{Backing, Blob, PageCache};
use crate::mm::ram::Ram;
use crate::sched::nice::Nice;
use crate::sched::timers::Timers;
use crate::sched::wait::{Events, Wake};
use crate::services::{Device as PolledDevice, Services};
use crate::syscall::Cx;
use crate::task::cgroup::Group;
use crate::task::cred::Cred;
use crate::task::exec::ExecRequest;
use crate::task::pid_ns::PidNs;
use crate::task::process::{ExitStatus, Relations};
use crate::task::rlimit::Rlimits;
use crate::task::session::Session;
use crate::task::signal::TaskSignals;
use crate::task::thread::{NewTask, Resources};
use crate::task::user_ns::UserNs;
use crate::task::{Process, Task};
use crate::tty::Terminals;
use crate::vfs::context::FsContext;
use crate::vfs::dentry::{Dentry, DentryCache};
use crate::vfs::device::Devices;
use crate::vfs::fd::{FdTable, OnExec};
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::{Device, FileKind, NAME_MAX, NewAttr, NewNode};
use crate::vfs::mount::{FileSystem, MountFlags, Namespace};
use crate::vfs::path::Path;
use crate::vfs::walk::LastLink;

/// Device numbers of the root file system, and of what it is made of.
const ROOT_DEVICE: Device = Device::new(0, 2);
const LOWER_DEVICE: Device = Device::new(0, 3);
const UPPER_DEVICE: Device = Device::new(0, 4);

/// The first program.
#[derive(Clone)]
pub enum Init {
    /// A static program in kernel memory, whatever the root file system has.
    Image(Arc<dyn Blob>),
    /// A file of the guest.
    Path(Vec<u8>),
}

/// What PID 1 has as standard input, output and error.
#[derive(Clone)]
pub enum Stdio {
    /// A host stream each.
    Streams([Arc<dyn ByteStream>; 3]),
    /// The console, a terminal on this stream.
    Console(Arc<dyn ByteStream>),
}

/// What the root file system is.
#[derive(Clone)]
pub enum RootFs {
    /// A cpio archive, maybe compressed with gzip; it is unpacked to memory.
    Archive(Arc<dyn Blob>),
    /// A directory of the host's, read as it is used; changes go to memory.
    Below(Arc<dyn tree::Node>),
    /// A directory of the host's, which changes.
    Directory(Arc<dyn tree::Node>),
    /// An archive or a directory of the host's ([`RootFs::Below`]), which stays as it is: changes go to an ext4.
    Over {
        /// What is changed.
        below: Box<RootFs>,
        /// What the node of the disk with the ext4 is called.
        disk: String,
    },
    /// An ext4 on a disk or partition of this name (`ubda1`).
    Disk {
        /// What the node of the disk is called.
        name: String,
        /// What becomes of what the guest writes to the disk.
        changes: Changes,
    },
}

/// What becomes of what a guest changes of its root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The disk or directory is written.
    Kept,
    /// It is in memory, and gone at the end.
    InMemory,
}

/// A directory of the host's at a place of the guest.
#[derive(Clone)]
pub struct Share {
    /// The directory; whether it can be changed is its own matter.
    pub node: Arc<dyn tree::Node>,
    /// The place, an absolute path; directories that are missing are made.
    pub at: Vec<u8>,
    /// Whether guests are told that it cannot be changed.
    pub read_only: bool,
}

/// What an instance is made of.
#[derive(Clone)]
pub struct BootConfig {
    /// The root file system.
    pub root: RootFs,
    /// Directories of the host's that are mounted before PID 1 starts.
    pub shares: Vec<Share>,
    /// PID 1's program.
    pub init: Init,
    /// Its arguments, its own name first.
    pub args: Vec<Vec<u8>>,
    /// Its environment.
    pub env: Vec<Vec<u8>>,
    /// What it has for standard streams.
    pub stdio: Stdio,
    /// Its disks, by number: 0 is `ubda`.
    pub disks: Vec<(usize, Arc<dyn BlockDevice>)>,
    /// `uname -n`.
    pub hostname: Vec<u8>,
    /// `/proc/cmdline`.
    pub command_line: Vec<u8>,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// Number of vCPUs; each needs a thread in [`Kernel::run_vcpu`].
    pub vcpus: usize,
    /// The most threads in all.
    pub max_tasks: usize,
    /// Takes traced calls.
    pub trace: Option<TraceSink>,
    /// Where kernel messages are kept; the frontend's logger adds them.
    pub log: Arc<LogRing>,
}

/// Why an instance cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The root file system cannot be unpacked; what is wrong with it.
    Root(String),
    /// There is not enough memory or the host refuses something.
    Start(Errno),
    /// A share cannot be mounted at this place of the guest.
    Share(Vec<u8>, Errno),
}

impl From<Errno> for BootError {
    fn from(errno: Errno) -> BootError {
        BootError::Start(errno)
    }
}

/// A stream that takes everything and gives nothing: the console of an instance without a terminal.
struct NoStream;

impl ByteStream for NoStream {
    fn read(&self, _: &mut [u8]) -> core::result::Result<usize, StreamError> {
        Err(StreamError::WouldBlock)
    }

    fn write(&self, buf: &[u8]) -> core::result::Result<usize, StreamError> {
        Ok(buf.len())
    }

    fn ready(&self, _: Ready) -> Ready {
        Ready::WRITE
    }
}

impl<H: Host> Kernel<H> {
    /// Builds an instance; PID 1 starts as soon as a vCPU runs.
    pub fn boot(host: Arc<H>, config: BootConfig) -> core::result::Result<Arc<Kernel<H>>, BootError> {
        let boot_ns = host.boottime_ns();
        let link = Arc::new(KernelLink::<H>::default());
        let services = Arc::new(Services {
            ram: Ram::new(host.ram(), config.memory),
            timers: Arc::<Timers>::default(),
            clock: Arc::new(HostClock { host: host.clone(), boot_ns }),
            processes: link.clone(),
            anon: Default::default(),
            places: Arc::default(),
            room: Default::default(),
            epoll: Topology::new(config.memory),
            inotify: Arc::new(Limits::new(config.memory)),
        });
        let stdio = Standard::new(&config.stdio, &services);
        let source: Arc<dyn ProcessSource> = link.clone();
        let storage = Storage::new(&services, config.disks, &config.root);
        let rootfs = storage.root(&services, &config.root)?;
        let namespace = namespace(rootfs, &services, &stdio.terminals, &source, &storage)?;
        let (clock, notify) = (services.clock.clone(), namespace.dentries.notify.clone());
        let kernel = Arc::new(Kernel::assemble(Parts {
            cgroups: Group::root(link.clone(), clock, notify),
            namespace,
            disks: storage.disks,
            devices: stdio.devices(),
            host,
            services,
            hostname: config.hostname,
            command_line: config.command_line,
            log: config.log,
            trace: config.trace,
            vcpus: config.vcpus,
            max_tasks: config.max_tasks,
        }));
        link.connect(&kernel);
        let types = &kernel.namespace.types;
        types.register(Arc::new(MqueueType(kernel.ipc.namespace.clone())));
        types.register(Arc::new(CgroupType::new(kernel.cgroups.clone())));
        log::info!(
            "Lodger {}: {} MiB of RAM, {} CPU",
            env!("CARGO_PKG_VERSION"),
            config.memory >> 20,
            config.vcpus,
        );
        for share in config.shares {
            let at = share.at.clone();
            kernel.mount_share(share).map_err(|errno| BootError::Share(at, errno))?;
        }
        kernel.start_init(config.init, config.args, config.env, stdio)?;
        kernel.limit_heap();
        Ok(kernel)
    }

    /// Makes PID 1. It executes its program itself, in its own fiber, as a task that can walk paths and read files.
    fn start_init(
        self: &Arc<Self>,
        init: Init,
        args: Vec<Vec<u8>>,
        env: Vec<Vec<u8>>,
        stdio: Standard,
    ) -> Result<()> {
        let pid = self.tree.lock().allocate().unwrap_or(1);
        let relations = Relations { group: 0, session: Session::new(0), cgroup: self.cgroups.clone() };
        let (actions, limits) = (Arc::default(), Rlimits::default());
        let process = Process::new(pid, PidNs::INITIAL, relations, actions, limits, &self.services);
        let fs = FsContext::new(self.namespace.clone())?;
        let task = Task::new(
            &self.scheduler,
            NewTask {
                tid: pid,
                process: process.clone(),
                resources: Resources {
                    mm: Mm::new(&self.host, &self.services.ram, 0..0)?,
                    files: FdTable::new(),
                    fs,
                },
                cred: Arc::new(Cred::root()),
                namespaces: self.namespaces.clone(),
                signals: TaskSignals::default(),
                comm: *b"init\0\0\0\0\0\0\0\0\0\0\0\0",
                nice: Nice::default(),
                start_ns: self.services.clock.uptime_ns(),
            },
        );
        {
            let mut tree = self.tree.lock();
            tree.add(process.clone(), 0, 0);
            tree.add_thread(task.clone());
            process.signals.lock().threads.push(task.clone());
        }
        let (kernel, body_task) = (self.clone(), task.clone());
        let body = move |suspend: &dyn Suspend| {
            let fpu = Fpu::new(xsave::initial(kernel.host.fpu_size()));
            let context = RefCell::new(UserContext { regs: Registers::default(), fpu });
            let started = match Cx::new(&kernel, &body_task, &context, suspend) {
                Some(cx) => stdio.open(&cx).and_then(|()| exec_init(&cx, &init, args, env)),
                None => Err(EIO),
            };
            // Nothing of this is needed any more, and the fiber's stack lives as long as PID 1.
            drop((stdio, init));
            let status = match started {
                Ok(()) => crate::task::run::run(&kernel, &body_task, &context, suspend),
                Err(errno) => {
                    kernel.shut_down(Shutdown::NoInit(errno));
                    None
                }
            };
            drop(context);
            kernel.finish(&body_task, status.unwrap_or(ExitStatus::Exited(0)));
        };
        *task.fiber.lock() = Some(self.host.new_fiber(Box::new(body))?);
        task.wake(Events::empty());
        Ok(())
    }
}

impl<H: Host> Kernel<H> {
    /// Mounts a directory of the host's. ENOTDIR if its place is no directory, or below a symbolic link.
    fn mount_share(&self, share: Share) -> Result<()> {
        let namespace = &self.namespace;
        let mut at = namespace.root().ok_or(ENOENT)?;
        for name in share.at.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if name == b".." || name.len() > NAME_MAX {
                return Err(EINVAL);
            }
            at.dentry = directory(&at.dentry, name, &namespace.dentries)?;
            at = namespace.cross(at);
        }
        let fs = HostFs::new(&self.services, share.node, namespace.types.next_device())?;
        let mut flags = MountFlags::NO_DEV;
        flags.set(MountFlags::READ_ONLY, share.read_only);
        namespace.mount(fs, b"share", &at, flags, &UserNs::INITIAL)?;
        Ok(())
    }
}

fn exec_init<H: Host>(cx: &Cx<'_, H>, init: &Init, args: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> Result<()> {
    match init {
        Init::Image(blob) => {
            let backing = Backing::Blob { owner: blob.clone(), offset: 0, len: blob.bytes().len() };
            cx.exec_image(PageCache::new(&cx.services().ram, backing), args, &env)
        }
        Init::Path(name) => {
            let path = cx.fs.walker(cx).resolve(&cx.fs.cwd(), name, LastLink::Follow)?;
            cx.exec(&ExecRequest { path, name: name.clone(), args, env })
        }
    }
}

/// What PID 1's standard streams are opened from.
struct Standard {
    terminals: Terminals,
    /// Input, output and error; none of them if the console is all three.
    streams: Vec<Arc<Stream>>,
}

impl Standard {
    fn new(stdio: &Stdio, services: &Arc<Services>) -> Standard {
        let (console, hosts): (Arc<dyn ByteStream>, &[Arc<dyn ByteStream>]) = match stdio {
            Stdio::Console(stream) => (stream.clone(), &[]),
            Stdio::Streams(hosts) => (Arc::new(NoStream), hosts),
        };
        let streams = hosts.iter().map(|host| Stream::new(host.clone(), services)).collect();
        Standard { terminals: Terminals::new(services, console), streams }
    }

    /// What is to be looked at when the host has news.
    fn devices(&self) -> Vec<Arc<dyn PolledDevice>> {
        let mut devices: Vec<Arc<dyn PolledDevice>> = alloc::vec![self.terminals.console.clone()];
        devices.extend(self.streams.iter().map(|stream| stream.clone() as Arc<dyn PolledDevice>));
        devices
    }

    fn open<H: Host>(&self, cx: &Cx<'_, H>) -> Result<()> {
        let install = |file: Arc<OpenFile>| cx.files.install(file, OnExec::Keep, u64::MAX);
        if self.streams.is_empty() {
            // PID 1 opens the console itself, so that it has a path and can become a controlling terminal.
            let path = cx.fs.walker(cx).resolve(&cx.fs.root(), b"/dev/console", LastLink::Follow)?;
            let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
            let ops = self.terminals.console.tty().open(flags, cx)?;
            let file = OpenFile::new(ops, path.inode().clone(), Some(path), flags);
            for _ in 0..3 {
                install(file.clone())?;
            }
            return Ok(());
        }
        let flags = [OpenFlags::empty(), OpenFlags::WRONLY, OpenFlags::WRONLY];
        for (number, (stream, flags)) in self.streams.iter().zip(flags).enumerate() {
            install(stream.open(FileKind::Fifo, number as u64 + 1, flags))?;
        }
        Ok(())
    }
}

fn root_options(ram: u64) -> Options {
    Options { mode: 0o755, ..Options::of_half(ram) }
}

/// The disks, and what is mounted of them.
struct Storage {
    disks: Arc<Disks>,
    mounted: Arc<Mounted>,
}

impl Storage {
    fn new(services: &Arc<Services>, devices: Vec<(usize, Arc<dyn BlockDevice>)>, root: &RootFs) -> Storage {
        let disks = Arc::<Disks>::default();
        let in_memory = match root {
            RootFs::Disk { name, changes: Changes::InMemory } => block::index_of(name),
            _ => None,
        };
        for (index, device) in devices {
            if in_memory == Some(index) {
                let room = services.ram.total() / 2;
                disks.add(index, Arc::new(MemoryOverlay::new(device, &services.ram, room)));
            } else {
                disks.add(index, device);
            }
        }
        for number in 0..FIRST_LOOPS {
            // There is room for so many, and no node yet.
            let _ = disks.add_loop(Some(number));
        }
        Storage { mounted: Mounted::new(services, &disks), disks }
    }

    /// The root file system.
    fn root(
        &self,
        services: &Arc<Services>,
        root: &RootFs,
    ) -> core::result::Result<Arc<dyn FileSystem>, BootError> {
        match root {
            RootFs::Archive(blob) => Ok(unpacked(services, blob, ROOT_DEVICE)?),
            RootFs::Over { below, disk } => {
                let lower: Arc<dyn FileSystem> = match &**below {
                    RootFs::Archive(blob) => unpacked(services, blob, LOWER_DEVICE)?,
                    RootFs::Below(node) => HostFs::new(services, node.clone(), LOWER_DEVICE)?,
                    _ => return Err(EINVAL.into()),
                };
                Ok(Overlay::over(lower, self.ext4(disk)?, ROOT_DEVICE)?)
            }
            RootFs::Below(node) => {
                let lower = HostFs::new(services, node.clone(), LOWER_DEVICE)?;
                let room = services.ram.total() / 2;
                Ok(Overlay::in_ram(lower, services, ROOT_DEVICE, UPPER_DEVICE, room)?)
            }
            RootFs::Directory(node) => Ok(HostFs::new(services, node.clone(), ROOT_DEVICE)?),
            RootFs::Disk { name, .. } => self.ext4(name),
        }
    }

    /// The ext4 on the disk or partition of that name.
    fn ext4(&self, name: &str) -> core::result::Result<Arc<dyn FileSystem>, BootError> {
        let volumes = self.disks.volumes();
        let volume = volumes.iter().find(|volume| volume.name == *name);
        let volume = volume.ok_or_else(|| BootError::Root(format!("there is no disk {name}")))?;
        let mut flags = MountFlags::REL_ATIME;
        flags.set(MountFlags::READ_ONLY, volume.read_only());
        let mounted = self.mounted.mount("ext4", volume.number, flags, b"");
        mounted.map_err(|errno| {
            BootError::Root(format!("it cannot be mounted as ext4 ({errno:?}); `e2fsck` may repair it"))
        })
    }
}

/// A new tmpfs with the files of an archive.
fn unpacked(
    services: &Arc<Services>,
    blob: &Arc<dyn Blob>,
    device: Device,
) -> core::result::Result<Arc<Tmpfs>, BootError> {
    let total = services.ram.total();
    let rootfs = Tmpfs::new(services, "tmpfs", device, root_options(total));
    let unpacked = archive::unpack(blob, &rootfs, usize::try_from(total).unwrap_or(usize::MAX))
        .map_err(|error| BootError::Root(error.to_string()))?;
    log::info!("root file system of {} entries", unpacked.entries);
    Ok(rootfs)
}

/// The directory `name` of `dir`, made if it is missing.
fn directory(dir: &Arc<Dentry>, name: &[u8], cache: &DentryCache) -> Result<Arc<Dentry>> {
    let attr = NewAttr { mode: 0o755, uid: 0, gid: 0 };
    let found = match dir.child(name, cache) {
        Err(ENOENT) => dir.make(name, NewNode::Directory, &attr, cache)?,
        found => found?,
    };
    if found.kind() == FileKind::Directory { Ok(found) } else { Err(ENOTDIR) }
}

/// The tree of mounts: the root, `/dev` on it, and the types that the guest can mount.
fn namespace(
    rootfs: Arc<dyn FileSystem>,
    services: &Arc<Services>,
    terminals: &Terminals,
    source: &Arc<dyn ProcessSource>,
    Storage { disks, mounted }: &Storage,
) -> core::result::Result<Arc<Namespace>, BootError> {
    let devices = Arc::<Devices>::default();
    for major in [block::MAJOR, loops::MAJOR, block::EXTENDED] {
        devices.register_block_major(major, Arc::new(DiskOpener(disks.clone())));
    }
    devices.register_char(loop_control::DEVICE, Arc::new(LoopControl(disks.clone())));
    dev::register(&devices, services, source);
    terminals.register(&devices);
    devices.register_fifo(Arc::new(FifoOpener));
    let source_name: &[u8] = if rootfs.device().major == block::MAJOR { b"/dev/root" } else { b"rootfs" };
    let namespace = Namespace::new(rootfs, source_name, devices);
    let types = &namespace.types;
    let facts = Facts::new(source.clone(), services.clone(), types, disks.clone());
    let dev = dev::devtmpfs(services, types.next_device())?;
    disks.make_nodes(&dev)?;
    types.register(Arc::new(TmpfsType(services.clone())));
    types.register(Arc::new(RamfsType(services.clone())));
    for name in ["ext4", "ext3", "ext2"] {
        types.register(Arc::new(Ext4Type { name, mounted: mounted.clone() }));
    }
    types.register(Arc::new(OverlayType));
    types.register(terminals.pts_type.clone());
    types.register(Arc::new(ProcType(facts.clone())));
    types.register(Arc::new(SysType(facts)));
    types.register(Arc::new(dev::DevType(dev.clone())));
    let root = namespace.root().ok_or(ENOENT)?;
    let flags = MountFlags::NO_SUID | MountFlags::NO_EXEC;
    directory(&root.dentry, b"dev", &namespace.dentries)
        .map(|dentry| Path { mount: root.mount, dentry })
        .and_then(|at| namespace.mount(dev, b"devtmpfs", &at, flags, &UserNs::INITIAL))
        .map_err(|errno| BootError::Root(format!("nothing can be mounted at its /dev ({errno:?})")))?;
    Ok(namespace)
}
