//! What can panic or wrap in the kernel, as clippy finds it, for the ratchet: indexing and unwrapping anywhere, and arithmetic
//! where data of others is read.

use anyhow::Result;
use serde_json::Value;

use super::ratchet::Counts;
use crate::cargo;

/// Lints that are counted, and what the ratchet calls them.
const LINTS: [(&str, &str); 6] = [
    ("clippy::indexing_slicing", "indexing"),
    ("clippy::string_slice", "indexing"),
    ("clippy::unwrap_used", "unwrap"),
    ("clippy::expect_used", "unwrap"),
    ("clippy::panic", "panics"),
    ("clippy::unreachable", "panics"),
];
const ARITHMETIC: &str = "clippy::arithmetic_side_effects";

/// Where numbers come from a file, a disk or a guest, and are reckoned with.
const READERS: [&str; 10] = [
    "arch/x86_64/",
    "block/",
    "fs/archive/",
    "fs/ext4/layout.rs",
    "io.rs",
    "mm/elf.rs",
    "mm/script.rs",
    "mm/user.rs",
    "task/seccomp/",
    "tty/ldisc",
];

/// Counts in the kernel as it is built, without tests.
pub fn count(counts: &mut Counts) -> Result<()> {
    let mut command = cargo::cargo(&["clippy", "--quiet", "--package", "kernel-core", "--lib"]);
    command.args(["--message-format", "json", "--", "-W", ARITHMETIC]);
    for (lint, _) in LINTS {
        command.args(["-W", lint]);
    }
    for line in cargo::output(&mut command)?.lines() {
        if let Some(name) = counted(&serde_json::from_str(line)?) {
            counts.add(&name, 1);
        }
    }
    Ok(())
}

/// The ratchet's name for a message of cargo.
fn counted(message: &Value) -> Option<String> {
    let lint = message["message"]["code"]["code"].as_str()?;
    let spans = message["message"]["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true)?;
    let place = span["file_name"].as_str()?.split_once("kernel-core/src/")?.1;
    if lint == ARITHMETIC {
        return READERS
            .iter()
            .find(|reader| place.starts_with(*reader))
            .map(|reader| format!("arithmetic kernel-core/{}", reader.trim_end_matches('/')));
    }
    let (_, name) = LINTS.iter().find(|(known, _)| *known == lint)?;
    let module = place.split(['/', '.']).next()?;
    Some(format!("{name} kernel-core/{module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_place() {
        let message = |lint: &str, file: &str| {
            let spans = [serde_json::json!({"is_primary": true, "file_name": file})];
            counted(&serde_json::json!({"message": {"code": {"code": lint}, "spans": spans}}))
        };
        let of = |name: &str| Some(name.to_owned());
        assert_eq!(
            message("clippy::indexing_slicing", "kernel-core/src/mm/elf.rs"),
            of("indexing kernel-core/mm")
        );
        assert_eq!(message(ARITHMETIC, "kernel-core/src/mm/elf.rs"), of("arithmetic kernel-core/mm/elf.rs"));
        assert_eq!(
            message(ARITHMETIC, "kernel-core/src/tty/ldisc/edit.rs"),
            of("arithmetic kernel-core/tty/ldisc")
        );
        assert_eq!(message(ARITHMETIC, "kernel-core/src/task/exit.rs"), None);
        assert_eq!(message("unused", "kernel-core/src/boot.rs"), None);
    }
}
