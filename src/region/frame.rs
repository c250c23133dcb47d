//! The frame in which a region polls its body, runs the exits that it adopted, and leaves.
//!
//! Every future that enters a region owns a frame: `task`, a scope's, a stack's and a group's `run`,
//! `close`, and each child. It holds the state that only the poller needs, so that the poll path of a
//! region that is not cancelled takes no lock beyond registering a changed waker (R19).

mod enter;
mod leave;
mod record;
mod shields;

use super::body::{Body, InPlace};
use super::exit::Running;
#[cfg(feature = "tracing")]
use super::observe::Span;
use super::time::Times;
use super::timers::Timers;
use super::{
    CANCELLED, DEADLINE, INBOX, Kind, Lane, Node, REWAKE, ROOT, SHIELD, STOP, Tally, ambient,
};
use crate::failure::Failures;
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::Mark;
use crate::wrong_task::{Misuse, WrongTask};
use shields::Watch;
use std::future::Future;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

/// How a body ended.
pub(crate) enum Ended {
    /// The body has a value.
    Value,
    /// The frame has the panic; see [`take_panic`](Frame::take_panic).
    Panicked,
    Cancelled(Reason),
    /// Polled by a task that does not own the region: the region is abandoned (R2). The body has a value if it had
    /// ended already.
    Misplaced(Box<WrongTask>),
}

pub(crate) struct Frame {
    /// The node: `None` before a [draft](Draft) has one, and while it is in the ambient context.
    node: Option<Arc<Node>>,
    at: &'static Location<'static>,
    stage: Stage,
    /// The waker that the node has, unless `REWAKE` is set.
    waker: Mark,
    extras: Option<Box<Extras>>,
}

/// State that is needed only once a region has an event.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) timers: Timers,
    lane: Lane,
    /// The region's own exit that has begun.
    exit: Option<Running>,
    why: Option<Leaving>,
    watch: Watch,
    tally: Tally,
    /// Of a scope: failures that were reported to the hook, for a cancellation that may come
    /// later.
    reported: Failures,
    #[cfg(feature = "tracing")]
    span: Span,
}

/// The result of a quick poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quick {
    /// The region has been left, with a value.
    Left,
    Pending,
    /// The caller has more to do; see [`Progress`].
    GoOn,
}

/// How far a run has come.
#[derive(Default)]
pub(crate) enum Progress {
    #[default]
    Body,
    /// The body has ended, and the region is being left.
    Ended(Ended),
    /// The region could not be entered; that is still to be returned.
    Refused(Box<Misuse>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Inside,
    Left,
}

impl Frame {
    pub(crate) fn new(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { node: Some(node), ..Frame::draft(at) }
    }

    /// For a region that has no node yet.
    #[inline]
    pub(crate) fn draft(at: &'static Location<'static>) -> Self {
        Frame { node: None, at, stage: Stage::New, waker: Mark::default(), extras: None }
    }

    /// For a region that was entered already: a child, a stay in a scope.
    pub(crate) fn entered(node: Arc<Node>, at: &'static Location<'static>) -> Self {
        Frame { stage: Stage::Inside, ..Frame::new(node, at) }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        // Only `within` empties the slot, and it puts the node back before other code can see
        // that.
        self.node.as_ref().expect("a frame has its node whenever its body is not polled")
    }

    /// The place where its future was made.
    #[inline]
    pub(super) fn at(&self) -> &'static Location<'static> {
        self.at
    }

    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        self.stage == Stage::Inside
    }

