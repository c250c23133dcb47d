//! The trait through which a runtime provides time for deadlines, and the timer made of it
//! (R11).

use crate::rt;
use crate::sync::Arc;
use crate::unwind;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A timer that a [`Clock`] made.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time: the present instant, and a future that is ready at an instant.
///
/// Given to a task with [`Task::clock`](crate::Task::clock) and inherited by every region inside it.
/// Without a given clock, deadlines use the timer of the tokio runtime that polls them (feature `tokio`),
/// and a timer thread (feature `timer`, on by default) in a runtime without a timer and outside any
/// runtime. A deadline that is polled in another runtime than before uses the timer there.
///
/// tokio has no way to ask whether a runtime has a timer, other than a panic. That panic is caught, and the panic
/// hook prints it once in a thread. With `panic = "abort"`, give a clock to tasks in a runtime without
/// `enable_time`. A thread that blocks its own runtime, with a nested `block_on`, blocks that runtime's timer.
///
/// # Panics
///
/// In a region that waits for a deadline or a grace, a panic of the clock counts as the body's panic: the exits
/// run, and then the panic is resumed. An exit with a grace by that clock fails and is dropped; the others
/// run.
#[diagnostic::on_unimplemented(
    message = "`{Self}` tells no time",
    note = "use `testing::MockClock` (feature `testing`), or implement `Clock`, which is `Send + Sync + 'static`"
)]
pub trait Clock: Send + Sync + 'static {
    /// The present instant. It must never go back.
    fn now(&self) -> Instant;

    /// A future that is ready at `at` and not before. Dropping it releases the timer.
    fn sleep_until(&self, at: Instant) -> Sleep;
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A wait for an instant: by the clock that it was made with, or by the timer of the runtime that polls it. It is one
/// allocation, in which tokio's timer stands too.
pub(crate) struct Timer(Pin<Box<Armed>>);

pin_project! {
    struct Armed {
        at: Instant,
        // The clock that was given, and the timer that it made; else the runtime's.
        clock: Option<Arc<dyn Clock>>,
        sleep: Option<Sleep>,
        #[pin]
        delay: rt::Delay,
    }
}

/// The end of the range of instants that no process reaches: timers round up and overflow there.
const BEYOND: Duration = Duration::from_secs(86_400);

pub(crate) fn is_beyond(at: Instant) -> bool {
    at.checked_add(BEYOND).is_none()
}

impl Timer {
    pub(crate) fn new(at: Instant, clock: Option<Arc<dyn Clock>>) -> Self {
        Timer(Box::pin(Armed { at, clock, sleep: None, delay: rt::Delay::default() }))
    }

    pub(crate) fn at(&self) -> Instant {
        self.0.at
    }

    /// # Panics
    ///
    /// If the clock panics, and if there is no clock.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.try_poll(cx).unwrap_or_else(|| {
            panic!(
                "no clock for a deadline at {:?}: give one with `Task::clock`, or enable the feature `timer`, or, for \
                 code inside a tokio runtime with its time enabled, `tokio`",
                self.at()
            )
        })
    }

    /// As [`poll`](Timer::poll); `None` if there is no clock.
    pub(crate) fn try_poll(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let armed = self.0.as_mut().project();
        match armed.clock {
            None => armed.delay.poll(*armed.at, cx),
            Some(_) if is_beyond(*armed.at) => Some(Poll::Pending),
            Some(clock) => Some(poll_given(&**clock, *armed.at, armed.sleep, cx)),
        }
    }

    /// Releases the clock's timer. The next poll makes it anew, so that a wait which is polled elsewhere from now on
    /// needs nothing of its former runtime.
    pub(crate) fn disarm(&mut self) {
        let mut armed = self.0.as_mut().project();
        armed.delay.set(rt::Delay::default());
        unwind::drop_quietly(armed.sleep.take());
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
            // The runtime it was made in may have shut down since; the current runtime may be
            // another one.
            Err(payload) => unwind::discard(payload),
        }
        unwind::drop_quietly(sleep.take());
    }
    let made_here = sleep.insert(clock.sleep_until(at));
    made_here.as_mut().poll(cx)
}
