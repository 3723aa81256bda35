//! The first line of scripts, see `execve(2)`.

use alloc::vec::Vec;

/// So many bytes of a file Linux looks at (`BINPRM_BUF_SIZE`).
pub const HEAD: usize = 256;

/// What a `#!` line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program that runs the script.
    pub path: Vec<u8>,
    /// The one argument it gets before the script's name.
    pub arg: Option<Vec<u8>>,
}

/// Reads the line from the first bytes of a file (Linux looks at [`HEAD`]); `None`: not a script, or a line that Linux
/// refuses with ENOEXEC.
pub fn parse(head: &[u8]) -> Option<Interpreter> {
    let head = &head[..head.len().min(HEAD)];
    let rest = head.strip_prefix(b"#!")?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => &rest[..end],
        // The line goes on behind what we see: good enough if the path surely ends before.
        None => {
            let path = rest.skip_blanks();
            let cut_off = head.len() == HEAD && !path.iter().any(|byte| is_blank(byte) || *byte == 0);
            if cut_off {
                return None;
            }
            rest
        }
    };
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let line = line.skip_blanks();
    let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let line = &line[..end];
    if line.is_empty() {
        return None;
    }
    let (path, arg) = line.split_at(line.iter().position(is_blank).unwrap_or(line.len()));
    let arg = arg.skip_blanks();
    Some(Interpreter { path: path.to_vec(), arg: (!arg.is_empty()).then(|| arg.to_vec()) })
}

/// Blanks here are spaces and tabs only.
trait SkipBlanks {
    fn skip_blanks(&self) -> &[u8];
}

impl SkipBlanks for [u8] {
    fn skip_blanks(&self) -> &[u8] {
        let start = self.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(self.len());
        &self[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_as_linux() {
        let parsed = |head: &[u8]| {
            parse(head).map(|found| {
                let text = |bytes: Vec<u8>| alloc::string::String::from_utf8(bytes).unwrap();
                (text(found.path), found.arg.map(text))
            })
        };
        assert_eq!(parsed(b"#!/bin/sh\necho"), Some(("/bin/sh".into(), None)));
        assert_eq!(parsed(b"#! \t/bin/awk  -f x \t\n"), Some(("/bin/awk".into(), Some("-f x".into()))));
        assert_eq!(parsed(b"#!/bin/sh"), Some(("/bin/sh".into(), None)));
        assert_eq!(parsed(b"#! \n/bin/sh"), None);
        assert_eq!(parsed(b"# !/bin/sh\n"), None);
        assert_eq!(parsed(b"#"), None);
        let long = [b"#!/".as_slice(), &[b'x'; 300]].concat();
        assert_eq!(parsed(&long), None, "a path that may be cut off is refused");
        let long = [b"#!/bin/sh ".as_slice(), &[b'x'; 300]].concat();
        assert_eq!(parsed(&long).unwrap().1.unwrap().len(), HEAD - 10, "an argument is cut off");
    }
}
