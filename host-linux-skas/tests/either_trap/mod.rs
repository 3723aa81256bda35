//! Guests on the SKAS host: what every host does, and what this one promises whichever the trap. The tests of each trap
//! include this, and say in `TRAP` which it is.

use host_linux::backend::{Backend, Trap};
use kernel_core::host::{Access, Exit, Host, HostError, Phys, Prot, Space};

use crate::TRAP;

use subject::{TheHost, told};

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
            assert!(matches!(
                guest.run(),
                Exit::Fault { .. } | Exit::Trap(kernel_core::host::Trap::GeneralProtection)
            ));
        }
        // The stub's code, what it looks up and its requests are read only.
        host.ram().write(Phys(0x1_0000), store_load());
        for page in 0..3 {
            guest.ctx = context(host);
            let addr = STUB + page * PAGE;
            guest.ctx.regs.rdi = addr;
            assert_eq!(guest.run(), Exit::Fault { addr, access: told(Access::Write) });
        }
        assert!(guest.space.limits().end <= STUB);
    });
}

#[test]
fn a_guest_sees_nothing_of_the_host() {
    on_host(|host| {
        let mut guest = Machine::new(host, store_load());
        assert_eq!(guest.run(), Exit::Fault { addr: 0, access: told(Access::Write) });
        let process = TheHost::host_process(&guest.space).unwrap();
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        let known =
            |line: &str| ["/memfd:lodger-", "[vvar", "[vsyscall]"].iter().any(|name| line.contains(name));
        assert!(maps.contains("/memfd:lodger-ram") && maps.lines().all(known), "{maps}");
        // Guest RAM, and what says that requests are done.
        let fds = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        assert_eq!(fds.count(), if TRAP == Trap::Seccomp { 2 } else { 1 });
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

/// Where a stub has pages of its own, and some around them.
const STUB_AREA: std::ops::Range<u64> = 0x7fff_ff80_0000..0x7fff_ffff_f000;

#[test]
fn no_page_beyond_the_limits_ends_a_guest() {
    on_host(|host| {
        let mut guest = Machine::new(host, load());
        let mut seen = 0;
        assert!(guest.space.limits().end < STUB_AREA.start);
        for page in STUB_AREA.step_by(PAGE as usize) {
            guest.ctx = context(host);
            guest.ctx.regs.rdi = page;
            match guest.run() {
                Exit::Syscall => seen += 1,
                // Not all of the host's data of clocks is always there.
                exit => assert!(matches!(exit, Exit::Fault { addr, .. } if addr == page), "{exit:?}"),
            }
        }
        // Code and requests of the stub at least.
        assert!(seen >= 2, "{seen}");
    });
}
