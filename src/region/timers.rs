//! The timers of a frame: none is armed before a poll that is pending asks for it (R11, R12, R13).

use super::{CANCELLED, DEADLINE, Frame, SHIELD, STOP};
use crate::clock::Sleep;
use crate::reason::{Reason, ReasonKind};
use std::task::Context;

#[derive(Default)]
pub(super) struct Timers {
    deadline: Option<Sleep>,
    /// From the request to stop until that becomes a cancellation.
    stop: Option<Sleep>,
    /// From the cancellation of something outside until the shield gives way.
    shield: Option<Sleep>,
    shield_is_down: bool,
}

impl Frame {
    /// Whether a timer is armed that has to be polled before the body is.
    pub(super) fn is_timed(&self) -> bool {
        let timers = &self.timers;
        timers.deadline.is_some() || timers.stop.is_some() || timers.shield.is_some()
    }

    pub(super) fn poll_timers(&mut self, cx: &mut Context<'_>) {
        self.poll_deadline(cx);
        if self.has(STOP) && !self.has(CANCELLED) {
            self.poll_stop(cx);
        }
        if self.shields() {
            self.poll_shield(cx);
        }
    }

    /// Whether this region is a shield, and still one.
    pub(super) fn shields(&self) -> bool {
        self.has(SHIELD) && !self.timers.shield_is_down
    }

    /// Arms the timer where a deadline is set, and cancels the region when it has passed (R11).
    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        if self.has(DEADLINE) {
            self.node().lower(DEADLINE);
            let timed = self.node().timed();
            self.timers.deadline = timed.deadline().map(|at| timed.clock().sleep_until(at));
        }
        let Some(timer) = &mut self.timers.deadline else { return };
        if timer.as_mut().poll(cx).is_ready() {
            self.timers.deadline = None;
            let timed = self.node().timed();
            let entered_at = timed.inner.lock().entered_at;
            timed.cancel(Reason::new(ReasonKind::Deadline, None, None, entered_at));
        }
    }

    /// A stop with a grace becomes a cancellation, for the same reason, when the grace is over (R13).
    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        if self.timers.stop.is_none() {
            let (timed, clock) = (self.node().timed(), self.node().clock());
            let Some(grace) = timed.grace() else { return };
            let now = clock.now();
            // One grace for the region, however many runs watch it. A time that no clock can tell never comes.
            let mut inner = timed.inner.lock();
            let due = inner.stop_due.or_else(|| now.checked_add(grace));
            inner.stop_due = due;
            drop(inner);
            self.timers.stop = due.map(|at| clock.sleep_until(at));
        }
        let Some(timer) = &mut self.timers.stop else { return };
        if timer.as_mut().poll(cx).is_ready() {
            self.timers.stop = None;
            if let Some(reason) = self.node().stop_reason() {
                self.node().timed().cancel(reason);
            }
        }
    }

    fn poll_shield(&mut self, cx: &mut Context<'_>) {
        if self.timers.shield.is_none() {
            let Some(grace) = self.node().grace() else { return };
            if self.node().timed().reason_around().is_none() {
                return;
            }
            let clock = self.node().clock();
            self.timers.shield = clock.now().checked_add(grace).map(|at| clock.sleep_until(at));
        }
        let Some(timer) = &mut self.timers.shield else { return };
        if timer.as_mut().poll(cx).is_ready() {
            self.timers.shield = None;
            self.timers.shield_is_down = true;
        }
    }
}
