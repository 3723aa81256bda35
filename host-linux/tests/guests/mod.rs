//! Guests of a few instructions run on a real host, without a kernel: each test plays the kernel's part. Every host passes these; its own tests include this file and say in a module `subject` which host it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host_linux::backend::Backend;
use kernel_core::host::{
    Access, CallCode, Exit, Fill, Fpu, Host, MapOp, Phys, Prot, Registers, Space, Trap, UserContext, VcpuId,
};

use super::subject::{self, TheHost, TheSpace, told};

pub const CODE: u64 = 0x40_0000;
pub const DATA: u64 = 0x50_0000;
pub const PAGE: u64 = 4096;

/// A guest program: position independent code between two labels.
macro_rules! guest {
    ($name:ident, $($line:literal),+ $(,)?) => {
        /// The bytes of the program.
        pub fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name))]
                static START: u8;
                #[link_name = concat!("guest_end_", stringify!($name))]
                static END: u8;
            }
            // SAFETY: the labels enclose the code below.
            unsafe {
                let start = &raw const START;
                std::slice::from_raw_parts(start, (&raw const END).offset_from_unsigned(start))
            }
        }
        std::arch::global_asm!(
            ".pushsection .rodata.guest,\"a\"",
            concat!(".globl guest_", stringify!($name), ", guest_end_", stringify!($name)),
            concat!("guest_", stringify!($name), ":"),
            $($line),+,
            concat!("guest_end_", stringify!($name), ":"),
            ".popsection"
        );
    };
}
pub(crate) use guest;

pub struct Machine {
    pub host: Arc<TheHost>,
    pub space: TheSpace,
    pub ctx: UserContext,
}

pub fn context(host: &TheHost) -> UserContext {
    let regs = Registers { rip: CODE, rflags: 0x202, ..Registers::default() };
    UserContext { regs, fpu: Fpu::new(vec![0; host.fpu_size()]) }
}

impl Machine {
    /// A space with `code` at [`CODE`].
    pub fn new(host: &Arc<TheHost>, code: &[u8]) -> Machine {
        let space = host.new_space(CODE..DATA).unwrap();
        host.ram().write(Phys(0x1_0000), code);
        space.apply(&[map(CODE, 0x1_0000, Prot::READ | Prot::EXEC)]).unwrap();
        Machine { host: host.clone(), space, ctx: context(host) }
    }

    pub fn run(&mut self) -> Exit {
        run_thread(&self.host, &self.space, &mut self.ctx)
    }
}

/// Runs a guest thread; its code is at [`CODE`] and RAM offset 0x1_0000, and rewritten there if the host wants that.
pub fn run_thread(host: &TheHost, space: &TheSpace, ctx: &mut UserContext) -> Exit {
    loop {
        let exit = host.run(VcpuId(0), space, ctx, None);
        let (Exit::Rewrite(at) | Exit::Rewritten(at)) = exit else { return exit };
        let phys = Phys(0x1_0000_u64.wrapping_add(at).wrapping_sub(CODE));
        let mut code = CallCode::default();
        if (CODE..CODE + PAGE).contains(&at) {
            host.ram().read(phys, &mut code);
        }
        if exit == Exit::Rewrite(at) {
            assert_eq!(ctx.regs.rip, at + 5);
            if let Some(new) = host.rewrite(at, code) {
                host.ram().write(phys, &new);
                ctx.regs.rip = at;
            }
        } else if host.is_rewritten(at, code) {
            ctx.regs.rip = at + 7;
            return Exit::Syscall;
        } else {
            return Exit::Trap(Trap::InvalidOpcode);
        }
    }
}

pub fn map(va: u64, phys: u64, prot: Prot) -> MapOp {
    MapOp::Map { va, len: PAGE, phys: Phys(phys), prot, fill: Fill::Lazy }
}

/// Runs `body` on the vCPU of a new host.
pub fn on_host(body: impl Fn(&Arc<TheHost>) + Send + Sync) {
    let (_turn, host) = subject::start();
    TheHost::run_vcpus(&host, &|_| body(&host));
}

guest!(count_calls, "2: mov edi, ebx", "mov eax, 39", "syscall", "lea rbx, [rax + 1]", "jmp 2b");

#[test]
fn calls_come_with_number_and_arguments_and_take_a_result() {
    on_host(|host| {
        let mut guest = Machine::new(host, count_calls());
        for turn in 0..1000 {
            assert_eq!(guest.run(), Exit::Syscall);
            assert_eq!(guest.ctx.regs.rax, 39);
            assert_eq!(guest.ctx.regs.rdi, turn);
            assert_eq!(guest.ctx.regs.rip, guest.ctx.regs.rcx);
            guest.ctx.regs.rax = turn;
        }
    });
}

