//! Guests trapped by a filter of system calls, and hostile ones that attack it from inside: with the code of the stub in
//! reach, they jump into it, forge what it reports, and hide. Nothing is gained by that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use host_linux::backend::{Backend, Trap};
use host_linux_skas::SkasHost;
use kernel_core::host::{Access, Exit, Host, MapOp, Phys, Prot, Space, VcpuId};

use either_trap::guests::{CODE, DATA, Machine, PAGE, context, count_calls, guest, map, on_host};

mod either_trap;

const TRAP: Trap = Trap::Seccomp;

/// The stub's own pages, see `layout.rs` and `data.rs`: its code, its data, the words in there, the signal stack.
const STUB: u64 = 0x7fff_ffe0_0000;
const STUB_DATA: u64 = STUB + 3 * PAGE;
const GO: u64 = STUB_DATA + 64;
const POSTED: u64 = STUB_DATA;
const SIGNAL_STACK: std::ops::Range<u64> = STUB_DATA + PAGE..STUB_DATA + 5 * PAGE;
/// In a signal frame, from the context on: `rip`, the selectors, the mask of signals.
const RIP: u64 = 40 + 16 * 8;
const SELECTORS: u64 = 40 + 18 * 8;
const MASK: u64 = 296;
/// Bytes of what the host writes at most from the context on.
const FRAME: u64 = 304 + 128;

/// A guest whose data is at [`DATA`] and RAM offset 0x2_0000: two pages.
fn machine(host: &Arc<SkasHost>, code: &[u8]) -> Machine {
    let mut guest = Machine::new(host, code);
    let both = Prot::READ | Prot::WRITE;
    guest.space.apply(&[map(DATA, 0x2_0000, both), map(DATA + PAGE, 0x2_1000, both)]).unwrap();
    guest.ctx.regs.rdi = DATA;
    guest
}

/// Reads the memory of a guest's host process.
fn peek(guest: &Machine, at: u64, len: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let process = SkasHost::host_process(&guest.space).unwrap();
    let mut bytes = vec![0; len];
    std::fs::File::open(format!("/proc/{process}/mem")).unwrap().read_exact_at(&mut bytes, at).unwrap();
    bytes
}

/// The addresses of all `syscall` instructions in the stub's code.
fn syscalls(guest: &Machine) -> Vec<u64> {
    let code = peek(guest, STUB, PAGE as usize);
    let found = code.windows(2).enumerate().filter(|(_, pair)| *pair == [0x0f, 0x05]);
    found.map(|(offset, _)| STUB + offset as u64).collect()
}

/// The `syscall` instruction behind which the code has these bytes before it: `mov eax, NUMBER`.
fn syscall_of(guest: &Machine, number: i64, nth: usize) -> u64 {
    let code = peek(guest, STUB, PAGE as usize);
    let mut pattern = vec![0xb8];
    pattern.extend((number as u32).to_le_bytes());
    pattern.extend([0x0f, 0x05]);
    let found = code.windows(7).enumerate().filter(|(_, bytes)| *bytes == pattern);
    found.map(|(offset, _)| STUB + offset as u64 + 5).nth(nth).expect("an instruction of the stub")
}

/// Where the context of a signal frame is: the first trap writes one, whose `rip` is known.
fn frame(guest: &mut Machine) -> u64 {
    assert_eq!(guest.run(), Exit::Syscall);
    let stack = peek(guest, SIGNAL_STACK.start, (SIGNAL_STACK.end - SIGNAL_STACK.start) as usize);
    let rip = guest.ctx.regs.rip.to_le_bytes();
    // `rcx` has the same value, and stands before it.
    let mut at = (0..stack.len() - 8).step_by(8).filter(|at| stack[*at..*at + 8] == rip);
    SIGNAL_STACK.start + at.nth(1).expect("a frame") as u64 - RIP
}

guest!(call_and_jump, "syscall", "jmp rbx");

