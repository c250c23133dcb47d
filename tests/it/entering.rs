//! Requests of other threads to a scope during its first poll. The scope has no node then: the other thread makes one,
//! the poll may make another, and both must act as one region (R3, R6). No scope here has a name, because a name makes
//! the node at once.

use crate::support::{hand, panic_text, poll_once, yield_now};
use moored::{CancelHandle, CancelScope, EnteredScope, ReasonKind, task};
use std::cell::RefCell;
use std::future::{Future, pending};
use std::thread;

const fn is_sync<T: Sync>() {}
const _: () = is_sync::<CancelScope>();

/// Returns the result of `ask`, called on another thread while this thread waits.
fn elsewhere<R: Send>(ask: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

/// Makes a node inside: a wait for a cancellation needs the node of the region around it.
async fn look_inside() {
    let mut cancelled = moored::cancelled();
    assert!(poll_once(&mut cancelled).await.is_pending());
}

#[test]
fn r03_a_handle_that_another_thread_makes_in_the_first_poll_cancels_the_run() {
    let scope = CancelScope::new();
    let mut handle = None;
    let mut run = hand(scope.run(async {
        handle = Some(elsewhere(|| scope.handle()));
        pending::<()>().await
    }));
    run.pending();
    let before = run.wakes.count();
    scope.cancel_because("enough");
    assert!(run.wakes.count() > before, "its run was not woken");
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().message(), Some("enough"));
    drop(run);
    assert!(handle.unwrap().is_cancelled());
}

/// A first poll in which a node is made inside, and `ask` is called on another thread.
async fn first_poll<R: Send>(ask: impl FnOnce() -> R + Send) -> R {
    look_inside().await;
    elsewhere(ask)
}

#[test]
fn r03_a_handle_made_elsewhere_cancels_a_run_with_a_region_inside() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let handle: CancelHandle = first_poll(|| scope.handle()).await;
        let mut waits = moored::cancelled();
        assert!(poll_once(&mut waits).await.is_pending());
        (waits.await, handle.is_cancelled())
    }));
    run.pending();
    let before = run.wakes.count();
    elsewhere(|| scope.cancel_because("enough"));
    assert!(run.wakes.count() > before, "neither the run nor who waits inside was woken");
    let ((), seen) = run.ready().unwrap();
    assert!(seen, "the body completed, and saw why it was woken");
}

#[test]
fn r10_what_another_thread_asked_in_the_first_poll_is_the_runs_reason() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        first_poll(|| scope.cancel_because("from elsewhere")).await;
        pending::<()>().await
    }));
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().message(), Some("from elsewhere"));
}

#[test]
fn r11_a_deadline_set_elsewhere_ends_a_run_with_a_region_inside() {
    let clock = moored::testing::MockClock::new();
    let soon = moored::Clock::now(&clock) + std::time::Duration::from_secs(1);
    let scope = CancelScope::new();
    let body = async {
        let run = scope.run(async {
            first_poll(|| scope.handle()).await;
            pending::<()>().await
        });
        run.await.unwrap_err()
    };
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    run.pending();
    let before = run.wakes();
    scope.set_deadline(soon);
    assert!(run.wakes() > before, "nobody arms the timer");
    let cancelled = run.drive_with(&clock);
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
}

#[test]
fn r13_a_stop_asked_elsewhere_reaches_who_waits_inside() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut stopped = moored::stop_requested();
        assert!(poll_once(&mut stopped).await.is_pending());
        elsewhere(|| scope.handle());
        stopped.await
    }));
    run.pending();
    let before = run.wakes.count();
    scope.stop();
    assert!(run.wakes.count() > before);
    run.ready().unwrap();
}

#[test]
fn r07_a_wait_made_elsewhere_hears_of_what_is_cancelled_around() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let told = RefCell::new(None);
    let mut run = hand(outer.run(async {
        let body = async {
            look_inside().await;
            // Nothing is around the scope yet, as far as the other thread can know.
            let mut cancelled = elsewhere(|| inner.handle().cancelled());
            assert!(poll_once(&mut cancelled).await.is_pending());
            *told.borrow_mut() = Some(cancelled);
            pending::<()>().await
        };
        inner.run(body).await
    }));
    run.pending();
    outer.cancel();
    hand(told.take().unwrap()).ready();
    run.ready().unwrap_err();
}

