//! Numbers and durations as people read them.

use std::time::Duration;

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `0.42 ms`, `12.3 ms`, `950 ms`, `1.05 s`: three digits that matter.
pub(crate) fn time(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        0.0 => "–".to_owned(),
        ..9.995 => format!("{milliseconds:.2} ms"),
        ..99.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", milliseconds / 1e3),
    }
}

/// The name of a generation, or of answers that did not say.
pub(crate) fn generation(number: Option<u32>) -> String {
    number.map_or_else(
        || "no generation".to_owned(),
        |number| format!("generation {number}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0, 7, 999, 1000, 12_345, 1_234_567];
        let texts = ["0", "7", "999", "1,000", "12,345", "1,234,567"];
        assert_eq!(numbers.map(grouped), texts);
    }

    #[test]
    fn times_have_three_digits() {
        let times = [
            0, 420, 9_990, 12_345, 99_960, 950_000, 1_050_000, 12_000_000,
        ];
        let texts = [
            "–", "0.42 ms", "9.99 ms", "12.3 ms", "100 ms", "950 ms", "1.05 s", "12.00 s",
        ];
        assert_eq!(
            times.map(|micros| time(Duration::from_micros(micros))),
            texts
        );
    }
}
