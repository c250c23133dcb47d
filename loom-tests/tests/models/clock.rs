//! A clock that another thread moves: loom has no time, so a deadline in a model is that thread.

use moored::{Clock, Sleep};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct StubClock(Arc<loom::sync::Mutex<Face>>);

struct Face {
    now: Instant,
    sleepers: Vec<Waker>,
}

impl StubClock {
    pub(crate) fn new() -> Self {
        let face = Face { now: Instant::now(), sleepers: Vec::new() };
        StubClock(Arc::new(loom::sync::Mutex::new(face)))
    }

    /// One second passes.
    pub(crate) fn tick(&self) {
        let due = {
            let mut face = self.0.lock().unwrap();
            face.now += SECOND;
            std::mem::take(&mut face.sleepers)
        };
        due.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_slept_on(&self) -> bool {
        !self.0.lock().unwrap().sleepers.is_empty()
    }
}

impl Clock for StubClock {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let clock = self.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let mut face = clock.0.lock().unwrap();
            if face.now >= at {
                return Poll::Ready(());
            }
            face.sleepers.push(cx.waker().clone());
            Poll::Pending
        }))
    }
}
