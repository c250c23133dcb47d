//! Questions to a region that is being entered, handed over or left. Each of these tests catches a seeded bug that no
//! other test noticed (R2 to R4, R6, R7, R11).

use crate::support::{Executor, Log, hand, poll_once};
use moored::testing::MockClock;
use moored::{
    CancelHandle, CancelScope, Clock, EnteredScope, ExitFailure, ExitStack, Released, TaskGroup,
    cancelled, checkpoint, task,
};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn r02_what_still_runs_in_a_scope_that_is_left_is_cancelled() {
    let inside = Arc::new(Mutex::new(None::<CancelHandle>));
    let entered = CancelScope::new().enter().unwrap();
    let mut run = Box::pin(entered.run(async {
        let scope = CancelScope::new();
        *inside.lock().unwrap() = Some(scope.handle());
        let _ = scope.run(pending::<()>()).await;
    }));
    hand(poll_once(&mut run)).ready().is_ready();
    std::mem::forget(run);
    let handle = inside.lock().unwrap().take().unwrap();
    let mut told = hand(handle.cancelled());
    told.pending();
    entered.exit().unwrap();
    assert!(handle.is_cancelled());
    told.ready();
}

#[test]
fn r03_who_waits_at_a_scope_that_is_entered_by_a_call_hears_of_what_is_cancelled_around_it() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    let mut told = hand(handle.cancelled());
    told.pending();
    let mut run = hand(outer.run(async {
        let _entered = inner.enter().unwrap();
        pending::<()>().await;
    }));
    run.pending();
    let before = told.wakes.count();
    outer.cancel();
    assert!(told.wakes.count() > before);
    told.ready();
}

#[test]
fn r04_what_was_entered_in_an_exit_is_not_sheltered_where_it_is_adopted() {
    let away = Arc::new(Mutex::new(None::<Released<EnteredScope>>));
    let stack = ExitStack::new();
    stack.defer({
        let away = Arc::clone(&away);
        async move {
            let entered = CancelScope::new().enter().unwrap();
            *away.lock().unwrap() = Some(entered.release().unwrap());
        }
    });
    hand(task(stack.close())).drive().unwrap();
    let released = away.lock().unwrap().take().unwrap();
    let outer = CancelScope::new();
    let inside = Mutex::new(None::<CancelHandle>);
    let mut run = hand(outer.run(async {
        let entered = released.adopt();
        *inside.lock().unwrap() = Some(entered.handle());
        let _ = entered.run(pending::<()>()).await;
    }));
    run.pending();
    let handle = inside.lock().unwrap().take().unwrap();
    assert!(!handle.is_cancelled());
    outer.cancel();
    assert!(handle.is_cancelled());
    run.ready().unwrap_err();
}

#[test]
fn r04_what_is_adopted_has_the_clock_of_the_task_that_adopts_it() {
    let clock = MockClock::new();
    let stack = ExitStack::new().grace(HOUR);
    stack.defer(pending::<()>());
    let released = stack.release().unwrap();
    let closes = async move { released.adopt().close().await.unwrap_err() };
    let error = moored::testing::hand(task(closes).clock(clock.clone())).drive_with(&clock);
    let cause = error.failure().unwrap().cause();
    assert!(matches!(cause, moored::Cause::Exit(ExitFailure::TimedOut { .. })), "{error}");
}

#[test]
fn r07_the_exits_of_an_adopted_stack_run_as_those_of_the_region_entered_last() {
    let log = Log::new();
    hand(task(async {
        let elder = ExitStack::new();
        elder.defer(log.entry("adopted"));
        let released = elder.release().unwrap();
        let other = ExitStack::new();
        other.defer(log.entry("entered meanwhile"));
        let adopted = released.adopt();
        drop((adopted, other));
    }))
    .drive();
    log.is(&["adopted", "entered meanwhile"]);
}

#[test]
fn r11_of_a_deadline_and_a_timeout_the_earlier_one_counts_however_the_scope_is_entered() {
    for (deadline, timeout) in [(HOUR, HOUR * 3), (HOUR * 3, HOUR)] {
        let clock = MockClock::new();
        let start = clock.now();
        let made = || CancelScope::new().deadline(start + deadline).timeout(timeout);
        let body = async {
            made().run(pending::<()>()).await.unwrap_err();
            assert_eq!(clock.now(), start + HOUR);
        };
        moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
        let clock = MockClock::new();
        let start = clock.now();
        let made = || CancelScope::new().deadline(start + deadline).timeout(timeout);
        let body = async {
            made().enter().unwrap().run(pending::<()>()).await.unwrap_err();
            assert_eq!(clock.now(), start + HOUR);
        };
        moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    }
}

#[test]
fn r06_a_checkpoint_that_was_cancelled_while_it_yielded_goes_no_further() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        checkpoint().await;
        log.add("it went on");
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    log.is(&[]);
}

#[test]
fn r06_a_wait_for_a_cancellation_is_that_of_the_region_in_which_it_was_polled_first() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(outer.run(async {
        let mut wait = Box::pin(cancelled());
        assert!(poll_once(&mut wait).await.is_pending());
        inner.cancel();
        let polled = inner.run(async { poll_once(&mut wait).await.is_ready() }).await;
        assert!(!polled.unwrap(), "the region it belongs to is not cancelled");
        outer.cancel();
        assert!(poll_once(&mut wait).await.is_ready());
    }));
    run.ready().unwrap();
}

#[test]
fn r06_a_region_in_a_group_that_is_entered_in_a_cancelled_region_looks_again() {
    let executor = Executor::new();
    let (outer, scope) = (CancelScope::new(), CancelScope::new());
    let handle = scope.handle();
    let group = TaskGroup::<()>::new();
    group.spawn_detached_on(&executor, async move {
        drop(scope.run(pending::<()>()).await);
        Ok(())
    });
    executor.run();
    outer.cancel();
    let mut run = hand(outer.run(async {
        assert!(!handle.is_cancelled(), "there is nothing around the group yet");
        let mut run = Box::pin(group.run(pending::<Result<(), ()>>()));
        assert!(poll_once(&mut run).await.is_pending());
        assert!(handle.is_cancelled());
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
}

#[test]
fn r06_a_scope_that_another_thread_asks_during_its_first_poll_looks_again_after_that() {
    let (outer, scope) = (CancelScope::new(), CancelScope::new());
    outer.cancel();
    let body = async {
        let mut run = Box::pin(scope.run(async {
            // The call makes a node, around which there is nothing, unless the scope has its node already.
            let asks = || scope.handle().is_cancelled();
            std::thread::scope(|threads| threads.spawn(asks).join()).unwrap();
            CancelScope::new().run(pending::<()>()).await
        }));
        assert!(poll_once(&mut run).await.is_pending());
        assert!(scope.is_cancelled());
    };
    hand(outer.run(body)).ready().unwrap();
}
