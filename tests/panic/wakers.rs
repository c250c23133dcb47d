//! Wakers that panic, and wakers that call back in (R18).

use crate::support::{Executor, Gate, Log, Loud, hand, panic_text, poll_once, waker_fn};
use moored::{CancelScope, ExitStack, TaskGroup};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn r18_a_panicking_waker_does_not_starve_the_others() {
    // tokio-util: a panicking waker starves the later waiters, and a second cancel never wakes them.
    let scope = CancelScope::new();
    let handle = scope.handle();
    let woken = Arc::new(AtomicUsize::new(0));
    let mut waits: Vec<_> = (0..10).map(|_| handle.cancelled()).collect();
    for (n, wait) in waits.iter_mut().enumerate() {
        let woken = Arc::clone(&woken);
        let waker = waker_fn(move || {
            if n % 3 == 0 {
                panic!("waker {n}");
            }
            woken.fetch_add(1, Ordering::SeqCst);
        });
        assert!(poll_with(wait, &waker).is_pending());
    }
    let text = panic_text(|| scope.cancel());
    assert!(text.starts_with("waker "), "{text}");
    assert_eq!(woken.load(Ordering::SeqCst), 6);
    assert!(scope.is_cancelled());
    for wait in &mut waits {
        assert!(poll_with(wait, Waker::noop()).is_ready());
    }
}

#[test]
fn r18_a_panicking_waker_of_one_child_does_not_keep_a_cancellation_from_its_siblings() {
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    struct Parked(Mutex<Vec<moored::BoxTask>>);
    impl moored::Spawn for Parked {
        fn spawn(&self, mut task: moored::BoxTask) -> Result<(), moored::Refused> {
            let waker = waker_fn(|| panic!("waker"));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.0.lock().unwrap().push(task);
            Ok(())
        }
    }
    let parked = Parked(Mutex::default());
    let bad = group.spawn_on(&parked, pending::<Result<(), ()>>());
    let good = group.spawn_on(&exec, pending::<Result<(), ()>>());
    exec.run();
    let _ = catch_unwind(AssertUnwindSafe(|| group.cancel()));
    exec.run();
    assert!(good.is_finished());
    assert!(!bad.is_finished());
    parked.0.lock().unwrap().clear();
    assert!(bad.is_finished());
}

#[test]
fn r18_a_waker_that_calls_back_in_does_not_deadlock() {
    // async-shutdown wakes while it holds its mutex: a waker that calls back in hangs.
    let scope = Arc::new(CancelScope::new());
    let handle = scope.handle();
    let called = Arc::new(AtomicUsize::new(0));
    let waker = {
        let (handle, called) = (scope.handle(), Arc::clone(&called));
        waker_fn(move || {
            called.fetch_add(1, Ordering::SeqCst);
            handle.cancel();
            assert!(handle.is_cancelled());
            assert!(handle.reason().is_some());
            assert!(poll_with(&mut handle.cancelled(), Waker::noop()).is_ready());
            let _ = format!("{handle:?}");
        })
    };
    let mut wait = handle.cancelled();
    assert!(poll_with(&mut wait, &waker).is_pending());
    let theirs = Arc::clone(&scope);
    let mut run = Box::pin(async move { theirs.run(pending::<()>()).await });
    assert!(poll_with(&mut run, &waker).is_pending());
    scope.cancel();
    assert_eq!(called.load(Ordering::SeqCst), 2);
    assert!(poll_with(&mut run, &waker).is_ready());
}

#[test]
fn r18_a_waker_that_spawns_and_joins_does_not_deadlock() {
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let spawner = group.spawner();
    let gate = Gate::new();
    let child = group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok(7)
        }
    });
    let called = Arc::new(AtomicUsize::new(0));
    let waker = {
        let (handle, called) = (group.handle(), Arc::clone(&called));
        waker_fn(move || {
            if called.fetch_add(1, Ordering::SeqCst) == 0 {
                drop(spawner.spawn(async { Ok(()) }));
                let _ = handle.is_cancelled();
            }
        })
    };
    let mut join = child.join();
    assert!(poll_with(&mut join, &waker).is_pending());
    let mut run = Box::pin(group.run(async { Ok(()) }));
    assert!(poll_with(&mut run, &waker).is_pending());
    gate.open();
    while poll_with(&mut run, &waker).is_pending() {}
    assert!(called.load(Ordering::SeqCst) > 1);
    assert!(matches!(poll_with(&mut join, &waker), Poll::Ready(Ok(7))));
}

#[test]
fn r08_a_panicking_waker_loses_no_exit_of_a_dropped_group() {
    /// Keeps tasks that were polled once, with a waker that panics.
    struct Keeps(Mutex<Vec<moored::BoxTask>>);
    impl moored::Spawn for Keeps {
        fn spawn(&self, mut task: moored::BoxTask) -> Result<(), moored::Refused> {
            let waker = waker_fn(|| panic!("waker"));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.0.lock().unwrap().push(task);
            Ok(())
        }
    }
    let keeps = Keeps(Mutex::default());
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn_on(&keeps, pending::<Result<(), ()>>());
        let mut parked = Box::pin(group.run(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        }));
        assert!(poll_once(&mut parked).await.is_pending());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(parked)));
        keeps.0.lock().unwrap().clear();
    }));
    run.drive().unwrap();
    log.is(&["exit"]);
}

#[test]
fn r18_a_waker_that_panics_in_its_drop_loses_no_exit() {
    struct LoudWaker(#[allow(dead_code)] Loud);
    impl std::task::Wake for LoudWaker {
        fn wake(self: Arc<Self>) {}
    }
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let mut inner = Box::pin(async {
            let scope = CancelScope::new();
            scope
                .run(async {
                    let stack = ExitStack::new();
                    stack.defer(log.entry("exit"));
                    stack.run(pending::<Result<(), ()>>()).await
                })
                .await
        });
        let waker = Waker::from(Arc::new(LoudWaker(Loud("waker"))));
        assert!(inner.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }));
    let _ = catch_unwind(AssertUnwindSafe(|| run.drive()));
    log.is(&["exit"]);
}
