//! Handles: they request a cancellation, and do nothing else (R3).

use super::{request, stop, stop_within};
use crate::fused::fused;
use crate::reason::Reason;
use crate::region::look;
use crate::region::time;
use crate::region::wait;
use crate::region::{Node, Waiting};
use crate::sync::Arc;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Requests the cancellation of one region, from any task or thread.
///
/// It can neither enter nor leave the region (R3). It keeps only a small node alive, and has no effect
/// once the region was left (R9). Not for asynchronous signal handlers, because it takes locks.
///
/// # On drop
///
/// Nothing happens: a handle is not a guard.
///
/// # Comparison
///
/// Like a clone of a `CancellationToken`, with a reason, and tied to one region that is left once.
///
/// # Examples
///
/// ```
/// use moored::CancelScope;
///
/// # futures::executor::block_on(async {
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// std::thread::spawn(move || handle.cancel_because("shutting down"));
/// let cancelled = scope.run(std::future::pending::<()>()).await.unwrap_err();
/// assert_eq!(cancelled.reason().message(), Some("shutting down"));
/// # });
/// ```
#[doc(alias = "CancellationToken")]
#[derive(Clone)]
pub struct CancelHandle {
    node: Arc<Node>,
}

impl CancelHandle {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        CancelHandle { node }
    }

    /// Requests a cancellation. The first reason wins; a second request changes nothing (R10).
    #[track_caller]
    pub fn cancel(&self) {
        request(&self.node, None, Location::caller());
    }

    /// As [`cancel`](CancelHandle::cancel), with a message that every error shows.
    #[track_caller]
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        request(&self.node, Some(message.into()), Location::caller());
    }

    /// Asks the region, and every region inside it, to wind down (R13). With a
    /// [grace](crate::CancelScope::grace), the request becomes a cancellation when the grace is
    /// over.
    #[track_caller]
    pub fn stop(&self) {
        stop(&self.node, Location::caller());
    }

    /// As [`stop`](CancelHandle::stop), with a grace that belongs to this request: when it is over, the request becomes a
    /// cancellation (R13).
    ///
    /// The grace begins with the request, or with the entry of a region that is not entered yet. A further request can
    /// only tighten: of all graces, that of the region included, the one that is over first counts. The reason
    /// stays that of the first stop (R10). Others read the end with [`deadline`](CancelHandle::deadline) and wait for an
    /// earlier one with [`tightened`](CancelHandle::tightened).
    ///
    /// # Examples
    ///
    /// ```
    /// use moored::{CancelScope, stop_requested};
    /// use std::time::Duration;
    ///
    /// # futures::executor::block_on(async {
    /// let scope = CancelScope::new().named("server");
    /// let handle = scope.handle();
    /// let served = scope.run(async {
    ///     handle.stop_within(Duration::from_millis(5)); // from any task: wind down, but not for long
    ///     stop_requested().await;
    ///     std::future::pending::<()>().await // a client that does not go away
    /// });
    /// assert!(served.await.is_err());
    /// # });
    /// ```
    #[track_caller]
    pub fn stop_within(&self, grace: Duration) {
        stop_within(&self.node, grace, Location::caller());
    }

    /// Whether the region, or one around it, was asked to wind down with `stop`, through shields too (R13).
    pub fn is_stop_requested(&self) -> bool {
        look::is_stopped(&self.node)
    }

    /// The instant at which the region is cancelled at the latest: the earliest deadline of it and of the regions
    /// around it, up to a shield, and the earliest end of a grace that runs there (R11, R13). Those of a scope count until its
    /// body has ended, those of a group until its last child has left as well. `None` if there is none, or if the region was
    /// left. From inside the region, use [`current_deadline`](crate::current_deadline).
    pub fn deadline(&self) -> Option<Instant> {
        if self.node.has_left() { None } else { time::effective_deadline(&self.node) }
    }

    /// Waits until the region is to be cancelled before `seen`, a [`deadline`](CancelHandle::deadline) that was read
    /// before, or is cancelled. With `None`, any deadline is earlier. It never resolves if that does not happen before
    /// the region is left.
    ///
    /// For code outside the region that shares its time, such as an exit that shortens its own waits when a
    /// [`stop_within`](CancelHandle::stop_within) leaves less time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use moored::CancelScope;
    /// use std::time::Duration;
    ///
    /// # futures::executor::block_on(async {
    /// let session = CancelScope::new().enter().unwrap();
    /// let handle = session.handle();
    /// handle.stop_within(Duration::from_secs(60));
    /// let seen = handle.deadline();
    /// let hurry = handle.clone();
    /// std::thread::spawn(move || hurry.stop_within(Duration::from_secs(5)));
    /// handle.tightened(seen).await;
    /// assert!(handle.deadline() < seen);
    /// # });
    /// ```
    pub fn tightened(&self, seen: Option<Instant>) -> Tightening {
        Tightening { wait: self.wait(), seen }
    }

    /// Whether the region, or one around it, is cancelled. The deadline of a run counts once the run has seen
    /// that it passed; the deadline of an [`EnteredScope`](crate::EnteredScope) counts once it has passed.
    pub fn is_cancelled(&self) -> bool {
        time::is_cancelled_by_now(&self.node)
    }

    /// The reason of the cancellation, if there is one. A region that is cancelled with a
    /// region around it has [`ReasonKind::Parent`](crate::ReasonKind::Parent).
    ///
    /// A request to the region itself counts before those to regions around it, in any order of the requests: it is
    /// the reason that stays if a region around is left without having dropped this one.
    pub fn reason(&self) -> Option<Reason> {
        time::reason_by_now(&self.node)
    }

    /// Waits until the region, or one around it, is cancelled. It never resolves if that does not happen
    /// before the region is left.
    ///
    /// It waits for the deadlines and graces of the region and of those around it, up to a shield, even if their runs are
    /// not polled: when the time has come, this wait cancels them (R11).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn cancelled(&self) -> Cancellation {
        Cancellation(self.wait())
    }

    /// Waits until the region, or one around it, is asked to wind down with `stop` (R13).
    ///
    /// For code that runs outside the region, in a task of another library, such as the future that a server
    /// takes as its shutdown signal. A body inside the region uses [`stop_requested`](crate::stop_requested). A
    /// cancellation is no stop, and neither is a deadline that passes: wait for
    /// [`cancelled`](CancelHandle::cancelled) beside it. It never resolves if there is no request before the region is
    /// left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let scope = moored::CancelScope::new();
    /// let handle = scope.handle();
    /// let server = std::thread::spawn(move || {
    ///     futures::executor::block_on(handle.stop_requested());
    ///     "drained"
    /// });
    /// scope.stop();
    /// assert_eq!(server.join().unwrap(), "drained");
    /// # });
    /// ```
    pub fn stop_requested(&self) -> StopRequest {
        StopRequest(self.wait())
    }

    fn wait(&self) -> Waiting {
        Waiting::new(Arc::clone(&self.node))
    }

    /// A guard that cancels the region when it is dropped, unless it is [disarmed](DropGuard::disarm).
    ///
    /// A handle alone is no guard: its drop does nothing. For a group, `group.handle().drop_guard()`. After
    /// tokio-util's `CancellationToken::drop_guard`.
    ///
    /// # Examples
    ///
    /// ```
    /// use moored::CancelScope;
    ///
    /// # futures::executor::block_on(async {
    /// let scope = CancelScope::new();
    /// let guard = scope.handle().drop_guard();
    /// std::thread::spawn(move || drop(guard)); // its holder has ended, by itself or by a panic
    /// scope.run(std::future::pending::<()>()).await.unwrap_err();
    /// # });
    /// ```
    #[track_caller]
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { handle: self, armed: true, made_at: Location::caller() }
    }
}

