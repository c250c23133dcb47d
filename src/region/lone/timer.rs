//! The timer of a lone region: it is part of the region's future, and is kept when the region gets a node.

use crate::rt::Delay;
use crate::unwind;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

pin_project! {
    /// The timer of a region that has a deadline.
    #[derive(Default)]
    pub(crate) struct Deadline {
        // The deadline that it is armed for.
        at: Option<Instant>,
        #[pin]
        delay: Delay,
    }
}

/// The timer of a lone region, which it keeps after it has got a node.
pub(crate) trait LoneTimer {
    fn is_armed(&self) -> bool;

    fn arm(self: Pin<&mut Self>, at: Instant);

    /// The deadline that it is armed for, and the end of the poll: `None` if there is no clock.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<(Instant, Option<Poll<()>>)>;

    fn disarm(self: Pin<&mut Self>);
}

/// The timer of a task or a stack, which has no deadline.
impl LoneTimer for () {
    #[inline]
    fn is_armed(&self) -> bool {
        false
    }

    fn arm(self: Pin<&mut Self>, _: Instant) {}

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Option<(Instant, Option<Poll<()>>)> {
        None
    }

    fn disarm(self: Pin<&mut Self>) {}
}

impl LoneTimer for Deadline {
    #[inline]
    fn is_armed(&self) -> bool {
        self.at.is_some()
    }

    fn arm(self: Pin<&mut Self>, at: Instant) {
        *self.project().at = Some(at);
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<(Instant, Option<Poll<()>>)> {
        let this = self.project();
        let at = (*this.at)?;
        Some((at, this.delay.poll(at, cx)))
    }

    fn disarm(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.at.take().is_some() {
            unwind::quietly(|| this.delay.set(Delay::default()));
        }
    }
}
