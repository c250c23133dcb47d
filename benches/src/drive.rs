//! Polling by hand, because the costs of an executor would be in every figure.

use crate::floor;
use moored::CancelScope;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls with a waker that does nothing.
#[inline]
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls with `waker`, for a measurement in which wakers are stored and woken.
#[inline]
pub fn poll_with<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls to the end. The future has to wake itself.
#[inline]
pub fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
}

/// Pending once; it wakes itself, so that every scheduler polls it again.
pub async fn yield_once() {
    let mut first = true;
    poll_fn(move |cx| match std::mem::take(&mut first) {
        true => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

/// Does `work` while a task is polled, as in a program that makes each future it spawns a task. It is a task of the
/// floor too, so that a sketch beside ours finds one.
pub fn inside_a_task<T>(work: impl FnOnce() -> T) -> T {
    finish(moored::task(floor::task(async { work() })))
}

/// Does `work` while it is polled inside a task and `depth` scopes that run in it.
pub fn inside_scopes<T>(depth: u64, work: &mut dyn FnMut() -> T) -> T {
    fn deeper<T>(depth: u64, work: &mut dyn FnMut() -> T) -> T {
        match depth {
            0 => work(),
            _ => match finish(CancelScope::new().run(async { deeper(depth - 1, work) })) {
                Ok(done) => done,
                Err(cancelled) => panic!("{cancelled}"),
            },
        }
    }
    inside_a_task(|| deeper(depth, work))
}

/// A waker that counts, to see that a cancellation reached everybody.
#[derive(Debug, Default)]
pub struct Wakes(AtomicU64);

impl Wakes {
    /// A waker, and its count.
    pub fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        (wakes, waker)
    }

    /// How often it was woken.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
