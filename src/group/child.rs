//! A child: its future, its handle's slot, and the ledger that counts it.

use super::gate::Turn;
use super::handle::TaskHandle;
use super::ledger::Ledger;
use super::results::Outcome;
use super::slot::Slot;
use super::spawner::Closed;
use crate::failure::{Cause, ChildError};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::ambient::Posting;
use crate::region::inbox;
use crate::region::look;
use crate::region::{Ended, Frame, Newborn, Node, Run};
use crate::spawn::{Refused, Spawn};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Runs a child as a task of its own, and reports its end to its handle and its group.
    pub(crate) struct Child<F: Future<Output = Result<T, E>>, T, E> {
        #[pin]
        run: Run<F>,
        exit: SignOut<T, E>,
    }

    impl<F: Future<Output = Result<T, E>>, T, E> PinnedDrop for Child<F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Dropped before its end, or never polled: the exits that its future abandons belong to its own
            // region, so it needs its node now.
            if this.exit.ledger.is_some() {
                this.exit.begin(this.run.frame(), false);
            }
        }
    }
}

/// Signs the child out exactly once, by its end or by its drop. A field after the future, so that the
/// future has been dropped, and has handed its exits over, when the group counts the child out.
struct SignOut<T, E> {
    at: &'static Location<'static>,
    slot: Arc<Slot<T>>,
    turn: Turn,
    /// `None` once it has signed out.
    ledger: Option<Arc<Ledger<E>>>,
}

impl<F, T, E> Child<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    /// A child that has been counted in, or the future handed back if the group has closed.
    pub(super) fn new(
        ledger: &Arc<Ledger<E>>,
        future: F,
        at: &'static Location<'static>,
        name: Option<&Arc<str>>,
        posted: bool,
    ) -> Result<(Self, TaskHandle<T>), Closed<F>> {
        if !ledger.admit() {
            return Err(Closed(future));
        }
        let slot = Slot::new();
        let handle = TaskHandle::new(Arc::clone(&slot));
        let turn = ledger.gate.line_up(slot.newborn.task());
        let ledger = Some(Arc::clone(ledger));
        let exit = SignOut { at, slot, turn, ledger };
        let mut run = Run::newborn(future, at);
        if let Some(name) = name {
            exit.begin_named(run.frame_mut(), posted, name);
        }
        Ok((Child { run, exit }, handle))
    }
}

impl<F, T, E> Future for Child<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_by::<Crewmate>(cx)
    }
}

/// The kinds of task that poll a child without a node.
trait Poller<T> {
    /// Whether an executor polls the child.
    const POSTED: bool;
    /// The group and the slot, for an executor. `None` for the group's `run`, which polls the
    /// child also when the group gets a request.
    fn posting(group: &Arc<Node>, slot: &Arc<Slot<T>>) -> Option<Posting>;
}

/// The group's `run`.
struct Crewmate;

impl<T> Poller<T> for Crewmate {
    const POSTED: bool = false;

    #[inline]
    fn posting(_: &Arc<Node>, _: &Arc<Slot<T>>) -> Option<Posting> {
        None
    }
}

/// A task of an executor.
struct Executor;

impl<T: Send + 'static> Poller<T> for Executor {
    const POSTED: bool = true;

    #[inline]
    fn posting(group: &Arc<Node>, slot: &Arc<Slot<T>>) -> Option<Posting> {
        Some((Arc::clone(group), Arc::clone(slot) as _))
    }
}

impl<F, T, E> Child<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    fn poll_by<P: Poller<T>>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let exit = &mut *this.exit;
        let Some(ledger) = &exit.ledger else { return Poll::Ready(()) };
        if !ledger.gate.lets_pass(&mut exit.turn) {
            let frame = this.run.as_mut().frame();
            exit.begin(frame, P::POSTED);
            // A cancellation has to reach a child that waits for its turn.
            frame.register(cx.waker());
            let cancelled = look::is_cancelled_itself(frame.node());
            let task = exit.slot.newborn.task();
            ready!(ledger.gate.poll_turn(&mut exit.turn, task, cancelled, cx));
        }
        let polled = if this.run.as_mut().frame().is_new_draft() {
            exit.poll_light::<P, F>(this.run.as_mut(), cx)
        } else {
            this.run.as_mut().poll_quick(cx)
        };
        let ended = match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(result)) => {
                // The region has been left, without a failure to report.
                exit.returned(result);
                return Poll::Ready(());
            }
            None => {
                let why = |result: &Result<T, E>| match result {
                    Ok(_) => Leaving::Completed,
                    Err(_) => Leaving::Failed,
                };
                ready!(this.run.as_mut().poll_run(cx, why))
            }
        };
        let result = match ended {
            Ok(Ended::Value) => this.run.as_mut().value().map(Ok),
            Ok(Ended::Cancelled(reason)) => Some(Err(reason)),
            Ok(Ended::Misplaced(wrong)) => Some(Err(Reason::misplaced(wrong))),
            Ok(Ended::Panicked) => None,
            Err(_) => None,
        };
        let frame = this.run.frame();
        let panic = frame.take_panic(None);
        frame.send_failures();
        match (panic, result) {
            (Some(panic), result) => this.exit.panicked(panic, result),
            (None, Some(Ok(result))) => this.exit.returned(result),
            (None, Some(Err(reason))) => this.exit.end(Err(ChildError::Cancelled(reason))),
            (None, None) => {}
        }
        Poll::Ready(())
    }
}

