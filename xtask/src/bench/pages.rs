//! All that `bench` measured, as text, as Markdown, as JSON and as files.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::means::{self, Group};
use super::peers::recorded;
use super::report::{Party, Report};
use super::table::{self, Markup, factor};
use super::{chart, plots, publish};

/// The name and version of the JSON.
const SCHEMA: &str = "lodger-bench/3";
/// What writes the generated part of a page.
const COMMAND: &str = "cargo xtask bench";

/// What `--peers` adds to the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nobody,
    /// A table of quotients, with those of peers that were recorded.
    Peers,
}

/// Every placement with its tables.
pub fn text(reports: &[Report], beside: Beside, markup: Markup) -> String {
    let parts = reports.iter().map(|report| part(report, beside, markup));
    parts.collect::<Vec<String>>().join("\n\n")
}

/// One placement: its heading, the table of times, what is missing, the means.
fn part(report: &Report, beside: Beside, markup: Markup) -> String {
    let heading = format!("Everything {}", report.placement.phrase());
    let heading = match markup {
        Markup::Plain => format!("{heading}\n{}", "=".repeat(heading.len())),
        Markup::Markdown => format!("### {heading}"),
    };
    let of = |party: Party| -> Vec<usize> {
        (0..report.columns.len()).filter(|at| report.columns[*at].party == party).collect()
    };
    let own = table::table(report, &of(Party::Own), markup);
    let mut parts = vec![heading, own.to_string(), table::legend(report, markup)];
    let peers = of(Party::Peer);
    if !peers.is_empty() {
        let with_native: Vec<usize> = std::iter::once(0).chain(peers).collect();
        parts.push("Other kernels, in the same run:".to_owned());
        parts.push(table::table(report, &with_native, markup).to_string());
    }
    let gaps = table::gaps(report);
    if !gaps.is_empty() {
        parts.push(gaps.trim().to_owned());
    }
    let groups = means::groups(report);
    if !groups.is_empty() {
        parts.push("Geometric means of the multiples of native:".to_owned());
        parts.push(table_of_means(report, &groups));
    }
    if beside == Beside::Peers {
        parts.push("All multiples of native beside each other:".to_owned());
        parts.push(ratios(report));
        parts.push(recorded::NOTE.to_owned());
    }
    parts.join("\n\n")
}

/// A line for each section; a column that lacks rows says of how many its mean is.
fn table_of_means(report: &Report, groups: &[Group]) -> String {
    let names = report.columns.iter().skip(1).map(|column| column.name.to_owned());
    let mut table =
        table::of_figures(["section".to_owned(), "rows".to_owned()].into_iter().chain(names).collect());
    for group in groups {
        let mut cells = vec![group.name.to_owned(), group.rows.to_string()];
        cells.extend(group.means.iter().map(|mean| match mean {
            Some(mean) if mean.rows == group.rows => factor(mean.ratio),
            Some(mean) => format!("{} (of {})", factor(mean.ratio), mean.rows),
            None => "-".to_owned(),
        }));
        table.add_row(cells);
    }
    table.to_string()
}

/// The quotients alone, those that were recorded elsewhere too.
fn ratios(report: &Report) -> String {
    let names = report.columns.iter().skip(1).map(|column| column.name);
    let header = std::iter::once("case").chain(names).chain(recorded::COLUMNS).map(str::to_owned);
    let mut table = table::of_figures(header.collect());
    for line in &report.lines {
        let measured = (1..line.cells.len()).map(|at| table::ratio(line, at));
        let recorded = recorded::of(line.row.name, report.placement)
            .map(|ratio| ratio.map_or_else(|| "-".to_owned(), factor));
        let cells = std::iter::once(line.row.name.to_owned()).chain(measured).chain(recorded);
        if line.figure(0).is_some() && line.row.is_for_peers() {
            table.add_row(cells.collect::<Vec<String>>());
        }
    }
    table.to_string()
}

/// What is on which column.
fn heads(report: &Report) -> String {
    let heads = report.columns.iter().map(|head| format!("* `{}`: {}\n", head.name, head.what));
    heads.collect()
}

/// All of it as Markdown.
pub fn markdown(reports: &[Report], beside: Beside) -> String {
    let Some(first) = reports.first() else { return String::new() };
    // Each row once, though placements differ in them.
    let mut reasons = String::new();
    for line in reports.iter().flat_map(table::reasons_by_line) {
        if !reasons.contains(&line) {
            reasons.push_str(&line);
        }
    }
    format!(
        "The columns:\n\n{}\n{}\n\n### What each row is, and why its figures are as they are\n\n{reasons}",
        heads(first),
        text(reports, beside, Markup::Markdown)
    )
}

