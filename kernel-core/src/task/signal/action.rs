//! What a process does about each signal. Source: `sigaction(2)`, `signal(7)`.

use linux_raw_sys::general as sys;

use crate::sync::Mutex;

bitflags::bitflags! {
    /// `SA_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ActionFlags: u64 {
        /// No SIGCHLD when a child stops.
        const NOCLDSTOP = 1;
        /// Children leave no zombies.
        const NOCLDWAIT = 2;
        /// The handler wants siginfo (it always gets it).
        const SIGINFO = 4;
        /// `restorer` is valid; x86-64 has no other way back.
        const RESTORER = 0x0400_0000;
        /// Run on the alternative stack.
        const ONSTACK = 0x0800_0000;
        /// Restart interrupted calls.
        const RESTART = 0x1000_0000;
        /// Do not block the signal in its handler.
        const NODEFER = 0x4000_0000;
        /// Back to the default when the handler starts.
        const RESETHAND = 0x8000_0000;
    }
}

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;

/// `struct kernel_sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalAction {
    /// [`DEFAULT`], [`IGNORE`] or the handler's address.
    pub handler: u64,
    /// Flags.
    pub flags: ActionFlags,
    /// Where a handler returns to.
    pub restorer: u64,
    /// What is blocked while the handler runs.
    pub mask: u64,
}

/// What a signal does without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// End the process.
    Terminate,
    /// End the process and dump core.
    Core,
    /// Stop the process.
    Stop,
    /// Continue it (which sending the signal has done already).
    Continue,
}

/// The default action of a signal.
pub fn default_action(signal: u8) -> DefaultAction {
    match u32::from(signal) {
        sys::SIGCHLD | sys::SIGURG | sys::SIGWINCH => DefaultAction::Ignore,
        sys::SIGCONT => DefaultAction::Continue,
        sys::SIGSTOP | sys::SIGTSTP | sys::SIGTTIN | sys::SIGTTOU => DefaultAction::Stop,
        sys::SIGQUIT
        | sys::SIGILL
        | sys::SIGTRAP
        | sys::SIGABRT
        | sys::SIGBUS
        | sys::SIGFPE
        | sys::SIGSEGV
        | sys::SIGXCPU
        | sys::SIGXFSZ
        | sys::SIGSYS => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

/// The actions of a process, shared by those made with `CLONE_SIGHAND`.
#[derive(Default)]
pub struct SignalActions(Mutex<Actions>);

#[derive(Clone)]
struct Actions([SignalAction; 64]);

impl Default for Actions {
    fn default() -> Actions {
        Actions([SignalAction::default(); 64])
    }
}

impl SignalActions {
    /// The action of a signal, 1 to 64.
    pub fn get(&self, signal: u8) -> SignalAction {
        self.0.lock().0.get(usize::from(signal).wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// Sets an action and gives the old one.
    pub fn set(&self, signal: u8, action: SignalAction) -> SignalAction {
        let mut actions = self.0.lock();
        match actions.0.get_mut(usize::from(signal).wrapping_sub(1)) {
            Some(place) => core::mem::replace(place, action),
            None => SignalAction::default(),
        }
    }

    /// A copy that is no longer shared.
    pub fn copy(&self) -> SignalActions {
        SignalActions(Mutex::new(self.0.lock().clone()))
    }

    /// What exec leaves: handlers become the default, ignored signals stay ignored.
    pub fn without_handlers(&self) -> SignalActions {
        let mut actions = self.0.lock().clone();
        for action in &mut actions.0 {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = SignalAction { handler, ..SignalAction::default() };
        }
        SignalActions(Mutex::new(actions))
    }

    /// Whether a signal would have no effect if it were not blocked.
    pub fn ignores(&self, signal: u8) -> bool {
        match self.get(signal).handler {
            IGNORE => true,
            DEFAULT => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }
}
