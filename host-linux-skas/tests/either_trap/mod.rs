//! Guests on the SKAS host: what every host does, and what this one promises whichever the trap. The tests of each trap
//! include this, and say in `TRAP` which it is.

use host_linux::backend::Trap;
use kernel_core::host::{Access, Exit, Host, HostError, Phys, Prot, Space, VcpuId};

use crate::TRAP;

use subject::told;

use guests::{DATA, Machine, PAGE, context, count_calls, guest, map, on_host, store_load};

mod subject {
    use std::sync::Arc;

    use host_linux::backend::{Backend, Settings, Trap};
    use kernel_core::host::Access;

    pub use host_linux_skas::{SkasHost as TheHost, SkasSpace as TheSpace};

    use crate::TRAP;

    pub fn start() -> ((), Arc<TheHost>) {
        ((), TheHost::start(&Settings { trap: Some(TRAP), ..Settings::new(1 << 40) }).unwrap())
    }

    /// What the host says of an access.
    pub fn told(access: Access) -> Access {
        if TRAP == Trap::Seccomp { access } else { Access::Unknown }
    }
}

#[path = "../../../host-linux/tests/guests/mod.rs"]
pub mod guests;

guest!(jump, "jmp rax");

#[test]
fn a_hostile_guest_gets_signals_and_nothing_else() {
    const STUB: u64 = 0x7fff_ffe0_0000;
    on_host(|host| {
        let mut guest = Machine::new(host, jump());
        // Addresses that no program counter can have.
        for rip in [1 << 60, 0xffff_8000_0000_0000, u64::MAX] {
            guest.ctx.regs.rip = rip;
            assert!(matches!(guest.run(), Exit::Fault { .. } | Exit::Trap(kernel_core::host::Trap::GeneralProtection)));
        }
        // The stub's code, what it looks up and its requests are read only.
        host.ram().write(Phys(0x1_0000), store_load());
        for page in 0..3 {
            guest.ctx = context(host);
            let addr = STUB + page * PAGE;
            guest.ctx.regs.rdi = addr;
            assert_eq!(guest.run(), Exit::Fault { addr, access: told(Access::Write) });
        }
        // The stub's own system calls are the guest's if the guest makes them.
        assert!(guest.space.limits().end <= STUB);
        for offset in 0..PAGE {
            guest.ctx = context(host);
            guest.ctx.regs.rip = STUB + offset;
            let deadline = Some(host.monotonic_ns() + 1_000_000_000);
            let exit = host.run(VcpuId(0), &guest.space, &mut guest.ctx, deadline);
            assert!(!matches!(exit, Exit::Died | Exit::Interrupted), "{exit:?} at {offset}");
        }
    });
}

#[test]
fn a_guest_sees_nothing_of_the_host() {
    on_host(|host| {
        let mut guest = Machine::new(host, store_load());
        assert_eq!(guest.run(), Exit::Fault { addr: 0, access: told(Access::Write) });
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let maps = std::fs::read_to_string(path.join("maps")).ok()?;
            (maps.contains("lodger-ram") && maps.contains("7fffffe00000-7fffffe02000"))
                .then_some((path, maps))
        });
        let mut stubs = 0;
        for (path, maps) in children {
            stubs += 1;
            let known =
                |line: &str| ["/memfd:lodger-", "[vvar", "[vsyscall]"].iter().any(|name| line.contains(name));
            assert!(maps.lines().all(known), "{maps}");
            let Ok(fds) = std::fs::read_dir(path.join("fd")) else { continue };
            // Guest RAM, and what says that requests are done.
            assert_eq!(fds.count(), if TRAP == Trap::Seccomp { 2 } else { 1 });
        }
        assert!(stubs >= 1);
    });
}

#[test]
fn thousands_of_scattered_maps_end_in_an_error_of_their_own() {
    on_host(|host| {
        let mut guest = Machine::new(host, count_calls());
        let step = |page: u64| map(DATA + page * PAGE, (1 << 30) + page * 2 * PAGE, Prot::READ);
        let mut refused = None;
        for page in 0..70_000 {
            if let Err(error) = guest.space.apply(&[step(page)]) {
                refused = Some((page, error));
                break;
            }
        }
        let (page, error) = refused.expect("more mappings than the host has");
        assert_eq!(error, HostError::TooManyMappings);
        assert!(page > 60_000, "{page}");
        assert_eq!(guest.run(), Exit::Syscall);
    });
}

guest!(load, "mov eax, [rdi]", "syscall");

#[test]
fn every_space_has_the_clocks_and_cannot_change_them() {
    on_host(|host| {
        let image = host.clock_image().expect("this machine has a vDSO");
        for _ in 0..3 {
            // From the second turn on, the stub has served another space.
            let mut guest = Machine::new(host, load());
            assert!(guest.space.limits().end < image);
            guest.ctx.regs.rdi = image;
            assert_eq!(guest.run(), Exit::Syscall);
            assert_eq!(guest.ctx.regs.rax.to_le_bytes()[..4], *b"\x7fELF");
            host.ram().write(Phys(0x1_0000), store_load());
            guest.ctx = context(host);
            guest.ctx.regs.rdi = image;
            assert_eq!(guest.run(), Exit::Fault { addr: image, access: told(Access::Write) });
        }
    });
}

#[test]
fn no_page_beyond_the_limits_ends_a_guest() {
    on_host(|host| {
        let mut guest = Machine::new(host, load());
        let mut seen = 0;
        for page in (guest.space.limits().end..0x7fff_ffff_f000).step_by(PAGE as usize) {
            guest.ctx = context(host);
            guest.ctx.regs.rdi = page;
            match guest.run() {
                Exit::Syscall => seen += 1,
                exit => assert_eq!(exit, Exit::Fault { addr: page, access: told(Access::Read) }),
            }
        }
        // Code and requests of the stub at least.
        assert!(seen >= 2, "{seen}");
    });
}
