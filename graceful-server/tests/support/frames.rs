//! An HTTP/2 client frame by frame, for peers that do not behave and for the order of what the server says.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::BOUND;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What h2 sends with its GOAWAYs, and wants back.
pub(crate) const PAYLOAD: &[u8; 8] = b"\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";
pub(crate) const ALL: u32 = 0x7fff_ffff;

/// `:status: 503` as h2 writes it: its name in the static table, its value in Huffman's code.
const UNAVAILABLE: &[u8] = b"\x48\x83\x6c\x0c\xff";

const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

pub(crate) struct Peer(pub(crate) TcpStream);

/// What a client may be told, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Head(u32),
    /// HEADERS with the status 503.
    Unavailable(u32),
    Data(u32, Vec<u8>),
    Reset(u32),
    GoAway {
        last: u32,
        code: u32,
    },
    Ping(Vec<u8>),
    Other,
}

impl Peer {
    /// A connection with its preface and settings sent.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut peer = Self(TcpStream::connect(addr).await.unwrap());
        peer.0.write_all(PREFACE).await.unwrap();
        peer.send(SETTINGS, 0, 0, b"").await;
        peer.send(SETTINGS, ACK, 0, b"").await;
        peer
    }

    /// A connection with its preface sent, and no settings yet.
    pub(crate) async fn connect_with_preface_only(addr: SocketAddr) -> Self {
        let mut peer = Self(TcpStream::connect(addr).await.unwrap());
        peer.0.write_all(PREFACE).await.unwrap();
        peer
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = frame(kind, flags, stream, payload);
        self.0.write_all(&frame).await.unwrap();
    }

    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.0
            .write_all(&Self::request(stream, path))
            .await
            .unwrap();
    }

    /// GET of http://test, in HPACK's static table and literals: one frame.
    pub(crate) fn request(stream: u32, path: &str) -> Vec<u8> {
        frame(HEADERS, END_STREAM_AND_HEADERS, stream, &Self::block(path))
    }

    /// The header block of such a request.
    pub(crate) fn block(path: &str) -> Vec<u8> {
        let path_length = [0x44, u8::try_from(path.len()).unwrap()];
        [b"\x82\x86\x41\x04test", &path_length[..], path.as_bytes()].concat()
    }

    /// Extended CONNECT (RFC 8441) to http://test: the stream stays open.
    pub(crate) async fn open_websocket(&mut self, stream: u32, path: &str) {
        const END_HEADERS: u8 = 4;
        let literal = |name: &str, value: &str| {
            let length = |text: &str| [u8::try_from(text.len()).unwrap()];
            [
                &length(name),
                name.as_bytes(),
                &length(value),
                value.as_bytes(),
            ]
            .concat()
        };
        let path_length = [0x04, u8::try_from(path.len()).unwrap()];
        let block = [
            // Without indexing: the literal's name follows.
            &[&[0], &*literal(":method", "CONNECT")].concat(),
            &[&[0], &*literal(":protocol", "websocket")].concat(),
            &b"\x86\x01\x04test"[..],
            &path_length,
            path.as_bytes(),
            &[&[0], &*literal("sec-websocket-version", "13")].concat(),
        ];
        self.send(HEADERS, END_HEADERS, stream, &block.concat())
            .await;
    }

    pub(crate) async fn ping(&mut self) {
        self.send(PING, 0, 0, b"01234567").await;
    }

    pub(crate) async fn pong(&mut self) {
        self.pong_with(PAYLOAD).await;
    }

    pub(crate) async fn pong_with(&mut self, payload: &[u8]) {
        self.send(PING, ACK, 0, payload).await;
    }

    /// The next frame; nothing at the end of the stream, which is an orderly one.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        let mut head = [0; 9];
        let read = timeout(BOUND, self.0.read_exact(&mut head)).await;
        match read.expect("a frame in time") {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            read => read.expect("FIN, not RST"),
        };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        let number = |at| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        Some(match (head[3], head[4]) {
            (HEADERS, _) if payload.starts_with(UNAVAILABLE) => Said::Unavailable(stream),
            (HEADERS, _) => Said::Head(stream),
            (DATA, _) => Said::Data(stream, payload),
            (RST_STREAM, _) => Said::Reset(stream),
            (GOAWAY, _) => Said::GoAway {
                last: number(0),
                code: number(4),
            },
            (PING, flags) if flags & ACK == 0 => Said::Ping(payload),
            _ => Said::Other,
        })
    }

    /// Everything up to and with `end`.
    pub(crate) async fn until(&mut self, end: impl Fn(&Said) -> bool) -> Vec<Said> {
        let mut seen = Vec::new();
        loop {
            let said = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the end, after {seen:?}"));
            seen.push(said.clone());
            if end(&said) {
                return seen;
            }
        }
    }

    /// Everything up to the orderly end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Said> {
        let mut seen = Vec::new();
        while let Some(said) = self.next().await {
            seen.push(said);
        }
        seen
    }

    /// Waits for the two frames that begin a drain.
    pub(crate) async fn told(&mut self) -> Vec<Said> {
        let seen = self
            .until(|said| *said == Said::Ping(PAYLOAD.to_vec()))
            .await;
        assert!(seen.contains(&going_away(ALL)), "{seen:?}");
        seen
    }
}

/// Empty settings.
pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, b"")
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// GOAWAY without an error.
pub(crate) fn going_away(last: u32) -> Said {
    Said::GoAway { last, code: 0 }
}

/// All bytes of the answer on `stream`.
pub(crate) fn body(said: &[Said], stream: u32) -> Vec<u8> {
    let data = said.iter().filter_map(|said| match said {
        Said::Data(id, bytes) if *id == stream => Some(bytes.as_slice()),
        _ => None,
    });
    data.collect::<Vec<_>>().concat()
}
