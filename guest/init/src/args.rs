//! The words that PID 1 gets: `init [--tty] [--user U[:G]] [--workdir D] [-- CMD ARG...]`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What PID 1 was asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The command gets the terminal on descriptor 0 as its controlling one.
    pub tty: bool,
    /// `U[:G]`, names or numbers. Root without it.
    pub user: Option<OsString>,
    /// Where the command starts. `/` without it.
    pub workdir: Option<OsString>,
    /// The command and its arguments; a login shell when empty.
    pub command: Vec<OsString>,
}

/// Reads the words after argv\[0\]. Linux hands words of its command line that it does not know to init, so a word
/// that is no flag of ours is ignored, like sysvinit does; an unknown `--flag` or a flag without its value is an
/// error, as whoever wrote it meant us.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let (flag, inline) = match bytes.iter().position(|&b| b == b'=') {
            Some(at) if bytes.starts_with(b"--") => {
                (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec())))
            }
            _ => (bytes, None),
        };
        let mut value = || {
            let missing = || format!("{} needs a value", String::from_utf8_lossy(flag));
            inline.clone().or_else(|| words.next()).ok_or_else(missing)
        };
        match flag {
            b"--" => {
                args.command = words.collect();
                break;
            }
            b"--tty" => args.tty = true,
            b"--user" => args.user = Some(value()?),
            b"--workdir" => args.workdir = Some(value()?),
            _ if flag.starts_with(b"--") => {
                return Err(format!("unknown flag {}", String::from_utf8_lossy(flag)));
            }
            _ => {}
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn flags_end_at_the_double_dash() {
        let args = parsed(&["--tty", "--user", "a:b", "--workdir=/x", "--", "ls", "--user", "--"]).unwrap();
        assert!(args.tty);
        assert_eq!(args.user, Some("a:b".into()));
        assert_eq!(args.workdir, Some("/x".into()));
        assert_eq!(args.command, ["ls", "--user", "--"]);
    }

    #[test]
    fn words_of_the_kernel_command_line_are_ignored_and_mistakes_are_not() {
        assert_eq!(parsed(&["single", "ro"]), Ok(Args::default()));
        assert_eq!(parsed(&["--usr", "x"]), Err("unknown flag --usr".into()));
        assert_eq!(parsed(&["--user"]), Err("--user needs a value".into()));
    }
}
