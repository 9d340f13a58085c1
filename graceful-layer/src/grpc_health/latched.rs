//! tonic's health service, overruled by the phase.

use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
        health_server::Health,
    },
    server::{HealthReporter, HealthService},
};

use super::watch::Watch;
use crate::{FailAt, Phase, Tracker};

#[derive(Debug)]
pub(super) struct Latched {
    tracker: Tracker,
    statuses: HealthService,
    fail_at: FailAt,
}

impl Latched {
    pub(super) fn new(tracker: Tracker, reporter: HealthReporter, fail_at: FailAt) -> Self {
        Self {
            tracker,
            statuses: HealthService::from_health_reporter(reporter),
            fail_at,
        }
    }
}

#[tonic::async_trait]
impl Health for Latched {
    type WatchStream = Watch;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = self.statuses.check(request).await?;
        let status = response.get_ref().status;
        response.get_mut().status = effective(status, self.fail_at, self.tracker.phase());
        Ok(response)
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watch>, Status> {
        let statuses = self.statuses.watch(request).await?;
        Ok(statuses.map(|statuses| Watch::new(statuses, self.tracker.clone(), self.fail_at)))
    }
}

/// What is said in `phase` when `status` was set.
pub(super) fn effective(status: i32, fail_at: FailAt, phase: Phase) -> i32 {
    match fail_at.fails(phase) {
        true => ServingStatus::NotServing.into(),
        false => status,
    }
}
