//! The poll of a frame's body, and the steps after it (R6).

use super::{Ended, Frame, Progress, Quick};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::ambient;
use crate::region::body::{Body, InPlace};
use crate::region::flags::{CANCELLED, DEADLINE, INBOX, REWAKE, SHIELD, STOP};
use crate::region::frame;
use crate::region::leave;
use crate::region::look;
use crate::region::own_exits::OwnExits;
use crate::region::time;
use crate::region::time::Times;
#[cfg(feature = "tracing")]
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::Mark;
use std::future::Future;
use std::task::{Context, Poll};

/// Polls the body of a region that was entered and has had no event since its last poll. Does nothing if there may have
/// been one.
#[inline(always)]
pub(in crate::region) fn poll_calm<F: Future>(
    frame: &mut Frame,
    mut body: InPlace<'_, F>,
    own: Option<&OwnExits>,
    cx: &mut Context<'_>,
) -> Quick {
    if !is_uneventful(frame, cx) || !frame.is_in_its_task() {
        return Quick::GoOn;
    }
    let (caught, shielded) = ambient::within_noting_shields(&mut frame.node, || body.poll(cx));
    match (&caught, is_calm(frame)) {
        (Ok(Poll::Pending), true) if !shielded => return Quick::Pending,
        (Ok(Poll::Ready(())), true) => return end_calmly(frame, own),
        _ => {}
    }
    after_quick_poll(frame, caught, shielded, &mut body.again(), cx)
}

/// As [`poll_calm`], for a region that has been entered in this poll: no waker is registered yet.
pub(in crate::region) fn poll_fresh(
    frame: &mut Frame,
    body: &mut dyn Body,
    own: Option<&OwnExits>,
    cx: &mut Context<'_>,
) -> Quick {
    if !is_calm(frame) || !frame.is_in_its_task() {
        return Quick::GoOn;
    }
    let (caught, shielded) = poll_within(frame, body, cx);
    if matches!(caught, Ok(Poll::Ready(()))) && is_calm(frame) {
        return end_calmly(frame, own);
    }
    after_quick_poll(frame, caught, shielded, body, cx)
}

/// The body of a calm region has ended: the region is left, if there is nothing to run in it.
fn end_calmly(frame: &mut Frame, own: Option<&OwnExits>) -> Quick {
    if leave::close_if_empty(frame.node(), own) {
        frame::end(frame);
        return Quick::Left;
    }
    frame.progress = Progress::Ended(Ended::Value);
    Quick::GoOn
}

