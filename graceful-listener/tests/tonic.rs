//! The listener by itself under tonic.
#![cfg(feature = "tonic")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use graceful_listener::{HandoffListener, Stream};
use tonic::service::Routes;
use tonic::transport::server::{Connected, Server};

#[tokio::test]
async fn tonic_serves_from_incoming_until_it_is_told_to_stop() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().as_tcp().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let routes = Routes::builder().routes();
    let server = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener.incoming(), async { _ = stopped.await });
    let server = tokio::spawn(server);
    let settings = tokio::task::spawn_blocking(move || {
        let mut client = TcpStream::connect(addr).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // The preface and an empty SETTINGS frame (RFC 9113 §3.4).
        client
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut header = [0; 9];
        client.read_exact(&mut header).unwrap();
        header[3]
    });
    assert_eq!(settings.await.unwrap(), 4, "its first frame is SETTINGS");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(addr).is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_tcp_client_has_its_address_in_the_connect_info() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().as_tcp().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let info = stream.connect_info();
    assert_eq!(info.remote_addr(), Some(client.local_addr().unwrap()));
    let (one, _other) = tokio::net::UnixStream::pair().unwrap();
    assert_eq!(Stream::from(one).connect_info().remote_addr(), None);
}
