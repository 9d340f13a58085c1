//! `benches/RESULTS.md`: what was answered, as tables.

use std::{fmt::Write, fs, io};

use super::{
    ask::{Answer, Question, Summary},
    chart, machine,
};

const MARKDOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results.svg");
/// What is between the two is written anew; the rest of the file is kept by hand.
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- end -->";

/// One question as Markdown.
pub(super) fn table(question: &Question, answers: &[Answer]) -> String {
    let mut text = format!(
        "### {}\n\n{}; {}.\n\n|",
        question.title,
        question.how,
        rounds(question)
    );
    let mut rule = String::from("\n|---|");
    for metric in question.metrics {
        let _ = write!(text, " | {}", metric.name);
        rule.push_str("---|");
        if metric.compared {
            text.push_str(" | ratio");
            rule.push_str("---|");
        }
    }
    text.push_str(" |");
    text.push_str(&rule);
    for answer in answers {
        text.push('\n');
        text.push_str(&row(question, answer));
    }
    text.push('\n');
    text
}

fn rounds(question: &Question) -> String {
    match question.rounds {
        1 => "one round".to_owned(),
        n => format!("{n} rounds, median [least..most]"),
    }
}

fn row(question: &Question, answer: &Answer) -> String {
    let mut text = format!("| {} |", answer.contestant.name);
    let columns = question
        .metrics
        .iter()
        .zip(&answer.values)
        .zip(&answer.ratios);
    for ((metric, &value), &ratio) in columns {
        let _ = write!(
            text,
            " {} |",
            summary(value, metric.decimals, question.rounds)
        );
        if metric.compared {
            let _ = write!(text, " {} |", summary(ratio, 3, question.rounds));
        }
    }
    text
}

fn summary(Summary { median, min, max }: Summary, decimals: usize, rounds: usize) -> String {
    match rounds {
        1 => format!("{median:.decimals$}"),
        _ => format!("{median:.decimals$} [{min:.decimals$}..{max:.decimals$}]"),
    }
}

/// Replaces what was measured before, and draws it.
pub(super) fn write(asked: &[(Question, Vec<Answer>)]) -> io::Result<()> {
    let mut measured = format!(
        "{BEGIN}\n{}.\n\n![ratios](results.svg)\n",
        machine::describe()
    );
    for (question, answers) in asked {
        let _ = write!(measured, "\n{}", table(question, answers));
    }
    measured.push_str(END);
    let old = fs::read_to_string(MARKDOWN).unwrap_or_default();
    let kept = old.split_once(BEGIN).and_then(|(before, rest)| {
        let after = rest.split_once(END)?.1;
        Some((before, after))
    });
    let (before, after) = kept.unwrap_or((&old, "\n"));
    fs::write(MARKDOWN, format!("{before}{measured}{after}"))?;
    fs::write(CHART, chart::draw(asked))
}
