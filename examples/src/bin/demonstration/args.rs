//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Restarts the reference server under a mixed load, stops it, and counts what was lost.
///
/// Exit status: 0 nothing was lost and every restart brought a new generation, 1 otherwise, 2
/// usage, 3 could not start.
#[derive(Clone, Debug, Parser)]
#[command(name = "demonstration")]
pub(crate) struct Args {
    /// Restarts before the final stop
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) restarts: u32,

    /// Time from one restart to the next, at least; `500ms`, `2s`, or a number of seconds
    #[arg(long, value_name = "D", default_value = "2s", value_parser = duration)]
    #[arg(visible_alias = "seconds-between")]
    pub(crate) interval: Duration,

    /// Requests per second, all kinds together
    #[arg(long, value_name = "R", default_value_t = 3000)]
    #[arg(value_parser = clap::value_parser!(u32).range(20..=20_000))]
    pub(crate) rate: u32,

    /// Server to run instead of the reference server, with the same flags, output and paths
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,

    /// Writes the result as a self-contained page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Writes the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// More flags for the server, after `--`
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write it as 500ms or 2s".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_bare_numbers_are_seconds() {
        for (text, milliseconds) in [("500ms", 500), ("2s", 2000), ("1.5", 1500), ("0", 0)] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "s", "-1s", "2m", "nan", "1e300"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
