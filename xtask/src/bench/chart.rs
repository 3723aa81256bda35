//! A report as a picture: a bar for each figure, with its name and its value beside it.

use super::report::{Cell, Line, Report, Verdict};
use super::rows::Unit;
use super::svg::{Anchor, Canvas, Style};
use super::table::{factor, quantity};

const WIDTH: f64 = 880.0;
/// Where names end and bars may begin.
const LEFT: f64 = 284.0;
/// Where bars end at the latest; their values stand to the right of them.
const RIGHT: f64 = 700.0;
/// How high a bar is, and what is between two of them.
pub const BAR: f64 = 13.0;
/// See [`BAR`].
pub const GAP: f64 = 3.0;
/// Between two rows.
const ROW_GAP: f64 = 10.0;

/// Words and axes.
pub const INK: &str = "#1f2328";
const GREY: &str = "#59636e";
/// Lines behind bars and curves.
pub const PALE: &str = "#e4e8ec";
/// The native column, then the guests: to be told apart by everybody, and by their brightness alone.
pub const COLOURS: [&str; 7] = ["#8c959f", "#0969da", "#d4752c", "#7a4fb5", "#1a7f37", "#bf8700", "#57606a"];
const GOOD: &str = "#1a7f37";
const BAD: &str = "#cf222e";

/// The words above all.
pub const TITLE: Style = Style { size: 18.0, colour: INK, weight: "bold" };
/// The words above a part.
pub const HEADING: Style = Style { size: 14.0, colour: INK, weight: "bold" };
/// The name of a row.
pub const NAME: Style = Style { size: 13.0, colour: INK, weight: "normal" };
/// Small words.
pub const NOTE: Style = Style { size: 11.0, colour: GREY, weight: "normal" };
/// What stands at the end of a bar.
pub const VALUE: Style = Style { size: 11.0, colour: INK, weight: "normal" };
const PILL: Style = Style { size: 11.0, colour: "#ffffff", weight: "bold" };

/// The whole picture.
pub fn draw(report: &Report) -> String {
    let mut chart = Chart { canvas: Canvas::new(WIDTH), report, y: 34.0 };
    let title = "What a guest of Lodger costs, beside the same program natively";
    chart.canvas.text((20.0, chart.y), Anchor::Start, TITLE, title);
    chart.y += 20.0;
    let machine = &report.machine;
    let note = format!(
        "{}, {}, {} processors; everything {}",
        machine.date,
        machine.system,
        machine.processors,
        report.placement.phrase()
    );
    chart.canvas.text((20.0, chart.y), Anchor::Start, NOTE, &note);
    // How something grows is better seen as a curve.
    let shown: Vec<&Line> = report.lines.iter().filter(|line| !line.row.is_scale()).collect();
    let of =
        |unit: Unit| -> Vec<&Line> { shown.iter().filter(|line| line.row.unit() == unit).copied().collect() };
    chart.times(&of(Unit::Time));
    chart.memory(&of(Unit::Memory));
    chart.exposure(&of(Unit::Exposure));
    chart.canvas.finish(title)
}

struct Chart<'a> {
    canvas: Canvas,
    report: &'a Report,
    /// How far down it is drawn.
    y: f64,
}

