//! The service: counts in `call`, never in `poll_ready` (law 3).

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower::load::completion::{CompleteOnResponse, TrackCompletion};
use tower_service::Service;

use super::future::ResponseFuture;
use crate::{
    RequestGuard,
    source::{Loose, Source},
};

/// The service of [`ConnTrackingLayer`](super::ConnTrackingLayer).
#[derive(Clone, Debug)]
pub struct ConnTracking<S, C = CompleteOnResponse> {
    inner: S,
    source: Source,
    completion: C,
}

impl<S, C> ConnTracking<S, C> {
    pub(super) fn loose(inner: S, loose: Arc<Loose>, completion: C) -> Self {
        Self {
            inner,
            source: Source::Loose(loose),
            completion,
        }
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, C, Req> Service<Req> for ConnTracking<S, C>
where
    S: Service<Req>,
    C: TrackCompletion<RequestGuard, S::Response> + Clone,
{
    type Response = C::Output;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let guard = self.source.begin();
        ResponseFuture::new(self.inner.call(request), guard, self.completion.clone())
    }
}
