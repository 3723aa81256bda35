//! `/sys/devices/system/cpu`: the vCPUs, which are cores of one processor. Source:
//! `Documentation/ABI/testing/sysfs-devices-system-cpu`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fs::made::{Made, Make};
use crate::fs::proc::Facts;

/// The first `cpus` numbers as a list.
fn all(cpus: u32) -> String {
    list(cpus.max(1), |_| true)
}

/// A set of CPUs, of which there are `cpus`, as a list: `0-3,5`.
pub(in crate::fs) fn list(cpus: u32, is_set: impl Fn(u32) -> bool) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in (0..cpus).filter(|cpu| is_set(*cpu)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let one = |(first, last): (u32, u32)| match first == last {
        true => format!("{first}"),
        false => format!("{first}-{last}"),
    };
    let words: Vec<String> = ranges.into_iter().map(one).collect();
    format!("{}\n", words.join(","))
}

/// A set of CPUs as a mask of `cpus` bits, in words of 32.
pub(in crate::fs) fn mask(cpus: u32, is_set: impl Fn(u32) -> bool) -> String {
    let words = cpus.div_ceil(32).max(1);
    let digits = if cpus >= 32 { 8 } else { cpus.div_ceil(4).max(1) as usize };
    let word = |index: u32| {
        let cpu_of = |bit| index * 32 + bit;
        let set = (0..32).filter(|bit| cpu_of(*bit) < cpus && is_set(cpu_of(*bit)));
        format!("{:0digits$x}", set.fold(0u32, |word, bit| word | 1 << bit))
    };
    let words: Vec<String> = (0..words).rev().map(word).collect();
    format!("{}\n", words.join(","))
}

fn entry(name: &str, text: String) -> (String, Made) {
    (String::from(name), Made::Text(text))
}

/// Where one is among `cpus`.
fn topology(cpu: u32, cpus: u32) -> Vec<(String, Made)> {
    let number = |number: u32| format!("{number}\n");
    let own = || mask(cpus, |other| other == cpu);
    let every = || mask(cpus, |_| true);
    alloc::vec![
        entry("core_cpus", own()),
        entry("core_cpus_list", number(cpu)),
        entry("core_id", number(cpu)),
        entry("core_siblings", every()),
        entry("core_siblings_list", all(cpus)),
        entry("die_cpus", every()),
        entry("die_cpus_list", all(cpus)),
        entry("die_id", number(0)),
        entry("package_cpus", every()),
        entry("package_cpus_list", all(cpus)),
        entry("physical_package_id", number(0)),
        entry("thread_siblings", own()),
        entry("thread_siblings_list", number(cpu)),
    ]
}

/// What the directory has.
pub(super) fn directory(facts: &Facts) -> Make {
    let source = facts.source.clone();
    Box::new(move || {
        let cpus = source.system().cpus;
        let smt = || {
            alloc::vec![
                entry("active", String::from("0\n")),
                entry("control", String::from("notsupported\n")),
            ]
        };
        let mut entries = alloc::vec![
            entry("isolated", String::from("\n")),
            entry("kernel_max", String::from("8191\n")),
            entry("offline", String::from("\n")),
            entry("online", all(cpus)),
            entry("possible", all(cpus)),
            entry("present", all(cpus)),
            (String::from("smt"), Made::Directory(Box::new(smt))),
        ];
        for cpu in 0..cpus {
            let of_cpu: Make = Box::new(move || {
                let place: Make = Box::new(move || topology(cpu, cpus));
                alloc::vec![(String::from("topology"), Made::Directory(place))]
            });
            entries.push((format!("cpu{cpu}"), Made::Directory(of_cpu)));
        }
        entries
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_digits_as_linux_prints() {
        assert_eq!(mask(1, |_| true), "1\n");
        assert_eq!(mask(2, |cpu| cpu == 1), "2\n");
        assert_eq!(mask(8, |_| true), "ff\n");
        assert_eq!(mask(33, |cpu| cpu == 32), "00000001,00000000\n");
        assert_eq!((all(1), all(4)), ("0\n".into(), "0-3\n".into()));
        assert_eq!(list(8, |cpu| ![1, 4, 6].contains(&cpu)), "0,2-3,5,7\n");
    }
}
