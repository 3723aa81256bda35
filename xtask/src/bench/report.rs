//! What was measured, row by row and column by column, before it is shown in any way.

use super::machine::Machine;
use super::placement::Placement;
use super::rows::Row;
use super::samples::{Figure, Samples};

/// Figures that are nearer to each other than this part of the smaller one count as equal.
const NOISE: f64 = 0.05;

/// One run of `bench` or `compare` in one placement.
pub struct Report {
    /// The columns, the native one first.
    pub columns: Vec<Head>,
    /// Columns that nothing runs in.
    pub absent: Vec<Absent>,
    /// The rows, with a cell for each column.
    pub lines: Vec<Line>,
    /// Rows that this machine has no programs for, and what it lacks.
    pub left_out: Vec<(&'static str, String)>,
    /// How often each row ran in each column.
    pub runs: usize,
    /// The processors that all stayed on.
    pub placement: Placement,
    /// Where and when.
    pub machine: Machine,
}

/// What a column is.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its name in tables.
    pub name: &'static str,
    /// What exactly runs there.
    pub what: String,
    /// Whose it is.
    pub party: Party,
}

/// Whose a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The host's or Lodger's: what is missing there is a failure.
    Own,
    /// Another kernel's, which may be missing.
    Peer,
}

/// A column that is not there.
#[derive(Clone, Debug)]
pub struct Absent {
    /// The name it would have.
    pub name: &'static str,
    /// Why nothing runs there.
    pub why: String,
    /// Whose it is.
    pub party: Party,
}

/// One row and its cells, in the order of the columns.
pub struct Line {
    /// What was measured.
    pub row: &'static Row,
    /// What came of it.
    pub cells: Vec<Cell>,
}

/// What came of one row in one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A figure, in the row's unit.
    Measured(Samples),
    /// What a hostile program got, and how that was found.
    Tried(Verdict, String),
    /// It makes no sense there.
    Senseless,
    /// It did not come to a figure, for this reason.
    Failed(String),
}

/// What a hostile program got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it wanted.
    Exposed,
    /// Nothing.
    Refused,
}

impl Verdict {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Exposed => "exposed",
            Verdict::Refused => "refused",
        }
    }
}

impl Cell {
    /// The figure, if there is one.
    pub fn figure(&self) -> Option<Figure> {
        match self {
            Cell::Measured(samples) => samples.figure(),
            _ => None,
        }
    }
}

impl Line {
    /// The figure in that column.
    pub fn figure(&self, column: usize) -> Option<Figure> {
        self.cells.get(column)?.figure()
    }

    /// How many times the native median that column's median is.
    pub fn ratio(&self, column: usize) -> Option<f64> {
        let native = self.figure(0)?.median;
        (column > 0 && native > 0.0).then_some(self.figure(column)?.median / native)
    }

    /// Whether the column is better than every other guest's, by more than noise: in its median and in its best sample.
    /// Of exposures, whether it refuses what another exposes.
    pub fn is_better(&self, column: usize) -> bool {
        let others = || (1..self.cells.len()).filter(move |other| *other != column);
        if column == 0 || others().next().is_none() {
            return false;
        }
        if let Some(Cell::Tried(verdict, _)) = self.cells.get(column) {
            let exposed = |other: usize| matches!(self.cells[other], Cell::Tried(Verdict::Exposed, _));
            return *verdict == Verdict::Refused && others().any(exposed);
        }
        let Some(own) = self.figure(column) else { return false };
        let mut figures = others().filter_map(|other| self.figure(other)).peekable();
        let worse = |other: Figure| own.median * (1.0 + NOISE) < other.median && own.best < other.best;
        figures.peek().is_some() && figures.all(worse)
    }
}

impl Report {
    /// Every failure: its row, its column and the reason.
    pub fn failures(&self) -> Vec<(&'static str, &Head, &str)> {
        let cells = self.lines.iter().flat_map(|line| {
            line.cells.iter().zip(&self.columns).map(move |(cell, column)| (line.row.name, column, cell))
        });
        let failed = cells.filter_map(|(row, column, cell)| match cell {
            Cell::Failed(why) => Some((row, column, why.as_str())),
            _ => None,
        });
        failed.collect()
    }

