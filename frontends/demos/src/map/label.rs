//! From facts to a picture: what each mapping of a host process is, and who sees what through it.
//!
//! Guest RAM is one file. A mapping of it in a host process belongs to a guest if the kernel's debug view has the same
//! bytes of RAM at the same addresses for that guest; the mapping of the whole file is the kernel's. A page that a process
//! of the host shares with the kernel, and that is not RAM, is how the kernel reaches that process. Whatever else is mapped
//! in the process that the kernel is, is the kernel's memory; anywhere else it is unexplained.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use kernel_core::debug::inspect::{Mapping, What};

use super::facts::{Facts, Guest};
use super::host::HostMapping;
use super::picture::{Block, Part, Party, Picture, SCHEMA, Sight, Space, View, Whose};
use super::ranges::Ranges;

/// A piece of a host mapping that is one thing.
struct Piece {
    range: Range<u64>,
    whose: Whose,
    what: String,
    writable: bool,
}

/// Makes the picture.
pub fn picture(facts: &Facts, backend: &str) -> Result<Picture> {
    let ram_file = facts.ram_file()?;
    let own = own_memory(facts);
    let labels = Labels { facts, ram_file, own: &own };
    let pieces: BTreeMap<i32, Vec<Piece>> =
        facts.hosts.iter().map(|(host, mappings)| (*host, labels.pieces(*host, mappings))).collect();
    let kernel = facts.guests.len();
    let kernel_memory = |writable_only: bool| -> u64 {
        let pieces = pieces.get(&facts.kernel).into_iter().flatten();
        let its = pieces.filter(|piece| piece.whose == Whose::Party(kernel));
        its.filter(|piece| piece.writable || !writable_only)
            .map(|piece| piece.range.end - piece.range.start)
            .sum()
    };
    let mut parties: Vec<Party> = Vec::new();
    for (guest, own) in facts.guests.iter().zip(&own) {
        let (pid, bytes) = (Some(guest.process.pid), own.bytes());
        let window = Some((guest.space.limits.start, guest.space.limits.end));
        parties.push(Party { name: guest.name(), pid, host: guest.host, bytes, window });
    }
    let bytes = kernel_memory(false);
    parties.push(Party { name: "the kernel".into(), pid: None, host: facts.kernel, bytes, window: None });
    let sight_from = |host: i32| {
        let mappings = facts.hosts.get(&host).map_or(&[][..], |mappings| mappings);
        let ram = |writable_only: bool| -> Ranges {
            let of_ram = mappings.iter().filter(|mapping| mapping.file.as_ref() == Some(ram_file));
            let seen = of_ram.filter(|mapping| mapping.readable && (mapping.writable || !writable_only));
            seen.map(HostMapping::file_range).collect()
        };
        let (read, write) = (ram(false), ram(true));
        let guests = own.iter().map(|own| View {
            read: own.intersection(&read).bytes(),
            write: own.intersection(&write).bytes(),
            of: own.bytes(),
        });
        let in_kernel = host == facts.kernel;
        let [all, writable] = [kernel_memory(false), kernel_memory(true)];
        let kernels = if in_kernel { (all, writable) } else { (0, 0) };
        let unexplained = pieces.get(&host).into_iter().flatten();
        Sight {
            parties: guests.chain([View { read: kernels.0, write: kernels.1, of: all }]).collect(),
            ram: View { read: read.bytes(), write: write.bytes(), of: facts.ram.size },
            unexplained: unexplained
                .filter(|piece| piece.whose == Whose::Unexplained)
                .map(|piece| piece.range.end - piece.range.start)
                .sum(),
        }
    };
    let sight = parties.iter().map(|party| sight_from(party.host)).collect();
    let space = |(host, pieces): (&i32, &Vec<Piece>)| Space {
        host: *host,
        runs: (0..parties.len()).filter(|at| parties[*at].host == *host).collect(),
        blocks: labels.blocks(pieces),
    };
    let mut spaces: Vec<Space> = pieces.iter().map(space).collect();
    // In the order of the parties, which has the kernel last.
    spaces.sort_by_key(|space| space.runs.last().copied());
    let ram_used = facts.ram.used;
    Ok(Picture { schema: SCHEMA.into(), backend: backend.into(), parties, spaces, sight, ram_used })
}

/// For each guest the parts of RAM that no other guest has.
fn own_memory(facts: &Facts) -> Vec<Ranges> {
    let all: Vec<Ranges> = facts.guests.iter().map(|guest| guest.own_memory().collect()).collect();
    let without_others = |at: usize| {
        let others = all.iter().enumerate().filter(|(other, _)| *other != at);
        all[at].difference(&others.flat_map(|(_, ranges)| ranges.iter().cloned()).collect())
    };
    (0..all.len()).map(without_others).collect()
}

struct Labels<'a> {
    facts: &'a Facts,
    ram_file: &'a (String, u64),
    own: &'a [Ranges],
}

