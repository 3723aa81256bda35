//! Nice values and what they mean here: the length of time slices. Sources: `setpriority(2)`, `sched(7)`.
//!
//! Tasks that can run take turns, whatever their nice value; a nicer one's turn is shorter. So tasks that compute share
//! a vCPU as on Linux, 1.25 to 1 for each step of niceness, and none starves. Slices have bounds: shorter ones would cost
//! more in switches than they give, longer ones would make everybody else wait.

/// The slice of a task with the nice value 0, in nanoseconds.
const TIME_SLICE_NS: u64 = 4_000_000;

/// The slices of the nicest tasks, and of the least nice.
const SHORTEST_NS: u64 = 250_000;
const LONGEST_NS: u64 = 50_000_000;

/// Where the host says that it costs much to go over to a task's address space, its slice is longer by so many times that:
/// else the vCPU would do little but switch.
const SLICE_PER_SWITCH: u64 = 10;
/// As long it becomes, but for a switch that takes half as long or more.
const LONGEST_AT_ALL_NS: u64 = 200_000_000;
/// No switch is taken to cost more.
const DEAREST_SWITCH_NS: u64 = 1_000_000_000;

/// A nice value: -20 gets most, 19 least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nice(i8);

impl Nice {
    /// The nearest there is to `value`.
    pub fn clamped(value: i32) -> Nice {
        Nice(value.clamp(-20, 19) as i8)
    }

    /// From -20 to 19.
    pub fn value(self) -> i8 {
        self.0
    }

    /// As `getpriority(2)` and `RLIMIT_NICE` count: 40 for -20, 1 for 19.
    pub fn priority(self) -> u64 {
        (20 - i64::from(self.0)).unsigned_abs()
    }

    /// How long a guest may compute while others wait, in nanoseconds.
    pub fn time_slice_ns(self) -> u64 {
        let step = |ns: u64, _| if self.0 > 0 { ns * 4 / 5 } else { ns * 5 / 4 };
        (0..self.0.unsigned_abs()).fold(TIME_SLICE_NS, step).clamp(SHORTEST_NS, LONGEST_NS)
    }

    /// The same, where it costs `switch_ns` to go over to it. Slices of different niceness keep their proportion, up to the
    /// longest; but each is twice as long as the switch, which is part of it, or the task would never come to run.
    pub fn time_slice_after_ns(self, switch_ns: u64) -> u64 {
        let least = least_turn_ns(switch_ns);
        let switch_ns = switch_ns.min(DEAREST_SWITCH_NS);
        let slice = self.time_slice_ns();
        let stretched = slice + SLICE_PER_SWITCH * switch_ns * slice / TIME_SLICE_NS;
        stretched.min(LONGEST_AT_ALL_NS).max(least)
    }
}

/// How long a turn is at least that begins with a switch, which is part of it.
pub fn least_turn_ns(switch_ns: u64) -> u64 {
    2 * switch_ns.min(DEAREST_SWITCH_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicer_tasks_have_shorter_slices_within_bounds() {
        let slice = |nice| Nice::clamped(nice).time_slice_ns();
        assert_eq!((slice(0), slice(1), slice(-1)), (4_000_000, 3_200_000, 5_000_000));
        assert_eq!((slice(100), slice(-100)), (SHORTEST_NS, LONGEST_NS));
        let after = |nice, switch_ns| Nice::clamped(nice).time_slice_after_ns(switch_ns);
        assert_eq!((after(0, 0), after(5, 0)), (slice(0), slice(5)));
        assert_eq!((after(0, 2_000_000), after(1, 2_000_000)), (24_000_000, 19_200_000));
        assert_eq!((after(100, 2_000_000), after(0, 100_000_000)), (4_000_000, LONGEST_AT_ALL_NS));
        assert_eq!((after(0, 400_000_000), after(0, u64::MAX)), (800_000_000, 2 * DEAREST_SWITCH_NS));
        assert_eq!((Nice::clamped(100).priority(), Nice::clamped(-100).priority()), (1, 40));
    }
}
