//! Replacing a program: what survives, what is reset, what the new one is handed, and which error comes first.
//! execve(2), getauxval(3).

use std::ffi::CStr;
use std::ptr::null;

use libc::c_int;

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    arguments_and_environment_arrive,
    empty_strings_arrive,
    auxv_is_complete,
    errno_order,
    directory_and_permissions,
    permission_of_a_user,
    not_an_executable,
    truncated_elf,
    script_is_interpreted,
    script_passes_one_argument,
    script_nests,
    script_without_interpreter,
    too_long_arguments,
    bad_pointers,
    cloexec_closes,
    handlers_are_reset,
    mask_and_pending_stay,
    pid_and_parent_stay,
    alarm_stays,
    dumpable_memory_is_gone,
    execveat_of_a_descriptor,
    execveat_refuses,
    setuid_bit_is_honoured,
    text_busy,
    stack_is_aligned,
    failed_exec_changes_nothing,
];

/// `abi show WHAT`: tells on stdout what the new program sees.
pub fn show(what: &str) -> c_int {
    match what {
        "args" => std::env::args_os().for_each(|word| println!("[{}]", word.to_string_lossy())),
        "env" => std::env::vars_os().for_each(|(k, v)| println!("{}={}", k.display(), v.display())),
        "auxv" => show_auxv(),
        "fds" => {
            // SAFETY: only asks for flags.
            let open = (0..64).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1);
            println!("{:?}", open.collect::<Vec<_>>());
        }
        "signals" => show_signals(),
        "caps" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            status.lines().filter(|line| line.starts_with("CapEff")).for_each(|line| println!("{line}"));
        }
        // SAFETY: asks for numbers.
        "ids" => unsafe {
            println!("{} {} {} {}", libc::getpid(), libc::getppid(), libc::getuid(), libc::geteuid());
        },
        "status" => print!("{}", std::fs::read_to_string("/proc/self/status").unwrap_or_default()),
        // SAFETY: no memory is involved.
        "dumpable" => println!("{}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }),
        "stack" => println!("{:p}", &raw const what),
        "alarm" => sleep_ms(5000),
        "sleep" => {
            // SAFETY: closes what the case wants closed: nothing of this program.
            unsafe { libc::close(1) };
            sleep_ms(8000);
        }
        _ => return 2,
    }
    0
}

fn show_auxv() {
    let wanted = [
        ("PAGESZ", libc::AT_PAGESZ),
        ("PHDR", libc::AT_PHDR),
        ("PHENT", libc::AT_PHENT),
        ("PHNUM", libc::AT_PHNUM),
        ("ENTRY", libc::AT_ENTRY),
        ("UID", libc::AT_UID),
        ("EGID", libc::AT_EGID),
        ("SECURE", libc::AT_SECURE),
        ("CLKTCK", libc::AT_CLKTCK),
        ("RANDOM", libc::AT_RANDOM),
        ("EXECFN", libc::AT_EXECFN),
        ("PLATFORM", libc::AT_PLATFORM),
        ("HWCAP", libc::AT_HWCAP),
    ];
    for (name, kind) in wanted {
        // SAFETY: getauxval only reads; strings it names are on the stack for good.
        unsafe {
            let value = libc::getauxval(kind);
            match kind {
                libc::AT_EXECFN | libc::AT_PLATFORM if value != 0 => {
                    println!("{name} {}", CStr::from_ptr(value as *const i8).to_string_lossy());
                }
                libc::AT_RANDOM if value != 0 => println!("{name} {:?}", *(value as *const [u8; 16])),
                _ => println!("{name} {value}"),
            }
        }
    }
}

fn show_signals() {
    // SAFETY: all structures live.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        for signal in [libc::SIGUSR1, libc::SIGUSR2] {
            libc::sigaction(signal, std::ptr::null(), &mut action);
            println!("{signal} {}", action.sa_sigaction);
        }
        let (mut mask, mut pending) = (set(&[]), set(&[]));
        libc::sigprocmask(libc::SIG_BLOCK, null(), &mut mask);
        libc::sigpending(&mut pending);
        println!("blocked {}", libc::sigismember(&mask, libc::SIGTERM));
        println!("pending {}", libc::sigismember(&pending, libc::SIGTERM));
    }
}

/// Runs `abi show ...` and returns what it printed.
#[track_caller]
fn shown(words: &[&CStr], env: &[&CStr]) -> Done<String> {
    let mut all = vec![c"show"];
    all.extend(words);
    let (out, word) = run_self(&all, env)?;
    if word != 0 { fail(format!("the program ended with {}", describe(word))) } else { Ok(out) }
}

