//! One scripted server for each class: what the server does on the wire decides, and only that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Http1;
use crate::load::{Call, Closes, Expect, Outcome};

const BOUND: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-generation: 4\r\n\r\nok\n";

/// Accepts one connection after the other and plays the script on each.
async fn server(script: impl AsyncFn(TcpStream) + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            script(listener.accept().await.unwrap().0).await;
        }
    });
    address
}

fn ok() -> Call {
    Call::get("/ok".to_owned(), Expect::body("ok\n"))
}

async fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "the client went away"
        );
    }
}

async fn answer(stream: &mut TcpStream, bytes: &str) {
    read_request(stream).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// What one request to a server with this script ends in.
async fn outcome(script: impl AsyncFn(TcpStream) + 'static) -> Outcome {
    let mut client = Http1::new(server(script).await, BOUND);
    client.send(&ok()).await.outcome
}

/// What one request that gets these bytes and then the end of the stream ends in.
async fn outcome_of(bytes: &'static str) -> Outcome {
    outcome(async move |mut stream| answer(&mut stream, bytes).await).await
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
        let address = server(async |mut stream| answer(&mut stream, OK).await).await;
        let sample = Http1::new(address, BOUND).send(&ok()).await;
        assert_eq!(
            (sample.outcome, sample.generation),
            (Outcome::Answered, Some(4))
        );
    });
}

#[test]
fn a_whole_chunked_answer_is_answered() {
    local(async {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       2\r\nok\r\n1;x=y\r\n\n\r\n0\r\nt: 1\r\n\r\n";
        assert_eq!(outcome_of(chunked).await, Outcome::Answered);
    });
}

#[test]
fn an_answer_until_the_end_of_the_stream_is_answered() {
    local(async {
        assert_eq!(
            outcome_of("HTTP/1.0 200 OK\r\n\r\nok\n").await,
            Outcome::Answered
        );
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
            Http1::new(address, BOUND).send(&ok()).await.outcome,
            Outcome::Refused
        );
    });
}

#[test]
fn a_reset_before_the_answer_is_reset() {
    local(async {
        let script = async |mut stream: TcpStream| {
            read_request(&mut stream).await;
            reset(stream);
        };
        assert_eq!(outcome(script).await, Outcome::Reset);
    });
}

#[test]
fn a_close_with_the_request_unread_is_reset() {
    local(async {
        let script = async |stream: TcpStream| {
            stream.readable().await.unwrap();
            drop(stream);
        };
        assert_eq!(outcome(script).await, Outcome::Reset);
    });
}

#[test]
fn an_end_before_the_answer_is_closed() {
    local(async {
        let script = async |mut stream: TcpStream| read_request(&mut stream).await;
        assert_eq!(outcome(script).await, Outcome::Closed);
    });
}

#[test]
fn a_fresh_connection_that_ends_before_its_request_is_a_loss() {
    local(async {
        let mut client = Http1::new(server(async |stream| drop(stream)).await, BOUND);
        client.connect().await.unwrap();
        client
            .idle_until(Instant::now() + Duration::from_millis(50))
            .await;
        let outcome = client.send(&ok()).await.outcome;
        assert!(
            matches!(outcome, Outcome::Closed | Outcome::Reset),
            "{outcome:?}"
        );
        assert_eq!(client.closes(), Closes::default());
    });
}

#[test]
fn half_a_head_is_cut() {
    local(async { assert_eq!(outcome_of("HTTP/1.1 200 OK\r\ncont").await, Outcome::Cut) });
}

#[test]
fn half_a_body_is_cut() {
    local(async { assert_eq!(outcome_of(&OK[..OK.len() - 1]).await, Outcome::Cut) });
}

#[test]
fn a_chunked_body_without_its_end_is_cut() {
    local(async {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nok\n\r\n";
        assert_eq!(outcome_of(chunked).await, Outcome::Cut);
    });
}

#[test]
fn a_reset_in_the_body_is_cut() {
    local(async {
        let script = async |mut stream: TcpStream| {
            answer(&mut stream, &OK[..OK.len() - 1]).await;
            reset(stream);
        };
        assert_eq!(outcome(script).await, Outcome::Cut);
    });
}

#[test]
fn another_status_is_wrong() {
    local(async {
        let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nok\n";
        assert_eq!(outcome_of(busy).await, Outcome::Wrong);
    });
}

