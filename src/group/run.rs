//! The future that polls a group: its body, its in-task children, and the way out.

use super::Shared;
use super::child::Member;
use super::gate::WaitForChildren;
use super::ready::MemberWaker;
use crate::failure::{Cause, Failure};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::{Ended, Exit, Frame};
use crate::sync::Arc;
use crate::unwind;
use crate::wrong_task::Misuse;
use pin_project_lite::pin_project;
use slab::Slab;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

pin_project! {
    /// The future of [`TaskGroup::run`](crate::TaskGroup::run).
    #[must_use = "futures do nothing unless polled; dropping it drops the body and the in-task children"]
    pub struct GroupRun<'a, 'env, F: Future, E> {
        crew: Crew<'a, 'env, E>,
        #[pin]
        body: Option<F>,
        // What the body returned, unless that was an error.
        value: Option<F::Output>,
    }

    impl<F: Future, E> PinnedDrop for GroupRun<'_, '_, F, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.crew.frame.is_inside() {
                this.crew.frame.report_foreign_drop();
                this.crew.frame.clear(this.body);
                let value = this.value.take();
                let _ = this.crew.frame.within(|| drop(value));
                this.crew.abandon();
            }
        }
    }
}

/// Everything of a run but its body.
struct Crew<'a, 'env, E> {
    shared: &'a Arc<Shared<'env, E>>,
    frame: Frame,
    at: &'static Location<'static>,
    members: Slab<Member<'env>>,
    /// By place among the members; kept when a child leaves, for the next one there.
    wakers: Vec<(Arc<MemberWaker>, Waker)>,
    woken: Vec<usize>,
    /// Why the body was dropped, if it was.
    cancelled: Option<Reason>,
    body_ended: bool,
    done: bool,
}

impl<'a, 'env, F: Future, E> GroupRun<'a, 'env, F, E> {
    pub(super) fn new(
        shared: &'a Arc<Shared<'env, E>>,
        body: F,
        at: &'static Location<'static>,
    ) -> Self {
        let crew = Crew {
            shared,
            frame: Frame::new(Arc::clone(&shared.ledger.node), at),
            at,
            members: Slab::new(),
            wakers: Vec::new(),
            woken: Vec::new(),
            cancelled: None,
            body_ended: false,
            done: false,
        };
        GroupRun { crew, body: Some(body), value: None }
    }
}

impl<'env, E> Crew<'_, 'env, E> {
    /// Polls the children that have news, once each.
    fn poll_members(&mut self, cx: &mut Context<'_>) {
        // Before the look at the news: what comes after it wakes us.
        self.shared.ready.register(cx.waker());
        let arrivals = std::mem::take(&mut *self.shared.arrivals.lock());
        self.shared.ready.swap(&mut self.woken);
        for member in arrivals {
            let place = self.members.insert(member);
            if place == self.wakers.len() {
                let waker = MemberWaker::new(place, Arc::clone(&self.shared.ready));
                self.wakers.push((Arc::clone(&waker), Waker::from(waker)));
            }
            self.woken.push(place);
        }
        let mut woken = std::mem::take(&mut self.woken);
        for place in woken.drain(..) {
            // The place may be empty, or another child's by now: then the poll is idle. The waker is the
            // place's own, so it has to be ready for the next child in any case.
            let (state, waker) = &self.wakers[place];
            state.unqueue();
            let Some(member) = self.members.get_mut(place) else { continue };
            let polled = unwind::catch(|| member.as_mut().poll(&mut Context::from_waker(waker)));
            if !matches!(polled, Ok(Poll::Pending)) {
                let left = self.members.remove(place);
                let dropped = self.frame.within(|| drop(left));
                for payload in [polled.map(drop), dropped].into_iter().filter_map(Result::err) {
                    self.shared.ledger.panicked(payload, None, self.at);
                }
            }
        }
        self.woken = woken;
    }

    /// Nobody polls the group any more: the in-task children go, the executor children are cancelled, and
    /// the wait for them becomes an exit (R16).
    fn abandon(&mut self) {
        let ledger = &self.shared.ledger;
        ledger.gate.abandon();
        let arrivals = std::mem::take(&mut *self.shared.arrivals.lock());
        let members = std::mem::take(&mut self.members);
        let dropped = self.frame.within(|| {
            unwind::each(arrivals, drop);
            unwind::each(members, drop);
        });
        if let Err(payload) = dropped {
            self.frame.tally.panic.get_or_insert(payload);
        }
        if ledger.gate.open() > 0 {
            let reason = match ledger.node.effective_reason() {
                Some(reason) => reason.seen_as(ReasonKind::Parent),
                None => Reason::new(ReasonKind::OwnerGone, None, None, Some(self.at)),
            };
            ledger.node.cancel(reason);
            let work = Box::pin(WaitForChildren(Arc::clone(&ledger.gate)));
            let wait = Exit { work, registered_at: self.at };
            if let Err(wait) = ledger.node.push_exit(wait) {
                let wave = ledger.node.wave_of(wait, Leaving::Abandoned);
                ledger.node.hand_over(wave);
            }
        }
        self.frame.abandon();
        self.shared.ready.clear();
        self.done = true;
    }
}

