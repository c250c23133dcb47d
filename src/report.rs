//! What has no record to go into: told to a hook, never silently dropped (R8, R15).

use crate::failure::ExitFailure;
use crate::sync::{Arc, Global};
use crate::unwind;
use crate::wrong_task::WrongTask;
use std::fmt;
use std::io::Write;
use std::panic::Location;

/// Something that no result could tell of.
///
/// `Display` is one line and names the region and the place.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// Exits that will not run: their region was dropped where nothing of `moored` was left to run them.
    #[non_exhaustive]
    LostExits {
        /// The outermost region they were registered in, as texts show it.
        region: String,
        /// Where each was registered, newest first.
        registered_at: Vec<&'static Location<'static>>,
    },
    /// An exit failed, or a panic was followed by failures, where no record was open.
    #[non_exhaustive]
    Unrecorded {
        /// The region in which it happened.
        region: String,
        /// What failed.
        failure: ExitFailure,
    },
    /// An entered scope was left while something still ran inside it, because its future was leaked. That
    /// was cancelled, and cannot enter anything any more.
    #[non_exhaustive]
    StillInUse {
        /// The scope, as texts show it.
        region: String,
        /// How many runs it had.
        runs: usize,
    },
    /// A region was dropped by a task that does not own it. Its exits went home (R2).
    ForeignDrop(WrongTask),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::LostExits { region, registered_at } => {
                write!(
                    f,
                    "{} exits of {region} are lost: no enclosing region lives",
                    registered_at.len()
                )?;
                registered_at.iter().try_for_each(|place| write!(f, "; registered at {place}"))
            }
            Report::Unrecorded { region, failure } => write!(f, "in {region}: {failure}"),
            Report::StillInUse { region, runs } => write!(
                f,
                "{region} was left with {runs} runs inside it that were leaked; they are cancelled, and \
                 nobody polls them to their end"
            ),
            Report::ForeignDrop(wrong) => write!(f, "{wrong}"),
        }
    }
}

type Hook = Arc<dyn Fn(&Report) + Send + Sync>;

static HOOK: Global<Hook> = Global::unset();

/// Sets what is called for every [`Report`]; it replaces the one before. Without one, a report is a line
/// on standard error.
///
/// The hook runs wherever the report arises, drops included: it must not block, and its panic is
/// swallowed.
pub fn set_report_hook(hook: impl Fn(&Report) + Send + Sync + 'static) {
    drop(HOOK.replace(Some(Arc::new(hook))));
}

pub(crate) fn report(report: &Report) {
    #[cfg(feature = "tracing")]
    drop(unwind::catch(|| tracing::warn!(target: "moored", "{report}")));
    match HOOK.get() {
        // A report may arise while unwinding, where a second panic would abort the process.
        Some(hook) => drop(unwind::catch(|| hook(report))),
        // Not `eprintln!`, which panics where standard error cannot be written.
        None => drop(writeln!(std::io::stderr(), "moored: {report}")),
    }
}
