//! How durations are written on command lines.

use std::time::Duration;

/// Reads `500ms`, `5s`, `2m`.
///
/// # Errors
///
/// Says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: fn(f64) -> f64 = match &text[digits.len()..] {
        "ms" => |number| number / 1000.0,
        "s" => |number| number,
        "m" => |number| number * 60.0,
        _ => return Err("write it with its unit: 500ms, 5s, 2m".into()),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("{digits:?} is no number"))?;
    Duration::try_from_secs_f64(unit(number)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_their_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "5h", "1e99s", "five s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
