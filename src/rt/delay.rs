//! A timer of the runtime that polls it (R11).

#[cfg(feature = "tokio")]
use super::tokio::Native;
use crate::clock::{Sleep, is_beyond};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// The type is not `Unpin` without the feature either, so that the feature takes nothing away.
#[cfg(not(feature = "tokio"))]
type Native = std::marker::PhantomPinned;

pin_project! {
    /// Ready at an instant, by the timer of the runtime that polls it now. tokio's own timer needs no box in it.
    ///
    /// If another runtime polls it than before, it is made anew there, so that it needs nothing of its former runtime, which
    /// may be parked or gone.
    #[derive(Default)]
    pub(crate) struct Delay {
        #[pin]
        native: Native,
        // For a runtime without a timer of its own.
        sleep: Option<Sleep>,
    }
}

impl Delay {
    /// `None` if there is no timer: the runtime has none, and no feature provides another one. `at` is the same in every poll.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Option<Poll<()>> {
        if is_beyond(at) {
            return Some(Poll::Pending);
        }
        let this = self.project();
        #[cfg(feature = "tokio")]
        if let Some(polled) = this.native.poll(at, cx) {
            *this.sleep = None;
            return Some(polled);
        }
        if this.sleep.is_none() {
            *this.sleep = sleep_anywhere(at);
        }
        Some(this.sleep.as_mut()?.as_mut().poll(cx))
    }
}

/// The timer for runtimes without one: a timer thread, started by the first deadline.
#[cfg(feature = "timer")]
fn sleep_anywhere(at: Instant) -> Option<Sleep> {
    let left = at.saturating_duration_since(Instant::now());
    if left.is_zero() {
        // The thread would answer only after this poll.
        return Some(Box::pin(std::future::poll_fn(|_| Poll::Ready(()))));
    }
    Some(Box::pin(futures_timer::Delay::new(left)))
}

#[cfg(not(feature = "timer"))]
fn sleep_anywhere(_: Instant) -> Option<Sleep> {
    None
}
