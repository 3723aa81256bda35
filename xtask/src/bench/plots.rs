//! The picture of a whole bench: what a column costs on average in each placement, and how figures grow with a number.

use super::chart::{BAR, COLOURS, GAP, HEADING, INK, NAME, NOTE, PALE, Scale, TITLE, VALUE};
use super::means;
use super::report::{Line, Report};
use super::rows::Unit;
use super::svg::{Anchor, Canvas, Style};
use super::table::{factor, quantity};

const WIDTH: f64 = 880.0;

/// The left and the right end of bars.
const BARS: (f64, f64) = (200.0, 700.0);

/// Two panels stand side by side; each has room for axes and for the names of its curves.
const PANEL: (f64, f64) = (240.0, 170.0);
const PANELS: [f64; 2] = [70.0, 490.0];

/// A figure for several sizes of the same thing.
struct Growth {
    title: &'static str,
    /// What the sizes count.
    of: &'static str,
    /// The rows, each with its size.
    rows: &'static [(f64, &'static str)],
}

const GROWTHS: [Growth; 4] = [
    Growth {
        title: "Fork, exit, wait",
        of: "sleeping processes",
        rows: &[
            (1.0, "fork-among-1"),
            (10.0, "fork-among-10"),
            (100.0, "fork-among-100"),
            (1000.0, "fork-among-1000"),
        ],
    },
    Growth {
        title: "Switch in a ring",
        of: "processes",
        rows: &[(2.0, "switch-2"), (10.0, "switch-10"), (100.0, "switch-100"), (1000.0, "switch-1000")],
    },
    Growth {
        title: "Memory of a process",
        of: "processes",
        rows: &[(1.0, "memory-1"), (10.0, "memory-10"), (100.0, "memory-100"), (1000.0, "memory-1000")],
    },
    Growth {
        title: "Fork of a process with memory",
        of: "MiB",
        rows: &[(1.0, "fork-1m"), (16.0, "fork-16m"), (256.0, "fork-256m")],
    },
];

/// The whole picture.
pub fn draw(reports: &[Report]) -> String {
    let mut plot = Plot { canvas: Canvas::new(WIDTH), y: 34.0 };
    let title = "What Lodger costs on average, and how that grows";
    plot.canvas.text((20.0, plot.y), Anchor::Start, TITLE, title);
    if let Some(first) = reports.first() {
        let machine = &first.machine;
        plot.y += 20.0;
        let note = format!("{}, {}, {} processors", machine.date, machine.system, machine.processors);
        plot.canvas.text((20.0, plot.y), Anchor::Start, NOTE, &note);
    }
    for report in reports {
        plot.means(report);
    }
    for report in reports {
        plot.growths(report);
    }
    plot.canvas.finish(title)
}

struct Plot {
    canvas: Canvas,
    /// How far down it is drawn.
    y: f64,
}

impl Plot {
    /// The geometric means of a placement, a group of bars for each section.
    fn means(&mut self, report: &Report) {
        let groups = means::groups(report);
        let ratios: Vec<f64> =
            groups.iter().flat_map(|group| group.means.iter().flatten().map(|mean| mean.ratio)).collect();
        let Some(scale) = Scale::over(&ratios, BARS) else { return };
        self.heading(&format!(
            "Time as a multiple of native, geometric means, everything {}",
            report.placement.phrase()
        ));
        let top = self.y + 22.0;
        let present = |means: &[Option<means::Mean>]| means.iter().flatten().count();
        let rows: usize = groups.iter().map(|group| present(&group.means)).sum();
        let height = rows as f64 * (BAR + GAP) + groups.len() as f64 * 8.0;
        scale.draw(&mut self.canvas, top, height);
        self.y = top + 4.0;
        for group in &groups {
            self.canvas.text((BARS.0 - 12.0, self.y + BAR - 2.0), Anchor::End, NAME, group.name);
            for (at, mean) in group.means.iter().enumerate() {
                let Some(mean) = mean else { continue };
                let (from, to) =
                    (scale.x(mean.ratio).min(scale.x(1.0)), scale.x(mean.ratio).max(scale.x(1.0)));
                let colour = COLOURS[(at + 1) % COLOURS.len()];
                self.canvas.rectangle([from, self.y, (to - from).max(2.0), BAR], colour);
                let words = format!("{} × {}", report.columns[at + 1].name, factor(mean.ratio));
                self.canvas.text((to + 6.0, self.y + BAR - 3.0), Anchor::Start, VALUE, &words);
                self.y += BAR + GAP;
            }
            self.y += 8.0;
        }
    }

    /// The panels of a placement that has figures for them, two in a line.
    fn growths(&mut self, report: &Report) {
        let panels: Vec<(&Growth, Vec<Curve>)> = GROWTHS
            .iter()
            .map(|growth| (growth, curves(report, growth)))
            .filter(|(_, curves)| !curves.is_empty())
            .collect();
        for pair in panels.chunks(PANELS.len()) {
            let top = self.y + 52.0;
            for ((growth, curves), left) in pair.iter().zip(PANELS) {
                self.panel(growth, curves, (left, top), report);
            }
            self.y = top + PANEL.1 + 34.0;
        }
    }

