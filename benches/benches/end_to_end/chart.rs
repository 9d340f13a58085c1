//! `benches/results.svg`: how much more each server takes than the first of its question.

use std::fmt::Write;

use super::ask::{Answer, Question, Summary};

const WIDTH: usize = 860;
const NAMES: usize = 270;
const VALUES: usize = 60;
const BAR: usize = 18;
const TITLE: usize = 34;
/// Longer bars are cut there, and their value says so.
const MOST: f64 = 3.0;

pub(super) fn draw(asked: &[(Question, Vec<Answer>)]) -> String {
    let mut body = String::new();
    let mut y = 10;
    for (question, answers) in asked {
        // The last metric that is compared is what a request, a stop or a connection takes: less is better.
        let Some(metric) = question.metrics.iter().rposition(|metric| metric.compared) else {
            continue;
        };
        y += TITLE;
        let name = question.metrics[metric].name;
        let first = answers.first().map_or("", |answer| answer.contestant.name);
        let _ = writeln!(
            body,
            r#"<text x="10" y="{}" class="title">{}: {name}, in multiples of {first}</text>"#,
            y - 10,
            question.title,
        );
        for answer in answers {
            bar(&mut body, y, answer.contestant.name, answer.ratios[metric]);
            y += BAR;
        }
    }
    format!("{}{body}</svg>\n", head(y + 20))
}

fn head(height: usize) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">
<style>text {{ font: 12px sans-serif; fill: #24292f }} .title {{ font-weight: bold }} .ours {{ fill: #2da44e }} .theirs {{ fill: #8c959f }}
.range {{ stroke: #24292f }} .one {{ stroke: #d0d7de }}</style>
<rect width="{WIDTH}" height="{height}" fill="white"/>
"##
    )
}

/// The median as a bar, the range as a line through it, and where the first one is.
fn bar(body: &mut String, y: usize, name: &str, Summary { median, min, max }: Summary) {
    let room = (WIDTH - NAMES - VALUES) as f64;
    let at = |ratio: f64| NAMES as f64 + ratio.clamp(0.0, MOST) / MOST * room;
    let class = if name.contains("raceful") && !name.contains("Shutdown") {
        "ours"
    } else {
        "theirs"
    };
    let (left, middle) = (NAMES, y + BAR / 2);
    let _ = writeln!(
        body,
        r#"<text x="20" y="{}">{name}</text><rect x="{left}" y="{y}" width="{:.1}" height="{}" class="{class}"/>
<line x1="{:.1}" x2="{:.1}" y1="{middle}" y2="{middle}" class="range"/><line x1="{one:.1}" x2="{one:.1}" y1="{y}" y2="{}" class="one"/>
<text x="{}" y="{}">{median:.2}</text>"#,
        y + 13,
        at(median) - NAMES as f64,
        BAR - 4,
        at(min),
        at(max),
        y + BAR,
        WIDTH - VALUES + 8,
        y + 13,
        one = at(1.0),
    );
}
