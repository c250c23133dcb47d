//! The future that polls a group: its body, its in-task children, and leaving.

#![allow(
    private_bounds,
    reason = "a group keeps its children in one of two types, and a user has no third"
)]

use super::gate::Guards;
use super::hub::Hub;
use super::member::{Keeps, Kept};
use super::members::Members;
use crate::failure::{Cause, Failure};
use crate::fused::fused;
use crate::opaque::opaque;
use crate::reason::{Leaving, Reason};
use crate::region::frame;
use crate::region::links;
use crate::region::look;
use crate::region::observe;
use crate::region::owner;
use crate::region::request;
use crate::region::{Ended, Frame, InPlace, Phase, ambient};
use crate::sync::{Arc, next_number};
use crate::wrong_task::WrongTask;
use futures_core::TryFuture;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The future of [`TaskGroup::run`](crate::TaskGroup::run). `M` tells in which type in-task
    /// children are kept.
    #[must_use = "futures do nothing unless polled; dropping it drops the body and the in-task children"]
    pub struct GroupRun<'a, F: TryFuture, M: Keeps> {
        crew: Crew<'a, F::Error, M::Child<F::Error>>,
        #[pin]
        body: Option<F>,
        // The value that the body returned, if it was not an error.
        value: Option<F::Output>,
    }

    impl<F: TryFuture, M: Keeps> PinnedDrop for GroupRun<'_, F, M> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.crew.frame.is_inside() {
                frame::report_foreign_drop(&this.crew.frame);
                let mut body = InPlace { body: this.body, value: this.value, why: unasked };
                this.crew.frame.clear_dropped(&mut body);
                let value = this.value.take();
                this.crew.frame.drop_within(value);
                this.crew.abandon(None);
            }
        }
    }
}

/// A group tells its exits how it ends when its children have left.
fn unasked<T>(_: &T) -> Leaving {
    Leaving::Completed
}

/// The parts of a run that do not depend on its body.
struct Crew<'a, E, M: Kept<E>> {
    shared: &'a Hub<E, M>,
    frame: Frame,
    /// The number by which the exit of a dropped run is sorted among those of other regions; 0 before the entry.
    number: u64,
    members: Members<'a, E, M>,
    /// The requests to the children for which the members have been polled.
    requests_seen: u32,
}

impl<'a, F: TryFuture, M: Keeps> GroupRun<'a, F, M> {
    pub(crate) fn new(
        shared: &'a Hub<F::Error, M::Child<F::Error>>,
        body: F,
        at: &'static Location<'static>,
    ) -> Self {
        let crew = Crew {
            shared,
            frame: Frame::new(Arc::clone(&shared.ledger.node), at),
            number: 0,
            members: Members::new(&shared.ledger.gate),
            requests_seen: 0,
        };
        GroupRun { crew, body: Some(body), value: None }
    }
}

impl<E, M: Kept<E>> Crew<'_, E, M> {
    /// The group's last poll is over. `why` is the reason for its executor children; by default, that their owner is
    /// gone.
    fn abandon(&mut self, why: Option<Reason>) {
        let members = &mut self.members;
        let shared = self.shared;
        let drop_members = || members.drop_all(&shared.ledger);
        shared.abandon(&mut self.frame, self.number, why, drop_members);
    }

    /// The run is polled by a task that does not own the group: it is abandoned (R2). `value` is the value that the
    /// body had returned.
    fn misplaced<V>(&mut self, wrong: Box<WrongTask>, value: V) -> Failure<E> {
        self.frame.drop_within(value);
        // Taken before the rest goes outwards, because this result is a record, too.
        let reason = Reason::misplaced(wrong);
        let mut errors = self.shared.ledger.settle();
        errors.push(Cause::Cancelled(reason.clone()), self.frame.at());
        let record = self.frame.take_record(errors);
        self.abandon(Some(reason.clone()));
        let returned = record.or((), &mut self.frame);
        returned.err().unwrap_or_else(|| Failure::only(Cause::Cancelled(reason)))
    }
}