impl<'env, F, T, E> GroupRun<'_, 'env, F, E>
where
    F: Future<Output = Result<T, E>>,
{
    /// Ready when the body has ended; an early result where it never will.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Failure<E>>> {
        let this = self.project();
        let crew = this.crew;
        if let Err(misuse) = crew.frame.begin("run") {
            match misuse {
                Misuse::WrongTask(wrong) => {
                    crew.done = true;
                    return Poll::Ready(Some(Failure::only(Cause::Rejected(*wrong))));
                }
                misuse => panic!("{misuse}"),
            }
        }
        let ended = ready!(crew.frame.poll_body(this.body, cx));
        crew.body_ended = true;
        let ledger = &crew.shared.ledger;
        match ended {
            Ended::Value(Ok(value)) => *this.value = Some(Ok(value)),
            Ended::Value(Err(error)) => {
                ledger.fail(Cause::Body(error), ledger.node.owner_id(), crew.at);
            }
            Ended::Panicked(payload) => {
                ledger.panicked(payload, ledger.node.owner_id(), crew.at);
            }
            Ended::Cancelled(reason) => crew.cancelled = Some(reason),
            Ended::Misplaced(wrong) => {
                crew.abandon();
                let (mut causes, _) = ledger.settle();
                causes.push(Cause::Cancelled(Reason::misplaced(wrong)));
                return Poll::Ready(Failure::from_causes(causes));
            }
        }
        Poll::Ready(None)
    }
}

impl<F, T, E> Future for GroupRun<'_, '_, F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Failure<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.crew.done {
            return Poll::Pending;
        }
        if !self.crew.body_ended {
            if let Poll::Ready(Some(failure)) = self.as_mut().poll_body(cx) {
                return Poll::Ready(Err(failure));
            }
        }
        let this = self.project();
        let crew = this.crew;
        crew.poll_members(cx);
        if !crew.body_ended {
            return Poll::Pending;
        }
        crew.frame.poll_meanwhile(cx);
        ready!(crew.shared.ledger.gate.poll_close(cx));
        ready!(crew.frame.poll_leave(cx, Leaving::Completed));
        crew.shared.ready.clear();
        crew.done = true;

        let (mut causes, panic) = crew.shared.ledger.settle();
        let value = this.value.take();
        if let Some(panic) = crew.frame.take_panic(panic) {
            drop((value, causes));
            crew.frame.resume(panic);
            return Poll::Pending;
        }
        if let (true, Some(reason)) = (causes.is_empty(), crew.cancelled.take()) {
            causes.push(Cause::Cancelled(reason));
        }
        let exits = std::mem::take(&mut crew.frame.tally.failures);
        causes.extend(exits.into_iter().map(Cause::Exit));
        match (Failure::from_causes(causes), value) {
            (Some(failure), _) => Poll::Ready(Err(failure)),
            (None, Some(value)) => Poll::Ready(value.map_err(|error| {
                // An error went to the ledger and never got here.
                Failure::only(Cause::Body(error))
            })),
            (None, None) => Poll::Pending,
        }
    }
}

impl<F, T, E> futures_core::FusedFuture for GroupRun<'_, '_, F, E>
where
    F: Future<Output = Result<T, E>>,
{
    fn is_terminated(&self) -> bool {
        self.crew.done
    }
}

impl<F: Future, E> fmt::Debug for GroupRun<'_, '_, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupRun")
    }
}