#[test]
fn calls_by_the_stubs_own_instructions_are_the_guests() {
    on_host(|host| {
        let mut guest = machine(host, call_and_jump());
        assert_eq!(guest.run(), Exit::Syscall);
        let sites = syscalls(&guest);
        assert!(sites.len() > 15, "{sites:x?}");
        let maps = || {
            let process = SkasHost::host_process(&guest.space).unwrap();
            std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap()
        };
        let mapped = maps();
        let wanted = [
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mprotect,
            libc::SYS_write,
            libc::SYS_openat,
            libc::SYS_kill,
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_clone,
            libc::SYS_rt_sigaction,
            libc::SYS_exit_group,
            0x4000_0000 | libc::SYS_mmap, // the x32 call
        ];
        let (space, mut ctx) = (&guest.space, context(host));
        for site in sites {
            for number in wanted {
                ctx.regs = context(host).regs;
                ctx.regs.rip = site;
                ctx.regs.rax = number as u64;
                // As the mapper would: RAM from its start, to where the guest likes.
                ctx.regs.rdi = if number == libc::SYS_write { 4 } else { 0x3000_0000 };
                (ctx.regs.rsi, ctx.regs.rdx, ctx.regs.r10) = (PAGE, 3, 0x11);
                assert_eq!(host.run(VcpuId(0), space, &mut ctx, None), Exit::Syscall, "{number} at {site:x}");
                assert_eq!((ctx.regs.rip, ctx.regs.rax), (site + 2, number as u64));
            }
        }
        assert_eq!(maps(), mapped);
    });
}

#[test]
fn waits_that_would_end_by_themselves_are_the_guests() {
    on_host(|host| {
        let mut guest = machine(host, call_and_jump());
        assert_eq!(guest.run(), Exit::Syscall);
        // The handler's wait, with a time limit; with another word; and the handler's wake for another word.
        let (wake, wait) = (syscall_of(&guest, libc::SYS_futex, 1), syscall_of(&guest, libc::SYS_futex, 2));
        let futex = |site, word, operation, timeout| (site, word, operation as u64, timeout);
        for (site, word, operation, timeout) in [
            futex(wait, GO, libc::FUTEX_WAIT, DATA),
            futex(wait, GO, libc::FUTEX_WAIT, 1 << 40),
            futex(wait, GO + 64, libc::FUTEX_WAIT, 0),
            futex(wait, GO + (1 << 32), libc::FUTEX_WAIT, 0),
            futex(wait, GO, libc::FUTEX_WAKE, 0),
            futex(wake, GO, libc::FUTEX_WAKE, 0),
            futex(wake, POSTED, libc::FUTEX_WAIT, 0),
            futex(wake, POSTED, libc::FUTEX_REQUEUE, 0),
        ] {
            guest.ctx = context(host);
            let regs = &mut guest.ctx.regs;
            (regs.rip, regs.rax, regs.rdi) = (site, libc::SYS_futex as u64, word);
            (regs.rsi, regs.rdx, regs.r10) = (operation, 0, timeout);
            assert_eq!(guest.run(), Exit::Syscall);
            assert_eq!(guest.ctx.regs.rip, site + 2);
        }
    });
}

#[test]
fn the_page_of_old_calls_is_not_there() {
    on_host(|host| {
        let mut guest = machine(host, call_and_jump());
        assert_eq!(guest.run(), Exit::Syscall);
        let page = 0xffff_ffff_ff60_0000;
        (guest.ctx.regs.rbx, guest.ctx.regs.rsp) = (page, DATA);
        assert_eq!(guest.run(), Exit::Fault { addr: page, access: Access::Exec });
        // As at the entry of a function that cannot be fetched.
        assert_eq!((guest.ctx.regs.rip, guest.ctx.regs.rsp), (page, DATA));
    });
}

