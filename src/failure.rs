//! The record of all failures of a region; nothing in it is masked (R15).

mod convert;

pub use convert::AnyError;

use crate::identity::TaskId;
use crate::reason::Reason;
use crate::unwind;
use crate::wrong_task::WrongTask;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A number of things, for a text: "1 exit", "2 exits".
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Any error that an exit may end with.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// All failures of a region, from its body to its last exit.
///
/// A record, not a single error: a primary [`cause`](Failure::cause), and the [`rest`](Failure::rest) in the
/// order in which it completed. The primary is the first real error, the body counting as one more child;
/// exits come after it, in the order they ran; a cancellation is primary only if there is no real error
/// (R15). After Kotlin's root cause with its suppressed exceptions, and Python's exception groups.
///
/// `{}` is one line; `{:#}` is a tree: a line for each cause, below an exit's error a line for each of its
/// sources, and the errors of body and children in their own `{:#}`. The `source` of a failure is the
/// source of its primary cause, so that a printed chain does not repeat that cause.
///
/// # Comparison
///
/// `anyhow::Error` is one chain of causes; this is several side by side, each with its own chain. A caller
/// that wants one error takes [`into_cause`](Failure::into_cause).
///
/// # Examples
///
/// ```
/// use moored::{Cause, ExitStack, Failure};
///
/// # futures::executor::block_on(async {
/// let stack = ExitStack::new();
/// let failure: Failure<&str> = stack
///     .run(async {
///         stack.defer(async { Err("the pool is gone") });
///         Err::<(), _>("no such row")
///     })
///     .await
///     .unwrap_err();
/// assert!(matches!(failure.cause(), Cause::Body("no such row")));
/// assert_eq!(failure.rest().count(), 1);
/// assert_eq!(failure.to_string(), "no such row (and 1 more)");
/// # });
/// ```
pub struct Failure<E> {
    // Never empty; the primary is first.
    causes: Vec<Cause<E>>,
    omitted: usize,
}

/// One failure.
#[non_exhaustive]
pub enum Cause<E> {
    /// The body returned an error.
    Body(E),
    /// A child of the group returned an error.
    #[non_exhaustive]
    Child {
        /// The child.
        task: TaskId,
        /// Where it was spawned.
        spawned_at: &'static Location<'static>,
        /// Its error.
        error: E,
    },
    /// An exit failed.
    Exit(ExitFailure),
    /// The body was dropped because the region was cancelled.
    Cancelled(Reason),
    /// A child that was [started](crate::TaskGroup::start) ended without having reported that it is
    /// ready.
    #[non_exhaustive]
    NotReady {
        /// The child.
        task: TaskId,
        /// Where it was started.
        spawned_at: &'static Location<'static>,
    },
    /// The region belongs to another task: the body was not started (R2).
    Rejected(WrongTask),
}

/// How an exit failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExitFailure {
    /// It returned an error.
    #[non_exhaustive]
    Failed {
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// Its error.
        error: BoxError,
    },
    /// It panicked; the other exits ran all the same. Also a second panic of a body, a child or a drop,
    /// which cannot be resumed beside the first.
    #[non_exhaustive]
    Panicked {
        /// Where it was registered, run or spawned.
        registered_at: &'static Location<'static>,
        /// The text of the panic.
        message: String,
    },
    /// It did not end within the stack's grace, and was dropped where it was parked.
    #[non_exhaustive]
    TimedOut {
        /// Where it was registered.
        registered_at: &'static Location<'static>,
        /// The time that it had, from its first poll.
        grace: Duration,
    },
    /// A child, or the body, returned an error that no caller receives: the `run` that would have returned it was
    /// dropped, or resumed a panic.
    #[non_exhaustive]
    Unclaimed {
        /// Where the child was spawned; where the region was run, if it was its body.
        registered_at: &'static Location<'static>,
        /// The task that failed.
        task: TaskId,
    },
    /// The value that it was to give back was still in use when its turn came. The last drop of
    /// the [`Held`](crate::Held) hands the exit to the regions around.
    #[non_exhaustive]
    StillHeld {
        /// Where it was registered.
        registered_at: &'static Location<'static>,
    },
}

