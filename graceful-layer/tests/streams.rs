//! Streams, long polls and WebSockets that are told of a stop, in paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{convert::Infallible, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt, future::join_all, stream};
use graceful_layer::{Beacon, Drain, Grace, GracefulLayer, Report};
use http::{Request, Response};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role},
    },
};
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// The drain that a handler gets, which outlives its request.
fn handler_drain() -> Drain {
    let graceful = GracefulLayer::new();
    let mut service = graceful.layer(service_fn(|_: Request<()>| async {
        let mut response = Response::new(String::new());
        response.extensions_mut().insert(Drain::current());
        Ok::<_, Infallible>(response)
    }));
    let response = service.call(Request::new(())).now_or_never();
    let extensions = response
        .expect("at once")
        .unwrap()
        .into_parts()
        .0
        .extensions;
    extensions.get::<Option<Drain>>().unwrap().clone().unwrap()
}

fn stop(drain: &Drain) -> JoinHandle<Report> {
    tokio::spawn(drain.tracker().drain(Grace::default()))
}

/// The connections that a server would count; here there is none.
fn connections(drain: &Drain) -> Beacon {
    drain.tracker().beacon("connections")
}

/// How many of `moments` are in each of the first four seconds since `began`.
fn by_second(began: Instant, moments: impl IntoIterator<Item = Instant>) -> [usize; 4] {
    let mut seconds = [0; 4];
    for moment in moments {
        seconds[moment.duration_since(began).as_secs() as usize] += 1;
    }
    seconds
}

#[derive(Debug, PartialEq)]
enum Event {
    Data(u32),
    Retry(Duration),
}

#[tokio::test(start_paused = true)]
async fn event_streams_end_one_after_the_other_each_with_a_retry_of_its_own() {
    let drain = handler_drain();
    let clients = (0..200).map(|_| {
        let events = stream::iter([Event::Data(7)]).chain(stream::pending());
        let events = drain.end_stream(4 * SECOND, events, |retry| Some(Event::Retry(retry)));
        tokio::spawn(async move { (events.collect::<Vec<_>>().await, Instant::now()) })
    });
    let clients: Vec<_> = clients.collect();
    sleep(SECOND).await;
    let connections = connections(&drain);
    let began = Instant::now();
    let report = stop(&drain);
    let ended: Vec<_> = join_all(clients)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let mut retries: Vec<_> = ended
        .iter()
        .map(|(events, _)| match events.as_slice() {
            [Event::Data(7), Event::Retry(retry)] => *retry,
            other => panic!("{other:?}"),
        })
        .collect();
    retries.sort();
    retries.dedup();
    assert_eq!(retries.len(), 200, "no two alike");
    assert!(retries[0] >= SECOND && retries[199] <= 3 * SECOND);
    assert!(retries[0] < SECOND * 11 / 10 && retries[199] > SECOND * 29 / 10);
    let seconds = by_second(began, ended.iter().map(|(_, at)| *at));
    assert!(seconds.iter().all(|n| (35..=65).contains(n)), "{seconds:?}");
    drop(connections);
    assert!(report.await.unwrap().is_clean());
}

