//! A canvas for pictures that need no legend: rectangles, lines and words, on a background of its own, so that they can
//! be read on a light page and on a dark one.

use std::fmt::Write;

/// What every page's font looks like, more or less.
const FONT: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif";

/// Where a text begins, ends or has its middle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// How a text looks.
#[derive(Clone, Copy)]
pub struct Style {
    /// Its height.
    pub size: f64,
    /// Its colour.
    pub colour: &'static str,
    /// `normal` or `bold`.
    pub weight: &'static str,
}

/// A picture of a fixed width that grows downwards.
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty picture.
    pub fn new(width: f64) -> Canvas {
        Canvas { width, height: 0.0, body: String::new() }
    }

    /// A filled rectangle with round corners.
    pub fn rectangle(&mut self, [x, y, width, height]: [f64; 4], colour: &str) {
        self.grow(y + height);
        self.push(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" fill="{colour}"/>"#
        ));
    }

    /// A line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="1"/>"#
        ));
    }

    /// A curve through some points, each with a dot.
    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let joined = joined.join(" ");
        self.push(format_args!(
            r#"<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>"#
        ));
        for (x, y) in points {
            self.grow(*y);
            self.push(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#));
        }
    }

    /// One line of words; `y` is the line that they stand on.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: Style, words: &str) {
        self.grow(y + style.size / 2.0);
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let Style { size, colour, weight } = style;
        let words = escaped(words);
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}">{words}</text>"#
        ));
    }

    /// The whole file; `title` is read out to those who do not see it.
    pub fn finish(self, title: &str) -> String {
        let (width, height) = (self.width, self.height + 16.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" \
             height=\"{height:.0}\" role=\"img\" font-family=\"{FONT}\">\n<title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height:.0}\" rx=\"8\" fill=\"#ffffff\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }

    fn grow(&mut self, to: f64) {
        self.height = self.height.max(to);
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
