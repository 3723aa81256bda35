//! The same calls on files, directories, pipes, sockets and descriptors, made on native Linux and here: results, errors and what
//! they leave in memory have to be the same.
//!
//! Natively they are made by a child with an empty tmpfs as its root ([`crate::zygote`]); so are they here. Not compared is
//! what has to differ: numbers of inodes and devices, times, the order of directories and their sizes.

use std::sync::{Arc, Mutex};

use arbitrary::Unstructured;
use kernel_core::host::Exit;
use kernel_core::host::fake::GuestMem;
use linux_raw_sys::{general as sys, ioctl};

use crate::call::{Call, DATA, HERE, Out};
use crate::instance::{self, Script};
use crate::zygote::{self, End, SHARED};

/// The most calls of one input.
const MOST: usize = 48;
/// The most bytes that a call leaves.
const LEFT: usize = 4096;
/// Where calls find what they write, and leave what they read.
const FROM: u64 = DATA + 0x8000;
const TO: u64 = DATA + 0xc000;
/// `struct stat`.
const STAT: u64 = 144;

/// What a call came to: its result and what it left.
type Outcome = (i64, Vec<u8>);

/// The bytes choose calls.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let mut calls = Vec::new();
    while !choices.is_empty() && calls.len() < MOST {
        let Ok(call) = any(&mut choices) else { break };
        calls.push(call);
    }
    let Ok(mut zygote) = zygote::get() else { return };
    let (end, shared) = zygote.run(make_all, &encoded(&calls));
    drop(zygote);
    if end == End::NoPlace {
        return;
    }
    assert_eq!(end, End::Done, "native Linux is not through with {calls:x?}");
    let natively = answers(&shared, calls.len());
    let here = here(&calls);
    let pairs = natively.iter().zip(&here);
    let differ = |((native, ours), call)| comparable(call, native) != comparable(call, ours);
    let Some(index) = pairs.zip(&calls).position(differ) else {
        return assert_eq!(natively.len(), here.len());
    };
    let (call, native, ours) = (&calls[index], &natively[index], &here[index]);
    if is_newer(call, native.0, ours.0) || is_free(&calls[..=index], native.0, ours.0) {
        return;
    }
    let difference = format!(
        "call {index} gives {} and {:x?}, natively {} and {:x?}:\n{}",
        ours.0,
        comparable(call, ours).1,
        native.0,
        comparable(call, native).1,
        calls.iter().zip(&natively).take(index + 1).map(shown).collect::<String>()
    );
    // To count differences before each is looked at.
    if std::env::var_os("LODGER_FUZZ_SURVEY").is_some() {
        return eprintln!("DIFFERENCE: {difference}");
    }
    panic!("{difference}");
}

fn shown((call, outcome): (&Call, &Outcome)) -> String {
    let name = kernel_core::debug::names::syscall(call.number.into());
    let stores: Vec<String> = call
        .stores
        .iter()
        .map(|(at, bytes)| format!("{at:x}: {}", bytes[..bytes.len().min(40)].escape_ascii()))
        .collect();
    format!("  {name} {:x?} [{}] = {}\n", call.args, stores.join(", "), outcome.0)
}

/// What of an outcome has to be the same.
fn comparable(call: &Call, (result, left): &Outcome) -> Outcome {
    let mut left = left.clone();
    match call.out {
        Out::Stat(_) if left.len() == STAT as usize => {
            let is_dir = left[25] & 0xf0 == 0x40;
            // st_dev, st_ino; st_blksize, st_blocks, times; of a directory, its size.
            left[..16].fill(0);
            left[56..].fill(0);
            if is_dir {
                left[48..56].fill(0);
            }
        }
        // With `MSG_TRUNC` the result is longer than what was written.
        Out::Returned(_) if call.number == sys::__NR_recvfrom => left.truncate(call.args[2] as usize),
        // An empty directory fills the buffer with other lengths than one with ten names; what they are is what counts.
        Out::Entries(_) if *result > 0 => {
            let mut names = Vec::new();
            let mut rest = &left[..];
            while rest.len() > 19 {
                let len = usize::from(u16::from_le_bytes([rest[16], rest[17]])).clamp(19, rest.len());
                let name = rest[19..len].split(|&byte| byte == 0).next().unwrap_or_default();
                names.push([&rest[18..19], name, b"/"].concat());
                rest = &rest[len..];
            }
            names.sort();
            left = names.concat();
        }
        _ => {}
    }
    (*result, left)
}