unsafe fn arguments_and_environment_arrive() -> Done {
    let out = shown(&[c"args", c"a b", c"-x"], &[])?;
    check(out.ends_with("[show]\n[args]\n[a b]\n[-x]\n"), &out)?;
    eq(shown(&[c"env"], &[c"A=1", c"B=", c"C=x=y"])?, "A=1\nB=\nC=x=y\n")
}

unsafe fn empty_strings_arrive() -> Done {
    let out = shown(&[c"args", c"", c""], &[c"E=1"])?;
    check(out.ends_with("[args]\n[]\n[]\n"), &out)
}

unsafe fn auxv_is_complete() -> Done {
    let out = shown(&[c"auxv"], &[])?;
    let value = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(' ').map(|(_, value)| value.to_string()).unwrap_or_default()
    };
    eq(value("PAGESZ"), "4096")?;
    eq(value("PHENT"), "56")?;
    eq(value("CLKTCK"), "100")?;
    eq(value("SECURE"), "0")?;
    eq(value("UID"), libc::getuid().to_string())?;
    eq(value("PLATFORM"), "x86_64")?;
    eq(value("EXECFN").as_str(), own_path().to_str().unwrap_or_default())?;
    for name in ["PHDR", "PHNUM", "ENTRY", "RANDOM"] {
        check(!["", "0"].contains(&value(name).as_str()), name)?;
    }
    check(shown(&[c"auxv"], &[])? != out, "AT_RANDOM differs from run to run")
}

unsafe fn try_exec(path: &CStr) -> c_int {
    let argv = [path.as_ptr(), null()];
    libc::execve(path.as_ptr(), argv.as_ptr(), argv.as_ptr().add(1))
}

unsafe fn errno_order() -> Done {
    fails(try_exec(c"nothing-here"), libc::ENOENT)?;
    fails(try_exec(c""), libc::ENOENT)?;
    ok(libc::close(file(c"plain", b"hello")?))?;
    fails(try_exec(c"plain/x"), libc::ENOTDIR)?;
    // The file is looked at before the arguments are read.
    fails(libc::syscall(libc::SYS_execve, c"nothing-here".as_ptr(), 8usize, 8usize), libc::ENOENT)?;
    fails(libc::syscall(libc::SYS_execve, 8usize, 0, 0), libc::EFAULT)?;
    ok(libc::symlink(c"loop".as_ptr(), c"loop".as_ptr()))?;
    fails(try_exec(c"loop"), libc::ELOOP)
}

unsafe fn directory_and_permissions() -> Done {
    ok(libc::mkdir(c"dir".as_ptr(), 0o755))?;
    fails(try_exec(c"dir"), libc::EACCES)?;
    ok(libc::close(file(c"plain", b"#!/bin/sh\n")?))?;
    fails(try_exec(c"plain"), libc::EACCES) // root too needs one x bit
}

unsafe fn permission_of_a_user() -> Done {
    need_root()?;
    ok(libc::close(file(c"mine", b"#!/bin/sh\n")?))?;
    ok(libc::chmod(c"mine".as_ptr(), 0o700))?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    in_child(|| {
        drop_root()?;
        fails(try_exec(c"mine"), libc::EACCES)
    })
}

/// An executable file with that content.
unsafe fn program(name: &CStr, content: &[u8]) -> Done {
    ok(libc::close(file(name, content)?))?;
    ok(libc::chmod(name.as_ptr(), 0o755)).map(drop)
}

unsafe fn not_an_executable() -> Done {
    program(c"text", b"hello, world\n")?;
    fails(try_exec(c"text"), libc::ENOEXEC)?;
    program(c"empty", b"")?;
    fails(try_exec(c"empty"), libc::ENOEXEC)
}

unsafe fn truncated_elf() -> Done {
    let whole = std::fs::read(own_path().to_str().unwrap_or_default()).unwrap_or_default();
    check(whole.len() > 4096, "this program can be read")?;
    for len in [4, 20, 63] {
        program(c"cut", &whole[..len])?;
        fails(try_exec(c"cut"), libc::ENOEXEC)?;
    }
    let mut other = whole[..4096].to_vec();
    other[18] = 40; // for an ARM
    program(c"arm", &other)?;
    fails(try_exec(c"arm"), libc::ENOEXEC)
}

