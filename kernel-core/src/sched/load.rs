//! Load averages: how many tasks ran, on average over 1, 5 and 15 minutes. Source: `proc_loadavg(5)`.
//!
//! Nothing is sampled while nobody asks: vCPUs that do nothing must not wake for it. What counts is how much time they
//! spent on tasks since the last look; so it is exact for who asks often, and evened out over the time between two looks.

use crate::sync::Mutex;

/// Averages are updated in steps of this, as Linux does.
const STEP_NS: u64 = 5_000_000_000;
/// What is left of an average after a step, in 2048ths: for 1, 5 and 15 minutes.
const DECAY: [u64; 3] = [1884, 2014, 2037];
const ONE: u64 = 2048;
/// After so many steps nothing is left of what was before.
const MOST_STEPS: u64 = 4000;

#[derive(Default)]
struct State {
    at_ns: u64,
    busy_ns: u64,
    /// In 2048ths of 1/1000.
    averages: [u64; 3],
}

/// The averages of an instance.
#[derive(Default)]
pub struct LoadAverages(Mutex<State>);

impl LoadAverages {
    /// The averages in thousandths now, when vCPUs have spent `busy_ns` on tasks since boot.
    pub fn averages(&self, now_ns: u64, busy_ns: u64) -> [u32; 3] {
        let mut state = self.0.lock();
        if state.at_ns == 0 {
            (state.at_ns, state.busy_ns) = (now_ns, busy_ns);
        }
        let elapsed = now_ns.saturating_sub(state.at_ns);
        let steps = (elapsed / STEP_NS).min(MOST_STEPS);
        if steps > 0 {
            let busy = busy_ns.saturating_sub(state.busy_ns);
            let load = (u128::from(busy) * 1000 * u128::from(ONE) / u128::from(elapsed)) as u64;
            for (average, decay) in state.averages.iter_mut().zip(DECAY) {
                for _ in 0..steps {
                    *average = (*average * decay + load * (ONE - decay)) / ONE;
                }
            }
            (state.at_ns, state.busy_ns) = (now_ns, busy_ns);
        }
        state.averages.map(|average| (average / ONE) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn averages_follow_what_is_done() {
        let load = LoadAverages::default();
        assert_eq!(load.averages(SECOND, 0), [0; 3]);
        // One busy vCPU for a minute: 1 - 1/e of the average over a minute.
        let minute = load.averages(61 * SECOND, 60 * SECOND);
        assert!(
            (610..660).contains(&minute[0]) && minute[1] < minute[0] && minute[2] < minute[1],
            "{minute:?}"
        );
        let hour = load.averages(3661 * SECOND, 3660 * SECOND);
        assert!(hour.iter().all(|average| (950..=1000).contains(average)), "{hour:?}");
        let idle = load.averages(7261 * SECOND, 3660 * SECOND);
        assert!(idle[0] == 0 && idle[1] < 5, "{idle:?}");
    }
}
