//! What was measured, row by row and column by column, before it is shown in any way.

use super::machine::Machine;
use super::rows::Row;
use super::samples::{Figure, Samples};

/// Figures that are nearer to each other than this part of the smaller one count as equal.
const NOISE: f64 = 0.05;

/// One run of `bench` or `compare`.
pub struct Report {
    /// The columns' names, the native one first.
    pub columns: Vec<&'static str>,
    /// Columns that nothing runs in, and why.
    pub absent: Vec<(&'static str, String)>,
    /// The rows, with a cell for each column.
    pub lines: Vec<Line>,
    /// How often each row ran in each column.
    pub runs: usize,
    /// The processor that all stayed on.
    pub cpu: usize,
    /// Where and when.
    pub machine: Machine,
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
    pub fn failures(&self) -> Vec<(&'static str, &'static str, &str)> {
        let cells = self.lines.iter().flat_map(|line| {
            line.cells.iter().zip(&self.columns).map(move |(cell, column)| (line.row.name, *column, cell))
        });
        let failed = cells.filter_map(|(row, column, cell)| match cell {
            Cell::Failed(why) => Some((row, column, why.as_str())),
            _ => None,
        });
        failed.collect()
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
        let lines = rows::ALL.iter().enumerate().map(|(at, row)| {
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
            columns: vec!["native", "skas", "tt"],
            absent: Vec::new(),
            lines: lines.collect(),
            runs: 3,
            cpu: 0,
            machine,
        }
    }

    fn line(cells: Vec<Cell>) -> Line {
        Line { row: &rows::ALL[0], cells }
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
        assert_eq!(report().failures(), [("1000-true", "tt", "it <broke> & so on")]);
    }
}
