//! The report as a page: one file, nothing loaded from elsewhere, light or dark as its reader
//! likes it.

mod axes;
mod plot;

use std::fmt::Write;

use crate::report::Report;
use crate::tables::{self, Table};
use crate::text::grouped;

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let (class, headline) = match (report.is_success(), report.total.lost()) {
        (true, _) => ("passed", "0 lost".to_owned()),
        (false, 0) => ("failed", "not passed".to_owned()),
        (false, lost) => ("failed", format!("{} lost", grouped(lost))),
    };
    let tables: String = tables::all(report).iter().map(table).collect();
    // What was seen on the wire comes last, so that it cannot name a place to be filled.
    PAGE.replace("{{style}}", STYLE)
        .replace("{{class}}", class)
        .replace("{{headline}}", &headline)
        .replace("{{seconds}}", &format!("{:.0}", report.took.as_secs_f64()))
        .replace("{{rate}}", &grouped(report.rate.into()))
        .replace("{{plot}}", &axes::figure(report))
        .replace("{{verdict}}", &escaped(&report.verdict()))
        .replace("{{tables}}", &tables)
}

fn table(table: &Table) -> String {
    let head = table.head.iter().enumerate().map(|(column, name)| {
        let class = if table.is_numeric(column) {
            "number"
        } else {
            "text"
        };
        format!("<th scope=\"col\" class=\"{class}\">{name}</th>")
    });
    let head: String = head.collect();
    let mut html = format!(
        "<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n",
        table.title
    );
    // Writing to a string does not fail.
    let _ = writeln!(html, "<thead><tr>{head}</tr></thead>\n<tbody>");
    for row in &table.rows {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, text)| cell(table, column, text));
        let _ = writeln!(html, "<tr>{}</tr>", cells.collect::<String>());
    }
    html + "</tbody>\n</table></div>\n</section>\n"
}

fn cell(table: &Table, column: usize, text: &str) -> String {
    let shown = escaped(text);
    match column {
        0 => format!("<th scope=\"row\">{shown}</th>"),
        _ if table.is_bad(column, text) => format!("<td class=\"number bad\">{shown}</td>"),
        _ if text == "0" => format!("<td class=\"number zero\">{shown}</td>"),
        _ if table.is_numeric(column) => format!("<td class=\"number\">{shown}</td>"),
        _ => format!("<td>{shown}</td>"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_cannot_become_markup() {
        let row = ["<b>", "\"&"].map(str::to_owned).to_vec();
        let html = table(&Table::new("T", vec!["a", "b"], vec![row]));
        assert!(
            html.contains("&lt;b&gt;") && html.contains("&quot;&amp;"),
            "{html}"
        );
    }
}