impl<E, M: Kept<E>> Crew<'_, E, M> {
    /// Acts on the group's times after its body has ended, because they count as long as it has children. A panic of
    /// its clock counts as a child's panic.
    fn poll_times(&mut self, cx: &mut Context<'_>) {
        if let Err(payload) = frame::poll_times(&mut self.frame, cx) {
            self.shared.ledger.panicked(payload, None, self.frame.at());
        }
    }

    /// Polls once each child that was woken, before the body, which then finds their results in the same poll. If the
    /// group has got a request, or waits for a time, which counts before the times inside (R9), the body comes first.
    fn poll_woken(&mut self) {
        let Crew { shared, frame, members, requests_seen, .. } = self;
        let seen_all = || *requests_seen == request::requests_to_children(&shared.ledger.node);
        let calm = !members.is_empty() && !frame::is_timed(frame) && seen_all();
        if calm && members.take_woken() {
            self.poll_taken();
        }
    }

    /// Polls once each child that was woken or has arrived, and every child if the group has got a request. To be
    /// called with the run's waker registered, because a request to the group that comes after this has to wake the run.
    fn poll_members(&mut self, cx: &mut Context<'_>) {
        let Crew { shared, members, requests_seen, .. } = self;
        let before =
            std::mem::replace(requests_seen, request::requests_to_children(&shared.ledger.node));
        let mut news = members.take_news(shared, cx.waker());
        if *requests_seen != before {
            news |= members.wake_all();
        }
        if news {
            self.poll_taken();
        }
    }

    /// Polls the children, and what goes on beside them. Ready when the body and the last child have ended, and the group is
    /// closed.
    fn poll_children(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.frame.has_body_ended() {
            self.frame.register(cx.waker());
            if frame::is_timed(&mut self.frame) {
                self.poll_times(cx);
            }
        }
        self.poll_members(cx);
        if self.members.are_shielded() {
            ambient::hold_shield();
        }
        let node = self.shared.node();
        let gate = &self.shared.ledger.gate;
        if links::may_link_up(node) && gate.open() > 0 {
            // A cancellation further out has to reach its children, although no poll may reach the group
            // (R12).
            links::link_up(node);
        }
        if !self.frame.has_body_ended() {
            return Poll::Pending;
        }
        frame::poll_meanwhile(&mut self.frame, cx);
        observe::phase(node, Phase::Children);
        if gate.is_occupied() {
            // No timer is armed if the children end with the body (R11). A cancellation wakes this run.
            self.poll_times(cx);
        }
        let mut closed = gate.poll_close(Guards::Awaited, cx).is_ready();
        // The cancellation matters only where guards alone hold the group up.
        if !closed && gate.open() == 0 && look::is_cancelled(node) {
            closed = gate.poll_close(Guards::Ignored, cx).is_ready();
        }
        if closed {
            return Poll::Ready(());
        }
        frame::hold_own_shield(&self.frame);
        Poll::Pending
    }

    fn poll_taken(&mut self) {
        let Crew { shared, frame, members, .. } = self;
        let at = frame.at();
        let panicked = |payload| shared.ledger.panicked(payload, None, at);
        if let Err(payload) = frame.within(|| members.poll(&shared.ledger, panicked)) {
            shared.ledger.panicked(payload, None, at);
        }
    }
}

impl<F, T, E, M> GroupRun<'_, F, M>
where
    F: Future<Output = Result<T, E>>,
    M: Keeps,
{
    /// Ready when the body has ended; with a result if the run ends here, without waiting for
    /// the children.
    #[track_caller]
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Failure<E>>> {
        let this = self.project();
        let crew = this.crew;
        if let Err(misuse) = frame::begin(&mut crew.frame, "run") {
            frame::end(&mut crew.frame);
            return Poll::Ready(Err(Failure::rejected(*misuse)));
        }
        if crew.number == 0 {
            crew.number = next_number();
        }
        if crew.frame.check_poller().is_ok() {
            crew.poll_woken();
        }
        let mut body = InPlace { body: this.body, value: this.value, why: unasked };
        let gate = &crew.shared.ledger.gate;
        gate.set_in_poll(true);
        let polled = frame::poll_body(&mut crew.frame, &mut body, cx);
        gate.set_in_poll(false);
        let ended = ready!(polled);
        let (ledger, at) = (&crew.shared.ledger, crew.frame.at());
        match (&ended, this.value.take()) {
            (Ended::Value, Some(Err(error))) => {
                ledger.fail(Cause::Body(error), owner::id(&ledger.node), at);
            }
            (_, value) => *this.value = value,
        }
        match ended {
            Ended::Misplaced(wrong) => {
                return Poll::Ready(Err(crew.misplaced(wrong, this.value.take())));
            }
            Ended::Panicked => ledger.body_panicked(at),
            Ended::Value | Ended::Cancelled(_) => {}
        }
        crew.frame.end_body(ended);
        Poll::Ready(Ok(()))
    }
}

impl<F, T, E, M> Future for GroupRun<'_, F, M>
where
    F: Future<Output = Result<T, E>>,
    M: Keeps,
{
    type Output = Result<T, Failure<E>>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.crew.frame.has_left() {
            return Poll::Pending;
        }
        if !self.crew.frame.has_body_ended() {
            if let Poll::Ready(Err(failure)) = self.as_mut().poll_body(cx) {
                return Poll::Ready(Err(failure));
            }
        } else if let Err(wrong) = self.crew.frame.check_poller() {
            let this = self.project();
            return Poll::Ready(Err(this.crew.misplaced(wrong, this.value.take())));
        }
        let this = self.project();
        let crew = this.crew;
        // Most groups end with their body. A child that comes later finds the group closed.
        if !(crew.frame.has_body_ended() && crew.shared.ledger.gate.close(Guards::Awaited)) {
            ready!(crew.poll_children(cx));
        }
        crew.frame.drop_timers();
        let cancelled = crew.frame.cancelled().cloned();
        let catches = cancelled.is_some() && !crew.shared.ledger.has_failed();
        let why = cancelled.clone().map_or(Leaving::Completed, Leaving::Cancelled);
        ready!(frame::poll_leave(&mut crew.frame, cx, why, catches, None));
        crew.shared.ledger.gate.clear();

        let mut errors = crew.shared.ledger.settle();
        if let (0, Some(reason)) = (errors.len(), cancelled) {
            errors.push(Cause::Cancelled(reason), crew.frame.at());
        }
        // An error of the body went to the ledger, so the value is no error.
        crew.frame.result(this.value.take(), errors).map(|result| {
            result.and_then(|value| value.map_err(|error| Failure::only(Cause::Body(error))))
        })
    }
}

fused!({F: Future<Output = Result<T, E>>, T, E, M: Keeps} GroupRun<'_, F, M>: |run| run.crew.frame.has_left());

opaque!({F: TryFuture, M: Keeps} GroupRun<'_, F, M>);
