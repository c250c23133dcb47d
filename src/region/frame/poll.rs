//! The poll of a frame's body, and the steps after it (R6).

use super::{Ended, Frame, Progress, Quick};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::ambient;
use crate::region::body::{Body, InPlace};
use crate::region::flags::{CANCELLED, DEADLINE, INBOX, REWAKE, SHIELD, STOP};
use crate::region::links;
use crate::region::look;
use crate::region::own_exits::OwnExits;
use crate::region::time::Times;
#[cfg(feature = "tracing")]
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::Mark;
use std::future::Future;
use std::task::{Context, Poll};

impl Frame {
    /// Polls the body of a region that was entered and has had no event since its last poll. Does nothing if there may have
    /// been one.
    #[inline(always)]
    pub(in crate::region) fn poll_calm<F: Future>(
        &mut self,
        progress: &mut Progress,
        mut body: InPlace<'_, F>,
        own: Option<&OwnExits>,
        cx: &mut Context<'_>,
    ) -> Quick {
        if !self.is_uneventful(cx) || !self.is_in_its_task() {
            return Quick::GoOn;
        }
        let (caught, shielded) = ambient::watch_within(&mut self.node, false, || body.poll(cx));
        match (&caught, self.is_calm()) {
            (Ok(Poll::Pending), true) if !shielded => return Quick::Pending,
            (Ok(Poll::Ready(())), true) => return self.end_calmly(progress, own),
            _ => {}
        }
        self.go_on_from(progress, caught, shielded, &mut body.again(), cx)
    }

    /// As [`poll_calm`](Frame::poll_calm), for a region that has been entered in this poll: no waker is registered yet.
    pub(in crate::region) fn poll_fresh(
        &mut self,
        progress: &mut Progress,
        body: &mut dyn Body,
        own: Option<&OwnExits>,
        cx: &mut Context<'_>,
    ) -> Quick {
        if !self.is_calm() || !self.is_in_its_task() {
            return Quick::GoOn;
        }
        let (caught, shielded) = self.poll_within(body, cx);
        if matches!(caught, Ok(Poll::Ready(()))) && self.is_calm() {
            return self.end_calmly(progress, own);
        }
        self.go_on_from(progress, caught, shielded, body, cx)
    }

    /// The body of a calm region has ended: the region is left, if there is nothing to run in it.
    fn end_calmly(&mut self, progress: &mut Progress, own: Option<&OwnExits>) -> Quick {
        if self.node().leave_if_empty(own) {
            self.note_left();
            return Quick::Left;
        }
        *progress = Progress::Ended(Ended::Value);
        Quick::GoOn
    }

    /// Continues after a quick poll of the body that is not the whole poll.
    #[inline(never)]
    pub(in crate::region) fn go_on_from(
        &mut self,
        progress: &mut Progress,
        caught: Result<Poll<()>, Payload>,
        shielded: bool,
        body: &mut dyn Body,
        cx: &mut Context<'_>,
    ) -> Quick {
        if !shielded && matches!(caught, Ok(Poll::Pending)) && self.rests(cx) {
            return Quick::Pending;
        }
        match self.go_on(caught, shielded, false, body, cx) {
            Poll::Pending => Quick::Pending,
            Poll::Ready(ended) => {
                *progress = Progress::Ended(ended);
                Quick::GoOn
            }
        }
    }

    /// Polls the body once, and once more if it turns out to be cancelled. If the body is pending then,
    /// it is dropped at the await where it is parked (R6).
    pub(crate) fn poll_body(&mut self, body: &mut dyn Body, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Err(wrong) = self.check_poller() {
            // The region is still entered: the caller abandons it, because a group has to tell its children first.
            self.clear(body);
            return Poll::Ready(Ended::Misplaced(wrong));
        }
        let mut last_poll = false;
        if !self.is_calm() {
            if self.is_timed() {
                if let Err(payload) = self.poll_timers(Times::All, cx) {
                    return self.go_on_unwinding(payload, body);
                }
            }
            last_poll = self.has(CANCELLED);
        }
        let (caught, shielded) = self.poll_within(body, cx);
        self.go_on(caught, shielded, last_poll, body, cx)
    }

