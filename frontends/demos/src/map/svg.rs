//! The picture as SVG.

use super::canvas::{Align, Area, Canvas, Face, Paint, Style, fit, width_of};
use super::picture::{Block, Part, Picture, Space, Whose};
use super::words::{self, Cell};

const INK: &str = "#1f2328";
const GREY: &str = "#59636e";
const PALE: &str = "#d1d9e0";
const PAPER: Paint = Paint { fill: "#ffffff", stroke: PALE };
const FRAME: Paint = Paint { fill: "#f6f8fa", stroke: "#818b98" };

const TITLE: Style = Style { size: 20.0, colour: INK, face: Face::Bold };
const HEADING: Style = Style { size: 15.0, colour: INK, face: Face::Bold };
const TEXT: Style = Style { size: 12.0, colour: INK, face: Face::Plain };
const NOTE: Style = Style { size: 11.0, colour: GREY, face: Face::Plain };
const ADDRESS: Style = Style { size: 10.0, colour: GREY, face: Face::Mono };
const NAME: Style = Style { size: 13.0, colour: INK, face: Face::Bold };
const PILL: Style = Style { size: 13.0, colour: "#ffffff", face: Face::Bold };

/// From the edge of a sheet, and between frames.
const MARGIN: f64 = 24.0;
const BETWEEN: f64 = 14.0;
/// Width of a frame that is one of several, and of one alone.
const NARROW: f64 = 200.0;
const ALONE: f64 = 440.0;
/// From the edge of a block to its words.
const INSIDE: f64 = 10.0;
/// Between blocks: nothing is mapped there.
const GAP: f64 = 24.0;
/// A line of a block, and one for an address below it.
const LINE: f64 = 15.0;
const BELOW: f64 = 13.0;
/// The table: the first column, the others, a row.
const FIRST: f64 = 130.0;
const COLUMN: f64 = 96.0;
const ROW: f64 = 26.0;

/// One picture.
pub fn draw(picture: &Picture) -> String {
    sheet(&[picture]).finish(&words::headline(picture))
}

/// Several pictures side by side.
pub fn draw_beside(pictures: &[&Picture]) -> String {
    let titles: Vec<String> = pictures.iter().map(|picture| words::headline(picture)).collect();
    sheet(pictures).finish(&titles.join("; "))
}

/// Drawn twice: the paper is below the drawing, and as large as that turns out.
pub(super) fn sheet(pictures: &[&Picture]) -> Canvas {
    let paint = |paper: Option<(f64, f64)>| {
        let mut canvas = Canvas::new();
        if let Some((width, height)) = paper {
            canvas.area(Area { x: 0.0, y: 0.0, width, height }, PAPER);
        }
        let mut x = MARGIN;
        for picture in pictures {
            x = Sheet { canvas: &mut canvas, picture, x, y: MARGIN }.draw() + 2.0 * MARGIN;
        }
        canvas
    };
    let (width, height) = paint(None).extent();
    paint(Some((width + MARGIN, height + MARGIN)))
}

/// The colours of somebody: light, and strong.
fn colours(whose: Whose, picture: &Picture) -> (&'static str, &'static str) {
    const GUESTS: [(&str, &str); 4] =
        [("#dafbe1", "#1a7f37"), ("#ddf4ff", "#0969da"), ("#fff1e5", "#bc4c00"), ("#fbefff", "#8250df")];
    match whose {
        Whose::Party(at) if at == picture.kernel() => ("#d1d9e0", "#1f2328"),
        Whose::Party(at) => GUESTS[at % GUESTS.len()],
        Whose::Ram => ("#fff8c5", "#9a6700"),
        Whose::Stub | Whose::Left => ("#ffffff", "#818b98"),
        Whose::Unexplained => ("#ffebe9", "#cf222e"),
    }
}

/// A picture on its way to the canvas.
struct Sheet<'a> {
    canvas: &'a mut Canvas,
    picture: &'a Picture,
    /// Its left edge.
    x: f64,
    /// How far down it is drawn.
    y: f64,
}

