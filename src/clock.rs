//! What a runtime fills in to give deadlines a time (R11).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

/// A timer that a [`Clock`] made.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time: what `now` is, and a future that is ready at an instant.
///
/// Given to a task with [`Task::clock`](crate::Task::clock) and inherited by everything inside it. Without
/// one, deadlines use tokio's timer inside a tokio runtime (feature `tokio`), else a timer thread (feature
/// `timer`, on by default).
#[diagnostic::on_unimplemented(
    message = "`{Self}` tells no time",
    note = "use `testing::MockClock` (feature `testing`), or implement `Clock`, which is `Send + Sync + 'static`"
)]
pub trait Clock: Send + Sync + 'static {
    /// The present instant. Must never go back.
    fn now(&self) -> Instant;

    /// A future that is ready at `at` and not before. Dropping it gives the timer back.
    fn sleep_until(&self, at: Instant) -> Sleep;
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A timer of the clock for a region around which no task was given one.
pub(crate) fn default_sleep(at: Instant) -> Sleep {
    #[cfg(feature = "tokio")]
    if crate::rt::tokio::inside_a_runtime() {
        return crate::rt::tokio::TokioClock.sleep_until(at);
    }
    #[cfg(feature = "timer")]
    return crate::rt::timer::TimerThread.sleep_until(at);
    #[cfg(not(feature = "timer"))]
    panic!(
        "no clock for a deadline at {at:?}: give one with `Task::clock`, or enable the feature `timer`, or, \
         for what runs inside a tokio runtime, `tokio`"
    );
}

/// Whether there is such a timer.
pub(crate) fn has_default() -> bool {
    #[cfg(feature = "tokio")]
    if crate::rt::tokio::inside_a_runtime() {
        return true;
    }
    cfg!(feature = "timer")
}

/// What that clock shows.
pub(crate) fn default_now() -> Instant {
    // Outside a runtime, tokio's shows what any does.
    #[cfg(feature = "tokio")]
    return crate::rt::tokio::TokioClock.now();
    #[cfg(not(feature = "tokio"))]
    Instant::now()
}
