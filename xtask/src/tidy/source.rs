//! A Rust file, cut into lines, with comments and literals told apart from code.

use crate::cargo;

/// One line of a file.
pub struct Line {
    /// As it is written.
    pub text: String,
    /// Without comments and without what is between quotes.
    pub code: String,
    /// It belongs to a unit test.
    pub test: bool,
}

/// A Rust file.
pub struct Source {
    /// From the root of the work tree.
    pub path: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Source {
    /// Reads a file if it is Rust, and ours; `path` is from the root of the work tree.
    pub fn read(path: &str) -> Option<Source> {
        if !path.ends_with(".rs") || path.contains("/vendor/") {
            return None;
        }
        let text = std::fs::read_to_string(cargo::root().join(path)).ok()?;
        Some(Source::new(path, &text))
    }

    /// A file with this text.
    pub fn new(path: &str, text: &str) -> Source {
        // Tests are a module at the end of the file, or a file of their own.
        let own_file = ["/tests.rs", "_tests.rs", "/testing.rs"].iter().any(|end| path.ends_with(end));
        let own_file = own_file || path.contains("/tests/");
        let mut test = own_file;
        let code = without_comments_and_literals(text);
        let lines = text.lines().zip(code.lines()).map(|(text, code)| {
            test |= text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test");
            Line { text: text.to_owned(), code: code.to_owned(), test }
        });
        Source { path: path.to_owned(), lines: lines.collect() }
    }

    /// The crate's folder, such as `kernel-core`.
    pub fn folder(&self) -> &str {
        self.path.split_once("/src/").map_or("", |(folder, _)| folder)
    }
}

/// What a character belongs to.
enum State {
    Code,
    LineComment,
    BlockComment(u32),
    /// A string, with the number of `#` behind its end if it is raw.
    Text(Option<usize>),
}

/// The same text with comments and the insides of strings and characters made blank; lines stay lines.
fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let c = chars[at];
        let (next, step) = match state {
            State::Code if starts(at, "//") => (State::LineComment, 2),
            State::Code if starts(at, "/*") => (State::BlockComment(1), 2),
            State::Code if c == '"' => (State::Text(raw_hashes(&chars, at)), 1),
            State::Code if c == '\'' => (State::Code, char_literal(&chars, at)),
            State::Code => {
                out.push(c);
                at += 1;
                continue;
            }
            State::LineComment => (if c == '\n' { State::Code } else { State::LineComment }, 1),
            State::BlockComment(depth) if starts(at, "*/") => {
                (if depth == 1 { State::Code } else { State::BlockComment(depth - 1) }, 2)
            }
            State::BlockComment(depth) if starts(at, "/*") => (State::BlockComment(depth + 1), 2),
            State::BlockComment(depth) => (State::BlockComment(depth), 1),
            State::Text(None) if c == '\\' => (State::Text(None), 2),
            State::Text(None) if c == '"' => (State::Code, 1),
            State::Text(Some(hashes)) if c == '"' && starts(at + 1, &"#".repeat(hashes)) => {
                (State::Code, 1 + hashes)
            }
            State::Text(hashes) => (State::Text(hashes), 1),
        };
        state = next;
        out.extend(
            chars[at..(at + step).min(chars.len())].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }),
        );
        at += step;
    }
    out
}

/// Of the quote at `at`: how many `#` precede it, if an `r` stands before them.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[..at].iter().rev().take_while(|c| **c == '#').count();
    (chars[..at - hashes].last() == Some(&'r')).then_some(hashes)
}

/// How many characters a character literal at `at` has; 1 if it is a lifetime.
fn char_literal(chars: &[char], at: usize) -> usize {
    let end = match chars.get(at + 1) {
        Some('\\') => chars[at + 3..].iter().position(|c| *c == '\'').map(|found| found + at + 3),
        Some(_) if chars.get(at + 2) == Some(&'\'') => Some(at + 2),
        _ => None,
    };
    end.map_or(1, |end| end + 1 - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let code =
            |text: &str| without_comments_and_literals(text).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(code("a // unsafe\nb /* x /* y */ z */ c"), "a b c");
        assert_eq!(
            code(r##"f("unsafe \" x", r#"a"b"#, 'x', '\'', b'"') g<'a>(x)"##),
            "f( , r# , , , b ) g< a>(x)"
        );
        assert_eq!(without_comments_and_literals("\"a\nb\"\nc").lines().count(), 3);
    }

    #[test]
    fn tests_are_known() {
        let source = Source::new("a/src/b.rs", "fn x() {}\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.lines.iter().map(|line| line.test).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(source.folder(), "a");
        assert!(Source::new("a/src/b/tests.rs", "fn x() {}").lines[0].test);
    }
}
