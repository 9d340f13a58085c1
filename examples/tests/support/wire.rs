//! A connection as bytes: what leaves when, what comes, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::BOUND;

pub(crate) struct Wire(pub(crate) TcpStream);

/// Everything up to the end of the stream.
pub(crate) struct Rest {
    pub(crate) bytes: Vec<u8>,
    /// An orderly end (FIN), or the error, such as a reset.
    pub(crate) end: io::Result<()>,
}

impl Wire {
    pub(crate) async fn open(server: SocketAddr) -> Self {
        Self(TcpStream::connect(server).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
    }

    /// Reads until the text has ended with `end`.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let read = async {
            while !text.ends_with(end) {
                let byte = self.0.read_u8().await;
                text.push(
                    byte.unwrap_or_else(|error| panic!("{error} after {text:?}"))
                        .into(),
                );
            }
        };
        let read = timeout(BOUND, read).await;
        read.unwrap_or_else(|_| panic!("no {end:?} within {BOUND:?} after {text:?}"));
        text
    }

    /// Whether something, be it the end, comes within `time`.
    pub(crate) async fn stirs_within(&self, time: Duration) -> bool {
        timeout(time, self.0.peek(&mut [0])).await.is_ok()
    }

    pub(crate) async fn rest(mut self) -> Rest {
        let mut bytes = Vec::new();
        let read = timeout(BOUND, self.0.read_to_end(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("no end of the stream within {BOUND:?}"));
        Rest {
            bytes,
            end: read.map(|_| ()),
        }
    }
}

impl Rest {
    /// What came before an orderly end.
    pub(crate) fn in_order(self) -> String {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        match self.end {
            Ok(()) => text,
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
}
