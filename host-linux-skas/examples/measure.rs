//! What the host's operations cost on this machine: `cargo run --release -p host-linux-skas --example measure [ptrace|no-patch]`.

use std::arch::global_asm;
use std::time::Instant;

use host_linux::backend::{Backend, Settings, Trap};
use host_linux_skas::SkasHost;
use kernel_core::host::{
    CallCode, Exit, Fill, Fpu, Host, MapOp, Phys, Prot, Registers, Space, UserContext, VcpuId,
};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x1000_0000;
const PAGE: u64 = 4096;

global_asm!(
    ".pushsection .rodata.guest,\"a\"",
    ".globl measure_calls, measure_stores, measure_end",
    "measure_calls: mov eax, 39",
    "syscall",
    "jmp measure_calls",
    "measure_stores: mov dword ptr [rdi], 1",
    "add rdi, 4096",
    "cmp rdi, rsi",
    "jb measure_stores",
    "syscall",
    "measure_end:",
    ".popsection"
);

unsafe extern "C" {
    static measure_calls: u8;
    static measure_stores: u8;
    static measure_end: u8;
}

fn report(what: &str, count: u64, mut body: impl FnMut()) {
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64() * 1e6 / count as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:55} {:8.2} us (from {:.2} to {:.2})", times[3], times[0], times[6]);
}

fn guest(host: &SkasHost, entry: u64) -> (<SkasHost as Host>::Space, UserContext) {
    let space = host.new_space(0..0).expect("a space");
    space.apply(&[map(CODE, PAGE, Fill::Lazy, 0)]).expect("a map");
    let regs = Registers { rip: CODE + entry, rflags: 0x202, ..Registers::default() };
    (space, UserContext { regs, fpu: Fpu::new(vec![0; host.fpu_size()]) })
}

fn map(va: u64, len: u64, fill: Fill, phys: u64) -> MapOp {
    MapOp::Map { va, len, phys: Phys(phys), prot: Prot::READ | Prot::WRITE | Prot::EXEC, fill }
}

fn main() {
    let start = Instant::now();
    let trap = if std::env::args().any(|word| word == "ptrace") { Trap::Ptrace } else { Trap::Seccomp };
    let patch = std::env::args().all(|word| word != "no-patch");
    let host =
        SkasHost::start(&Settings { trap: Some(trap), patch, ..Settings::new(1 << 40) }).expect("a host");
    println!("{:55} {:8.2} us", "start", start.elapsed().as_secs_f64() * 1e6);
    let (start, stores, end) = (&raw const measure_calls, &raw const measure_stores, &raw const measure_end);
    // SAFETY: the labels enclose the code above.
    let code = unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) };
    host.ram().write(Phys(0), code);
    let stores = (stores.addr() - start.addr()) as u64;
    SkasHost::run_vcpus(&host, &|vcpu| measure(&host, vcpu, stores));
}

fn measure(host: &SkasHost, vcpu: VcpuId, stores: u64) {
    // The guest's code is at the start of RAM; where the host wants it rewritten, it is, if it was told so.
    let run = |space: &_, ctx: &mut UserContext| loop {
        match host.run(vcpu, space, ctx, None) {
            Exit::Rewrite(at) => {
                let mut code = CallCode::default();
                host.ram().read(Phys(at - CODE), &mut code);
                if let Some(new) = host.rewrite(at, code) {
                    host.ram().write(Phys(at - CODE), &new);
                    ctx.regs.rip = at;
                }
            }
            exit => return exit,
        }
    };
    let (space, mut ctx) = guest(host, 0);
    let soon = || Some(host.monotonic_ns() + 10_000_000);
    for _ in 0..1000 {
        run(&space, &mut ctx);
    }
    report("system call", 20_000, || {
        (0..20_000).for_each(|_| assert_eq!(run(&space, &mut ctx), Exit::Syscall))
    });
    report("system call, with a deadline", 20_000, || {
        for _ in 0..20_000 {
            host.run(vcpu, &space, &mut ctx, soon());
        }
    });
    let mut other = UserContext { regs: ctx.regs, fpu: Fpu::new(vec![0; host.fpu_size()]) };
    report("system call, two threads of a space in turn", 20_000, || {
        for _ in 0..10_000 {
            run(&space, &mut ctx);
            run(&space, &mut other);
        }
    });
    let (far, mut away) = guest(host, 0);
    report("system call, two spaces in turn", 20_000, || {
        for _ in 0..10_000 {
            run(&space, &mut ctx);
            run(&far, &mut away);
        }
    });
    report("system call and one map", 5000, || {
        for turn in 0..5000 {
            space.apply(&[map(DATA, PAGE, Fill::Lazy, turn * PAGE)]).expect("a map");
            run(&space, &mut ctx);
        }
    });
    for (pages, fill) in
        [(1, Fill::Lazy), (1, Fill::Now), (16, Fill::Lazy), (16, Fill::Now), (512, Fill::Now)]
    {
        let what = format!("fault, map and store of a page, {pages} at a time, {fill:?}");
        let total = 4096;
        report(&what, total, || {
            let (space, mut ctx) = guest(host, stores);
            ctx.regs.rdi = DATA;
            ctx.regs.rsi = DATA + total * PAGE;
            while let Exit::Fault { addr, .. } = run(&space, &mut ctx) {
                space.apply(&[map(addr, pages * PAGE, fill, addr)]).expect("a map");
            }
            host.ram().discard(DATA..DATA + total * PAGE);
        });
    }
    report("new space, first call, drop", 500, || {
        for _ in 0..500 {
            let (space, mut ctx) = guest(host, 0);
            run(&space, &mut ctx);
        }
    });
    report("64 new spaces at once, first call", 64, || {
        let mut guests: Vec<_> = (0..64).map(|_| guest(host, 0)).collect();
        for (space, ctx) in &mut guests {
            run(space, ctx);
        }
    });
    report("RAM: write 64 KiB", 1000, || (0..1000).for_each(|_| host.ram().write(Phys(DATA), &[1; 65_536])));
}