#[test]
fn another_body_is_wrong() {
    local(async {
        let other = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno\n";
        assert_eq!(outcome_of(other).await, Outcome::Wrong);
    });
}

#[test]
fn a_chunked_body_that_ends_in_order_but_early_is_wrong() {
    local(async {
        let early = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n0\r\n\r\n";
        assert_eq!(outcome_of(early).await, Outcome::Wrong);
    });
}

#[test]
fn what_is_not_http_is_wrong() {
    local(async { assert_eq!(outcome_of("SSH-2.0-OpenSSH\r\n").await, Outcome::Wrong) });
}

#[test]
fn bytes_after_the_answer_are_wrong() {
    local(async {
        let twice =
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\nHTTP/1.1 408 Request Timeout\r\n\r\n";
        assert_eq!(outcome_of(twice).await, Outcome::Wrong);
    });
}

#[test]
fn no_answer_at_all_times_out() {
    local(async {
        let script = async |stream: TcpStream| {
            std::future::pending::<()>().await;
            drop(stream);
        };
        let mut client = Http1::new(server(script).await, Duration::from_millis(50));
        assert_eq!(client.send(&ok()).await.outcome, Outcome::TimedOut);
    });
}

#[test]
fn after_an_announced_close_the_next_request_takes_a_new_connection() {
    local(async {
        let last = "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 3\r\n\r\nok\n";
        let address = server(async |mut stream| answer(&mut stream, last).await).await;
        let mut client = Http1::new(address, BOUND);
        for _ in 0..3 {
            assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
        }
        assert_eq!(
            client.closes(),
            Closes {
                announced: 3,
                unannounced: 0
            }
        );
    });
}

#[test]
fn an_unannounced_close_that_is_noticed_in_time_is_no_loss() {
    local(async {
        let address = server(async |mut stream| answer(&mut stream, OK).await).await;
        let mut client = Http1::new(address, BOUND);
        for _ in 0..3 {
            assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
            timeout(BOUND, client.closed()).await.unwrap();
        }
        assert_eq!(
            client.closes(),
            Closes {
                announced: 0,
                unannounced: 3
            }
        );
    });
}

#[test]
fn a_used_connection_that_the_kernel_knows_to_be_reset_is_left_before_sending() {
    local(async {
        let script = async |mut stream: TcpStream| {
            answer(&mut stream, OK).await;
            reset(stream);
        };
        let mut client = Http1::new(server(script).await, BOUND);
        assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
        // Not watched, so that only the failing write can tell.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
        assert_eq!(
            client.closes(),
            Closes {
                announced: 0,
                unannounced: 1
            }
        );
    });
}

#[test]
fn a_request_that_crosses_an_unannounced_close_is_a_loss() {
    local(async {
        let address = server(async |mut stream| {
            answer(&mut stream, OK).await;
            read_request(&mut stream).await;
        })
        .await;
        let mut client = Http1::new(address, BOUND);
        assert_eq!(client.send(&ok()).await.outcome, Outcome::Answered);
        assert_eq!(client.send(&ok()).await.outcome, Outcome::Closed);
    });
}

#[test]
fn an_upload_in_halves_arrives_whole() {
    local(async {
        let script = async |mut stream: TcpStream| {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\nxxxxx") {
                assert_ne!(
                    stream.read_buf(&mut read).await.unwrap(),
                    0,
                    "the client went away"
                );
            }
            let counted = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlen=5\n";
            stream.write_all(counted.as_bytes()).await.unwrap();
        };
        let mut client = Http1::new(server(script).await, BOUND);
        let call = Call::count(5).in_halves(Duration::from_millis(10));
        assert_eq!(client.send(&call).await.outcome, Outcome::Answered);
    });
}

#[test]
fn who_answers_must_be_who_it_says_it_is() {
    local(async {
        let head = "HTTP/1.1 200 OK\r\nx-pid: 7\r\nx-generation: 1\r\ncontent-length: 19\r\n\r\n";
        for (body, outcome) in [
            ("pid=70 generation=1", Outcome::Wrong),
            ("pid=7 generation=1\n", Outcome::Answered),
        ] {
            let address = server(async move |mut stream| {
                answer(&mut stream, &format!("{head}{body}")).await;
            })
            .await;
            let sample = Http1::new(address, BOUND).send(&Call::identity()).await;
            assert_eq!(sample.outcome, outcome, "{}", sample.detail);
        }
    });
}
