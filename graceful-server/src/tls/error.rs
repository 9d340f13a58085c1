//! Why there is no TLS: one opaque error with a predicate for each cause.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{self, pki_types::pem};

/// Why a certificate and its key cannot be used. It becomes an [`io::Error`] with `?`.
#[derive(Debug)]
pub struct TlsError(Kind);

#[derive(Debug)]
enum Kind {
    Pem {
        wanted: &'static str,
        file: Option<PathBuf>,
        cause: pem::Error,
    },
    Rejected {
        file: Option<PathBuf>,
        cause: rustls::Error,
    },
}

impl TlsError {
    pub(super) fn pem(wanted: &'static str, file: Option<&Path>, cause: pem::Error) -> Self {
        let file = file.map(Into::into);
        Self(Kind::Pem {
            wanted,
            file,
            cause,
        })
    }

    pub(super) fn rejected(file: Option<&Path>, cause: rustls::Error) -> Self {
        let file = file.map(Into::into);
        Self(Kind::Rejected { file, cause })
    }

    /// The file could not be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(&self.0, Kind::Pem { cause, .. } if matches!(cause, pem::Error::Io(_)))
    }

    /// What was read is no PEM, or there is no certificate, or no key, in it.
    pub fn is_malformed(&self) -> bool {
        matches!(self.0, Kind::Pem { .. }) && !self.is_unreadable()
    }

    /// Certificate and key are there, and cannot be used: they do not fit each other, say.
    pub fn is_rejected(&self) -> bool {
        matches!(self.0, Kind::Rejected { .. })
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |file: &Option<PathBuf>| match file {
            Some(file) => file.display().to_string(),
            None => "the given text".to_owned(),
        };
        match &self.0 {
            Kind::Pem { wanted, file, .. } if self.is_unreadable() => {
                write!(f, "cannot read the {wanted} from {}", named(file))
            }
            Kind::Pem { wanted, file, .. } => {
                write!(f, "no {wanted} in {}: it must be PEM", named(file))
            }
            Kind::Rejected { file, .. } => write!(
                f,
                "the certificate in {} cannot be used with its key: do they belong together?",
                named(file)
            ),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Pem { cause, .. } => match cause {
                pem::Error::Io(error) => Some(error),
                other => Some(other),
            },
            Kind::Rejected { cause, .. } => Some(cause),
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match &error.0 {
            Kind::Pem {
                cause: pem::Error::Io(cause),
                ..
            } => cause.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
