//! The last look: what it sees, at every place a record can be in.

use std::{
    future::poll_fn,
    io::{Read, Write},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream as Blocking,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::*;
use crate::TlsConfig;

struct Client {
    tls: ClientConnection,
    socket: std::net::TcpStream,
}

/// A stream after its handshake, and its client.
async fn pair() -> (TlsStream, Client) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let config = TlsConfig::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().unwrap();
    let client = versions.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(client.into(), name).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut client = Client { tls, socket };
    let (accepted, _) = listener.accept().await.unwrap();
    let mut stream = TlsStream::new(accepted.into(), config.rustls());
    assert!(stream.is_handshaking() && !stream.has_bytes().unwrap());
    let connected = spawn_blocking(move || {
        while client.tls.is_handshaking() {
            client.tls.complete_io(&mut client.socket).unwrap();
        }
        client
    });
    poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
    assert!(!stream.is_handshaking());
    (stream, connected.await.unwrap())
}

fn record(client: &mut Client, text: &str) -> Vec<u8> {
    client.tls.writer().write_all(text.as_bytes()).unwrap();
    let mut record = Vec::new();
    client.tls.write_tls(&mut record).unwrap();
    record
}

const BOUND: Duration = Duration::from_secs(20);

/// What one read gives.
async fn read(stream: &mut TlsStream, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let n = timeout(BOUND, stream.read(&mut bytes)).await.unwrap();
    bytes.truncate(n.unwrap());
    bytes
}

/// Writes, and waits until the kernel has it. Nothing yields: the runtime does not know of these bytes.
fn send(client: &mut Client, bytes: &[u8], stream: &TlsStream) {
    client.socket.write_all(bytes).unwrap();
    let end = std::time::Instant::now() + BOUND;
    while !stream.has_bytes().unwrap() {
        assert!(std::time::Instant::now() < end, "not seen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads until the kernel has nothing more, and gets nothing.
async fn read_nothing(stream: &mut TlsStream) {
    let emptied = async {
        while stream.has_bytes().unwrap() {
            let read = timeout(Duration::from_millis(20), stream.read(&mut [0; 9])).await;
            assert!(read.is_err(), "{read:?}");
        }
    };
    timeout(BOUND, emptied).await.unwrap();
}

#[tokio::test]
async fn bytes_are_seen_in_the_kernel_and_in_what_was_decrypted() {
    let (mut stream, mut client) = pair().await;
    assert!(!stream.has_bytes().unwrap() && !stream.holds_part());

    let bytes = record(&mut client, "hello");
    send(&mut client, &bytes, &stream);
    assert_eq!(read(&mut stream, 2).await, b"he");
    assert!(stream.has_bytes().unwrap(), "decrypted, and not given out");
    assert_eq!(read(&mut stream, 9).await, b"llo");
    assert!(!stream.has_bytes().unwrap() && !stream.holds_part());
}

#[tokio::test]
async fn half_a_record_is_known_to_be_here() {
    let (mut stream, mut client) = pair().await;
    let bytes = record(&mut client, "hello");
    for half in [&bytes[..3], &bytes[3..12]] {
        send(&mut client, half, &stream);
        read_nothing(&mut stream).await;
        assert!(stream.holds_part());
    }
    send(&mut client, &bytes[12..], &stream);
    assert_eq!(read(&mut stream, 9).await, b"hello");
    assert!(!stream.holds_part());
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_goes_on_reading() {
    let (mut stream, mut client) = pair().await;
    stream.shutdown().await.unwrap();
    let client = spawn_blocking(move || {
        let mut text = String::new();
        let mut blocking = Blocking::new(&mut client.tls, &mut client.socket);
        blocking.read_to_string(&mut text).expect("close_notify");
        blocking.write_all(b"still here").unwrap();
        client
    });
    let _client = client.await.unwrap();
    let mut bytes = [0; 10];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"still here");
}