impl<T, E> SignOut<T, E> {
    /// Polls the child without a node, unless there is a request for it: to itself through its handle, or to its group,
    /// whose `run` polls it then. A pending executor child gets its node, because no poll of the group's `run` reaches
    /// it.
    fn poll_light<P: Poller<T>, F>(
        &self,
        mut run: Pin<&mut Run<F>>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<T, E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let SignOut { at, slot, ledger, .. } = self;
        let (group, newborn) = (&ledger.as_ref()?.node, &slot.newborn);
        let (posting, posted) = (P::posting(group, slot), P::POSTED);
        let light = if slot.is_untouched() { newborn.light(group, at, posted) } else { None };
        let Some(light) = light else {
            self.begin(run.as_mut().frame(), posted);
            return run.poll_quick(cx);
        };
        let settle = |made| {
            if let (Some(made), true) = (&made, posted) {
                // The node is in the slot already, because the slot made it as the child's
                // home.
                return Arc::clone(made);
            }
            let node = match made {
                Some(made) => {
                    newborn.has_node(&made);
                    made
                }
                None => newborn.node(group, at, slot.asked(), posted, None),
            };
            slot.settle(&node);
            node
        };
        let stays = || !posted && slot.is_let_go();
        let polled = run.as_mut().poll_newborn(light, posting, stays, settle, cx);
        if polled.is_none() && run.as_mut().frame().is_new_draft() {
            // No region can become current any more, because the thread is exiting.
            self.begin(run.as_mut().frame(), posted);
            return run.poll_quick(cx);
        }
        polled
    }

    /// Gives the child its node, if it has none.
    fn begin(&self, frame: &mut Frame, posted: bool) {
        let Some(ledger) = self.ledger.as_ref().filter(|_| frame.is_new_draft()) else { return };
        let node = self.slot.newborn.node(&ledger.node, self.at, self.slot.asked(), posted, None);
        self.slot.settle(&node);
        frame.begin_in(node);
    }

    /// Gives a new child its node, which knows its name.
    #[cold]
    fn begin_named(&self, frame: &mut Frame, posted: bool, name: &Arc<str>) {
        let Some(ledger) = &self.ledger else { return };
        let given = Some(Arc::clone(name));
        let node = self.slot.newborn.node(&ledger.node, self.at, None, posted, given);
        self.slot.settle_named(&node, Arc::clone(name));
        frame.begin_in(node);
    }

    #[inline]
    fn returned(&mut self, result: Result<T, E>) {
        match result {
            Ok(value) => {
                if let Some(ledger) = &self.ledger {
                    ledger.succeed(|| self.slot.task_id(), self.at);
                }
                self.end(Ok(value));
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: E) {
        let Some(ledger) = &self.ledger else { return };
        let task = self.slot.task_id();
        let cause = Cause::Child { task: task.clone(), spawned_at: self.at, error };
        ledger.fail(cause, Some(task.clone()), self.at);
        self.end(Err(ChildError::Failed(task)));
    }

    fn panicked<R>(&mut self, payload: Payload, result: R) {
        if let Some(ledger) = &self.ledger {
            let task = self.slot.task_id();
            ledger.child_panicked(payload, task, self.at, self.slot.has_handle());
            if let Err(second) = unwind::catch(|| drop(result)) {
                // Without a handle, because the handle receives the first panic already.
                ledger.child_panicked(second, self.slot.task_id(), self.at, false);
            }
        }
        self.end(Err(ChildError::Panicked));
    }

    /// Fills the handle's slot first, so that the result is there when the group's `run` returns. The child
    /// is counted out even if the value's drop panics.
    fn end(&mut self, result: Result<T, ChildError>) {
        let Some(ledger) = self.ledger.take() else { return };
        let outcome = Outcome::of(&result);
        if let Err(payload) = unwind::catch(|| self.slot.fill(result)) {
            ledger.panicked(payload, Some(self.slot.task_id()), self.at);
        }
        ledger.sign_out(|| self.slot.task_id(), outcome, &self.turn);
    }
}

impl<T, E> Drop for SignOut<T, E> {
    fn drop(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        let kind = match ledger.gate.is_abandoned() {
            true => ReasonKind::OwnerGone,
            false => ReasonKind::Shutdown,
        };
        let reason = self.slot.node().and_then(|node| look::effective_reason(&node));
        let reason = reason.unwrap_or_else(|| Reason::new(kind, None, None, Some(self.at)));
        self.end(Err(ChildError::Cancelled(reason)));
    }
}

pin_project! {
    /// An executor child, with the executor that runs the exits it abandons.
    struct Posted<F: Future<Output = Result<T, E>>, T, E> {
        #[pin]
        child: Child<F, T, E>,
        executor: Option<Arc<dyn Spawn + Send + Sync>>,
    }

    impl<F: Future<Output = Result<T, E>>, T, E> PinnedDrop for Posted<F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let child = this.child.project();
            if let (Some(executor), true) = (this.executor.take(), child.exit.ledger.is_some()) {
                let frame = child.run.frame();
                child.exit.begin(frame, true);
                inbox::set_spawner(frame.node(), executor);
            }
        }
    }
}

impl<F, T, E> Future for Posted<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    T: Send + 'static,
{
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().child.poll_by::<Executor>(cx)
    }
}

/// Spawns an executor child, or hands the future back if the group has closed.
#[track_caller]
pub(super) fn spawn_on<F, T, E>(
    ledger: &Arc<Ledger<E>>,
    spawner: &impl Spawn,
    future: F,
    name: Option<Arc<str>>,
) -> Result<TaskHandle<T>, Closed<F>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let (mut child, handle) = Child::new(ledger, future, Location::caller(), name.as_ref(), true)?;
    if Newborn::WATCHED {
        child.exit.begin(child.run.frame_mut(), true);
    }
    let task = Posted { child, executor: spawner.keep() };
    if let Err(Refused(task)) = spawner.spawn_named(name.as_deref(), task) {
        // The drop of the child signs it out.
        drop(task);
    }
    Ok(handle)
}