guest!(store_load, "mov dword ptr [rdi], 7", "mov eax, [rdi]", "syscall", "mov [rdi], eax", "syscall");

#[test]
fn faults_are_served_by_maps_and_protections_hold() {
    on_host(|host| {
        let mut guest = Machine::new(host, store_load());
        guest.ctx.regs.rdi = DATA + 8;
        let fault = Exit::Fault { addr: DATA + 8, access: told(Access::Write) };
        assert_eq!(guest.run(), fault);
        assert_eq!(guest.ctx.regs.rip, CODE);
        guest.space.apply(&[map(DATA, 0x2_0000, Prot::READ)]).unwrap();
        assert_eq!(guest.run(), fault);
        guest.space.apply(&[MapOp::Protect { va: DATA, len: PAGE, prot: Prot::READ | Prot::WRITE }]).unwrap();
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.ctx.regs.rax, 7);
        assert_eq!(host.ram().load_u32(Phys(0x2_0008)), 7);
        guest.space.apply(&[MapOp::Unmap { va: DATA, len: PAGE }]).unwrap();
        assert_eq!(guest.run(), fault);
    });
}

#[test]
fn a_jump_to_nothing_is_an_exec_fault() {
    on_host(|host| {
        let mut guest = Machine::new(host, count_calls());
        guest.ctx.regs.rip = DATA;
        assert_eq!(guest.run(), Exit::Fault { addr: DATA, access: Access::Exec });
        assert!(matches!(guest.run(), Exit::Fault { .. }));
    });
}

guest!(traps, "int3", "ud2", "xor ecx, ecx", "div ecx", "hlt", "int 0x80", "mov rax, [rdx]");

#[test]
fn traps_are_told_apart() {
    on_host(|host| {
        let mut guest = Machine::new(host, traps());
        assert_eq!(guest.run(), Exit::Trap(Trap::Breakpoint));
        assert_eq!(guest.ctx.regs.rip, CODE + 1);
        assert_eq!(guest.run(), Exit::Trap(Trap::InvalidOpcode));
        guest.ctx.regs.rip += 2;
        assert_eq!(guest.run(), Exit::Trap(Trap::DivideError));
        guest.ctx.regs.rip += 2;
        assert_eq!(guest.run(), Exit::Trap(Trap::GeneralProtection));
        guest.ctx.regs.rip += 1;
        let legacy = guest.ctx.regs.rip;
        assert_eq!(guest.run(), Exit::Trap(Trap::GeneralProtection));
        assert_eq!(guest.ctx.regs.rip, legacy);
        guest.ctx.regs.rip += 2;
        guest.ctx.regs.rdx = 1 << 60;
        assert_eq!(guest.run(), Exit::Trap(Trap::GeneralProtection));
        guest.ctx.regs.rflags |= 0x100;
        guest.ctx.regs.rip = CODE + 3;
        assert_eq!(guest.run(), Exit::Trap(Trap::Debug));
    });
}

// A far return (`rex.w retf`) to the 32-bit code segment.
guest!(compat, "push 0x23", "push rbx", ".byte 0x48, 0xcb", "int 0x80");

#[test]
fn code_of_32_bits_is_refused() {
    on_host(|host| {
        let mut guest = Machine::new(host, compat());
        guest.space.apply(&[map(DATA, 0x2_0000, Prot::READ | Prot::WRITE)]).unwrap();
        guest.ctx.regs.rsp = DATA + PAGE;
        guest.ctx.regs.rbx = CODE + compat().len() as u64 - 2;
        assert_eq!(guest.run(), Exit::Trap(Trap::GeneralProtection));
        // Whatever becomes of it, it is back in 64-bit mode.
        host.ram().write(Phys(0x1_0000), count_calls());
        guest.ctx.regs.rip = CODE;
        assert_eq!(guest.run(), Exit::Syscall);
    });
}

guest!(spin, "2: inc rbx", "jmp 2b");

