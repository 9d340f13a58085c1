//! Connection options: the members of the list in a message's `Connection` header (RFC 9110 §7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, Entry},
};

/// RFC 2068 §19.7.1.1.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Adds `close` to the connection options of a response if it is not among them. The other options stay, except `keep-alive`, which
/// contradicts `close`: a recipient of both must close (RFC 9112 §9.3), but an old HTTP/1.0 client may search for `keep-alive` only.
/// The `Keep-Alive` header holds the parameters of that option and is removed with it.
pub(crate) fn add_close(headers: &mut HeaderMap) {
    let close = HeaderValue::from_static("close");
    let lines = match headers.entry(CONNECTION) {
        Entry::Occupied(lines) => lines,
        Entry::Vacant(none) => {
            none.insert(close);
            return;
        }
    };
    let kept: Vec<_> = lines.iter().filter_map(without_keep_alive).collect();
    let keeps_alive = lines.iter().any(|line| has(line, "keep-alive"));
    let closes = kept.iter().any(|line| has(line, "close"));
    if keeps_alive {
        lines.remove_entry_mult();
        headers.remove(KEEP_ALIVE);
        for line in kept {
            headers.append(CONNECTION, line);
        }
    }
    // A second line has the same meaning as one more option in the first line (RFC 9110 §5.3).
    if !closes {
        headers.append(CONNECTION, close);
    }
}

/// `line` without the option `keep-alive`. `None` if it has no other option.
fn without_keep_alive(line: &HeaderValue) -> Option<HeaderValue> {
    if !has(line, "keep-alive") {
        return Some(line.clone());
    }
    let kept: Vec<_> = options(line)
        .filter(|option| !option.eq_ignore_ascii_case("keep-alive"))
        .collect();
    HeaderValue::from_str(&kept.join(", "))
        .ok()
        .filter(|_| !kept.is_empty())
}

/// Whether a line has `option`. A line that is not visible ASCII has no options: hyper reads it the same way when it decides whether to
/// close the connection.
pub(crate) fn has(line: &HeaderValue, option: &str) -> bool {
    options(line).any(|one| one.eq_ignore_ascii_case(option))
}

/// The members of the list in one line of a header, without empty members.
pub(crate) fn options(line: &HeaderValue) -> impl Iterator<Item = &str> {
    let line = line.to_str().unwrap_or_default();
    line.split(',')
        .map(str::trim)
        .filter(|option| !option.is_empty())
}
