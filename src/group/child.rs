//! A child: its future, and the side of its handle.

use super::ledger::Ledger;
use super::results::Outcome;
use super::side::{Ending, HandleSide};
use super::turns::Turn;
use crate::failure::Cause;
use crate::identity::TaskId;
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::ambient::Reach;
use crate::region::inbox;
use crate::region::look;
use crate::region::owner;
use crate::region::{ChildId, ChildRun, Ended, Node};
use crate::spawn::Spawn;
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Runs a child as a task of its own, and reports its end to its handle and its group. It holds nothing of its
    /// group: the caller of each function passes the group's ledger.
    pub(crate) struct Child<F: Future, P> {
        #[pin]
        run: ChildRun<F>,
        side: P,
        turn: Turn,
    }
}

impl<F, P, T, E> Child<F, P>
where
    F: Future<Output = Result<T, E>>,
    P: HandleSide<T>,
{
    /// A child that the group's gate has counted in.
    pub(super) fn new(
        ledger: &Ledger<E>,
        future: F,
        side: P,
        at: &'static Location<'static>,
        name: Option<&Arc<str>>,
        on_executor: bool,
    ) -> Self {
        let turn = ledger.gate.turns.line_up(side.child_id().task());
        let mut run = ChildRun::new(future, at);
        if let Some(name) = name {
            // It has its node from the start, because the node knows the name.
            let node = new_node(&side, ledger, at, on_executor, Some(Arc::clone(name)));
            side.store_node(&node);
            run.begin_in(node);
        } else if ChildId::OBSERVED && on_executor {
            let node = new_node(&side, ledger, at, on_executor, None);
            side.store_node(&node);
            run.begin_in(node);
        }
        Child { run, side, turn }
    }

    /// Polls the child, in its group's `run` or in a task of an executor. `reach` is the way of a request that another thread
    /// makes to the child alone while it is polled without a node. The child may be pending without a node if `stays` allows
    /// it, because a later request then lets its group's `run` poll it, and it gets its node.
    #[inline(always)]
    pub(super) fn poll_by(
        self: Pin<&mut Self>,
        on_executor: bool,
        reach: impl FnOnce(&P) -> Reach,
        stays: impl FnOnce(&P) -> bool,
        ledger: &Ledger<E>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut this = self.project();
        if !ledger.gate.turns.lets_pass(this.turn) {
            let task = this.side.child_id().task();
            begin(this.run.as_mut(), this.side, ledger, on_executor);
            let Some(frame) = this.run.as_mut().frame() else { return Poll::Pending };
            // A cancellation has to reach a child that waits for its turn.
            frame.register(cx.waker());
            let cancelled = look::is_cancelled_itself(frame.node());
            ready!(ledger.gate.turns.poll_turn(this.turn, task, cancelled, cx));
        }
        let polled = if this.run.node().is_none() {
            poll_light(this.run.as_mut(), this.side, on_executor, reach, stays, ledger, cx)
        } else {
            this.run.as_mut().poll_quick(cx)
        };
        let ended = match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(result)) => {
                // The region has been left, without a failure to report.
                this.run.as_ref().end(this.side, ledger, this.turn).returned(result);
                return Poll::Ready(());
            }
            None => ready!(this.run.as_mut().poll_run(cx, Leaving::of)),
        };
        let result = match ended {
            Ok(Ended::Value) => this.run.as_mut().value().map(Ok),
            Ok(ended) => ended.into_reason().map(Err),
            Err(_) => None,
        };
        let panic = this.run.as_mut().frame().and_then(|frame| {
            let panic = frame.take_panic(None);
            frame.send_failures();
            panic
        });
        let end = this.run.as_ref().end(this.side, ledger, this.turn);
        match (panic, result) {
            (Some(panic), result) => end.panicked(panic, result),
            (None, Some(Ok(result))) => end.returned(result),
            (None, Some(Err(reason))) => end.sign_out::<T>(Ending::Cancelled(reason)),
            (None, None) => {}
        }
        Poll::Ready(())
    }

    /// Drops the future of a child that has not left, and reports the child as cancelled; on an executor, with the result of its
    /// body, if that has ended (R6). The exits that the future abandons belong to the child's own region, so it gets its node
    /// first. They run on `executor`, if there is one.
    pub(super) fn drop_in(
        self: Pin<&mut Self>,
        ledger: &Ledger<E>,
        on_executor: bool,
        executor: Option<Arc<dyn Spawn + Send + Sync>>,
    ) {
        let mut this = self.project();
        begin(this.run.as_mut(), this.side, ledger, on_executor);
        if let (Some(node), Some(executor)) = (this.run.node(), executor) {
            inbox::set_spawner(node, executor);
        }
        // A child in the task falls with the run of its group, and its siblings with it: it fails none of them any more.
        let result = if on_executor { this.run.as_mut().value() } else { None };
        // The exits are handed over before the group counts the child out.
        let dropped = unwind::catch(|| this.run.as_mut().abandon());
        let end = this.run.as_ref().end(this.side, ledger, this.turn);
        if let Err(payload) = dropped {
            ledger.dropped_loudly(payload, end.at);
        }
        if let Some(result) = result {
            return end.returned(result);
        }
        let kind = match ledger.gate.is_abandoned() {
            true => ReasonKind::OwnerGone,
            false => ReasonKind::Shutdown,
        };
        let reason = end.node.and_then(|node| look::effective_reason(node));
        let reason = reason.unwrap_or_else(|| Reason::new(kind, None, None, Some(end.at)));
        end.sign_out::<T>(Ending::Cancelled(reason));
    }
}

