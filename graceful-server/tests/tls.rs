//! TLS through a stop: handshakes are counted and bounded, closes announced, nothing lost (laws 2 and 6).

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::{io, io::Write, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use graceful_server::{
    ConnState, Grace, HandoffListener, Phase, Protocol, Timeouts, TlsConfig, rustls, serve,
};
use http_body_util::{BodyExt, Empty};
use rustls::HandshakeKind;
use support::{BOUND, Server, app, exchange, get_close, quick, until};
use tls::{Records, client, client_of, config, connect, secure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";

fn secured() -> Server {
    Server::start(app(), |serve| serve.tls(config()))
}

/// Waits for clients as long as any machine takes.
fn patient() -> Grace {
    quick().with_first_request_grace(BOUND)
}

impl Server {
    async fn has(&self, state: ConnState) {
        until(state.as_str(), || self.tracker.counts().of(state) == 1).await;
    }
}

/// Everything up to close_notify: without it this is an error.
async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = timeout(BOUND, stream.read_to_end(&mut bytes)).await;
    read.expect("an end in time")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sends `request` and reads the answer to the end of its body.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nhello") {
        assert!(
            stream.read_buf(&mut answer).await.unwrap() > 0,
            "{answer:?}"
        );
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_silent_handshake_is_counted_holds_up_nobody_and_is_cut_in_time() {
    let timeouts = Timeouts::default().with_handshake(Duration::from_secs(4));
    let server = Server::start(app(), |serve| serve.tls(config()).timeouts(timeouts));
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    server.has(ConnState::Handshaking).await;

    let mut other = connect(server.addr).await;
    assert!(ask(&mut other, GET).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.tracker.counts().of(ConnState::Handshaking), 1);

    assert_eq!(read_all(&mut silent).await.unwrap(), "");
    server.has(ConnState::Idle).await;
    assert_eq!(server.tracker.counts().total(), 1);
    drop(other);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_silent_handshake_never_holds_the_exit() {
    let grace = quick().with_first_request_grace(Duration::from_millis(200));
    // A drain without end: whoever waits for it fails the test.
    let grace = grace.with_drain(Duration::MAX);
    let server = Server::start(app(), |serve| serve.tls(config()).grace(grace));
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    server.has(ConnState::Handshaking).await;
    let report = server.stopped().await;
    assert_eq!(read_all(&mut silent).await.unwrap(), "");
    assert_eq!((report.connections, report.requests), (1, 0));
}

#[tokio::test]
async fn a_handshake_is_cut_at_the_cutoff_and_named() {
    let grace = quick()
        .with_drain(Duration::ZERO)
        .with_cutoff(Duration::from_millis(200));
    let server = Server::start(app(), |serve| serve.tls(config()).grace(grace));
    let _silent = TcpStream::connect(server.addr).await.unwrap();
    server.has(ConnState::Handshaking).await;
    let report = server.stopped().await;
    let states: Vec<_> = report.cut.iter().map(|cut| cut.state).collect();
    assert_eq!(states, [ConnState::Handshaking], "{report}");
}

#[tokio::test]
async fn a_handshake_under_way_is_finished_and_its_request_served() {
    for hello_first in [false, true] {
        let server = Server::start(app(), |serve| serve.tls(config()).grace(patient()));
        let mut client = Records::connect(server.addr);
        if hello_first {
            let mut hello = Vec::new();
            client.tls.write_tls(&mut hello).unwrap();
            client.socket.write_all(&hello).unwrap();
        }
        server.has(ConnState::Handshaking).await;
        server.stop.fire();
        server.tracker.reached(Phase::Draining).await;
        let answer = spawn_blocking(move || {
            while client.tls.is_handshaking() {
                client.tls.complete_io(&mut client.socket)?;
            }
            let request = client.record(GET);
            client.socket.write_all(&request)?;
            client.read_to_end()
        });
        let answer = answer.await.unwrap().expect("close_notify");
        assert!(
            answer.contains("connection: close") && answer.ends_with("hello"),
            "{answer}"
        );
        assert!(server.stopped().await.is_clean());
    }
}

/// After a handshake that took its time, the client has as long for its request as one that needed none.
#[tokio::test]
async fn the_time_for_the_first_request_begins_after_the_handshake() {
    let server = Server::start(app(), |serve| {
        serve
            .tls(config())
            .grace(quick().with_first_request_grace(Duration::from_secs(8)))
    });
    let stream = TcpStream::connect(server.addr).await.unwrap();
    server.has(ConnState::Handshaking).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(Duration::from_secs(5)).await;
    let mut client = secure(stream, &client(&[])).await.unwrap();
    server.has(ConnState::New).await;
    sleep(Duration::from_secs(5)).await;
    assert!(ask(&mut client, GET).await.contains("connection: close"));
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn an_idle_connection_is_told_goodbye_before_its_end() {
    let server = secured();
    let mut client = connect(server.addr).await;
    let answer = ask(&mut client, GET).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    server.has(ConnState::Idle).await;
    server.stop.fire();
    assert_eq!(read_all(&mut client).await.expect("close_notify"), "");
    assert!(server.stopped().await.is_clean());
}

/// One thread, and nothing yields from the write to the stop: the runtime cannot have seen these bytes.
#[tokio::test]
async fn a_record_in_the_kernel_of_an_idle_connection_is_served() {
    let grace = quick()
        .with_idle_grace(Duration::ZERO)
        .with_idle_spread(Duration::ZERO);
    let server = Server::start(app(), |serve| serve.tls(config()).grace(grace));
    let mut client = idle(&server).await;
    let record = client.record(GET);
    client.socket.write_all(&record).unwrap();
    server.stop.fire();
    let answer = spawn_blocking(|| client.read_to_end())
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("hello"),
        "{answer}"
    );
    assert_eq!(server.stopped().await.requests, 2);
}

#[tokio::test]
async fn half_a_record_may_finish() {
    for n in [1, 5, 20] {
        let grace = patient()
            .with_idle_grace(Duration::ZERO)
            .with_idle_spread(Duration::ZERO);
        let server = Server::start(app(), |serve| serve.tls(config()).grace(grace));
        let mut client = idle(&server).await;
        let record = client.record(GET);
        client.socket.write_all(&record[..n]).unwrap();
        server.has(ConnState::Active).await;
        server.stop.fire();
        server.tracker.reached(Phase::Draining).await;
        sleep(Duration::from_millis(300)).await;
        client.socket.write_all(&record[n..]).unwrap();
        let answer = spawn_blocking(|| client.read_to_end())
            .await
            .unwrap()
            .unwrap();
        assert!(answer.ends_with("hello"), "{n} bytes: {answer}");
        assert!(server.stopped().await.is_clean());
    }
}

#[tokio::test]
async fn half_a_record_is_not_waited_for_without_bound() {
    let timeouts = Timeouts::default().with_head(Duration::from_secs(3));
    let server = Server::start(app(), |serve| serve.tls(config()).timeouts(timeouts));
    let mut client = idle(&server).await;
    let record = client.record(GET);
    client.socket.write_all(&record[..9]).unwrap();
    server.has(ConnState::Active).await;
    until("cut", || server.tracker.counts().total() == 0).await;
    assert!(server.stopped().await.is_clean());
}

/// A client that has had one answer, and is idle.
async fn idle(server: &Server) -> Records {
    let addr = server.addr;
    let answered = spawn_blocking(move || {
        let mut client = Records::connect(addr);
        let stream = &mut rustls::Stream::new(&mut client.tls, &mut client.socket);
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut bytes = [0; 1024];
            let n = io::Read::read(stream, &mut bytes).unwrap();
            answer.extend_from_slice(&bytes[..n]);
        }
        client
    });
    let client = answered.await.unwrap();
    server.has(ConnState::Idle).await;
    client
}

#[tokio::test]
async fn http2_is_agreed_on_and_told_to_go() {
    let server = secured();
    let (mut client, connection) = tls::http2(server.addr).await;
    let request = |path: &str| {
        let uri = format!("https://localhost{path}");
        http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap()
    };
    client.send_request(request("/")).await.unwrap();
    let slow = client.send_request(request("/slow/700"));
    until("in flight", || server.tracker.in_flight() == 1).await;
    let counted = server.tracker.snapshot();
    assert!(
        counted.iter().all(|connection| connection.http2),
        "{counted:?}"
    );
    server.stop.fire();
    let body = slow
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body, "slow");
    let refused = client.send_request(request("/")).await;
    assert!(refused.is_err(), "after GOAWAY");
    timeout(BOUND, connection)
        .await
        .unwrap()
        .unwrap()
        .expect("an end in order");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn alpn_offers_what_is_allowed_and_what_was_agreed_on_is_spoken() {
    let both = ["h2", "http/1.1"];
    for (protocol, offered, agreed) in [
        (Protocol::Auto, &both[..], Some("h2")),
        (Protocol::Auto, &both[1..], Some("http/1.1")),
        (Protocol::Auto, &[], None),
        (Protocol::Http1, &both[..], Some("http/1.1")),
        (Protocol::Http2, &both[..], Some("h2")),
    ] {
        let server = Server::start(app(), |serve| serve.tls(config()).protocol(protocol));
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let mut stream = secure(stream, &client(offered)).await.unwrap();
        let found = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(
            found,
            agreed.map(|name| name.as_bytes().to_vec()),
            "{protocol:?} {offered:?}"
        );
        match agreed {
            Some("http/1.1") => {
                // Where HTTP/1 was agreed on, the preface of HTTP/2 is nothing.
                let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
                stream.write_all(preface).await.unwrap();
                let answer = read_all(&mut stream).await;
                assert!(!answer.is_ok_and(|text| text.contains('\0')), "frames");
            }
            Some(_) => {}
            None => assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 200")),
        }
        drop(stream);
        server.stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_keep_alive_posts_are_all_answered_through_ten_stops() {
    for round in 0..10 {
        let server = secured();
        let mut clients = JoinSet::new();
        for _ in 0..24 {
            let addr = server.addr;
            clients.spawn(async move { post_loop(connect(addr).await).await });
        }
        until("load", || server.tracker.totals().1 > 500).await;
        until("all connected", || server.tracker.counts().total() == 24).await;
        let report = server.stopped().await;
        assert!(report.is_clean(), "{report}");
        let mut answered = 0;
        while let Some(client) = clients.join_next().await {
            answered += client
                .unwrap()
                .unwrap_or_else(|lost| panic!("round {round}: {lost}"));
        }
        assert_eq!(answered, report.requests, "every request seen was answered");
    }
}

/// POSTs as fast as answers come, until one says close. Returns how many were answered.
async fn post_loop(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<u64> {
    let mut answered = 0;
    loop {
        stream.write_all(POST.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhello") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answered += 1;
        if String::from_utf8_lossy(&answer).contains("connection: close") {
            assert_eq!(read_all(&mut stream).await?, "");
            return Ok(answered);
        }
    }
}

/// Neither the end of the chunks nor close_notify: nobody takes the part for the whole.
#[tokio::test]
async fn an_answer_that_is_cut_ends_without_goodbye() {
    let endless = || async {
        let chunks = futures_util::stream::unfold((), |()| async {
            sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b"more")), ()))
        });
        Body::from_stream(chunks)
    };
    let app = Router::new().route("/", get(endless));
    let grace = Grace::dev().with_drain(Duration::from_millis(300));
    let server = Server::start(app, |serve| serve.tls(config()).grace(grace));
    let mut client = connect(server.addr).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut head = [0; 64];
    client.read_exact(&mut head).await.unwrap();
    server.stop.fire();
    let mut rest = Vec::new();
    let end = timeout(BOUND, client.read_to_end(&mut rest)).await.unwrap();
    let end = end.expect_err("a clean end");
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset, "{end}");
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    assert_eq!(server.stopped().await.cut.len(), 1);
}

/// The answer is read although the client goes on sending what nobody will read.
#[tokio::test]
async fn the_answer_to_a_client_that_still_sends_is_not_reset() {
    let server = secured();
    let mut client = connect(server.addr).await;
    client
        .write_all(b"GET /slow/200 HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    client.write_all(POST.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await.expect("close_notify");
    assert!(
        answer.contains("connection: close") && answer.ends_with("slow"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn each_endpoint_has_tls_or_not_and_plain_text_is_refused_where_it_has() {
    let [plain, aside] = ["127.0.0.1:0"; 2].map(|addr| HandoffListener::bind(addr).unwrap());
    let [at_plain, at_aside] = [&plain, &aside].map(|it| it.local_addr().as_tcp().unwrap());
    let server = Server::start(app(), |it| {
        it.tls(config())
            .and(serve(plain, app()))
            .aside(serve(aside, app()).tls(config()))
    });
    let answer = exchange(at_plain, &get_close("/")).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(
        ask(&mut connect(at_aside).await, GET)
            .await
            .ends_with("hello")
    );
    let refused = exchange(server.addr, &get_close("/")).await;
    assert!(!refused.is_ok_and(|text| text.contains("HTTP/1.1")));
    until("ended", || server.tracker.counts().total() == 0).await;
    assert!(server.stopped().await.is_clean());
}

/// Tickets of one scope resume at every endpoint of that scope and at no other.
#[tokio::test]
async fn sessions_resume_in_their_scope_only() {
    let [same, other] = ["127.0.0.1:0"; 2].map(|addr| HandoffListener::bind(addr).unwrap());
    let [at_same, at_other] = [&same, &other].map(|it| it.local_addr().as_tcp().unwrap());
    let server = Server::start(app(), |it| {
        it.tls(config())
            .and(serve(same, app()).tls(config()))
            .and(serve(other, app()).tls(config().ticket_scope("members only")))
    });
    for version in rustls::ALL_VERSIONS {
        let client = client_of(&[version], &["http/1.1"]);
        let mut kinds = Vec::new();
        for addr in [server.addr, server.addr, at_same, at_other] {
            kinds.push(handshake(addr, &client).await);
        }
        let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
        assert_eq!(kinds, [full, resumed, resumed, full], "{version:?}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_config_of_rustls_without_a_scope_resumes_as_it_says_itself() {
    let mut own = tls::rustls_config();
    own.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let server = Server::start(app(), |it| it.tls(TlsConfig::from(own)));
    let client = client(&["http/1.1"]);
    for _ in 0..2 {
        assert_eq!(handshake(server.addr, &client).await, HandshakeKind::Full);
    }
    server.stopped().await;
}

/// Connects, asks, and says how the handshake went. With the answer the tickets have come.
async fn handshake(
    addr: std::net::SocketAddr,
    client: &Arc<rustls::ClientConfig>,
) -> HandshakeKind {
    let stream = TcpStream::connect(addr).await.unwrap();
    let mut stream = secure(stream, client).await.unwrap();
    ask(&mut stream, GET).await;
    stream.get_ref().1.handshake_kind().unwrap()
}

#[test]
fn what_is_no_certificate_is_said() {
    let (cert, key) = &*tls::PEM;
    let missing = TlsConfig::from_pem_files("/nowhere/cert.pem", "/nowhere/key.pem").unwrap_err();
    assert!(missing.is_unreadable(), "{missing:?}");
    assert_eq!(
        missing.to_string(),
        "cannot read the certificate from /nowhere/cert.pem"
    );
    assert_eq!(io::Error::from(missing).kind(), io::ErrorKind::NotFound);

    let swapped = TlsConfig::from_pem(key.as_bytes(), cert.as_bytes()).unwrap_err();
    assert!(swapped.is_malformed(), "{swapped:?}");
    assert_eq!(
        swapped.to_string(),
        "no certificate in the given text: it must be PEM"
    );
    let no_key = TlsConfig::from_pem(cert.as_bytes(), cert.as_bytes()).unwrap_err();
    assert_eq!(
        no_key.to_string(),
        "no private key in the given text: it must be PEM"
    );

    let stranger = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let mismatch = TlsConfig::from_pem(cert.as_bytes(), stranger.as_bytes()).unwrap_err();
    assert!(mismatch.is_rejected(), "{mismatch:?}");
    assert!(std::error::Error::source(&mismatch).is_some());
}
