//! What stands around the drawing: the scales, the names of the restarts, the legend.

use std::fmt::Write;

use super::plot::{Plot, class, round_up};
use crate::change::Change;
use crate::report::Report;
use crate::tables;
use crate::text::{generation, grouped};

/// The plot with its axes and legend.
pub(super) fn figure(report: &Report) -> String {
    let Some(plot) = Plot::of(report) else {
        return String::new();
    };
    let text = [levels(&plot), names(&plot), seconds(&plot)].concat();
    let (svg, legend) = (plot.svg(), legend(&plot));
    format!(
        "<section>\n<h2>Answers per second, by generation</h2>\n<figure>\n\
         <div class=\"plot\">\n{text}{svg}</div>\n{legend}</figure>\n</section>\n"
    )
}

/// Four lines across, with what they stand for.
fn levels(plot: &Plot<'_>) -> String {
    let level = |quarter: u32| {
        let rate = grouped((plot.top * f64::from(quarter) / 4.0).round() as u64);
        let down = 100 - 25 * quarter;
        format!("<span class=\"level\" style=\"top:{down}%\">{rate}</span>\n")
    };
    (1..=4).map(level).collect()
}

/// Each restart's name above its line; near the right edge, to the left of it.
fn names(plot: &Plot<'_>) -> String {
    let name = |change: &Change| {
        let left = plot.at(change.signalled) * 100.0;
        let class = if left < 88.0 { "name" } else { "name last" };
        let name = tables::name(change);
        format!("<span class=\"{class}\" style=\"left:{left:.1}%\">{name}</span>\n")
    };
    plot.report.books.changes.iter().map(name).collect()
}

fn seconds(plot: &Plot<'_>) -> String {
    let step = round_up(plot.seconds() / 8.0).max(1.0);
    let mut marks = String::new();
    let mut second = 0.0;
    while second <= plot.seconds() {
        let left = second / plot.seconds() * 100.0;
        let mark = format!("<span class=\"second\" style=\"left:{left:.1}%\">{second} s</span>\n");
        marks.push_str(&mark);
        second += step;
    }
    marks
}

fn legend(plot: &Plot<'_>) -> String {
    let answered = plot.report.answered_by();
    let mut items = String::new();
    for by in plot.generations() {
        let count = grouped(answered.get(&by).copied().unwrap_or_default());
        let (class, name) = (class(by), generation(by));
        // Writing to a string does not fail.
        let _ = writeln!(items, "<li class=\"{class}\">{name}: {count} answers</li>");
    }
    let lost = grouped(plot.report.total.lost());
    format!(
        "<ul class=\"legend\">\n{items}\
         <li class=\"change\">signal to the end of the old process</li>\n\
         <li class=\"loss\">losses: {lost}</li>\n</ul>\n"
    )
}
