//! Waiting for the cancellation of a region from another thread, against events around the region.

use crate::support::{Count, model, poll_once, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, task};
use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A task that moves between threads.
type Away = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A waiter that registers at an inner region while an outer one is being cancelled is woken.
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

/// Two waiters that link the same region at once are both woken.
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

/// A waiter that registered before its region was entered is woken by a cancellation around the
/// region.
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

/// A region that was lent to a middle region, which is left while a waiter registers, is inside the outer region from
/// then on: a cancellation of the outer region wakes the waiter.
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
            // Polls the lent future once, and is left at the second poll.
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

/// The same where both happen on threads of their own, so that each can be interleaved anywhere in the
/// other.
#[test]
fn r01_registration_against_a_parent_that_another_thread_leaves() {
    model(|| {
        let [outer, middle, inner] = [(); 3].map(|()| CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let mut run: Away = Box::pin(async move {
            let body = async {
                let mut lent = Box::pin(inner.run(pending::<()>()));
                let polls_once = async {
                    assert!(poll_once(lent.as_mut()).is_pending());
                    yield_now().await;
                };
                middle.run(polls_once).await.unwrap();
                let _ = lent.await;
            };
            let _ = outer.run(body).await;
        });
        assert!(poll_once(run.as_mut()).is_pending());
        let waiter = thread::spawn(move || block_on(inner_handle.cancelled()));
        let leaves = thread::spawn(move || {
            assert!(poll_once(run.as_mut()).is_pending());
            run
        });
        let run = leaves.join().unwrap();
        outer_handle.cancel();
        waiter.join().unwrap();
        drop(run);
    });
}

/// A region and another one inside it leave at once, on two threads. Each gives back its own place among the links of
/// the region around, and not the place of a third region, which the cancellation still reaches.
#[test]
fn r07_two_that_leave_at_once_against_a_third_that_is_linked() {
    model(|| {
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        let [outer, middle, beside, deep] = [(); 4].map(|()| CancelScope::new());
        let [outer_handle, beside_handle, deep_handle] =
            [&outer, &beside, &deep].map(CancelScope::handle);
        let thief = Cell::new(None);
        let mut lent: Away = Box::pin(task(async move {
            let _ = deep.run(pending::<()>()).await;
        }));
        let mut run = pin!(outer.run(async {
            let mut third = pin!(beside.run(pending::<()>()));
            assert!(poll_once(third.as_mut()).is_pending());
            let body = async {
                assert!(poll_once(lent.as_mut()).is_pending());
                yield_now().await;
                thief.set(Some(thread::spawn(move || drop(lent))));
            };
            middle.run(body).await.unwrap();
            pending::<()>().await;
        }));
        assert!(poll_once(run.as_mut()).is_pending());
        let mut waits = pin!(beside_handle.cancelled());
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut waits_inside = pin!(deep_handle.cancelled());
        assert!(poll_once(waits_inside.as_mut()).is_pending());
        assert!(poll_once(run.as_mut()).is_pending());
        thief.take().unwrap().join().unwrap();
        outer_handle.cancel();
        assert_eq!(wakes.get(), 1, "who waits beside them was forgotten");
    });
}

/// A region that was lent to a middle region, which is cancelled and left while a waiter registers, is not cancelled
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
