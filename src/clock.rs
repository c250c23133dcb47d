//! What a runtime fills in to give deadlines a time (R11).

use crate::sync::Arc;
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

/// The clock for a region around which no task was given one.
#[cfg(any(feature = "timer", feature = "tokio"))]
pub(crate) fn default() -> Arc<dyn Clock> {
    #[cfg(feature = "tokio")]
    if crate::rt::tokio::inside_a_runtime() {
        return Arc::new(crate::rt::tokio::TokioClock);
    }
    #[cfg(feature = "timer")]
    return Arc::new(crate::rt::timer::TimerThread);
    #[cfg(not(feature = "timer"))]
    panic!(
        "no clock for a deadline: outside a tokio runtime it needs the feature `timer`, or a clock given \
         with `Task::clock`"
    );
}

/// What the default clock shows, without having to make it.
pub(crate) fn default_now() -> Instant {
    #[cfg(feature = "tokio")]
    if crate::rt::tokio::inside_a_runtime() {
        return crate::rt::tokio::TokioClock.now();
    }
    Instant::now()
}

#[cfg(not(any(feature = "timer", feature = "tokio")))]
pub(crate) fn default() -> Arc<dyn Clock> {
    panic!("no clock for a deadline: give one with `Task::clock`, or enable the feature `timer`")
}
