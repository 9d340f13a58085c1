//! Tries the behaviour that a detach relies on with the hyper that this program is linked with, because no version of hyper
//! promises that behaviour.

use std::{
    convert::Infallible,
    future::ready,
    io,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll, Waker},
};

use graceful_layer::{
    Peer, Tracker,
    conn::{Peek, Waits},
};
use http_body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::lock::lock;

/// Whether a probe finds out what hyper waits for. Tried once in a process, in some microseconds and without a socket.
pub(crate) fn can_probe() -> bool {
    static CAN_PROBE: LazyLock<bool> = LazyLock::new(|| behaves().unwrap_or(false));
    *CAN_PROBE
}

const UPLOAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1";

/// A request whose body is read after its response, up to its end. `None` if hyper did not call the service.
fn behaves() -> Option<bool> {
    let connection = Tracker::silent().open(Peer::Unix);
    let detach = connection.detach();
    let sent = Packets::default();
    let upload: Arc<Mutex<Option<Incoming>>> = Arc::default();
    let kept = upload.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        *lock(&kept) = Some(request.into_body());
        ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let io = TokioIo::new(connection.io(sent.clone()));
    let mut server = http1::Builder::new().serve_connection(io, service);
    let mut task = Context::from_waker(Waker::noop());

    sent.send(UPLOAD);
    let begun = Pin::new(&mut server).poll(&mut task);
    let mut upload = lock(&upload).take()?;
    let read = |upload: &mut Incoming| {
        let mut task = Context::from_waker(Waker::noop());
        Pin::new(upload).poll_frame(&mut task)
    };
    let waits =
        matches!(read(&mut upload), Poll::Ready(Some(Ok(_)))) && read(&mut upload).is_pending();
    let goes_on = Pin::new(&mut server).poll(&mut task);
    let (_, with_reader) = detach.probe(&task, |cx| Pin::new(&mut server).poll(cx));

    sent.send(b"2");
    let ended = Pin::new(&mut server).poll(&mut task);
    let last = matches!(read(&mut upload), Poll::Ready(Some(Ok(_))));
    let (_, between) = detach.probe(&task, |cx| Pin::new(&mut server).poll(cx));
    detach.end_body(&task, |cx| Pin::new(&mut server).poll(cx));
    let ends_well = matches!(read(&mut upload), Poll::Ready(None));
    let lives = begun.is_pending() && goes_on.is_pending() && ended.is_pending();
    Some(
        lives
            && waits
            && last
            && ends_well
            && (with_reader, between) == (Waits::ForMore, Waits::ForStream),
    )
}

/// A stream whose peer is [`send`](Self::send).
#[derive(Clone, Debug, Default)]
struct Packets(Arc<Mutex<Vec<u8>>>);

impl Packets {
    fn send(&self, bytes: &[u8]) {
        lock(&self.0).extend_from_slice(bytes);
    }
}

impl AsyncRead for Packets {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = lock(&self.0);
        if bytes.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(&bytes);
        bytes.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Packets {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Peek for Packets {
    fn has_bytes(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn reset_on_close(&self) {}
}

#[cfg(test)]
mod tests {
    #[test]
    fn hyper_keeps_its_waker_for_a_body_with_a_reader_and_ends_a_complete_body() {
        assert_eq!(super::behaves(), Some(true));
    }
}
