//! The watch of a cancelled region over the shields inside it (R12).
//!
//! `FuturesUnordered` and similar combinators poll only futures that were woken: most polls of such a body do not reach
//! a shield inside, and the shield holds all the same. A shield that the body keeps without polling it looks the same
//! in a poll, and must not hold. To distinguish the two, the region wakes the shields below. If none was polled within
//! the patience after that, the body is dropped.
//!
//! The shields are woken only once in that time, because `FuturesUnordered` wakes itself after it has polled a future,
//! and the poll that follows reaches no shield again.

use super::super::HELD;
use super::Frame;
use crate::clock::Timer;
use std::task::{Context, Poll};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Watch {
    /// The time at which the shields below were last woken.
    woken: Option<Instant>,
    /// Whether none of them has been polled since.
    unseen: bool,
    /// The time of the next look. `None` if the last look found a shield that is polled.
    next: Option<Instant>,
    /// The timer for that time. Without a timer, the clock is read in every poll.
    timer: Option<Timer>,
}

impl Frame {
    /// Whether a shield inside keeps the body, after a poll that `reached` a shield or did not.
    pub(super) fn waits_for_shield(&mut self, reached: bool, cx: &mut Context<'_>) -> bool {
        if !reached && !self.node().has_shield_below() {
            return false;
        }
        if !self.has(HELD) {
            self.node().hold();
        }
        let (now, patience) = (self.node().now(), self.node().shield_patience());
        let Watch { woken, unseen, next, .. } = &mut self.extras().watch;
        let over = next.is_some_and(|at| at <= now);
        let later = now.checked_add(patience);
        if reached {
            // The body may have dropped the shield later in this poll, so there is a second look, in the poll for the
            // timer or for the shield's wake-up.
            let second = std::mem::take(unseen) || over;
            *next = if second { None } else { next.or(later) };
        } else if *unseen {
            if over {
                return false;
            }
        } else {
            match woken.map(|at| at.checked_add(patience)) {
                Some(again) if again.is_none_or(|again| again > now) => *next = again,
                _ => {
                    (*woken, *unseen, *next) = (Some(now), true, later);
                    self.node().wake_shields_below();
                }
            }
        }
        self.poll_watch(cx);
        true
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) {
        let Watch { next, timer, .. } = &mut self.extras().watch;
        let next = *next;
        if timer.as_ref().map(Timer::at) != next {
            let armed = next.map(|at| self.node().timer(at));
            self.extras().watch.timer = armed;
        }
        let Some(timer) = &mut self.extras().watch.timer else { return };
        if let Some(Poll::Ready(())) = timer.poll_if_told(cx) {
            // The timer became ready between the read of the clock and this.
            self.extras().watch.timer = None;
            cx.waker().wake_by_ref();
        }
    }
}
