//! Guests on the TT host: what every host does, and what comes of one address space for all.

use kernel_core::host::{Exit, Fill, Host, HostError, MapOp, Phys, Prot, Space};

use guests::{CODE, DATA, Machine, PAGE, context, count_calls, guest, map, on_host, store_load};

mod subject {
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use host_linux::backend::{Backend, Settings};

    use kernel_core::host::Access;

    pub use host_linux_tt::{TtHost as TheHost, TtSpace as TheSpace};

    /// A process has one address space, and so one host at a time.
    static TURN: Mutex<()> = Mutex::new(());

    pub fn start() -> (MutexGuard<'static, ()>, Arc<TheHost>) {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        (turn, TheHost::start(&Settings::new(1 << 40)).unwrap())
    }

    /// What the host says of an access.
    pub fn told(_: Access) -> Access {
        Access::Unknown
    }
}

#[path = "../../host-linux/tests/guests/mod.rs"]
mod guests;

guest!(load, "mov rax, [rdi]", "syscall", "mov rax, [rdi]", "syscall");

/// A guest in a window of its own, with `code` at the window's start and a page of data behind it, both at `phys`.
fn in_own_window(host: &std::sync::Arc<host_linux_tt::TtHost>, code: &[u8], phys: u64) -> Machine {
    let space = host.new_space(0..0).unwrap();
    let start = space.limits().start;
    host.ram().write(Phys(phys), code);
    space
        .apply(&[
            map(start, phys, Prot::READ | Prot::EXEC),
            map(start + PAGE, phys + PAGE, Prot::READ | Prot::WRITE),
        ])
        .unwrap();
    let mut ctx = context(host);
    ctx.regs.rip = start;
    ctx.regs.rdi = start + PAGE;
    Machine { host: host.clone(), space, ctx }
}

#[test]
fn spaces_with_the_same_addresses_take_turns() {
    on_host(|host| {
        let mut guests: Vec<Machine> = (0..3).map(|_| Machine::new(host, load())).collect();
        for (number, guest) in guests.iter_mut().enumerate() {
            let phys = (number as u64 + 3) << 20;
            host.ram().write(Phys(phys), &[number as u8 + 1]);
            guest.space.apply(&[map(DATA, phys, Prot::READ)]).unwrap();
            guest.ctx.regs.rdi = DATA;
        }
        for _ in 0..20 {
            for (number, guest) in guests.iter_mut().enumerate() {
                guest.ctx.regs.rip = CODE;
                assert_eq!(guest.run(), Exit::Syscall);
                assert!(guest.ctx.regs.rcx > CODE);
                let seen = host.ram().load_u32(Phys((number as u64 + 3) << 20));
                assert_eq!(seen, number as u32 + 1);
            }
        }
        // What one changes while another is resident is there when it comes back, and what it gave up is not.
        guests[0].space.apply(&[map(DATA, 9 << 20, Prot::READ | Prot::WRITE)]).unwrap();
        guests[1].space.apply(&[MapOp::Unmap { va: DATA, len: PAGE }]).unwrap();
        host.ram().write(Phys(0x1_0000), store_load());
        for guest in &mut guests {
            guest.ctx = context(host);
            guest.ctx.regs.rdi = DATA;
        }
        assert_eq!(guests[0].run(), Exit::Syscall);
        assert_eq!(host.ram().load_u32(Phys(9 << 20)), 7);
        assert!(matches!(guests[1].run(), Exit::Fault { addr: DATA, .. }));
        assert!(matches!(guests[2].run(), Exit::Fault { addr: DATA, .. }), "it may not write");
    });
}

#[test]
fn a_guest_reads_and_writes_the_memory_of_another() {
    on_host(|host| {
        let victim = in_own_window(host, load(), 1 << 20);
        let mut attacker = in_own_window(host, store_load(), 2 << 20);
        let windows = [victim.space.limits(), attacker.space.limits()];
        assert!(windows[0].end <= windows[1].start, "side by side: {windows:x?}");
        let mut victim = victim;
        assert_eq!(victim.run(), Exit::Syscall);
        assert_eq!(victim.ctx.regs.rcx, victim.space.limits().start + 5);
        attacker.ctx.regs.rdi = victim.space.limits().start + PAGE;
        assert_eq!(attacker.run(), Exit::Syscall);
        assert_eq!(host.ram().load_u32(Phys((1 << 20) + PAGE)), 7, "TT has no protection");
    });
}

#[test]
fn there_are_always_windows() {
    on_host(|host| {
        let mut guests: Vec<Machine> =
            (0..300).map(|number| in_own_window(host, count_calls(), (number + 1) << 20)).collect();
        for _ in 0..2 {
            for guest in &mut guests {
                guest.ctx.regs.rip = guest.space.limits().start;
                assert_eq!(guest.run(), Exit::Syscall);
            }
        }
    });
}

#[test]
fn mappings_of_all_guests_together_stay_below_the_hosts_limit() {
    on_host(|host| {
        let scattered = |number: u64| {
            let guest = in_own_window(host, count_calls(), number << 30);
            let start = guest.space.limits().start + (1 << 20);
            let pages = (0..20_000).map(|page| MapOp::Map {
                va: start + page * 2 * PAGE,
                len: PAGE,
                phys: Phys((number << 30) + (1 << 20) + page * 2 * PAGE),
                prot: Prot::READ,
                fill: Fill::Lazy,
            });
            guest.space.apply(&pages.collect::<Vec<_>>()).unwrap();
            guest
        };
        // Each takes two thirds of what there is, so they are not all there at once.
        let mut guests: Vec<Machine> = (1..5).map(scattered).collect();
        for _ in 0..2 {
            for guest in &mut guests {
                guest.ctx.regs.rip = guest.space.limits().start;
                assert_eq!(guest.run(), Exit::Syscall);
                assert!(host_linux::vm::count_mappings(std::process::id().cast_signed()) < 64_000);
            }
        }
        let last = &guests[0];
        let start = last.space.limits().start + (1 << 30);
        let refused = (0..70_000)
            .map(|page| map(start + page * 2 * PAGE, (9 << 30) + page * 2 * PAGE, Prot::READ))
            .find_map(|op| last.space.apply(&[op]).err());
        assert_eq!(refused, Some(HostError::TooManyMappings));
        // The kernel is not affected.
        assert_eq!(guests[1].run(), Exit::Syscall);
        std::thread::spawn(|| vec![1u8; 64 << 20].len()).join().unwrap();
    });
}