/// Whether native Linux gives something else because it is newer. What comes after that may differ too.
fn is_newer(call: &Call, native: i64, ours: i64) -> bool {
    let command = call.args[1] as u32;
    match (call.number, native, ours) {
        // It changes no modes of files that have no names.
        (sys::__NR_fchmod, -95, 0) => true,
        // It writes exactly 8 bytes to an eventfd.
        (sys::__NR_write, -22, 8 | -11) => call.args[2] > 8,
        // It finds locks of the descriptor's own, which `F_UNLCK` asks for.
        (sys::__NR_fcntl, 0 | -75, -22) => command == sys::F_OFD_GETLK,
        _ => false,
    }
}

/// Whether the last call asks what each kernel decides: what numbers the entries of a directory have that was read, or is read
/// where it was put.
fn is_free(calls: &[Call], native: i64, ours: i64) -> bool {
    let [before @ .., last] = calls else { return false };
    let after = |number| before.iter().any(|call| call.number == number);
    // A place before the first is EINVAL.
    let is_place = |result| result >= 0 || result == -22;
    is_place(native)
        && is_place(ours)
        && match last.number {
            sys::__NR_lseek => after(sys::__NR_getdents64),
            sys::__NR_getdents64 => after(sys::__NR_lseek),
            _ => false,
        }
}

/// The calls of a script, and what they come to.
struct Recorded {
    calls: std::vec::IntoIter<Call>,
    last: Option<Call>,
    /// So many more only make the place.
    before: usize,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

impl Script for Recorded {
    fn next(&mut self, result: i64, memory: &dyn GuestMem) -> Result<Option<Call>, Exit> {
        if let Some(last) = &self.last {
            let (at, len) = left_by(last, result);
            let mut left = vec![0; len];
            memory.read(at, &mut left)?;
            if self.before > 0 {
                self.before -= 1;
                assert_eq!(result, 0, "{last:x?}");
            } else if let Ok(mut outcomes) = self.outcomes.lock() {
                outcomes.push((result, left));
            }
        }
        self.last = Iterator::next(&mut self.calls);
        Ok(self.last.clone())
    }
}

fn here(calls: &[Call]) -> Vec<Outcome> {
    let mount = Call::new(sys::__NR_mount, &[]).path(0, b"tmpfs").path(1, b"/tmp").path(2, b"tmpfs");
    let place = [
        mount.path(4, b"mode=755"),
        Call::new(sys::__NR_chroot, &[0]).path(0, b"/tmp"),
        Call::new(sys::__NR_chdir, &[0]).path(0, b"/"),
        // As in the child of a program in Rust.
        Call::new(sys::__NR_rt_sigaction, &[sys::SIGPIPE.into(), DATA, 0, 8])
            .with(DATA, &[1u64, 0, 0, 0].map(u64::to_le_bytes).concat()),
        // What the last ones left is not there natively.
        Call::new(sys::__NR_getuid, &[]).with(DATA, &[0; 0x5500]),
    ];
    let before = place.len();
    let all: Vec<Call> = place.into_iter().chain(calls.iter().cloned()).collect();
    let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
    let script = Recorded { calls: all.into_iter(), last: None, before, outcomes: outcomes.clone() };
    instance::run(instance::config(&[]), script);
    let outcomes = outcomes.lock().map(|mut outcomes| std::mem::take(&mut *outcomes));
    outcomes.unwrap_or_default()
}

/// Where a call left something, and how many bytes.
fn left_by(call: &Call, result: i64) -> (u64, usize) {
    let (at, len) = match call.out {
        Out::Nothing => (DATA, 0),
        Out::Returned(at) | Out::Entries(at) => (at, result.max(0) as u64),
        Out::Fixed(at, len) => (at, if result < 0 { 0 } else { len }),
        Out::Stat(at) => (at, if result < 0 { 0 } else { STAT }),
    };
    (at, (len as usize).min(LEFT))
}

/// A child's request: the calls as words.
fn encoded(calls: &[Call]) -> Vec<u64> {
    let mut words = vec![calls.len() as u64];
    for call in calls {
        words.push(call.number.into());
        words.extend_from_slice(&call.args);
        words.extend_from_slice(&match call.out {
            Out::Nothing => [0, 0, 0],
            Out::Returned(at) | Out::Entries(at) => [1, at, 0],
            Out::Fixed(at, len) => [2, at, len],
            Out::Stat(at) => [2, at, STAT],
        });
        words.push(call.stores.len() as u64);
        for (at, bytes) in &call.stores {
            words.extend_from_slice(&[*at, bytes.len() as u64]);
            words.extend(bytes.chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            }));
        }
    }
    assert!(words.len() <= ANSWER);
    words
}

