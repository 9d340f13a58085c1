//! `axum::serve` with its graceful shutdown.

use graceful_benches::{
    routed::{router, serve_axum},
    server::{BoxError, start},
};

fn main() -> Result<(), BoxError> {
    start(|_| serve_axum(router()))
}
