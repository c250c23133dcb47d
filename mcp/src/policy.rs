//! The policies of one server: for starting it again, and for the processes that it has started.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether a server is started again after its session was lost: its process has ended, or its HTTP session has expired
/// and the one `initialize` that would replace it has failed. Without a policy that `initialize` is tried at each call.
///
/// The policy begins when the session has come up: an attempt to connect that fails is an error of
/// [`connect`](crate::SessionGroup::connect) under every policy. An order to leave always wins: a session that was
/// asked to leave, or whose group drains, is not started again.
///
/// While a server is down its components are withdrawn, and its names stay reserved for it. A call of one of its components
/// fails at once with [`CallError::ServerGone`](crate::CallError::ServerGone), which has the cause. A call that was under way
/// fails in the same way, because it is not known whether the server has carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// The session is left.
    #[default]
    Never,
    /// It is started again after a failure. A process that exits with status 0 has not failed.
    OnFailure(Backoff),
    /// It is started again in any case.
    Always(Backoff),
}

impl Restart {
    /// The pauses between the starts; `None` if the server is never started again.
    pub fn backoff(self) -> Option<Backoff> {
        match self {
            Self::Never => None,
            Self::OnFailure(backoff) | Self::Always(backoff) => Some(backoff),
        }
    }
}

/// The pauses between the starts of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The pause before the first restart. It doubles from restart to restart. A server that asks for a longer one
    /// (`Retry-After`) gets it, up to the longest.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// The number of restarts in a row after which the session is left. A session that was up for as long as the longest
    /// pause begins a new row.
    pub tries: u32,
}

impl Default for Backoff {
    /// From half a second to half a minute, 10 times.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30), tries: 10 }
    }
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, ..Self::default() }
    }

    /// Sets the number of restarts in a row.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The pause before a restart, counted from 0; `None` if there were too many.
    pub(crate) fn pause(&self, tries: u32) -> Option<Duration> {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX));
        (tries < self.tries).then(|| doubled.min(self.longest))
    }
}

/// The fate of the processes that a child has started and that are still in its process group when it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Descendants {
    /// The descendants are left with the child: each signal goes to the whole group, and the group is swept after its leader has
    /// exited.
    #[default]
    Kill,
    /// The descendants are left alone: a signal, also one of a [`Watchdog`](crate::Watchdog), goes to the child only. The
    /// processes that are still there are listed as [`survivors`](crate::LeaveReport::survivors), and the leave is clean all the
    /// same.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).tries(40);
        let pauses: Vec<_> = (0..4).filter_map(|tries| backoff.pause(tries)).collect();
        assert_eq!(pauses, [1, 2, 4, 5].map(Duration::from_secs));
        assert_eq!(backoff.pause(39), Some(Duration::from_secs(5)));
        assert_eq!(backoff.pause(40), None);
    }
}
