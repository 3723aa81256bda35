//! Signal frames that a guest made up, taken back by `rt_sigreturn`, and signals after that: wherever its stack is then.

use arbitrary::Unstructured;
use kernel_core::host::UserContext;
use kernel_core::host::fake::FakeHost;
use linux_raw_sys::general as sys;

use crate::call::{Call, DATA, DATA_LEN};
use crate::instance::{self, INIT};

/// Signals after the first frame.
const ROUNDS: u64 = 6;

/// The bytes are frames, after a choice of where each is.
pub fn run(data: &[u8]) {
    let fake = FakeHost::new(1);
    add_program(&fake, data.to_vec());
    instance::run_to_the_end(fake, instance::config(&[]));
}

/// A program that has handlers at its own address, and goes there again with every signal: in `rbx`, which frames change as
/// they like, is nothing it relies on.
fn add_program(host: &FakeHost, data: Vec<u8>) {
    let mut round = 0;
    let mut pending: Option<Call> = None;
    instance::add_program(host, INIT, move |context, memory| {
        let call = pending.take().unwrap_or_else(|| {
            round += 1;
            next(round, &data, context)
        });
        call.make(&mut context.regs, memory).unwrap_or_else(|exit| {
            pending = Some(call);
            exit
        })
    });
}

fn next(round: u64, data: &[u8], context: &mut UserContext) -> Call {
    /// `SA_SIGINFO | SA_RESTORER | SA_NODEFER`, and `SA_ONSTACK`.
    const FLAGS: u64 = 0x4 | 0x0400_0000 | 0x4000_0000 | 0x0800_0000;
    let action = [INIT, FLAGS, INIT, 0].map(u64::to_le_bytes).concat();
    let handle =
        |signal: u32| Call::new(sys::__NR_rt_sigaction, &[signal.into(), DATA, 0, 8]).with(DATA, &action);
    match round {
        1 => handle(sys::SIGSEGV),
        2 => handle(sys::SIGUSR1),
        // What frames lead to is no end of the instance, whose time passes anyway.
        3 => {
            let time = [0u64, 0, 1, 0].map(u64::to_le_bytes).concat();
            Call::new(sys::__NR_setitimer, &[0, DATA, 0]).with(DATA, &time)
        }
        4 => {
            let stack = [DATA + 0x8000, 0, 0x4000].map(u64::to_le_bytes).concat();
            Call::new(sys::__NR_sigaltstack, &[DATA, 0]).with(DATA, &stack)
        }
        _ if round >= 4 + 2 * ROUNDS => Call::new(sys::__NR_exit_group, &[0]),
        _ if round.is_multiple_of(2) => Call::new(sys::__NR_tkill, &[1, sys::SIGUSR1.into()]),
        _ => {
            let part = data.len() / ROUNDS as usize + 1;
            let frame = data.chunks(part).nth((round - 5) as usize / 2).unwrap_or_default();
            sigreturn(frame, context).unwrap_or_else(|_| Call::new(sys::__NR_rt_sigreturn, &[]))
        }
    }
}

fn sigreturn(data: &[u8], context: &mut UserContext) -> arbitrary::Result<Call> {
    let mut choices = Unstructured::new(data);
    let rsp = match choices.int_in_range(0..=5)? {
        0 => choices.arbitrary()?,
        1 => DATA + DATA_LEN - u64::from(choices.arbitrary::<u8>()?),
        // What is on its stack.
        2 => context.regs.rsp,
        _ => DATA + 0x1000 + u64::from(choices.arbitrary::<u8>()? & 0x3f),
    };
    context.regs.rsp = rsp;
    // Mostly a frame whose vectors follow it, and which goes on here.
    let mut frame = vec![0u8; 440];
    let mut put = |at: usize, value: u64| frame[at - 8..at].copy_from_slice(&value.to_le_bytes());
    put(40 + 17 * 8, INIT);
    put(40 + 16 * 8, DATA + 0x4000);
    let area = DATA + 0x2000;
    put(8 + 40 + 184 + 8, area);
    let mut vectors = vec![0; 580];
    vectors[464..468].copy_from_slice(&0x4650_5853u32.to_le_bytes());
    vectors[480..484].copy_from_slice(&576u32.to_le_bytes());
    for _ in 0..choices.int_in_range(0..=6)? {
        let into = if choices.ratio(1, 2)? { &mut frame } else { &mut vectors };
        let at = choices.int_in_range(0..=into.len() - 8)?;
        let value = match choices.int_in_range(0..=3)? {
            0 => *choices.choose(&[
                0,
                u64::MAX,
                1 << 63,
                1 << 47,
                DATA,
                DATA + DATA_LEN - 4,
                0x7fff_ffff_f000,
            ])?,
            _ => choices.arbitrary()?,
        };
        into[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let call = Call::new(sys::__NR_rt_sigreturn, &[]).with(area, &vectors);
    let inside = (DATA..DATA + DATA_LEN - 440).contains(&rsp);
    Ok(if inside { call.with(rsp, &frame) } else { call })
}
