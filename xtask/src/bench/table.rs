//! Figures for people and for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::program::Samples;

/// The name and version of the JSON that `--json` prints.
const SCHEMA: &str = "lodger-bench/1";

/// One case on both sides; nanoseconds an operation.
pub struct Row {
    name: String,
    native: (f64, f64),
    skas: Option<(f64, f64)>,
}

impl Row {
    /// The case of that name; one that the guest did not run has no figures there.
    pub fn new(name: &str, natively: &Samples, in_guest: &Samples) -> Row {
        let native = natively.median_and_best(name).unwrap_or_default();
        Row { name: name.to_owned(), native, skas: in_guest.median_and_best(name) }
    }

    fn ratio(&self) -> Option<f64> {
        self.skas.map(|skas| skas.0 / self.native.0)
    }
}

/// The table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["case", "native", "skas", "skas / native"]);
    let shown = |(median, best): (f64, f64)| format!("{} ({})", time(median), time(best));
    for row in rows {
        let skas = row.skas.map_or_else(|| "-".to_owned(), shown);
        let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}"));
        table.add_row([row.name.clone(), shown(row.native), skas, ratio]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The same for programs.
pub fn json(rows: &[Row], cpu: usize) -> Value {
    let side = |(median, best): (f64, f64)| json!({ "median_ns": median, "best_ns": best });
    let cases: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "case": row.name, "native": side(row.native), "skas": row.skas.map(side), "ratio": row.ratio() }))
        .collect();
    json!({ "schema": SCHEMA, "cpu": cpu, "cases": cases })
}

/// A time with three digits or so.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 1e3 => (ns, "ns"),
        _ if ns < 1e6 => (ns / 1e3, "us"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [4.567, 45.67, 456.7, 4567.0, 45.67e6, 4.5e9].map(time);
        assert_eq!(times, ["4.57 ns", "45.7 ns", "457 ns", "4.57 us", "45.7 ms", "4.50 s"]);
    }

    #[test]
    fn rows_have_ratios() {
        let (mut native, mut skas) = (Samples::default(), Samples::default());
        native.read("a 2\nb 3").unwrap();
        skas.read("a 5").unwrap();
        let rows: Vec<Row> = ["a", "b"].map(|name| Row::new(name, &native, &skas)).into();
        let printed = table(&rows).to_string();
        assert!(printed.contains("2.5 |") && printed.contains("| b "), "{printed}");
        let json = json(&rows, 0);
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!((&json["cases"][0]["ratio"], &json["cases"][1]["skas"]), (&json!(2.5), &Value::Null));
    }
}
