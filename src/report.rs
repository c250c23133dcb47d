//! Reports of failures without a record: passed to a hook, never silently dropped (R8, R15).

use crate::failure::{ExitFailure, counted};
use crate::sync::{Arc, Global};
use crate::unwind;
use crate::wrong_task::WrongTask;
use std::fmt;
use std::io::Write;
use std::panic::Location;

/// A failure that no result could contain.
///
/// `Display` names the region and the place. It is one line if the errors and panics in it are, but for several lost
/// exits: each of the first ten has a line of its own, and the others are counted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// Exits that will not run: their region was dropped where no region of `moored` was left to run
    /// them.
    #[non_exhaustive]
    LostExits {
        /// The outermost region they were registered in, as texts show it.
        region: String,
        /// The place where each was registered, newest first.
        registered_at: Vec<&'static Location<'static>>,
        /// The stack of each, in the same order, with the task that owns it, as texts show them.
        stacks: Vec<String>,
    },
    /// An exit failed, or failures followed a panic, and no record was open.
    ///
    /// A scope has a record only if it is cancelled. If no stack and no group is around it, a failure is reported when
    /// it happens, and is in [`Cancelled::failures`](crate::Cancelled::failures) as well if the scope is cancelled
    /// later.
    #[non_exhaustive]
    Unrecorded {
        /// The region in which it happened.
        region: String,
        /// The failure.
        failure: ExitFailure,
    },
    /// A region was dropped after its record had reached its cap: the failures after that were only counted.
    #[non_exhaustive]
    Omitted {
        /// The region in which they happened.
        region: String,
        /// The number of those failures.
        failures: usize,
    },
    /// An entered scope was left while a run was still inside it, because the run's future was leaked.
    /// The run was cancelled, and can enter no region any more.
    #[non_exhaustive]
    StillInUse {
        /// The scope, as texts show it.
        region: String,
        /// The number of runs inside it.
        runs: usize,
    },
    /// A region was dropped by a task that does not own it. Its exits went to the regions around it, as in a drop by its
    /// owner (R2).
    ForeignDrop(WrongTask),
    /// A region was polled by a task that does not own it, in a future with an output that has no room for an
    /// error: [`move_on_after`](crate::move_on_after), [`move_on_at`](crate::move_on_at), and
    /// [`shield`](crate::shield) if its future had ended before. Its exits were adopted by the region
    /// around it (R2).
    ForeignPoll(WrongTask),
    /// [`stop_requested`](crate::stop_requested) or [`cancelled`](crate::cancelled) was awaited where no region of
    /// `moored` is current: the wait never ends. Reported only with debug assertions, and only for the first such wait
    /// in a process.
    #[non_exhaustive]
    NothingCurrent {
        /// The function.
        operation: &'static str,
        /// The place of the call.
        asked_at: &'static Location<'static>,
    },
}

/// The number of lost exits that a text lists.
const LINES: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::LostExits { region, registered_at, stacks } => {
                let exits = counted(registered_at.len(), "exit");
                let are = if registered_at.len() == 1 { "is" } else { "are" };
                write!(f, "{exits} of {region} {are} lost: no enclosing region lives")?;
                let start = if registered_at.len() == 1 { "; " } else { "\n  " };
                registered_at.iter().zip(stacks).take(LINES).try_for_each(|(place, stack)| {
                    write!(f, "{start}registered at {place} in {stack}")
                })?;
                match registered_at.len().saturating_sub(LINES) {
                    0 => Ok(()),
                    more => write!(f, "{start}and {more} more"),
                }
            }
            Report::Unrecorded { region, failure } => write!(f, "in {region}: {failure}"),
            Report::Omitted { region, failures } => write!(
                f,
                "in {region}: {} over the cap of a record that was dropped",
                counted(*failures, "more failure")
            ),
            Report::StillInUse { region, runs } => write!(
                f,
                "{region} was left with {} inside it whose futures were leaked: cancelled, and polled by nobody to \
                 the end",
                counted(*runs, "run")
            ),
            Report::NothingCurrent { operation, asked_at } => write!(
                f,
                "`{operation}()`, called at {asked_at}, waits for ever: no region is current where it is polled; wait with \
                 `CancelHandle::{operation}`, or put `moored::task` around the future"
            ),
            Report::ForeignDrop(wrong) | Report::ForeignPoll(wrong) => write!(f, "{wrong}"),
        }
    }
}

type Hook = Arc<dyn Fn(&Report) + Send + Sync>;

static HOOK: Global<Option<Hook>> = Global::new(None);

/// Sets the hook that is called for every [`Report`]; it replaces the former hook. Without a hook, a
/// report is a line on standard error.
///
/// The hook runs where the report arises, also in drops: it must not block, and its panic is discarded.
pub fn set_report_hook(hook: impl Fn(&Report) + Send + Sync + 'static) {
    let former = HOOK.write().replace(Arc::new(hook));
    // After the lock, because its drop is user code (R18).
    drop(former);
}

/// Passes `report` to the hook, and drops it. It may arise while unwinding, where a second panic would abort the
/// process. So each piece of user code is caught: the hook, a subscriber, and the `Display` and the drop of an error in
/// the report.
pub(crate) fn report(report: Report) {
    tell(&report);
    unwind::drop_quietly(report);
}

/// As [`report`], for a failure that a record may still contain; returns the failure.
pub(crate) fn report_failure(region: String, failure: ExitFailure) -> ExitFailure {
    let report = Report::Unrecorded { region, failure };
    tell(&report);
    let Report::Unrecorded { failure, .. } = report else { unreachable!("it was made above") };
    failure
}

fn tell(report: &Report) {
    #[cfg(feature = "tracing")]
    unwind::quietly(|| tracing::warn!(target: "moored", "{}", unwind::text(report)));
    let hook = HOOK.read().clone();
    match hook {
        // The hook itself is dropped in here too, if another hook has replaced it meanwhile.
        Some(hook) => unwind::quietly(move || hook(report)),
        // Not `eprintln!`, which panics if standard error cannot be written.
        None => drop(writeln!(std::io::stderr(), "moored: {}", unwind::text(report))),
    }
}
