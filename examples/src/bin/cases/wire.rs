//! A connection as bytes, and the words for how it ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Seen;

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Long enough for a server on the same machine to do what it does next.
pub(crate) async fn moment() {
    sleep(Duration::from_millis(100)).await;
}

/// Longer than the deadline of the one server that has one.
const LONGEST: Duration = Duration::from_secs(20);

pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(addr).await.map(Self)
    }

    pub(crate) fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        TcpStream::from_std(stream).map(Self)
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    /// Sends without giving anybody else on this thread a turn.
    pub(crate) fn send_now(&self, bytes: &str) -> io::Result<()> {
        self.0.try_write(bytes.as_bytes()).map(drop)
    }

    /// Reads to the end of these bytes.
    pub(crate) async fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        while !read.ends_with(end) {
            if self.0.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(read)
    }

    /// Everything to the end of the stream, which may be a reset, or nothing that comes in time.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        match timeout(LONGEST, self.0.read_to_end(&mut read)).await {
            Ok(end) => end.map(|_| read),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    pub(crate) async fn first_byte_within_a_second(&mut self) -> Option<u8> {
        let read = timeout(Duration::from_secs(1), self.0.read_u8()).await;
        read.ok()?.ok()
    }

    /// Whether the answer that ends with `end` comes.
    pub(crate) async fn answer(&mut self, end: &str) -> Seen {
        // Closed in order or reset: which of the two a client sees is chance, and lost it is.
        let read = self.rest().await.unwrap_or_default();
        let text = String::from_utf8_lossy(&read);
        match (text.ends_with(end), text.contains("connection: close")) {
            (true, true) => "answered, `close`",
            (true, false) => "answered",
            (false, _) => "**lost**",
        }
    }
}
