//! What to send, and the one answer that is right.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{Answer, Loss};

/// A request with the answer it must get.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body, complete.
    pub body: Bytes,
    /// Sends the body in two halves this far apart, so that a stop can fall between them.
    pub pause: Duration,
    /// The right answer.
    pub expect: Expect,
}

/// The right body of an answer; its status is always 200.
#[derive(Clone, Debug)]
pub enum Expect {
    /// These bytes and no others.
    Body(Bytes),
    /// `pid=P generation=G`, the same as the answer's `x-pid` and `x-generation`.
    Identity,
}

impl Call {
    /// `GET /`: who are you?
    pub fn identity() -> Self {
        Self::get("/".to_owned(), Expect::Identity)
    }

    /// `GET /slow`: an answer that takes `time`.
    pub fn slow(time: Duration) -> Self {
        Self::get(
            format!("/slow?ms={}", time.as_millis()),
            Expect::body("ok\n"),
        )
    }

    /// `GET /stream`: an answer in `chunks` pieces over `time`.
    pub fn stream(time: Duration, chunks: u32) -> Self {
        let body: String = (0..chunks)
            .map(|chunk| format!("chunk {chunk}\n"))
            .collect();
        let path = format!("/stream?ms={}&chunks={chunks}", time.as_millis());
        Self::get(path, Expect::body(body + "end\n"))
    }

    /// `GET /bytes`: `length` bytes of a known pattern.
    pub fn bytes(length: usize) -> Self {
        let body: Vec<u8> = (0..=250).cycle().take(length).collect();
        Self::get(format!("/bytes?n={length}"), Expect::body(body))
    }

    /// `POST /count`: `length` bytes, which the server counts.
    pub fn count(length: usize) -> Self {
        let expect = Expect::body(format!("len={length}\n"));
        let body = Bytes::from(vec![b'x'; length]);
        let (method, path) = (Method::POST, "/count".to_owned());
        Self {
            method,
            path,
            body,
            pause: Duration::ZERO,
            expect,
        }
    }

    /// The same request with its body in two halves, `pause` apart.
    pub fn in_halves(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// A GET of any path.
    pub fn get(path: String, expect: Expect) -> Self {
        let (method, body) = (Method::GET, Bytes::new());
        Self {
            method,
            path,
            body,
            pause: Duration::ZERO,
            expect,
        }
    }

    /// Holds a complete answer against the right one.
    ///
    /// # Errors
    ///
    /// [`Wrong`](super::Outcome::Wrong), with what is wrong about it.
    pub fn judge(&self, answer: &Answer) -> Result<(), Loss> {
        if answer.status != StatusCode::OK {
            return Err(Loss::wrong(format!("status {}", answer.status)));
        }
        let right = match (&self.expect, answer.pid, answer.generation) {
            (Expect::Body(body), _, _) => body.clone(),
            (Expect::Identity, Some(pid), Some(generation)) => {
                format!("pid={pid} generation={generation}\n").into()
            }
            (Expect::Identity, _, _) => return Err(Loss::wrong("no x-pid or x-generation")),
        };
        if answer.body == right {
            return Ok(());
        }
        let (read, right) = (answer.body.len(), right.len());
        Err(Loss::wrong(format!(
            "another body: {read} bytes where {right} were due"
        )))
    }

    /// The body as it goes out: at once, or in two parts.
    pub(super) fn halves(&self) -> (Bytes, Bytes) {
        let first = if self.pause.is_zero() {
            self.body.len()
        } else {
            self.body.len() / 2
        };
        (self.body.slice(..first), self.body.slice(first..))
    }
}

impl Expect {
    /// Exactly this body.
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self::Body(body.into())
    }
}
