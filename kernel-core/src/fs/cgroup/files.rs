//! The files of groups, as a table.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::errno::{EINVAL, EOPNOTSUPP, ERANGE, Result};
use crate::task::cgroup::control::GroupType;
use crate::task::cgroup::members::{Mover, Unit};
use crate::task::cgroup::{Group, UNLIMITED};
use crate::task::cred::Cred;
use crate::vfs::caller::Caller;
use crate::vfs::inode::Owner;
use Place::{Below, Everywhere, Pids};

/// Makes a file's text.
pub type Read = fn(&Arc<Group>, &dyn Caller) -> Result<Vec<u8>>;
/// Takes what was written, without white space around it.
pub type Write = fn(&Arc<Group>, &str, &Writer<'_>) -> Result<()>;

/// Who writes.
pub struct Writer<'a> {
    /// The task.
    pub caller: &'a dyn Caller,
    /// The credentials of who has opened the file.
    pub cred: &'a Cred,
    /// The root of the opener's namespace.
    pub root: &'a Group,
}

/// Which groups have a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// All.
    Everywhere,
    /// All but the root.
    Below,
    /// Those with the controller `pids`.
    Pids,
}

/// A file.
pub struct Item {
    /// Its name.
    pub name: &'static str,
    place: Place,
    /// `None`: it cannot be read.
    pub read: Option<Read>,
    /// `None`: it cannot be written.
    pub write: Option<Write>,
    /// Whether it belongs to whom the group is given (`/sys/kernel/cgroup/delegate`).
    pub is_delegated: bool,
}

impl Item {
    /// Its permission bits at first.
    pub fn mode(&self) -> u32 {
        self.read.map_or(0, |_| 0o444) | self.write.map_or(0, |_| 0o200)
    }
}

const fn shows(name: &'static str, place: Place, read: Read) -> Item {
    Item { name, place, read: Some(read), write: None, is_delegated: false }
}

const fn changes(name: &'static str, place: Place, read: Read, write: Write) -> Item {
    Item { name, place, read: Some(read), write: Some(write), is_delegated: false }
}

const fn delegated(name: &'static str, read: Read, write: Write) -> Item {
    Item { name, place: Everywhere, read: Some(read), write: Some(write), is_delegated: true }
}

const ITEMS: &[Item] = &[
    shows("cgroup.controllers", Everywhere, |group, _| Ok(controllers(group.knows_pids()))),
    shows("cgroup.events", Below, |group, _| {
        Ok(format!("populated {}\nfrozen 0\n", u8::from(group.is_populated())).into_bytes())
    }),
    Item { name: "cgroup.kill", place: Below, read: None, write: Some(kill), is_delegated: false },
    changes(
        "cgroup.max.depth",
        Everywhere,
        |group, _| Ok(limit(group.limits().0)),
        |group, text, _| {
            group.set_limits(Some(parse_limit(text)?), None);
            Ok(())
        },
    ),
    changes(
        "cgroup.max.descendants",
        Everywhere,
        |group, _| Ok(limit(group.limits().1)),
        |group, text, _| {
            group.set_limits(None, Some(parse_limit(text)?));
            Ok(())
        },
    ),
    delegated(
        PROCS,
        |group, caller| Ok(lines(group.members().processes(group, &caller.pid_ns()))),
        |group, text, writer| attach(group, text, writer, Unit::Process),
    ),
    shows("cgroup.stat", Everywhere, |group, _| {
        let (live, dying) = group.descendants();
        Ok(format!("nr_descendants {live}\nnr_dying_descendants {dying}\n").into_bytes())
    }),
    delegated(
        "cgroup.subtree_control",
        |group, _| Ok(controllers(group.hands_on_pids())),
        set_subtree_control,
    ),
    delegated(
        "cgroup.threads",
        |group, caller| Ok(lines(group.members().threads(group, &caller.pid_ns()))),
        |group, text, writer| attach(group, text, writer, Unit::Thread),
    ),
    changes(
        "cgroup.type",
        Below,
        |group, _| Ok(group_type(group)),
        |_, text, _| {
            // Threads of one process are not put into several groups.
            Err(if text == "threaded" { EOPNOTSUPP } else { EINVAL })
        },
    ),
    shows("cpu.stat", Everywhere, |group, _| Ok(cpu_stat(group))),
    shows("pids.current", Pids, |group, _| Ok(format!("{}\n", group.tasks().0).into_bytes())),
    shows("pids.events", Pids, |group, _| Ok(format!("max {}\n", group.limit_hits().0).into_bytes())),
    shows("pids.events.local", Pids, |group, _| Ok(format!("max {}\n", group.limit_hits().1).into_bytes())),
    changes(
        "pids.max",
        Pids,
        |group, _| Ok(group.max_tasks().map_or(b"max\n".to_vec(), |max| format!("{max}\n").into_bytes())),
        |group, text, _| group.set_max_tasks(if text == "max" { None } else { Some(integer(text)?) }),
    ),
    shows("pids.peak", Pids, |group, _| Ok(format!("{}\n", group.tasks().1).into_bytes())),
];

/// The file by which processes are moved.
const PROCS: &str = "cgroup.procs";

/// File number `index`.
pub fn item(index: usize) -> Option<&'static Item> {
    ITEMS.get(index)
}

/// The number of a file.
pub fn index(name: &str) -> Option<usize> {
    ITEMS.iter().position(|item| item.name == name)
}

