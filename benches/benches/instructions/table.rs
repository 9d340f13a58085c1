//! `benches/instructions.tsv`: what was measured when somebody last said that it is right.

use std::{fmt::Write, fs, io, process::Command};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.tsv");
const TITLE: &str = "# instructions; updated by `cargo bench -p graceful-benches --bench instructions -- --update`\n\
    # of\tper\tinstructions\tover the first of its kind\n";
/// Other builds of the same code differ by less.
const TOLERANCE: f64 = 0.03;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    of: String,
    per: String,
    instructions: f64,
}

impl Row {
    pub(super) fn new(of: &str, per: &str, instructions: f64) -> Self {
        Self {
            of: of.to_owned(),
            per: per.to_owned(),
            instructions: instructions.round(),
        }
    }

    fn is_ours(&self) -> bool {
        // What axum does of its own for a connection moves by a tenth from run to run.
        let layer = ["axum-layer", "axum-around"].contains(&self.of.as_str());
        let by_axum = layer && self.per.ends_with("connection");
        let ours = ["graceful", "Layer", "layer", "around", "Connection"];
        !by_axum && ours.into_iter().any(|ours| self.of.contains(ours))
    }
}

#[derive(Debug, Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    pub(super) fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.0
    }

    /// One row as it is in the file.
    pub(super) fn line(&self, at: usize) -> String {
        let row = &self.0[at];
        let first = self.0.iter().find(|first| first.per == row.per);
        let over = first.map_or(0.0, |first| row.instructions - first.instructions);
        format!("{}\t{}\t{}\t{over:+}", row.of, row.per, row.instructions)
    }

    pub(super) fn write(&self) -> io::Result<()> {
        let rustc = Command::new("rustc").arg("--version").output()?;
        let mut text = format!("{TITLE}# {}", String::from_utf8_lossy(&rustc.stdout));
        for at in 0..self.0.len() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}", self.line(at));
        }
        fs::write(PATH, text)
    }

    pub(super) fn read() -> io::Result<Self> {
        let text = fs::read_to_string(PATH)?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(parse)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| io::Error::other(format!("{PATH} has a line that is no row of it")))
    }

    /// What `measured` has otherwise, beyond the tolerance. Only of ours: what moves a rival's count, such as another place of
    /// the same code in the binary, is no change of this project.
    pub(super) fn differences(&self, measured: &Self) -> Vec<String> {
        let ours = measured.0.iter().filter(|row| row.is_ours());
        ours.filter_map(|row| self.difference(row)).collect()
    }

    fn difference(&self, row: &Row) -> Option<String> {
        let (of, per, now) = (&row.of, &row.per, row.instructions);
        let Some(known) = self
            .0
            .iter()
            .find(|known| known.of == row.of && known.per == row.per)
        else {
            return Some(format!("not in the table: {of} per {per}: {now}"));
        };
        let then = known.instructions;
        // A handful of instructions is no finding, however few there are in all.
        let allowed = (then * TOLERANCE).max(4.0);
        ((now - then).abs() > allowed).then(|| {
            format!(
                "{of} per {per}: {then} in the table, {now} now ({:+})",
                now - then
            )
        })
    }
}

fn parse(line: &str) -> Option<Row> {
    let mut columns = line.split('\t');
    Some(Row::new(
        columns.next()?,
        columns.next()?,
        columns.next()?.parse().ok()?,
    ))
}
