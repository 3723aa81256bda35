//! Filters of calls: whether one is taken, and what it says, beside what native Linux does with the same one.

use arbitrary::Unstructured;
use kernel_core::task::seccomp::bpf::{DATA_WORDS, Program, RawInstruction};
use kernel_core::task::seccomp::{ALLOW, ARCH, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP};

use crate::zygote::{self, End};

/// A number that no call has, which the native child makes under the filter.
const NUMBER: u32 = 1000;
/// `SECCOMP_RET_USER_NOTIF`; without a listener, the call is not there.
const USER_NOTIF: u32 = 0x7fc0_0000;
/// The most instructions that are tried beside native Linux.
const MOST: usize = 256;

/// The codes that seccomp takes, and some that it does not.
const CODES: [u16; 48] = [
    0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x06, 0x16, 0x07, 0x87, 0x84, 0x05, 0x04, 0x0c,
    0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0xa4, 0xac, 0x15,
    0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x20, 0x06, 0x16, 0x28, 0xb1, 0x94, 0x8c,
];

/// The bytes choose instructions and arguments.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let _ = compare(&mut choices);
}

fn instruction(choices: &mut Unstructured<'_>) -> arbitrary::Result<RawInstruction> {
    let code = if choices.ratio(1, 40)? { choices.arbitrary()? } else { *choices.choose(&CODES)? };
    let small = |choices: &mut Unstructured<'_>| -> arbitrary::Result<u8> {
        Ok(if choices.ratio(1, 30)? { choices.arbitrary()? } else { choices.arbitrary::<u8>()? & 3 })
    };
    let (jt, jf) = (small(choices)?, small(choices)?);
    let k = match choices.int_in_range(0..=5)? {
        0 => choices.arbitrary()?,
        1 => choices.int_in_range(0..=63)?,
        2 => {
            *choices.choose(&[KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW, USER_NOTIF])?
                | choices.arbitrary::<u32>()? & 0xffff
        }
        // Where arguments are, and small numbers.
        3 => 4 * choices.int_in_range(4..=15)?,
        _ => choices.int_in_range(0..=4)?,
    };
    Ok(RawInstruction { code, jt, jf, k })
}

fn compare(choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let args: [u64; 6] = choices.arbitrary()?;
    let mut program = Vec::new();
    while !choices.is_empty() && program.len() < MOST {
        program.push(instruction(choices)?);
    }
    if choices.is_empty() {
        // Most would be refused for their end.
        program.push(RawInstruction { code: 0x16, ..RawInstruction::default() });
    }
    let ours = Program::new(&program);
    let Ok(mut zygote) = zygote::get() else { return Ok(()) };
    let mut request = vec![program.len() as u64];
    request.extend_from_slice(&args);
    request.extend(program.iter().map(word));
    let (end, shared) = zygote.run(native, &request);
    if end == End::NoPlace {
        return Ok(());
    }
    let answer = &shared[ANSWER..];
    let taken = answer[TAKEN] == 1;
    assert_eq!(ours.is_ok(), taken, "taken by native Linux: {taken}; {program:x?}");
    let Ok(ours) = ours else { return Ok(()) };
    let mut data = [0; DATA_WORDS];
    let wide = [answer[PLACE]].into_iter().chain(args).flat_map(|word| [word as u32, (word >> 32) as u32]);
    for (to, from) in data.iter_mut().zip([NUMBER, ARCH].into_iter().chain(wide)) {
        *to = from;
    }
    let verdict = ours.run(&data);
    let (action, value) = (verdict & 0xffff_0000, u64::from(verdict & 0xffff));
    let result = answer[RESULT] as i64;
    let same = match action {
        TRAP => end == End::Done && answer[TRAPPED] == 1 && answer[VALUE] == value,
        ERRNO => end == End::Done && answer[TRAPPED] == 0 && result == -(value.min(4095) as i64),
        TRACE | LOG | ALLOW | USER_NOTIF => {
            end == End::Done && answer[TRAPPED] == 0 && result == -i64::from(libc::ENOSYS)
        }
        _ => end == End::Signal(libc::SIGSYS),
    };
    assert!(same, "{verdict:x}; native: {end:?}, {:x?}; {program:x?}, {data:x?}", &answer[..5]);
    Ok(())
}

fn word(raw: &RawInstruction) -> u64 {
    u64::from(raw.code) | u64::from(raw.jt) << 16 | u64::from(raw.jf) << 24 | u64::from(raw.k) << 32
}

/// Where the answer begins, in words, and what is there: whether the filter was taken; the address behind the call; its
/// result; whether it was a signal; and what came with that.
const ANSWER: usize = 1024;
const TAKEN: usize = 0;
const PLACE: usize = 1;
const RESULT: usize = 2;
const TRAPPED: usize = 3;
const VALUE: usize = 4;

/// Where the handler finds the answer.
static mut ANSWERS: *mut u64 = std::ptr::null_mut();

extern "C" fn trapped(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the answer lives as long as the child.
    unsafe {
        *ANSWERS.add(TRAPPED) = 1;
        *ANSWERS.add(VALUE) = (*info).si_errno as u64;
    }
}

/// Installs the filter, behind instructions that let all other calls pass, and makes the call.
fn native(shared: &mut [u64]) {
    let (request, answer) = shared.split_at_mut(ANSWER);
    let count = request[0] as usize;
    let args: [u64; 6] = std::array::from_fn(|index| request[1 + index]);
    let raw = |code, jt, jf, k| word(&RawInstruction { code, jt, jf, k });
    // ld [0]; jeq NUMBER; ret ALLOW; ld 0.
    let before = [raw(0x20, 0, 0, 0), raw(0x15, 1, 0, NUMBER), raw(0x06, 0, 0, ALLOW), raw(0, 0, 0, 0)];
    let mut filter = [0u64; MOST + 8];
    filter[..4].copy_from_slice(&before);
    filter[4..4 + count].copy_from_slice(&request[7..7 + count]);
    // SAFETY: system calls with memory of this function, and a call that is not there.
    unsafe {
        ANSWERS = answer.as_mut_ptr();
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let program = libc::sock_fprog { len: count as u16 + 4, filter: filter.as_mut_ptr().cast() };
        if count == 0 || libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) != 0 {
            return;
        }
        ANSWERS.add(TAKEN).write_volatile(1);
        let (result, place): (u64, u64);
        std::arch::asm!(
            "lea {place}, [rip + 2f]",
            "mov [{answers} + 8], {place}",
            "syscall",
            "2:",
            place = out(reg) place,
            answers = in(reg) ANSWERS,
            inlateout("rax") u64::from(NUMBER) => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            out("rcx") _,
            out("r11") _,
        );
        let _ = place;
        ANSWERS.add(RESULT).write_volatile(result);
    }
}
