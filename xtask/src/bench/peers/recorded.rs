//! Figures of the newest peers, which few distributions have: recorded in November 2026 on a virtual machine of two
//! processors with Linux 6.18, with a program like this one. Only the quotients are worth anything elsewhere.

use super::super::placement::Placement;

/// What was measured then.
pub const COLUMNS: [&str; 2] = ["uml 7.2, recorded", "gvisor 2024, recorded"];

/// What they are, and where the figures are from.
pub const NOTE: &str = "Recorded, not of this run: User-mode Linux 7.2 with `seccomp=on`, and gVisor 20240729 with \
    systrap, in November 2026 on a virtual machine of two processors with Linux 6.18, as multiples of its native times.";

/// The quotients to native of that row, in the order of [`COLUMNS`].
pub fn of(row: &str, placement: Placement) -> [Option<f64>; 2] {
    let table = match placement {
        Placement::One(_) => ONE,
        Placement::All(_) => ALL,
    };
    let found = table.iter().find(|(name, ..)| *name == row);
    found.map_or([None; 2], |(_, uml, gvisor)| [*uml, *gvisor])
}

type Line = (&'static str, Option<f64>, Option<f64>);

/// Everything on one processor.
const ONE: &[Line] = &[
    ("getpid", Some(68.0), Some(102.0)),
    ("clock", Some(334.0), Some(1.0)),
    ("pread-4k", Some(20.0), Some(15.0)),
    ("stat", Some(12.0), Some(8.0)),
    ("open-close", Some(11.0), Some(8.0)),
    ("page-touch", Some(10.0), Some(1.7)),
    ("fork-wait", Some(3.8), Some(23.0)),
    ("fork-exec-wait", Some(4.7), Some(18.0)),
    ("thread", Some(4.0), Some(4.1)),
    ("pipe-ping-pong", Some(7.9), Some(6.9)),
    ("futex-ping-pong", Some(6.4), Some(8.0)),
    ("signal-self", Some(7.8), Some(8.5)),
    ("segv-handler", Some(10.0), Some(18.0)),
    ("pipe-64k", Some(1.7), Some(1.3)),
    ("socket-64k", Some(2.4), Some(4.0)),
    ("sh-1000-true", Some(7.1), None),
    ("tar", Some(7.0), None),
    ("find-10k", Some(6.4), None),
    ("sqlite-rows", Some(1.2), None),
    ("sqlite-commits", Some(7.2), None),
    ("gcc", Some(2.1), None),
];

/// On both processors.
const ALL: &[Line] = &[
    ("getpid", Some(447.0), Some(30.0)),
    ("write-null", Some(319.0), Some(4.8)),
    ("pread-4k", Some(142.0), Some(2.7)),
    ("stat", Some(80.0), Some(1.7)),
    ("open-close", Some(61.0), Some(1.7)),
    ("fork-wait", Some(3.8), Some(24.0)),
    ("fork-exec-wait", Some(5.0), Some(29.0)),
    ("two-processes", Some(2.0), Some(1.3)),
    ("two-threads", Some(2.0), Some(1.2)),
    ("sh-1000-true", Some(11.0), Some(31.0)),
    ("tar", Some(21.0), Some(3.0)),
    ("gcc", Some(3.7), Some(1.8)),
];

#[cfg(test)]
mod tests {
    use super::super::super::rows;
    use super::*;

    #[test]
    fn rows_that_were_recorded_are_there() {
        let known = |(name, ..): &Line| rows::all().any(|row| row.name == *name);
        assert!(ONE.iter().chain(ALL).all(known));
        assert_eq!(of("getpid", Placement::All(2)), [Some(447.0), Some(30.0)]);
        assert_eq!(of("boot-echo", Placement::One(0)), [None; 2]);
    }
}