/// Whether a file belongs to the controller.
pub fn is_of_pids(index: usize) -> bool {
    item(index).is_some_and(|item| item.place == Pids)
}

/// The names of the controller's files.
pub fn of_pids() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().filter(|item| item.place == Pids).map(|item| item.name)
}

/// The names of files that belong to whom a group is given.
pub fn delegated_names() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().filter(|item| item.is_delegated).map(|item| item.name)
}

/// Number and name of each file of a group.
pub fn of(group: &Group) -> impl Iterator<Item = (usize, &'static str)> {
    let (is_root, has_pids) = (group.is_root(), group.has_pids());
    let is_there = move |place| match place {
        Everywhere => true,
        Below => !is_root,
        Pids => has_pids,
    };
    ITEMS.iter().enumerate().filter(move |(_, item)| is_there(item.place)).map(|(at, item)| (at, item.name))
}

/// The number of a group's file of this name.
pub fn find(group: &Group, name: &[u8]) -> Option<usize> {
    of(group).find(|(_, known)| known.as_bytes() == name).map(|(index, _)| index)
}

/// Inode number of file `index` of group `id`: above those of groups.
pub fn ino(id: u64, index: usize) -> u64 {
    1 << 40 | id << 8 | index as u64
}

impl Group {
    /// Who owns `cgroup.procs` of it: who may write that may move processes.
    pub(crate) fn procs_owner(&self) -> Owner {
        use crate::vfs::inode::Inode;
        index(PROCS).map_or_else(|| self.owner(), |index| self.file(index).owner())
    }
}

fn controllers(pids: bool) -> Vec<u8> {
    if pids { b"pids\n".to_vec() } else { Vec::new() }
}

fn lines(numbers: Vec<u32>) -> Vec<u8> {
    let mut text = String::new();
    for number in numbers {
        let _ = writeln!(text, "{number}");
    }
    text.into_bytes()
}

fn group_type(group: &Group) -> Vec<u8> {
    match group.group_type() {
        GroupType::Domain => b"domain\n".to_vec(),
        GroupType::DomainThreaded => b"domain threaded\n".to_vec(),
        GroupType::DomainInvalid => b"domain invalid\n".to_vec(),
    }
}

fn cpu_stat(group: &Group) -> Vec<u8> {
    let [user, system] = group.members().cpu_ns(group).map(|ns| ns / 1000);
    format!("usage_usec {}\nuser_usec {user}\nsystem_usec {system}\n", user + system).into_bytes()
}

fn limit(limit: u32) -> Vec<u8> {
    if limit == UNLIMITED { b"max\n".to_vec() } else { format!("{limit}\n").into_bytes() }
}

fn parse_limit(text: &str) -> Result<u32> {
    if text == "max" {
        return Ok(UNLIMITED);
    }
    let number = integer(text)?;
    i32::try_from(number).ok().and_then(|number| u32::try_from(number).ok()).ok_or(ERANGE)
}

/// A number as the kernel takes it, with its base in front as in C: EINVAL, ERANGE.
fn integer(text: &str) -> Result<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, base) = match hex {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(EINVAL);
    }
    let number = i64::from_str_radix(digits, base).map_err(|_| ERANGE)?;
    Ok(if negative { -number } else { number })
}

fn attach(group: &Arc<Group>, text: &str, writer: &Writer<'_>, unit: Unit) -> Result<()> {
    let pid = i32::try_from(integer(text).map_err(|_| EINVAL)?).map_err(|_| EINVAL)?;
    let pid = u32::try_from(pid).map_err(|_| EINVAL)?;
    let mover = Mover { cred: writer.cred, root: writer.root };
    group.members().attach(group, pid, unit, writer.caller, &mover)
}

fn kill(group: &Arc<Group>, text: &str, writer: &Writer<'_>) -> Result<()> {
    match i32::try_from(integer(text)?) {
        Ok(1) => group.members().kill(group, writer.caller),
        _ => return Err(ERANGE),
    }
    Ok(())
}

/// `+pids` or `-pids`, and again; what comes last counts.
fn set_subtree_control(group: &Arc<Group>, text: &str, writer: &Writer<'_>) -> Result<()> {
    let mut wanted = None;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        wanted = Some(match word {
            "+pids" => true,
            "-pids" => false,
            _ => return Err(EINVAL),
        });
    }
    let cred = writer.caller.cred();
    wanted.map_or(Ok(()), |on| group.set_hands_on_pids(on, (cred.fsuid, cred.fsgid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_in_c() {
        for (text, number) in [("0", 0), ("12", 12), ("0x1f", 31), ("017", 15), ("-3", -3), ("+4", 4)] {
            assert_eq!(integer(text), Ok(number), "{text}");
        }
        for text in ["", "-", "x", "1 2", "0x", "08", "--1", "1.0"] {
            assert_eq!(integer(text), Err(EINVAL), "{text}");
        }
        assert_eq!(integer("99999999999999999999"), Err(ERANGE));
        assert_eq!((parse_limit("max"), parse_limit("2147483647")), (Ok(UNLIMITED), Ok(UNLIMITED)));
        assert_eq!((parse_limit("-1"), parse_limit("2147483648")), (Err(ERANGE), Err(ERANGE)));
    }

    #[test]
    fn files_fit_below_the_positions_of_groups() {
        assert!(ITEMS.len() < 62);
        assert_eq!(index(PROCS).and_then(item).map(Item::mode), Some(0o644));
        assert_eq!(index("cgroup.kill").and_then(item).map(Item::mode), Some(0o200));
    }
}
