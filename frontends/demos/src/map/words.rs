//! The words of the drawings, which are the same in the terminal and in SVG.

use super::picture::{Party, Picture, Space, View, Whose};

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1024 => return format!("{bytes} B"),
        0x400..0x10_0000 => (1u64 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        0x4000_0000..0x100_0000_0000 => (1 << 30, "GiB"),
        _ => (1 << 40, "TiB"),
    };
    let tenths = bytes as f64 / unit as f64;
    if tenths < 9.95 && !bytes.is_multiple_of(unit) {
        format!("{tenths:.1} {name}")
    } else {
        format!("{tenths:.0} {name}")
    }
}

/// The headline of a picture.
pub fn headline(picture: &Picture) -> String {
    match picture.spaces.len() {
        1 => format!("{}: one address space for everybody", picture.backend),
        _ => format!("{}: an address space for each", picture.backend),
    }
}

/// What the boxes mean.
pub fn explanation(picture: &Picture) -> &'static str {
    match picture.spaces.len() {
        1 => {
            "The frame is the one process of the host that there is. Whoever runs can reach all that is in it."
        }
        _ => {
            "Each frame is a process of the host. Who runs in it can reach what is drawn in it, and nothing else."
        }
    }
}

/// Who it is, as a label.
pub fn who(party: &Party) -> String {
    match party.pid {
        Some(pid) => format!("{} (pid {pid})", party.name),
        None => party.name.clone(),
    }
}

/// Whose a block is.
pub fn owner(picture: &Picture, whose: Whose) -> String {
    match whose {
        Whose::Party(at) => picture.parties.get(at).map(|party| party.name.clone()).unwrap_or_default(),
        Whose::Ram => "all guest RAM".into(),
        Whose::Stub => "Lodger's stub".into(),
        Whose::Left => "left behind".into(),
        Whose::Unexplained => "unexplained".into(),
    }
}

/// Where a guest process may have memory, if it is not alone in its address space.
pub fn window(picture: &Picture, whose: Whose) -> Option<String> {
    let Whose::Party(at) = whose else { return None };
    let (start, end) = picture.parties.get(at)?.window?;
    (picture.spaces.len() == 1).then(|| format!("in its window: {} from {start:#x}", size(end - start)))
}

/// Whose memory is out of reach in a space.
pub fn out_of_reach(picture: &Picture, space: &Space) -> Vec<String> {
    let Some(sight) = space.runs.first().and_then(|party| picture.sight.get(*party)) else {
        return Vec::new();
    };
    let hidden = picture.parties.iter().zip(&sight.parties).filter(|(_, view)| view.is_nothing());
    let rest = (!sight.ram.sees_all()).then(|| "the rest of RAM".to_owned());
    hidden.map(|(party, _)| party.name.clone()).chain(rest).collect()
}

/// What a cell of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// One's own memory.
    Own,
    /// Out of reach.
    Nothing,
    /// RAM, but no more of it than is one's own.
    OnlyOwn,
    /// In part.
    Part,
    /// Open, and it can be changed.
    Open,
}

impl Cell {
    /// In a word or two.
    pub fn text(self) -> &'static str {
        match self {
            Cell::Own => "its own",
            Cell::Nothing => "no",
            Cell::OnlyOwn => "only its own",
            Cell::Part => "in part",
            Cell::Open => "YES",
        }
    }

    fn of(view: View) -> Cell {
        match (view.is_nothing(), view.sees_all() && view.write > 0) {
            (true, _) => Cell::Nothing,
            (_, true) => Cell::Open,
            _ => Cell::Part,
        }
    }
}

/// The table's row of a party: its view of each party's memory, then of guest RAM.
pub fn row(picture: &Picture, party: usize) -> Vec<Cell> {
    let Some(sight) = picture.sight.get(party) else { return Vec::new() };
    let parties = sight.parties.iter().enumerate().map(|(other, view)| match other == party {
        true => Cell::Own,
        false => Cell::of(*view),
    });
    let ram = match Cell::of(sight.ram) {
        // What it sees of RAM is explained: it is its own, or a file that it has mapped.
        Cell::Part if sight.unexplained == 0 && sight.ram.read < picture.ram_used => Cell::OnlyOwn,
        cell => cell,
    };
    parties.chain([ram]).collect()
}

/// The heads of the table's columns.
pub fn heads(picture: &Picture) -> Vec<String> {
    picture.parties.iter().map(|party| party.name.clone()).chain(["all of RAM".into()]).collect()
}

/// The question that the table answers.
pub const QUESTION: &str = "Who can read and change whose memory?";

/// Where all of it comes from.
pub const SOURCE: &str = "From /proc/PID/maps of the host, while the guests ran. Low addresses are at the bottom; heights \
                          are not to scale.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 4096, 155_648, 1_048_576, 14_393_344, 1 << 40];
        assert_eq!(sizes.map(size), ["0 B", "4 KiB", "152 KiB", "1 MiB", "14 MiB", "1 TiB"]);
        assert_eq!(size(1_700_000), "1.6 MiB");
    }
}
