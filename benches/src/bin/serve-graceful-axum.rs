//! Ours: `graceful_server::serve` with an axum router.

use graceful_benches::{
    ours::{listener, run},
    routed::router,
    server::{BoxError, Setting, start},
};

fn main() -> Result<(), BoxError> {
    start(serve)
}

async fn serve(setting: Setting) -> Result<(), BoxError> {
    run(graceful_server::serve(listener()?, router()), setting).await
}
