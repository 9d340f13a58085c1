//! An `io::Error` with one line of context. The kind stays, the cause is in `source()`.

use std::error::Error;
use std::{fmt, io};

#[derive(Debug)]
struct Failed {
    text: String,
    source: io::Error,
}

pub(crate) fn failed(text: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Failed { text, source })
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
