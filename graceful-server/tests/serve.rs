//! What `serve` takes and what it speaks.

mod support;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use bytes::Bytes;
use graceful_server::{HandoffListener, Phase, Protocol, ShutdownSignal, serve, serve_make};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use support::{BOUND, Server, app, exchange, get_close, http2, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower::{ServiceBuilder, service_fn};

#[tokio::test]
async fn http1_and_http2_are_told_apart_byte_by_byte() {
    let server = Server::start(app(), |serve| serve);
    assert!(
        exchange(server.addr, &get_close("/"))
            .await
            .unwrap()
            .ends_with("hello")
    );

    let mut client = http2(server.addr).await;
    let response = client
        .send_request(Request::new(Empty::new()))
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );

    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".bytes()
    {
        slow.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(read_all(&mut slow).await.unwrap().ends_with("\r\n\r\nok"));
    drop(client);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_fixed_protocol_refuses_the_other() {
    let server = Server::start(app(), |serve| serve.protocol(Protocol::Http2));
    assert!(
        !exchange(server.addr, &get_close("/"))
            .await
            .unwrap_or_default()
            .contains("200 OK")
    );
    let mut client = http2(server.addr).await;
    assert!(
        client
            .send_request(Request::new(Empty::new()))
            .await
            .is_ok()
    );
    drop(client);
    server.stopped().await;
}

#[tokio::test]
async fn an_http2_client_is_sent_away_with_goaway_and_loses_nothing() {
    let server = Server::start(app(), |serve| serve);
    let mut client = http2(server.addr).await;
    let slow = client.send_request(Request::get("/slow/300").body(Empty::new()).unwrap());
    let slow = tokio::spawn(slow);
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    assert_eq!(
        slow.await
            .unwrap()
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes(),
        "slow"
    );
    timeout(BOUND, async {
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("the connection ends");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn many_kinds_of_services_on_many_listeners_under_one_drain() {
    let listener = || HandoffListener::bind("127.0.0.1:0").unwrap();
    let (first, second, third, fourth) = (listener(), listener(), listener(), listener());
    let addrs: Vec<_> = [&first, &second, &third, &fourth]
        .map(|l| l.local_addr().as_tcp().unwrap())
        .into();
    let function = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("function"))))
    });
    let stack = ServiceBuilder::new()
        .layer(tower_http::trace::TraceLayer::new_for_http())
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            http::StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(5),
        ))
        .service(function);
    let info = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
    );
    let (stop, signal) = ShutdownSignal::manual();
    let server = serve(first, app())
        .and(serve(second, function))
        .and(serve(third, stack))
        .and(serve_make(
            fourth,
            info.into_make_service_with_connect_info::<SocketAddr>(),
        ))
        .stop_on(signal)
        .grace(support::quick());
    let tracker = server.tracker().clone();
    let report = tokio::spawn(server.into_future());
    for (addr, body) in addrs
        .iter()
        .zip(["hello", "function", "function", "127.0.0.1"])
    {
        let answer = exchange(*addr, &get_close("/")).await.unwrap();
        assert!(
            answer.ends_with(body),
            "{answer:?} does not end with {body}"
        );
    }
    stop.fire();
    let report = timeout(BOUND, report).await.unwrap().unwrap().unwrap();
    assert_eq!((report.connections, report.requests), (4, 4));
    assert_eq!(tracker.phase(), Phase::Closed);
    for addr in addrs {
        assert!(TcpStream::connect(addr).await.is_err(), "closed");
    }
}

/// Spawning a task costs more than all that is noted of a connection (docs/costs.md).
#[tokio::test]
async fn connections_that_follow_each_other_share_a_task_and_others_do_not() {
    let app = Router::new().route("/", get(async || tokio::task::id().to_string()));
    let second = HandoffListener::bind("127.0.0.1:0").unwrap();
    let made = second.local_addr().as_tcp().unwrap();
    let make = app.clone().into_make_service();
    let server = Server::start(app, |serve| serve.and(serve_make(second, make)));
    let task = async |addr| {
        let answer = exchange(addr, &get_close("/")).await.unwrap();
        answer.lines().last().unwrap().to_owned()
    };
    for addr in [server.addr, made] {
        let first = task(addr).await;
        for _ in 0..5 {
            until("it has gone", || server.tracker.counts().total() == 0).await;
            assert_eq!(task(addr).await, first);
        }
        until("it has gone", || server.tracker.counts().total() == 0).await;
        let open = TcpStream::connect(addr).await.unwrap();
        until("it is there", || server.tracker.counts().total() == 1).await;
        assert_ne!(task(addr).await, first, "that one is taken");
        drop(open);
        until("both have gone", || server.tracker.counts().total() == 0).await;
    }
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn tonic_routes_are_served() {
    let server = Server::start(
        tonic::service::Routes::default().into_axum_router(),
        |serve| serve,
    );
    let mut client = http2(server.addr).await;
    let request = Request::post("/no.such.Service/Method")
        .header("content-type", "application/grpc")
        .body(Empty::new())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(
        response.headers()["grpc-status"],
        "12",
        "unimplemented, said by tonic"
    );
    drop(client);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn an_upgraded_connection_is_hijacked_counted_and_cut_at_the_end() {
    let upgrade = service_fn(|mut request: Request<Incoming>| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let (mut reader, mut writer) = tokio::io::split(&mut io);
            tokio::io::copy(&mut reader, &mut writer).await
        });
        let response = Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(Empty::<Bytes>::new());
        Ok::<_, Infallible>(response.unwrap())
    });
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().as_tcp().unwrap();
    let (stop, signal) = ShutdownSignal::manual();
    let grace = support::quick().with_drain(Duration::from_secs(2));
    let server = serve(listener, upgrade).stop_on(signal).grace(grace);
    let tracker = server.tracker().clone();
    let report = tokio::spawn(server.into_future());

    let mut client = TcpStream::connect(addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await
        .unwrap();
    until("hijacked", || {
        tracker.counts().of(graceful_server::ConnState::Hijacked) == 1
    })
    .await;
    stop.fire();
    tracker.reached(Phase::Draining).await;
    client.write_all(b"still echoed").await.unwrap();
    let mut seen = String::new();
    while !seen.ends_with("still echoed") {
        let mut bytes = [0; 1024];
        let n = timeout(BOUND, client.read(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "served while draining, not ended after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    assert!(
        read_all(&mut client).await.unwrap_or_default().is_empty(),
        "cut at the deadline"
    );
    let report = timeout(BOUND, report).await.unwrap().unwrap().unwrap();
    assert_eq!((report.cut.len(), report.left), (1, 0), "{report}");
}

#[tokio::test]
async fn dropping_the_server_drops_everything_at_once() {
    let server = Server::start(app(), |serve| serve);
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let slow = tokio::spawn(
        exchange(
            server.addr,
            "GET /slow/60000 HTTP/1.1\r\nhost: test\r\n\r\n",
        )
        .into_future(),
    );
    until("two", || {
        server.tracker.counts().total() == 2 && server.tracker.in_flight() == 1
    })
    .await;
    server.report.abort();
    until("nothing left", || {
        server.tracker.counts().total() == 0 && server.tracker.in_flight() == 0
    })
    .await;
    let _ = slow.await;
    assert!(TcpStream::connect(server.addr).await.is_err());
}
