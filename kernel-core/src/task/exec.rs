//! Executing programs. Source: `execve(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::arch::x86_64::{start_registers, xsave};
use crate::errno::{EACCES, EAGAIN, ELOOP, ENOEXEC, Result};
use crate::host::Host;
use crate::io::VecSink;
use crate::mm::cache::PageCache;
use crate::mm::elf::{self, Binary};
use crate::mm::stack::{self, AuxInfo, Start};
use crate::mm::{Mm, script};
use crate::sched::wait::Events;
use crate::syscall::Cx;
use crate::syscall::prctl::NO_RANDOMIZE;
use crate::task::cred::Cred;
use crate::task::exec_cred::{Asked, FileCaps, XATTR};
use crate::task::process::ExitStatus;
use crate::task::signal::{AltStack, SIGCHLD, SIGKILL};
use crate::vfs::claim::{Claim, Purpose};
use crate::vfs::file::{OpenFile, OpenFlags};
use crate::vfs::inode::{FileKind, Opened, S_ISGID, S_ISUID};
use crate::vfs::mount::MountFlags;
use crate::vfs::notify::Happening;
use crate::vfs::path::Path;
use crate::vfs::permission::Access;
use crate::vfs::walk::LastLink;

/// How many interpreters of scripts may stand before the program itself.
const SCRIPT_DEPTH: usize = 4;

/// Bytes of a file that tell what it is.
const HEAD: usize = 256;

/// A program that was found and may be executed.
struct Program {
    binary: Binary,
    interpreter: Option<Binary>,
    args: Vec<Vec<u8>>,
    /// What the task is called from now on.
    comm: Vec<u8>,
    /// What the credentials become.
    cred: Cred,
    secure: bool,
}

/// What to execute.
pub struct ExecRequest {
    /// The file, found already.
    pub path: Path,
    /// The name that scripts and the auxiliary vector see.
    pub name: Vec<u8>,
    /// Arguments.
    pub args: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<Vec<u8>>,
}

/// How long a file with code must not be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// While it is being opened.
    Opened,
    /// While it is open.
    Closed,
}

