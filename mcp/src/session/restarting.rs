//! The decision whether a server is started again after its session was lost, and the pause before that.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::fault::Fault;
use crate::params::Transport;
use crate::policy::{Backoff, Restart};
use crate::report::ExitStatusReport;

/// The restarts of one server so far.
#[derive(Debug, Default)]
pub(super) struct Comebacks {
    /// The number of restarts in a row.
    tries: u32,
    up_since: Option<Instant>,
}

impl Comebacks {
    /// The server has come up.
    pub(super) fn up(&mut self) {
        self.up_since = Some(Instant::now());
    }

    /// Whether a start that has ended by `fault` is followed by another one.
    pub(super) fn follow(&self, session: &Session, fault: &Fault) -> bool {
        self.backoff(session, fault).is_some_and(|it| it.pause(self.row(it)).is_some())
    }

    /// Counts another start, and returns the pause before it.
    pub(super) fn next(&mut self, session: &Session, fault: &Fault) -> Option<Duration> {
        let backoff = self.backoff(session, fault)?;
        self.tries = self.row(backoff);
        // A server that asks for a longer pause gets it, up to the longest one.
        let asked = fault.wait.unwrap_or_default().min(backoff.longest);
        let pause = backoff.pause(self.tries)?.max(asked);
        self.tries += 1;
        self.up_since = None;
        Some(pause)
    }

    /// The restarts in a row. A start that was up for long enough begins a new row.
    fn row(&self, backoff: Backoff) -> u32 {
        let was_up = self.up_since.map_or(Duration::ZERO, |since| since.elapsed());
        if was_up >= backoff.longest { 0 } else { self.tries }
    }

    /// The pauses that the policy has for this end.
    fn backoff(&self, session: &Session, fault: &Fault) -> Option<Backoff> {
        let restart = match session.params.transport {
            // Its program has to open another session.
            Transport::Adopted(_) => Restart::Never,
            _ => session.params.restart,
        };
        let is_failure = fault.exit != Some(ExitStatusReport::Code(0));
        restart.backoff().filter(|_| is_failure || matches!(restart, Restart::Always(_)))
    }
}
