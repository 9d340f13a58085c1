//! Asks a question of all contestants, round by round.

use std::io;

use super::contestant::Contestant;

/// What is measured of a server in one round: one value for each metric.
pub(super) type Measure = Box<dyn Fn(Contestant) -> io::Result<Vec<f64>>>;

pub(super) struct Question {
    pub(super) title: String,
    /// How it is asked, for the reader.
    pub(super) how: String,
    pub(super) metrics: &'static [Metric],
    /// The first is what the others are compared with.
    pub(super) contestants: Vec<Contestant>,
    pub(super) rounds: usize,
    pub(super) measure: Measure,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) decimals: usize,
    /// Whether the ratio to the first contestant says something.
    pub(super) compared: bool,
}

/// All values of one contestant.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) contestant: Contestant,
    /// By metric.
    pub(super) values: Vec<Summary>,
    /// By metric, to the first contestant in the same round.
    pub(super) ratios: Vec<Summary>,
}

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self {
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            min: at(0),
            max: at(last),
        }
    }
}

/// # Errors
/// Those of the first measurement that fails: a table with holes compares nothing.
pub(super) fn ask(question: &Question) -> io::Result<Vec<Answer>> {
    let there = question
        .contestants
        .iter()
        .copied()
        .filter(|one| one.is_there());
    let contestants: Vec<_> = there.collect();
    // By round, by contestant, by metric.
    let mut rounds = Vec::new();
    for round in 0..question.rounds {
        rounds.push(one_round(question, &contestants, round)?);
    }
    let metrics = 0..question.metrics.len();
    let answer = |(at, &contestant): (usize, &Contestant)| Answer {
        contestant,
        values: metrics
            .clone()
            .map(|m| summary(&rounds, |round| round[at][m]))
            .collect(),
        ratios: metrics
            .clone()
            .map(|m| summary(&rounds, |round| round[at][m] / round[0][m]))
            .collect(),
    };
    Ok(contestants.iter().enumerate().map(answer).collect())
}

/// Begins with another one each time: whoever comes first after a pause has a cooler machine.
fn one_round(
    question: &Question,
    contestants: &[Contestant],
    round: usize,
) -> io::Result<Vec<Vec<f64>>> {
    let n = contestants.len();
    let mut values = vec![Vec::new(); n];
    for turn in 0..n {
        let at = (turn + round) % n;
        let named = |error: io::Error| {
            let name = contestants[at].name;
            io::Error::other(format!("{}, {name}: {error}", question.title))
        };
        values[at] = (question.measure)(contestants[at]).map_err(named)?;
    }
    Ok(values)
}

fn summary(rounds: &[Vec<Vec<f64>>], value: impl Fn(&Vec<Vec<f64>>) -> f64) -> Summary {
    Summary::of(rounds.iter().map(value).collect())
}