impl<H: Host> Cx<'_, H> {
    /// Replaces the program. An error leaves everything as it was; after the point of no return, failure kills.
    pub fn exec(&self, request: &ExecRequest) -> Result<()> {
        let program = self.find_program(request)?;
        self.run_program(program, &request.name, &request.env)
    }

    /// Replaces the program by one that is no file of the guest: PID 1's first.
    pub(crate) fn exec_image(
        &self,
        pages: Arc<PageCache>,
        args: Vec<Vec<u8>>,
        env: &[Vec<u8>],
    ) -> Result<()> {
        let binary = Binary { pages, file: None };
        if elf::interpreter(&binary)?.is_some() {
            return Err(ENOEXEC);
        }
        let (name, cred) = (args.first().cloned().unwrap_or_default(), Cred::clone(&self.cred()));
        let comm = base_name(&name).to_vec();
        let program = Program { binary, interpreter: None, args, comm, cred, secure: false };
        self.run_program(program, &name, env)
    }

    fn run_program(&self, program: Program, name: &[u8], env: &[Vec<u8>]) -> Result<()> {
        let start = Start { args: &program.args, env, path: name, aux: self.aux_info(&program) };
        stack::check_size(&start, self.task.process.rlimit(linux_raw_sys::general::RLIMIT_STACK))?;
        let addresses = elf::addresses(&program.binary)?;
        let mm = Mm::new(&self.kernel.host, &self.kernel.services.ram, addresses)?;
        if self.task.personality.load(Ordering::Relaxed) & NO_RANDOMIZE != 0 {
            mm.stop_randomizing();
        }
        mm.set_limits(self.kernel.mm_limits(&self.task.process, &program.cred));
        let image = elf::load(&mm, &program.binary, program.interpreter.as_ref())?;
        let sp = stack::build(&mm, &image, &start)?;
        // The point of no return: the other threads end.
        if self.kernel.become_sole_thread(self).is_none() {
            return Err(EAGAIN);
        }
        let former = if self.task.is_traced() { self.pid_for_tracer(self.task.tid()) } else { 0 };
        self.install(program, mm);
        let mut context = self.context.borrow_mut();
        context.regs = start_registers(image.entry, sp);
        let area = xsave::initial(self.kernel.host.fpu_size());
        context.fpu.replace(|bytes| bytes.copy_from_slice(&area));
        drop(context);
        self.stop_after_exec(former);
        Ok(())
    }

    fn install(&self, program: Program, mm: Arc<Mm<H>>) {
        let (task, process) = (self.task, &self.task.process);
        self.take_leaders_place();
        // The old memory goes when the last task lets go of it; robust futexes and the cleared id belong to it.
        self.before_exit();
        task.leaves_futexes.store(false, Ordering::SeqCst);
        *task.robust_list.lock() = Default::default();
        *task.rseq.lock() = None;
        task.set_user_dispatch(None);
        task.signals.lock().alt_stack = AltStack::default();
        process.set_actions(Arc::new(process.actions().without_handlers()));
        process.timers.delete_all();
        if Arc::strong_count(&self.files) > 2 {
            // Shared with another process: exec unshares.
            let copy = self.files.copy();
            copy.close_on_exec(self);
            task.replace_resources(|resources| resources.files = copy);
        } else {
            self.files.close_on_exec(self);
        }
        self.take_memory(mm.clone(), program.cred);
        if task.is_traced() {
            mm.keep_code();
        }
        task.set_comm(&program.comm);
        process.exit_signal.store(SIGCHLD, Ordering::Relaxed);
        *process.exe.lock() = program.binary.file;
    }

    /// Takes the program's memory and credentials, together: whoever looks into the task ([`Cx::look_into`]) finds the old of
    /// both or the new of both. Whoever began to trace it since the credentials were settled is found here.
    fn take_memory(&self, mm: Arc<Mm<H>>, cred: Cred) {
        let (task, process) = (self.task, &self.task.process);
        let old = self.cred();
        let (changed, gains) = (cred.is_other_than(&old), cred.gains_over(&old));
        if gains && process.no_new_privs.load(Ordering::Relaxed) != 0 {
            // Another thread said so meanwhile, and may have put filters over this one.
            process.end(ExitStatus::Signaled { signal: SIGKILL, core: false });
        }
        let left = {
            let mut tree = self.kernel.tree.lock();
            let left = match gains && !self.may_gain_in(&tree) {
                true => tree.untrace(task.tid(), 0),
                false => None,
            };
            task.replace_resources(|resources| resources.mm = mm);
            process.dumpable.store(u8::from(!changed), Ordering::Relaxed);
            task.set_cred(cred);
            if let Some(node) = tree.node_mut(process.pid) {
                node.has_execed = true;
            }
            left
        };
        if let Some(tracing) = left {
            tracing.tracer.process.child_queue.wake(Events::IN);
        }
        if changed {
            task.personality.store(0, Ordering::Relaxed);
            process.parent_death_signal.store(0, Ordering::Relaxed);
        }
    }

    /// A thread that executes a program becomes its process's first thread, with that one's id.
    fn take_leaders_place(&self) {
        let (task, pid) = (self.task, self.task.process.pid);
        if task.tid() == pid {
            return;
        }
        let mut tree = self.kernel.tree.lock();
        tree.remove_thread(task.tid());
        self.move_tracing(&mut tree, pid);
        task.process.pid_ns.leave(task.tid());
        task.set_tid(pid);
        // One of the two that counted.
        task.process.cgroup.group().remove_tasks(1);
        tree.add_thread(task.clone());
    }

    fn aux_info(&self, program: &Program) -> AuxInfo {
        let cpu = self.kernel.host.cpu();
        AuxInfo {
            uid: program.cred.shown_uid(),
            euid: program.cred.shown_euid(),
            gid: program.cred.shown_gid(),
            egid: program.cred.shown_egid(),
            secure: program.secure,
            hwcap: u64::from(cpu.hwcap),
            hwcap2: u64::from(cpu.hwcap2),
            clock_image: self.kernel.host.clock_image(),
            min_signal_stack: crate::arch::x86_64::signal_frame::size(self.kernel.host.fpu_size()),
        }
    }

    fn find_program(&self, request: &ExecRequest) -> Result<Program> {
        let mut args = request.args.clone();
        let (mut path, mut name) = (request.path.clone(), request.name.clone());
        for _ in 0..=SCRIPT_DEPTH {
            let file = self.open_program(&path)?;
            let binary = self.binary(&file)?;
            let mut head = VecSink::new(HEAD);
            binary.pages.read_at(0, &mut head)?;
            let Some(interpreter) = script::parse(&head.bytes) else {
                if head.bytes.starts_with(b"#!") {
                    return Err(ENOEXEC);
                }
                let interpreter = match elf::interpreter(&binary)? {
                    Some(name) => {
                        let path = self.resolve_program(&name)?;
                        Some(self.binary(&self.open_interpreter(&path)?)?)
                    }
                    None => None,
                };
                let (cred, secure) = self.cred_after(&path, &file)?;
                let comm = base_name(&request.name).to_vec();
                return Ok(Program { binary, interpreter, args, comm, cred, secure });
            };
            let mut words = alloc::vec![interpreter.path.clone()];
            words.extend(interpreter.arg);
            words.push(name);
            words.extend(args.into_iter().skip(1));
            args = words;
            name = interpreter.path;
            path = self.resolve_program(&name)?;
        }
        Err(ELOOP)
    }

    fn resolve_program(&self, name: &[u8]) -> Result<Path> {
        self.fs.walker(self).resolve(&self.fs.cwd(), name, LastLink::Follow)
    }

    /// Opens a file to be executed; nobody can write it while it is open.
    fn open_program(&self, path: &Path) -> Result<Arc<OpenFile>> {
        self.open_code(path, Until::Closed)
    }

    /// Opens a file with code; it cannot be written `until` then.
    fn open_code(&self, path: &Path, until: Until) -> Result<Arc<OpenFile>> {
        if path.inode().kind() != FileKind::Regular {
            return Err(EACCES);
        }
        self.fs.walker(self).check(path, Access::EXEC)?;
        if path.mount.flags().contains(MountFlags::NO_EXEC) {
            return Err(EACCES);
        }
        let claim = Claim::new(path.inode(), Purpose::Execute)?;
        let flags = OpenFlags::empty();
        let Opened::File(ops) = path.inode().open(flags, self)? else { return Err(EACCES) };
        let claim = match until {
            Until::Closed => Some(claim),
            Until::Opened => None,
        };
        let notify = &self.fs.namespace().dentries.notify;
        let file = OpenFile::named(ops, path.clone(), flags, claim, notify);
        file.happened(Happening::ACCESS);
        Ok(file)
    }

    /// Opens the interpreter that an ELF file names. Unlike the program's own file it may be written once it was read,
    /// as any library may.
    fn open_interpreter(&self, path: &Path) -> Result<Arc<OpenFile>> {
        self.open_code(path, Until::Opened)
    }

    fn binary(&self, file: &Arc<OpenFile>) -> Result<Binary> {
        let pages = file.ops.mappable(self.op(file)).map_err(|_| EACCES)?;
        Ok(Binary { pages, file: Some(file.clone()) })
    }

    /// The credentials that set-id bits and file capabilities give, and whether the program must not trust its environment.
    fn cred_after(&self, path: &Path, file: &OpenFile) -> Result<(Cred, bool)> {
        let no_new_privs = self.task.process.no_new_privs.load(Ordering::Relaxed) != 0;
        let mut asked = Asked::default();
        let (cred, may_gain) = (self.cred(), self.may_gain());
        if !path.mount.flags().contains(MountFlags::NO_SUID)
            && cred.user_ns.is_within(&path.mount.superblock.user_ns)
            && may_gain
        {
            let owner = file.inode.owner();
            let sets_ids = !no_new_privs
                && cred.user_ns.uid_inside(owner.uid).is_some()
                && cred.user_ns.gid_inside(owner.gid).is_some();
            asked.uid = (sets_ids && owner.mode & S_ISUID != 0).then_some(owner.uid);
            asked.gid = (sets_ids && owner.mode & (S_ISGID | 0o010) == S_ISGID | 0o010).then_some(owner.gid);
            asked.caps = file.inode.get_xattr(XATTR).ok().and_then(|value| FileCaps::parse(&value));
        }
        cred.after_exec(asked, no_new_privs || !may_gain)
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
