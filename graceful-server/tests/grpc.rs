//! tonic end to end: its routes under `serve`, its client at the other end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use graceful_server::{Phase, Serve};
use grpc::{Client, Sample};
use support::{BOUND, Server, until};
use tokio::time::timeout;
use tonic::{service::Routes, transport::Channel};

fn start(routes: Routes, configure: impl FnOnce(Serve) -> Serve) -> Server {
    Server::start(routes.into_axum_router(), configure)
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.addr)).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn a_unary_call_in_flight_finishes_over_a_stop() {
    let server = start(Routes::new(Sample), |serve| serve);
    let call = tokio::spawn(Client::new(channel(&server).await).slow(500));
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    assert_eq!(call.await.unwrap().unwrap(), "slow");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.drained_requests, 1);
}

#[tokio::test]
async fn a_stream_of_messages_is_told_and_ends_with_status_ok() {
    let server = start(Routes::new(Sample), |serve| serve);
    let mut client = Client::new(channel(&server).await);
    let mut ticks = client.ticks().await;
    assert_eq!(ticks.message().await.unwrap().as_deref(), Some("tick"));
    server.stop.fire();
    let last = timeout(BOUND, ticks.message()).await.expect("told");
    assert_eq!(last.unwrap().as_deref(), Some("last"));
    assert_eq!(ticks.message().await.unwrap(), None);
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
}

#[cfg(feature = "grpc-health")]
mod health {
    use std::time::Duration;

    use graceful_server::GrpcHealth;
    use graceful_server::layer::FailAt;
    use tonic::Streaming;
    use tonic_health::{
        ServingStatus::Serving,
        pb::{
            HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
            health_client::HealthClient,
        },
    };

    use super::{support::quick, *};

    async fn check(client: &mut HealthClient<Channel>, service: &str) -> ServingStatus {
        let service = service.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await;
        answer.unwrap().into_inner().status()
    }

    async fn watch(client: &mut HealthClient<Channel>) -> Streaming<HealthCheckResponse> {
        let service = String::new();
        client
            .watch(HealthCheckRequest { service })
            .await
            .unwrap()
            .into_inner()
    }

    /// What is said next; nothing at the end.
    async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
        let message = timeout(BOUND, watch.message()).await.expect("something");
        message.unwrap().map(|response| response.status())
    }

    #[tokio::test]
    async fn health_is_not_serving_from_lame_duck_on_whatever_is_set() {
        let health = GrpcHealth::new(graceful_server::Tracker::new());
        let reporter = health.reporter();
        let tracker = health.tracker().clone();
        let server = start(Routes::new(health), |serve| {
            let grace = quick().with_lame_duck(Duration::from_secs(60));
            serve.with_tracker(tracker).grace(grace)
        });
        let mut client = HealthClient::new(channel(&server).await);
        let mut watch = watch(&mut client).await;
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
        assert_eq!(check(&mut client, "").await, ServingStatus::Serving);

        server.tracker.begin();
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        reporter.set_service_status("", Serving).await;
        reporter.set_service_status("late", Serving).await;
        assert_eq!(check(&mut client, "").await, ServingStatus::NotServing);
        assert_eq!(check(&mut client, "late").await, ServingStatus::NotServing);

        server.tracker.resume();
        assert_eq!(
            next(&mut watch).await,
            Some(ServingStatus::Serving),
            "nothing in between"
        );
        assert_eq!(check(&mut client, "late").await, ServingStatus::Serving);

        server.tracker.begin();
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        server.tracker.advance();
        assert_eq!(
            next(&mut watch).await,
            None,
            "the watch does not hold the drain"
        );
        let report = timeout(BOUND, server.report).await.expect("a stop in time");
        assert!(report.unwrap().unwrap().is_clean());
    }

    #[tokio::test]
    async fn without_a_lame_duck_watchers_hear_it_before_their_stream_ends() {
        let health = GrpcHealth::new(graceful_server::Tracker::new()).fail_at(FailAt::Draining);
        let tracker = health.tracker().clone();
        let server = start(Routes::new(health), |serve| serve.with_tracker(tracker));
        let mut client = HealthClient::new(channel(&server).await);
        let mut watches = Vec::new();
        for _ in 0..20 {
            let mut watch = watch(&mut client).await;
            assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
            watches.push(watch);
        }
        server.stop.fire();
        for mut watch in watches {
            assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
            assert_eq!(next(&mut watch).await, None);
        }
        assert!(server.stopped().await.is_clean());
    }

    #[tokio::test]
    async fn what_the_program_sets_is_said_while_it_serves() {
        let health = GrpcHealth::new(graceful_server::Tracker::new());
        let reporter = health.reporter();
        let tracker = health.tracker().clone();
        let server = start(Routes::new(health).add_service(Sample), |serve| {
            serve.with_tracker(tracker)
        });
        let mut client = HealthClient::new(channel(&server).await);
        reporter.set_not_serving::<Sample>().await;
        assert_eq!(
            check(&mut client, "test.Sample").await,
            ServingStatus::NotServing
        );
        assert_eq!(check(&mut client, "").await, ServingStatus::Serving);
        reporter.set_serving::<Sample>().await;
        assert_eq!(
            check(&mut client, "test.Sample").await,
            ServingStatus::Serving
        );
        let unknown = HealthCheckRequest {
            service: "nobody".to_owned(),
        };
        assert_eq!(
            client.check(unknown).await.unwrap_err().code(),
            tonic::Code::NotFound
        );
        assert!(server.stopped().await.is_clean());
    }
}
