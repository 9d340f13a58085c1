//! Reads one answer, and knows how far it got.
//!
//! # References
//! RFC 9112 §6.3 (body length), §7.1 (chunked), §8 (incomplete messages).

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::load::answer::LONGEST_BODY;
use crate::load::{Answer, Loss, Outcome};

pub(super) struct Reader<'a> {
    stream: &'a mut TcpStream,
    buffer: &'a mut BytesMut,
    begun: bool,
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    keep_alive: bool,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl<'a> Reader<'a> {
    /// Reads from `stream`, with `buffer` holding what was read ahead.
    pub(super) fn new(stream: &'a mut TcpStream, buffer: &'a mut BytesMut) -> Self {
        Self {
            stream,
            buffer,
            begun: false,
        }
    }

    /// The next final answer, and whether another one may follow on this connection.
    pub(super) async fn answer(&mut self) -> Result<(Answer, bool), Loss> {
        let head = self.final_head().await?;
        let framing = head.framing()?;
        let reusable = head.keep_alive && !matches!(framing, Framing::UntilClose);
        let body = self.body(framing).await?;
        if !self.buffer.is_empty() {
            return Err(Loss::wrong("bytes after the end of the answer"));
        }
        Ok((Answer::new(head.status, &head.headers, body), reusable))
    }

    async fn final_head(&mut self) -> Result<Head, Loss> {
        loop {
            let head = self.head().await?;
            if !head.status.is_informational() {
                return Ok(head);
            }
        }
    }

    async fn head(&mut self) -> Result<Head, Loss> {
        loop {
            if let Some((length, head)) = parse(self.buffer)? {
                let _ = self.buffer.split_to(length);
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    async fn body(&mut self, framing: Framing) -> Result<Bytes, Loss> {
        match framing {
            Framing::Length(length) => self.take(length).await,
            Framing::Chunked => self.chunks().await,
            Framing::UntilClose => self.rest().await,
        }
    }

    async fn chunks(&mut self) -> Result<Bytes, Loss> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .map_err(|_| Loss::wrong(format!("chunk size {digits:?}")))?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&self.take(length).await?);
            bounded(body.len())?;
            if !self.line().await?.is_empty() {
                return Err(Loss::wrong("no line end after a chunk"));
            }
        }
        // Trailers, up to the empty line.
        while !self.line().await?.is_empty() {}
        Ok(body.freeze())
    }

    async fn rest(&mut self) -> Result<Bytes, Loss> {
        loop {
            bounded(self.buffer.len())?;
            let read = self.stream.read_buf(self.buffer).await;
            if read.map_err(|error| self.ended(Some(error)))? == 0 {
                return Ok(self.buffer.split().freeze());
            }
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, Loss> {
        bounded(length)?;
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn line(&mut self) -> Result<String, Loss> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            bounded(self.buffer.len())?;
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Loss> {
        match self.stream.read_buf(self.buffer).await {
            Ok(0) => Err(self.ended(None)),
            Ok(_) => {
                self.begun = true;
                Ok(())
            }
            Err(error) => Err(self.ended(Some(error))),
        }
    }

    /// The connection ended too early: one class for each of three moments.
    fn ended(&self, error: Option<io::Error>) -> Loss {
        let outcome = match (self.begun, &error) {
            (true, _) => Outcome::Cut,
            (false, Some(_)) => Outcome::Reset,
            (false, None) => Outcome::Closed,
        };
        let how = error.map_or_else(|| "end of stream".to_owned(), |error| error.to_string());
        Loss::new(outcome, format!("read: {how}"))
    }
}

impl Head {
    fn framing(&self) -> Result<Framing, Loss> {
        if matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            return Ok(Framing::Length(0));
        }
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return Ok(Framing::Chunked);
        }
        let Some(length) = self.headers.get(header::CONTENT_LENGTH) else {
            return Ok(Framing::UntilClose);
        };
        let length = length.to_str().ok().and_then(|length| length.parse().ok());
        length
            .map(Framing::Length)
            .ok_or_else(|| Loss::wrong("content-length is not a number"))
    }
}

fn parse(buffer: &[u8]) -> Result<Option<(usize, Head)>, Loss> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let malformed = |error: &dyn std::fmt::Display| Loss::wrong(format!("not HTTP/1: {error}"));
    let httparse::Status::Complete(length) =
        response.parse(buffer).map_err(|error| malformed(&error))?
    else {
        bounded(buffer.len())?;
        return Ok(None);
    };
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let name: HeaderName = field.name.parse().map_err(|error| malformed(&error))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|error| malformed(&error))?;
        headers.append(name, value);
    }
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|error| malformed(&error))?;
    let keep_alive = response.version == Some(1) && !says_close(&headers);
    Ok(Some((
        length,
        Head {
            status,
            headers,
            keep_alive,
        },
    )))
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("close"))
}

fn bounded(length: usize) -> Result<(), Loss> {
    if length <= LONGEST_BODY {
        return Ok(());
    }
    Err(Loss::wrong(format!("more than {LONGEST_BODY} bytes")))
}