    /// What should be there and is not, in a sentence.
    pub fn complaint(&self) -> Option<String> {
        if let Some(absent) = self.absent.iter().find(|absent| absent.party == Party::Own) {
            return Some(format!("nothing was measured on {}", absent.name));
        }
        match self.failures().iter().filter(|(_, column, _)| column.party == Party::Own).count() {
            0 => None,
            1 => Some("one figure is missing".to_owned()),
            more => Some(format!("{more} figures are missing")),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::rows;
    use super::*;

    /// A cell with one sample.
    pub fn measured(sample: f64) -> Cell {
        let mut samples = Samples::default();
        samples.add(sample);
        Cell::Measured(samples)
    }

    /// A cell with a verdict.
    pub fn tried(verdict: Verdict) -> Cell {
        Cell::Tried(verdict, "why".into())
    }

    /// A report with every row and every kind of cell.
    pub fn report() -> Report {
        let lines = rows::all().enumerate().map(|(at, row)| {
            let spread = 10f64.powi(at as i32 % 4);
            let cells = match row.how {
                rows::How::Demo(_) => {
                    vec![Cell::Senseless, tried(Verdict::Refused), tried(Verdict::Exposed)]
                }
                rows::How::Script => {
                    vec![measured(2e9), measured(1e9), Cell::Failed("it <broke> & so on".into())]
                }
                rows::How::IdleMemory => vec![Cell::Senseless, measured(6e6), measured(5e6)],
                _ => vec![measured(1000.0), measured(500.0 * spread), measured(700.0 * spread)],
            };
            Line { row, cells }
        });
        let machine = Machine {
            date: "2026-01-01".into(),
            system: "Linux 6.1".into(),
            processor: "A processor".into(),
            processors: 2,
            memory: 8 << 30,
            load: "0.1".into(),
        };
        Report {
            columns: ["native", "skas", "tt"].map(|name| head(name, Party::Own)).into(),
            absent: Vec::new(),
            lines: lines.collect(),
            left_out: Vec::new(),
            runs: 3,
            placement: Placement::One(0),
            machine,
        }
    }

    /// A column's.
    pub fn head(name: &'static str, party: Party) -> Head {
        Head { name, what: "what it is".into(), party }
    }

    fn line(cells: Vec<Cell>) -> Line {
        Line { row: rows::all().next().unwrap(), cells }
    }

    #[test]
    fn ratios_are_to_native() {
        let line = line(vec![measured(2.0), measured(5.0), Cell::Failed("x".into())]);
        assert_eq!([line.ratio(0), line.ratio(1), line.ratio(2)], [None, Some(2.5), None]);
    }

    #[test]
    fn the_better_one_is_better_by_more_than_noise() {
        let marks = |cells: Vec<Cell>| {
            let line = line(cells);
            [0, 1, 2].map(|column| line.is_better(column))
        };
        assert_eq!(marks(vec![measured(1.0), measured(5.0), measured(4.0)]), [false, false, true]);
        assert_eq!(marks(vec![measured(1.0), measured(4.1), measured(4.0)]), [false; 3]);
        assert_eq!(marks(vec![measured(1.0), measured(5.0), Cell::Senseless]), [false; 3]);
        let mut uneven = Samples::default();
        [3.0, 6.0, 6.0].into_iter().for_each(|sample| uneven.add(sample));
        assert_eq!(marks(vec![measured(1.0), measured(4.0), Cell::Measured(uneven)]), [false; 3]);
        let (refused, exposed) = (tried(Verdict::Refused), tried(Verdict::Exposed));
        assert_eq!(marks(vec![Cell::Senseless, refused.clone(), exposed]), [false, true, false]);
        assert_eq!(marks(vec![Cell::Senseless, refused.clone(), refused]), [false; 3]);
    }

    #[test]
    fn failures_are_named() {
        let mut report = report();
        let (row, column, why) = report.failures()[0];
        assert_eq!((row, column.name, why), ("1000-true", "tt", "it <broke> & so on"));
        assert_eq!(report.complaint().unwrap(), "one figure is missing");
        report.columns[2].party = Party::Peer;
        report.absent.push(Absent { name: "uml", why: "x".into(), party: Party::Peer });
        assert_eq!(report.complaint(), None);
        report.absent[0].party = Party::Own;
        assert_eq!(report.complaint().unwrap(), "nothing was measured on uml");
    }
}