// Copies rcx words from rsi to rdi, stores rdx at r8, r9 at r10, and has the stub load the frame at rsp. Its second entry
// spins.
guest!(
    forge,
    "syscall",
    "rep movsq",
    "mov [r8], rdx",
    "mov [r10], r9",
    "mov eax, 15",
    "jmp rbx",
    "2: inc rax",
    "jmp 2b"
);
/// Where in [`forge`] the parts begin: the work, the loop, the call.
const FORGE_WORK: u64 = 2;
const FORGE_SPIN: u64 = FORGE_WORK + 3 + 3 + 3 + 5 + 2;

/// Has a guest load a copy of its own frame in which the word at `changed` is `value` and `rip` is `rip`.
fn load_forged(guest: &mut Machine, changed: u64, value: u64, rip: u64) -> Exit {
    let frame = frame(guest);
    let regs = &mut guest.ctx.regs;
    regs.rip = CODE + FORGE_WORK;
    let words = (SIGNAL_STACK.end - frame).min(FRAME + PAGE / 2) / 8;
    (regs.rsi, regs.rdi, regs.rcx) = (frame, DATA, words);
    (regs.r8, regs.rdx) = (DATA + changed, value);
    (regs.r10, regs.r9) = (DATA + RIP, rip);
    regs.rsp = DATA;
    regs.rbx = 0;
    guest.ctx.regs.rbx = syscall_of(guest, libc::SYS_rt_sigreturn, 0);
    let deadline = guest.host.monotonic_ns() + 100_000_000;
    guest.host.run(VcpuId(0), &guest.space, &mut guest.ctx, Some(deadline))
}

#[test]
fn a_forged_frame_only_sets_the_guests_registers() {
    on_host(|host| {
        let mut guest = machine(host, forge());
        // Its registers are what it says; it goes on with the call at its start.
        assert_eq!(load_forged(&mut guest, RIP, CODE, CODE), Exit::Syscall);
        assert_eq!(guest.ctx.regs.rip, CODE + 2);
        // Code of 32 bits, and of the host's own: a fault of the guest, or its end.
        for selector in [0x23, 0x10] {
            let mut guest = machine(host, forge());
            let exit = load_forged(&mut guest, SELECTORS, selector | 0x2b << 48, CODE);
            assert!(matches!(exit, Exit::Trap(_) | Exit::Died), "{exit:?} with selector {selector:x}");
        }
        assert_eq!(machine(host, forge()).run(), Exit::Syscall, "others live on");
    });
}

#[test]
fn a_guest_that_blocks_signals_ends() {
    on_host(|host| {
        // A call cannot become a signal.
        let mut guest = machine(host, forge());
        assert_eq!(load_forged(&mut guest, MASK, u64::MAX, CODE), Exit::Died);
        // A loop cannot be interrupted.
        let mut guest = machine(host, forge());
        let start = Instant::now();
        assert_eq!(load_forged(&mut guest, MASK, u64::MAX, CODE + FORGE_SPIN), Exit::Died);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // The kick that it hid from ends the next run.
        let mut other = machine(host, forge());
        let exit = std::iter::repeat_with(|| other.run()).find(|exit| *exit != Exit::Interrupted);
        assert_eq!(exit, Some(Exit::Syscall), "others live on");
    });
}

#[test]
fn a_guest_that_waits_in_the_kernels_place_ends() {
    on_host(|host| {
        let mut guest = machine(host, call_and_jump());
        assert_eq!(guest.run(), Exit::Syscall);
        // The handler's wait: nobody will let it go.
        let wait = syscall_of(&guest, libc::SYS_futex, 2);
        let regs = &mut guest.ctx.regs;
        (regs.rip, regs.rax, regs.rdi) = (wait, libc::SYS_futex as u64, GO);
        (regs.rsi, regs.rdx, regs.r10) = (libc::FUTEX_WAIT as u64, 0, 0);
        let deadline = host.monotonic_ns() + 20_000_000;
        let exit = host.run(VcpuId(0), &guest.space, &mut guest.ctx, Some(deadline));
        assert_eq!(exit, Exit::Died);
    });
}

