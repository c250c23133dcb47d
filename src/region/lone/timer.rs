//! The timer of a region that has no node: it is part of the region's future.

use crate::clock::Alarm;
use crate::unwind;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

pin_project! {
    /// The deadline of a region that has no node, and its timer.
    #[derive(Default)]
    pub(crate) struct Deadline {
        at: Option<Instant>,
        armed: bool,
        #[pin]
        alarm: Alarm,
    }
}

/// The timer of a region that has no node.
pub(crate) trait LoneTimer {
    /// The deadline, once it was armed.
    fn deadline(&self) -> Option<Instant>;

    fn is_armed(&self) -> bool;

    fn arm(self: Pin<&mut Self>, at: Instant);

    /// The deadline that it is armed for, and the end of the poll: `None` if there is no clock.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<(Instant, Option<Poll<()>>)>;

    fn disarm(self: Pin<&mut Self>);
}

/// The timer of a task or a stack, which has no deadline.
impl LoneTimer for () {
    #[inline]
    fn deadline(&self) -> Option<Instant> {
        None
    }

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
    fn deadline(&self) -> Option<Instant> {
        self.at
    }

    #[inline]
    fn is_armed(&self) -> bool {
        self.armed
    }

    fn arm(self: Pin<&mut Self>, at: Instant) {
        let this = self.project();
        (*this.at, *this.armed) = (Some(at), true);
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<(Instant, Option<Poll<()>>)> {
        let this = self.project();
        let at = (*this.at).filter(|_| *this.armed)?;
        Some((at, this.alarm.poll(at, cx)))
    }

    fn disarm(self: Pin<&mut Self>) {
        let mut this = self.project();
        if std::mem::take(this.armed) {
            unwind::quietly(|| this.alarm.set(Alarm::default()));
        }
    }
}
