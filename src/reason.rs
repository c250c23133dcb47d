//! The reason of a cancellation: kept from the first request to the last error that shows it (R10).

use crate::identity::TaskId;
use crate::lasting::Lasting;
use crate::names::Shown;
use crate::sync::Arc;
use crate::wrong_task::WrongTask;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The kind of event that cancelled a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// A request, through the region or a handle.
    Requested,
    /// The region's own deadline passed.
    Deadline,
    /// A child of the same group failed first (R17).
    SiblingFailed,
    /// The parent of the region was cancelled.
    Parent,
    /// The future that would have waited for this region was dropped.
    OwnerGone,
    /// The future was polled by a task other than the one that entered it (R2).
    WrongTask,
    /// The executor dropped the task before it had ended.
    Shutdown,
}

/// The reason of a cancellation: the first reason wins and is never overwritten (R10).
///
/// Cheap to clone. `Display` is one line, `cancelled: shutting down (by task 3 at src/main.rs:10:5)`.
///
/// # Examples
///
/// ```
/// use moored::{CancelScope, ReasonKind};
///
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// handle.cancel_because("first");
/// handle.cancel_because("second");
/// let reason = handle.reason().unwrap();
/// assert_eq!((reason.kind(), reason.message()), (ReasonKind::Requested, Some("first")));
/// ```
#[derive(Clone)]
pub struct Reason {
    kind: ReasonKind,
    origin: Arc<Origin>,
}

#[derive(Clone, Debug)]
struct Origin {
    /// The kind for the region that got the first request.
    kind: ReasonKind,
    message: Option<Cow<'static, str>>,
    task: Option<TaskId>,
    location: Option<&'static Location<'static>>,
    wrong_task: Option<Box<WrongTask>>,
    /// The grace after a stop, if the cancellation came because it was over.
    grace: Option<Duration>,
}

impl Reason {
    pub(crate) fn new(
        kind: ReasonKind,
        message: Option<Cow<'static, str>>,
        task: Option<TaskId>,
        location: Option<&'static Location<'static>>,
    ) -> Self {
        Reason::of(Origin { kind, message, task, location, wrong_task: None, grace: None })
    }

    fn of(origin: Origin) -> Self {
        Reason { kind: origin.kind, origin: Arc::new(origin) }
    }

    /// The reason of a region that a task polled which does not own it.
    pub(crate) fn misplaced(wrong_task: Box<WrongTask>) -> Self {
        Reason::of(Origin {
            kind: ReasonKind::WrongTask,
            message: None,
            task: Some(wrong_task.current.clone()),
            location: Some(wrong_task.attempted_at),
            wrong_task: Some(wrong_task),
            grace: None,
        })
    }

    /// The reason of a cancellation that comes because the `grace` after the stop for this reason is over.
    pub(crate) fn after(&self, grace: Duration) -> Self {
        let origin = Origin { wrong_task: None, grace: Some(grace), ..(*self.origin).clone() };
        Reason { kind: self.kind, origin: Arc::new(origin) }
    }

    /// The same origin, as a region further in sees it.
    pub(crate) fn seen_as(&self, kind: ReasonKind) -> Self {
        Reason { kind, origin: Arc::clone(&self.origin) }
    }

    /// Whether it is the same request; the kinds may differ.
    pub(crate) fn is_of(&self, other: &Reason) -> bool {
        Arc::ptr_eq(&self.origin, &other.origin)
    }

    /// As a region that is linked below the cancelled one sees it.
    pub(crate) fn seen_below(&self) -> Self {
        self.seen_as(match self.kind {
            kind @ (ReasonKind::SiblingFailed | ReasonKind::OwnerGone) => kind,
            _ => ReasonKind::Parent,
        })
    }