impl Sheet<'_> {
    /// Draws all of it; its right edge.
    fn draw(mut self) -> f64 {
        let picture = self.picture;
        let width = self.width();
        self.y += TITLE.size;
        self.canvas.words((self.x, self.y), Align::Left, TITLE, &words::headline(picture));
        self.paragraph(words::explanation(picture), TEXT, width);
        self.y += 16.0;
        self.frames();
        self.y += 34.0;
        self.table();
        self.y += 10.0;
        self.paragraph(words::SOURCE, NOTE, width);
        self.x + width
    }

    fn width(&self) -> f64 {
        let spaces = self.picture.spaces.len() as f64;
        let frames = if spaces > 1.0 { spaces * (NARROW + BETWEEN) - BETWEEN } else { ALONE };
        let columns = self.picture.parties.len() as f64 + 1.0;
        frames.max(FIRST + columns * COLUMN)
    }

    fn paragraph(&mut self, text: &str, style: Style, width: f64) {
        let mut line = String::new();
        let mut lines = Vec::new();
        for word in text.split(' ') {
            if width_of(&format!("{line} {word}"), style) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
        for line in lines {
            self.y += style.size * 1.5;
            self.canvas.words((self.x, self.y), Align::Left, style, &line);
        }
    }

    /// All frames, of the same height.
    fn frames(&mut self) {
        let spaces = &self.picture.spaces;
        let width = if spaces.len() > 1 { NARROW } else { self.width() };
        let body = |space: &Space| {
            let blocks: f64 = space.blocks.iter().map(|block| self.height(block) + GAP).sum();
            let hidden = words::out_of_reach(self.picture, space).len() as f64;
            blocks + GAP + if hidden > 0.0 { (hidden + 1.0) * LINE + INSIDE } else { 0.0 }
        };
        let tallest = spaces.iter().map(body).fold(0.0, f64::max);
        let top = self.y;
        let pills =
            if spaces.len() > 1 { spaces.iter().map(|space| space.runs.len()).max().unwrap_or(1) } else { 1 };
        let head = pills as f64 * 28.0 + 24.0;
        for (at, space) in spaces.iter().enumerate() {
            let x = self.x + at as f64 * (NARROW + BETWEEN);
            self.head(space, Area { x, y: top, width, height: head });
            let area = Area { x, y: top + head, width, height: tallest };
            self.frame(space, area);
        }
        self.y = top + head + tallest;
    }

    /// Who runs in a frame, above it.
    fn head(&mut self, space: &Space, area: Area) {
        let alone = self.is_wide();
        let (mut x, mut y) = (area.x, area.y);
        for party in &space.runs {
            let (_, strong) = colours(Whose::Party(*party), self.picture);
            let name = words::owner(self.picture, Whose::Party(*party));
            let pill = fit(&name, PILL, area.width - 2.0 * INSIDE);
            let width = if alone { width_of(&pill, PILL) + 2.0 * INSIDE } else { area.width };
            self.canvas.area(Area { x, y, width, height: 22.0 }, Paint { fill: strong, stroke: strong });
            self.canvas.words((x + width / 2.0, y + 15.5), Align::Middle, PILL, &pill);
            if alone { x += width + 8.0 } else { y += 28.0 }
        }
        let verb = if space.runs.len() > 1 { "all run in" } else { "runs in" };
        let text = format!("{verb} host process {}", space.host);
        let y = area.y + area.height - 9.0;
        if alone {
            self.canvas.words((area.x, y), Align::Left, NOTE, &text);
        } else {
            self.canvas.words((area.x + area.width / 2.0, y), Align::Middle, NOTE, &text);
        }
    }

    /// What can be reached in a space, from the highest address down.
    fn frame(&mut self, space: &Space, area: Area) {
        self.canvas.area(area, FRAME);
        let middle = area.x + area.width / 2.0;
        let mut y = area.y;
        for block in space.blocks.iter().rev() {
            self.canvas.dots(middle, y + 5.0, y + GAP - 3.0, "#afb8c1");
            y += GAP;
            let height = self.height(block);
            let inside = Area { x: area.x + 8.0, y, width: area.width - 16.0, height };
            self.block(block, inside);
            y += height;
        }
        self.canvas.dots(middle, y + 5.0, y + GAP - 3.0, "#afb8c1");
        let hidden = words::out_of_reach(self.picture, space);
        if hidden.is_empty() {
            return;
        }
        let mut y = area.y + area.height - hidden.len() as f64 * LINE - INSIDE;
        self.canvas.words((middle, y), Align::Middle, NOTE, "not in here:");
        for name in hidden {
            y += LINE;
            self.canvas.words((middle, y), Align::Middle, NOTE, &name);
        }
    }

    fn block(&mut self, block: &Block, area: Area) {
        let (light, strong) = colours(block.whose, self.picture);
        self.canvas.area(area, Paint { fill: light, stroke: strong });
        let (left, right) = (area.x + INSIDE, area.x + area.width - INSIDE);
        let mut y = area.y + 18.0;
        let name = words::owner(self.picture, block.whose);
        let style = Style { colour: strong, ..NAME };
        let name = fit(&name, style, right - left);
        self.canvas.words((left, y), Align::Left, style, &name);
        if let Some(window) = words::window(self.picture, block.whose) {
            let room = right - left - width_of(&name, style) - 8.0;
            self.canvas.words((right, y), Align::Right, NOTE, &fit(&window, NOTE, room));
        }
        for part in block.parts.iter().rev() {
            y += LINE;
            let size = words::size(part.bytes);
            let address = format!("{:#014x}", part.start);
            let mut room = right - left - width_of(&size, NOTE) - 8.0;
            if self.is_wide() {
                let middle = area.x + area.width / 2.0;
                self.canvas.words((middle, y), Align::Left, ADDRESS, &address);
                room = middle - left - 8.0;
            }
            let indent = self.chip(part, (left, y));
            self.canvas.words((left + indent, y), Align::Left, TEXT, &fit(&part.what, TEXT, room - indent));
            self.canvas.words((right, y), Align::Right, NOTE, &size);
            if !self.is_wide() {
                y += BELOW;
                self.canvas.words((left + indent, y), Align::Left, ADDRESS, &address);
            }
        }
    }

    /// One frame for all: there is room for an address beside its part.
    fn is_wide(&self) -> bool {
        self.picture.spaces.len() == 1
    }

    /// The height of a block: its words, and more the larger it is.
    fn height(&self, block: &Block) -> f64 {
        let line = if self.is_wide() { LINE } else { LINE + BELOW };
        let doublings = (block.bytes() / (256 << 10)).checked_ilog2().map_or(0.0, f64::from);
        27.0 + block.parts.len() as f64 * line + 3.0 * doublings
    }

    /// A spot in the colour of the party whose memory a part is; how much room it takes.
    fn chip(&mut self, part: &Part, (x, y): (f64, f64)) -> f64 {
        let Some(whose) = part.of else { return 0.0 };
        let (light, strong) = colours(whose, self.picture);
        self.canvas
            .area(Area { x, y: y - 9.0, width: 10.0, height: 10.0 }, Paint { fill: light, stroke: strong });
        16.0
    }

    fn table(&mut self) {
        self.canvas.words((self.x, self.y), Align::Left, HEADING, words::QUESTION);
        self.y += 12.0;
        let middle = |column: usize| self.x + FIRST + (column as f64 + 0.5) * COLUMN;
        let heads = words::heads(self.picture);
        let base = self.y + 17.0;
        self.canvas.words((self.x, base), Align::Left, NOTE, "while this runs");
        for (column, head) in heads.iter().enumerate() {
            let whose = if column < self.picture.parties.len() { Whose::Party(column) } else { Whose::Ram };
            let style = Style { colour: colours(whose, self.picture).1, size: 12.0, face: Face::Bold };
            self.canvas.words((middle(column), base), Align::Middle, style, &fit(head, style, COLUMN - 6.0));
        }
        for (at, party) in self.picture.parties.iter().enumerate() {
            self.y += ROW;
            let style =
                Style { colour: colours(Whose::Party(at), self.picture).1, size: 12.0, face: Face::Bold };
            let base = self.y + 17.0;
            self.canvas.words((self.x, base), Align::Left, style, &fit(&party.name, style, FIRST - 6.0));
            for (column, cell) in words::row(self.picture, at).into_iter().enumerate() {
                let (paint, style) = self.cell(at, cell);
                let x = self.x + FIRST + column as f64 * COLUMN + 2.0;
                let area = Area { x, y: self.y + 1.0, width: COLUMN - 4.0, height: ROW - 3.0 };
                self.canvas.area(area, paint);
                self.canvas.words((middle(column), base), Align::Middle, style, cell.text());
            }
        }
        self.y += ROW;
    }

    /// How a cell looks: what guests should not reach is red if they do. That the kernel reaches everything is its work.
    fn cell(&self, row: usize, cell: Cell) -> (Paint, Style) {
        let plain = Paint { fill: "#f6f8fa", stroke: PALE };
        let style = Style { size: 12.0, ..TEXT };
        match cell {
            Cell::Open | Cell::Part if row != self.picture.kernel() => (
                Paint { fill: "#ffebe9", stroke: "#cf222e" },
                Style { colour: "#a40e26", face: Face::Bold, ..style },
            ),
            Cell::Nothing | Cell::OnlyOwn => {
                (Paint { fill: "#dafbe1", stroke: "#4ac26b" }, Style { colour: "#116329", ..style })
            }
            _ => (plain, style),
        }
    }
}
