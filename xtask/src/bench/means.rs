//! Geometric means of ratios to native, by sections and of all rows: the one figure of a column.

use super::report::Report;
use super::rows::{SECTIONS, Unit};

/// The mean of some ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The geometric mean.
    pub ratio: f64,
    /// Of so many rows.
    pub rows: usize,
}

/// A section's means, one for each column but the native one.
pub struct Group {
    /// The section's name.
    pub name: &'static str,
    /// How many of its rows have a native figure.
    pub rows: usize,
    /// The means, where a column has any figure.
    pub means: Vec<Option<Mean>>,
}

/// The name of the last group.
pub const ALL: &str = "all of these";

/// The means of times; what shows how something grows has none.
pub fn groups(report: &Report) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut everything: Vec<usize> = Vec::new();
    for section in SECTIONS {
        let rows = section.rows.iter().filter(|row| row.unit() == Unit::Time && !row.is_scale());
        let lines: Vec<usize> = rows
            .filter_map(|row| report.lines.iter().position(|line| line.row.name == row.name))
            .filter(|line| report.lines[*line].figure(0).is_some())
            .collect();
        if !lines.is_empty() {
            groups.push(group(report, section.name, &lines));
        }
        everything.extend(lines);
    }
    if groups.len() > 1 {
        groups.push(group(report, ALL, &everything));
    }
    groups
}

fn group(report: &Report, name: &'static str, lines: &[usize]) -> Group {
    let of_column = |at: usize| {
        let ratios: Vec<f64> = lines.iter().filter_map(|line| report.lines[*line].ratio(at)).collect();
        mean(&ratios)
    };
    Group { name, rows: lines.len(), means: (1..report.columns.len()).map(of_column).collect() }
}

fn mean(ratios: &[f64]) -> Option<Mean> {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    let rows = ratios.len();
    (rows > 0).then(|| Mean { ratio: (logs / rows as f64).exp(), rows })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{measured, report};
    use super::*;

    #[test]
    fn the_mean_is_geometric() {
        assert_eq!(mean(&[]), None);
        let mean = mean(&[2.0, 8.0]).unwrap();
        assert!((mean.ratio - 4.0).abs() < 1e-9 && mean.rows == 2, "{mean:?}");
    }

    #[test]
    fn a_column_has_means_of_what_it_has() {
        let mut report = report();
        for line in &mut report.lines {
            let lost = super::super::report::Cell::Failed("x".into());
            let last = if line.row.name == "fork-wait" { lost } else { measured(900.0) };
            line.cells = vec![measured(100.0), measured(400.0), last];
        }
        let groups = groups(&report);
        let of = |name: &str| groups.iter().find(|group| group.name == name).unwrap();
        let rows =
            |name: &str| [of(name).rows, of(name).means[0].unwrap().rows, of(name).means[1].unwrap().rows];
        assert_eq!(rows("processes").map(|n| of("processes").rows - n), [0, 0, 1]);
        assert!((of(ALL).means[0].unwrap().ratio - 4.0).abs() < 1e-9);
        assert_eq!(groups.last().unwrap().name, ALL);
        assert!(groups.iter().all(|group| group.name != "scale" && group.name != "exposure"));
    }
}
