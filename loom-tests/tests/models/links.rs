//! Waiting for the cancellation of a region from another thread, against what happens around the region.

use crate::support::{model, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::CancelScope;
use std::future::pending;
use std::pin::pin;
use std::task::Poll;

/// A waiter that registers at an inner region while an outer one is being cancelled is told.
#[test]
fn r07_registration_against_the_cancellation_of_an_ancestor() {
    model(|| {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let mut run = pin!(outer.run(async { inner.run(pending::<()>()).await }));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiter = thread::spawn(move || block_on(inner_handle.cancelled()));
        outer_handle.cancel();
        waiter.join().unwrap();
    });
}

/// Two waiters that link the same region at once are both told.
#[test]
fn r07_two_registrations_against_the_cancellation_of_an_ancestor() {
    model(|| {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let outer_handle = outer.handle();
        let handles = [inner.handle(), inner.handle()];
        let mut run = pin!(outer.run(async { inner.run(pending::<()>()).await }));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiters = handles.map(|inner| thread::spawn(move || block_on(inner.cancelled())));
        outer_handle.cancel();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// A waiter that came before its region was entered is told of what is cancelled around it.
#[test]
fn r01_registration_against_entering() {
    model(|| {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let waiter = thread::spawn(move || block_on(inner_handle.cancelled()));
        let mut run = pin!(outer.run(async { inner.run(pending::<()>()).await }));
        assert!(poll_once(run.as_mut()).is_pending());
        outer_handle.cancel();
        waiter.join().unwrap();
    });
}

/// A region that was lent to one in the middle, which is left while a waiter registers, belongs to the outer one from
/// then on: the waiter is told of that one's cancellation.
#[test]
fn r01_registration_against_the_leaving_of_a_parent() {
    model(|| {
        let outer = CancelScope::new();
        let middle = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let mut run = pin!(outer.run(async {
            let mut lent = pin!(inner.run(pending::<()>()));
            let mut polls = 0;
            // Polls what is lent once, and is left at the second poll.
            let polls_once = std::future::poll_fn(|_| {
                polls += 1;
                match polls {
                    1 => poll_once(lent.as_mut()).map(drop),
                    _ => Poll::Ready(()),
                }
            });
            middle.run(polls_once).await.unwrap();
            pending::<()>().await
        }));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiter = thread::spawn(move || block_on(inner_handle.cancelled()));
        assert!(poll_once(run.as_mut()).is_pending());
        outer_handle.cancel();
        waiter.join().unwrap();
    });
}

/// A region that was lent to one in the middle, which is cancelled and left while a waiter registers, is not cancelled
/// with it: it survives.
#[test]
fn r07_registration_against_the_cancellation_of_a_borrower() {
    model(|| {
        let outer = CancelScope::new();
        let middle = CancelScope::new();
        let inner = CancelScope::new();
        let (middle_handle, inner_handle) = (middle.handle(), inner.handle());
        let mut run = pin!(outer.run(async {
            let mut lent = pin!(inner.run(pending::<()>()));
            middle.run(lent.as_mut()).await.unwrap_err();
            lent.await
        }));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiter = thread::spawn({
            let inner_handle = inner_handle.clone();
            move || poll_once(pin!(inner_handle.cancelled())).is_ready()
        });
        middle_handle.cancel();
        assert!(poll_once(run.as_mut()).is_pending());
        let _ = waiter.join().unwrap();
        assert!(
            !inner_handle.is_cancelled(),
            "a region that was left acts on one that survived it"
        );
    });
}