impl ExitFailure {
    /// Where the exit was registered: the call of `defer` or `hold`.
    pub fn registered_at(&self) -> &'static Location<'static> {
        match self {
            ExitFailure::Failed { registered_at, .. }
            | ExitFailure::Panicked { registered_at, .. }
            | ExitFailure::TimedOut { registered_at, .. }
            | ExitFailure::Unclaimed { registered_at, .. }
            | ExitFailure::StillHeld { registered_at } => registered_at,
        }
    }
}

impl fmt::Display for ExitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitFailure::Failed { registered_at, error } => {
                write!(f, "exit registered at {registered_at} failed: {error}")?;
                let mut source = error.source().filter(|_| f.alternate());
                while let Some(error) = source {
                    write!(f, "\n    because: {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            ExitFailure::Panicked { registered_at, message } => {
                write!(f, "what was registered at {registered_at} panicked: {message}")
            }
            ExitFailure::TimedOut { registered_at, grace } => {
                write!(
                    f,
                    "exit registered at {registered_at} did not end within its grace of {grace:?}"
                )
            }
            ExitFailure::Unclaimed { registered_at, task } => write!(
                f,
                "{task}, spawned or run at {registered_at}, failed, and nobody can claim its error: the region around \
                 was dropped, or has panicked"
            ),
            ExitFailure::StillHeld { registered_at } => write!(
                f,
                "exit registered at {registered_at} found its value still held; it runs after the last \
                 `Held` is dropped"
            ),
        }
    }
}

impl Error for ExitFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ExitFailure::Failed { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// Failures on their way into a record: the first ones, and the number of further ones.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) first: Vec<ExitFailure>,
    pub(crate) omitted: usize,
}

impl Failures {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.omitted == 0
    }

    pub(crate) fn push(&mut self, failure: ExitFailure) {
        self.first.push(failure);
    }

    pub(crate) fn append(&mut self, mut later: Failures) {
        self.first.append(&mut later.first);
        self.omitted += later.omitted;
    }

    /// Counts the failures over `cap`, and returns them, because their drop is user code (R18).
    #[must_use = "what is over the cap must be dropped outside the lock, quietly"]
    pub(crate) fn trim(&mut self, cap: usize) -> Vec<ExitFailure> {
        if self.first.len() <= cap {
            return Vec::new();
        }
        let over = self.first.split_off(cap);
        self.omitted += over.len();
        over
    }
}

impl From<ExitFailure> for Failures {
    fn from(failure: ExitFailure) -> Self {
        Failures { first: vec![failure], omitted: 0 }
    }
}

impl<E> Failure<E> {
    /// `None` if there is no failure. At most `cap` causes are kept, the exits last; the others are counted.
    pub(crate) fn record(
        mut causes: Vec<Cause<E>>,
        exits: Failures,
        cap: impl FnOnce() -> usize,
    ) -> Option<Self> {
        if causes.is_empty() && exits.is_empty() {
            return None;
        }
        let (cap, mut omitted) = (cap(), exits.omitted);
        causes.extend(exits.first.into_iter().map(Cause::Exit));
        if causes.len() > cap {
            let over = causes.split_off(cap);
            omitted += over.len();
            unwind::drop_each_quietly(over);
        }
        Some(Failure { causes, omitted })
    }

    pub(crate) fn only(cause: Cause<E>) -> Self {
        Failure { causes: vec![cause], omitted: 0 }
    }

    /// The number of errors that came after the record had reached its cap. They are only
    /// counted.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The primary cause: the first real error; a cancellation only where there is none (R15).
    pub fn cause(&self) -> &Cause<E> {
        &self.causes[0]
    }

    /// All causes but the primary, in the order in which they occurred.
    pub fn rest(&self) -> impl Iterator<Item = &Cause<E>> {
        self.causes[1..].iter()
    }

    /// The primary, then the rest.
    pub fn causes(&self) -> impl Iterator<Item = &Cause<E>> {
        self.causes.iter()
    }

    /// The primary cause by value. The other causes are dropped: read [`rest`](Failure::rest) first.
    pub fn into_cause(mut self) -> Cause<E> {
        self.causes.swap_remove(0)
    }

