//! Scopes that are entered by a call, and regions that change hands, against cancelling.

use crate::clock::{SECOND, StubClock};
use crate::support::{Count, lost, model, parked};
use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use moored::{CancelScope, Clock, ExitStack, ReasonKind, task};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// A run inside an entered scope is cancelled with it, whether it begins before or after; and so is the next one.
#[test]
fn r06_cancel_against_a_run_inside_an_entered_scope() {
    model(|| {
        let dropped = Count::new();
        let scope = CancelScope::new().enter().unwrap();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel_because("asked"));
        let first = block_on(scope.run(parked(dropped.on_drop()))).unwrap_err();
        let second = block_on(scope.run(parked(dropped.on_drop()))).unwrap_err();
        for cancelled in [first, second] {
            assert_eq!(cancelled.reason().message(), Some("asked"));
        }
        assert_eq!(dropped.get(), 2);
        canceller.join().unwrap();
        assert!(scope.exit().unwrap().reason().is_some());
    });
}

/// A scope is entered, and asked twice whether it is cancelled, while the scope around it is cancelled. A question that
/// follows the cancellation finds it, although no region was inside when the cancellation came.
#[test]
fn r06_cancel_against_the_first_scope_that_is_entered_inside() {
    model(|| {
        let outer = CancelScope::new();
        let handle = outer.handle();
        let asked = Arc::new(AtomicBool::new(false));
        let canceller = thread::spawn({
            let asked = Arc::clone(&asked);
            move || {
                handle.cancel();
                asked.store(true, Ordering::Release);
            }
        });
        let _ = block_on(outer.run(async {
            let inner = CancelScope::new().enter().unwrap();
            let inner = inner.handle();
            for _ in 0..2 {
                let asked = asked.load(Ordering::Acquire);
                assert!(inner.is_cancelled() || !asked, "it was asked before the look");
            }
        }));
        canceller.join().unwrap();
    });
}

/// Runs on two threads without a known task: both are linked and unlinked while the scope is cancelled.
#[test]
fn r06_cancel_against_two_runs_inside_an_entered_scope() {
    model(|| {
        let scope = Arc::new(CancelScope::new().enter().unwrap());
        let handle = scope.handle();
        let other = thread::spawn({
            let scope = Arc::clone(&scope);
            move || block_on(scope.run(pending::<()>())).unwrap_err()
        });
        let canceller = thread::spawn(move || handle.cancel());
        let here = block_on(scope.run(async { 7 }));
        assert!(here.is_ok(), "ready at its first poll");
        assert_eq!(other.join().unwrap().reason().kind(), ReasonKind::Requested);
        canceller.join().unwrap();
    });
}

/// An entered scope that is left while it is cancelled tells the reason, or was not cancelled when it was left.
#[test]
fn r09_cancel_against_exit() {
    model(|| {
        let scope = CancelScope::new().enter().unwrap();
        let handle = scope.handle();
        let waiter = thread::spawn({
            let handle = handle.clone();
            move || {
                handle.cancel_because("asked");
                handle.reason().is_some()
            }
        });
        let left = scope.exit().unwrap();
        let asked_in_time = waiter.join().unwrap();
        match left.reason() {
            Some(reason) => assert_eq!(reason.message(), Some("asked")),
            None => assert!(!asked_in_time || handle.reason().is_some()),
        }
    });
}

/// A wait for a scope that is entered with a deadline meanwhile, and in which nothing runs. In both orders the wait
/// arms the deadline's timer, because no other thread would cancel the scope.
#[test]
fn r11_a_wait_against_entering_with_a_deadline() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new().deadline(clock.now() + SECOND);
        let handle = scope.handle();
        let waiter = thread::spawn(move || {
            block_on(handle.cancelled());
            handle.reason().unwrap().kind()
        });
        let entered = block_on(task(async { scope.enter().unwrap() }).clock(clock.clone()));
        clock.tick();
        assert_eq!(waiter.join().unwrap(), ReasonKind::Deadline);
        drop(entered);
    });
}

