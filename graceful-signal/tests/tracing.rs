//! Feature `tracing`: one event for each delivery.
#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "the subscriber is test code too")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use graceful_signal::ShutdownSignal;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber::with_default};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            self.0 += &format!(" {field}={value:?}");
        }
    }
}

#[test]
fn each_delivery_is_one_event() {
    let log = Log::default();
    with_default(log.clone(), || {
        let (trigger, _signal) = ShutdownSignal::manual();
        trigger.fire();
        trigger.fire();
    });
    let expected = [
        "INFO level=1 cause=manual trigger",
        "INFO level=2 cause=manual trigger",
    ];
    assert_eq!(*log.0.lock().unwrap(), expected);
}