/// Where answers begin in what is shared, in words, and how many each has. Before that there is room for as many calls as there
/// can be, with the longest names.
const ANSWER: usize = 56 << 10;
const ANSWER_LEN: usize = 2 + LEFT / 8;
const _: () = assert!(ANSWER + MOST * ANSWER_LEN <= SHARED / 8);

fn answers(shared: &[u64], count: usize) -> Vec<Outcome> {
    let answers = shared[ANSWER..].chunks(ANSWER_LEN).take(count);
    let outcome = |answer: &[u64]| {
        let left = answer[2..].iter().flat_map(|word| word.to_le_bytes()).take(answer[1] as usize);
        (answer[0] as i64, left.collect())
    };
    answers.map(outcome).collect()
}

/// In the child: makes all calls.
fn make_all(shared: &mut [u64]) {
    let (request, answers) = shared.split_at_mut(ANSWER);
    let mut words = request.iter().copied();
    let mut next = || words.next().unwrap_or(0);
    for answer in answers.chunks_mut(ANSWER_LEN).take(next() as usize) {
        let number = next();
        let args: [u64; 6] = std::array::from_fn(|_| next());
        let (kind, at, len) = (next(), next(), next());
        for _ in 0..next() {
            let (to, len) = (next(), next());
            for index in 0..len.div_ceil(8) {
                let word = next().to_le_bytes();
                let count = (len - 8 * index).min(8) as usize;
                // SAFETY: stores are inside the data, which is mapped there.
                unsafe {
                    std::ptr::copy_nonoverlapping(word.as_ptr(), (to + 8 * index) as *mut u8, count);
                }
            }
        }
        // SAFETY: addresses among the arguments are in the data, or nowhere.
        let result = unsafe { raw_call(number, args) };
        let left = match kind {
            1 => result.max(0) as u64,
            2 if result >= 0 => len,
            _ => 0,
        };
        answer[0] = result as u64;
        answer[1] = left.min(LEFT as u64);
        // SAFETY: what is left is inside the data.
        unsafe {
            std::ptr::copy_nonoverlapping(
                at as *const u8,
                answer[2..].as_mut_ptr().cast(),
                answer[1] as usize,
            );
        }
    }
}

