//! A gRPC service without generated code, and a client for it: strings in, strings out.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use graceful_server::Drain;
use tokio::time::sleep;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
    transport::Channel,
};
use tonic_prost::ProstCodec;

/// `Slow` answers after so many milliseconds, `Ticks` sends one message and then waits to be told.
#[derive(Clone)]
pub(crate) struct Sample;

impl NamedService for Sample {
    const NAME: &'static str = "test.Sample";
}

impl Service<http::Request<Body>> for Sample {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/test.Sample/Slow" => grpc.unary(Slow, request).await,
                _ => grpc.server_streaming(Ticks, request).await,
            })
        })
    }
}

struct Slow;

impl UnaryService<String> for Slow {
    type Response = String;
    type Future = BoxFuture<Response<String>, Status>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move {
            sleep(Duration::from_millis(request.get_ref().parse().unwrap())).await;
            Ok(Response::new("slow".to_owned()))
        })
    }
}

struct Ticks;

impl ServerStreamingService<String> for Ticks {
    type Response = String;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, _: Request<String>) -> Self::Future {
        let drain = Drain::current().unwrap();
        let ticks = stream::iter([Ok("tick".to_owned())]).chain(stream::pending());
        let ticks = drain.end_stream(Duration::from_millis(500), ticks, |_| {
            Some(Ok("last".to_owned()))
        });
        Box::pin(async move { Ok(Response::new(ticks.boxed())) })
    }
}

/// A client of [`Sample`].
pub(crate) struct Client(tonic::client::Grpc<Channel>);

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    pub(crate) async fn slow(mut self, ms: u64) -> Result<String, Status> {
        self.0
            .ready()
            .await
            .map_err(|e| Status::unknown(e.to_string()))?;
        let path = http::uri::PathAndQuery::from_static("/test.Sample/Slow");
        let answer = self
            .0
            .unary(Request::new(ms.to_string()), path, ProstCodec::default());
        answer.await.map(Response::into_inner)
    }

    pub(crate) async fn ticks(&mut self) -> Streaming<String> {
        self.0.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/test.Sample/Ticks");
        let codec = ProstCodec::<String, String>::default();
        let answer = self
            .0
            .server_streaming(Request::new(String::new()), path, codec);
        answer.await.unwrap().into_inner()
    }
}