/// A wait for an entered scope that is told to stop meanwhile, with a grace that is over at once.
#[test]
fn r13_a_wait_against_a_stop_of_what_nothing_runs_in() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new().grace(Duration::ZERO);
        let entered = block_on(task(async { scope.enter().unwrap() }).clock(clock));
        let handle = entered.handle();
        let waiter = thread::spawn(move || {
            block_on(handle.cancelled());
            handle.is_cancelled()
        });
        entered.handle().stop();
        assert!(waiter.join().unwrap());
    });
}

/// Two threads ask when a deadline has passed: both get the same reason.
#[test]
fn r11_two_questions_against_each_other() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new().deadline(clock.now());
        let entered = block_on(task(async { scope.enter().unwrap() }).clock(clock));
        let handle = entered.handle();
        let other = thread::spawn({
            let handle = handle.clone();
            move || handle.is_cancelled()
        });
        handle.cancel_because("too late");
        assert!(other.join().unwrap());
        assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Deadline);
    });
}

/// A scope that is released by one task and adopted by another task, on another thread, while a third cancels it: a
/// run inside it there is cancelled.
#[test]
fn r04_handover_of_a_scope_against_cancel() {
    model(|| {
        let (scope, handle) = block_on(task(async {
            let scope = CancelScope::new().enter().unwrap();
            let handle = scope.handle();
            (scope.release().unwrap(), handle)
        }));
        let adopter = thread::spawn(move || {
            block_on(task(async move {
                let scope = scope.adopt();
                let cancelled = scope.run(pending::<()>()).await.unwrap_err();
                assert!(scope.exit().unwrap().reason().is_some());
                cancelled
            }))
        });
        handle.cancel_because("asked");
        assert_eq!(adopter.join().unwrap().reason().message(), Some("asked"));
    });
}

/// A stack that is adopted inside a scope which is cancelled meanwhile: its exit runs exactly once, before the scope is
/// left.
#[test]
fn r04_handover_of_a_stack_against_cancel_of_its_new_home() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let exit = ran.entry();
        let stack = block_on(task(async {
            let stack = ExitStack::new();
            stack.defer(exit);
            stack.release().unwrap()
        }));
        let home = CancelScope::new();
        let handle = home.handle();
        let adopter = thread::spawn(move || {
            let adopts = async {
                let _stack = stack.adopt();
                pending::<()>().await;
            };
            block_on(task(home.run(adopts))).unwrap_err();
        });
        handle.cancel();
        adopter.join().unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
    });
}

/// A released scope that is dropped on another thread while a third thread cancels it and waits for that: the wait
/// ends, and no region is kept.
#[test]
fn r04_drop_of_what_was_released_against_cancel() {
    model(|| {
        let (scope, handle) = block_on(task(async {
            let scope = CancelScope::new().enter().unwrap();
            let handle = scope.handle();
            (scope.release().unwrap(), handle)
        }));
        let dropper = thread::spawn(move || drop(scope));
        handle.cancel();
        dropper.join().unwrap();
        drop(handle);
        assert_eq!(moored::testing::live_regions(), 0);
    });
}

/// Two tasks use one stack for the first time at once: one is its owner, and the other is rejected.
#[test]
fn r02_two_first_uses_against_each_other() {
    model(|| {
        let stack = Arc::new(ExitStack::new());
        let uses = |stack: Arc<ExitStack>| {
            move || block_on(task(async move { stack.try_defer(async {}).is_ok() }))
        };
        let other = thread::spawn(uses(Arc::clone(&stack)));
        let here = uses(Arc::clone(&stack))();
        let there = other.join().unwrap();
        assert!(here != there, "two owners, or none: {here} {there}");
    });
}

/// A task runs a stack while another task uses it for the first time: one is its owner, and the other is rejected.
#[test]
fn r02_a_first_use_against_a_run() {
    model(|| {
        lost::reset();
        let stack = Arc::new(ExitStack::new());
        let other = thread::spawn({
            let stack = Arc::clone(&stack);
            move || block_on(task(async move { stack.try_defer(async {}).is_ok() }))
        });
        let here = block_on(task(stack.run(async { Ok::<_, ()>(()) }))).is_ok();
        let there = other.join().unwrap();
        assert!(here != there, "two owners, or none: {here} {there}");
    });
}
