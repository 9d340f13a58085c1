//! The `Connection` header on the wire: `close` joins the options that the handler has set, on the responses that end
//! their connection and on no other (RFC 9110 §7.6.1, §9.3.6).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{CONNECTION, UPGRADE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use graceful_server::{ConnState, Drain, Phase};
use hyper_util::rt::TokioIo;
use support::{BOUND, Server, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Lines of `Connection` that a handler sets, and the options of a response that also ends its connection.
const CASES: [(&[&str], &[&str]); 12] = [
    (&[], &["close"]),
    (&["Upgrade"], &["upgrade", "close"]),
    (&["X-Hop"], &["x-hop", "close"]),
    (&["X-One", "X-Two"], &["x-one", "x-two", "close"]),
    (
        &["X-One,x-two", "x-three"],
        &["x-one", "x-two", "x-three", "close"],
    ),
    // `keep-alive` contradicts `close`.
    (&["keep-alive, X-Hop"], &["x-hop", "close"]),
    (&["Keep-Alive", "X-Hop"], &["x-hop", "close"]),
    (&["KEEP-ALIVE"], &["close"]),
    // The handler has set it already.
    (&["CLOSE"], &["close"]),
    (&["X-Hop", "Close"], &["x-hop", "close"]),
    (&["close , keep-alive"], &["close"]),
    // An option whose name contains `close` is another one.
    (&["x-close, closed"], &["x-close", "closed", "close"]),
];

fn response(case: usize) -> Response {
    let mut headers = HeaderMap::new();
    for line in CASES[case].0 {
        headers.append(CONNECTION, HeaderValue::from_static(line));
    }
    if CASES[case].0.contains(&"Upgrade") {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        return (StatusCode::UPGRADE_REQUIRED, headers, "upgrade").into_response();
    }
    let keep_alive = HeaderName::from_static("keep-alive");
    headers.insert(keep_alive, HeaderValue::from_static("timeout=5"));
    (headers, "hello").into_response()
}

/// `/{case}` at once, `/cutoff/{case}` when the cutoff begins.
fn cases() -> Router {
    let at_cutoff = async |Path(case): Path<usize>, drain: Drain| {
        drain.cancelled().await;
        response(case)
    };
    Router::new()
        .route(
            "/{case}",
            get(async |Path(case): Path<usize>| response(case)),
        )
        .route("/cutoff/{case}", get(at_cutoff))
}

fn get_1_1(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

fn get_1_0(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n")
}

/// The values of all lines of `name`, in lower case and without blanks.
fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value.split(','))
        .map(|value| value.trim().to_ascii_lowercase())
        .collect()
}

/// Checks that `response` has the options of `case`. The caller has read it to the end of the connection.
fn assert_last(response: &str, case: usize) {
    let (lines, expected) = CASES[case];
    let options = values(response, "connection");
    assert_eq!(options, expected, "{lines:?}: {response}");
    // The parameters of the option `keep-alive` are in the `Keep-Alive` header.
    let told = lines
        .iter()
        .any(|line| line.to_ascii_lowercase().contains("keep-alive"));
    let kept = values(response, "keep-alive").len();
    assert_eq!(
        kept,
        usize::from(!told && lines != ["Upgrade"]),
        "{lines:?}: {response}"
    );
    assert!(
        response.ends_with("hello") || response.ends_with("upgrade"),
        "{response}"
    );
}

#[tokio::test]
async fn while_draining_close_joins_the_options_that_are_set() {
    for request in [get_1_1, get_1_0] {
        let server = Server::start(cases(), |serve| {
            serve.grace(quick().with_idle_grace(Duration::from_secs(10)))
        });
        let mut clients = Vec::new();
        for case in 0..CASES.len() {
            clients.push((case, TcpStream::connect(server.addr).await.unwrap()));
        }
        until("accepted", || {
            server.tracker.counts().total() == CASES.len()
        })
        .await;
        server.stop.fire();
        server.tracker.reached(Phase::Draining).await;
        for (case, client) in &mut clients {
            let request = request(&format!("/{case}"));
            client.write_all(request.as_bytes()).await.unwrap();
            assert_last(&read_all(client).await.unwrap(), *case);
        }
        assert!(server.stopped().await.is_clean());
    }
}

