//! The clock for every executor: a timer thread, started by the first deadline.

use crate::clock::Sleep;
use std::time::Instant;

pub(super) fn sleep_until(at: Instant) -> Sleep {
    Box::pin(futures_timer::Delay::new(at.saturating_duration_since(Instant::now())))
}
