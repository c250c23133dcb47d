//! Reports of regions that do not end.

use super::snapshot::snapshot;
use crate::opaque::opaque;
use crate::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Scans all regions once in each period `every`, and reports each region and exit that has been leaving for longer
/// than `longer_than`. With the feature `tracing` the report is a warning to the subscriber that is current at this
/// call, else a line on standard error. The text is the path from the root, and the regions are those of
/// [`Snapshot::leaving`](super::Snapshot::leaving): a cancelled region that a shield holds is not among them.
///
/// It runs on its own thread, so that it works even if a runtime is blocked. A region that still does not end is
/// reported by every scan.
///
/// ```
/// use std::time::Duration;
///
/// let _watch = moored::inspect::watch(Duration::from_secs(10), Duration::from_secs(30));
/// // the program
/// ```
///
/// # Panics
///
/// If no thread can be started.
pub fn watch(every: Duration, longer_than: Duration) -> Watch {
    let (watched, ended) = channel();
    let tell = told_here();
    let scans = move || {
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            tell(snapshot().leaving(longer_than));
        }
    };
    let thread = std::thread::Builder::new().name("moored-watch".into());
    drop(thread.spawn(scans).expect("a thread can be started"));
    Watch { _watched: watched }
}

#[cfg(feature = "tracing")]
fn told_here() -> impl Fn(Vec<String>) {
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    move |lines| {
        let tell = || {
            for line in &lines {
                crate::unwind::quietly(|| tracing::warn!(target: "moored", "does not end: {line}"));
            }
        };
        tracing::dispatcher::with_default(&subscriber, tell);
    }
}

#[cfg(not(feature = "tracing"))]
fn told_here() -> impl Fn(Vec<String>) {
    use std::io::Write;
    |lines| {
        for line in lines {
            // Not `eprintln!`, which panics if standard error cannot be written.
            drop(writeln!(std::io::stderr(), "moored: does not end: {line}"));
        }
    }
}

/// Keeps the scans of the regions going as long as it lives; made by [`watch`].
///
/// # On drop
///
/// The scans end.
#[must_use = "dropping it ends the scans"]
pub struct Watch {
    _watched: Sender<()>,
}

opaque!(Watch);
