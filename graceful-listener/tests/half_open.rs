//! Handshakes that are half done, as the kernel tells of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use graceful_listener::HandoffListener;
use socket2::{SockFilter, SockRef};
use tokio::time::sleep;

/// Drops all packets but those that begin a connection (classic BPF, socket(7); RFC 9293 §3.1).
const ONLY_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

#[tokio::test]
async fn they_are_counted_until_they_are_in_the_queue() {
    for addr in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let listener = HandoffListener::bind(addr).unwrap();
        SockRef::from(&listener).attach_filter(&ONLY_SYN).unwrap();
        assert_eq!(listener.half_open(), 0, "{addr}");
        let mut to = listener.local_addr().as_tcp().unwrap();
        if to.ip().is_unspecified() {
            to = SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()));
        }
        let mut clients = [(); 2].map(|()| TcpStream::connect(to).unwrap());
        assert_eq!(listener.half_open(), 2, "{addr}");
        assert!(listener.accept_queued().unwrap().is_none(), "{addr}");

        assert!(listener.seal(), "{addr}");
        assert_eq!(listener.half_open(), 2, "{addr}");
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        let mut accepted = Vec::new();
        for _ in 0..1_000 {
            accepted.extend(listener.accept_queued().unwrap());
            if accepted.len() == 2 {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(accepted.len(), 2, "{addr}");
        assert_eq!(listener.half_open(), 0, "{addr}");
    }
}

#[tokio::test]
async fn those_with_another_listener_of_the_same_port_are_its_own() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().as_tcp().unwrap().port();
    let other = HandoffListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).unwrap();
    SockRef::from(&other).attach_filter(&ONLY_SYN).unwrap();
    let client = TcpStream::connect(("127.0.0.2", port)).unwrap();
    assert_eq!((listener.half_open(), other.half_open()), (0, 1));
    drop(client);
}

#[tokio::test]
async fn of_a_shared_port_nobody_knows_whose_they_are() {
    let options = HandoffListener::options().reuse_port(true);
    let listener = options.bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).attach_filter(&ONLY_SYN).unwrap();
    let client = TcpStream::connect(listener.local_addr().as_tcp().unwrap()).unwrap();
    assert_eq!(listener.half_open(), 0);
    drop(client);
}
