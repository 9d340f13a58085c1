//! Ours: `graceful_server::serve`, everything on.

use graceful_benches::{
    ours::{listener, run},
    server::{BoxError, Setting, start},
    service::hello,
};

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    run(
        graceful_server::serve(listener()?, tower::service_fn(hello)),
        setting,
    )
    .await
}