    /// One panel: both axes are logarithmic.
    fn panel(&mut self, growth: &Growth, curves: &[Curve], (left, top): (f64, f64), report: &Report) {
        let (right, bottom) = (left + PANEL.0, top + PANEL.1);
        self.canvas.text((left, top - 14.0), Anchor::Start, HEADING, growth.title);
        let values: Vec<f64> =
            curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value)).collect();
        let sizes: Vec<f64> = growth.rows.iter().map(|(size, _)| *size).collect();
        let across = |size: f64| place(size, &sizes, (left, right));
        let up = |value: f64| place(value, &values, (bottom, top));
        for size in &sizes {
            self.canvas.line((across(*size), top), (across(*size), bottom), PALE);
            self.canvas.text((across(*size), bottom + 14.0), Anchor::Middle, NOTE, &size.to_string());
        }
        let middle = f64::midpoint(left, right);
        self.canvas.text((middle, bottom + 29.0), Anchor::Middle, NOTE, growth.of);
        for value in ends(&values) {
            let words = quantity(value, unit(report, growth));
            self.canvas.text((left - 6.0, up(value) + 4.0), Anchor::End, NOTE, &words);
        }
        self.canvas.line((left, top), (left, bottom), INK);
        self.canvas.line((left, bottom), (right, bottom), INK);
        let lasts: Vec<f64> =
            curves.iter().map(|curve| curve.points.last().map_or(top, |last| up(last.1))).collect();
        for (curve, words_at) in curves.iter().zip(apart(&lasts, VALUE.size + 3.0, bottom - VALUE.size)) {
            let colour = COLOURS[curve.column % COLOURS.len()];
            let points: Vec<(f64, f64)> =
                curve.points.iter().map(|(size, value)| (across(*size), up(*value))).collect();
            self.canvas.curve(&points, colour);
            let style = Style { colour, ..VALUE };
            let name = report.columns[curve.column].name;
            self.canvas.text((right + 8.0, words_at + 4.0), Anchor::Start, style, name);
        }
    }

    fn heading(&mut self, words: &str) {
        self.y += 32.0;
        self.canvas.text((20.0, self.y), Anchor::Start, HEADING, words);
    }
}

/// The figures of one column.
struct Curve {
    column: usize,
    /// Sizes and figures.
    points: Vec<(f64, f64)>,
}

/// The curves of all columns that have more than one figure; what is not above nothing has no logarithm.
fn curves(report: &Report, growth: &Growth) -> Vec<Curve> {
    let of = |column: usize| {
        let figure = |name: &str| line(report, name)?.figure(column).map(|figure| figure.median);
        let points = growth.rows.iter().filter_map(|(size, name)| Some((*size, figure(name)?)));
        Curve { column, points: points.filter(|(_, value)| *value > 0.0).collect() }
    };
    (0..report.columns.len()).map(of).filter(|curve| curve.points.len() > 1).collect()
}

fn line<'a>(report: &'a Report, name: &str) -> Option<&'a Line> {
    report.lines.iter().find(|line| line.row.name == name)
}

fn unit(report: &Report, growth: &Growth) -> Unit {
    let lines = growth.rows.iter().filter_map(|(_, name)| line(report, name));
    lines.map(|line| line.row.unit()).next().unwrap_or(Unit::Time)
}

/// The least and the greatest.
fn ends(values: &[f64]) -> [f64; 2] {
    [values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max)]
}

/// Where a value is between two places, by its logarithm among all values.
fn place(value: f64, among: &[f64], (from, to): (f64, f64)) -> f64 {
    let [low, high] = ends(among).map(f64::ln);
    let part = if high > low { (value.ln() - low) / (high - low) } else { 0.5 };
    from + (to - from) * part
}

/// The same places, moved where they are nearer to each other than `distance` or further down than `last`.
fn apart(places: &[f64], distance: f64, last: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|one, other| places[*one].total_cmp(&places[*other]));
    let mut moved = places.to_vec();
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + distance);
    }
    let mut lowest = last;
    for at in order.into_iter().rev() {
        moved[at] = moved[at].min(lowest);
        lowest = moved[at] - distance;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::super::chart::tests::words_are_apart;
    use super::super::placement::Placement;
    use super::super::report::tests::{measured, report};
    use super::super::rows;
    use super::*;

    #[test]
    fn rows_of_growths_are_there() {
        let known = |name: &str| rows::all().any(|row| row.name == name);
        assert!(GROWTHS.iter().flat_map(|growth| growth.rows).all(|(_, name)| known(name)));
    }

    #[test]
    fn the_picture_has_means_and_curves_and_nothing_overlaps() {
        let mut all = report();
        all.placement = Placement::All(2);
        all.lines.retain(|line| line.row.fits(all.placement));
        let mut one = report();
        for line in &mut one.lines {
            // All curves end at the same place.
            line.cells[1] = measured(900.0);
            line.cells[2] = measured(900.0);
        }
        let svg = draw(&[one, all]);
        words_are_apart(&svg);
        assert_eq!(svg.matches("<polyline").count(), 3 * GROWTHS.len());
        assert_eq!(svg.matches("all of these").count(), 2);
        assert!(roxmltree::Document::parse(&draw(&[])).is_ok());
    }

    #[test]
    fn names_move_to_be_apart() {
        assert_eq!(apart(&[10.0, 50.0, 12.0], 5.0, 90.0), [10.0, 50.0, 15.0]);
        assert_eq!(apart(&[1.0, 1.0, 1.0], 5.0, 90.0), [1.0, 6.0, 11.0]);
        assert_eq!(apart(&[88.0, 89.0, 95.0], 5.0, 90.0), [80.0, 85.0, 90.0]);
    }
}
