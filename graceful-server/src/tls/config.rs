//! What a user says about TLS on an endpoint.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::ProducesTickets,
};

use super::TlsError;
use crate::http::Protocol;

/// HTTP/2 in ALPN (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN (RFC 7301 §6).
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// TLS on an endpoint, for [`Serve::tls`](crate::Serve::tls).
///
/// Made from a certificate and its key as PEM, or from a [`ServerConfig`] of rustls for everything beyond that: client
/// certificates, several certificates, another crypto provider. When the server begins to serve,
/// - ALPN is set to `h2` and `http/1.1` where the config has none, and what [`Serve::protocol`](crate::Serve::protocol)
///   rules out is left out;
/// - early data is switched off: a request in it may be a replay, and a client that offers it sends it again;
/// - sessions resume by tickets, whose keys go to the next generation over the hand-off channel and nowhere else, so
///   that a restart costs clients no full handshakes. Keys change every six hours, and a ticket lives for twelve at the
///   most. See [`ticket_scope`](Self::ticket_scope) for a `ServerConfig` of your own.
///
/// The certificate is read once. A restart is how a new one is loaded.
///
/// # References
/// RFC 8446 §4.6.1 (tickets), §8 (replays of early data).
#[derive(Clone, Debug)]
pub struct TlsConfig {
    config: Arc<ServerConfig>,
    scope: Option<String>,
}

impl TlsConfig {
    /// The certificate, followed by those that lead to its root, and its key, each in a PEM file. They may be the same file.
    ///
    /// TLS 1.2 and 1.3, nobody is asked for a client certificate.
    ///
    /// # Errors
    /// A file cannot be read, has no certificate or no key in it, or the two do not fit each other.
    pub fn from_pem_files(cert: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.as_ref(), key.as_ref());
        let chain = CertificateDer::pem_file_iter(cert).and_then(some);
        let chain = chain.map_err(|error| TlsError::pem("certificate", Some(cert), error))?;
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::pem("private key", Some(key), error))?;
        Self::new(chain, secret).map_err(|error| TlsError::rejected(Some(cert), error))
    }

    /// Like [`from_pem_files`](Self::from_pem_files), with the text of the two.
    ///
    /// # Errors
    /// There is no certificate or no key in it, or the two do not fit each other.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = some(CertificateDer::pem_slice_iter(cert));
        let chain = chain.map_err(|error| TlsError::pem("certificate", None, error))?;
        let secret = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::pem("private key", None, error))?;
        Self::new(chain, secret).map_err(|error| TlsError::rejected(None, error))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self::from(config).ticket_scope("server certificate only"))
    }

    /// Shares session tickets with every endpoint, of this and of later generations, that has the same scope.
    ///
    /// What [`from_pem_files`](Self::from_pem_files) makes has a scope already. A [`ServerConfig`] has none, and resumes as
    /// it says itself, because a client that resumes is not asked for its certificate again: if you ask for one, name in
    /// the scope whom you let in, and another scope when that changes. A config with a ticketer of its own keeps it.
    pub fn ticket_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The scope in which tickets are to be shared, if they are.
    pub(super) fn shared_scope(&self) -> Option<&str> {
        match self.config.ticketer.enabled() {
            true => None,
            false => self.scope.as_deref(),
        }
    }

    pub(super) fn set_ticketer(&mut self, ticketer: Arc<dyn ProducesTickets>) {
        Arc::make_mut(&mut self.config).ticketer = ticketer;
    }

    /// Offers what HTTP `protocol` allows, and takes no early data.
    pub(super) fn restrict(&mut self, protocol: Protocol) {
        let config = Arc::make_mut(&mut self.config);
        config.max_early_data_size = 0;
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        }
        config.alpn_protocols.retain(|name| match protocol {
            Protocol::Auto => true,
            Protocol::Http1 => name != H2,
            Protocol::Http2 => name != HTTP1,
        });
    }

    pub(crate) fn rustls(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

/// All of them, at least one.
fn some<T>(items: impl Iterator<Item = Result<T, pem::Error>>) -> Result<Vec<T>, pem::Error> {
    let items: Vec<_> = items.collect::<Result<_, _>>()?;
    match items.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(items),
    }
}

impl From<Arc<ServerConfig>> for TlsConfig {
    fn from(config: Arc<ServerConfig>) -> Self {
        let scope = None;
        Self { config, scope }
    }
}

impl From<ServerConfig> for TlsConfig {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}
