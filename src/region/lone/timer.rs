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

/// The result of a poll of the timer.
#[derive(PartialEq, Eq)]
pub(crate) enum TimerPoll {
    /// The timer is armed and has not come, or it is not armed.
    Waits,
    /// The deadline has come.
    HasCome(Instant),
    /// There is no clock: the frame has to act on the deadline.
    Unknown,
}

/// The timer of a lone region, which it keeps after it has got a node.
pub(crate) trait LoneTimer {
    fn is_armed(&self) -> bool;

    fn arm(self: Pin<&mut Self>, at: Instant);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> TimerPoll;

    fn disarm(self: Pin<&mut Self>);
}

/// The timer of a task or a stack, which has no deadline.
impl LoneTimer for () {
    #[inline]
    fn is_armed(&self) -> bool {
        false
    }

    fn arm(self: Pin<&mut Self>, _: Instant) {}

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> TimerPoll {
        TimerPoll::Waits
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> TimerPoll {
        let this = self.project();
        let Some(at) = *this.at else { return TimerPoll::Waits };
        match this.delay.poll(at, cx) {
            Some(Poll::Pending) => TimerPoll::Waits,
            Some(Poll::Ready(())) => TimerPoll::HasCome(at),
            None => TimerPoll::Unknown,
        }
    }

    fn disarm(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.at.take().is_some() {
            unwind::quietly(|| this.delay.set(Delay::default()));
        }
    }
}