    #[inline]
    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    /// Whether it has not been polled, and has no node yet.
    #[inline]
    pub(crate) fn is_new_draft(&self) -> bool {
        self.stage == Stage::New && self.node.is_none()
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(super) fn extras_seen(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// Polls the body of a region that was entered and has had no event since its last poll. Does nothing if there may have
    /// been one.
    #[inline(always)]
    pub(super) fn poll_calm<F: Future>(
        &mut self,
        progress: &mut Progress,
        mut body: InPlace<'_, F>,
        cx: &mut Context<'_>,
    ) -> Quick {
        if !self.is_uneventful(cx) || !self.is_in_its_task() {
            return Quick::GoOn;
        }
        let (caught, shielded) = ambient::watch_within(&mut self.node, false, || body.poll(cx));
        match (&caught, self.is_calm()) {
            (Ok(Poll::Pending), true) if !shielded => return Quick::Pending,
            (Ok(Poll::Ready(())), true) if self.node().leave_if_empty() => {
                self.note_left();
                return Quick::Left;
            }
            _ => {}
        }
        self.go_on_from(progress, caught, shielded, &mut body.again(), cx)
    }

    /// Continues after a quick poll of the body that is not the whole poll.
    #[inline(never)]
    pub(super) fn go_on_from(
        &mut self,
        progress: &mut Progress,
        caught: Result<Poll<()>, Payload>,
        shielded: bool,
        body: &mut dyn Body,
        cx: &mut Context<'_>,
    ) -> Quick {
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
            Ok(_) if !last_poll && !shielded && self.is_uneventful(cx) => Poll::Pending,
            Ok(_) => self.go_on_pending(shielded, last_poll, body, cx),
            Err(payload) => self.go_on_unwinding(payload, body),
        }
    }

    /// Whether the region has nothing to do in this poll beside its body.
    #[inline]
    fn is_uneventful(&self, cx: &Context<'_>) -> bool {
        self.is_calm() && self.waker == Mark::of(cx.waker())
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
        if last_poll && !shielded && !self.node().has_links() {
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
        let reason = self.node().effective_reason();
        let reason = reason.unwrap_or_else(|| Reason::new(ReasonKind::Requested, None, None, None));
        Poll::Ready(Ended::Cancelled(reason))
    }

    /// The body has ended by itself. The times of a group count until its last child has left.
    #[inline]
    fn drop_timers_of_body(&mut self) {
        if self.extras.is_some() && self.node().kind() != Kind::Group {
            self.drop_timers();
        }
    }

    /// Drops the timers, because nothing is left in the region that its times could cancel.
    #[inline]
    pub(crate) fn drop_timers(&mut self) {
        let Some(extras) = self.extras_seen() else { return };
        let timers = (extras.timers.end_with_body(), std::mem::take(&mut extras.watch));
        if let Err(payload) = unwind::catch(|| drop(timers)) {
            self.keep_panic(payload);
        }
    }

    /// Drops the body with its region current, so that the regions inside hand their exits to
    /// it.
    pub(crate) fn clear(&mut self, body: &mut dyn Body) {
        if let Err(payload) = ambient::within(&mut self.node, false, || body.drop_body()) {
            self.keep_panic(payload);
        }
    }

    /// Runs `user_code`, such as the drop of a group's children, with the region current.
    pub(crate) fn within<R>(&mut self, user_code: impl FnOnce() -> R) -> Result<R, Payload> {
        ambient::within(&mut self.node, false, user_code)
    }

    /// Drops a value that the body returned, with the region current; a panic of the drop is
    /// kept.
    pub(crate) fn drop_within<T>(&mut self, left: T) {
        if let Err(payload) = self.within(|| drop(left)) {
            self.keep_panic(payload);
        }
    }

    #[inline]
    fn is_in_its_task(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.has(ROOT) || node.is_current_tasks())
    }

    /// A root task may move with its future; a region that is nested in a task is polled by that
    /// task (R5).
    #[inline]
    pub(crate) fn check_poller(&self) -> Result<(), Box<WrongTask>> {
        if self.has(ROOT) { Ok(()) } else { self.node().check_owner("poll", self.at) }
    }

    #[inline]
    pub(super) fn has(&self, any_of: u32) -> bool {
        self.node().has(any_of)
    }

    #[inline]
    pub(crate) fn register(&mut self, waker: &Waker) {
        if self.waker != Mark::of(waker) || self.has(REWAKE) {
            self.register_anew(waker);
        }
    }

    #[inline(never)]
    fn register_anew(&mut self, waker: &Waker) {
        let (mark, waker) = (Mark::of(waker), waker.clone());
        self.waker = mark;
        let old = {
            let mut inner = self.node().inner.lock();
            self.node().lower(&inner, REWAKE);
            inner.waker.replace(waker)
        };
        drop(old);
    }
}