/// A script whose interpreter is this program.
fn script(rest: &str) -> Vec<u8> {
    format!("#!{}{rest}", own_path().to_str().unwrap_or_default()).into_bytes()
}

/// Runs `path` with one argument and returns its output.
unsafe fn output_of(path: &CStr) -> Done<String> {
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::dup2(w, 1))?;
        exec(path, &[c"last"], &[])
    })?;
    ok(libc::close(w))?;
    join(pid)?;
    let out = get(r)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

unsafe fn script_is_interpreted() -> Done {
    program(c"s", &script(" args\n"))?;
    let interpreter = own_path();
    eq(output_of(c"./s")?, format!("[{}]\n[args]\n[./s]\n[last]\n", interpreter.to_string_lossy()))
}

unsafe fn script_passes_one_argument() -> Done {
    program(c"s", b"#! /bin/echo   a  b \n")?;
    if libc::access(c"/bin/echo".as_ptr(), libc::X_OK) != 0 {
        return skip("no /bin/echo");
    }
    eq(output_of(c"./s")?, "a  b ./s last\n")
}

unsafe fn script_nests() -> Done {
    if libc::access(c"/bin/echo".as_ptr(), libc::X_OK) != 0 {
        return skip("no /bin/echo");
    }
    program(c"inner", b"#!/bin/echo in\n")?;
    program(c"outer", b"#!./inner out\n")?;
    eq(output_of(c"./outer")?, "in ./inner out ./outer last\n")?;
    program(c"self", b"#!./self\n")?;
    fails(try_exec(c"./self"), libc::ELOOP)
}

unsafe fn script_without_interpreter() -> Done {
    program(c"s", b"#!/nothing/here\n")?;
    fails(try_exec(c"s"), libc::ENOENT)?;
    program(c"s", b"#!\n")?;
    fails(try_exec(c"s"), libc::ENOEXEC)
}

unsafe fn too_long_arguments() -> Done {
    let long = vec![b'x'; 131_072]; // MAX_ARG_STRLEN counts the NUL
    let path = own_path();
    let mut word = long.clone();
    word.push(0);
    let argv = [path.as_ptr(), word.as_ptr().cast(), null()];
    fails(libc::execve(path.as_ptr(), argv.as_ptr(), argv.as_ptr().add(2)), libc::E2BIG)?;
    word.truncate(131_071);
    word.push(0);
    let text = CStr::from_bytes_with_nul(&word).unwrap_or_default();
    eq(shown(&[c"args", text], &[])?.len() > 131_071, true)
}

unsafe fn bad_pointers() -> Done {
    let path = own_path();
    let argv = [path.as_ptr(), 8 as *const i8, null()];
    fails(libc::execve(path.as_ptr(), argv.as_ptr(), argv.as_ptr().add(2)), libc::EFAULT)?;
    fails(libc::syscall(libc::SYS_execve, path.as_ptr(), 8usize, 0), libc::EFAULT)
}

unsafe fn cloexec_closes() -> Done {
    ok(libc::dup2(2, 20))?;
    ok(libc::dup3(2, 21, libc::O_CLOEXEC))?;
    let out = shown(&[c"fds"], &[])?;
    check(out.contains(" 20") && !out.contains(" 21"), &out)
}

unsafe fn handlers_are_reset() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    dispose(libc::SIGUSR2, libc::SIG_IGN)?;
    let out = shown(&[c"signals"], &[])?;
    check(out.starts_with("10 0\n12 1\n"), &out)
}

unsafe fn mask_and_pending_stay() -> Done {
    block(&[libc::SIGTERM])?;
    let path = own_path();
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::raise(libc::SIGTERM))?;
        ok(libc::dup2(w, 1))?;
        exec(&path, &[c"show", c"signals"], &[])
    })?;
    join(pid)?;
    let out = String::from_utf8_lossy(&get(r)?).into_owned();
    check(out.ends_with("blocked 1\npending 1\n"), &out)
}

unsafe fn pid_and_parent_stay() -> Done {
    let path = own_path();
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        ok(libc::dup2(w, 1))?;
        exec(&path, &[c"show", c"ids"], &[])
    })?;
    join(pid)?;
    let out = String::from_utf8_lossy(&get(r)?).into_owned();
    check(out.starts_with(&format!("{pid} {} ", libc::getpid())), &out)
}