#[tokio::test]
async fn at_the_cutoff_close_joins_the_options_that_are_set() {
    for request in [get_1_1, get_1_0] {
        let grace = quick().with_drain(Duration::from_secs(1));
        let server = Server::start(cases(), |serve| serve.grace(grace));
        let mut clients = Vec::new();
        for case in 0..CASES.len() {
            let request = request(&format!("/cutoff/{case}"));
            clients.push((case, server.connect(&request).await));
        }
        until("in flight", || server.tracker.in_flight() == CASES.len()).await;
        server.stop.fire();
        for (case, client) in &mut clients {
            assert_last(&read_all(client).await.unwrap(), *case);
        }
        assert!(server.stopped().await.is_clean());
    }
}

/// The response of a request on `client`, by its content-length.
async fn one_response(client: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let whole = |read: &[u8]| {
        let text = String::from_utf8_lossy(read);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length: usize = values(head, "content-length").first()?.parse().ok()?;
        (body.len() >= length).then(|| text.to_string())
    };
    loop {
        if let Some(response) = whole(&read) {
            return response;
        }
        let n = timeout(BOUND, client.read_buf(&mut read))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "the end, after {:?}", String::from_utf8_lossy(&read));
    }
}

#[tokio::test]
async fn in_lame_duck_options_are_kept_and_close_joins_them_on_the_last_response() {
    let grace = quick().with_lame_duck(Duration::from_secs(2));
    let server = Server::start(cases(), |serve| serve.grace(grace));
    server.stop.fire();
    server.tracker.reached(Phase::LameDuck).await;
    let to_the_last = async |case: usize| {
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        let own = CASES[case].0.join(",").to_ascii_lowercase();
        let closes = own.split(',').any(|option| option.trim() == "close");
        loop {
            let request = get_1_1(&format!("/{case}"));
            client.write_all(request.as_bytes()).await.unwrap();
            let response = one_response(&mut client).await;
            let options = values(&response, "connection");
            if options.contains(&"close".to_owned()) {
                if !closes {
                    assert_last(&response, case);
                }
                assert_eq!(read_all(&mut client).await.unwrap(), "");
                break;
            }
            let expected: Vec<_> = own
                .split(',')
                .map(str::trim)
                .filter(|o| !o.is_empty())
                .collect();
            assert_eq!(options, expected, "{response}");
        }
    };
    futures_util::future::join_all((0..CASES.len()).map(to_the_last)).await;
    assert!(server.stopped().await.is_clean());
}

/// Opens a tunnel for CONNECT, which echoes five bytes and ends.
fn tunnels() -> Router {
    Router::new().fallback(async |request: Request| {
        if request.method() != Method::CONNECT {
            return StatusCode::NOT_FOUND.into_response();
        }
        if request
            .uri()
            .authority()
            .is_some_and(|to| to.host() == "forbidden")
        {
            return StatusCode::FORBIDDEN.into_response();
        }
        tokio::spawn(async {
            let mut tunnel = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut sent = [0; 5];
            tunnel.read_exact(&mut sent).await.unwrap();
            tunnel.write_all(&sent).await.unwrap();
        });
        StatusCode::OK.into_response()
    })
}

#[tokio::test]
async fn a_connection_that_becomes_a_tunnel_gets_no_close() {
    let server = Server::start(tunnels(), |serve| serve);
    let mut tunnel = TcpStream::connect(server.addr).await.unwrap();
    let mut refused = TcpStream::connect(server.addr).await.unwrap();
    until("accepted", || server.tracker.counts().total() == 2).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;

    let connect = |to: &str| format!("CONNECT {to}:443 HTTP/1.1\r\nhost: {to}:443\r\n\r\n");
    tunnel.write_all(connect("there").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(tunnel.read_buf(&mut head).await.unwrap() > 0);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(values(&head, "connection"), [""; 0], "{head}");
    until("a tunnel", || {
        server.tracker.counts().of(ConnState::Hijacked) == 1
    })
    .await;
    tunnel.write_all(b"hello").await.unwrap();
    assert_eq!(read_all(&mut tunnel).await.unwrap(), "hello");

    // A refusal opens no tunnel.
    refused
        .write_all(connect("forbidden").as_bytes())
        .await
        .unwrap();
    let answer = read_all(&mut refused).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(values(&answer, "connection"), ["close"], "{answer}");
    assert!(server.stopped().await.is_clean());
}
