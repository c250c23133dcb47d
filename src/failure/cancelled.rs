//! The errors of a scope that was cancelled, and of a child without a value.

use super::exit::{ExitFailure, Failures};
use super::text::{LINES, left_out};
use crate::identity::TaskId;
use crate::reason::Reason;
use std::error::Error;
use std::fmt;

/// A scope was cancelled, by request or by its deadline, and its body was dropped where it was parked.
///
/// Only the scope that was cancelled returns this (R9): regions inside it are dropped. `{}` is one line; `{:#}` and `{:?}` are a
/// tree: a line for the reason and one for each of the [`failures`](Cancelled::failures).
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

impl Cancelled {
    /// A line for the reason, one for each failure, and one for each source of an exit's error.
    fn write_tree(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let Failures { first, omitted } = &self.failures;
        first.iter().take(LINES).try_for_each(|failure| write!(f, "\n  also: {failure:#}"))?;
        left_out(f, first.len(), *omitted)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.write_tree(f);
        }
        write!(f, "{}", self.reason)?;
        match self.failures.first.len() + self.failures.omitted {
            0 => Ok(()),
            n => write!(f, " (and {n} more)"),
        }
    }
}

/// The tree of `{:#}`, because `unwrap` prints `Debug`, and a record may have a thousand failures. `{:#?}` shows the
/// fields.
impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            let mut cancelled = f.debug_struct("Cancelled");
            return cancelled
                .field("reason", &self.reason)
                .field("failures", &self.failures)
                .finish();
        }
        self.write_tree(f)
    }
}

impl Error for Cancelled {}

/// The reason why a child has no value. The error itself always goes to the group's [`Failure`](crate::Failure)
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
