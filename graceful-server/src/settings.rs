//! hyper's settings: which of them [`Serve`](crate::Serve) passes on, and how they work together with the server's own limits.
//!
//! hyper reports some values only by a panic in the task of each connection. Here such a value is an error of the server's start.

use std::{io, time::Duration};

use graceful_layer::conn::StreamExecutor;
use hyper::{
    rt::Timer,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioTimer;

/// hyper adds a duration to an `Instant`, which panics for a very long duration. tokio uses the same length for "never".
const FAR_FUTURE: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
/// hyper panics in its setter for less.
const LEAST_BUFFER: usize = 8192;
/// A `http::HeaderMap` cannot hold more: hyper would panic when a client sends them.
const MOST_HEADERS: usize = 24_576;
/// RFC 9113 §6.5.2.
const FRAME_SIZES: std::ops::RangeInclusive<u32> = 16_384..=16_777_215;
/// RFC 9113 §6.9.1.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// The first setting that was refused.
#[derive(Clone, Debug, Default)]
struct Refused(Option<String>);

impl Refused {
    fn unless(&mut self, accepted: bool, setting: &str, why: impl FnOnce() -> String) -> bool {
        if !accepted && self.0.is_none() {
            self.0 = Some(format!("{setting}: {}", why()));
        }
        accepted
    }

    fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidInput, why.clone())),
            None => Ok(()),
        }
    }
}

fn bounded(duration: Duration) -> Duration {
    duration.min(FAR_FUTURE)
}

/// hyper's settings for HTTP/1, as [`Serve::http1`](crate::Serve::http1) hands them out.
///
/// The methods have the names, the meaning and the defaults of `hyper::server::conn::http1::Builder`, except where its documentation differs.
/// They apply to every connection of the server, even after the connection was parked: hyper is set up anew with the
/// same settings. A connection that moved to the successor gets the successor's settings.
///
/// ```no_run
/// # fn configure(serve: graceful_server::Serve) -> graceful_server::Serve {
/// serve.http1(|http1| {
///     http1.half_close(true).max_header_size(16 * 1024);
/// })
/// # }
/// ```
///
/// # References
/// [hyper: `server::conn::http1::Builder`](https://docs.rs/hyper/1/hyper/server/conn/http1/struct.Builder.html)
#[derive(Clone, Debug)]
pub struct Http1Settings {
    builder: http1::Builder,
    refused: Refused,
}

impl Http1Settings {
    pub(crate) fn new() -> Self {
        let mut builder = http1::Builder::new();
        // The tracker bounds request headers, idle and silent connections, in one walk for all of them.
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        Self {
            builder,
            refused: Refused::default(),
        }
    }

