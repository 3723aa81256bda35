//! Who sees what of a mounted `/proc`: the options `hidepid=`, `gid=` and `subset=`. Source: `proc(5)`, "Mount options".

use alloc::format;
use alloc::string::String;
use core::str;

use super::source::TaskView;
use crate::errno::{EINVAL, ENOENT, EPERM, Result};
use crate::sync::Mutex;
use crate::task::access::Ids;
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;

/// What others than who may look into a process (`ptrace(2)`) do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// They see it.
    Off,
    /// They find it, and that is all.
    NoAccess,
    /// They do not find it.
    Invisible,
    /// Nor does the group.
    Ptraceable,
}

impl Level {
    fn parse(text: &str) -> Result<Level> {
        match text {
            "0" | "off" => Ok(Level::Off),
            "1" | "noaccess" => Ok(Level::NoAccess),
            "2" | "invisible" => Ok(Level::Invisible),
            "4" | "ptraceable" => Ok(Level::Ptraceable),
            _ => Err(EINVAL),
        }
    }
}

#[derive(Clone, Copy)]
struct Rules {
    level: Level,
    /// Who is in this group sees everything.
    gid: u32,
    /// There is nothing but processes.
    only_processes: bool,
}

/// What is hidden in a mounted `/proc`.
pub(super) struct Hiding {
    rules: Mutex<Rules>,
    /// Whose ids the options speak of.
    user_ns: UserNs,
}

impl Hiding {
    /// Nothing.
    pub fn new(user_ns: UserNs) -> Hiding {
        let rules = Rules { level: Level::Off, gid: 0, only_processes: false };
        Hiding { rules: Mutex::new(rules), user_ns }
    }

    /// Takes mount options, all or none: EINVAL. What they do not speak of stays.
    pub fn set(&self, options: &[u8]) -> Result<()> {
        let options = str::from_utf8(options).map_err(|_| EINVAL)?;
        let mut rules = *self.rules.lock();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("hidepid", level)) => rules.level = Level::parse(level)?,
                Some(("gid", gid)) => {
                    let gid = gid.parse().map_err(|_| EINVAL)?;
                    rules.gid = self.user_ns.gid(gid).ok_or(EINVAL)?;
                }
                Some(("subset", "pid")) => rules.only_processes = true,
                _ => return Err(EINVAL),
            }
        }
        *self.rules.lock() = rules;
        Ok(())
    }

    /// The options, each with a comma before it.
    pub fn options(&self) -> String {
        let Rules { level, gid, only_processes } = *self.rules.lock();
        let mut text = if gid == 0 { String::new() } else { format!(",gid={}", self.user_ns.shown_gid(gid)) };
        text.push_str(match level {
            Level::Off => "",
            Level::NoAccess => ",hidepid=noaccess",
            Level::Invisible => ",hidepid=invisible",
            Level::Ptraceable => ",hidepid=ptraceable",
        });
        text.push_str(if only_processes { ",subset=pid" } else { "" });
        text
    }

    /// Whether there is nothing but processes.
    pub fn only_processes(&self) -> bool {
        self.rules.lock().only_processes
    }

    /// Whether processes are hidden from anybody.
    pub fn is_on(&self) -> bool {
        self.rules.lock().level != Level::Off
    }

    /// Whether anybody does not find one.
    pub fn hides_names(&self) -> bool {
        matches!(self.rules.lock().level, Level::Invisible | Level::Ptraceable)
    }

    /// How well a process is hidden from a caller.
    fn is_hidden(&self, task: &dyn TaskView, caller: &dyn Caller) -> Option<Level> {
        let Rules { level, gid, .. } = *self.rules.lock();
        let is_seen = level == Level::Off
            || level != Level::Ptraceable && caller.cred().in_group(gid)
            || task.look(caller, Ids::FileSystem).is_ok();
        (!is_seen).then_some(level)
    }

    /// Whether a caller finds a process: ENOENT.
    pub fn check_found(&self, task: &dyn TaskView, caller: &dyn Caller) -> Result<()> {
        match self.is_hidden(task, caller) {
            Some(Level::Invisible | Level::Ptraceable) => Err(ENOENT),
            _ => Ok(()),
        }
    }

    /// Whether a caller may see what is in a process's directory: ENOENT, EPERM.
    pub fn check_used(&self, task: &dyn TaskView, caller: &dyn Caller) -> Result<()> {
        match self.is_hidden(task, caller) {
            Some(Level::Invisible) => Err(ENOENT),
            Some(_) => Err(EPERM),
            None => Ok(()),
        }
    }
}