// Says that it has stopped, by the stub's own instruction at rbx, with a frame at r12 from which it goes on at once; there
// it copies the word at r8 to r9 for ever.
guest!(
    pretend,
    "syscall",
    "mov [r12], r13",
    "mov dword ptr [r14], 1",
    "mov dword ptr [rdi], 1",
    "mov esi, 1",
    "mov edx, 1",
    "mov eax, 202",
    "jmp rbx",
    "2: mov rax, [r8]",
    "mov [r9], rax",
    "jmp 2b"
);
const PRETEND_LOOP: u64 = 2 + 4 + 7 + 6 + 5 + 5 + 5 + 2;

/// Has a guest claim that it stopped while it goes on copying what is at `DATA` to the next page.
fn pretend_to_stop(host: &Arc<SkasHost>) -> Machine {
    let mut guest = machine(host, pretend());
    let frame = frame(&mut guest);
    let wake = syscall_of(&guest, libc::SYS_futex, 1);
    let regs = &mut guest.ctx.regs;
    (regs.r12, regs.r13, regs.r14, regs.rdi) = (frame + RIP, CODE + PRETEND_LOOP, GO, POSTED);
    (regs.r8, regs.r9, regs.rbx) = (DATA, DATA + PAGE, wake);
    let _ = guest.run();
    guest
}

const SECRET: &[u8; 8] = b"a secret";

fn copied(host: &SkasHost) -> [u8; 8] {
    let mut copy = [0; 8];
    host.ram().read(Phys(0x2_1000), &mut copy);
    copy
}

#[test]
fn a_guest_that_pretends_to_have_stopped_loses_what_is_taken_from_it() {
    on_host(|host| {
        let guest = pretend_to_stop(host);
        let wait = || std::thread::sleep(Duration::from_millis(20));
        host.ram().write(Phys(0x2_0000), b"its own.");
        wait();
        assert_eq!(&copied(host), b"its own.", "it runs on");
        // The page is taken from it, and given to another.
        guest.space.apply(&[MapOp::Unmap { va: DATA, len: PAGE }]).unwrap();
        host.ram().write(Phys(0x2_0000), SECRET);
        wait();
        assert_ne!(&copied(host), SECRET);
    });
}

#[test]
fn a_guest_that_pretends_to_have_stopped_is_no_trap_for_the_next() {
    on_host(|host| {
        for _ in 0..5 {
            drop(pretend_to_stop(host));
            let mut next = Machine::new(host, count_calls());
            for turn in 0..100 {
                assert_eq!(next.run(), Exit::Syscall);
                assert_eq!((next.ctx.regs.rdi, next.ctx.regs.rip), (turn, CODE + 9));
                next.ctx.regs.rax = turn;
            }
        }
    });
}

guest!(spoil, "syscall", "2: mov [rdi], rax", "add rdi, 8", "cmp rdi, rsi", "jb 2b", "syscall", "ud2");

#[test]
fn what_a_guest_leaves_in_the_stubs_data_is_gone() {
    on_host(|host| {
        // A stub whose thread is not seen to sleep at once is not used again.
        let used_again = (0..50).filter(|_| is_clean_when_used_again(host)).count();
        assert!(used_again > 0);
    });
}

