//! A certificate made for one test, and a TLS client that remembers its sessions.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graceful_server::rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::process::scratch;

/// A self-signed certificate for `localhost` and its key, in files that live as long as this.
pub(crate) struct Certificate(PathBuf);

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = scratch();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    /// For the reference server.
    pub(crate) fn flags(&self) -> [String; 4] {
        let file = |name| Path::display(&self.0.join(name)).to_string();
        let flag = |name: &str| name.to_owned();
        [
            flag("--tls-cert"),
            file("cert.pem"),
            flag("--tls-key"),
            file("key.pem"),
        ]
    }

    pub(crate) fn client(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let versions = builder.with_safe_default_protocol_versions().unwrap();
        let config = versions.with_root_certificates(roots);
        Arc::new(config.with_no_client_auth()).into()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn connect(
    client: &TlsConnector,
    server: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    let name = ServerName::try_from("localhost").unwrap();
    client.connect(name, stream).await
}

/// One request on a connection of its own: the whole answer up to close_notify, and how the handshake went.
pub(crate) async fn ask(
    client: &TlsConnector,
    server: SocketAddr,
    path: &str,
) -> io::Result<(String, Option<HandshakeKind>)> {
    let mut stream = connect(client, server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer, stream.get_ref().1.handshake_kind()))
}
