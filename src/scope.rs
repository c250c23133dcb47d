//! Cancel scopes: regions that can be cancelled.

mod entered;
mod handle;

pub use entered::{EnterError, EnteredScope, Left};
pub use handle::{CancelHandle, Cancellation, DropGuard, StopRequest, Tightening};

use crate::failure::Cancelled;
use crate::fused::fused;
use crate::opaque::opaque;
use crate::reason::{Reason, ReasonKind};
use crate::region::look;
use crate::region::request;
use crate::region::shields;
use crate::region::time;
use crate::region::{self, Draft, Kind, Node, Run};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A region that can be cancelled: through a [`CancelHandle`], or by its deadline.
///
/// A local variable; [`run`](CancelScope::run) enters it and leaves it, once. Cancelling is a request and
/// allowed from any task or thread (R3); it lands at an await: the body is polled once more, and if it is
/// still pending it is dropped where it is parked (R6).
///
/// A scope catches its own cancellation only (R9). If a region around it, up to a [shield](crate::shield()), is
/// cancelled as well, the outermost catches: `run` of the inner scope stays pending until it is dropped, so that no
/// code after it runs inside a cancelled region. Of two deadlines at one instant the outer one counts.
///
/// After Trio's `CancelScope`, without its shared stack: the parent of a scope is the region that is being
/// polled when it is entered, so scopes in two arms of a `join!` are siblings.
///
/// # On drop
///
/// Dropping a scope cancels nothing. Dropping its `run` drops the body; exits that were abandoned inside
/// go to the nearest live region around (R8).
///
/// # Comparison
///
/// A `tokio_util::sync::CancellationToken` tells many tasks that work should stop and leaves the rest to
/// them: use it where no task has to wait for the others. A scope owns the work: when `run` returns, the
/// body is gone and the exits that it abandoned have run.
///
/// # Examples
///
/// ```
/// use moored::{CancelScope, ReasonKind};
/// use std::time::Duration;
///
/// # futures::executor::block_on(async {
/// let scope = CancelScope::new().timeout(Duration::from_millis(1));
/// let cancelled = scope.run(std::future::pending::<()>()).await.unwrap_err();
/// assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
/// # });
/// ```
///
/// A scope cannot be lent to another task of an executor, because the borrow does not live long enough:
///
/// ```compile_fail,E0597
/// # async fn outer() {
/// let scope = moored::CancelScope::new();
/// tokio::spawn(scope.run(async {})); // `scope` does not live long enough
/// # }
/// ```
///
/// Its good twin takes a handle, which can request but neither enter nor leave:
///
/// ```
/// # async fn outer() {
/// let scope = moored::CancelScope::new();
/// let handle = scope.handle();
/// tokio::spawn(async move { handle.cancel() });
/// scope.run(std::future::pending::<()>()).await.unwrap_err();
/// # }
/// ```
#[doc(alias = "CancellationToken")]
pub struct CancelScope {
    draft: Draft,
}

impl CancelScope {
    /// A scope that is not cancelled. It is entered by [`run`](CancelScope::run), not by this.
    pub fn new() -> Self {
        CancelScope { draft: Draft::new(Kind::Scope) }
    }

    /// Sets the name of the scope, for texts.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.draft.node().set_name(name.into());
        self
    }

    /// Cancels the scope at `at`. Of two deadlines the earlier one counts.
    pub fn deadline(mut self, at: Instant) -> Self {
        self.draft.set_deadline(at);
        self
    }

    /// Cancels the scope when it has been entered for `timeout`. If the end is beyond the last instant
    /// that a clock can represent, there is no deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.draft.set_timeout(timeout);
        self
    }

    /// The time that a request to [stop](CancelScope::stop) may last before it becomes a cancellation (R13).
    /// For a [shielded](CancelScope::shielded) scope it is also the time that the shield holds against a
    /// cancellation from outside: after it, the body sees the cancellation, and is dropped with the
    /// cancelled region (R12).
    pub fn grace(self, grace: Duration) -> Self {
        time::set_grace(self.draft.node(), grace);
        self
    }

    /// Shields the body from cancellation from outside: while this scope is polled, a cancelled
    /// region around it is not dropped (R12).
    ///
    /// It protects from outside only: its own [`cancel`](CancelScope::cancel) and deadline count. It protects its body and
    /// nothing beside it, and holds while it is polled; see [`shield`](crate::shield()). Without a
    /// [grace](CancelScope::grace) it holds for as long as its body takes.
    pub fn shielded(self) -> Self {
        shields::set_shielded(self.draft.node());
        self
    }

    /// Changes the deadline, before the scope is entered or while it runs; also one that was set as a
    /// [timeout](CancelScope::timeout). A region that is cancelled already stays cancelled (R11).
    pub fn set_deadline(&self, at: Instant) {
        time::change_deadline(self.draft.node(), at);
    }

    /// Enters the scope at the first poll, runs `body`, and leaves.
    ///
    /// `Ok` has the value that the body returned, also if a cancellation came too late to stop the body
    /// (R6). No timer is armed for a body that is ready at once (R11).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body where it is parked; its exits are not lost (R8).
    ///
    /// # Task affinity
    ///
    /// The task that polls it first owns it. Polled by another task, it resolves to [`Cancelled`] with
    /// [`ReasonKind::WrongTask`] (R2); a scope that nothing of `moored` encloses may move with its future
    /// (R5).
    ///
    /// # Errors
    ///
    /// [`Cancelled`], with the first reason, if this scope was cancelled and the body did not finish. If a region
    /// around it, up to a shield, is cancelled as well, that region catches instead (R9). Below a nested `block_on` it
    /// cannot do so: put a [`shield`](crate::shield()) around the blocking future.
    ///
    /// # Panics
    ///
    /// With the body's panic, after the exits that were abandoned inside have run. When it is polled, if
    /// the scope was entered before.
    #[track_caller]
    pub fn run<F: Future>(&self, body: F) -> ScopeRun<'_, F> {
        ScopeRun { run: Run::draft(Some(&self.draft), body, Location::caller()) }
    }

    /// Requests a cancellation, from any task or thread (R3). The first reason wins (R10).
    #[track_caller]
    pub fn cancel(&self) {
        request(self.draft.node(), None, Location::caller());
    }

    /// As [`cancel`](CancelScope::cancel), with a message that every error shows.
    #[track_caller]
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        request(self.draft.node(), Some(message.into()), Location::caller());
    }

    /// Asks the body to wind down: see [`stop_requested`](crate::stop_requested) (R13). With a
    /// [grace](CancelScope::grace), the request becomes a cancellation when the grace is over.
    #[track_caller]
    pub fn stop(&self) {
        stop(self.draft.node(), Location::caller());
    }

    /// As [`stop`](CancelScope::stop), with a grace that belongs to this request; see [`CancelHandle::stop_within`].
    #[track_caller]
    pub fn stop_within(&self, grace: Duration) {
        stop_within(self.draft.node(), grace, Location::caller());
    }

    /// Whether this scope, or a region around it, is cancelled; see [`CancelHandle::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        time::is_cancelled_by_now(self.draft.node())
    }

    /// A handle that requests a cancellation from anywhere.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(self.draft.node()))
    }
}

