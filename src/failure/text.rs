//! The texts of a record, and the chain of its sources.

use super::{Cause, Failure};
use std::error::Error;
use std::fmt;

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
            Cause::NotReady { task, spawned_at } => {
                write!(f, "{task} ended without saying that it is ready")?;
                if tree { write!(f, " (spawned at {spawned_at})") } else { Ok(()) }
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
        for cause in self.rest().take(LINES) {
            f.write_str("\n  also: ")?;
            cause.write(f, true, &show)?;
        }
        left_out(f, self.causes.len() - 1, self.omitted)
    }
}

/// The number of failures beside the first that a tree lists: a screen or two.
pub(super) const LINES: usize = 100;

/// The end of a tree: the number of failures that are in the record and not in the text, and of those that are in
/// neither.
pub(super) fn left_out(f: &mut fmt::Formatter<'_>, recorded: usize, omitted: usize) -> fmt::Result {
    if let Some(more) = recorded.checked_sub(LINES).filter(|more| *more > 0) {
        write!(f, "\n  and {more} more in the record")?;
    }
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
