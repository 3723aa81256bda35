//! Life and death of stubs: whatever ends the kernel ends them, what hits the terminal does not, and a stub that dies
//! takes only its own space along. The kernel's part is played by this test's own executable, started anew.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host_linux::backend::{Backend, Settings};
use host_linux_skas::SkasHost;
use kernel_core::host::{
    Access, ByteStream, Exit, Fill, Fpu, Host, MapOp, Phys, Prot, Registers, Space, StreamError, UserContext,
    VcpuId,
};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, getsid};

/// Set in the executable that plays the kernel.
const ROLE: &str = "LODGER_TEST_KERNEL";
const CODE: u64 = 0x40_0000;

/// A host with one guest that loops (`jmp .`). `each` gets the process that holds it after every exit, and says whether to
/// go on.
fn loop_forever(mut each: impl FnMut(&SkasHost, Option<i32>, Exit) -> bool + Send) {
    let host = match SkasHost::start(&Settings::new(1 << 40)) {
        Ok(host) => host,
        Err(error) => {
            println!("refused: {error}");
            return;
        }
    };
    let each = std::sync::Mutex::new(&mut each);
    SkasHost::run_vcpus(&host, &|vcpu| {
        let space = host.new_space(0..0).unwrap();
        host.ram().write(Phys(0), &[0xeb, 0xfe]);
        let prot = Prot::READ | Prot::EXEC;
        space.apply(&[MapOp::Map { va: CODE, len: 4096, phys: Phys(0), prot, fill: Fill::Lazy }]).unwrap();
        let regs = Registers { rip: CODE, rflags: 0x202, ..Registers::default() };
        let mut ctx = UserContext { regs, fpu: Fpu::new(vec![0; host.fpu_size()]) };
        loop {
            let exit = host.run(vcpu, &space, &mut ctx, Some(host.monotonic_ns() + 5_000_000));
            if !(each.lock().unwrap())(&host, SkasHost::host_process(&space), exit) {
                return;
            }
        }
    });
}

/// Not a test by itself: the kernel that other tests start. It says "up" and runs for at most 20 s.
#[test]
fn kernel() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    // SAFETY: ignoring a signal installs no handler.
    unsafe { nix::sys::signal::signal(Signal::SIGINT, nix::sys::signal::SigHandler::SigIgn).unwrap() };
    let start = Instant::now();
    let mut said = false;
    loop_forever(move |_, _, exit| {
        assert_eq!(exit, Exit::Interrupted);
        if !std::mem::replace(&mut said, true) {
            println!("up");
        }
        start.elapsed() < Duration::from_secs(20)
    });
}

/// Not a test by itself either: a host with nothing to do for half a second, which then tells what that took.
#[test]
fn idle() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let host = SkasHost::start(&Settings::new(1 << 40)).unwrap();
    let (read, _write) = nix::unistd::pipe().unwrap();
    let stream = host.stream(Some(read.as_fd()), None).unwrap();
    assert_eq!(stream.read(&mut [0]), Err(StreamError::WouldBlock));
    let used = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    SkasHost::run_vcpus(&host, &|vcpu| {
        let before = used();
        host.wait(vcpu, Some(host.monotonic_ns() + 500_000_000));
        println!("it took up {} us", used() - before);
    });
}

/// Not a test by itself: a host with 300 spaces at once, three times over, which then has none and waits.
#[test]
fn many() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let host = SkasHost::start(&Settings::new(1 << 40)).unwrap();
    SkasHost::run_vcpus(&host, &|vcpu| {
        for _ in 0..3 {
            let spaces: Vec<_> = (0..300).map(|_| host.new_space(0..0).unwrap()).collect();
            for space in &spaces {
                let regs = Registers { rip: CODE, ..Registers::default() };
                let mut ctx = UserContext { regs, fpu: Fpu::new(vec![0; host.fpu_size()]) };
                let exit = host.run(vcpu, space, &mut ctx, None);
                assert_eq!(exit, Exit::Fault { addr: CODE, access: Access::Exec });
            }
        }
        println!("up");
        host.wait(vcpu, Some(host.monotonic_ns() + 20_000_000_000));
    });
}

#[test]
fn spaces_that_were_dropped_leave_few_processes() {
    let (mut kernel, said) = start("many", &own_executable(), |command| {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        // Fewer descriptors than spaces, unless the host raises the limit.
        let limit = || {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
            Ok(setrlimit(Resource::RLIMIT_NOFILE, most.min(128), most)?)
        };
        // SAFETY: the closure makes two system calls.
        unsafe { command.pre_exec(limit) };
    });
    assert_eq!(said, "up");
    let start = Instant::now();
    let mut left = family(&kernel).1.len();
    while left > 40 && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
        left = family(&kernel).1.len();
    }
    assert!(left <= 40, "{left} stubs for no space");
    kernel.kill().unwrap();
    kernel.wait().unwrap();
}