    fn poll_within(
        &mut self,
        body: &mut dyn Body,
        cx: &mut Context<'_>,
    ) -> (Result<Poll<()>, Payload>, bool) {
        #[cfg(feature = "tracing")]
        let _in_span = {
            let node = Arc::clone(self.node());
            self.extras().span.enter(&node)
        };
        ambient::watch_within(&mut self.node, false, || body.poll(cx))
    }

    /// Continues after a poll of the body; `last_poll` tells whether a pending body is dropped.
    fn go_on(
        &mut self,
        caught: Result<Poll<()>, Payload>,
        shielded: bool,
        last_poll: bool,
        body: &mut dyn Body,
        cx: &mut Context<'_>,
    ) -> Poll<Ended> {
        match caught {
            Ok(Poll::Ready(())) => {
                self.drop_timers_of_body();
                Poll::Ready(Ended::Value)
            }
            Ok(_) if !last_poll && !shielded && self.rests(cx) => Poll::Pending,
            Ok(_) => self.go_on_pending(shielded, last_poll, body, cx),
            Err(payload) => self.go_on_unwinding(payload, body),
        }
    }

    /// Whether the region has nothing to do in this poll beside its body.
    #[inline]
    fn is_uneventful(&self, cx: &Context<'_>) -> bool {
        self.is_calm() && self.waker == Mark::of(cx.waker())
    }

    /// Registers the waker of a pending region, and returns whether that is all of the poll. An event from now on wakes
    /// this run; an earlier one is found here.
    #[inline]
    fn rests(&mut self, cx: &Context<'_>) -> bool {
        self.register(cx.waker());
        self.is_calm()
    }

    #[inline]
    fn is_calm(&self) -> bool {
        let events = CANCELLED | INBOX | REWAKE | DEADLINE | STOP | SHIELD;
        !self.has(events) && self.extras.is_none()
    }

    /// Keeps the panic of the body, of its drop after it had a value, or of the clock that
    /// times it.
    #[cold]
    fn go_on_unwinding(&mut self, payload: Payload, body: &mut dyn Body) -> Poll<Ended> {
        // Kept before the body is dropped, because that drop may panic, too.
        self.keep_panic(payload);
        if body.has_value() {
            self.drop_timers_of_body();
            return Poll::Ready(Ended::Value);
        }
        self.clear(body);
        self.extras().why = Some(Leaving::Panicked);
        Poll::Ready(Ended::Panicked)
    }

    fn go_on_pending(
        &mut self,
        mut shielded: bool,
        last_poll: bool,
        body: &mut dyn Body,
        cx: &mut Context<'_>,
    ) -> Poll<Ended> {
        if last_poll && !shielded && !links::has_links(self.node()) {
            // There is no shield below, so no waker has to be registered.
            return self.cancelled(body);
        }
        // A cancellation or a hand-over from now on wakes this run; an earlier one is found below.
        self.register(cx.waker());
        if !last_poll {
            if let Err(payload) = self.poll_timers(Times::All, cx) {
                return self.go_on_unwinding(payload, body);
            }
        }
        if self.has(CANCELLED) {
            if !last_poll {
                let (caught, shield) = self.poll_within(body, cx);
                if !matches!(caught, Ok(Poll::Pending)) {
                    return self.go_on(caught, shield, true, body, cx);
                }
                shielded = shield;
            }
            match unwind::catch(|| self.waits_for_shield(shielded, cx)) {
                Ok(waits) => shielded = waits,
                Err(payload) => return self.go_on_unwinding(payload, body),
            }
            if !shielded {
                return self.cancelled(body);
            }
            if let Err(payload) = self.poll_timers(Times::All, cx) {
                return self.go_on_unwinding(payload, body);
            }
        }
        let _ = self.poll_adopted(cx);
        if shielded {
            ambient::hold_shield();
        }
        self.hold_own_shield();
        Poll::Pending
    }

    /// For a region that stays pending: if it is a shield, no region around it may drop its body in this poll (R12).
    #[inline]
    pub(crate) fn hold_own_shield(&self) {
        if self.has(SHIELD) {
            ambient::hold_shield();
        }
    }

    /// Drops the body at the await where it is parked.
    fn cancelled(&mut self, body: &mut dyn Body) -> Poll<Ended> {
        self.clear(body);
        self.drop_timers();
        let reason = look::effective_reason(self.node());
        let reason = reason.unwrap_or_else(|| Reason::new(ReasonKind::Requested, None, None, None));
        Poll::Ready(Ended::Cancelled(reason))
    }
}
