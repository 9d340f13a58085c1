//! The long poll: an answer that waits for news, or for the stop.

use std::time::Duration;

use crate::Drain;

impl Drain {
    /// Waits for `work`, or until this caller is told: `None` then, and `work` is dropped.
    ///
    /// Told means [`draining_within`](Self::draining_within) of `spread`. What is done already wins. A long poll answers
    /// `None` with 204, "nothing new, ask again".
    ///
    /// ```
    /// # async fn news() -> String { std::future::pending().await }
    /// use std::time::Duration;
    ///
    /// use graceful_layer::Drain;
    /// use http::{Response, StatusCode};
    ///
    /// async fn poll(drain: Drain) -> Response<String> {
    ///     let news = drain.or_drained(Duration::from_secs(2), news()).await;
    ///     let mut response = Response::new(String::new());
    ///     match news {
    ///         Some(news) => *response.body_mut() = news,
    ///         None => *response.status_mut() = StatusCode::NO_CONTENT,
    ///     }
    ///     response
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// As cancel safe as `work`; a new call draws a new share of the spread.
    pub async fn or_drained<F: Future>(&self, spread: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.draining_within(spread) => None,
        }
    }
}
