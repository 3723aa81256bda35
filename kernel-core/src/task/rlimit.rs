//! Resource limits. Source: `getrlimit(2)`.

use linux_raw_sys::general as sys;

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// How many resources there are.
pub const COUNT: usize = 16;

/// A limit and how far its owner may raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What counts.
    pub soft: u64,
    /// Its ceiling.
    pub hard: u64,
}

/// All limits of a process.
#[derive(Clone, Debug)]
pub struct Rlimits([Rlimit; COUNT]);

impl Default for Rlimits {
    /// What Linux gives PID 1; `ulimit -n` and core sizes are Linux's defaults.
    fn default() -> Rlimits {
        let mut limits = [Rlimit { soft: INFINITY, hard: INFINITY }; COUNT];
        let mut set = |resource: u32, soft, hard| limits[resource as usize] = Rlimit { soft, hard };
        set(sys::RLIMIT_STACK, 8 << 20, INFINITY);
        set(sys::RLIMIT_CORE, 0, INFINITY);
        set(sys::RLIMIT_NPROC, 4096, 4096);
        set(sys::RLIMIT_NOFILE, 1024, 4096);
        set(sys::RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
        set(sys::RLIMIT_SIGPENDING, 4096, 4096);
        set(sys::RLIMIT_MSGQUEUE, 819_200, 819_200);
        set(sys::RLIMIT_NICE, 0, 0);
        set(sys::RLIMIT_RTPRIO, 0, 0);
        Rlimits(limits)
    }
}

impl Rlimits {
    /// The soft limit; of a resource that does not exist, none.
    pub fn soft(&self, resource: u32) -> u64 {
        self.get(resource).map_or(INFINITY, |limit| limit.soft)
    }

    /// A limit, if the resource exists.
    pub fn get(&self, resource: u32) -> Option<Rlimit> {
        self.0.get(resource as usize).copied()
    }

    /// Sets a limit, if the resource exists.
    pub fn set(&mut self, resource: u32, limit: Rlimit) {
        if let Some(place) = self.0.get_mut(resource as usize) {
            *place = limit;
        }
    }
}
