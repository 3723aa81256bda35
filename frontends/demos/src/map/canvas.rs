//! A sheet to draw on: boxes and words, on a background of its own, so that it can be read on a light page and on a dark
//! one. It keeps where words are, so that a test can see that none lies on another.

use svg::node::element::{Line, Rectangle, Text, Title};
use svg::{Document, Node};

/// Fonts with much the same widths.
const SANS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const MONO: &str = "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

/// How words look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Height of a line, in pixels.
    pub size: f64,
    /// Colour.
    pub colour: &'static str,
    /// Which letters.
    pub face: Face,
}

/// Kinds of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// For text.
    Plain,
    /// For headings.
    Bold,
    /// For addresses.
    Mono,
}

/// Where words stand relative to their point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// They begin there.
    Left,
    /// They have their middle there.
    Middle,
    /// They end there.
    Right,
}

/// Fill and outline of a box.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Inside.
    pub fill: &'static str,
    /// The line around it.
    pub stroke: &'static str,
}

/// See the module.
pub struct Canvas {
    nodes: Vec<Box<dyn Node>>,
    words: Vec<(Area, String)>,
    extent: (f64, f64),
}

impl Canvas {
    /// An empty sheet.
    #[allow(clippy::new_without_default, reason = "an empty sheet is a beginning, not a value")]
    pub fn new() -> Canvas {
        Canvas { nodes: Vec::new(), words: Vec::new(), extent: (0.0, 0.0) }
    }

    /// A box with round corners.
    pub fn area(&mut self, area: Area, paint: Paint) {
        self.extent = (self.extent.0.max(area.x + area.width), self.extent.1.max(area.y + area.height));
        let rectangle = Rectangle::new()
            .set("x", area.x)
            .set("y", area.y)
            .set("width", area.width)
            .set("height", area.height)
            .set("rx", 5)
            .set("fill", paint.fill)
            .set("stroke", paint.stroke);
        self.add(rectangle);
    }

    /// A dotted line downwards.
    pub fn dots(&mut self, x: f64, from: f64, to: f64, colour: &'static str) {
        let line = Line::new().set("x1", x).set("x2", x).set("y1", from).set("y2", to);
        self.add(line.set("stroke", colour).set("stroke-width", 2).set("stroke-dasharray", "1.5 4"));
    }

    /// One line of words, which stand on `y`.
    pub fn words(&mut self, (x, y): (f64, f64), align: Align, style: Style, words: &str) {
        let width = width_of(words, style);
        let (anchor, left) = match align {
            Align::Left => ("start", x),
            Align::Middle => ("middle", x - width / 2.0),
            Align::Right => ("end", x - width),
        };
        let height = style.size;
        self.extent = (self.extent.0.max(left + width), self.extent.1.max(y + 0.2 * height));
        self.words.push((Area { x: left, y: y - 0.8 * height, width, height }, words.to_owned()));
        let (family, weight) = match style.face {
            Face::Plain => (SANS, "normal"),
            Face::Bold => (SANS, "bold"),
            Face::Mono => (MONO, "normal"),
        };
        let text = Text::new(words)
            .set("x", x)
            .set("y", y)
            .set("text-anchor", anchor)
            .set("font-size", style.size)
            .set("font-family", family)
            .set("font-weight", weight)
            .set("fill", style.colour);
        self.add(text);
    }

    fn add(&mut self, node: impl Node) {
        self.nodes.push(Box::new(node));
    }

    /// The file; `title` is what those hear who do not see it.
    pub fn finish(self, title: &str) -> String {
        let (width, height) = (self.extent.0.ceil(), self.extent.1.ceil());
        let document = Document::new().add(Title::new(title));
        let document = self.nodes.into_iter().fold(document, Document::add);
        document
            .set("viewBox", (0, 0, width, height))
            .set("width", width)
            .set("height", height)
            .set("role", "img")
            .to_string()
    }

    /// Where all words are.
    #[cfg(test)]
    pub fn all_words(&self) -> &[(Area, String)] {
        &self.words
    }

    /// Width and height.
    pub fn extent(&self) -> (f64, f64) {
        self.extent
    }
}

/// How wide words are at most, in the widest of the fonts.
pub fn width_of(words: &str, style: Style) -> f64 {
    let letter = match style.face {
        Face::Plain => 0.6,
        Face::Bold => 0.68,
        Face::Mono => 0.61,
    };
    words.chars().count() as f64 * letter * style.size
}

/// Words cut to a width.
pub fn fit(words: &str, style: Style, width: f64) -> String {
    let mut cut = words.to_owned();
    while width_of(&cut, style) > width && cut.chars().count() > 1 {
        cut = cut.chars().take(cut.chars().count() - 2).chain(['…']).collect();
    }
    cut
}
