//! Cancelling against every step of the scope's own task.

use crate::support::{Count, Gate, model, parked, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, ReasonKind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

/// A `run` that is being polled is woken by every cancellation, whenever it comes, and drops its body once.
#[test]
fn r06_cancel_against_poll() {
    model(|| {
        let dropped = Count::new();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let cancelled = block_on(scope.run(parked(dropped.on_drop()))).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        assert_eq!(dropped.get(), 1);
        canceller.join().unwrap();
    });
}

/// A `run` whose waker changes between two polls is woken through the newer one: the refresh and the cancellation meet
/// under the lock.
#[test]
fn r06_cancel_against_a_poll_with_another_waker() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = pin!(scope.run(std::future::pending::<()>()));
        assert!(poll_once(run.as_mut()).is_pending());
        let canceller = thread::spawn(move || handle.cancel());
        assert!(block_on(run.as_mut()).is_err());
        canceller.join().unwrap();
    });
}

/// A body that becomes ready while it is being cancelled ends in one of two ways, and is dropped once in both.
#[test]
fn r06_cancel_against_completion() {
    model(|| {
        let dropped = Count::new();
        let gate = Gate::new();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let opener = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.open()
        });
        let on_drop = dropped.on_drop();
        let waits = gate.wait();
        let body = async move {
            let _on_drop = on_drop;
            waits.await;
            7
        };
        match block_on(scope.run(body)) {
            Ok(value) => assert_eq!(value, 7),
            Err(cancelled) => assert_eq!(cancelled.reason().kind(), ReasonKind::Requested),
        }
        assert_eq!(dropped.get(), 1);
        canceller.join().unwrap();
        opener.join().unwrap();
    });
}

/// A `run` that is dropped while it is being cancelled drops its body once, and leaves no waker in the node that
/// the handle keeps alive.
#[test]
fn r09_cancel_against_drop_of_run() {
    model(|| {
        let dropped = Count::new();
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel()
        });
        {
            let mut run = pin!(scope.run(parked(dropped.on_drop())));
            // Ready where the cancellation came first.
            let _ = run.as_mut().poll(&mut Context::from_waker(&waker));
        }
        canceller.join().unwrap();
        assert_eq!(dropped.get(), 1);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1, "a waker outlives the region");
        handle.cancel();
        assert!(wakes.get() <= 1, "a region that was left acted on somebody");
    });
}

/// A region keeps the state in which it was left: a request that comes while it is being left takes effect before
/// that, or has no effect.
#[test]
fn r09_cancel_against_leaving() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel()
        });
        assert!(poll_once(pin!(scope.run(async {}))).is_ready());
        let left_as = handle.is_cancelled();
        canceller.join().unwrap();
        assert_eq!(handle.is_cancelled(), left_as, "a region that was left is cancelled");
        assert_eq!(handle.reason().is_some(), left_as);
    });
}

/// A waiter that registers while the region is being cancelled is woken.
#[test]
fn r03_cancel_against_registration() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let waiter = thread::spawn({
            let handle = handle.clone();
            move || block_on(handle.cancelled())
        });
        handle.cancel();
        waiter.join().unwrap();
    });
}

/// Of two waiters, one that gives up while the region is being cancelled takes nothing from the other.
#[test]
fn r18_cancel_against_a_waiter_that_gives_up() {
    model(|| {
        let wakes = Arc::new(Count::new());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let waiter = thread::spawn({
            let handle = handle.clone();
            move || block_on(handle.cancelled())
        });
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel()
        });
        {
            let waker = Waker::from(Arc::clone(&wakes));
            let mut fickle = pin!(handle.cancelled());
            let _ = fickle.as_mut().poll(&mut Context::from_waker(&waker));
        }
        waiter.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1, "a waiter that gave up is remembered");
    });
}

/// Of two cancellations the first wins: one reason, the same for every caller, from the first look to the error.
#[test]
fn r10_two_cancels_against_each_other() {
    model(|| {
        let scope = CancelScope::new();
        let asks = |name| {
            let handle = scope.handle();
            move || {
                handle.cancel_because(name);
                // A caller that has made a request sees a reason at once, its own or that of
                // the other.
                assert!(handle.is_cancelled());
                handle.reason().unwrap().message().unwrap().to_owned()
            }
        };
        let mut run = pin!(scope.run(std::future::pending::<()>()));
        assert!(poll_once(run.as_mut()).is_pending());
        let canceller = thread::spawn(asks("one"));
        let seen_here = asks("two")();
        let cancelled = block_on(run).unwrap_err();
        assert_eq!(cancelled.reason().message(), Some(&*seen_here));
        assert_eq!(canceller.join().unwrap(), seen_here);
    });
}

/// A cancellation from outside and one from inside the body end the `run` once, with one reason.
#[test]
fn r10_a_body_that_cancels_itself_against_another_thread() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel_because("outside")
        });
        let body = async {
            scope.cancel_because("inside");
            std::future::pending::<()>().await;
        };
        let cancelled = block_on(scope.run(body)).unwrap_err();
        canceller.join().unwrap();
        assert_eq!(handle.reason().unwrap().message(), cancelled.reason().message());
    });
}
