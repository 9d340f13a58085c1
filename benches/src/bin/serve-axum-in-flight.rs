//! The same as `serve-axum` with tower-http's counter around it: what axum does for any layer that follows the body.

use graceful_benches::{
    routed::{router, serve_axum},
    server::{BoxError, start},
};
use tower_http::metrics::InFlightRequestsLayer;

fn main() -> Result<(), BoxError> {
    let (in_flight, _count) = InFlightRequestsLayer::pair();
    start(|_| serve_axum(router().layer(in_flight)))
}
