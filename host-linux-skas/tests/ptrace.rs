//! Guests trapped by tracing.

use host_linux::backend::Trap;
use kernel_core::host::{Exit, Host, VcpuId};

use either_trap::guests::{Machine, PAGE, context, count_calls, on_host};

mod either_trap;

const TRAP: Trap = Trap::Ptrace;
const STUB: u64 = 0x7fff_ffe0_0000;

#[test]
fn the_stubs_own_code_is_a_guests_like_any_other() {
    on_host(|host| {
        let mut guest = Machine::new(host, count_calls());
        for offset in 0..PAGE {
            guest.ctx = context(host);
            guest.ctx.regs.rip = STUB + offset;
            let deadline = Some(host.monotonic_ns() + 20_000_000_000);
            let exit = host.run(VcpuId(0), &guest.space, &mut guest.ctx, deadline);
            assert!(!matches!(exit, Exit::Died | Exit::Interrupted), "{exit:?} at {offset}");
        }
    });
}