/// Asks `node` to wind down, at a user's request.
pub(crate) fn stop(node: &Arc<Node>, at: &'static Location<'static>) {
    ask_clock(node);
    resume_panic(request::stop(node, requested(None, at)));
}

/// Asks `node` to wind down within `grace`, at a user's request.
pub(crate) fn stop_within(node: &Arc<Node>, grace: Duration, at: &'static Location<'static>) {
    ask_clock(node);
    resume_panic(request::stop_within(node, grace, requested(None, at)));
}

/// Cancels `node`, at a user's request.
pub(crate) fn request(
    node: &Arc<Node>,
    message: Option<Cow<'static, str>>,
    at: &'static Location<'static>,
) {
    ask_clock(node);
    // A child is cancelled with its group, so the times of the group come before the request too.
    unwind::quietly(|| time::ask_clock_around_child(node));
    if !look::is_cancelled_itself(node) && !node.has_left() {
        resume_panic(request::cancel_for_user(node, requested(message, at)));
    }
}

/// The reason of a request that the current task makes.
pub(crate) fn requested(
    message: Option<Cow<'static, str>>,
    at: &'static Location<'static>,
) -> Reason {
    Reason::new(ReasonKind::Requested, message, region::current_task(), Some(at))
}

/// A deadline that has passed counts before the request. A panic of the clock is caught, so that the request is made
/// all the same, also in a drop.
fn ask_clock(node: &Arc<Node>) {
    unwind::quietly(|| time::ask_clock(node));
}

/// Resumes the panic of a waker in the caller that made the request; discards it while the thread
/// unwinds, because a second panic would end the process.
pub(crate) fn resume_panic(panic: Option<Payload>) {
    match panic {
        Some(panic) if std::thread::panicking() => unwind::discard(panic),
        Some(panic) => unwind::resume(panic),
        None => {}
    }
}

impl Default for CancelScope {
    fn default() -> Self {
        CancelScope::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft.fmt(f)
    }
}

pin_project! {
    /// The future of [`CancelScope::run`].
    #[must_use = "futures do nothing unless polled; dropping it drops the body where it is parked"]
    pub struct ScopeRun<'a, F: Future> {
        #[pin]
        run: Run<F, Option<&'a Draft>>,
    }
}

impl<F: Future> Future for ScopeRun<'_, F> {
    type Output = Result<F::Output, Cancelled>;

    #[inline]
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().run.poll_quick(cx) {
            Some(polled) => polled.map(Ok),
            None => self.poll_slowly(cx),
        }
    }
}

impl<F: Future> ScopeRun<'_, F> {
    #[inline(never)]
    #[track_caller]
    fn poll_slowly(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut run = self.project().run;
        match ready!(run.as_mut().poll_scope(cx)) {
            Ok(Some(Ok(value))) => {
                // A value has no room for the failures.
                run.frame().send_failures();
                Poll::Ready(Ok(value))
            }
            Ok(Some(Err(reason))) => {
                Poll::Ready(Err(Cancelled::new(reason, run.frame().take_failures())))
            }
            Ok(None) => Poll::Pending,
            Err(misuse) => misuse.panic(),
        }
    }
}

fused!({F: Future} ScopeRun<'_, F>: |run| run.run.has_left());

opaque!({F: Future} ScopeRun<'_, F>);
