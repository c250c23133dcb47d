//! Starting a child that reports when it is ready.

use super::handle::TaskHandle;
use super::ledger::Ledger;
use super::side::Ending;
use crate::failure::{Cause, Failure};
use crate::identity::TaskId;
use crate::sync::{Arc, Mutex};
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A function that a started child calls, once, when it is ready: `ready(value)`.
pub type Ready<'env, R> = Box<dyn FnOnce(R) + Send + 'env>;

/// As [`Ready`], for a child that stays on its thread.
pub type LocalReady<'env, R> = Box<dyn FnOnce(R) + 'env>;

/// Shared by the child and the caller that waits for it.
pub(crate) struct Handshake<R, E>(Mutex<Answer<R, E>>);

/// The answer of the child, or the wait for it.
enum Answer<R, E> {
    Waiting(Option<Waker>),
    Ready(R),
    Failed(E),
    /// The value was reported, or the wait was dropped: from now on errors go to the group.
    Over,
}

impl<R, E> Handshake<R, E> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Handshake(Mutex::new(Answer::Waiting(None))))
    }

    /// The function that reports the child's value.
    pub(crate) fn reporter(self: &Arc<Self>) -> impl FnOnce(R) + use<R, E> {
        let handshake = Arc::clone(self);
        move |value| drop(handshake.report(Answer::Ready(value)))
    }

    /// Gives `error` to the caller that waits, or hands it back if none does.
    pub(crate) fn fail(&self, error: E) -> Result<(), E> {
        match self.report(Answer::Failed(error)) {
            Some(Answer::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn report(&self, report: Answer<R, E>) -> Option<Answer<R, E>> {
        let mut answer = self.0.lock();
        match &mut *answer {
            Answer::Waiting(waker) => {
                let waker = waker.take();
                *answer = report;
                drop(answer);
                crate::wakers::wake_all(waker);
                None
            }
            _ => Some(report),
        }
    }
}

/// Runs the child; its errors go to the caller until it is ready.
pub(crate) async fn started<R, E>(
    child: impl Future<Output = Result<(), E>>,
    handshake: Arc<Handshake<R, E>>,
) -> Result<(), E> {
    match child.await {
        Ok(()) => Ok(()),
        Err(error) => handshake.fail(error),
    }
}

/// The future of [`TaskGroup::start`](crate::TaskGroup::start).
///
/// # On drop
///
/// A child that has not reported that it is ready is cancelled. An error of the child that this future has not returned
/// goes to the group, as a later error does; if the group has ended, it goes to the next record outwards (R15).
#[must_use = "dropping it cancels the child, unless it was ready"]
pub struct Start<R, E> {
    handshake: Arc<Handshake<R, E>>,
    /// The group's ledger, for an error that is never taken.
    ledger: Arc<Ledger<E>>,
    task: TaskId,
    spawned_at: &'static Location<'static>,
    /// `None` once it has resolved.
    child: Option<TaskHandle<()>>,
}

impl<R, E> Start<R, E> {
    #[track_caller]
    pub(crate) fn new(
        handshake: Arc<Handshake<R, E>>,
        ledger: &Arc<Ledger<E>>,
        child: TaskHandle<()>,
    ) -> Self {
        let (task, spawned_at) = (child.id(), Location::caller());
        let ledger = Arc::clone(ledger);
        Start { handshake, ledger, task, spawned_at, child: Some(child) }
    }

    /// Returns the child's report, if it has made one. Otherwise `waker` is registered for the report. Without
    /// a `waker` the handshake is over, and a later report is dropped by the child.
    ///
    /// Looking and giving up are one step under one lock, because between two steps the child could report a
    /// value that would never be taken.
    fn take(&self, mut waker: Option<Waker>) -> Option<Result<R, Failure<E>>> {
        let mut answer = self.handshake.0.lock();
        let before = mem::replace(&mut *answer, Answer::Over);
        if matches!(before, Answer::Waiting(_)) && waker.is_some() {
            *answer = Answer::Waiting(waker.take());
        }
        // The drops of wakers and of values are user code: they come after the lock (R18).
        drop(answer);
        match before {
            Answer::Ready(value) => Some(Ok(value)),
            Answer::Failed(error) => {
                let (task, spawned_at) = (self.task.clone(), self.spawned_at);
                Some(Err(Failure::only(Cause::Child { task, spawned_at, error })))
            }
            Answer::Waiting(_) | Answer::Over => None,
        }
    }
}

impl<R, E> Unpin for Start<R, E> {}

impl<R, E> Future for Start<R, E> {
    type Output = Result<R, Failure<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(child) = &this.child else { return Poll::Pending };
        let ended = child.poll(cx);
        let waker = ended.is_pending().then(|| cx.waker().clone());
        let report = this.take(waker).or_else(|| match ended {
            Poll::Pending => None,
            Poll::Ready(Ending::Cancelled(reason)) => {
                Some(Err(Failure::only(Cause::Cancelled(reason))))
            }
            // It ended, or panicked, without calling `ready`. The panic itself goes to the group.
            Poll::Ready(_) => {
                let (task, spawned_at) = (this.task.clone(), this.spawned_at);
                Some(Err(Failure::only(Cause::NotReady { task, spawned_at })))
            }
        });
        match report {
            Some(report) => {
                this.child = None;
                Poll::Ready(report)
            }
            None => Poll::Pending,
        }
    }
}

impl<R, E> Drop for Start<R, E> {
    fn drop(&mut self) {
        let Some(child) = &self.child else { return };
        match self.take(None) {
            // The caller waits no longer: the child is cancelled, and its group waits for it.
            None => child.cancel(),
            Some(Ok(value)) => drop(value),
            Some(Err(failure)) => {
                self.ledger.fail(failure.into_cause(), Some(self.task.clone()), self.spawned_at);
            }
        }
    }
}

impl<R, E> fmt::Debug for Start<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Start").field(&self.task).finish()
    }
}
