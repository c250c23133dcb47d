//! The timers of a frame: none is armed before a poll that is pending asks for it (R11, R12, R13).

use super::{CANCELLED, DEADLINE, Frame, SHIELD, STOP};
use crate::clock::Sleep;
use std::task::Context;

#[derive(Default)]
pub(super) struct Timers {
    deadline: Option<Sleep>,
    /// From the request to stop until that becomes a cancellation.
    stop: Option<Sleep>,
    /// From the cancellation of something outside until the shield gives way.
    shield: Option<Sleep>,
}

impl Timers {
    /// What the body was timed by; a shield holds, and gives way, until it has been left.
    pub(super) fn end_with_body(&mut self) {
        (self.deadline, self.stop) = (None, None);
    }

    fn are_armed(&self) -> bool {
        self.deadline.is_some() || self.stop.is_some() || self.shield.is_some()
    }
}

impl Frame {
    /// Whether a timer is armed that has to be polled before the body is.
    pub(super) fn is_timed(&mut self) -> bool {
        self.extras_seen().is_some_and(|extras| extras.timers.are_armed())
    }

    pub(super) fn poll_timers(&mut self, cx: &mut Context<'_>) {
        self.poll_deadline(cx);
        if self.has(STOP) && !self.has(CANCELLED) {
            self.poll_stop(cx);
        }
        if self.has(SHIELD) {
            self.poll_shield(cx);
        }
    }

    /// Whether the timer in `place` has rung; it is gone then.
    fn poll_timer(
        &mut self,
        place: impl Fn(&mut Timers) -> &mut Option<Sleep>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(extras) = self.extras_seen() else { return false };
        let timer = place(&mut extras.timers);
        let rings = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if rings {
            *timer = None;
        }
        rings
    }

    /// Arms the timer where a deadline is set, and cancels the region when it has passed (R11).
    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        if self.has(DEADLINE) {
            {
                let inner = self.node().inner.lock();
                self.node().lower(&inner, DEADLINE);
            }
            let timed = self.node().timed();
            let timer = timed.deadline().map(|at| timed.sleep_until(at));
            self.extras().timers.deadline = timer;
        }
        if self.poll_timer(|timers| &mut timers.deadline, cx) {
            self.node().timed().expire();
        }
    }

    /// A stop with a grace becomes a cancellation, for the same reason, when the grace is over (R13).
    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        if self.extras().timers.stop.is_none() {
            let timed = self.node().timed();
            let Some(grace) = timed.grace() else { return };
            let now = timed.now();
            // One grace for the region, however many runs watch it. A time that no clock can tell never comes.
            let mut inner = timed.inner.lock();
            let rest = inner.rest();
            let due = rest.stop_due.or_else(|| now.checked_add(grace));
            rest.stop_due = due;
            drop(inner);
            self.extras().timers.stop = due.map(|at| timed.sleep_until(at));
        }
        if self.poll_timer(|timers| &mut timers.stop, cx) {
            if let Some(reason) = self.node().stop_reason() {
                self.node().timed().cancel(reason);
            }
        }
    }

    pub(super) fn poll_shield(&mut self, cx: &mut Context<'_>) {
        let Some(grace) = self.node().grace() else { return };
        let timed = self.node().timed();
        let Some(reason) = timed.reason_around() else {
            // Nor any more, where what was cancelled has left and this was only lent to it.
            if let Some(extras) = self.extras_seen() {
                extras.timers.shield = None;
            }
            return;
        };
        if self.extras().timers.shield.is_none() {
            let now = timed.now();
            let mut inner = timed.inner.lock();
            // One grace for each cancellation, however many runs it meets. A time that no clock can tell never comes.
            let begun = inner.rest_seen().and_then(|rest| rest.shield_due.as_ref());
            let begun = begun.filter(|(begun_by, _)| begun_by.is_of(&reason)).map(|(_, due)| *due);
            let due = begun.or_else(|| now.checked_add(grace));
            let old = std::mem::replace(
                &mut inner.rest().shield_due,
                due.map(|due| (reason.clone(), due)),
            );
            drop(inner);
            drop(old);
            self.extras().timers.shield = due.map(|at| timed.sleep_until(at));
        }
        if self.poll_timer(|timers| &mut timers.shield, cx) {
            self.node().give_way();
        }
    }
}
