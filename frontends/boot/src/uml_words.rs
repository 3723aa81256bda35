//! User-mode Linux's command line: `lodger mem=256M init=/bin/sh`. Words that Lodger knows become flags of `lodger run`;
//! the rest goes to init, as Linux does it (`Documentation/admin-guide/kernel-parameters.rst`): `NAME=VALUE` to its
//! environment, plain words and all that follows `--` to its arguments. (Lodger's own init takes what follows `--` as
//! the command, and ignores the other words, as init programs do.)

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::disks;

/// Words that begin a command line of this kind without having a value.
const PLAIN: [&str; 5] = ["quiet", "debug", "ro", "rw", "skas0"];

/// What the words of a kernel command line ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Flags of `lodger run`.
    pub flags: Vec<OsString>,
    /// What follows `--`.
    pub command: Vec<OsString>,
}

/// Whether `lodger`'s first word makes its command line one of this kind.
pub fn is_kernel_word(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    let assigns = bytes.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0);
    !bytes.starts_with(b"-") && (assigns || PLAIN.iter().any(|plain| word == *plain))
}

/// Translates words, or says in one sentence which of them cannot be done.
pub fn translate(words: impl IntoIterator<Item = OsString>) -> Result<Words, String> {
    let mut result = Words::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            result.command.extend(words);
            break;
        }
        let bytes = word.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) if at > 0 => {
                let name = String::from_utf8_lossy(&bytes[..at]).into_owned();
                assignment(&name, OsStr::from_bytes(&bytes[at + 1..]), &word, &mut result)?;
            }
            _ => plain(word, &mut result)?,
        }
    }
    Ok(result)
}

fn assignment(name: &str, value: &OsStr, word: &OsStr, result: &mut Words) -> Result<(), String> {
    let shown = word.to_string_lossy();
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_alphanumeric()))
    };
    let mut flag = |flag: &str, value: &OsStr| {
        let mut joined = OsString::from(flag);
        joined.push("=");
        joined.push(value);
        result.flags.push(joined);
    };
    match name {
        "mem" => flag("--mem", value),
        "root" if value.as_bytes().starts_with(b"/dev/") && !value.as_bytes().starts_with(b"/dev/ubd") => {
            return Err(format!("{shown}: a guest's disks are /dev/ubda to /dev/ubdz"));
        }
        "root" => flag("--root", value),
        "init" => flag("--init", value),
        "hostname" => flag("--hostname", value),
        "ncpus" => flag("--cpus", value),
        "umid" => flag("--name", value),
        "mode" if value.as_bytes().starts_with(b"skas") => flag("--backend", OsStr::new("skas")),
        "mode" => flag("--backend", value),
        "seccomp" if value == "on" => flag("--trap", OsStr::new("seccomp")),
        "seccomp" if value == "off" => flag("--trap", OsStr::new("ptrace")),
        "seccomp" if value == "auto" => {}
        "con" | "con0" if value == "fd:0,fd:1" || value == "tty" => {}
        "con" | "ssl" if value == "null" || value == "none" => {}
        _ if numbered("ubd") => {
            let mut disk = OsString::from(name.strip_prefix("ubd").unwrap_or_default());
            disk.push("=");
            disk.push(value);
            disks::Ubd::parse(&disk).map_err(|why| format!("{shown}: {why}"))?;
            flag("--ubd", &disk);
        }
        _ if numbered("eth") || numbered("vec") => {
            return Err(format!("{shown}: a guest has no network yet"));
        }
        _ if numbered("con") || numbered("ssl") => {
            return Err(format!(
                "{shown}: a guest has one console, on standard input and output (fd:0,fd:1)"
            ));
        }
        // A parameter of a module that is not there; Linux drops it as well.
        _ if name.contains('.') => {}
        _ => flag("--env", word),
    }
    Ok(())
}

fn plain(word: OsString, result: &mut Words) -> Result<(), String> {
    match word.to_str() {
        Some("quiet") => result.flags.push("--quiet".into()),
        Some("debug") => result.flags.push("--log=debug".into()),
        Some("skas0") => result.flags.push("--backend=skas".into()),
        Some("rw") => result.flags.push("--root-rw".into()),
        Some("ro") => return Err("ro: a read-only root is not there yet; changes go to memory".into()),
        Some(text) if text.contains('.') => {}
        _ => {
            let mut flag = OsString::from("--init-word=");
            flag.push(word);
            result.flags.push(flag);
        }
    }
    Ok(())
}

/// Cuts a kernel command line into words at white space outside double quotes; the quotes go.
pub fn split(line: &OsStr) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    for byte in line.as_bytes() {
        match byte {
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' | b'\n' | b'\r' if !quoted => words.extend(word.take().map(OsString::from_vec)),
            _ => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word.map(OsString::from_vec));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Words, String> {
        translate(split(OsStr::new(line)))
    }

    #[test]
    fn known_words_become_flags() {
        let found =
            words("mem=256M root=./r init=/bin/sh quiet con0=fd:0,fd:1 mode=skas0 seccomp=off").unwrap();
        let flags =
            ["--mem=256M", "--root=./r", "--init=/bin/sh", "--quiet", "--backend=skas", "--trap=ptrace"];
        assert_eq!(found.flags, flags);
        assert!(found.command.is_empty());
    }

    #[test]
    fn the_rest_goes_to_init() {
        let found = words("FOO=bar single usbcore.x=1 3 -- -c mem=5").unwrap();
        assert_eq!(found.flags, ["--env=FOO=bar", "--init-word=single", "--init-word=3"]);
        assert_eq!(found.command, ["-c", "mem=5"]);
    }

    #[test]
    fn devices_that_are_not_there_are_refused_by_name() {
        for line in ["ubd=x", "ubd0x=x", "eth0=tuntap,,,", "con=xterm", "con1=pty", "root=/dev/sda", "ro"] {
            assert!(words(line).unwrap_err().starts_with(line), "{line}");
        }
    }

    #[test]
    fn disks_become_flags() {
        let found = words("ubd0=x ubdbrs=cow,back").unwrap();
        assert_eq!(found.flags, ["--ubd=0=x", "--ubd=brs=cow,back"]);
    }

    #[test]
    fn quotes_hold_words_together() {
        let cut = split(OsStr::new("a \"b c\" d=\"e f\"  \"\"g "));
        assert_eq!(cut, ["a", "b c", "d=e f", "g"]);
        assert!(split(OsStr::new("  ")).is_empty());
    }

    #[test]
    fn verbs_and_flags_are_no_kernel_words() {
        for word in ["mem=1G", "x=y", "quiet"] {
            assert!(is_kernel_word(OsStr::new(word)), "{word}");
        }
        for word in ["run", "--log=debug", "-x", "=y", ""] {
            assert!(!is_kernel_word(OsStr::new(word)), "{word}");
        }
    }
}
