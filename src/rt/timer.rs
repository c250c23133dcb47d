//! The clock for every executor: a timer thread, started by the first deadline.

use crate::clock::Sleep;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

pub(super) fn sleep_until(at: Instant) -> Sleep {
    let left = at.saturating_duration_since(Instant::now());
    if left.is_zero() {
        // The thread would answer only after this poll.
        return Box::pin(poll_fn(|_| Poll::Ready(())));
    }
    Box::pin(futures_timer::Delay::new(left))
}