/// Makes the child's node, which gets the requests to its group that came before.
fn new_node<T, E>(
    side: &impl HandleSide<T>,
    ledger: &Ledger<E>,
    at: &'static Location<'static>,
    on_executor: bool,
    name: Option<Arc<str>>,
) -> Arc<Node> {
    side.child_id().node(&ledger.node, at, on_executor, name)
}

/// Gives the child its node, if it has none.
#[inline(never)]
fn begin<F: Future<Output = Result<T, E>>, T, E>(
    run: Pin<&mut ChildRun<F>>,
    side: &impl HandleSide<T>,
    ledger: &Ledger<E>,
    on_executor: bool,
) {
    if run.node().is_none() {
        let node = new_node(side, ledger, run.at(), on_executor, None);
        side.store_node(&node);
        run.begin_pinned(node);
    }
}

/// Polls the child without a node, unless there is a request for it: to itself through its handle, or to its group (the
/// group's `run` then polls it). A pending executor child gets its node, because no poll of the group's `run` reaches it.
#[inline(always)]
fn poll_light<F, P, T, E>(
    mut run: Pin<&mut ChildRun<F>>,
    side: &P,
    on_executor: bool,
    reach: impl FnOnce(&P) -> Reach,
    stays: impl FnOnce(&P) -> bool,
    ledger: &Ledger<E>,
    cx: &mut Context<'_>,
) -> Option<Poll<Result<T, E>>>
where
    F: Future<Output = Result<T, E>>,
    P: HandleSide<T>,
{
    let (group, child_id, at) = (&ledger.node, side.child_id(), run.at());
    let light = if side.is_untouched() { child_id.light(group, at, on_executor) } else { None };
    let Some(light) = light else {
        begin(run.as_mut(), side, ledger, on_executor);
        return run.poll_quick(cx);
    };
    let store = |made: Option<Arc<Node>>| {
        let node = match made {
            Some(made) => {
                child_id.has_node(&made);
                made
            }
            None => new_node(side, ledger, at, on_executor, None),
        };
        // The slot of an executor child has it already.
        side.store_node(&node);
        node
    };
    let polled = run.as_mut().poll_light(light, reach(side), || stays(side), store, cx);
    if polled.is_none() && run.node().is_none() {
        // No region can become current any more, because the thread is exiting.
        begin(run.as_mut(), side, ledger, on_executor);
        return run.poll_quick(cx);
    }
    polled
}

/// The end of a child, which is reported once.
struct End<'a, P, E> {
    ledger: &'a Ledger<E>,
    side: &'a P,
    turn: &'a Turn,
    task: u64,
    node: Option<&'a Arc<Node>>,
    at: &'static Location<'static>,
}

impl<F: Future> ChildRun<F> {
    fn end<'a, P: HandleSide<T>, T, E>(
        self: Pin<&'a Self>,
        side: &'a P,
        ledger: &'a Ledger<E>,
        turn: &'a Turn,
    ) -> End<'a, P, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let this = self.get_ref();
        End { ledger, side, turn, task: side.child_id().task(), node: this.node(), at: this.at() }
    }
}

impl<P, E> End<'_, P, E> {
    /// The child's identity, with its name.
    fn task_id(&self) -> TaskId {
        let named = self.node.and_then(|node| owner::id(node));
        named.unwrap_or_else(|| TaskId::moored(self.task, None))
    }

    #[inline]
    fn returned<T>(&self, result: Result<T, E>)
    where
        P: HandleSide<T>,
    {
        match result {
            Ok(value) => {
                self.ledger.succeed(|| self.task_id(), self.at);
                self.sign_out(Ending::Value(value));
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed<T>(&self, error: E)
    where
        P: HandleSide<T>,
    {
        let task = self.task_id();
        let cause = Cause::Child { task: task.clone(), spawned_at: self.at, error };
        self.ledger.fail(cause, Some(task), self.at);
        self.sign_out(Ending::<T>::Failed);
    }

    fn panicked<T, R>(&self, payload: Payload, result: R)
    where
        P: HandleSide<T>,
    {
        let ledger = self.ledger;
        let isolated = ledger.child_panicked(payload, self.task_id(), self.at);
        if let Err(second) = unwind::catch(|| drop(result)) {
            // The handle shows the first panic, so the second one is dropped here.
            drop(ledger.child_panicked(second, self.task_id(), self.at));
        }
        self.sign_out(Ending::<T>::Panicked(isolated.map(Box::new)));
    }

    /// Fills the handle's slot first, so that the result is there when the group's `run` returns (invariant 2 of
    /// `slot`, invariant 3 of `ledger`). The child is counted out even if the value's drop panics.
    #[inline(always)]
    fn sign_out<T>(&self, ending: Ending<T>)
    where
        P: HandleSide<T>,
    {
        let (ledger, outcome) = (self.ledger, Outcome::of(&ending));
        if let Err(payload) = unwind::catch(|| self.side.fill(ending)) {
            drop(ledger.child_panicked(payload, self.task_id(), self.at));
        }
        ledger.sign_out(|| self.task_id(), outcome, *self.turn, self.task);
    }
}
