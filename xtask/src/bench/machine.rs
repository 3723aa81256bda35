//! Where and when something was measured: a figure without that is worth nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

/// A machine at a time.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The day, in UTC.
    pub date: String,
    /// The kernel and its release.
    pub system: String,
    /// The processor's name.
    pub processor: String,
    /// How many processors.
    pub processors: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The load average of the last minute before the measurement.
    pub load: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("cannot run date")?;
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo")?, read("/proc/meminfo")?);
        let kb = field(&meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB")?.trim().parse().ok());
        Ok(Machine {
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease")?.trim()),
            processor: field(&cpuinfo, "model name").unwrap_or("unknown processor").to_owned(),
            processors: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory: kb.unwrap_or(0u64).saturating_mul(1024),
            load: read("/proc/loadavg")?.split_whitespace().next().unwrap_or_default().to_owned(),
        })
    }

    /// In one line.
    pub fn line(&self) -> String {
        let processors = match self.processors {
            1 => "1 processor".to_owned(),
            more => format!("{more} processors"),
        };
        let gib = self.memory as f64 / (1u64 << 30) as f64;
        let Machine { processor, system, load, .. } = self;
        format!("{system}, {processors} ({processor}), {gib:.0} GiB, load {load} before the first run")
    }
}

/// The value of a line `NAME : VALUE`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name() {
        let machine = Machine::here().unwrap();
        assert_eq!(machine.date.len(), 10);
        assert!(machine.processors > 0 && machine.memory > 1 << 20, "{machine:?}");
        assert!(machine.line().starts_with("Linux "), "{}", machine.line());
    }
}
