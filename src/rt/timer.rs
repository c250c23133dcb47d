//! The clock for every executor: a timer thread, started by the first deadline.

use crate::clock::{Clock, Sleep};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct TimerThread;

impl Clock for TimerThread {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(futures_timer::Delay::new(at.saturating_duration_since(Instant::now())))
    }
}