    /// Refuses what hyper would not take.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.refused.check()
    }

    pub(crate) fn builder(&self) -> &http1::Builder {
        &self.builder
    }

    /// Whether a client may close its sending side and still gets its response. Default: false.
    ///
    /// Without it, hyper drops a request whose client has closed its sending side before the response is complete. While draining, such
    /// a connection closes after its response like any other.
    pub fn half_close(&mut self, enabled: bool) -> &mut Self {
        self.builder.half_close(enabled);
        self
    }

    /// Whether a connection serves more than one request. Default: true.
    ///
    /// With false, each response has `Connection: close`. No connection becomes idle after a response, so none is parked or moved to a successor
    /// then.
    pub fn keep_alive(&mut self, enabled: bool) -> &mut Self {
        self.builder.keep_alive(enabled);
        self
    }

    /// Whether header names are written in title case: `Content-Length`. Default: false.
    pub fn title_case_headers(&mut self, enabled: bool) -> &mut Self {
        self.builder.title_case_headers(enabled);
        self
    }

    /// Whether the header names of a response get the case that they had in the request, if the service copies the
    /// request's extensions into the response. Default: false.
    pub fn preserve_header_case(&mut self, enabled: bool) -> &mut Self {
        self.builder.preserve_header_case(enabled);
        self
    }

    /// Whether the parts of a request line may be separated by more than one space. Default: false.
    pub fn allow_multiple_spaces_in_request_line_delimiters(&mut self, enabled: bool) -> &mut Self {
        self.builder
            .allow_multiple_spaces_in_request_line_delimiters(enabled);
        self
    }

    /// Whether a malformed header line is skipped. Default: false, which responds with 400 and closes.
    pub fn ignore_invalid_headers(&mut self, enabled: bool) -> &mut Self {
        self.builder.ignore_invalid_headers(enabled);
        self
    }

    /// The most header fields that a request may have. Default: 100. A request with more gets 431, and the connection closes.
    ///
    /// Any value that is set costs each request an allocation. Above 24,576 the server returns an error at its start: `http::HeaderMap` holds no
    /// more, and hyper would panic when a client sends them.
    pub fn max_headers(&mut self, max: usize) -> &mut Self {
        let why = || format!("{max} is more than a request can have ({MOST_HEADERS})");
        if self
            .refused
            .unless(max <= MOST_HEADERS, "http1.max_headers", why)
        {
            self.builder.max_headers(max);
        }
        self
    }

    /// The most bytes of a request line with its headers. Default: no limit of its own, but
    /// [`max_buf_size`](Self::max_buf_size). A larger request gets 431, and the connection closes. It bounds the trailers of a chunked body too.
    pub fn max_header_size(&mut self, max: usize) -> &mut Self {
        self.builder.max_header_size(max);
        self
    }

    /// How long hyper waits until the request headers are complete. Default: none, because [`Timeouts`](crate::Timeouts) bounds every wait of a connection.
    ///
    /// hyper's limit runs only while hyper has the connection, and hyper has a connection from a byte of a request on, until the
    /// connection is parked. So, with `L` for hyper's limit:
    ///
    /// | the client | is bounded by |
    /// |---|---|
    /// | has connected and sent nothing | `Timeouts::first_request` |
    /// | has sent a part of the request headers | the shorter of `L`, from its first byte (on a connection that is not parked: from the previous response), and `Timeouts::head` |
    /// | is idle, not yet parked | `L`, and `Timeouts::idle` |
    /// | is idle and parked | `Timeouts::idle` |
    ///
    /// A connection is parked after `Timeouts::park_after` (half a second). Where that is switched off, or longer than `L`, `L` is a limit on idle connections: hyper
    /// closes them without a look at what the client has just sent, so that a request can be lost. `Timeouts::idle` closes without that loss.
    pub fn header_read_timeout(&mut self, limit: impl Into<Option<Duration>>) -> &mut Self {
        self.builder.header_read_timeout(limit.into().map(bounded));
        self
    }

    /// Whether the headers and the body of a response are written with one vectored write (true), or copied into one buffer first (false).
    /// Default: vectored, except on TLS.
    pub fn writev(&mut self, enabled: bool) -> &mut Self {
        self.builder.writev(enabled);
        self
    }

    /// The most bytes of each of a connection's two buffers, and so of the request headers. Default: some 400 kB. Larger request headers get 431.
    ///
    /// Below 8,192 the server returns an error at its start.
    pub fn max_buf_size(&mut self, max: usize) -> &mut Self {
        let why = || format!("{max} bytes are less than hyper needs ({LEAST_BUFFER})");
        if self
            .refused
            .unless(max >= LEAST_BUFFER, "http1.max_buf_size", why)
        {
            self.builder.max_buf_size(max);
        }
        self
    }

    /// Whether responses get a `date` header. Default: true.
    pub fn auto_date_header(&mut self, enabled: bool) -> &mut Self {
        self.builder.auto_date_header(enabled);
        self
    }

    /// Not supported: with true, the server returns an error at its start.
    ///
    /// With it, hyper keeps a response in its buffer while it has bytes of a next request, and ends the connection without
    /// writing the response. A server that parks, moves or closes an idle connection takes it out of hyper, and would lose that response.
    pub fn pipeline_flush(&mut self, enabled: bool) -> &mut Self {
        let why = || {
            "not supported: a response that hyper holds back is lost when the connection is parked, moved or closed".to_owned()
        };
        self.refused.unless(!enabled, "http1.pipeline_flush", why);
        self
    }

    /// The timer for hyper's own limit, [`header_read_timeout`](Self::header_read_timeout). Default: tokio's.
    pub fn timer<T: Timer + Send + Sync + 'static>(&mut self, timer: T) -> &mut Self {
        self.builder.timer(timer);
        self
    }
}

/// hyper's settings for HTTP/2, as [`Serve::http2`](crate::Serve::http2) hands them out.
///
/// The methods have the names, the meaning and the defaults of `hyper::server::conn::http2::Builder`, except where its documentation differs.
/// A connection of HTTP/2 is neither parked nor moved: hyper has it from the client's preface to its end.
///
/// # References
/// [hyper: `server::conn::http2::Builder`](https://docs.rs/hyper/1/hyper/server/conn/http2/struct.Builder.html)
#[derive(Clone, Debug)]
pub struct Http2Settings {
    builder: http2::Builder<StreamExecutor>,
    refused: Refused,
}

impl Http2Settings {
    pub(crate) fn new() -> Self {
        let mut builder = http2::Builder::new(StreamExecutor);
        builder.timer(TokioTimer::new()).enable_connect_protocol();
        Self {
            builder,
            refused: Refused::default(),
        }
    }

