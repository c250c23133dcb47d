//! How often, and for how long, a lost stream is requested again.

use std::time::Duration;

/// The number of retries of a lost stream, and their duration, while they bring nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) tries: u32,
    /// The wait before the first try; it doubles from try to try.
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) over: Duration,
}

/// A request waits for the answer.
pub(super) const FOR_AN_ANSWER: Patience = Patience {
    tries: 5,
    first: Duration::from_millis(250),
    longest: Duration::from_secs(4),
    over: Duration::from_secs(30),
};

/// No request waits: the stream is for messages that a server sends without a request.
pub(super) const FOR_NOTHING_IN_PARTICULAR: Patience = Patience {
    tries: 8,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    over: Duration::from_secs(180),
};

/// The pause after such tries before more of them, after the first ones and at most. The session goes on meanwhile.
const AWAY: Duration = Duration::from_secs(30);
const AWAY_LONGEST: Duration = Duration::from_secs(30 * 60);

/// The pause for a stream of the session that was given up `times` before; it doubles from time to time.
pub(super) fn pause_away(times: u32) -> Duration {
    AWAY.saturating_mul(1 << times.min(16)).min(AWAY_LONGEST)
}
