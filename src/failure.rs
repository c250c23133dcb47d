//! The record of all failures of a region; nothing in it is masked (R15).

mod cancelled;
mod convert;
mod exit;
mod text;

pub use cancelled::{Cancelled, ChildError};
pub use convert::AnyError;
pub(crate) use exit::Failures;
pub use exit::{BoxError, ExitFailure};

use crate::identity::TaskId;
use crate::reason::Reason;
use crate::wrong_task::{Misuse, WrongTask};
use std::convert::Infallible;
use std::panic::Location;

/// A number of things, for a text: "1 exit", "2 exits".
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// All failures of a region, from its body to its last exit.
///
/// A record, not a single error: a primary [`cause`](Failure::cause), and the [`rest`](Failure::rest) in the
/// order in which it completed. The primary is the first real error, the body counting as one more child;
/// exits come after it, in the order they ran; a cancellation is primary only if neither the body nor a child has
/// an error, and exits come after it as well (R15). After Kotlin's root cause with its suppressed exceptions, and
/// Python's exception groups.
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
#[derive(Debug)]
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

impl<E> Cause<E> {
    /// The same cause with the error that `wrap` makes of that of the body or child; the error of `wrap` if it makes none.
    fn try_map<F, R>(self, wrap: impl FnOnce(E) -> Result<F, R>) -> Result<Cause<F>, R> {
        Ok(match self {
            Cause::Body(error) => Cause::Body(wrap(error)?),
            Cause::Child { task, spawned_at, error } => {
                Cause::Child { task, spawned_at, error: wrap(error)? }
            }
            Cause::Exit(failure) => Cause::Exit(failure),
            Cause::Cancelled(reason) => Cause::Cancelled(reason),
            Cause::NotReady { task, spawned_at } => Cause::NotReady { task, spawned_at },
            Cause::Rejected(wrong) => Cause::Rejected(wrong),
        })
    }
}

impl<E> Failure<E> {
    /// `None` if there is no failure. The exits come last.
    pub(crate) fn record(mut causes: Vec<Cause<E>>, exits: Failures) -> Option<Self> {
        if causes.is_empty() && exits.is_empty() {
            return None;
        }
        causes.extend(exits.first.into_iter().map(Cause::Exit));
        Some(Failure { causes, omitted: exits.omitted })
    }

    pub(crate) fn only(cause: Cause<E>) -> Self {
        Failure { causes: vec![cause], omitted: 0 }
    }

    /// The result of a run that another task than the owner polls. Each other misuse is a panic of that poll.
    #[track_caller]
    pub(crate) fn rejected(misuse: Misuse) -> Self {
        match misuse {
            Misuse::WrongTask(wrong) => Failure::only(Cause::Rejected(*wrong)),
            misuse => misuse.panic(),
        }
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
        let causes = self.causes.into_iter().map(|cause| {
            let Ok(cause) = cause.try_map(|error| Ok::<_, Infallible>(wrap(error)));
            cause
        });
        Failure { causes: causes.collect(), omitted: self.omitted }
    }
}

impl<E> Failure<Failure<E>> {
    /// One record of two nested ones: each inner record in its place, its primary first. If an inner region was only
    /// cancelled, and a later record has an error of a body or child, that error is the primary (R15).
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
            match cause.try_map(Err) {
                Ok(cause) => flat.causes.push(cause),
                Err(inner) => {
                    flat.omitted += inner.omitted;
                    flat.causes.extend(inner.causes);
                }
            }
        }
        // An inner record may be of a cancellation without an error, which is primary only if no other record has one.
        let is_error = |cause: &Cause<E>| !matches!(cause, Cause::Cancelled(_) | Cause::Exit(_));
        if matches!(flat.cause(), Cause::Cancelled(_)) {
            if let Some(first) = flat.causes.iter().position(is_error) {
                flat.causes[..=first].rotate_right(1);
            }
        }
        flat
    }
}
