//! Requests that would turn their connection or stream into a tunnel for another protocol.

use http::{
    Method, Request, Version,
    header::{CONNECTION, UPGRADE},
};

use crate::options::{has, options};

/// Whether `request` is an upgrade (RFC 9110 §7.8) to a protocol other than HTTP, or extended CONNECT (RFC 8441). Extended CONNECT has a
/// scheme, and plain CONNECT has none (RFC 9113 §8.5).
pub(super) fn is_requested<B>(request: &Request<B>) -> bool {
    if request.version() >= Version::HTTP_2 {
        return request.method() == Method::CONNECT && request.uri().scheme().is_some();
    }
    let lines = |name| request.headers().get_all(name).iter();
    request.version() == Version::HTTP_11
        && lines(CONNECTION).any(|line| has(line, "upgrade"))
        && lines(UPGRADE)
            .flat_map(options)
            .any(|protocol| !is_http(protocol))
}

/// Whether a client that offers `protocol` also accepts a response in HTTP/1.1: h2c, and TLS below HTTP (RFC 2817). Some clients offer
/// these with every request.
fn is_http(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or(protocol);
    ["h2c", "h2", "HTTP", "TLS"]
        .iter()
        .any(|http| name.eq_ignore_ascii_case(http))
}