// In real time: a paused clock stands still while something is always ready.
#[tokio::test]
async fn a_stream_that_always_has_an_item_ends_too() {
    let drain = handler_drain();
    let hot = drain.end_stream(Duration::ZERO, stream::repeat(()), |_| None);
    let counted = tokio::spawn(hot.then(|()| tokio::task::yield_now()).count());
    tokio::task::yield_now().await;
    stop(&drain);
    let counted = timeout(20 * SECOND, counted).await;
    assert!(counted.expect("an end").unwrap() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_by_itself_is_only_passed_on() {
    let drain = handler_drain();
    let mut whole = drain.end_stream(SECOND, stream::iter([1, 2]), |_| Some(3));
    assert_eq!(whole.by_ref().collect::<Vec<_>>().await, [1, 2]);
    stop(&drain);
    drain.draining().await;
    assert_eq!(whole.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_gets_its_news_or_is_told() {
    let drain = handler_drain();
    let news = async {
        sleep(SECOND).await;
        "news"
    };
    assert_eq!(drain.or_drained(SECOND, news).await, Some("news"));
    let polls: Vec<_> = (0..200)
        .map(|_| {
            let drain = drain.clone();
            tokio::spawn(async move {
                let parked = std::future::pending::<()>();
                let told = drain.or_drained(4 * SECOND, parked).await.is_none();
                (told, Instant::now())
            })
        })
        .collect();
    sleep(SECOND).await;
    let _connections = connections(&drain);
    let began = Instant::now();
    stop(&drain);
    let told: Vec<_> = join_all(polls)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(told.iter().all(|(told, _)| *told));
    let seconds = by_second(began, told.iter().map(|(_, at)| *at));
    assert!(seconds.iter().all(|n| (35..=65).contains(n)), "{seconds:?}");
    let done = std::future::ready("done");
    assert_eq!(drain.or_drained(Duration::ZERO, done).await, Some("done"));
}

#[tokio::test(start_paused = true)]
async fn told_is_never_later_than_the_last_call() {
    let drain = handler_drain();
    let polled = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain
                .or_drained(3600 * SECOND, std::future::pending::<()>())
                .await;
            Instant::now()
        }
    });
    sleep(SECOND).await;
    let began = Instant::now();
    let _connections = connections(&drain);
    stop(&drain);
    assert!(polled.await.unwrap() - began <= Grace::default().drain - 2 * SECOND);
}

type Socket = WebSocketStream<DuplexStream>;

/// A client, and what runs at the other end: an echo that knows nothing of stops.
async fn echo(drain: &Drain, spread: Duration) -> (Socket, JoinHandle<()>) {
    let (here, there) = duplex(1024);
    let server = WebSocketStream::from_raw_socket(there, Role::Server, None).await;
    let mut server = drain.end_socket(spread, server, |close| {
        Message::Close(Some(CloseFrame {
            code: close.code.into(),
            reason: close.reason.into(),
        }))
    });
    let echo = tokio::spawn(async move {
        while let Some(Ok(message)) = server.next().await {
            if server.send(message).await.is_err() {
                break;
            }
        }
    });
    (
        WebSocketStream::from_raw_socket(here, Role::Client, None).await,
        echo,
    )
}

/// The Close that comes next, after which the connection ends in order.
async fn closed(mut client: Socket) -> (u16, String, Instant) {
    let Some(Ok(Message::Close(Some(frame)))) = client.next().await else {
        panic!("no Close with a code");
    };
    let at = Instant::now();
    while let Some(message) = client.next().await {
        message.unwrap();
    }
    (frame.code.into(), frame.reason.to_string(), at)
}

#[tokio::test(start_paused = true)]
async fn websockets_close_one_after_the_other_with_1001() {
    let drain = handler_drain();
    let (mut clients, mut handlers) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let (mut client, handler) = echo(&drain, 4 * SECOND).await;
        client.send(Message::text("hello")).await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::text("hello")
        );
        clients.push(tokio::spawn(closed(client)));
        handlers.push(handler);
    }
    sleep(SECOND).await;
    let connections = connections(&drain);
    let began = Instant::now();
    let report = stop(&drain);
    let closed: Vec<_> = join_all(clients)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        closed
            .iter()
            .all(|(code, reason, _)| *code == 1001 && reason == "going away")
    );
    let seconds = by_second(began, closed.iter().map(|(_, _, at)| *at));
    assert!(seconds.iter().all(|n| (35..=65).contains(n)), "{seconds:?}");
    join_all(handlers)
        .await
        .into_iter()
        .for_each(Result::unwrap);
    drop(connections);
    assert!(report.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_websocket_of_a_server_that_was_handed_over_closes_with_1012() {
    let drain = handler_drain();
    let (client, handler) = echo(&drain, Duration::ZERO).await;
    tokio::spawn(
        drain
            .tracker()
            .drain_on(graceful_signal::ShutdownSignal::never(), Grace::default()),
    );
    drain.tracker().hand_over();
    let (code, reason, _) = closed(client).await;
    assert_eq!((code, reason.as_str()), (1012, "service restart"));
    handler.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_the_close_has_five_seconds() {
    let drain = handler_drain();
    let (silent, handler) = echo(&drain, Duration::ZERO).await;
    // It does not read either: the Close may not even leave.
    sleep(SECOND).await;
    let began = Instant::now();
    stop(&drain);
    timeout(60 * SECOND, handler)
        .await
        .expect("bounded")
        .unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_after_the_close_does_not_hold_it() {
    let drain = handler_drain();
    let (mut client, handler) = echo(&drain, Duration::ZERO).await;
    stop(&drain);
    drain.draining().await;
    // More than the pipe holds: it must be read for the client to get on.
    let chatter = tokio::spawn(async move {
        for _ in 0..100 {
            if client.feed(Message::text("x".repeat(100))).await.is_err() {
                return client;
            }
        }
        let _ = client.flush().await;
        client
    });
    let (code, ..) = closed(chatter.await.unwrap()).await;
    assert_eq!(code, 1001);
    handler.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_first_is_let_go() {
    let drain = handler_drain();
    let (mut client, handler) = echo(&drain, SECOND).await;
    client.close(None).await.unwrap();
    while client.next().await.is_some() {}
    handler.await.unwrap();
}
