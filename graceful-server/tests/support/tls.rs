//! TLS clients, and a certificate made for this run.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use graceful_server::{
    TlsConfig,
    rustls::{
        ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
        SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::BOUND;

/// Certificate and key, as PEM.
pub(crate) static PEM: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

pub(crate) fn config() -> TlsConfig {
    TlsConfig::from_pem(PEM.0.as_bytes(), PEM.1.as_bytes()).unwrap()
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(PEM.0.as_bytes()).unwrap()
}

/// The same server as rustls makes it.
pub(crate) fn rustls_config() -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(PEM.1.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().unwrap();
    let config = versions
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key);
    config.unwrap()
}

/// A client that offers `alpn`. Clones share their sessions.
pub(crate) fn client(alpn: &[&str]) -> Arc<ClientConfig> {
    client_of(ALL_VERSIONS, alpn)
}

pub(crate) fn client_of(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// The handshake on a connection that is there.
pub(crate) async fn secure(
    stream: TcpStream,
    client: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(client.clone())
        .connect(name(), stream)
        .await
}

pub(crate) async fn connect(addr: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(addr).await.unwrap();
    secure(stream, &client(&["http/1.1"])).await.unwrap()
}

/// An HTTP/2 client that has agreed on it by ALPN, and the end of its connection.
pub(crate) async fn http2(
    addr: SocketAddr,
) -> (
    hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    tokio::task::JoinHandle<hyper::Result<()>>,
) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let stream = secure(stream, &client(&["h2"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

/// A client whose records are in the test's hands.
pub(crate) struct Records {
    pub(crate) tls: ClientConnection,
    pub(crate) socket: std::net::TcpStream,
}

impl Records {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let socket = std::net::TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        let tls = ClientConnection::new(client(&["http/1.1"]), name()).unwrap();
        Self { tls, socket }
    }

    /// What the client would send now, with `text` in it.
    pub(crate) fn record(&mut self, text: &str) -> Vec<u8> {
        self.tls.writer().write_all(text.as_bytes()).unwrap();
        let mut record = Vec::new();
        self.tls.write_tls(&mut record).unwrap();
        record
    }

    /// Blocks: everything until the peer says that it ends, or the error it ends with.
    pub(crate) fn read_to_end(self) -> io::Result<String> {
        let mut text = String::new();
        StreamOwned::new(self.tls, self.socket).read_to_string(&mut text)?;
        Ok(text)
    }
}
