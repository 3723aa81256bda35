//! `/proc/PID/status`. Source: `proc_pid_status(5)`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::source::{TaskStat, TaskView};
use crate::errno::Result;
use crate::fs::sys::cpu;
use crate::task::cred::Cred;
use crate::task::user_ns::UserNs;
use crate::vfs::caller::Caller;

fn state_name(state: u8) -> &'static str {
    match state {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "disk sleep",
        b'T' => "stopped",
        b't' => "tracing stop",
        b'Z' => "zombie",
        _ => "dead",
    }
}

pub(super) fn status(view: &dyn TaskView, caller: &dyn Caller) -> Result<Vec<u8>> {
    let (stat, cred, usage, signals) = (view.stat(), view.cred(), view.usage(), view.signals());
    let mut out = b"Name:\t".to_vec();
    for &byte in &stat.comm {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
    let mut text = String::from("\n");
    status_ids(&mut text, view, &stat, &cred, &caller.cred().user_ns);
    if let (Some(_), true) = (view.layout(), stat.state != b'Z') {
        let kib = |bytes: u64| bytes / 1024;
        let resident = usage.resident_anonymous + usage.resident_file;
        for (name, bytes) in [
            ("VmPeak", usage.peak_virtual),
            ("VmSize", usage.virtual_size),
            ("VmLck", usage.locked),
            ("VmPin", 0),
            ("VmHWM", usage.peak_resident),
            ("VmRSS", resident),
            ("RssAnon", usage.resident_anonymous),
            ("RssFile", usage.resident_file),
            ("RssShmem", 0),
            ("VmData", usage.data),
            ("VmStk", usage.stack),
            ("VmExe", usage.text),
            ("VmLib", 0),
            ("VmPTE", 0),
            ("VmSwap", 0),
        ] {
            let _ = writeln!(text, "{name}:\t{:>8} kB", kib(bytes));
        }
    }
    let pending_max = view.limits()[11].0;
    let _ = writeln!(text, "Threads:\t{}\nSigQ:\t{}/{pending_max}", stat.threads, signals.queued);
    for (name, set) in [
        ("SigPnd", signals.pending),
        ("ShdPnd", signals.shared_pending),
        ("SigBlk", signals.blocked),
        ("SigIgn", signals.ignored),
        ("SigCgt", signals.caught),
        ("CapInh", cred.inheritable.bits()),
        ("CapPrm", cred.permitted.bits()),
        ("CapEff", cred.effective.bits()),
        ("CapBnd", cred.bounding.bits()),
        ("CapAmb", cred.ambient.bits()),
    ] {
        let _ = writeln!(text, "{name}:\t{set:016x}");
    }
    let allowed = |cpu: u32| stat.affinity == 0 || stat.affinity >> cpu & 1 != 0;
    let (mask, list) = (cpu::mask(stat.cpus, allowed), cpu::list(stat.cpus, allowed));
    let _ = write!(
        text,
        "NoNewPrivs:\t{}\nSeccomp:\t{}\nSeccomp_filters:\t{}\nCpus_allowed:\t{mask}Cpus_allowed_list:\t{list}\
         Mems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        stat.no_new_privs, stat.seccomp.0, stat.seccomp.1, stat.switches.0, stat.switches.1
    );
    out.extend_from_slice(text.as_bytes());
    Ok(out)
}

fn status_ids(text: &mut String, view: &dyn TaskView, stat: &TaskStat, cred: &Cred, reader: &UserNs) {
    let umask = view.fs().map_or(0, |context| context.umask());
    let state = char::from(stat.state);
    let id = if stat.tid == 0 { stat.pid } else { stat.tid };
    let _ = writeln!(text, "Umask:\t{umask:04o}\nState:\t{state} ({})", state_name(stat.state));
    let _ = writeln!(text, "Tgid:\t{}\nNgid:\t0\nPid:\t{id}\nPPid:\t{}", stat.pid, stat.ppid);
    let _ = writeln!(text, "TracerPid:\t{}", stat.tracer);
    let [uid, euid, suid, fsuid] =
        [cred.uid, cred.euid, cred.suid, cred.fsuid].map(|id| reader.shown_uid(id));
    let [gid, egid, sgid, fsgid] =
        [cred.gid, cred.egid, cred.sgid, cred.fsgid].map(|id| reader.shown_gid(id));
    let _ = writeln!(text, "Uid:\t{uid}\t{euid}\t{suid}\t{fsuid}");
    let _ = writeln!(text, "Gid:\t{gid}\t{egid}\t{sgid}\t{fsgid}");
    let fd_size = view.files().map_or(0, |files| files.capacity().max(64).next_power_of_two());
    let _ = write!(text, "FDSize:\t{fd_size}\nGroups:\t");
    for group in cred.groups.iter() {
        let _ = write!(text, "{} ", reader.shown_gid(*group));
    }
    text.push('\n');
    for (name, numbers) in ["NStgid", "NSpid", "NSpgid", "NSsid"].iter().zip(view.ns_numbers()) {
        let _ = write!(text, "{name}:");
        for number in numbers {
            let _ = write!(text, "\t{number}");
        }
        text.push('\n');
    }
}