impl Chart<'_> {
    /// Times as multiples of the native ones, on a logarithmic scale.
    fn times(&mut self, lines: &[&Line]) {
        let ratios: Vec<f64> =
            lines.iter().flat_map(|line| (1..line.cells.len()).filter_map(|at| line.ratio(at))).collect();
        let Some(scale) = Scale::over(&ratios, (LEFT, RIGHT)) else { return };
        self.heading(
            "Time, as a multiple of native (each grid line is ten times the one before; shorter is better)",
        );
        let top = self.y + 18.0;
        let height = lines.iter().map(|line| self.height(line)).sum::<f64>();
        scale.draw(&mut self.canvas, top, height);
        self.y = top + ROW_GAP;
        for line in lines {
            let native = line.figure(0).map(|figure| quantity(figure.median, line.row.unit()));
            self.name(line, native.map(|native| format!("natively {native}")).as_deref());
            for at in 1..line.cells.len() {
                let bar = line.ratio(at).map(|ratio| {
                    let figure = line.figure(at).map_or(0.0, |figure| figure.median);
                    let value = format!("{}, × {}", quantity(figure, line.row.unit()), factor(ratio));
                    (scale.x(1.0), scale.x(ratio), value)
                });
                self.bar(line, at, bar, scale.x(1.0));
            }
            self.y += self.height(line) - (line.cells.len() - 1) as f64 * (BAR + GAP);
        }
    }

    /// Memory as it is, each row on a scale of its own.
    fn memory(&mut self, lines: &[&Line]) {
        if lines.is_empty() {
            return;
        }
        self.heading("Memory of all host processes together (PSS)");
        self.y += ROW_GAP;
        for line in lines {
            self.name(line, None);
            let figures = (0..line.cells.len()).filter_map(|at| line.figure(at));
            let most = figures.map(|figure| figure.median).fold(0.0, f64::max);
            for at in 0..line.cells.len() {
                let bar = line.figure(at).filter(|_| most > 0.0).map(|figure| {
                    let end = LEFT + (RIGHT - LEFT) * (figure.median / most).max(0.0);
                    (LEFT, end, quantity(figure.median, line.row.unit()))
                });
                if bar.is_some() || line.cells[at] != Cell::Senseless {
                    self.bar(line, at, bar, LEFT);
                }
            }
            self.y += ROW_GAP;
        }
    }

    /// What hostile programs got, a coloured word for each guest.
    fn exposure(&mut self, lines: &[&Line]) {
        if lines.is_empty() {
            return;
        }
        self.heading("What a hostile guest program gets");
        self.y += ROW_GAP;
        for line in lines {
            let base = self.y + BAR;
            self.canvas.text((LEFT - 12.0, base), Anchor::End, NAME, line.row.title);
            for at in 1..line.cells.len() {
                let (word, colour) = match &line.cells[at] {
                    Cell::Tried(Verdict::Refused, _) => ("refused", GOOD),
                    Cell::Tried(Verdict::Exposed, _) => ("exposed", BAD),
                    _ => ("not run", COLOURS[0]),
                };
                let x = LEFT + (at - 1) as f64 * 150.0;
                self.canvas.rectangle([x, base - 12.5, 130.0, 18.0], colour);
                let words = format!("{}: {word}", self.report.columns[at].name);
                self.canvas.text((x + 65.0, base + 0.5), Anchor::Middle, PILL, &words);
            }
            self.y += BAR + ROW_GAP;
        }
    }

    fn heading(&mut self, words: &str) {
        self.y += 30.0;
        self.canvas.text((20.0, self.y), Anchor::Start, HEADING, words);
        self.y += 8.0;
    }

    /// The name of a row at the left of its bars, with a note under it.
    fn name(&mut self, line: &Line, note: Option<&str>) {
        self.canvas.text((LEFT - 12.0, self.y + BAR - 2.5), Anchor::End, NAME, line.row.title);
        if let Some(note) = note {
            self.canvas.text((LEFT - 12.0, self.y + 2.0 * BAR), Anchor::End, NOTE, note);
        }
    }

    /// One bar from and to an x, with its value; without a figure the reason why there is none.
    fn bar(&mut self, line: &Line, at: usize, bar: Option<(f64, f64, String)>, origin: f64) {
        let name = self.report.columns[at].name;
        let (end, words) = match bar {
            Some((from, to, value)) => {
                let (left, right) = (from.min(to), from.max(to));
                let colour = COLOURS[at % COLOURS.len()];
                self.canvas.rectangle([left, self.y, (right - left).max(2.0), BAR], colour);
                (right, format!("{name} {value}"))
            }
            None if line.cells[at] == Cell::Senseless => (origin, format!("{name}: not measured")),
            None => (origin, format!("{name}: not run")),
        };
        self.canvas.text((end + 6.0, self.y + BAR - 3.0), Anchor::Start, VALUE, &words);
        self.y += BAR + GAP;
    }

    /// What a row of times takes: its bars, but at least its name and the note under it.
    fn height(&self, line: &Line) -> f64 {
        (line.cells.len() - 1).max(2) as f64 * (BAR + GAP) + ROW_GAP
    }
}

