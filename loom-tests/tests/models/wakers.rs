//! Misbehaving wakers: they call back into the crate, panic, or act when they are dropped.

use crate::support::{Count, model, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{CancelHandle, CancelScope};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Calls back into the region that wakes it, and into the region that drops it.
struct Meddler {
    handle: CancelHandle,
    wakes: Count,
}

impl Meddler {
    fn meddle(&self) {
        self.handle.cancel();
        assert!(self.handle.is_cancelled() && self.handle.reason().is_some());
        // Registers a waiter, and drops it.
        let _ = poll_once(pin!(self.handle.cancelled()));
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.wakes.add();
        self.meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

/// Wakers that call back into the crate, woken by two threads at once: no thread waits for a lock
/// that it holds.
#[test]
fn r18_two_cancels_against_a_waker_that_calls_back_in() {
    model(|| {
        let wakes = Count::new();
        let scope = CancelScope::new();
        let meddler = || Arc::new(Meddler { handle: scope.handle(), wakes: wakes.clone() });
        let (for_run, for_waiter) = (Waker::from(meddler()), Waker::from(meddler()));
        let mut run = pin!(scope.run(pending::<()>()));
        assert!(run.as_mut().poll(&mut Context::from_waker(&for_run)).is_pending());
        let mut waiter = pin!(scope.handle().cancelled());
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&for_waiter)).is_pending());
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        scope.cancel();
        canceller.join().unwrap();
        assert_eq!(wakes.get(), 2, "each of them once");
        assert!(poll_once(waiter).is_ready());
        assert!(poll_once(run).is_ready());
    });
}

/// A waker whose drop calls back into the crate, replaced by another one while the region is
/// cancelled.
#[test]
fn r18_cancel_against_the_drop_of_a_waker_that_calls_back_in() {
    model(|| {
        let scope = CancelScope::new();
        let meddler = Meddler { handle: scope.handle(), wakes: Count::new() };
        let mut run = pin!(scope.run(pending::<()>()));
        {
            let waker = Waker::from(Arc::new(meddler));
            assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        block_on(run).unwrap_err();
        canceller.join().unwrap();
    });
}

/// Panics when it is woken.
struct Faulty;

impl Wake for Faulty {
    fn wake(self: Arc<Self>) {
        // Not `panic!`, because `resume_unwind` prints no message, and loom runs this thousands
        // of times.
        resume_unwind(Box::new("a faulty waker"));
    }
}

/// Two faulty wakers before a good one: the good one is woken, while another thread cancels as well.
#[test]
fn r18_two_cancels_against_a_waker_that_panics() {
    model(|| {
        let scope = CancelScope::new();
        let faulty = Waker::from(Arc::new(Faulty));
        let mut first = pin!(scope.handle().cancelled());
        let mut second = pin!(scope.handle().cancelled());
        for waiter in [first.as_mut(), second.as_mut()] {
            assert!(waiter.poll(&mut Context::from_waker(&faulty)).is_pending());
        }
        let good = thread::spawn({
            let handle = scope.handle();
            move || block_on(handle.cancelled())
        });
        let other = thread::spawn({
            let handle = scope.handle();
            move || catch_unwind(AssertUnwindSafe(|| handle.cancel())).is_err()
        });
        let here = catch_unwind(AssertUnwindSafe(|| scope.cancel())).is_err();
        good.join().unwrap();
        let there = other.join().unwrap();
        // The thread whose cancellation took effect gets the panic, once.
        assert!(here != there, "here: {here}, there: {there}");
    });
}
