//! A clock that stands still until it is moved.

use crate::clock::{Clock, Sleep};
use crate::opaque::opaque;
use crate::sync::{Arc, Mutex};
use crate::wakers::wake_all;
use slab::Slab;
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
/// use moored::testing::{MockClock, hand};
/// use moored::{CancelScope, task};
/// use std::time::Duration;
///
/// let clock = MockClock::new();
/// let scope = CancelScope::new().timeout(Duration::from_secs(3600));
/// let mut waits = hand(task(scope.run(std::future::pending::<()>())).clock(clock.clone()));
/// waits.pending();
/// clock.advance(Duration::from_secs(3600));
/// assert!(waits.ready().is_err());
/// ```
#[derive(Clone)]
pub struct MockClock {
    time: Arc<Mutex<Time>>,
}

struct Time {
    now: Instant,
    sleepers: Slab<(Instant, Option<Waker>)>,
}

impl MockClock {
    /// A clock that shows the present instant.
    pub fn new() -> Self {
        let time = Time { now: Instant::now(), sleepers: Slab::new() };
        MockClock { time: Arc::new(Mutex::new(time)) }
    }

    /// Advances the clock by `by`, and wakes the timers that are due then. It stops at the last instant that
    /// can be represented.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut time = self.time.lock();
            time.now = saturating_add(time.now, by);
            let now = time.now;
            let due = time.sleepers.iter_mut().filter(|(_, (at, _))| *at <= now);
            due.filter_map(|(_, (_, waker))| waker.take()).collect()
        };
        wake_all(due);
    }

    /// Advances the clock to the earliest instant of an armed timer, and returns the distance. `None` if
    /// no timer is armed.
    ///
    /// A loop of `jump` and polls is a clock that jumps by itself;
    /// [`Hand::drive_with`](super::Hand::drive_with) is that loop.
    pub fn jump(&self) -> Option<Duration> {
        let by = {
            let time = self.time.lock();
            let next = time.sleepers.iter().map(|(_, (at, _))| *at).min()?;
            next.saturating_duration_since(time.now)
        };
        self.advance(by);
        Some(by)
    }

    /// The number of armed timers.
    pub fn sleepers(&self) -> usize {
        self.time.lock().sleepers.len()
    }
}

/// `now + by`, or the last instant that can be represented.
fn saturating_add(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or_else(|| {
        let (mut last, mut step) = (now, by / 2);
        while !step.is_zero() {
            match last.checked_add(step) {
                Some(later) => last = later,
                None => step /= 2,
            }
        }
        last
    })
}

impl Default for MockClock {
    fn default() -> Self {
        MockClock::new()
    }
}

opaque!(MockClock);

impl Clock for MockClock {
    fn now(&self) -> Instant {
        self.time.lock().now
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(MockSleep { time: Arc::clone(&self.time), at, key: None })
    }
}

struct MockSleep {
    time: Arc<Mutex<Time>>,
    at: Instant,
    key: Option<usize>,
}

impl Future for MockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waker = Some(cx.waker().clone());
        let mut time = this.time.lock();
        if time.now >= this.at {
            return Poll::Ready(());
        }
        let old = match this.key {
            Some(key) => std::mem::replace(&mut time.sleepers[key].1, waker),
            None => {
                this.key = Some(time.sleepers.insert((this.at, waker)));
                None
            }
        };
        drop(time);
        drop(old);
        Poll::Pending
    }
}

impl Drop for MockSleep {
    fn drop(&mut self) {
        let old = self.key.map(|key| self.time.lock().sleepers.remove(key));
        drop(old);
    }
}