/// Continues after a quick poll of the body that is not the whole poll.
#[inline(never)]
pub(in crate::region) fn after_quick_poll(
    frame: &mut Frame,
    caught: Result<Poll<()>, Payload>,
    shielded: bool,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Quick {
    if !shielded && matches!(caught, Ok(Poll::Pending)) && rests(frame, cx) {
        return Quick::Pending;
    }
    match after_poll(frame, caught, shielded, false, body, cx) {
        Poll::Pending => Quick::Pending,
        Poll::Ready(ended) => {
            frame.progress = Progress::Ended(ended);
            Quick::GoOn
        }
    }
}

/// Polls the body once, and once more if it turns out to be cancelled. If the body is pending then,
/// it is dropped at the await where it is parked (R6).
pub(crate) fn poll_body(
    frame: &mut Frame,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    if let Err(wrong) = frame.check_poller() {
        // The region is still entered: the caller abandons it, because a group has to tell its children first.
        frame.clear(body);
        return Poll::Ready(Ended::Misplaced(wrong));
    }
    let mut last_poll = false;
    if !is_calm(frame) {
        // The shield of a scope may give way between two polls of a run inside it, and before the first one.
        time::give_way_as_scope(frame.node());
        if frame::is_timed(frame) {
            if let Err(payload) = frame::poll_timers(frame, Times::All, cx) {
                return after_panic(frame, payload, body);
            }
        }
        last_poll = frame.has(CANCELLED);
    }
    let (caught, shielded) = poll_within(frame, body, cx);
    after_poll(frame, caught, shielded, last_poll, body, cx)
}

fn poll_within(
    frame: &mut Frame,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> (Result<Poll<()>, Payload>, bool) {
    #[cfg(feature = "tracing")]
    let _in_span = {
        let node = Arc::clone(frame.node());
        frame.extras().span.enter(&node)
    };
    ambient::within_noting_shields(&mut frame.node, || body.poll(cx))
}

/// Continues after a poll of the body; `last_poll` tells whether a pending body is dropped.
fn after_poll(
    frame: &mut Frame,
    caught: Result<Poll<()>, Payload>,
    shielded: bool,
    last_poll: bool,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    match caught {
        Ok(Poll::Ready(())) => {
            frame.drop_timers_of_body();
            Poll::Ready(Ended::Value)
        }
        Ok(_) if !last_poll && !shielded && rests(frame, cx) => Poll::Pending,
        Ok(_) => after_pending(frame, shielded, last_poll, body, cx),
        Err(payload) => after_panic(frame, payload, body),
    }
}

/// Whether the region has nothing to do in this poll beside its body.
#[inline]
fn is_uneventful(frame: &Frame, cx: &Context<'_>) -> bool {
    is_calm(frame) && frame.waker == Mark::of(cx.waker())
}

/// Registers the waker of a pending region, and returns whether that is all of the poll. An event from now on wakes
/// this run; an earlier one is found here.
#[inline]
fn rests(frame: &mut Frame, cx: &Context<'_>) -> bool {
    frame.register(cx.waker());
    is_calm(frame)
}

#[inline]
fn is_calm(frame: &Frame) -> bool {
    let events = CANCELLED | INBOX | REWAKE | DEADLINE | STOP | SHIELD;
    !frame.has(events) && frame.extras.is_none()
}

/// Keeps the panic of the body, of its drop after it had a value, or of the clock that
/// times it.
#[cold]
fn after_panic(frame: &mut Frame, payload: Payload, body: &mut dyn Body) -> Poll<Ended> {
    // Kept before the body is dropped, because that drop may panic, too.
    frame.keep_panic(payload);
    if body.has_value() {
        frame.drop_timers_of_body();
        return Poll::Ready(Ended::Value);
    }
    frame.clear(body);
    frame.extras().why = Some(Leaving::Panicked);
    Poll::Ready(Ended::Panicked)
}

fn after_pending(
    frame: &mut Frame,
    mut shielded: bool,
    last_poll: bool,
    body: &mut dyn Body,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    if last_poll && !shielded && frame.node().inner.lock().link_count() == 0 {
        // There is no shield below, so no waker has to be registered.
        return cancelled(frame, body);
    }
    // A cancellation or a hand-over from now on wakes this run; an earlier one is found below.
    frame.register(cx.waker());
    if !last_poll {
        if let Err(payload) = frame::poll_timers(frame, Times::All, cx) {
            return after_panic(frame, payload, body);
        }
    }
    if frame.has(CANCELLED) {
        if !last_poll {
            let (caught, shield) = poll_within(frame, body, cx);
            if !matches!(caught, Ok(Poll::Pending)) {
                return after_poll(frame, caught, shield, true, body, cx);
            }
            shielded = shield;
        }
        match unwind::catch(|| frame::waits_for_shield(frame, shielded, cx)) {
            Ok(waits) => shielded = waits,
            Err(payload) => return after_panic(frame, payload, body),
        }
        if !shielded {
            return cancelled(frame, body);
        }
        if let Err(payload) = frame::poll_timers(frame, Times::All, cx) {
            return after_panic(frame, payload, body);
        }
    }
    let _ = frame::poll_adopted(frame, cx);
    if shielded {
        ambient::hold_shield();
    }
    hold_own_shield(frame);
    Poll::Pending
}

/// For a region that stays pending: if it is a shield, no region around it may drop its body in this poll (R12).
#[inline]
pub(crate) fn hold_own_shield(frame: &Frame) {
    if frame.has(SHIELD) {
        ambient::hold_shield();
    }
}

/// Drops the body at the await where it is parked.
fn cancelled(frame: &mut Frame, body: &mut dyn Body) -> Poll<Ended> {
    frame.clear(body);
    frame.drop_timers();
    let reason = look::effective_reason(frame.node());
    let reason = reason.unwrap_or_else(|| Reason::new(ReasonKind::Requested, None, None, None));
    Poll::Ready(Ended::Cancelled(reason))
}