impl Labels<'_> {
    /// What can be read in a host process, by address.
    fn pieces(&self, host: i32, mappings: &[HostMapping]) -> Vec<Piece> {
        let readable = mappings.iter().filter(|mapping| mapping.readable);
        readable
            .flat_map(|mapping| {
                if mapping.file.as_ref() == Some(self.ram_file) {
                    return self.ram_pieces(host, mapping);
                }
                let (whose, what) = self.other(host, mapping);
                vec![Piece {
                    range: mapping.range.clone(),
                    whose,
                    what: what.into(),
                    writable: mapping.writable,
                }]
            })
            .collect()
    }

    /// The pieces of a mapping of RAM.
    fn ram_pieces(&self, host: i32, mapping: &HostMapping) -> Vec<Piece> {
        let piece = |range, whose, what| Piece { range, whose, what, writable: mapping.writable };
        if host == self.facts.kernel && mapping.file_range() == (0..self.facts.ram.size) {
            return vec![piece(mapping.range.clone(), Whose::Ram, "guest RAM".into())];
        }
        let mut pieces = Vec::new();
        for (party, guest) in self.facts.guests.iter().enumerate().filter(|(_, guest)| guest.host == host) {
            for (range, what) in claims(guest, mapping) {
                pieces.push(piece(range, Whose::Party(party), what));
            }
        }
        pieces.sort_by_key(|piece| piece.range.start);
        // Of relatives that share a page at the same address, the first has it here.
        pieces.dedup_by(|next, before| next.range.start < before.range.end);
        let claimed: Ranges = pieces.iter().map(|piece| piece.range.clone()).collect();
        let whole: Ranges = [mapping.range.clone()].into_iter().collect();
        for range in whole.difference(&claimed).iter() {
            let (whose, what) = match host == self.facts.kernel {
                true => (Whose::Left, "by a program that is gone"),
                false => (Whose::Unexplained, "RAM that is not its own"),
            };
            pieces.push(piece(range.clone(), whose, what.into()));
        }
        pieces.sort_by_key(|piece| piece.range.start);
        pieces
    }

    /// Whose a mapping is that is not of RAM, and what it is.
    fn other(&self, host: i32, mapping: &HostMapping) -> (Whose, &'static str) {
        let kernel = self.facts.guests.len();
        let provided = ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&mapping.name.as_str());
        let with_kernel = || {
            let kernels = self.facts.hosts.get(&self.facts.kernel).into_iter().flatten();
            let same = |other: &HostMapping| other.shared && other.file == mapping.file;
            mapping.shared && mapping.file.is_some() && kernels.into_iter().any(same)
        };
        match mapping.name.as_str() {
            _ if host != self.facts.kernel => match (with_kernel(), mapping.executable) {
                (true, true) => (Whose::Stub, "its code"),
                (true, false) if mapping.writable => (Whose::Stub, "its signal stack"),
                (true, false) => (Whose::Stub, "its requests"),
                _ if provided => (Whose::Stub, "vDSO"),
                _ => (Whose::Unexplained, "nobody knows what"),
            },
            _ if mapping.shared && mapping.file.is_some() => (Whose::Stub, "all stubs' pages"),
            _ if provided => (Whose::Party(kernel), "vDSO"),
            "[stack]" => (Whose::Party(kernel), "heap, stacks"),
            _ if mapping.file.is_some() => (Whose::Party(kernel), "code"),
            _ => (Whose::Party(kernel), "heap, stacks"),
        }
    }

    /// Neighbours that belong together, by address.
    fn blocks(&self, pieces: &[Piece]) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for piece in pieces {
            let bytes = piece.range.end - piece.range.start;
            if blocks.last().is_none_or(|block| block.whose != piece.whose) {
                let (start, end) = (piece.range.start, piece.range.end);
                blocks.push(Block { whose: piece.whose, start, end, parts: Vec::new() });
            }
            let Some(block) = blocks.last_mut() else { continue };
            block.end = piece.range.end;
            if piece.whose == Whose::Ram {
                block.parts = self.ram_parts(piece);
                continue;
            }
            match block.parts.iter_mut().find(|part| part.what == piece.what) {
                Some(part) => {
                    part.bytes += bytes;
                    part.writable |= piece.writable;
                }
                None => block.parts.push(Part {
                    what: piece.what.clone(),
                    of: None,
                    start: piece.range.start,
                    bytes,
                    writable: piece.writable,
                }),
            }
        }
        blocks
    }

    /// What is in RAM, where the whole of it is mapped.
    fn ram_parts(&self, piece: &Piece) -> Vec<Part> {
        let part = |what: String, of, at: u64, bytes| Part {
            what,
            of: Some(of),
            start: piece.range.start.saturating_add(at),
            bytes,
            writable: piece.writable,
        };
        let guests = self.facts.guests.iter().zip(self.own).enumerate();
        let mut parts: Vec<Part> = guests
            .filter_map(|(at, (guest, own))| {
                Some(part(format!("of {}", guest.name()), Whose::Party(at), own.first()?, own.bytes()))
            })
            .collect();
        parts.sort_by_key(|part| part.start);
        let rest = self.facts.ram.used.saturating_sub(parts.iter().map(|part| part.bytes).sum());
        parts.insert(0, part("files".into(), Whose::Ram, 0, rest));
        parts
    }
}

/// Which parts of a mapping of RAM are where a guest has the same bytes, and what they are.
fn claims<'a>(guest: &'a Guest, host: &'a HostMapping) -> impl Iterator<Item = (Range<u64>, String)> + 'a {
    let near = guest
        .space
        .mappings
        .iter()
        .filter(|mapping| mapping.range.start < host.range.end && host.range.start < mapping.range.end);
    near.flat_map(move |mapping| {
        mapping.resident.iter().filter_map(move |part| {
            let range = part.range.start.max(host.range.start)..part.range.end.min(host.range.end);
            if range.is_empty() {
                return None;
            }
            let of_guest = part.phys.0.checked_add(range.start - part.range.start);
            let of_host = host.offset.checked_add(range.start - host.range.start);
            (of_guest == of_host).then(|| (range, describe(mapping)))
        })
    })
}

/// A guest's mapping in a word or two.
fn describe(mapping: &Mapping) -> String {
    match mapping.what {
        What::File => String::from_utf8_lossy(&mapping.name).into_owned(),
        What::Heap => "heap".into(),
        What::Stack => "stack".into(),
        What::SharedMemory => "shared memory".into(),
        What::Anonymous => "memory".into(),
    }
}