/// A system call with its errors as the kernel gives them.
///
/// # Safety
/// That of the call.
unsafe fn raw_call(number: u64, args: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

const NAMES: [&[u8]; 22] = [
    b"a", b"b", b"c", b"a", b"b", b"a/b", b"a/c", b"b/c", b"a/b/c", b"a/.", b"a/..", b"a/../b", b"..", b"l",
    b"l/x", b"", b"a//b", b"b/", b"/", b".", b"/a/b/", b"l/",
];

fn descriptor(choices: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(if choices.ratio(1, 30)? { u64::MAX } else { choices.int_in_range(3..=8)? })
}

fn path(choices: &mut Unstructured<'_>, number: u32, args: &[u64], index: usize) -> arbitrary::Result<Call> {
    let call = Call::new(number, args).path(index, &name(choices)?);
    // Now and then it is nowhere.
    Ok(if choices.ratio(1, 60)? { Call::new(number, args) } else { call })
}

fn name(choices: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    Ok(match choices.int_in_range(0..=60)? {
        0 => vec![b'x'; choices.int_in_range(254..=257)?],
        1 => b"a/".repeat(choices.int_in_range(2040..=2050)?),
        _ => choices.choose(&NAMES)?.to_vec(),
    })
}

/// Bits of a list.
fn bits(choices: &mut Unstructured<'_>, of: &[u32]) -> arbitrary::Result<u64> {
    let mut all = 0;
    for _ in 0..choices.int_in_range(0..=3)? {
        all |= u64::from(*choices.choose(of)?);
    }
    Ok(all)
}

/// A place in a file, or a length.
fn number(choices: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(match choices.int_in_range(0..=5)? {
        0 => choices.arbitrary::<u16>()?.into(),
        1 => *choices.choose(&[4095, 4096, 4097, 0x1_0000, 1 << 20])?,
        2 => *choices.choose(&[u64::MAX, 1 << 63, i64::MAX as u64, u64::MAX - 4095, 1 << 31])?,
        _ => choices.int_in_range(0..=64)?,
    })
}

/// A length that a transfer has.
fn length(choices: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(match choices.int_in_range(0..=3)? {
        0 => choices.int_in_range(0..=4096)?,
        _ => choices.int_in_range(0..=40)?,
    })
}

fn any(choices: &mut Unstructured<'_>) -> arbitrary::Result<Call> {
    use sys::*;
    const OPEN: [u32; 12] = [
        O_CREAT,
        O_CREAT,
        O_EXCL,
        O_TRUNC,
        O_APPEND,
        O_DIRECTORY,
        O_NOFOLLOW,
        O_PATH,
        O_CLOEXEC,
        O_NOCTTY,
        O_NOATIME,
        O_DSYNC,
    ];
    let mode = *choices.choose(&[0o755u64, 0o700, 0o1777, 0o644, 0o4755])?;
    Ok(match choices.int_in_range(0..=51)? {
        0..=4 => {
            let access = choices.int_in_range(0..=3)?;
            let flags = access | u64::from(O_NONBLOCK) | bits(choices, &OPEN)?;
            let from = if choices.ratio(1, 6)? { descriptor(choices)? } else { HERE };
            path(choices, __NR_openat, &[from, 0, flags, mode], 1)?
        }
        5 => Call::new(__NR_close, &[descriptor(choices)?]),
        6 | 7 => Call::new(__NR_read, &[descriptor(choices)?, TO, length(choices)?]).gives(Out::Returned(TO)),
        8 => {
            let args = [descriptor(choices)?, TO, length(choices)?, number(choices)?];
            Call::new(__NR_pread64, &args).gives(Out::Returned(TO))
        }
        9..=11 => {
            let len = choices.int_in_range(0..=24)?;
            let bytes = choices.bytes(len)?;
            let len = if choices.ratio(1, 8)? { length(choices)? } else { bytes.len() as u64 };
            Call::new(__NR_write, &[descriptor(choices)?, FROM, len]).with(FROM, bytes)
        }
        12 => Call::new(
            __NR_pwrite64,
            &[descriptor(choices)?, FROM, length(choices)?, number(choices)?.min(1 << 20)],
        ),
        13 | 14 => {
            Call::new(__NR_lseek, &[descriptor(choices)?, number(choices)?, choices.int_in_range(0..=5)?])
        }
        15 => Call::new(__NR_dup, &[descriptor(choices)?]),
        16 => {
            let flags = *choices.choose(&[0, O_CLOEXEC.into(), 1])?;
            Call::new(__NR_dup3, &[descriptor(choices)?, descriptor(choices)?, flags])
        }
        17 => {
            let commands =
                [F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_GET_SEALS, F_GETSIG];
            let command = *choices.choose(&commands)?;
            Call::new(__NR_fcntl, &[descriptor(choices)?, command.into(), choices.int_in_range(0..=7)?])
        }
        18 => {
            let flags = u64::from(O_NONBLOCK) | bits(choices, &[O_APPEND, O_NOATIME, O_CREAT])?;
            Call::new(__NR_fcntl, &[descriptor(choices)?, F_SETFL.into(), flags])
        }
        19 => {
            let flags = u64::from(O_NONBLOCK) | bits(choices, &[O_CLOEXEC])?;
            Call::new(__NR_pipe2, &[TO, flags]).gives(Out::Fixed(TO, 8))
        }
        20..=22 => path(choices, __NR_mkdirat, &[HERE, 0, mode], 1)?,
        23 => path(choices, __NR_unlinkat, &[HERE, 0, 0], 1)?,
        24 => {
            let flags = *choices.choose(&[AT_REMOVEDIR.into(), AT_REMOVEDIR.into(), 1])?;
            path(choices, __NR_unlinkat, &[HERE, 0, flags], 1)?
        }
        25 | 26 => {
            let flags = *choices.choose(&[0u64, 0, 0, 1, 2, 4, 3, 8])?;
            path(choices, __NR_renameat2, &[HERE, 0, HERE, 0, flags], 1)?.path(3, &name(choices)?)
        }
        27 => {
            let flags = *choices.choose(&[0u64, AT_SYMLINK_FOLLOW.into(), AT_EMPTY_PATH.into()])?;
            let from = if choices.ratio(1, 4)? { descriptor(choices)? } else { HERE };
            path(choices, __NR_linkat, &[from, 0, HERE, 0, flags], 1)?.path(3, &name(choices)?)
        }
        28 | 29 => path(choices, __NR_symlinkat, &[0, HERE, 0], 0)?.path(2, &name(choices)?),
        30 => {
            let len = length(choices)?;
            path(choices, __NR_readlinkat, &[HERE, 0, TO, len], 1)?.gives(Out::Returned(TO))
        }
        31 | 32 => {
            let flags = bits(choices, &[AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH])?;
            let from = if choices.ratio(1, 4)? { descriptor(choices)? } else { HERE };
            path(choices, __NR_newfstatat, &[from, 0, TO, flags], 1)?.gives(Out::Stat(TO))
        }
        33 | 34 => Call::new(__NR_fstat, &[descriptor(choices)?, TO]).gives(Out::Stat(TO)),
        35 => Call::new(__NR_ftruncate, &[descriptor(choices)?, number(choices)?]),
        36 => {
            let len = number(choices)?;
            path(choices, __NR_truncate, &[0, len], 0)?
        }
        37 => {
            let mode = *choices.choose(&[0u64, 1, 2, 3, 8, 0x10, 0x20, 0x40])?;
            let (at, len) = (number(choices)?, number(choices)?);
            let huge = |number: u64| if number > 1 << 20 && number < 1 << 63 { 1 << 20 } else { number };
            Call::new(__NR_fallocate, &[descriptor(choices)?, mode, huge(at), huge(len)])
        }
        38 => {
            // All of it: where a buffer that is too small ends differs.
            Call::new(__NR_getdents64, &[descriptor(choices)?, TO, 4096]).gives(Out::Entries(TO))
        }
        39 => {
            let args = [
                descriptor(choices)?,
                0,
                descriptor(choices)?,
                0,
                length(choices)?,
                choices.int_in_range(0..=1)?,
            ];
            Call::new(__NR_copy_file_range, &args)
        }
        40 => {
            let args = [descriptor(choices)?, descriptor(choices)?, 0, length(choices)?];
            Call::new(__NR_sendfile, &args)
        }
        41 => {
            let flags = u64::from(SPLICE_F_NONBLOCK) | choices.int_in_range(0..=1)?;
            let args = [descriptor(choices)?, 0, descriptor(choices)?, 0, length(choices)?, flags];
            Call::new(__NR_splice, &args)
        }
        42 => {
            let args =
                [descriptor(choices)?, descriptor(choices)?, length(choices)?, SPLICE_F_NONBLOCK.into()];
            Call::new(__NR_tee, &args)
        }
        43 => {
            let flags = u64::from(O_NONBLOCK) | bits(choices, &[1, O_CLOEXEC])?;
            Call::new(__NR_eventfd2, &[choices.int_in_range(0..=9)?, flags])
        }
        44 => {
            let flags = bits(choices, &[1, 2, 2, 8, 16])?;
            path(choices, __NR_memfd_create, &[0, flags], 0)?
        }
        45 => match choices.int_in_range(0..=3)? {
            0 => path(choices, __NR_chdir, &[0], 0)?,
            1 => Call::new(__NR_fchdir, &[descriptor(choices)?]),
            _ => Call::new(__NR_getcwd, &[TO, length(choices)?]).gives(Out::Returned(TO)),
        },
        46 => match choices.int_in_range(0..=2)? {
            0 => Call::new(__NR_fchmod, &[descriptor(choices)?, mode]),
            1 => path(choices, __NR_fchmodat, &[HERE, 0, mode], 1)?,
            _ => {
                let wanted = choices.int_in_range(0..=9)?;
                path(choices, __NR_faccessat, &[HERE, 0, wanted], 1)?
            }
        },
        47 => {
            let kinds = [0o010_644, 0o100_644, 0o140_644, 0o040_755, 0o120_777, 0o644];
            let kind = *choices.choose(&kinds)?;
            path(choices, __NR_mknodat, &[HERE, 0, kind, 0], 1)?
        }
        48 => {
            let operation = u64::from(LOCK_NB) | choices.int_in_range(0..=9)?;
            Call::new(__NR_flock, &[descriptor(choices)?, operation])
        }
        49 => {
            let command = *choices.choose(&[F_GETLK, F_SETLK, F_OFD_GETLK, F_OFD_SETLK])?;
            let kind = choices.int_in_range(0..=3u64)? | choices.int_in_range(0..=3u64)? << 16;
            let lock = [kind, number(choices)?, number(choices)?, 0].map(u64::to_le_bytes).concat();
            let call = Call::new(__NR_fcntl, &[descriptor(choices)?, command.into(), FROM]);
            call.with(FROM, &lock).gives(Out::Fixed(FROM, 24))
        }
        50 => {
            let pair = [descriptor(choices)?, descriptor(choices)?].map(|number| {
                let events = 0x2fu64 << 32;
                (events | number & 0xffff_ffff).to_le_bytes()
            });
            Call::new(__NR_poll, &[TO, 2, 0]).with(TO, &pair.concat()).gives(Out::Fixed(TO, 16))
        }
        _ => match choices.int_in_range(0..=4)? {
            0 => {
                let call = Call::new(__NR_ioctl, &[descriptor(choices)?, ioctl::FIONREAD.into(), TO]);
                call.with(TO, &[0; 4]).gives(Out::Fixed(TO, 4))
            }
            1 => {
                let kind = *choices.choose(&[1u64, 2, 5])? | u64::from(O_NONBLOCK);
                Call::new(__NR_socketpair, &[1, kind, 0, TO]).gives(Out::Fixed(TO, 8))
            }
            2 => Call::new(__NR_shutdown, &[descriptor(choices)?, choices.int_in_range(0..=3)?]),
            3 => {
                let flags = 0x40 | bits(choices, &[2, 0x20])?;
                let args = [descriptor(choices)?, TO, length(choices)?, flags, 0, 0];
                Call::new(__NR_recvfrom, &args).gives(Out::Returned(TO))
            }
            _ => {
                let args = [descriptor(choices)?, FROM, length(choices)?, 0x4040, 0, 0];
                Call::new(__NR_sendto, &args)
            }
        },
    })
}