    /// All causes by value, the primary first.
    pub fn into_causes(self) -> impl Iterator<Item = Cause<E>> {
        self.causes.into_iter()
    }
}

impl<E> Failure<E> {
    /// The same record with other errors of body and children: for the border of a library, or for nested
    /// regions with different error types.
    pub fn map<F>(self, mut wrap: impl FnMut(E) -> F) -> Failure<F> {
        let causes = self.causes.into_iter().map(|cause| match cause {
            Cause::Body(error) => Cause::Body(wrap(error)),
            Cause::Child { task, spawned_at, error } => {
                Cause::Child { task, spawned_at, error: wrap(error) }
            }
            Cause::Exit(failure) => Cause::Exit(failure),
            Cause::Cancelled(reason) => Cause::Cancelled(reason),
            Cause::NotReady { task, spawned_at } => Cause::NotReady { task, spawned_at },
            Cause::Rejected(wrong) => Cause::Rejected(wrong),
        });
        Failure { causes: causes.collect(), omitted: self.omitted }
    }
}

impl<E> Failure<Failure<E>> {
    /// One record of two nested ones: each inner record in its place, its primary first.
    ///
    /// A body or a child that itself uses a stack or a group returns a `Failure`, and the region around
    /// wraps that in its own.
    ///
    /// ```
    /// use moored::{ExitStack, Failure};
    ///
    /// # futures::executor::block_on(async {
    /// let outer = ExitStack::new();
    /// let inner = ExitStack::new();
    /// let result: Result<(), Failure<&str>> = outer
    ///     .run(async { inner.run(async { Err("broken") }).await })
    ///     .await
    ///     .map_err(Failure::flatten);
    /// assert_eq!(result.unwrap_err().to_string(), "broken");
    /// # });
    /// ```
    pub fn flatten(self) -> Failure<E> {
        let mut flat = Failure { causes: Vec::new(), omitted: self.omitted };
        for cause in self.causes {
            match cause {
                Cause::Body(inner) | Cause::Child { error: inner, .. } => {
                    flat.omitted += inner.omitted;
                    flat.causes.extend(inner.causes);
                }
                Cause::Exit(failure) => flat.causes.push(Cause::Exit(failure)),
                Cause::Cancelled(reason) => flat.causes.push(Cause::Cancelled(reason)),
                Cause::NotReady { task, spawned_at } => {
                    flat.causes.push(Cause::NotReady { task, spawned_at });
                }
                Cause::Rejected(wrong) => flat.causes.push(Cause::Rejected(wrong)),
            }
        }
        flat
    }
}

impl<E> Cause<E> {
    /// One line, or with `tree` a line for each source of an exit's error below it. `show` writes an error of body or
    /// child, which may have only one of `Display` and `Debug`.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        tree: bool,
        show: impl Fn(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Cause::Body(error) => show(error, f),
            Cause::Child { task, spawned_at, error } => {
                write!(f, "{task}: ")?;
                show(error, f)?;
                if tree { write!(f, " (spawned at {spawned_at})") } else { Ok(()) }
            }
            Cause::Exit(failure) if tree => write!(f, "{failure:#}"),
            Cause::Exit(failure) => write!(f, "{failure}"),
            Cause::Cancelled(reason) => write!(f, "{reason}"),
            Cause::NotReady { task, .. } => {
                write!(f, "{task} ended without saying that it is ready")
            }
            Cause::Rejected(wrong) => write!(f, "{wrong}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, f.alternate(), fmt::Display::fmt)
    }
}

impl<E: fmt::Debug> fmt::Debug for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Body(error) => f.debug_tuple("Body").field(error).finish(),
            Cause::Child { task, spawned_at, error } => {
                let mut child = f.debug_struct("Child");
                child.field("task", task).field("spawned_at", spawned_at).field("error", error);
                child.finish()
            }
            Cause::Exit(failure) => f.debug_tuple("Exit").field(failure).finish(),
            Cause::Cancelled(reason) => f.debug_tuple("Cancelled").field(reason).finish(),
            Cause::NotReady { task, spawned_at } => {
                let mut child = f.debug_struct("NotReady");
                child.field("task", task).field("spawned_at", spawned_at).finish()
            }
            Cause::Rejected(wrong) => f.debug_tuple("Rejected").field(wrong).finish(),
        }
    }
}