    /// Refuses what hyper would not take.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.refused.check()
    }

    pub(crate) fn builder(&self) -> &http2::Builder<StreamExecutor> {
        &self.builder
    }

    fn window(&mut self, setting: &str, size: Option<u32>) -> Option<u32> {
        let why = || format!("a window has at most {LARGEST_WINDOW} bytes");
        let size = size?;
        self.refused
            .unless(size <= LARGEST_WINDOW, setting, why)
            .then_some(size)
    }

    /// The bytes that a client may send on a stream before the service has read them (SETTINGS_INITIAL_WINDOW_SIZE). Default: 1 MiB.
    ///
    /// Above 2³¹-1 the server returns an error at its start.
    pub fn initial_stream_window_size(&mut self, size: impl Into<Option<u32>>) -> &mut Self {
        let size = self.window("http2.initial_stream_window_size", size.into());
        self.builder.initial_stream_window_size(size);
        self
    }

    /// The same for all streams of a connection together. Default: 1 MiB.
    ///
    /// Above 2³¹-1 the server returns an error at its start.
    pub fn initial_connection_window_size(&mut self, size: impl Into<Option<u32>>) -> &mut Self {
        let size = self.window("http2.initial_connection_window_size", size.into());
        self.builder.initial_connection_window_size(size);
        self
    }

    /// Whether both windows follow the bandwidth that hyper measures with PINGs. Default: false. Replaces both sizes.
    pub fn adaptive_window(&mut self, enabled: bool) -> &mut Self {
        self.builder.adaptive_window(enabled);
        self
    }

    /// The largest frame that a client may send (SETTINGS_MAX_FRAME_SIZE). Default: 16 KiB.
    ///
    /// Outside of 16,384 to 16,777,215 the server returns an error at its start.
    pub fn max_frame_size(&mut self, size: impl Into<Option<u32>>) -> &mut Self {
        let Some(size) = size.into() else { return self };
        let why = || format!("{size} is not in {FRAME_SIZES:?}");
        let accepted = FRAME_SIZES.contains(&size);
        if self.refused.unless(accepted, "http2.max_frame_size", why) {
            self.builder.max_frame_size(size);
        }
        self
    }

    /// How many streams a client may have at once (SETTINGS_MAX_CONCURRENT_STREAMS). Default: 200. `None` is without a limit. A stream
    /// beyond it is reset with REFUSED_STREAM, and counts as no request.
    pub fn max_concurrent_streams(&mut self, max: impl Into<Option<u32>>) -> &mut Self {
        self.builder.max_concurrent_streams(max);
        self
    }

    /// The most streams that a client may reset before they reach the service, until the connection gets GOAWAY with
    /// ENHANCE_YOUR_CALM. Default: 20.
    pub fn max_pending_accept_reset_streams(&mut self, max: impl Into<Option<usize>>) -> &mut Self {
        self.builder.max_pending_accept_reset_streams(max);
        self
    }

    /// The most streams that the server resets for a client's errors, until the connection gets GOAWAY with ENHANCE_YOUR_CALM.
    /// Default: 1024. `None` is without a limit (RUSTSEC-2024-0003).
    pub fn max_local_error_reset_streams(&mut self, max: impl Into<Option<usize>>) -> &mut Self {
        self.builder.max_local_error_reset_streams(max);
        self
    }

    /// After how long without a frame from the client hyper sends a PING, also on an idle connection. Default: none.
    ///
    /// The PINGs keep no connection open: `Timeouts::idle` counts from the last stream, and while draining the client's PONG to a PING
    /// of these does not count as the PONG to the PING of the GOAWAY.
    pub fn keep_alive_interval(&mut self, interval: impl Into<Option<Duration>>) -> &mut Self {
        self.builder
            .keep_alive_interval(interval.into().map(bounded));
        self
    }

    /// How long hyper waits for the PONG to such a PING, until it closes the connection with its streams. Default: 20 s.
    pub fn keep_alive_timeout(&mut self, limit: Duration) -> &mut Self {
        self.builder.keep_alive_timeout(bounded(limit));
        self
    }

    /// The most bytes of a stream's response that hyper holds while the client's window is closed. Default: some 400 kB.
    ///
    /// Above `u32::MAX` the server returns an error at its start.
    pub fn max_send_buf_size(&mut self, max: usize) -> &mut Self {
        let accepted = u32::try_from(max).is_ok();
        let why = || format!("{max} bytes are more than {}", u32::MAX);
        if self
            .refused
            .unless(accepted, "http2.max_send_buf_size", why)
        {
            self.builder.max_send_buf_size(max);
        }
        self
    }

    /// Extended CONNECT, for WebSockets over HTTP/2 (RFC 8441). It is enabled by default, other than in hyper.
    pub fn enable_connect_protocol(&mut self) -> &mut Self {
        self.builder.enable_connect_protocol();
        self
    }

    /// The size of the table with which clients compress headers (SETTINGS_HEADER_TABLE_SIZE). Default: 4,096 bytes.
    pub fn header_table_size(&mut self, size: impl Into<Option<u32>>) -> &mut Self {
        self.builder.header_table_size(size);
        self
    }

    /// The most bytes of a request's headers, uncompressed (SETTINGS_MAX_HEADER_LIST_SIZE). Default: 16 kB. A request with more gets 431.
    pub fn max_header_list_size(&mut self, max: u32) -> &mut Self {
        self.builder.max_header_list_size(max);
        self
    }

    /// Whether responses get a `date` header. Default: true.
    pub fn auto_date_header(&mut self, enabled: bool) -> &mut Self {
        self.builder.auto_date_header(enabled);
        self
    }

    /// The timer for hyper's PINGs. Default: tokio's.
    pub fn timer<T: Timer + Send + Sync + 'static>(&mut self, timer: T) -> &mut Self {
        self.builder.timer(timer);
        self
    }
}
