//! The run of a command that works with a group and then closes it, with the signals that may come in between.
//!
//! The first signal interrupts the work, a second one forces the close, and there is a report in every case.

use moored_mcp::{CloseReport, SessionGroup};

use super::signals::{Caught, Signals};

/// The end of such a run.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// The result of the work; `None` if a signal interrupted it.
    pub work: Option<T>,
    /// The report of closing the group.
    pub report: CloseReport,
    /// The first signal, which decides the exit status.
    pub caught: Option<Caught>,
}

/// Does `work` with the group, then closes it.
///
/// `notice` tells a person that a signal was received. A signal during `work` drops it: the group owns every session
/// that the work has begun, and reports it.
pub(crate) async fn run_and_close<T>(
    group: &SessionGroup,
    signals: &mut Signals,
    notice: impl Fn(&str),
    work: impl Future<Output = T>,
) -> Ended<T> {
    let mut caught = None;
    // The first signal asks to leave, every later one forces.
    let mut note = |signal: Caught| {
        if caught.is_none() {
            caught = Some(signal);
            notice(&format!("{}: leaving the servers; once more to kill them", signal.name()));
        } else {
            notice(&format!("{}: killing what is left", signal.name()));
            group.force();
        }
    };
    let work = tokio::select! {
        // The work is polled first, so that the group knows every server even if a signal is
        // already waiting.
        biased;
        done = work => Some(done),
        signal = signals.next() => {
            note(signal);
            None
        }
    };
    let close = group.close();
    tokio::pin!(close);
    let report = loop {
        tokio::select! {
            biased;
            report = &mut close => break report,
            signal = signals.next() => note(signal),
        }
    };
    Ended { work, report, caught }
}
