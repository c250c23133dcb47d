//! The wait of a cancelled region for the shields inside it (R12).
//!
//! `FuturesUnordered` and similar combinators poll only futures that were woken: most polls of such a body do not reach
//! a shield inside, and the shield holds all the same. A poll in which the body keeps
//! a shield without polling it is not different, but such a shield must not hold. To distinguish the two, the region wakes the
//! shields below. If none was polled within the patience after that, the body is dropped.
//!
//! The shields are woken only once in that time, because `FuturesUnordered` wakes itself after it has polled a future,
//! and the poll that follows reaches no shield again. And they are not woken again before as much time has passed as they
//! took to be polled: if the poll of all of 100,000 shields takes longer than the patience, each poll of the region would
//! otherwise wake all of them (R19).

use super::Frame;
use crate::clock::Timer;
use crate::region::flags::HELD;
use crate::region::shields;
use crate::region::time::clock;
use std::task::{Context, Poll};
use std::time::Instant;

#[derive(Default)]
pub(super) struct ShieldWait {
    /// The timer for the next check of whether a shield was polled.
    next: Option<Timer>,
    /// Whether the shields below were woken when it was armed.
    woken: bool,
    /// The instant at which they were woken, until one of them has been polled.
    unseen: Option<Instant>,
    /// Whether the region has woken itself, since a shield was below, after a poll that reached one elsewhere.
    asked: bool,
}

/// Whether a shield inside keeps the body, after a poll that `reached` a shield or did not.
pub(super) fn waits_for_shield(frame: &mut Frame, reached: bool, cx: &mut Context<'_>) -> bool {
    let below = shields::has_shield_below(frame.node());
    if !(reached || below) {
        return false;
    }
    if !frame.has(HELD) {
        shields::hold(frame.node());
    }
    // Polled, and not below: the body dropped it later in the poll, or it was entered elsewhere. The next poll shows which.
    // The region asks only once, because two cancelled regions would wake each other in turns for ever.
    let asked = std::mem::replace(&mut frame.extras().shield_wait.asked, !below);
    if !(below || asked) {
        cx.waker().wake_by_ref();
    }
    let (now, patience) = (clock::now(frame.node()), shields::shield_patience(frame.node()));
    let Some(later) = now.checked_add(patience) else { return true };
    let ShieldWait { next, woken, unseen, .. } = &mut frame.extras().shield_wait;
    let over = next.take_if(|next| next.at() <= now).is_some();
    // This poll has reached a shield that was woken at `since`: the shields rest for as long as that took, which begins now.
    let since = if reached { unseen.take() } else { None };
    let rest = since.and_then(|since| now.checked_add(now.saturating_duration_since(since)));
    let rest = rest.filter(|rest| next.as_ref().is_none_or(|next| next.at() < *rest));
    *woken = *woken && (!over || rest.is_some());
    // Woken before, and unseen since: the shields had their time, and do not hold.
    let wakes = !(reached || *woken);
    if wakes && unseen.replace(now).is_some() {
        return false;
    }
    *woken |= wakes;
    // The body may keep the shield and poll it no more, so there is a second check, and no third.
    let again = (wakes || (next.is_none() && !over)).then_some(later);
    if let Some(at) = rest.or(again) {
        frame.extras().shield_wait.next = Some(clock::timer(frame.node(), at));
    }
    if wakes {
        shields::wake_shields_below(frame.node());
    }
    let Some(next) = &mut frame.extras().shield_wait.next else { return true };
    // Without a timer, the clock is read in every poll.
    if let Some(Poll::Ready(())) = next.try_poll(cx) {
        // The timer became ready between the read of the clock and this.
        next.disarm();
        cx.waker().wake_by_ref();
    }
    true
}
