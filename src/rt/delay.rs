//! A timer of the runtime that polls it (R11).

use crate::clock::Sleep;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Ready at an instant, by the timer of the runtime that polls it now.
///
/// Polled by another runtime than before it is made anew there, so that it needs nothing of its former runtime, which
/// may be parked or gone.
pub(crate) struct Delay {
    at: Instant,
    sleep: Option<Sleep>,
    #[cfg(feature = "tokio")]
    made_in: super::tokio::MadeIn,
}

impl Delay {
    pub(crate) fn new(at: Instant) -> Self {
        Delay {
            at,
            sleep: None,
            #[cfg(feature = "tokio")]
            made_in: super::tokio::MadeIn::default(),
        }
    }

    /// `None` if there is no timer: the runtime has none, and no feature provides another one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        #[cfg(feature = "tokio")]
        if let Some(polled) = self.made_in.poll(self.at, &mut self.sleep, cx) {
            return Some(polled);
        }
        if self.sleep.is_none() {
            self.sleep = sleep_anywhere(self.at);
        }
        Some(self.sleep.as_mut()?.as_mut().poll(cx))
    }

    /// Releases the timer; the next poll makes it anew.
    pub(crate) fn disarm(&mut self) {
        self.sleep = None;
    }
}

pin_project! {
    /// As a [`Delay`], for a future that is pinned: tokio's own timer needs no box in it.
    #[derive(Default)]
    pub(crate) struct Alarm {
        #[pin]
        native: Native,
        // For a runtime without a timer of its own.
        boxed: Option<Box<Delay>>,
    }
}

#[cfg(feature = "tokio")]
use super::tokio::Native;
/// The type is not `Unpin` without the feature either, so that the feature takes nothing away.
#[cfg(not(feature = "tokio"))]
type Native = std::marker::PhantomPinned;

impl Alarm {
    /// As [`Delay::poll`].
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Option<Poll<()>> {
        let this = self.project();
        #[cfg(feature = "tokio")]
        if this.boxed.is_none() {
            if let Some(polled) = this.native.poll(at, cx) {
                return Some(polled);
            }
        }
        this.boxed.get_or_insert_with(|| Box::new(Delay::new(at))).poll(cx)
    }
}

/// The timer for runtimes without one.
fn sleep_anywhere(at: Instant) -> Option<Sleep> {
    #[cfg(feature = "timer")]
    return Some(super::timer::sleep_until(at));
    #[cfg(not(feature = "timer"))]
    {
        let _ = at;
        None
    }
}
