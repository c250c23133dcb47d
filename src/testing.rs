//! For tests of code that uses this crate (feature `testing`).

use crate::clock::{Clock, Sleep};
use crate::sync::{Arc, Mutex};
use crate::wakers::wake_all;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A clock that stands still until it is moved.
///
/// Clones are the same clock. Give one to a task with [`Task::clock`](crate::Task::clock).
///
/// # Examples
///
/// ```
/// use moored::testing::MockClock;
/// use moored::{CancelScope, task};
/// use std::time::Duration;
///
/// # futures::executor::block_on(async {
/// let clock = MockClock::new();
/// let hand = clock.clone();
/// let waits = task(async {
///     let scope = CancelScope::new().timeout(Duration::from_secs(3600));
///     scope.run(std::future::pending::<()>()).await
/// });
/// let moves = async { hand.advance(Duration::from_secs(3600)) };
/// let (cancelled, ()) = futures::join!(waits.clock(clock), moves);
/// assert!(cancelled.is_err());
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct MockClock {
    face: Arc<Mutex<Face>>,
}

#[derive(Debug)]
struct Face {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
}

impl MockClock {
    /// A clock that shows the present instant.
    pub fn new() -> Self {
        let face = Face { now: Instant::now(), sleepers: Vec::new() };
        MockClock { face: Arc::new(Mutex::new(face)) }
    }

    /// Moves the clock on by `by`, and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut face = self.face.lock();
            face.now += by;
            let now = face.now;
            let (due, rest) = face.sleepers.drain(..).partition(|(at, _)| *at <= now);
            face.sleepers = rest;
            due.into_iter().map(|(_, waker): (Instant, Waker)| waker).collect()
        };
        wake_all(due);
    }
}

impl Default for MockClock {
    fn default() -> Self {
        MockClock::new()
    }
}

impl Clock for MockClock {
    fn now(&self) -> Instant {
        self.face.lock().now
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(MockSleep { face: Arc::clone(&self.face), at })
    }
}

struct MockSleep {
    face: Arc<Mutex<Face>>,
    at: Instant,
}

impl Future for MockSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut face = self.face.lock();
        if face.now >= self.at {
            return Poll::Ready(());
        }
        face.sleepers.push((self.at, waker));
        Poll::Pending
    }
}

impl fmt::Debug for MockSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockSleep({:?})", self.at)
    }
}
