//! A server that speaks HTTP/2 frame by frame: what it sends decides the class.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Http2;
use crate::load::{Call, Closes, Expect, Outcome};

const BOUND: Duration = Duration::from_secs(10);
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const MAX: u32 = 0x7fff_ffff;

/// One connection of the scripted server.
struct Peer(TcpStream);

impl Peer {
    async fn greet(mut stream: TcpStream) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut peer = Self(stream);
        peer.write(SETTINGS, 0, 0, &[]).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// Reads to the next request; its stream's id, or nothing at the end.
    async fn request(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            if head[3] == HEADERS {
                return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
    }

    /// `:status 200` from the static table, and `x-generation: 4` as a literal.
    async fn head(&mut self, stream: u32) {
        let fields = b"\x88\x00\x0cx-generation\x014";
        self.write(HEADERS, END_HEADERS, stream, fields).await;
    }

    async fn answer(&mut self, stream: u32, body: &[u8]) {
        self.head(stream).await;
        self.write(DATA, END_STREAM, stream, body).await;
    }

    async fn go_away(&mut self, last: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
            .await;
    }

    async fn reset_stream(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// Keeps the connection until the client ends it.
    async fn linger(mut self) {
        while self.request().await.is_some() {}
    }
}

async fn server(script: impl AsyncFn(Peer) + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = std::rc::Rc::new(script);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = std::rc::Rc::clone(&script);
            tokio::task::spawn_local(async move { script(Peer::greet(stream).await).await });
        }
    });
    address
}

fn ok() -> Call {
    Call::get("/ok".to_owned(), Expect::body("ok\n"))
}

/// What one request ends in when the server does this with its stream.
async fn outcome(script: impl AsyncFn(Peer, u32) + 'static) -> Outcome {
    let address = server(async move |mut peer| {
        let Some(stream) = peer.request().await else {
            return;
        };
        script(peer, stream).await;
    })
    .await;
    Http2::new(address, BOUND).send(&ok()).await.outcome
}

fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_whole_right_answer_is_answered() {
    local(async {
        let address = server(async |mut peer| {
            while let Some(stream) = peer.request().await {
                peer.answer(stream, b"ok\n").await;
            }
        })
        .await;
        let client = Http2::new(address, BOUND);
        for _ in 0..3 {
            let sample = client.send(&ok()).await;
            assert_eq!(
                (sample.outcome, sample.generation),
                (Outcome::Answered, Some(4))
            );
        }
        assert_eq!(client.closes().await, Closes::default());
    });
}

#[test]
fn nobody_listening_is_refused() {
    local(async {
        let address = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(
            Http2::new(address, BOUND).send(&ok()).await.outcome,
            Outcome::Refused
        );
    });
}

#[test]
fn refused_stream_is_a_refused_stream() {
    local(async {
        let script = async |mut peer: Peer, stream| {
            peer.reset_stream(stream, REFUSED_STREAM).await;
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::RefusedStream);
    });
}

#[test]
fn a_stream_above_the_last_of_goaway_is_a_refused_stream() {
    local(async {
        let script = async |mut peer: Peer, stream: u32| {
            peer.go_away(stream - 1).await;
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::RefusedStream);
    });
}

#[test]
fn another_reset_of_the_stream_is_reset() {
    local(async {
        let script = async |mut peer: Peer, stream| {
            peer.reset_stream(stream, INTERNAL_ERROR).await;
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Reset);
    });
}

#[test]
fn a_reset_of_the_connection_is_reset() {
    local(async {
        let script = async |peer: Peer, _| peer.0.set_zero_linger().unwrap();
        assert_eq!(outcome(script).await, Outcome::Reset);
    });
}

#[test]
fn an_end_before_the_answer_is_closed() {
    local(async {
        let script = async |mut peer: Peer, _| {
            peer.0.shutdown().await.unwrap();
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Closed);
    });
}

#[test]
fn an_end_after_a_promise_to_go_on_is_closed() {
    local(async {
        let script = async |mut peer: Peer, _| {
            peer.go_away(MAX).await;
            peer.0.shutdown().await.unwrap();
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Closed);
    });
}

#[test]
fn a_connection_that_is_accepted_and_never_served_is_a_loss() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Http2::new(listener.local_addr().unwrap(), BOUND);
        tokio::task::spawn_local(async move {
            loop {
                drop(listener.accept().await.unwrap());
            }
        });
        let outcome = client.send(&ok()).await.outcome;
        assert!(
            matches!(outcome, Outcome::Closed | Outcome::Reset),
            "{outcome:?}"
        );
    });
}

#[test]
fn an_end_in_the_body_is_cut() {
    local(async {
        let script = async |mut peer: Peer, stream| {
            peer.head(stream).await;
            peer.write(DATA, 0, stream, b"o").await;
            peer.0.shutdown().await.unwrap();
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Cut);
    });
}

#[test]
fn a_reset_of_the_stream_in_the_body_is_cut() {
    local(async {
        let script = async |mut peer: Peer, stream| {
            peer.head(stream).await;
            peer.write(DATA, 0, stream, b"o").await;
            peer.reset_stream(stream, INTERNAL_ERROR).await;
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Cut);
    });
}

#[test]
fn another_body_is_wrong() {
    local(async {
        let script = async |mut peer: Peer, stream| {
            peer.answer(stream, b"no\n").await;
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Wrong);
    });
}

#[test]
fn what_is_not_http2_is_wrong() {
    local(async {
        let script = async |mut peer: Peer, _| {
            peer.0
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            peer.linger().await;
        };
        assert_eq!(outcome(script).await, Outcome::Wrong);
    });
}

#[test]
fn no_answer_at_all_times_out() {
    local(async {
        let address = server(async |peer: Peer| peer.linger().await).await;
        let client = Http2::new(address, Duration::from_millis(50));
        assert_eq!(client.send(&ok()).await.outcome, Outcome::TimedOut);
    });
}

#[test]
fn after_goaway_the_next_request_takes_a_new_connection() {
    local(async {
        let address = server(async |mut peer: Peer| {
            let Some(stream) = peer.request().await else {
                return;
            };
            peer.go_away(MAX).await;
            peer.answer(stream, b"ok\n").await;
            peer.go_away(stream).await;
            peer.linger().await;
        })
        .await;
        let client = Http2::new(address, BOUND);
        for _ in 0..3 {
            assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
        }
        assert_eq!(
            client.closes().await,
            Closes {
                announced: 2,
                unannounced: 0
            }
        );
    });
}

#[test]
fn an_unannounced_end_between_requests_is_no_loss() {
    local(async {
        let address = server(async |mut peer: Peer| {
            let Some(stream) = peer.request().await else {
                return;
            };
            peer.answer(stream, b"ok\n").await;
        })
        .await;
        let client = Http2::new(address, BOUND);
        for _ in 0..3 {
            assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            client.closes().await,
            Closes {
                announced: 0,
                unannounced: 2
            }
        );
    });
}
