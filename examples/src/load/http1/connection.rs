//! One TCP connection, and what leaves on it.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::reader::Reader;
use crate::load::{Answer, Call, Loss, Outcome};

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    answers: u64,
}

pub(super) enum Failure {
    /// Not a byte left: the kernel already knew that the connection was over.
    Unsent(io::Error),
    Lost(Loss),
}

impl Connection {
    pub(super) async fn open(server: SocketAddr) -> Result<Self, Loss> {
        let stream = TcpStream::connect(server)
            .await
            .map_err(|error| Loss::refused(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Loss::refused(&error))?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            answers: 0,
        })
    }

    /// Whether it has carried an answer: a server may end such a connection between two requests,
    /// but not one that it has accepted and never served.
    pub(super) fn is_used(&self) -> bool {
        self.answers > 0
    }

    /// Resolves at the end of the stream, and also when the server speaks unasked: there is no
    /// request that such bytes could answer, so the connection is of no more use.
    pub(super) async fn closed(&mut self) {
        // The result does not matter: end, error and stray bytes all mean the same here.
        let _ = self.stream.read_buf(&mut self.buffer).await;
    }

    /// The answer, and whether the connection may be used again.
    pub(super) async fn exchange(&mut self, call: &Call) -> Result<(Answer, bool), Failure> {
        let written = match self.write(call).await {
            Err(Unwritten { sent: 0, error }) => return Err(Failure::Unsent(error)),
            written => written,
        };
        // Also after a failed write: the server may have answered before it stopped reading.
        let mut reader = Reader::new(&mut self.stream, &mut self.buffer);
        match reader.answer().await {
            Ok(answer) => {
                self.answers += 1;
                Ok(answer)
            }
            Err(loss) => Err(Failure::Lost(explain(loss, written.err()))),
        }
    }

    async fn write(&mut self, call: &Call) -> Result<(), Unwritten> {
        let (first, rest) = call.halves();
        let head = [head(call).as_bytes(), &first].concat();
        self.write_all(&head, 0).await?;
        if !rest.is_empty() {
            sleep(call.pause).await;
            self.write_all(&rest, head.len()).await?;
        }
        Ok(())
    }

    async fn write_all(&mut self, bytes: &[u8], before: usize) -> Result<(), Unwritten> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = before + bytes.len() - rest.len();
            let written = self
                .stream
                .write(rest)
                .await
                .map_err(|error| Unwritten { sent, error })?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

struct Unwritten {
    sent: usize,
    error: io::Error,
}

fn head(call: &Call) -> String {
    let length = match call.body.len() {
        0 => String::new(),
        length => format!("content-length: {length}\r\n"),
    };
    format!(
        "{} {} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n",
        call.method, call.path
    )
}

/// A failed write has taken the socket's error with it, so that the read after it sees an orderly
/// end. Before the first byte of an answer the write tells the truth.
fn explain(loss: Loss, unwritten: Option<Unwritten>) -> Loss {
    match (loss.outcome, unwritten) {
        (Outcome::Closed | Outcome::Reset, Some(Unwritten { sent, error })) => {
            Loss::new(Outcome::Reset, format!("write after {sent} bytes: {error}"))
        }
        _ => loss,
    }
}