#[test]
fn r09_a_run_that_ends_in_its_first_poll_has_left_for_whoever_asked_meanwhile() {
    let scope = CancelScope::new();
    let handle = hand(scope.run(async { elsewhere(|| scope.handle()) })).ready().unwrap();
    handle.cancel();
    assert!(!handle.is_cancelled(), "a region that was left acts on nobody");
    let text = panic_text(|| hand(scope.run(async {})).poll().is_ready());
    assert!(text.starts_with("cannot run cancel scope"), "{text}");
}

#[test]
fn r01_a_run_that_is_known_inside_and_outside_is_entered_once_and_left_as_one() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let handle = first_poll(|| scope.handle()).await;
        yield_now().await;
        handle
    }));
    run.pending();
    let handle = run.ready().unwrap();
    drop(run);
    handle.cancel();
    assert!(!handle.is_cancelled(), "it has been left");
    let text = panic_text(|| hand(scope.run(async {})).poll().is_ready());
    assert!(
        text.starts_with("cannot run cancel scope at ") && text.contains("entered once"),
        "{text}"
    );
}

#[test]
fn r02_a_run_that_is_known_inside_and_outside_belongs_to_the_task_that_polled_it_first() {
    let scope = CancelScope::new();
    let mut run = Box::pin(scope.run(async {
        first_poll(|| scope.handle()).await;
        pending::<()>().await
    }));
    hand(task(async { assert!(poll_once(&mut run).await.is_pending()) })).drive();
    hand(task(async {
        let polled = std::future::poll_fn(|cx| run.as_mut().poll(cx)).await;
        let cancelled = polled.unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::WrongTask);
        assert!(cancelled.to_string().contains(" may not poll cancel scope at "), "{cancelled}");
    }))
    .drive();
}

#[test]
fn r05_a_scope_inside_an_entered_one_that_nobody_owns_is_cancelled_with_it() {
    let entered: EnteredScope = CancelScope::new().enter().unwrap();
    let inner = CancelScope::new();
    let mut run = hand(entered.run(async {
        let ended = inner.run(pending::<()>()).await;
        unreachable!("it is dropped with what is around it: {ended:?}")
    }));
    run.pending();
    entered.handle().cancel_because("outside");
    let cancelled = match run.ready() {
        Ok(()) => unreachable!("its body is pending for ever"),
        Err(cancelled) => cancelled,
    };
    assert_eq!(cancelled.reason().message(), Some("outside"));
    drop(run);
    entered.exit().unwrap();
}

#[test]
fn r07_a_wait_made_elsewhere_hears_late_of_what_was_cancelled_around() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut waits = None;
    let mut run = hand(outer.run(async {
        let body = async {
            look_inside().await;
            let mut cancelled = elsewhere(|| inner.handle().cancelled());
            assert!(poll_once(&mut cancelled).await.is_pending());
            waits = Some(cancelled);
            pending::<()>().await
        };
        inner.run(body).await
    }));
    run.pending();
    outer.cancel();
    run.ready().unwrap_err();
    drop(run);
    hand(waits.unwrap()).ready();
}

/// The outcome of a second run of `scope`, as a text: an error or a panic.
fn second_run(scope: &CancelScope) -> String {
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        hand(task(scope.run(async {}))).ready()
    }));
    match polled {
        Ok(ended) => ended.unwrap_err().to_string(),
        Err(payload) => *payload.downcast::<String>().unwrap(),
    }
}

#[test]
fn r02_a_second_run_elsewhere_in_the_first_poll_names_both_tasks_and_the_place() {
    let scope = CancelScope::new();
    let entered = line!() + 1;
    let first = scope.run(async {
        let owner = moored::task::current().unwrap().to_string();
        (owner, elsewhere(|| second_run(&scope)))
    });
    let (owner, told) = hand(task(first)).ready().unwrap();
    assert!(told.contains("may not run cancel scope"), "{told}");
    assert!(told.contains(&owner), "{told}");
    assert!(told.contains(&format!("entering.rs:{entered}")), "{told}");
}

#[test]
fn r02_a_second_run_in_the_first_poll_names_both_tasks_and_the_place_where_a_handle_was_made_before()
 {
    let scope = CancelScope::new();
    let entered = line!() + 1;
    let first = scope.run(async {
        let owner = moored::task::current().unwrap().to_string();
        let ask = || {
            let _handle = scope.handle();
            second_run(&scope)
        };
        (owner, elsewhere(ask))
    });
    let (owner, told) = hand(task(first)).ready().unwrap();
    assert!(told.contains("may not run cancel scope"), "{told}");
    assert!(told.contains(&owner), "{told}");
    assert!(told.contains(&format!("entering.rs:{entered}")), "{told}");
}
