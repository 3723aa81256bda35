//! A report for people, as text and as Markdown, and for programs, as JSON.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::placement::Placement;
use super::report::{Absent, Cell, Line, Report};
use super::rows::Unit;
use super::samples::Figure;

/// How text is marked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    /// For a terminal.
    Plain,
    /// For a page.
    Markdown,
}

/// The table, the failures, what was measured where, and what is not there.
pub fn text(report: &Report, markup: Markup) -> String {
    let all: Vec<usize> = (0..report.columns.len()).collect();
    format!("{}\n\n{}\n{}", table(report, &all, markup), legend(report, markup), gaps(report))
}

/// What is missing, and why, in paragraphs.
pub fn gaps(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    for Absent { name, why, .. } in &report.absent {
        let _ = writeln!(text, "\nThere is no column `{name}`: {why}");
    }
    for (row, why) in &report.left_out {
        let _ = writeln!(text, "\nThere is no row `{row}`: {why}");
    }
    for (rows, column, why) in by_reason(report) {
        let _ = writeln!(text, "\n{} on {column} gave nothing: {why}", rows.join(", "));
    }
    text
}

/// The failures, those of one column with one reason together.
fn by_reason(report: &Report) -> Vec<(Vec<String>, &'static str, &str)> {
    let mut groups: Vec<(Vec<String>, &str, &str)> = Vec::new();
    for (row, column, why) in report.failures() {
        let row = format!("`{row}`");
        match groups.iter_mut().find(|(_, of, reason)| *of == column.name && *reason == why) {
            Some((rows, ..)) => rows.push(row),
            None => groups.push((vec![row], column.name, why)),
        }
    }
    groups
}

/// What each row measures and why its figures are as they are, as a list.
pub fn reasons(report: &Report) -> String {
    reasons_by_line(report).collect()
}

/// The lines of that list.
pub fn reasons_by_line(report: &Report) -> impl Iterator<Item = String> {
    report.lines.iter().map(|line| {
        let row = line.row;
        format!("* `{}`: {}. {}\n", row.name, row.what, row.why)
    })
}

/// A table of the medians of some rows, for a page that has no room for more.
pub fn short(report: &Report, names: &[&str]) -> String {
    let all: Vec<usize> = (0..report.columns.len()).collect();
    let mut table = empty(report, &all, "what", |column| format!("{column} / native"));
    for line in report.lines.iter().filter(|line| names.contains(&line.row.name)) {
        let shown = |figure: Figure| quantity(figure.median, line.row.unit());
        table.add_row(cells(line, line.row.title, &all, Markup::Markdown, shown));
    }
    table.to_string()
}

/// The table of some columns with medians and best samples, without rows that have nothing to say of guests.
pub fn table(report: &Report, columns: &[usize], markup: Markup) -> Table {
    let mut table = empty(report, columns, "case", |_| "x native".to_owned());
    let says = |line: &&Line| columns.iter().any(|at| *at > 0 && line.cells[*at] != Cell::Senseless);
    for line in report.lines.iter().filter(says) {
        let unit = line.row.unit();
        let shown =
            |figure: Figure| format!("{} ({})", quantity(figure.median, unit), quantity(figure.best, unit));
        table.add_row(cells(line, line.row.name, columns, markup, shown));
    }
    table
}

/// A row: its name, then each column's figure, and after each but the native one its quotient.
fn cells(
    line: &Line,
    name: &str,
    columns: &[usize],
    markup: Markup,
    shown: impl Fn(Figure) -> String,
) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    for &at in columns {
        let figure = line.figure(at).map_or_else(|| word(&line.cells[at]), &shown);
        cells.push(marked(figure, line.is_better(at), markup));
        if at > 0 {
            cells.push(ratio(line, at));
        }
    }
    cells
}

/// A table with a header: `first`, then each column, and after each but the native one its quotient.
fn empty(report: &Report, columns: &[usize], first: &str, quotient: impl Fn(&str) -> String) -> Table {
    let mut header = vec![first.to_owned()];
    for &at in columns {
        let name = report.columns[at].name;
        header.push(name.to_owned());
        if at > 0 {
            header.push(quotient(name));
        }
    }
    of_figures(header)
}

