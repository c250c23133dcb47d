//! Waiting for the cancellation of a region from another thread, against what happens around the region.

use crate::support::poll_once;
use loom::future::block_on;
use loom::thread;
use moored::CancelScope;
use std::future::pending;
use std::pin::pin;

/// A waiter that registers at an inner region while an outer one is being cancelled is told.
#[test]
fn r07_registration_against_the_cancellation_of_an_ancestor() {
    loom::model(|| {
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
    loom::model(|| {
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
