//! A future that is polled by hand, with a waker that counts.

use super::MockClock;
use crate::sync::{Arc, AtomicU64, Ordering};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled by hand. Made by [`hand`].
pub struct Hand<F: Future> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes a [`Hand`] of a future.
///
/// # Examples
///
/// ```
/// use moored::testing::hand;
///
/// let scope = moored::CancelScope::new();
/// let mut run = hand(scope.run(std::future::pending::<()>()));
/// run.pending();
/// scope.cancel();
/// assert_eq!(run.wakes(), 1);
/// assert!(run.ready().is_err());
/// ```
pub fn hand<F: Future>(future: F) -> Hand<F> {
    Hand { future: Box::pin(future), wakes: Arc::default() }
}

impl<F: Future> Hand<F> {
    /// Polls it once.
    #[track_caller]
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// The number of its wake-ups.
    pub fn wakes(&self) -> u64 {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// Polls it once, and expects it to be pending.
    ///
    /// # Panics
    ///
    /// If it is ready.
    #[track_caller]
    pub fn pending(&mut self) {
        assert!(self.poll().is_pending(), "ready too early");
    }

    /// Polls it once, and expects it to be ready.
    ///
    /// # Panics
    ///
    /// If it is pending.
    #[track_caller]
    pub fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("still pending"),
        }
    }

    /// Polls it to its end as an executor would: again only after it was woken.
    ///
    /// # Panics
    ///
    /// If it is pending and was not woken, and after 100,000 polls.
    #[track_caller]
    pub fn drive(&mut self) -> F::Output {
        match self.drive_while(|| false) {
            Some(output) => output,
            None => panic!("pending, and nobody woke it"),
        }
    }

    /// As [`drive`](Hand::drive), advancing `clock` to the next timer whenever the future was not woken,
    /// as Trio's clock that jumps by itself.
    ///
    /// # Panics
    ///
    /// If it is pending, was not woken and no timer is armed; and after 100,000 polls.
    #[track_caller]
    pub fn drive_with(&mut self, clock: &MockClock) -> F::Output {
        match self.drive_while(|| clock.jump().is_some()) {
            Some(output) => output,
            None => panic!("pending, nobody woke it and nobody sleeps"),
        }
    }

    #[track_caller]
    fn drive_while(&mut self, mut go_on: impl FnMut() -> bool) -> Option<F::Output> {
        for _ in 0..100_000 {
            let before = self.wakes();
            if let Poll::Ready(output) = self.poll() {
                return Some(output);
            }
            if self.wakes() == before && !go_on() {
                return None;
            }
        }
        panic!("no end in 100,000 polls")
    }
}

impl<F: Future> fmt::Debug for Hand<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("wakes", &self.wakes()).finish_non_exhaustive()
    }
}
