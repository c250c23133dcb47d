//! Time limits around one future (R11).

use crate::fused::fused;
use crate::opaque::opaque;
use crate::reason::Reason;
use crate::region::{Deadline, Draft, Kind, Lone, Run};
use crate::report::{Report, report};
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Runs `future` for at most `time`, from its first poll: `None` if it did not end by then.
///
/// A [`CancelScope`](crate::CancelScope) around one future: the region around runs the exits that
/// `future` abandons. After Trio's `move_on_after`.
///
/// # Cancel safety
///
/// As that of `future`.
///
/// # Task affinity
///
/// The task that polls it first owns it. Polled by another task, it drops `future` and resolves to `None` at
/// once, which is no time-out: the attempt is [reported](crate::set_report_hook), and [`fail_after`] has it in
/// its error (R2). A time-out that no region of `moored` encloses may move between tasks (R5).
///
/// # Panics
///
/// With the panic of `future`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// # futures::executor::block_on(async {
/// let late = moored::move_on_after(Duration::from_millis(1), std::future::pending::<()>());
/// assert_eq!(late.await, None);
/// # });
/// ```
#[doc(alias = "timeout")]
#[track_caller]
pub fn move_on_after<F: Future>(time: Duration, future: F) -> MoveOn<F> {
    let draft = Draft::timed(Kind::Timeout, None, Some(time));
    MoveOn { run: Run::draft(Lone::new(draft), future, Location::caller()) }
}

/// As [`move_on_after`], until an instant.
///
/// # Cancel safety
///
/// As that of `future`.
///
/// # Task affinity
///
/// As that of [`move_on_after`].
///
/// # Panics
///
/// With the panic of `future`.
#[track_caller]
pub fn move_on_at<F: Future>(at: Instant, future: F) -> MoveOn<F> {
    let draft = Draft::timed(Kind::Timeout, Some(at), None);
    MoveOn { run: Run::draft(Lone::new(draft), future, Location::caller()) }
}

/// As [`move_on_after`], with an error in place of `None`.
///
/// # Cancel safety
///
/// As that of `future`.
///
/// # Task affinity
///
/// The task that polls it first owns it. Polled by another task, it drops `future` and fails at once,
/// with [`ReasonKind::WrongTask`](crate::ReasonKind::WrongTask) (R2).
///
/// # Errors
///
/// [`TimedOut`], with the recorded reason.
///
/// # Panics
///
/// With the panic of `future`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// # futures::executor::block_on(async {
/// let late = moored::fail_after(Duration::from_millis(1), std::future::pending::<()>());
/// assert!(late.await.unwrap_err().to_string().starts_with("timed out"));
/// # });
/// ```
#[doc(alias = "timeout")]
#[track_caller]
pub fn fail_after<F: Future>(time: Duration, future: F) -> FailAt<F> {
    FailAt { inner: move_on_after(time, future) }
}

/// As [`fail_after`], until an instant.
///
/// # Cancel safety
///
/// As that of `future`.
///
/// # Task affinity
///
/// As that of [`fail_after`].
///
/// # Errors
///
/// [`TimedOut`], with the recorded reason.
///
/// # Panics
///
/// With the panic of `future`.
#[track_caller]
pub fn fail_at<F: Future>(at: Instant, future: F) -> FailAt<F> {
    FailAt { inner: move_on_at(at, future) }
}

/// A future did not end in time.
#[derive(Clone, Debug)]
pub struct TimedOut {
    reason: Reason,
}

impl TimedOut {
    /// The recorded reason: [`ReasonKind::Deadline`](crate::ReasonKind::Deadline), or
    /// [`ReasonKind::WrongTask`](crate::ReasonKind::WrongTask) if the future was moved between tasks.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.wrong_task() {
            None => write!(f, "timed out{}", self.reason.requested_by()),
            // A future that another task polled has not timed out (R2).
            Some(_) => self.reason.fmt(f),
        }
    }
}

impl Error for TimedOut {}

pin_project! {
    /// The future of [`move_on_after`] and [`move_on_at`].
    #[must_use = "futures do nothing unless polled; dropping it drops the future inside"]
    pub struct MoveOn<F: Future> {
        #[pin]
        run: Run<F, Lone<Draft, Deadline>>,
    }
}

impl<F: Future> MoveOn<F> {
    #[inline]
    fn poll_run(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Reason>> {
        match self.as_mut().project().run.poll_quick(cx) {
            Some(polled) => polled.map(Ok),
            None => self.poll_slowly(cx),
        }
    }

    #[inline(never)]
    fn poll_slowly(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Reason>> {
        let mut run = self.project().run;
        // No other code has its node, so that it is not misused.
        let Ok(Some(left)) = ready!(run.as_mut().poll_scope(cx)) else { return Poll::Pending };
        run.frame().send_failures();
        Poll::Ready(left)
    }
}

impl<F: Future> Future for MoveOn<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_run(cx).map(|result| result.map_err(told).ok())
    }
}

/// `None` has no room for any reason but the time, so a wrong task is reported.
fn told(reason: Reason) {
    if let Some(wrong) = reason.wrong_task() {
        report(Report::ForeignPoll(wrong.clone()));
    }
}

fused!({F: Future} MoveOn<F>: |run| run.run.has_left());

opaque!({F: Future} MoveOn<F>);

pin_project! {
    /// The future of [`fail_after`] and [`fail_at`].
    #[must_use = "futures do nothing unless polled; dropping it drops the future inside"]
    pub struct FailAt<F: Future> {
        #[pin]
        inner: MoveOn<F>,
    }
}

impl<F: Future> Future for FailAt<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll_run(cx).map_err(|reason| TimedOut { reason })
    }
}

fused!({F: Future} FailAt<F>: |run| run.inner.run.has_left());

opaque!({F: Future} FailAt<F>);
