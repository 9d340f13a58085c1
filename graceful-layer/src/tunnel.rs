//! An HTTP/2 stream that became a tunnel, by extended CONNECT: its request is in flight until the tunnel is closed (law 3).
//!
//! hyper drops the answer's body when the head is sent, and at once gives its executor a task that lives as long as the
//! tunnel. So the request is *offered* on this thread while the body lives, and our executor takes it for that task.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::head::Head;

type Offer = Mutex<Head>;

thread_local!(static OFFERED: RefCell<Weak<Offer>> = const { RefCell::new(Weak::new()) });

/// A request that waits for its tunnel's task. Under an executor that does not know of it nobody takes it: then it is over
/// with this, when the answer is sent.
#[derive(Debug)]
pub(crate) struct Tunnel(Arc<Offer>);

impl Tunnel {
    pub(crate) fn offer(head: Head) -> Self {
        let offer = Arc::new(Mutex::new(head));
        OFFERED.set(Arc::downgrade(&offer));
        Self(offer)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        take(&self.0).end(true);
    }
}

fn take(offer: &Offer) -> Head {
    offer.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(feature = "hyper")]
pub(crate) use held::hold;

#[cfg(feature = "hyper")]
mod held {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use pin_project_lite::pin_project;

    use super::{OFFERED, take};
    use crate::head::Head;

    /// Has `task` hold the request that is offered on this thread, or gives it back if there is none.
    pub(crate) fn hold<F>(task: F) -> Result<Held<F>, F> {
        let offer = OFFERED.take().upgrade();
        let mut head = offer.map_or(Head::NONE, |offer| take(&offer));
        match head.record() {
            Some(_) => Ok(Held { task, head }),
            None => Err(task),
        }
    }

    pin_project! {
        /// A tunnel's task, with its request: dropped before its end at the cutoff, it is one that was cut.
        pub(crate) struct Held<F> {
            #[pin]
            task: F,
            head: Head,
        }
    }

    impl<F: Future> Future for Held<F> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let this = self.project();
            if this.task.poll(cx).is_pending() {
                this.head.sent(0, cx);
                return Poll::Pending;
            }
            // A connection that was cut ends its tunnels too.
            let cut = this
                .head
                .record()
                .is_some_and(|record| record.has_lost_connection());
            this.head.end(!cut);
            Poll::Ready(())
        }
    }
}