    /// The task and the place of the request, for a text.
    pub(crate) fn requested_by(&self) -> RequestedBy<'_> {
        RequestedBy(&self.origin)
    }

    /// The kind of event that cancelled the region.
    pub fn kind(&self) -> ReasonKind {
        self.kind
    }

    /// The kind of event with which the cancellation began, also for a region further in.
    ///
    /// Further in, [`kind`](Reason::kind) is [`Parent`](ReasonKind::Parent), for every event outside. This
    /// method distinguishes a time-out from a shutdown there too, for example in an exit that got
    /// [`Leaving::Cancelled`].
    ///
    /// ```
    /// use moored::{CancelScope, ExitStack, Leaving, ReasonKind};
    /// use std::time::Duration;
    ///
    /// # futures::executor::block_on(async {
    /// let scope = CancelScope::new().timeout(Duration::from_millis(1));
    /// let stack = ExitStack::new();
    /// let body = async {
    ///     stack.defer_with(|why| async move {
    ///         let Leaving::Cancelled(reason) = why else { panic!("{why:?}") };
    ///         assert_eq!(reason.kind(), ReasonKind::Parent);
    ///         assert_eq!(reason.root_kind(), ReasonKind::Deadline);
    ///     });
    ///     std::future::pending::<Result<(), ()>>().await
    /// };
    /// let cancelled = scope.run(stack.run(body)).await.unwrap_err();
    /// assert!(cancelled.failures().is_empty());
    /// # });
    /// ```
    pub fn root_kind(&self) -> ReasonKind {
        self.origin.kind
    }

    /// The text given with `cancel_because`, if any.
    pub fn message(&self) -> Option<&str> {
        self.origin.message.as_deref()
    }

    /// The grace that was over, if the region was asked to [stop](crate::CancelScope::stop) and did not end within it: the
    /// second of two phases. Kind, text, task and place are those of the stop.
    ///
    /// ```
    /// use moored::CancelScope;
    /// use std::time::Duration;
    ///
    /// # futures::executor::block_on(async {
    /// let grace = Duration::from_millis(5);
    /// let scope = CancelScope::new().grace(grace);
    /// let body = async {
    ///     scope.stop();
    ///     std::future::pending::<()>().await
    /// };
    /// let cancelled = scope.run(body).await.unwrap_err();
    /// assert_eq!(cancelled.reason().grace(), Some(grace));
    /// # });
    /// ```
    pub fn grace(&self) -> Option<Duration> {
        self.origin.grace
    }

    /// The task that made the request, if it is known.
    pub fn task(&self) -> Option<&TaskId> {
        self.origin.task.as_ref()
    }

    /// The place of the request: the call of `cancel`, or the place where the deadline's scope was
    /// entered.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.origin.location
    }

    /// The attempt behind [`ReasonKind::WrongTask`].
    pub fn wrong_task(&self) -> Option<&WrongTask> {
        self.origin.wrong_task.as_deref()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(wrong) = &self.origin.wrong_task {
            return write!(f, "cancelled: {wrong}");
        }
        f.write_str(match self.kind {
            ReasonKind::Requested => "cancelled",
            ReasonKind::Deadline => "cancelled: deadline passed",
            ReasonKind::SiblingFailed => "cancelled: a sibling failed",
            ReasonKind::Parent => "cancelled with its parent",
            ReasonKind::OwnerGone => "cancelled: its owner is gone",
            ReasonKind::WrongTask => "cancelled: polled by the wrong task",
            ReasonKind::Shutdown => "cancelled: its executor dropped it",
        })?;
        if let Some(message) = &self.origin.message {
            write!(f, ": {}", Shown(message))?;
        }
        if let Some(grace) = self.origin.grace {
            // A semicolon after a text, because the grace is no part of it.
            let first = self.kind == ReasonKind::Requested && self.origin.message.is_none();
            write!(f, "{} the grace of {} is over", if first { ":" } else { ";" }, Lasting(grace))?;
        }
        self.requested_by().fmt(f)
    }
}

/// The task and the place of a request: ` (by task 3 at src/main.rs:10:5)`, or an empty text if neither is known.
pub(crate) struct RequestedBy<'a>(&'a Origin);

impl fmt::Display for RequestedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.task, self.0.location) {
            (Some(task), Some(location)) => write!(f, " (by {task} at {location})"),
            (None, Some(location)) => write!(f, " (at {location})"),
            (Some(task), None) => write!(f, " (by {task})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reason")
            .field("kind", &self.kind)
            .field("message", &self.origin.message)
            .field("task", &self.origin.task)
            .field("location", &self.origin.location)
            .field("grace", &self.origin.grace)
            .finish_non_exhaustive()
    }
}

/// The reason why an exit runs. It is the argument of closures registered with
/// [`defer_with`](crate::ExitStack::defer_with) or [`hold_with`](crate::ExitStack::hold_with) (R14).
///
/// Decided for a stack as a whole when its body ends, or when the stack is dropped before that. An exit that
/// is adopted by another region, or registered while the stack unwinds, gets the same reason as the others.
/// So after a body that completed it is `Completed`, even if the stack's `run` is dropped while an earlier
/// exit is parked; later events in the adopting region change nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Leaving {
    /// The body returned a value, or the stack was closed.
    Completed,
    /// The body returned an error.
    Failed,
    /// The body was dropped because a region around it was cancelled.
    Cancelled(Reason),
    /// The body panicked; the panic is resumed after the last exit.
    Panicked,
    /// The body was dropped by other code: the loser of a `select!`, a timeout, an abort.
    Abandoned,
}

impl Leaving {
    /// The reason for the exits of a region whose body has returned `result`.
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Leaving::Completed,
            Err(_) => Leaving::Failed,
        }
    }
}

#[cfg(any(feature = "inspect", feature = "tracing"))]
impl Leaving {
    /// The reason as a text about the region in which the exit was registered.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Leaving::Completed => "its body has ended".to_owned(),
            Leaving::Failed => "its body has failed".to_owned(),
            Leaving::Cancelled(reason) => reason.to_string(),
            Leaving::Panicked => "its body has panicked".to_owned(),
            Leaving::Abandoned => "its body was dropped".to_owned(),
        }
    }
}
