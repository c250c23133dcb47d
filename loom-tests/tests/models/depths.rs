//! Waiters inside a region that is being cancelled and dropped, at one depth or at several.

use crate::support::{coarse_model, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::CancelScope;
use std::future::pending;
use std::pin::pin;

/// A waiter at a region that is dropped with a cancelled region around it is woken, whether the region is dropped
/// before the cancellation reached the waiter or after.
#[test]
fn r07_waiting_against_being_dropped_with_a_cancelled_region() {
    coarse_model(|| {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let mut run = pin!(outer.run(async { inner.run(pending::<()>()).await }));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiter = thread::spawn(move || block_on(inner_handle.cancelled()));
        let canceller = thread::spawn(move || outer_handle.cancel());
        // It drops the inner region as soon as it sees that the outer one is cancelled.
        block_on(run).unwrap_err();
        canceller.join().unwrap();
        waiter.join().unwrap();
    });
}

/// Two waiters at different depths, where the deeper one links the regions that both need, are
/// both woken.
#[test]
fn r07_two_depths_against_the_cancellation_of_an_ancestor() {
    coarse_model(|| {
        let [a, b, c, d] = [(); 4].map(|()| CancelScope::new());
        let handles = [&c, &d].map(CancelScope::handle);
        let outer_handle = a.handle();
        let mut run = pin!(a.run(b.run(c.run(d.run(pending::<()>())))));
        assert!(poll_once(run.as_mut()).is_pending());
        let waiters = handles.map(|inner| thread::spawn(move || block_on(inner.cancelled())));
        outer_handle.cancel();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}
