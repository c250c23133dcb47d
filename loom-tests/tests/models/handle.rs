//! Handles and references, from other threads, at the two ends of a scope's life; and the ids of tasks.

use crate::support::{Count, model, parked, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, ReasonKind, task};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

/// A handle whose scope is left and dropped while it asks, waits and looks: the run ends in one of two ways, a region
/// that was left acts on nothing, and only its handle keeps it alive.
#[test]
fn r09_a_handle_against_the_end_of_its_scope() {
    model(|| {
        let wakes = Arc::new(Count::new());
        let handle = {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let other = scope.handle();
            let asks = thread::spawn(move || {
                other.cancel();
                drop(other);
            });
            {
                let waker = Waker::from(Arc::clone(&wakes));
                let mut run = pin!(scope.run(async { 7 }));
                // Ready with the value however early the cancellation came: it is ready at its first poll.
                let polled =
                    std::future::Future::poll(run.as_mut(), &mut Context::from_waker(&waker));
                assert!(matches!(polled, std::task::Poll::Ready(Ok(7))));
            }
            drop(scope);
            asks.join().unwrap();
            handle
        };
        let woken = wakes.get();
        assert_eq!(Arc::strong_count(&wakes), 1, "a waker outlives the region");
        handle.cancel();
        assert_eq!(wakes.get(), woken, "a region that was left woke somebody");
        let _ = (handle.is_cancelled(), handle.reason());
        // A wait that comes late registers nothing in a region that was left.
        let _ = poll_once(pin!(handle.cancelled()));
        drop(handle);
        assert_eq!(moored::testing::live_regions(), 0, "a region outlives its handles");
    });
}

/// A thread asks a scope whether it is cancelled, while the scope is entered inside a cancelled one: later questions find
/// that one, whatever the thread has found.
#[test]
fn r06_a_question_against_the_entry_in_a_cancelled_scope() {
    model(|| {
        let (outer, scope) = (CancelScope::new(), CancelScope::new());
        let (handle, other) = (scope.handle(), scope.handle());
        outer.cancel();
        let asks = thread::spawn(move || other.is_cancelled());
        let body = async {
            let mut run = pin!(scope.run(pending::<()>()));
            assert!(poll_once(run.as_mut()).is_pending());
            asks.join().unwrap();
            assert!(handle.is_cancelled());
        };
        block_on(outer.run(body)).unwrap();
    });
}

/// A thread that shares the scope takes a handle and cancels through it, while the scope is entered by the first poll of
/// its run.
#[test]
fn r03_a_handle_taken_against_the_first_poll() {
    model(|| {
        let dropped = Count::new();
        let scope = Arc::new(CancelScope::new());
        let shares = thread::spawn({
            let scope = Arc::clone(&scope);
            move || {
                let handle = scope.handle();
                handle.cancel();
                assert!(scope.is_cancelled());
            }
        });
        let cancelled = block_on(scope.run(parked(dropped.on_drop()))).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        assert_eq!(dropped.get(), 1);
        shares.join().unwrap();
    });
}

/// A thread that shares the scope waits for its cancellation, and then cancels it by reference, while it is entered.
#[test]
fn r03_cancel_by_reference_against_the_first_poll() {
    model(|| {
        let scope = Arc::new(CancelScope::new());
        let shares = thread::spawn({
            let scope = Arc::clone(&scope);
            move || {
                let mut waits = pin!(scope.handle().cancelled());
                let _ = poll_once(waits.as_mut());
                scope.cancel_because("by reference");
                assert!(poll_once(waits).is_ready());
            }
        });
        let cancelled = block_on(scope.run(std::future::pending::<()>())).unwrap_err();
        assert_eq!(cancelled.reason().message(), Some("by reference"));
        shares.join().unwrap();
    });
}

/// A scope that another thread looks at while its first poll leaves it, without an earlier request, is left for every
/// later caller.
#[test]
fn r09_a_look_by_reference_against_leaving() {
    model(|| {
        let scope = Arc::new(CancelScope::new());
        let looks = thread::spawn({
            let scope = Arc::clone(&scope);
            move || scope.is_cancelled()
        });
        assert!(poll_once(pin!(scope.run(async {}))).is_ready());
        assert!(!looks.join().unwrap());
        scope.cancel();
        assert!(!scope.is_cancelled(), "a region that was left is cancelled");
    });
}

/// Tasks that begin on two threads at once have different ids.
#[test]
fn r01_ids_are_given_out_once() {
    model(|| {
        let two = || {
            let id = || block_on(task(async { task::current().unwrap() }));
            [id(), id()]
        };
        let other = thread::spawn(two);
        let mut ids: Vec<_> = two().into_iter().chain(other.join().unwrap()).collect();
        while let Some(id) = ids.pop() {
            assert!(!ids.contains(&id), "{id} twice");
        }
    });
}

/// A handle that another thread takes while the first poll leaves the scope, without an earlier request, has no
/// effect afterwards.
#[test]
fn r09_a_handle_taken_against_leaving() {
    model(|| {
        let scope = Arc::new(CancelScope::new());
        let takes = thread::spawn({
            let scope = Arc::clone(&scope);
            move || scope.handle()
        });
        assert!(poll_once(pin!(scope.run(async {}))).is_ready());
        let handle = takes.join().unwrap();
        handle.cancel();
        assert!(!handle.is_cancelled(), "a region that was left is cancelled");
    });
}

/// The thread that has left a scope takes a handle, while another thread makes one: the scope stays left for the first
/// thread, however far the other one is.
#[test]
fn r09_a_handle_taken_after_leaving_while_another_thread_takes_one() {
    model(|| {
        let scope = Arc::new(CancelScope::new());
        let takes = thread::spawn({
            let scope = Arc::clone(&scope);
            move || drop(scope.handle())
        });
        assert!(poll_once(pin!(scope.run(async {}))).is_ready());
        let handle = scope.handle();
        handle.cancel();
        assert!(!handle.is_cancelled(), "a region that was left is cancelled");
        takes.join().unwrap();
    });
}

/// Two tasks run one scope for the first time at once: one enters it, and the other gets an error with the owner and
/// the place.
#[test]
fn r02_two_first_runs_of_one_scope() {
    /// The task's id, the line of the run, and its outcome.
    fn run(scope: &CancelScope) -> (String, u32, Result<(), String>) {
        let (mut id, mut line) = (String::new(), 0);
        let ended = block_on(task(async {
            id = moored::task::current().unwrap().to_string();
            line = line!() + 1;
            scope.run(async {}).await.map_err(|cancelled| cancelled.to_string())
        }));
        (id, line, ended)
    }
    model(|| {
        let scope = Arc::new(CancelScope::new());
        let other = thread::spawn({
            let scope = Arc::clone(&scope);
            move || run(&scope)
        });
        let runs = [run(&scope), other.join().unwrap()];
        let (entered, rejected): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|(.., ended)| ended.is_ok());
        let ([(owner, line, _)], [(_, _, Err(told))]) = (&entered[..], &rejected[..]) else {
            panic!("both or neither entered: {entered:?} {rejected:?}");
        };
        let told_all = told.contains(&format!("it was entered by {owner} at "))
            && told.contains(&format!("handle.rs:{line}:"));
        assert!(told_all, "not told that {owner} entered in line {line}: {told}");
    });
}