/// Cancels a region when it is dropped. Made by [`CancelHandle::drop_guard`].
///
/// # On drop
///
/// The region is cancelled. The reason has the place where the guard was made, because a drop has no place of its
/// own. While the thread unwinds, the panic of a waker is discarded.
#[doc(alias = "drop_guard")]
#[must_use = "dropping it cancels the region"]
pub struct DropGuard {
    handle: CancelHandle,
    armed: bool,
    made_at: &'static Location<'static>,
}

impl DropGuard {
    /// Returns the handle; nothing is cancelled.
    pub fn disarm(mut self) -> CancelHandle {
        self.armed = false;
        self.handle.clone()
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if self.armed {
            request(&self.handle.node, None, self.made_at);
        }
    }
}

impl fmt::Debug for DropGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DropGuard").field(&self.handle).finish()
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelHandle").field(&self.node).finish()
    }
}

/// The future of [`CancelHandle::cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Cancellation(Waiting);

impl Future for Cancellation {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(|node, wait| wait::poll_cancelled(node, wait, cx))
    }
}

fused!(Cancellation: |wait| wait.0.is_done());

/// The future of [`CancelHandle::stop_requested`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct StopRequest(Waiting);

impl Future for StopRequest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(|node, wait| wait::poll_stopped(node, wait, cx.waker()))
    }
}

fused!(StopRequest: |wait| wait.0.is_done());

/// The future of [`CancelHandle::tightened`].
#[must_use = "futures do nothing unless polled"]
pub struct Tightening {
    wait: Waiting,
    seen: Option<Instant>,
}

impl Future for Tightening {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.wait.poll(|node, wait| wait::poll_tightened(node, this.seen, wait, cx))
    }
}

fused!(Tightening: |wait| wait.wait.is_done());

impl fmt::Debug for Tightening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tightening").field(&self.wait).finish()
    }
}
