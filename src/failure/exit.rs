//! The failure of an exit, and failures on their way into a record.

use crate::identity::TaskId;
use crate::lasting::Lasting;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Any error that an exit may end with.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

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
    /// It panicked; the other exits ran all the same. Also the panic of a child whose group
    /// [isolates panics](crate::TaskGroup::isolate_panics), a second panic of a body, a child or a drop, which cannot be
    /// resumed beside the first, and the panic of a body whose `run` was dropped before it could resume it.
    #[non_exhaustive]
    Panicked {
        /// Where the exit was registered; where the child was spawned; where the region was run, if it was its body.
        registered_at: &'static Location<'static>,
        /// The child, or the task that ran the body. `None` for an exit, or if the task is not known.
        task: Option<TaskId>,
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
            ExitFailure::Panicked { registered_at, task: Some(task), message } => {
                write!(f, "{task}, spawned or run at {registered_at}, panicked: {message}")
            }
            ExitFailure::Panicked { registered_at, task: None, message } => {
                write!(f, "exit registered at {registered_at} panicked: {message}")
            }
            ExitFailure::TimedOut { registered_at, grace } => {
                let grace = Lasting(*grace);
                write!(
                    f,
                    "exit registered at {registered_at} did not end within its grace of {grace}"
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