#[test]
fn deadlines_and_kicks_end_a_run() {
    on_host(|host| {
        let mut guest = Machine::new(host, spin());
        for _ in 0..20 {
            let deadline = host.monotonic_ns() + 3_000_000;
            assert_eq!(host.run(VcpuId(0), &guest.space, &mut guest.ctx, Some(deadline)), Exit::Interrupted);
            assert!(host.monotonic_ns() >= deadline);
        }
        let before = guest.ctx.regs.rbx;
        host.kick(VcpuId(0));
        assert_eq!(guest.run(), Exit::Interrupted);
        assert_eq!(guest.ctx.regs.rbx, before, "a kick before the run ends it at once");
        let (kicker, enough) = (host.clone(), Arc::new(AtomicBool::new(false)));
        let stop = enough.clone();
        let kicks = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(200));
                kicker.kick(VcpuId(0));
            }
        });
        for _ in 0..50 {
            let deadline = host.monotonic_ns() + 10_000_000_000;
            assert_eq!(host.run(VcpuId(0), &guest.space, &mut guest.ctx, Some(deadline)), Exit::Interrupted);
            assert!(host.monotonic_ns() < deadline, "a kick was lost");
        }
        enough.store(true, Ordering::Relaxed);
        kicks.join().unwrap();
        assert!(guest.ctx.regs.rbx > before);
    });
}

#[test]
fn a_kick_storm_loses_no_call() {
    on_host(|host| {
        let mut guest = Machine::new(host, count_calls());
        let kicker = host.clone();
        let kicks = std::thread::spawn(move || {
            for _ in 0..2000 {
                std::thread::sleep(Duration::from_micros(50));
                kicker.kick(VcpuId(0));
            }
        });
        let mut calls = 0;
        while !kicks.is_finished() {
            match guest.run() {
                Exit::Syscall => {
                    assert_eq!(guest.ctx.regs.rdi, calls);
                    guest.ctx.regs.rax = calls;
                    calls += 1;
                }
                exit => assert_eq!(exit, Exit::Interrupted),
            }
        }
        assert!(calls > 1000);
    });
}

guest!(vectors, "2: movq xmm0, rdi", "mov eax, 24", "syscall", "movq rdi, xmm0", "inc rdi", "jmp 2b");

#[test]
fn threads_of_a_space_keep_their_vector_state() {
    on_host(|host| {
        let mut guest = Machine::new(host, vectors());
        let mut other = context(host);
        other.regs.rdi = 1 << 40;
        for turn in 0..250 {
            assert_eq!(guest.run(), Exit::Syscall);
            assert_eq!(guest.ctx.regs.rdi, turn);
            assert_eq!(run_thread(host, &guest.space, &mut other), Exit::Syscall);
            assert_eq!(other.regs.rdi, (1 << 40) + turn);
            // Each of them runs twice in a row now and then.
            if turn % 7 == 0 {
                (guest.ctx.regs.rip, guest.ctx.regs.rdi) = (CODE, turn);
                assert_eq!(guest.run(), Exit::Syscall);
                assert_eq!(guest.ctx.regs.rdi, turn);
            }
        }
        host.save_fpu(&guest.space, &guest.ctx);
        assert_eq!(guest.ctx.fpu.read(|area, _| area[160]), 249);
        guest.ctx.fpu.replace(|area| area[160] = 77);
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.ctx.regs.rdi, 78);
        // What no processor takes: the initial state is loaded instead.
        guest.ctx.fpu.replace(|area| area.fill(0xff));
        assert_eq!(guest.run(), Exit::Syscall);
    });
}

guest!(bases, "wrfsbase rdi", "syscall", "rdgsbase rsi", "syscall");

#[test]
fn segment_bases_are_the_guests() {
    on_host(|host| {
        let mut guest = Machine::new(host, bases());
        guest.ctx.regs.rdi = 0x1234_5000;
        guest.ctx.regs.gs_base = 0x7777_0000;
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.ctx.regs.fs_base, 0x1234_5000);
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.ctx.regs.rsi, 0x7777_0000);
        // A base in the host's half cannot be set again, and must not end the guest.
        guest.ctx.regs.rip = CODE;
        guest.ctx.regs.rdi = 0xffff_8000_0000_0000;
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.run(), Exit::Syscall);
    });
}

#[test]
fn a_dropped_space_leaves_nothing_to_the_next() {
    on_host(|host| {
        let mut first = Machine::new(host, store_load());
        first.ctx.regs.rdi = DATA;
        first.space.apply(&[map(DATA, 0x3_0000, Prot::READ | Prot::WRITE)]).unwrap();
        assert_eq!(first.run(), Exit::Syscall);
        drop(first);
        let mut next = Machine::new(host, store_load());
        next.ctx.regs.rdi = DATA;
        assert_eq!(next.run(), Exit::Fault { addr: DATA, access: told(Access::Write) });
    });
}