#[test]
fn an_idle_host_uses_no_processor() {
    let (mut kernel, said) = start("idle", &own_executable(), |_| {});
    kernel.wait().unwrap();
    let used: u64 = said.split_whitespace().nth(3).and_then(|word| word.parse().ok()).expect(&said);
    assert!(used < 20_000, "{used} us in half a second");
}

fn start(role: &str, executable: &Path, prepare: impl FnOnce(&mut Command)) -> (Child, String) {
    let mut command = Command::new(executable);
    command.args([role, "--exact", "--nocapture"]).env(ROLE, "1").stdout(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.by_ref().lines().map_while(Result::ok);
    let said = lines.find(|line| line.contains("up") || line.contains("refused")).unwrap_or_default();
    // Kept open: the child may have more to say.
    child.stdout = Some(output.into_inner());
    (child, said)
}

/// The processes whose parent is `parent`, dead ones that wait for it too.
fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent)
    })
    .collect()
}

fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn own_executable() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The spawner of a kernel, and its stubs.
fn family(kernel: &Child) -> (i32, Vec<i32>) {
    let spawners = children(kernel.id() as i32);
    assert_eq!(spawners.len(), 1, "one spawner and no zombie");
    (spawners[0], children(spawners[0]))
}

fn wait_for_end_of(pids: &[i32]) {
    let start = Instant::now();
    while pids.iter().any(|pid| exists(*pid)) {
        assert!(start.elapsed() < Duration::from_secs(5), "some of {pids:?} live on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nothing_survives_a_killed_kernel() {
    let (mut kernel, said) = start("kernel", &own_executable(), |_| {});
    assert_eq!(said, "up");
    let (spawner, mut all) = family(&kernel);
    assert!(!all.is_empty());
    all.push(spawner);
    kernel.kill().unwrap();
    kernel.wait().unwrap();
    wait_for_end_of(&all);
}

#[test]
fn signals_of_the_terminal_do_not_reach_stubs() {
    let (mut kernel, said) = start("kernel", &own_executable(), |command| {
        command.process_group(0);
    });
    assert_eq!(said, "up");
    let (spawner, stubs) = family(&kernel);
    let own = getsid(None).unwrap();
    for pid in stubs.iter().chain([&spawner]) {
        assert_ne!(getsid(Some(Pid::from_raw(*pid))).unwrap(), own);
    }
    // As Ctrl-C does; the kernel ignores it.
    kill(Pid::from_raw(-(kernel.id() as i32)), Signal::SIGINT).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(family(&kernel), (spawner, stubs));
    assert!(kernel.try_wait().unwrap().is_none());
    kernel.kill().unwrap();
    kernel.wait().unwrap();
}

#[test]
fn an_ordinary_user_can_run_it() {
    if !nix::unistd::geteuid().is_root() {
        return; // then all the other tests show it
    }
    let directory = std::env::temp_dir().join(format!("lodger-life-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let copy = directory.join("life");
    std::fs::copy(own_executable(), &copy).unwrap();
    let (mut kernel, said) = start("kernel", &copy, |command| {
        command.uid(65534).gid(65534).current_dir("/");
    });
    assert_eq!(said, "up");
    let (spawner, mut all) = family(&kernel);
    all.push(spawner);
    kernel.kill().unwrap();
    kernel.wait().unwrap();
    wait_for_end_of(&all);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_limit_of_address_space_is_one_clear_sentence() {
    let (mut kernel, said) = start("kernel", &own_executable(), |command| {
        let limit =
            || Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1 << 32, 1 << 32)?);
        // SAFETY: the closure makes one system call.
        unsafe { command.pre_exec(limit) };
    });
    assert!(said.contains("refused: cannot reserve address space"), "{said}");
    kernel.wait().unwrap();
}

#[test]
fn a_killed_stub_ends_its_space_only() {
    let mut died = false;
    loop_forever(|host, stub, exit| {
        if exit == Exit::Died {
            died = true;
            let space = host.new_space(0..0).unwrap();
            let mut ctx = UserContext { regs: Registers::default(), fpu: Fpu::new(vec![0; host.fpu_size()]) };
            // The deadline of the last run may come late, and ends this one.
            let mut exits = std::iter::repeat_with(|| host.run(VcpuId(0), &space, &mut ctx, None));
            let exit = exits.find(|exit| *exit != Exit::Interrupted);
            assert!(matches!(exit, Some(Exit::Fault { .. })), "{exit:?}");
            return false;
        }
        kill(Pid::from_raw(stub.unwrap()), Signal::SIGKILL).unwrap();
        true
    });
    assert!(died);
}
