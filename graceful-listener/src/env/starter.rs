//! Perl's Server::Starter: `SERVER_STARTER_PORT=127.0.0.1:80=3;8080=4;/run/app.sock=5`. What
//! stands before the descriptor is what the operator wrote; UDP is not marked.

use super::foreign::{Foreign, LONGEST_NAME, Passed, descriptor, malformed};
use crate::error::ListenError;

pub(super) const PORT: &str = "SERVER_STARTER_PORT";
pub(super) const GENERATION: &str = "SERVER_STARTER_GENERATION";

/// Reads the list. Nothing in it says for which process it is; a descendant that inherited the
/// text only finds the descriptors closed.
pub(super) fn parse(text: &str) -> Result<Foreign, ListenError> {
    if text.is_empty() {
        return Ok(Foreign::Nothing(format!("{PORT} is empty")));
    }
    let bad = |why: &str| malformed(PORT, text, why);
    let one = |entry: &str| {
        let (name, fd) = entry
            .rsplit_once('=')
            .ok_or_else(|| bad("an entry is not of the form ADDRESS=FD"))?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(bad("an address is empty or longer than 255 bytes"));
        }
        let fd =
            descriptor(fd).ok_or_else(|| bad("an entry has no descriptor number from 3 up"))?;
        let name = name.to_owned();
        Ok(Passed { fd, name })
    };
    text.split(';')
        .map(one)
        .collect::<Result<_, _>>()
        .map(Foreign::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_an_address_and_a_descriptor() {
        let text = "127.0.0.1:80=3;[::1]:80=4;8080=5;/run/a=b.sock=6";
        let Ok(Foreign::Passed(passed)) = parse(text) else {
            panic!("nothing was passed");
        };
        let passed: Vec<_> = passed.iter().map(|p| (p.name.as_str(), p.fd)).collect();
        assert_eq!(
            passed,
            [
                ("127.0.0.1:80", 3),
                ("[::1]:80", 4),
                ("8080", 5),
                ("/run/a=b.sock", 6)
            ]
        );
    }

    #[test]
    fn an_empty_list_is_nothing_and_no_error() {
        assert!(matches!(parse(""), Ok(Foreign::Nothing(_))));
    }

    #[test]
    fn everything_else_is_malformed() {
        let long = format!("/{}=3", "x".repeat(LONGEST_NAME));
        for text in [
            "80",
            "80=",
            "80=x",
            "80=2",
            "80=-1",
            "=3",
            ";",
            "80=3;",
            "80=3;;81=4",
            &long,
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                error.is_malformed_env() && error.to_string().contains(PORT),
                "{error}"
            );
        }
    }
}