/// Whether the stub of a guest that spoils its data is used again; then, nothing is left there.
fn is_clean_when_used_again(host: &Arc<SkasHost>) -> bool {
    let mut guest = machine(host, spoil());
    assert_eq!(guest.run(), Exit::Syscall);
    // All of the signal stack but the frame, which is written at its end with the next signal.
    (guest.ctx.regs.rdi, guest.ctx.regs.rsi) = (SIGNAL_STACK.start, SIGNAL_STACK.end - PAGE);
    guest.ctx.regs.rax = u64::from_le_bytes(*SECRET);
    assert_eq!(guest.run(), Exit::Syscall);
    let process = SkasHost::host_process(&guest.space);
    drop(guest);
    let mut next = Machine::new(host, count_calls());
    assert_eq!(next.run(), Exit::Syscall);
    let stack = peek(&next, STUB_DATA, (SIGNAL_STACK.end - STUB_DATA) as usize);
    assert!(!stack.windows(8).any(|bytes| bytes == SECRET));
    SkasHost::host_process(&next.space) == process
}

// A call with everything in its registers, and a word below the stack pointer, which it reads back into rbx; its second
// entry is the second instruction of the call.
guest!(
    full,
    "2: mov [rsp - 8], r13",
    "cmp r14, r15",
    "mov eax, 39",
    "syscall",
    "pushfq",
    "pop r12",
    "mov rbx, [rsp - 16]",
    "jmp 2b"
);
const FULL_SECOND: u64 = 5 + 3 + 5;
/// Bytes from the start of `full` to behind its call.
const FULL_END: u64 = FULL_SECOND + 2;

#[test]
fn a_rewritten_call_is_like_any_other() {
    on_host(|host| {
        let mut guest = machine(host, full());
        let mut rewritten = false;
        for turn in 0..300 {
            let regs = &mut guest.ctx.regs;
            (regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9) = (turn, 2, 3, 4, 5, 6);
            (regs.rbp, regs.r13, regs.r14, regs.r15) = (7, turn + 8, turn % 2, 0);
            (regs.rsp, regs.fs_base, regs.gs_base) = (DATA + PAGE, 0x1234_5000, 0x5432_1000);
            let sent = *regs;
            assert_eq!(guest.run(), Exit::Syscall);
            let got = guest.ctx.regs;
            let zero = turn % 2 == 0;
            assert_eq!(got.rflags & 0x41 != 0, zero, "the flags of the comparison, in turn {turn}");
            assert_eq!((got.rip, got.rcx, got.r11, got.rax), (CODE + FULL_END, got.rip, got.rflags, 39));
            let known =
                [sent.rdi, sent.rsi, sent.rdx, sent.r10, sent.r8, sent.r9, sent.rbp, sent.r13, sent.rsp];
            assert_eq!(
                [got.rdi, got.rsi, got.rdx, got.r10, got.r8, got.r9, got.rbp, got.r13, got.rsp],
                known
            );
            assert_eq!((got.fs_base, got.gs_base), (sent.fs_base, sent.gs_base));
            if turn > 0 && guest.ctx.regs.rbx != 0 {
                assert_eq!(got.rbx, turn + 7, "what was below the stack pointer");
            }
            let code = code_of(host, FULL_SECOND - 5);
            rewritten |= code == 0xff;
        }
        assert!(rewritten);
        // Whoever jumps to where the second instruction was, or was about to execute it.
        guest.ctx.regs.rip = CODE + FULL_SECOND;
        guest.ctx.regs.rax = 1234;
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!((guest.ctx.regs.rip, guest.ctx.regs.rax), (CODE + FULL_END, 1234));
        // A single step goes over the whole of it.
        guest.ctx.regs.rip = CODE + FULL_SECOND - 5;
        guest.ctx.regs.rflags |= 0x100;
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!((guest.ctx.regs.rip, guest.ctx.regs.rax), (CODE + FULL_END, 39));
        assert_eq!(guest.run(), Exit::Trap(kernel_core::host::Trap::Debug));
        assert_eq!(guest.ctx.regs.rip, CODE + FULL_END + 1);
    });
}

/// The byte of a guest's code at an offset.
fn code_of(host: &SkasHost, offset: u64) -> u8 {
    let mut byte = [0];
    host.ram().read(Phys(0x1_0000 + offset), &mut byte);
    byte[0]
}
