//! One listener as JSON, as Go programs that restart themselves pass it:
//! `LISTENER={"addr":"0.0.0.0:80","fd":3,"filename":"tcp:0.0.0.0:80->"}`.

use serde_json::Value;

use super::foreign::{Foreign, LONGEST_NAME, Passed, malformed};
use crate::error::ListenError;

pub(super) const VARIABLE: &str = "LISTENER";

/// Whether a variable of so common a name is meant for us: an object, and no other text.
pub(super) fn is_meant(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Reads the object. The name of the listener is its address; `filename` is what Go called its
/// duplicate of the descriptor, and says nothing here.
pub(super) fn parse(text: &str) -> Result<Foreign, ListenError> {
    let bad = |why: &str| malformed(VARIABLE, text, why);
    let value: Value =
        serde_json::from_str(text).map_err(|error| bad(&format!("it is not JSON: {error}")))?;
    let name = match value.get("addr").map(Value::as_str) {
        None | Some(Some("")) => "unknown",
        Some(Some(addr)) if addr.len() <= LONGEST_NAME => addr,
        _ => return Err(bad("`addr` is no string of at most 255 bytes")),
    };
    let fd = value.get("fd").and_then(Value::as_i64);
    let fd = fd
        .and_then(|fd| i32::try_from(fd).ok())
        .filter(|fd| *fd >= 3);
    let fd = fd.ok_or_else(|| bad("`fd` is missing or is no descriptor number from 3 up"))?;
    let name = name.to_owned();
    Ok(Foreign::Passed(vec![Passed { fd, name }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> (String, i32) {
        assert!(is_meant(text));
        match parse(text).unwrap() {
            Foreign::Passed(mut passed) => passed.pop().map(|p| (p.name, p.fd)).unwrap(),
            Foreign::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn the_address_is_the_name() {
        let text = r#" {"addr":":8080","fd":3,"filename":"tcp:[::]:8080-\u003e"}"#;
        assert_eq!(passed(text), (":8080".into(), 3));
        assert_eq!(passed(r#"{"fd":7,"later":[{}]}"#), ("unknown".into(), 7));
        assert_eq!(passed(r#"{"fd":7,"addr":""}"#), ("unknown".into(), 7));
    }

    #[test]
    fn everything_else_is_malformed() {
        let long = format!(r#"{{"fd":3,"addr":"{}"}}"#, "x".repeat(LONGEST_NAME + 1));
        let deep = "{\"fd\":".repeat(10_000);
        for text in [
            "{",
            "{}",
            r#"{"fd":"3"}"#,
            r#"{"fd":2}"#,
            r#"{"fd":-1}"#,
            r#"{"fd":3.0}"#,
            r#"{"fd":4294967299}"#,
            r#"{"fd":3,"addr":1}"#,
            r#"{"fd":3}{"fd":4}"#,
            &long,
            &deep,
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.is_malformed_env() && error.to_string().contains(VARIABLE));
        }
    }
}
