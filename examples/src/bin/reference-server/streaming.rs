//! Answers that take time on the way: pieces with pauses between them, and very many bytes.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::sleep;

#[derive(Deserialize)]
pub(crate) struct Stream {
    ms: u64,
    #[serde(default = "ten")]
    chunks: u32,
}

fn ten() -> u32 {
    10
}

/// `chunk 0` and so on, spread over the time, and then `end`.
pub(crate) async fn stream(Query(Stream { ms, chunks }): Query<Stream>) -> Body {
    let pause = Duration::from_millis(ms) / chunks.max(1);
    let chunks = stream::iter(0..chunks).then(move |n| async move {
        sleep(pause).await;
        format!("chunk {n}\n")
    });
    let end = stream::iter(["end\n".to_owned()]);
    Body::from_stream(chunks.chain(end).map(Ok::<_, Infallible>))
}

#[derive(Deserialize)]
pub(crate) struct Count {
    n: u64,
}

/// Bytes that count from 0 to 250 and over again, never more of them in memory than a block.
pub(crate) async fn bytes(Query(Count { n }): Query<Count>) -> Response {
    let blocks = stream::unfold(n, |left| async move {
        let block = BLOCK.slice(..BLOCK.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let rest = left - block.len() as u64;
        (left > 0).then_some((Ok::<_, Infallible>(block), rest))
    });
    ([(CONTENT_LENGTH, n)], Body::from_stream(blocks)).into_response()
}

/// Whole rounds, so that one block follows another without a seam.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| (0..251).cycle().take(251 * 256).collect());

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn every_byte_is_its_place_modulo_251() {
        let n = 2 * BLOCK.len() + 17;
        let answer = bytes(Query(Count { n: n as u64 })).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), n);
        assert!(
            body.iter()
                .enumerate()
                .all(|(place, byte)| place % 251 == usize::from(*byte))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_takes_its_time_and_ends_with_end() {
        let begun = tokio::time::Instant::now();
        let body = stream(Query(Stream { ms: 900, chunks: 3 })).await;
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body, "chunk 0\nchunk 1\nchunk 2\nend\n");
        assert_eq!(begun.elapsed(), Duration::from_millis(900));
    }
}
