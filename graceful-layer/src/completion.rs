//! When an HTTP request is over, for `ConnTrackingLayer`: with the last byte of its answer's body (law 3).

use http::Response;
use http_body::Body;
use tower::load::completion::TrackCompletion;

use crate::{RequestGuard, body::ResponseBody};

/// A [`TrackCompletion`] that holds the request until the response's body has ended or was dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompleteOnBody;

impl<B: Body> TrackCompletion<RequestGuard, Response<B>> for CompleteOnBody {
    type Output = Response<ResponseBody<B>>;

    fn track_completion(&self, guard: RequestGuard, response: Response<B>) -> Self::Output {
        response.map(|body| ResponseBody::counted(body, guard))
    }
}
