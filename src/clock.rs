//! What a runtime fills in to give deadlines a time, and the timer that is made of it (R11).

use crate::rt;
use crate::sync::Arc;
use crate::unwind;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A timer that a [`Clock`] made.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time: what `now` is, and a future that is ready at an instant.
///
/// Given to a task with [`Task::clock`](crate::Task::clock) and inherited by everything inside it. Without
/// one, deadlines use the timer of the tokio runtime that polls them (feature `tokio`), and a timer thread
/// (feature `timer`, on by default) in a runtime without one and outside any. A deadline that is polled in
/// another runtime than before goes by the timer there.
///
/// tokio has no way to ask whether a runtime has a timer, other than a panic, which is caught and which the panic
/// hook tells of, once in a thread. With `panic = "abort"`, give what runs in a runtime without `enable_time` a
/// clock. A thread that blocks its own runtime, with a nested `block_on`, blocks that runtime's timer.
///
/// # Panics
///
/// A clock that panics is taken for the body's panic by a region that waits for a deadline or a grace: its exits
/// run, and then the panic goes on. An exit whose grace it cannot tell fails and is dropped; the others run.
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

/// A wait for an instant: the clock's that it was made with, or by the timer of the runtime that polls it.
pub(crate) struct Timer {
    at: Instant,
    source: Source,
}

enum Source {
    Runtime(rt::Delay),
    Given(Arc<dyn Clock>, Option<Sleep>),
}

/// How much of the time that can be represented no process sees the end of: timers round up and overflow there.
const BEYOND: Duration = Duration::from_secs(86_400);

impl Timer {
    pub(crate) fn new(at: Instant, clock: Option<Arc<dyn Clock>>) -> Self {
        let source = match clock {
            Some(clock) => Source::Given(clock, None),
            None => Source::Runtime(rt::Delay::new(at)),
        };
        Timer { at, source }
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// # Panics
    ///
    /// Where the clock does, and where there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_if_told(cx).unwrap_or_else(|| {
            panic!(
                "no clock for a deadline at {:?}: give one with `Task::clock`, or enable the feature `timer`, or, for \
                 what runs inside a tokio runtime with its time enabled, `tokio`",
                self.at
            )
        })
    }

    /// As [`poll`](Timer::poll); `None` where there is no clock.
    pub(crate) fn poll_if_told(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        if self.at.checked_add(BEYOND).is_none() {
            return Some(Poll::Pending);
        }
        match &mut self.source {
            Source::Runtime(delay) => delay.poll(cx),
            Source::Given(clock, sleep) => Some(poll_given(&**clock, self.at, sleep, cx)),
        }
    }

    /// Gives the clock's timer back. The next poll makes one anew, where that happens: what is polled elsewhere from now
    /// on needs nothing of the place that it left.
    pub(crate) fn disarm(&mut self) {
        match &mut self.source {
            Source::Runtime(delay) => delay.disarm(),
            Source::Given(_, sleep) => unwind::drop_quietly(sleep.take()),
        }
    }
}

fn poll_given(
    clock: &dyn Clock,
    at: Instant,
    sleep: &mut Option<Sleep>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if let Some(made_before) = sleep {
        match unwind::catch(|| made_before.as_mut().poll(cx)) {
            Ok(polled) => return polled,
            // The runtime it was made in may have shut down since; there may be another one here.
            Err(payload) => unwind::discard(payload),
        }
        unwind::drop_quietly(sleep.take());
    }
    let made_here = sleep.insert(clock.sleep_until(at));
    made_here.as_mut().poll(cx)
}
