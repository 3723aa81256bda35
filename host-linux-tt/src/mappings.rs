//! What is mapped in a range of addresses: an ordered map of pieces of guest RAM, and the difference of two such maps.

use std::collections::BTreeMap;
use std::ops::Range;

use host_linux::batch::Batch;
use kernel_core::host::{Fill, MapOp, Phys, Prot};

/// A piece of guest RAM that is mapped, without its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Length in bytes.
    len: u64,
    /// Where in guest RAM it begins.
    phys: u64,
    prot: Prot,
}

impl Piece {
    /// The part of it from `skip` bytes on, `len` bytes long.
    fn part(self, skip: u64, len: u64) -> Piece {
        Piece { len, phys: self.phys + skip, prot: self.prot }
    }
}

/// Pieces by their addresses. They do not overlap, and neighbours that continue each other are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    pieces: BTreeMap<u64, Piece>,
}

impl Mappings {
    /// How many mappings of the host they take at most, those of the gaps between them included.
    pub fn host_count(&self) -> usize {
        2 * self.pieces.len() + 1
    }

    /// From the first address to the end of the last one.
    pub fn extent(&self) -> Option<Range<u64>> {
        let (first, _) = self.pieces.first_key_value()?;
        let (last, piece) = self.pieces.last_key_value()?;
        Some(*first..last + piece.len)
    }

    /// Makes a change.
    pub fn apply(&mut self, op: &MapOp) {
        match *op {
            MapOp::Map { va, len, phys, prot, .. } => {
                self.cut_out(va, va + len);
                self.insert(va, Piece { len, phys: phys.0, prot });
            }
            MapOp::Unmap { va, len } => self.cut_out(va, va + len),
            MapOp::Protect { va, len, prot } => {
                for (at, piece) in self.cut_between(va, va + len) {
                    self.insert(at, Piece { prot, ..piece });
                }
            }
        }
    }

    fn cut_out(&mut self, start: u64, end: u64) {
        self.cut_between(start, end);
    }

    /// Takes out what lies in a range.
    fn cut_between(&mut self, start: u64, end: u64) -> Vec<(u64, Piece)> {
        self.split(start);
        self.split(end);
        let inside: Vec<(u64, Piece)> =
            self.pieces.range(start..end).map(|(at, piece)| (*at, *piece)).collect();
        for (at, _) in &inside {
            self.pieces.remove(at);
        }
        inside
    }

    /// Makes a piece begin at `at` if one lies across it.
    fn split(&mut self, at: u64) {
        let Some((start, piece)) = self.pieces.range_mut(..at).next_back() else { return };
        let head = at - start;
        if head < piece.len {
            let tail = piece.part(head, piece.len - head);
            piece.len = head;
            self.pieces.insert(at, tail);
        }
    }

    /// Puts a piece where nothing is, and joins it with its neighbours.
    fn insert(&mut self, mut at: u64, mut piece: Piece) {
        let continues = |first: &Piece, second: &Piece| {
            first.phys + first.len == second.phys && first.prot == second.prot
        };
        if let Some((start, before)) = self.pieces.range(..at).next_back()
            && start + before.len == at
            && continues(before, &piece)
        {
            piece = Piece { len: before.len + piece.len, ..*before };
            at = *start;
        }
        if let Some(after) = self.pieces.get(&(at + piece.len)).copied()
            && continues(&piece, &after)
        {
            self.pieces.remove(&(at + piece.len));
            piece.len += after.len;
        }
        self.pieces.insert(at, piece);
    }

    /// What is mapped at an address: the piece from there on.
    fn at(&self, at: u64) -> Option<Piece> {
        let (start, piece) = self.pieces.range(..=at).next_back()?;
        (at - start < piece.len).then(|| piece.part(at - start, piece.len - (at - start)))
    }

    /// The changes that make these mappings `wanted`.
    pub fn difference(&self, wanted: &Mappings) -> Batch {
        // After a fork most pieces are the same on both sides.
        let edges = |these: &Mappings, others: &Mappings| -> Vec<u64> {
            let own = these.pieces.iter().filter(|(at, piece)| others.pieces.get(at) != Some(piece));
            own.flat_map(|(at, piece)| [*at, *at + piece.len]).collect()
        };
        let mut edges = [edges(self, wanted), edges(wanted, self)].concat();
        edges.sort_unstable();
        edges.dedup();
        let mut batch = Batch::default();
        for pair in edges.windows(2) {
            let (va, len) = (pair[0], pair[1] - pair[0]);
            match (self.at(va), wanted.at(va)) {
                (Some(_), None) => batch.push(MapOp::Unmap { va, len }),
                (Some(here), Some(there)) if here.phys == there.phys => {
                    if here.prot != there.prot {
                        batch.push(MapOp::Protect { va, len, prot: there.prot });
                    }
                }
                (_, Some(there)) => batch.push(map(va, there.part(0, len))),
                (None, None) => {}
            }
        }
        batch
    }
}

fn map(va: u64, piece: Piece) -> MapOp {
    MapOp::Map { va, len: piece.len, phys: Phys(piece.phys), prot: piece.prot, fill: Fill::Lazy }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Prot = Prot::READ.union(Prot::WRITE);

    fn mapped(ops: &[MapOp]) -> Mappings {
        let mut mappings = Mappings::default();
        ops.iter().for_each(|op| mappings.apply(op));
        mappings
    }

    fn place(va: u64, len: u64, phys: u64, prot: Prot) -> MapOp {
        MapOp::Map { va, len, phys: Phys(phys), prot, fill: Fill::Lazy }
    }

    #[test]
    fn changes_cut_and_join() {
        let mut mappings = mapped(&[place(0x1000, 0x4000, 0x10000, RW)]);
        mappings.apply(&MapOp::Protect { va: 0x2000, len: 0x1000, prot: Prot::READ });
        assert_eq!(mappings.host_count(), 7);
        mappings.apply(&MapOp::Protect { va: 0x1000, len: 0x4000, prot: RW });
        assert_eq!(mappings, mapped(&[place(0x1000, 0x4000, 0x10000, RW)]), "one piece again");
        mappings.apply(&MapOp::Unmap { va: 0, len: 0x3000 });
        assert_eq!(mappings, mapped(&[place(0x3000, 0x2000, 0x12000, RW)]));
        assert_eq!(mappings.extent(), Some(0x3000..0x5000));
    }

    #[test]
    fn a_difference_leads_from_one_to_the_other_and_leaves_the_rest() {
        let text = place(0x1000, 0x8000, 0x10000, Prot::READ);
        let maps = [
            mapped(&[text]),
            mapped(&[text, place(0x9000, 0x4000, 0x20000, Prot::READ)]),
            mapped(&[text, place(0x9000, 0x4000, 0x20000, Prot::READ), place(0xa000, 0x1000, 0x50000, RW)]),
            mapped(&[place(0x2000, 0x3000, 0x11000, RW), place(0x8000, 0x9000, 0x70000, Prot::EXEC)]),
            Mappings::default(),
        ];
        for from in &maps {
            for to in &maps {
                let mut now = from.clone();
                let changes = from.difference(to);
                changes.ops().iter().for_each(|op| now.apply(op));
                assert_eq!(&now, to);
            }
        }
        assert_eq!(maps[1].difference(&maps[2]).ops(), [place(0xa000, 0x1000, 0x50000, RW)]);
    }
}
