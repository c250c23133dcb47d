//! The times of an attempt.

use std::time::Duration;

use tokio::time::Instant;

use crate::duration::millis;

/// The times that make up `waited_ms` and `connect_ms`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// The time that it waited for the turn.
    pub(crate) waited: Duration,
    /// The time at which the turn came.
    pub(crate) began: Option<Instant>,
    pub(crate) outcome: Option<Instant>,
}

impl Clock {
    /// From the earlier beginning to the later outcome.
    pub(crate) fn spanning(self, other: Self) -> Self {
        Self {
            waited: Duration::ZERO,
            began: self.began.into_iter().chain(other.began).min(),
            outcome: self.outcome.into_iter().chain(other.outcome).max(),
        }
    }

    /// From the turn to the outcome.
    pub(crate) fn connect_ms(self) -> Option<u64> {
        self.began.zip(self.outcome).map(|(began, outcome)| millis(outcome - began))
    }
}