/// A table of figures with these words above them.
pub fn of_figures(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The quotient, or that there is none.
pub fn ratio(line: &Line, column: usize) -> String {
    line.ratio(column).map_or_else(|| "-".to_owned(), factor)
}

/// What a cell without a figure says.
fn word(cell: &Cell) -> String {
    match cell {
        Cell::Measured(_) | Cell::Senseless => "-",
        Cell::Tried(verdict, _) => verdict.word(),
        Cell::Failed(_) => "not run",
    }
    .to_owned()
}

fn marked(shown: String, better: bool, markup: Markup) -> String {
    match (better, markup) {
        (false, _) => shown,
        (true, Markup::Plain) => format!("* {shown}"),
        (true, Markup::Markdown) => format!("**{shown}**"),
    }
}

/// How to read the table, and where it was measured.
pub fn legend(report: &Report, markup: Markup) -> String {
    let mark = match markup {
        Markup::Plain => "with a star",
        Markup::Markdown => "in bold",
    };
    let better = match report.columns.len() {
        0..=2 => String::new(),
        3 => format!(" The better guest is {mark}, if it is better by 5 % and in its best sample too."),
        _ => format!(" The best guest is {mark}, if it is better by 5 % and in its best sample too."),
    };
    format!(
        "Medians (best in brackets) of {}, by turns, {}; less is better.{better}\n{}: {}.",
        if report.runs == 1 { "1 run".to_owned() } else { format!("{} runs", report.runs) },
        report.placement.phrase(),
        report.machine.date,
        report.machine.line()
    )
}

/// All of it for programs; times in nanoseconds, memory in bytes. `schema` is the format's name and version.
pub fn json(report: &Report, schema: &str) -> Value {
    let mut json = json!({ "schema": schema, "date": report.machine.date, "machine": machine(report) });
    if let (Some(whole), Value::Object(part)) = (json.as_object_mut(), json_part(report)) {
        whole.extend(part);
    }
    json
}

/// The machine of a report.
pub fn machine(report: &Report) -> Value {
    let machine = &report.machine;
    json!({
        "system": machine.system,
        "processor": machine.processor,
        "processors": machine.processors,
        "memory": machine.memory,
        "load": machine.load,
    })
}

/// What is of one placement alone.
pub fn json_part(report: &Report) -> Value {
    let rows: Vec<Value> = report
        .lines
        .iter()
        .map(|line| {
            let cells =
                report.columns.iter().enumerate().map(|(at, column)| (column.name.to_owned(), cell(line, at)));
            let unit = match line.row.unit() {
                Unit::Time => "ns",
                Unit::Memory => "bytes",
                Unit::Exposure => "verdict",
            };
            let cells: serde_json::Map<String, Value> = cells.collect();
            json!({ "case": line.row.name, "what": line.row.what, "why": line.row.why, "unit": unit, "columns": cells })
        })
        .collect();
    let absent: serde_json::Map<String, Value> =
        report.absent.iter().map(|absent| (absent.name.to_owned(), json!(absent.why))).collect();
    let cpu = match report.placement {
        Placement::One(cpu) => Some(cpu),
        Placement::All(_) => None,
    };
    json!({ "cpu": cpu, "runs": report.runs, "absent": absent, "rows": rows })
}

fn cell(line: &Line, column: usize) -> Value {
    match (&line.cells[column], line.figure(column)) {
        (Cell::Measured(samples), Some(figure)) => json!({
            "median": figure.median,
            "best": figure.best,
            "samples": samples.all(),
            "ratio": line.ratio(column),
            "better": line.is_better(column),
        }),
        (Cell::Tried(verdict, why), _) => {
            json!({ "verdict": verdict.word(), "why": why, "better": line.is_better(column) })
        }
        (Cell::Failed(why), _) => json!({ "failed": why }),
        _ => Value::Null,
    }
}

/// A time or an amount of memory, with three digits or so.
pub fn quantity(value: f64, unit: Unit) -> String {
    let steps: [(f64, &str); 4] = match unit {
        Unit::Memory => [(1024.0, "B"), (1024.0, "KiB"), (1024.0, "MiB"), (1024.0, "GiB")],
        _ => [(1e3, "ns"), (1e3, "us"), (1e3, "ms"), (1e3, "s")],
    };
    let mut value = value;
    let mut shown = steps[0].1;
    for pair in steps.windows(2) {
        if value.abs() < pair[0].0 {
            break;
        }
        value /= pair[0].0;
        shown = pair[1].1;
    }
    format!("{} {shown}", digits(value))
}

/// A quotient, with two digits or more.
pub fn factor(ratio: f64) -> String {
    match ratio {
        _ if ratio < 0.995 => format!("{ratio:.2}"),
        _ if ratio < 99.95 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}

fn digits(value: f64) -> String {
    let digits = if value.abs() < 10.0 { 2 } else { usize::from(value.abs() < 100.0) };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{measured, report};
    use super::*;

    #[test]
    fn quantities_are_short() {
        let times = [4.567, 45.67, 456.7, 4567.0, 45.67e6, 4.5e9].map(|ns| quantity(ns, Unit::Time));
        assert_eq!(times, ["4.57 ns", "45.7 ns", "457 ns", "4.57 us", "45.7 ms", "4.50 s"]);
        let memory = [100.0, 2048.0, 5.5e6].map(|bytes| quantity(bytes, Unit::Memory));
        assert_eq!(memory, ["100 B", "2.00 KiB", "5.25 MiB"]);
        assert_eq!([0.25, 0.999, 3.72, 123.4].map(factor), ["0.25", "1.0", "3.7", "123"]);
    }

    #[test]
    fn the_table_has_figures_ratios_and_marks() {
        let mut report = report();
        let getpid = report.lines.iter_mut().find(|line| line.row.name == "getpid").unwrap();
        getpid.cells = vec![measured(2.0), measured(5.0), measured(4.0)];
        let plain = text(&report, Markup::Plain);
        let line = plain.lines().find(|line| line.contains("getpid")).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let expected =
            ["", "getpid", "2.00 ns (2.00 ns)", "5.00 ns (5.00 ns)", "2.5", "* 4.00 ns (4.00 ns)", "2.0", ""];
        assert_eq!(cells, expected);
        assert!(plain.contains("`1000-true` on tt gave nothing: it <broke> & so on"), "{plain}");
        let page = text(&report, Markup::Markdown);
        assert!(page.contains("**4.00 ns (4.00 ns)**") && page.contains("**refused**"), "{page}");
        let widths: Vec<usize> = page
            .lines()
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert!(widths.len() > 2 && widths.iter().all(|width| *width == widths[0]), "{page}");
    }

    #[test]
    fn every_row_has_its_reason() {
        let report = report();
        let reasons = reasons(&report);
        assert!(report.lines.iter().all(|line| reasons.contains(line.row.why)));
    }

    #[test]
    fn a_short_table_has_the_rows_that_are_asked_for() {
        let short = short(&report(), &["getpid", "demo-peek"]);
        assert_eq!(short.lines().count(), 4, "{short}");
    }

    #[test]
    fn json_has_everything() {
        let json = json(&report(), "x/1");
        assert_eq!(json["schema"], "x/1");
        let of = |name: &str| {
            json["rows"].as_array().unwrap().iter().find(|row| row["case"] == name).unwrap().clone()
        };
        assert_eq!(of("getpid")["columns"]["skas"]["ratio"], 5.0);
        assert_eq!(of("idle-memory")["columns"]["native"], Value::Null);
        assert_eq!(of("demo-peek")["columns"]["tt"]["verdict"], "exposed");
        assert_eq!(of("1000-true")["columns"]["tt"]["failed"], "it <broke> & so on");
    }
}
