//! A client that sends one request, waits for its answer, and costs nothing meanwhile.
//!
//! It knows just enough of HTTP/1 and HTTP/2 for the answers of the servers compared here, and panics at any other:
//! a bench that goes on after that has measured something else.

use std::{
    io::{self, Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::service::BODY;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl Protocol {
    /// Its name on the command line of a server.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    protocol: Protocol,
    /// The next HTTP/2 stream.
    stream_id: u32,
    /// The server's settings are not acknowledged.
    to_settle: bool,
    /// Read and not used yet.
    bytes: Vec<u8>,
}

const HTTP1: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const HTTP1_LAST: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: 127.0.0.1:8080` without a place in the dynamic table.
const HEADERS: &[u8] = b"\x82\x86\x84\x01\x0e127.0.0.1:8080";
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const HEADERS_FRAME: u8 = 1;
const SETTINGS_FRAME: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(addr: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            protocol,
            stream_id: 1,
            to_settle: false,
            bytes: Vec::new(),
        })
    }

    /// One request and its answer; `last` has HTTP/1 close the connection after it.
    ///
    /// # Errors
    /// Those of the socket, and an answer that is none.
    pub fn request(&mut self, last: bool) -> io::Result<()> {
        match self.protocol {
            Protocol::Http1 => {
                let request = if last { HTTP1_LAST } else { HTTP1 };
                self.stream.write_all(request.as_bytes())?;
                self.http1_answer()
            }
            Protocol::Http2 => {
                let mut request = match self.stream_id {
                    1 => PREFACE.to_vec(),
                    _ => Vec::new(),
                };
                push_headers(&mut request, self.stream_id);
                self.stream_id += 2;
                self.stream.write_all(&request)?;
                self.http2_answer()
            }
        }
    }

    /// As many requests at once as `streams`, on HTTP/2, in one write, and all their responses.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn requests(&mut self, streams: u32) -> io::Result<()> {
        let mut requests = Vec::new();
        for _ in 0..streams {
            push_headers(&mut requests, self.stream_id);
            self.stream_id += 2;
        }
        self.stream.write_all(&requests)?;
        (0..streams).try_for_each(|_| self.http2_answer())
    }

    /// Acknowledges the server's settings, on HTTP/2, if that is still to be done: not in the middle of an answer, where it
    /// would arrive sooner or later from run to run. Returns whether there was something to say.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn settle(&mut self) -> io::Result<bool> {
        let to_settle = mem::take(&mut self.to_settle);
        if to_settle {
            self.stream.write_all(SETTINGS_ACK)?;
        }
        Ok(to_settle)
    }

    /// Sends a request, on HTTP/1, and leaves the answer to [`answered`](Self::answered).
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
        self.stream.write_all(request.as_bytes())
    }

    /// Waits for the answer to what was sent.
    ///
    /// # Errors
    /// Those of the socket, and an answer that is none.
    pub fn answered(&mut self) -> io::Result<()> {
        self.http1_answer()
    }

    /// The socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Waits for the server to close.
    ///
    /// # Errors
    /// Those of the socket, and bytes that are not expected any more.
    pub fn ended(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0; 64])? {
            0 => Ok(()),
            _ => Err(io::Error::other("bytes behind the last answer")),
        }
    }

    fn http1_answer(&mut self) -> io::Result<()> {
        while !(self.bytes.starts_with(b"HTTP/1.1 200 OK\r\n")
            && self.bytes.ends_with(BODY.as_bytes()))
        {
            self.read_more()?;
        }
        self.bytes.clear();
        Ok(())
    }

    fn http2_answer(&mut self) -> io::Result<()> {
        loop {
            let (kind, flags) = self.frame()?;
            self.to_settle |= kind == SETTINGS_FRAME && flags & ACK == 0;
            if kind <= HEADERS_FRAME && flags & END_STREAM != 0 {
                return Ok(());
            }
        }
    }

    /// Takes the next frame; its kind and flags.
    fn frame(&mut self) -> io::Result<(u8, u8)> {
        loop {
            if let [a, b, c, kind, flags, ..] = self.bytes[..] {
                let end = 9 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
                if self.bytes.len() >= end {
                    self.bytes.drain(..end);
                    return Ok((kind, flags));
                }
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.bytes.extend_from_slice(&bytes[..n]);
                Ok(())
            }
        }
    }
}

fn push_headers(request: &mut Vec<u8>, stream_id: u32) {
    request.extend([
        0,
        0,
        HEADERS.len() as u8,
        HEADERS_FRAME,
        END_STREAM | END_HEADERS,
    ]);
    request.extend(stream_id.to_be_bytes());
    request.extend(HEADERS);
}