unsafe fn alarm_stays() -> Done {
    let path = own_path();
    let pid = spawn(|| {
        libc::alarm(1);
        exec(&path, &[c"show", c"alarm"], &[])
    })?;
    dies_of(pid, libc::SIGALRM)
}

unsafe fn dumpable_memory_is_gone() -> Done {
    // A mapping of the old program is not there in the new one: its output shows no trace, its fds are shut.
    let page = memory(PAGE)?;
    *page = 1;
    eq(shown(&[c"env"], &[])?, "")?;
    eq(*page, 1)
}

unsafe fn execveat_of_a_descriptor() -> Done {
    let path = own_path();
    let fd = ok(libc::open(path.as_ptr(), libc::O_RDONLY))?;
    let argv = [path.as_ptr(), c"exit".as_ptr(), c"9".as_ptr(), null()];
    let pid = spawn(|| {
        let end = argv.as_ptr().add(3);
        let flags = libc::AT_EMPTY_PATH;
        ok(libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv.as_ptr(), end, flags)).map(drop)
    })?;
    eq(libc::WEXITSTATUS(status(pid)?), 9)
}

unsafe fn execveat_refuses() -> Done {
    let argv: [*const i8; 1] = [null()];
    let call = |dir: c_int, path: &CStr, flags: c_int| {
        libc::syscall(libc::SYS_execveat, dir, path.as_ptr(), argv.as_ptr(), argv.as_ptr(), flags)
    };
    fails(call(libc::AT_FDCWD, c"x", 0x4000_0000), libc::EINVAL)?;
    fails(call(99, c"x", 0), libc::EBADF)?;
    fails(call(libc::AT_FDCWD, c"", 0), libc::ENOENT)?;
    ok(libc::symlink(own_path().as_ptr(), c"link".as_ptr()))?;
    fails(call(libc::AT_FDCWD, c"link", libc::AT_SYMLINK_NOFOLLOW), libc::ELOOP)
}

unsafe fn setuid_bit_is_honoured() -> Done {
    need_root()?;
    let own = std::fs::read(own_path().to_str().unwrap_or_default()).unwrap_or_default();
    program(c"suid", &own)?;
    ok(libc::chown(c"suid".as_ptr(), 0, 0))?;
    ok(libc::chmod(c"suid".as_ptr(), 0o4755))?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    let mut fs: libc::statvfs = std::mem::zeroed();
    ok(libc::statvfs(c".".as_ptr(), &mut fs))?;
    if fs.f_flag & libc::ST_NOSUID != 0 {
        return skip("the file system is mounted nosuid");
    }
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        drop_root()?;
        ok(libc::dup2(w, 1))?;
        exec(c"./suid", &[c"show", c"ids"], &[])
    })?;
    join(pid)?;
    let out = String::from_utf8_lossy(&get(r)?).into_owned();
    check(out.ends_with(" 65534 0\n"), &out)
}

unsafe fn text_busy() -> Done {
    let own = std::fs::read(own_path().to_str().unwrap_or_default()).unwrap_or_default();
    program(c"busy", &own)?;
    let fd = ok(libc::open(c"busy".as_ptr(), libc::O_WRONLY))?;
    fails(try_exec(c"busy"), libc::ETXTBSY)?;
    ok(libc::close(fd))?;
    let pid = spawn(|| exec(c"./busy", &[c"show", c"sleep"], &[]))?;
    sleep_ms(100);
    let opened = fails(libc::open(c"busy".as_ptr(), libc::O_WRONLY), libc::ETXTBSY);
    ok(libc::kill(pid, libc::SIGKILL))?;
    opened
}

unsafe fn stack_is_aligned() -> Done {
    // The arguments' pointers follow a 16-byte aligned argc; shown by the environment block's end in any case.
    for words in [&[c"args"][..], &[c"args", c"1"], &[c"args", c"12", c"3"]] {
        check(shown(words, &[c"X=1"])?.contains("[args]"), "it runs whatever the count of words")?;
    }
    Ok(())
}

unsafe fn failed_exec_changes_nothing() -> Done {
    on(libc::SIGUSR1, note, 0)?;
    let fd = ok(libc::dup3(2, 30, libc::O_CLOEXEC))?;
    fails(try_exec(c"nothing"), libc::ENOENT)?;
    ok(libc::fcntl(fd, libc::F_GETFD))?;
    ok(libc::raise(libc::SIGUSR1))?;
    eq(SIGNALS.load(std::sync::atomic::Ordering::SeqCst), 1)
}