/// Multiples of native on a logarithmic axis, from a power of ten to a power of ten.
pub struct Scale {
    low: f64,
    high: f64,
    /// Where it begins and ends.
    place: (f64, f64),
}

impl Scale {
    /// One that has room for all of them and for 1.
    pub fn over(ratios: &[f64], place: (f64, f64)) -> Option<Scale> {
        let logs: Vec<f64> = ratios.iter().filter(|ratio| **ratio > 0.0).map(|ratio| ratio.log10()).collect();
        if logs.is_empty() {
            return None;
        }
        let low = logs.iter().copied().fold(0.0, f64::min).floor();
        let high = logs.iter().copied().fold(1.0, f64::max).ceil();
        Some(Scale { low, high, place })
    }

    /// Where a ratio is.
    pub fn x(&self, ratio: f64) -> f64 {
        let (left, right) = self.place;
        left + (right - left) * (ratio.log10() - self.low) / (self.high - self.low)
    }

    /// A line for each power of ten, from `top` down, with its name above.
    pub fn draw(&self, canvas: &mut Canvas, top: f64, height: f64) {
        for tick in (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power)) {
            let x = self.x(tick);
            let native = tick == 1.0;
            canvas.line((x, top), (x, top + height), if native { INK } else { PALE });
            let word = if native { "native".to_owned() } else { format!("× {tick}") };
            canvas.text((x, top - 6.0), Anchor::Middle, NOTE, &word);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::report::tests::report;
    use super::*;

    /// A text's place, its letters taken to be wider than they are.
    fn place(text: roxmltree::Node<'_, '_>) -> [f64; 4] {
        let number = |name: &str| text.attribute(name).unwrap().parse::<f64>().unwrap();
        let size = number("font-size");
        let width = text.text().unwrap().chars().count() as f64 * size * 0.62;
        let left = match text.attribute("text-anchor").unwrap() {
            "end" => number("x") - width,
            "middle" => number("x") - width / 2.0,
            _ => number("x"),
        };
        [left, number("y") - size * 0.75, left + width, number("y") + size * 0.2]
    }

    #[test]
    fn the_picture_is_well_formed_and_nothing_is_lost() {
        let mut report = report();
        let svg = draw(&report);
        let document = roxmltree::Document::parse(&svg).unwrap();
        let words: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
        let shown = |line: &&Line| !line.row.is_scale();
        assert!(report.lines.iter().filter(shown).all(|line| words.contains(&line.row.title)));
        assert!(words.contains(&"tt: not run") && words.contains(&"skas: refused"), "{words:?}");
        report.lines.truncate(1);
        assert!(roxmltree::Document::parse(&draw(&report)).is_ok());
        report.lines.clear();
        assert!(roxmltree::Document::parse(&draw(&report)).is_ok());
    }

    #[test]
    fn words_do_not_overlap_or_leave_the_picture() {
        let mut short = report();
        short.columns.truncate(2);
        short.lines.iter_mut().for_each(|line| line.cells.truncate(2));
        for report in [report(), short] {
            words_are_apart(&draw(&report));
        }
    }

    /// Fails if words overlap or leave the picture.
    pub fn words_are_apart(svg: &str) {
        let document = roxmltree::Document::parse(svg).unwrap();
        let height: f64 = document.root_element().attribute("height").unwrap().parse().unwrap();
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
        for (at, text) in texts.iter().enumerate() {
            let [left, top, right, bottom] = place(*text);
            assert!(left > 0.0 && right < WIDTH && top > 0.0 && bottom < height, "{:?}", text.text());
            for other in &texts[..at] {
                let [from, above, to, below] = place(*other);
                let apart = right < from || to < left || bottom < above || below < top;
                assert!(apart, "{:?} and {:?}", text.text(), other.text());
            }
        }
    }
}
