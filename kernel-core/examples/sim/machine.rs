//! The host: [`FakeHost`] with faults.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kernel_core::host::fake::{FakeFiber, FakeHost, FakeSpace};
use kernel_core::host::{Access, Cpu, Exit, FiberBody, Frames, Host, HostError, Prot, UserContext, VcpuId};
use kernel_core::kernel::Kernel;

use crate::guest::{self, Guests};
use crate::invariants;
use crate::random::Random;

/// Steps from one look at the invariants to the next.
const CHECK: u64 = 500;

/// A host whose guests do anything.
pub struct Machine {
    fake: Arc<FakeHost>,
    state: Mutex<State>,
    kernel: Mutex<Weak<Kernel<Machine>>>,
}

struct State {
    random: Random,
    guests: Guests,
    steps: u64,
    last: u64,
    calls: u64,
    fault: Option<String>,
}

impl Machine {
    /// A host for so many steps.
    pub fn new(random: Random, steps: u64) -> Arc<Machine> {
        let state = State { random, guests: Guests::default(), steps: 0, last: steps, calls: 0, fault: None };
        Arc::new(Machine { fake: FakeHost::new(1), state: Mutex::new(state), kernel: Mutex::default() })
    }

    /// Looks at this kernel's invariants from now on.
    pub fn watch(&self, kernel: &Arc<Kernel<Machine>>) {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(kernel);
    }

    /// How many calls guests made.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// What was wrong, if anything.
    pub fn fault(&self) -> Result<(), String> {
        self.state().fault.take().map_or(Ok(()), Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the invariants; with a fault, the instance is over.
    fn check(&self) {
        let Some(kernel) = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).upgrade() else {
            return;
        };
        if let Err(fault) = invariants::now(&kernel) {
            let mut state = self.state();
            state.last = state.steps;
            let steps = state.steps;
            state.fault.get_or_insert_with(|| format!("step {steps}: {fault}"));
        }
    }

    /// What goes wrong before a guest runs; `None`: nothing.
    fn misfortune(&self, state: &mut State, space: &FakeSpace, is_init: bool) -> Option<Exit> {
        let random = &state.random;
        if random.once_in(200) {
            let much = random.once_in(4);
            self.fake
                .heap_bytes
                .store(if much { 1 << 30 } else { 1 << 20 }, std::sync::atomic::Ordering::Relaxed);
        }
        if random.once_in(50) {
            self.fake.kick(VcpuId(0));
        }
        if random.once_in(30) {
            self.fake.advance_ns(random.pick(&[1_000, 1_000_000, 20_000_000, 3_000_000_000]));
        }
        if random.once_in(300) {
            self.fake.fail_next_space(random.pick(&[HostError::OutOfMemory, HostError::TooManyProcesses]));
        }
        // Init has to live for as long as the instance.
        if is_init {
            return None;
        }
        if random.once_in(300) {
            space.fail_next_apply(random.pick(&[HostError::OutOfMemory, HostError::TooManyMappings]));
        }
        if random.once_in(1000) {
            space.die();
            return Some(Exit::Died);
        }
        random.once_in(40).then_some(Exit::Interrupted)
    }
}

impl Host for Machine {
    type Space = FakeSpace;
    type Fiber = FakeFiber;

    fn ram(&self) -> Arc<dyn Frames> {
        self.fake.ram()
    }

    fn new_space(&self, including: Range<u64>) -> Result<FakeSpace, HostError> {
        self.fake.new_space(including)
    }

    fn run(&self, vcpu: VcpuId, space: &FakeSpace, ctx: &mut UserContext, deadline_ns: Option<u64>) -> Exit {
        // Kicks, deadlines and lost spaces are as ever. What else it gives is a fault, as it knows no programs.
        match self.fake.run(vcpu, space, ctx, deadline_ns) {
            Exit::Fault { .. } => {}
            exit => return exit,
        }
        let check = {
            let mut state = self.state();
            state.steps += 1;
            state.steps.is_multiple_of(CHECK)
        };
        if check {
            self.check();
        }
        let mut state = self.state();
        let state = &mut *state;
        let is_init = guest::is_init(&ctx.regs);
        if is_init && state.steps >= state.last {
            return guest::end(&mut ctx.regs);
        }
        if let Some(exit) = self.misfortune(state, space, is_init) {
            return exit;
        }
        if !space.mapping(ctx.regs.rip).is_some_and(|(_, prot)| prot.contains(Prot::EXEC)) {
            return Exit::Fault { addr: ctx.regs.rip, access: Access::Exec };
        }
        let exit = state.guests.step(&state.random, &mut ctx.regs, space);
        state.calls += u64::from(exit == Exit::Syscall);
        exit
    }

    fn save_fpu(&self, _: &FakeSpace, _: &UserContext) {}

    fn fpu_size(&self) -> usize {
        self.fake.fpu_size()
    }

    fn cpu(&self) -> Cpu {
        self.fake.cpu()
    }

    fn kick(&self, vcpu: VcpuId) {
        self.fake.kick(vcpu);
    }

    fn wait(&self, vcpu: VcpuId, deadline_ns: Option<u64>) {
        self.fake.wait(vcpu, deadline_ns);
    }

    fn heap_bytes(&self) -> u64 {
        self.fake.heap_bytes()
    }

    fn new_fiber(&self, body: FiberBody) -> Result<FakeFiber, HostError> {
        self.fake.new_fiber(body)
    }

    fn monotonic_ns(&self) -> u64 {
        self.fake.monotonic_ns()
    }

    fn boottime_ns(&self) -> u64 {
        self.fake.boottime_ns()
    }

    fn realtime_ns(&self) -> u64 {
        self.fake.realtime_ns()
    }

    fn clock_image(&self) -> Option<u64> {
        None
    }

    fn entropy(&self, buf: &mut [u8]) {
        self.fake.entropy(buf);
    }
}
