//! The picture in a terminal: 80 columns of text, with colours if somebody sees them.

use std::fmt::Write;
use std::io::IsTerminal;

use super::picture::{Block, Picture, Space, Whose};
use super::words::{self, Cell};

/// Columns of the terminal.
const WIDTH: usize = 79;
/// A frame is at least so wide, or it goes below the others.
const NARROWEST: usize = 18;
/// A frame that is so wide has the parts of a block beside its name.
const WIDE: usize = 60;

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Escape sequences.
    Ansi,
    /// Plain text.
    None,
}

impl Colour {
    /// For standard output: if it is a terminal, and NO_COLOR is not set.
    pub fn of_stdout() -> Colour {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !refused { Colour::Ansi } else { Colour::None }
    }

    fn paint(self, text: &str, code: &str) -> String {
        match self {
            Colour::Ansi if !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// A line of a frame: what it says, and in which colour.
type Line = (String, &'static str);

/// Draws it.
pub fn draw(picture: &Picture, colour: Colour) -> String {
    let mut out = format!("{}\n", colour.paint(&words::headline(picture), "1"));
    wrap(&mut out, words::explanation(picture));
    let beside = ((WIDTH + 1) / (NARROWEST + 1)).clamp(1, picture.spaces.len().max(1));
    for spaces in picture.spaces.chunks(beside) {
        let width = (WIDTH + 1) / spaces.len() - 1;
        let frames: Vec<Vec<Line>> = spaces.iter().map(|space| frame(picture, space, width - 2)).collect();
        let height = frames.iter().map(Vec::len).max().unwrap_or(0);
        let edge =
            |left, right| vec![format!("{left}{}{right}", "─".repeat(width - 2)); spaces.len()].join(" ");
        let _ = writeln!(out, "{}", edge("┌", "┐"));
        for at in 0..height {
            let line = |frame: &Vec<Line>| {
                let (text, code) = frame.get(at).cloned().unwrap_or_default();
                format!("│{}│", colour.paint(&pad(&text, width - 2), code))
            };
            out.push_str(&frames.iter().map(line).collect::<Vec<_>>().join(" "));
            out.push('\n');
        }
        let _ = writeln!(out, "{}", edge("└", "┘"));
    }
    table(&mut out, picture, colour);
    wrap(&mut out, words::SOURCE);
    out
}

/// What is in a frame, from the highest address down.
fn frame(picture: &Picture, space: &Space, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let runs: Vec<String> =
        space.runs.iter().filter_map(|party| picture.parties.get(*party)).map(words::who).collect();
    if width >= WIDE {
        lines.push((format!(" {} run here,", runs.join(", ")), "1"));
        lines.push((format!(" in process {} of the host", space.host), ""));
    } else {
        lines.extend(runs.into_iter().map(|who| (format!(" {who}"), "1")));
        lines.push((" runs here".into(), ""));
        lines.push((format!(" (host: {})", space.host), ""));
    }
    for block in space.blocks.iter().rev() {
        lines.push((gap(width), "2"));
        lines.extend(blocks_lines(picture, block, width));
    }
    lines.push((gap(width), "2"));
    let hidden = words::out_of_reach(picture, space);
    if !hidden.is_empty() {
        lines.push((" not in here:".into(), "2"));
        lines.extend(hidden.into_iter().map(|name| (format!("  {name}"), "2")));
    }
    lines
}

fn gap(width: usize) -> String {
    if width >= WIDE { format!("{}⋮", " ".repeat(width / 2)) } else { "       ⋮".into() }
}

fn blocks_lines(picture: &Picture, block: &Block, width: usize) -> Vec<Line> {
    let (fill, code) = look(block.whose, picture);
    let bar = |text: &str| format!(" {fill}{fill} {text}");
    let name = words::owner(picture, block.whose);
    let name = match words::window(picture, block.whose) {
        Some(window) if width >= WIDE => format!("{name}, {window}"),
        _ => name,
    };
    let mut lines: Vec<Line> = vec![(bar(&name), code)];
    for part in block.parts.iter().rev() {
        let size = words::size(part.bytes);
        if width >= WIDE {
            lines.push((bar(&format!("  {:<30} {size:>8}   at {:#014x}", part.what, part.start)), code));
        } else {
            lines.push((bar(&part.what), code));
            lines.push((bar(&format!("  {size}")), code));
            lines.push((bar(&format!("{:x}", part.start)), code));
        }
    }
    lines
}

/// The fill of a block, by which it is known without colours, and its colour.
fn look(whose: Whose, picture: &Picture) -> (char, &'static str) {
    const GUESTS: [(char, &str); 4] = [('░', "32"), ('▒', "34"), ('▓', "33"), ('▚', "35")];
    match whose {
        Whose::Party(at) if at == picture.kernel() => ('█', "1"),
        Whose::Party(at) => GUESTS[at % GUESTS.len()],
        Whose::Ram => ('▤', "36"),
        Whose::Stub | Whose::Left => ('·', "2"),
        Whose::Unexplained => ('?', "1;31"),
    }
}

fn table(out: &mut String, picture: &Picture, colour: Colour) {
    let heads = words::heads(picture);
    let first = "while this runs".len() + 1;
    let width = (WIDTH - first) / heads.len().max(1);
    // Writing to a String does not fail.
    let _ = writeln!(out, "\n{}", colour.paint(words::QUESTION, "1"));
    let head: String = heads.iter().map(|head| pad(head, width)).collect();
    let _ = writeln!(out, "{}{head}", pad("while this runs", first));
    for (at, party) in picture.parties.iter().enumerate() {
        let cells: String = words::row(picture, at)
            .into_iter()
            .map(|cell| {
                let code = match cell {
                    Cell::Open if at != picture.kernel() => "1;31",
                    Cell::Nothing | Cell::OnlyOwn => "32",
                    _ => "",
                };
                colour.paint(&pad(cell.text(), width), code)
            })
            .collect();
        let _ = writeln!(out, "{}{}", colour.paint(&pad(&party.name, first), "1"), cells.trim_end());
    }
    out.push('\n');
}

/// Cut or filled up to a width.
fn pad(text: &str, width: usize) -> String {
    let count = text.chars().count();
    match count > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => format!("{text}{}", " ".repeat(width - count)),
    }
}

/// A paragraph.
fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        if column + word.chars().count() >= WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
        }
        out.push_str(word);
        column += word.chars().count() + 1;
    }
    out.push('\n');
}
