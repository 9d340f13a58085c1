//! The report as text.

use crate::paint::Paint;
use crate::report::Report;
use crate::tables::{self, Table};

/// The tables and the verdict, for a screen of `width` columns.
pub(crate) fn render(report: &Report, paint: Paint, width: usize) -> String {
    let mut text = "\n".to_owned();
    for of in tables::all(report) {
        let fits = of.losses.is_empty() || widths(&of).iter().sum::<usize>() <= width;
        let of = if fits { of } else { of.shortened() };
        text.push_str(&table(&of, paint));
        text.push('\n');
    }
    let verdict = report.verdict();
    text.push_str(&if report.is_success() {
        paint.good(&verdict)
    } else {
        paint.bad(&verdict)
    });
    text + "\n"
}

fn table(table: &Table, paint: Paint) -> String {
    let widths = widths(table);
    let padded = |column: usize, text: &str| match table.is_numeric(column) {
        true => format!("{text:>0$}", widths[column]),
        false => format!("  {text:<0$}", widths[column] - 2),
    };
    let cell = |(column, text): (usize, &String)| match padded(column, text) {
        padded if table.is_bad(column, text) => paint.bad(&padded),
        padded => padded,
    };
    let head = table
        .head
        .iter()
        .enumerate()
        .map(|(column, name)| padded(column, name));
    let rows = table
        .rows
        .iter()
        .map(|row| row.iter().enumerate().map(cell).collect::<String>());
    let lines = [head.collect()].into_iter().chain(rows);
    let lines = lines.map(|line| line.trim_end().to_owned() + "\n");
    format!("{}\n{}", table.title, lines.collect::<String>())
}

/// How wide each column is, with two spaces before it.
fn widths(table: &Table) -> Vec<usize> {
    let width = |(column, name): (usize, &&'static str)| {
        let cells = table.rows.iter().map(|row| row[column].as_str());
        let widths = cells.chain([*name]).map(|cell| cell.chars().count());
        widths.max().unwrap_or_default() + 2
    };
    table.head.iter().enumerate().map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "1"], ["longer", "1,234"]].map(|row| row.map(str::to_owned).to_vec());
        let of = Table::new("T", vec!["kind", "n"], rows.to_vec());
        let text = "T\n  kind        n\n  a           1\n  longer  1,234\n";
        assert_eq!(table(&of, Paint::none()), text);
    }

    #[test]
    fn a_narrow_screen_is_spared_the_losses_that_did_not_happen() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let rows = vec![
            row(["a", "9", "8", "0", "1"]),
            row(["b", "2", "2", "0", "0"]),
        ];
        let head = vec!["kind", "requests", "answered", "reset", "cut"];
        let full = Table {
            losses: 3..5,
            ..Table::new("T", head, rows)
        };
        let text = "T; all other losses: 0\n  \
                    kind  requests  answered  cut\n  \
                    a            9         8    1\n  \
                    b            2         2    0\n";
        assert_eq!(table(&full.shortened(), Paint::none()), text);
        assert!(full.shortened().is_bad(3, "1") && !full.shortened().is_bad(2, "8"));
    }
}
