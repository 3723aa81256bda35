//! Which processors everything stays on, this process and all that it starts: one, or all that are allowed.

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where programs may run, natively and in guests alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the processor of that number: nothing waits for another processor to wake up.
    One(usize),
    /// On so many, wherever the host's scheduler likes.
    All(usize),
}

impl Placement {
    /// A word for it, for names.
    pub fn name(self) -> &'static str {
        match self {
            Placement::One(_) => "one",
            Placement::All(_) => "all",
        }
    }

    /// As it is said after a figure.
    pub fn phrase(self) -> String {
        match self {
            Placement::One(cpu) => format!("on processor {cpu}"),
            Placement::All(count) => format!("on any of {count} processors"),
        }
    }
}

/// The processors that this process was given.
pub struct Processors {
    allowed: CpuSet,
}

impl Processors {
    /// Asks for them.
    pub fn here() -> Result<Processors> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the processors")?;
        Ok(Processors { allowed })
    }

    /// One of them: the one of that number, or the first.
    pub fn one(&self, cpu: Option<usize>) -> Result<Placement> {
        match cpu.or_else(|| self.numbers().next()) {
            Some(cpu) if self.numbers().any(|number| number == cpu) => Ok(Placement::One(cpu)),
            Some(cpu) => bail!("processor {cpu} is not there, or not allowed here"),
            None => bail!("no processor is allowed"),
        }
    }

    /// All of them.
    pub fn all(&self) -> Placement {
        Placement::All(self.numbers().count())
    }

    /// Keeps this process, and so what it starts from now on, there.
    pub fn stay(&self, placement: Placement) -> Result<()> {
        let set = match placement {
            Placement::All(_) => self.allowed,
            Placement::One(cpu) => {
                let mut set = CpuSet::new();
                set.set(cpu).with_context(|| format!("there is no processor {cpu}"))?;
                set
            }
        };
        sched_setaffinity(Pid::from_raw(0), &set)
            .with_context(|| format!("cannot stay {}", placement.phrase()))
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        (0..CpuSet::count()).filter(|cpu| self.allowed.is_set(*cpu).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_processor_and_then_all_again() {
        let processors = Processors::here().unwrap();
        let stayed = |placement: Placement| {
            processors.stay(placement).unwrap();
            Processors::here().unwrap().all()
        };
        let one = processors.one(None).unwrap();
        assert_eq!([stayed(one), stayed(processors.all())], [Placement::All(1), processors.all()]);
        assert!(processors.one(Some(CpuSet::count() - 1)).is_err());
    }
}