/// All of it for programs.
pub fn json(reports: &[Report], beside: Beside) -> Value {
    let Some(first) = reports.first() else { return Value::Null };
    let columns: Vec<Value> = first
        .columns
        .iter()
        .map(|head| json!({ "name": head.name, "what": head.what, "peer": head.party == Party::Peer }))
        .collect();
    let placements: serde_json::Map<String, Value> = reports
        .iter()
        .map(|report| (report.placement.name().to_owned(), placement(report, beside)))
        .collect();
    json!({
        "schema": SCHEMA,
        "date": first.machine.date,
        "machine": table::machine(first),
        "columns": columns,
        "placements": placements,
    })
}

fn placement(report: &Report, beside: Beside) -> Value {
    let mut part = table::json_part(report);
    let names = || report.columns.iter().skip(1).map(|column| column.name.to_owned());
    let means: Vec<Value> = means::groups(report)
        .iter()
        .map(|group| {
            let of_columns: serde_json::Map<String, Value> = names()
                .zip(&group.means)
                .map(|(name, mean)| {
                    (name, json!(mean.map(|mean| json!({ "ratio": mean.ratio, "rows": mean.rows }))))
                })
                .collect();
            json!({ "section": group.name, "rows": group.rows, "columns": of_columns })
        })
        .collect();
    part["means"] = json!(means);
    part["left_out"] = report.left_out.iter().map(|(row, why)| (row.to_string(), json!(why))).collect();
    if beside == Beside::Peers {
        let recorded = report.lines.iter().map(|line| {
            let ratios = recorded::of(line.row.name, report.placement);
            (
                line.row.name.to_owned(),
                recorded::COLUMNS
                    .into_iter()
                    .zip(ratios)
                    .map(|(name, ratio)| (name.to_owned(), json!(ratio)))
                    .collect(),
            )
        });
        part["recorded"] = Value::Object(recorded.collect());
    }
    part
}

/// Writes all of it to `folder`, in files of that name: pictures of the whole and of each placement, JSON, and the
/// generated part of a page.
pub fn write(reports: &[Report], beside: Beside, folder: &Path, name: &str) -> Result<()> {
    let json = serde_json::to_string_pretty(&json(reports, beside)).context("cannot write JSON")?;
    publish::write(&folder.join(format!("{name}.json")), &format!("{json}\n"))?;
    publish::write(&folder.join(format!("{name}.svg")), &plots::draw(reports))?;
    let mut page = format!(
        "![Bars for the geometric means, and curves of what grows with a number]({name}.svg)\n\n{}",
        markdown(reports, beside)
    );
    for report in reports {
        let picture = format!("{name}-{}.svg", report.placement.name());
        publish::write(&folder.join(&picture), &chart::draw(report))?;
        let words = format!("Bars for each case, everything {}", report.placement.phrase());
        page.push_str(&format!("\n![{words}: times as multiples of the native ones]({picture})\n"));
    }
    publish::write_part(&folder.join(format!("{name}.md")), COMMAND, &page)
}

#[cfg(test)]
mod tests {
    use super::super::placement::Placement;
    use super::super::report::tests::{head, report};
    use super::*;

    fn both() -> [Report; 2] {
        let mut all = report();
        all.placement = Placement::All(2);
        all.columns[2] = head("uml", Party::Peer);
        [report(), all]
    }

    #[test]
    fn the_page_has_both_placements_and_each_reason_once() {
        let page = markdown(&both(), Beside::Peers);
        for words in
            ["### Everything on processor 0", "### Everything on any of 2 processors", "all of these"]
        {
            assert_eq!(page.matches(words).count(), if words.starts_with('#') { 1 } else { 2 }, "{words}");
        }
        assert_eq!(page.matches("* `getpid`").count(), 1);
        assert!(page.contains("uml 7.2, recorded") && page.contains("Other kernels, in the same run:"));
        assert!(!markdown(&both(), Beside::Nobody).contains("recorded"));
    }

    #[test]
    fn json_names_its_format_and_has_means_and_records() {
        let json = json(&both(), Beside::Peers);
        assert_eq!(json["schema"], "lodger-bench/3");
        assert_eq!(json["columns"][2]["peer"], false);
        let all = &json["placements"]["all"];
        assert_eq!(all["recorded"]["getpid"]["uml 7.2, recorded"], 447.0);
        assert!(all["means"][0]["columns"]["skas"]["ratio"].is_number(), "{}", all["means"]);
        assert_eq!(json["placements"]["one"]["cpu"], 0);
    }
}