impl<E: Error + 'static> Error for Cause<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Cause::Body(error) | Cause::Child { error, .. } => error.source(),
            Cause::Exit(failure) => failure.source(),
            Cause::Cancelled(_) | Cause::NotReady { .. } | Cause::Rejected(_) => None,
        }
    }
}

impl<E> Failure<E> {
    /// A line for the primary cause and one for each of the rest.
    fn write_tree(
        &self,
        f: &mut fmt::Formatter<'_>,
        show: impl Fn(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.cause().write(f, true, &show)?;
        for cause in self.rest() {
            f.write_str("\n  also: ")?;
            cause.write(f, true, &show)?;
        }
        over_the_cap(f, self.omitted)
    }
}

fn over_the_cap(f: &mut fmt::Formatter<'_>, omitted: usize) -> fmt::Result {
    match omitted {
        0 => Ok(()),
        more => write!(f, "\n  and {more} more, over the cap of the record"),
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.write_tree(f, fmt::Display::fmt);
        }
        write!(f, "{}", self.cause())?;
        match self.causes.len() - 1 + self.omitted {
            0 => Ok(()),
            rest => write!(f, " (and {rest} more)"),
        }
    }
}

/// The tree of `{:#}`, with each error of body and children in its own `Debug`, because `unwrap` and a `main` that
/// returns the failure print `Debug`. `{:#?}` shows the fields. After `anyhow::Error`.
impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("Failure")
                .field("causes", &self.causes)
                .field("omitted", &self.omitted)
                .finish();
        }
        self.write_tree(f, fmt::Debug::fmt)
    }
}

impl<E: Error + 'static> Error for Failure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().source()
    }
}

/// A scope was cancelled, by request or by its deadline, and its body was dropped where it was parked.
///
/// Only the scope that was cancelled returns this (R9): regions inside it are dropped.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let scope = moored::CancelScope::new();
/// scope.cancel_because("shutting down");
/// let cancelled = scope.run(std::future::pending::<()>()).await.unwrap_err();
/// assert!(cancelled.to_string().starts_with("cancelled: shutting down (at "));
/// # });
/// ```
#[derive(Debug)]
pub struct Cancelled {
    reason: Reason,
    failures: Failures,
}

impl Cancelled {
    pub(crate) fn new(reason: Reason, failures: Failures) -> Self {
        Cancelled { reason, failures }
    }

    /// The reason of the first request (R10).
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The failures of the exits that the scope adopted before it was left: first the exits of dropped regions that
    /// failed, then errors of their bodies and children that no record could hold, as [`ExitFailure::Unclaimed`].
    ///
    /// An exit that panicked is not among them, because the scope's run resumes the panic.
    pub fn failures(&self) -> &[ExitFailure] {
        &self.failures.first
    }

    /// The number of failures that came after the record had reached its cap. They are only
    /// counted.
    pub fn omitted(&self) -> usize {
        self.failures.omitted
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let Failures { first, omitted } = &self.failures;
        if f.alternate() {
            first.iter().try_for_each(|failure| write!(f, "\n  also: {failure}"))?;
            return over_the_cap(f, *omitted);
        }
        match first.len() + omitted {
            0 => Ok(()),
            n => write!(f, " (and {n} more)"),
        }
    }
}

impl Error for Cancelled {}

/// The reason why a child has no value. The error itself always goes to the group's [`Failure`]
/// (R17).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// It returned an error: look for this id in the group's failure.
    Failed(TaskId),
    /// It was cancelled before it had a value.
    Cancelled(Reason),
    /// It panicked; the group's `run` resumes the panic when everything has left, unless the group
    /// [isolates panics](crate::TaskGroup::isolate_panics).
    Panicked,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Failed(task) => {
                write!(f, "{task} failed; the error is in its group's failure")
            }
            ChildError::Cancelled(reason) => write!(f, "child {reason}"),
            ChildError::Panicked => f.write_str(
                "child panicked; its group goes on with the panic, unless it isolates panics",
            ),
        }
    }
}

impl Error for ChildError {}
