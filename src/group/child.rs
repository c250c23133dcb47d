//! A child: its future, its handle's slot, and the book it signs out of.

use super::gate::Turn;
use super::handle::{Slot, TaskHandle};
use super::ledger::Ledger;
use super::results::Outcome;
use super::spawner::Closed;
use crate::failure::{Cause, ChildError};
use crate::reason::{Leaving, Reason, ReasonKind};
use crate::region::{Ended, Given, Node, Run};
use crate::spawn::{Refused, Spawn};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Runs a child as a task of its own, and tells its handle and its group how it ended.
    pub(crate) struct Child<F: Future<Output = Result<T, E>>, T, E> {
        #[pin]
        run: Run<F>,
        exit: SignOut<T, E>,
    }
}

/// Signs the child out exactly once, by its end or by its drop. A field after the future, so that the
/// future has been dropped, and has handed its exits over, when the group counts the child out.
struct SignOut<T, E> {
    node: Arc<Node>,
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
    /// A child that is counted in, or the future handed back where the group has closed.
    pub(super) fn new(
        ledger: &Arc<Ledger<E>>,
        future: F,
        at: &'static Location<'static>,
    ) -> Result<(Self, TaskHandle<T>), Closed<F>> {
        if !ledger.gate.admit() {
            return Err(Closed(future));
        }
        let node = Node::child(&ledger.node, at);
        let slot = Arc::new(Slot::new());
        let handle = TaskHandle::new(Arc::clone(&slot), Arc::clone(&node));
        let ledger = Some(Arc::clone(ledger));
        let run = Run::entered(Arc::clone(&node), Given, future, at);
        let exit = SignOut { node, at, slot, turn: Turn::New, ledger };
        Ok((Child { run, exit }, handle))
    }
}

impl<F, T, E> Future for Child<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let SignOut { ledger, turn, node, .. } = &mut *this.exit;
        if let Some(gate) = ledger.as_ref().map(|ledger| &ledger.gate) {
            if !gate.lets_pass(turn) {
                // A cancellation has to reach a child that waits for its turn.
                this.run.as_mut().frame().register(cx.waker());
                ready!(gate.poll_turn(turn, node.is_cancelled_itself(), cx));
            }
        }
        let why = |result: &Result<T, E>| match result {
            Ok(_) => Leaving::Completed,
            Err(_) => Leaving::Failed,
        };
        if let Some(Poll::Pending) = this.run.as_mut().poll_quick(cx) {
            return Poll::Pending;
        }
        let ended = ready!(this.run.as_mut().poll_run(cx, why));
        let frame = this.run.frame();
        let (result, panic) = match ended {
            Ok(Ended::Value(result)) => (Some(Ok(result)), None),
            Ok(Ended::Cancelled(reason)) => (Some(Err(reason)), None),
            Ok(Ended::Misplaced(wrong, _)) => (Some(Err(Reason::misplaced(wrong))), None),
            Ok(Ended::Panicked(panic)) => (None, Some(panic)),
            Err(_) => (None, None),
        };
        let panic = frame.take_panic(panic);
        frame.send_failures();
        match (panic, result) {
            (Some(panic), result) => this.exit.panicked(panic, result),
            (None, Some(Ok(Ok(value)))) => this.exit.succeeded(value),
            (None, Some(Ok(Err(error)))) => this.exit.failed(error),
            (None, Some(Err(reason))) => this.exit.end(Err(ChildError::Cancelled(reason))),
            (None, None) => {}
        }
        Poll::Ready(())
    }
}

impl<T, E> SignOut<T, E> {
    fn succeeded(&mut self, value: T) {
        if let Some(ledger) = &self.ledger {
            ledger.succeed(&self.node, self.at);
        }
        self.end(Ok(value));
    }

    fn failed(&mut self, error: E) {
        let (Some(ledger), Some(task)) = (&self.ledger, self.node.owner_id()) else { return };
        let cause = Cause::Child { task: task.clone(), error };
        ledger.fail(cause, Some(task.clone()), self.at);
        self.end(Err(ChildError::Failed(task)));
    }

    fn panicked<R>(&mut self, payload: Payload, result: R) {
        if let Some(ledger) = &self.ledger {
            ledger.panicked(payload, self.node.owner_id(), self.at);
            if let Err(second) = unwind::catch(|| drop(result)) {
                ledger.panicked(second, None, self.at);
            }
        }
        self.end(Err(ChildError::Panicked));
    }

    /// The handle first, so that it has its result when the group's `run` returns; and whatever the value's
    /// drop does, the child is counted out.
    fn end(&mut self, result: Result<T, ChildError>) {
        let Some(ledger) = self.ledger.take() else { return };
        let outcome = Outcome::of(&result);
        if let Err(payload) = unwind::catch(|| self.slot.fill(result)) {
            ledger.panicked(payload, self.node.owner_id(), self.at);
        }
        ledger.sign_out(&self.node, outcome, &self.turn);
    }
}

impl<T, E> Drop for SignOut<T, E> {
    fn drop(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        let kind = match ledger.gate.is_abandoned() {
            true => ReasonKind::OwnerGone,
            false => ReasonKind::Shutdown,
        };
        let reason = self.node.effective_reason();
        let reason = reason.unwrap_or_else(|| Reason::new(kind, None, None, Some(self.at)));
        self.end(Err(ChildError::Cancelled(reason)));
    }
}

/// Spawns an executor child, or hands the future back where the group has closed.
pub(super) fn spawn_on<F, T, E>(
    ledger: &Arc<Ledger<E>>,
    spawner: &impl Spawn,
    future: F,
    at: &'static Location<'static>,
) -> Result<TaskHandle<T>, Closed<F>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let (child, handle) = Child::new(ledger, future, at)?;
    if let Some(executor) = spawner.keep() {
        child.exit.node.set_spawner(executor);
    }
    if let Err(Refused(task)) = spawner.spawn(Box::pin(child)) {
        // Its drop signs it out.
        drop(task);
    }
    Ok(handle)
}
