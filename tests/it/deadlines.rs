//! Deadlines: absolute and relative, changeable, seen from inside, and no timer for nothing (R11).

use crate::support::{Gate, Log, hand, on, poll_once, yield_now};
use moored::testing::MockClock;
use moored::{
    CancelScope, Clock, ExitStack, ReasonKind, TaskGroup, current_deadline, fail_after,
    move_on_after, task,
};
use std::future::{pending, ready};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

// Before and during.

#[test]
fn r11_an_absolute_deadline_that_has_passed_still_polls_the_body_once() {
    let clock = MockClock::new();
    let past = clock.now();
    clock.advance(SECOND);
    let log = Log::new();
    let scope = CancelScope::new().deadline(past);
    let cancelled = on(
        &clock,
        scope.run(async {
            log.add("polled");
            pending::<()>().await
        }),
    );
    assert_eq!(cancelled.unwrap_err().reason().kind(), ReasonKind::Deadline);
    log.is(&["polled"]);
    let scope = CancelScope::new().deadline(past);
    assert_eq!(on(&clock, scope.run(ready(7))).unwrap(), 7, "a value is delivered");
}

#[test]
fn r11_set_deadline_before_the_entry() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new();
    scope.set_deadline(start + 3 * SECOND);
    on(&clock, scope.run(pending::<()>())).unwrap_err();
    assert_eq!(clock.now() - start, 3 * SECOND);
}

#[test]
fn r11_set_deadline_takes_the_place_of_a_timeout_before_the_entry_as_well() {
    let clock = MockClock::new();
    for timeout in [Duration::ZERO, SECOND] {
        let start = clock.now();
        let scope = CancelScope::new().timeout(timeout);
        scope.set_deadline(start + 3 * SECOND);
        on(&clock, scope.run(pending::<()>())).unwrap_err();
        assert_eq!(clock.now() - start, 3 * SECOND);

        let start = clock.now();
        let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(timeout);
        group.set_deadline(start + 3 * SECOND);
        on(&clock, group.run(pending::<Result<(), ()>>())).unwrap_err();
        assert_eq!(clock.now() - start, 3 * SECOND);

        let far = Instant::now() + 1_000 * SECOND;
        let scope = CancelScope::new().timeout(timeout);
        scope.set_deadline(far);
        assert_eq!(scope.enter().unwrap().handle().deadline(), Some(far));
    }
}

#[test]
fn r11_of_two_deadlines_that_are_built_in_the_earlier_counts_whatever_made_the_node() {
    let clock = MockClock::new();
    let (soon, late) = (SECOND, clock.now() + 9 * SECOND);
    for scope in [
        CancelScope::new().shielded().timeout(soon).deadline(late),
        CancelScope::new().deadline(late).shielded().timeout(soon),
    ] {
        let start = clock.now();
        on(&clock, scope.run(pending::<()>())).unwrap_err();
        assert_eq!(clock.now() - start, SECOND);
    }
}

#[test]
fn r11_set_deadline_on_a_scope_without_one_while_it_runs() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    assert_eq!(clock.sleepers(), 0);
    scope.set_deadline(clock.now() + SECOND);
    assert_eq!(run.wakes.count(), 1, "the run has to arm its timer");
    run.pending();
    assert_eq!(clock.sleepers(), 1);
    clock.advance(SECOND);
    run.ready().unwrap_err();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_a_deadline_set_by_the_body_itself_counts() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new().timeout(100 * SECOND);
    let body = async {
        scope.set_deadline(clock.now() + SECOND);
        pending::<()>().await
    };
    on(&clock, scope.run(body)).unwrap_err();
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r11_a_deadline_extended_in_time_does_not_fire_at_its_old_instant() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = moored::testing::hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.set_deadline(start + 10 * SECOND);
    clock.advance(SECOND);
    run.pending();
    assert!(!scope.is_cancelled());
    run.drive_with(&clock).unwrap_err();
    assert_eq!(clock.now() - start, 10 * SECOND);
}

#[test]
fn r11_extending_a_deadline_that_was_seen_to_pass_un_cancels_nothing() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = hand(
        task(scope.run(stack.run(async {
            stack.defer(gate.wait());
            pending::<Result<(), ()>>().await
        })))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND);
    run.pending();
    assert!(scope.is_cancelled());
    scope.set_deadline(clock.now() + 100 * SECOND);
    assert!(scope.is_cancelled());
    gate.open();
    assert_eq!(run.drive().unwrap_err().reason().kind(), ReasonKind::Deadline);
    assert_eq!(clock.sleepers(), 0, "no timer outlives the body");
}

#[test]
fn r11_a_deadline_set_on_a_scope_that_was_left_acts_on_nobody() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let body = async {
        scope.run(async {}).await.unwrap();
        scope.set_deadline(clock.now());
        assert!(!scope.is_cancelled());
        yield_now().await;
    };
    on(&clock, body);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_a_relative_deadline_starts_at_the_entry_not_at_the_making_nor_at_run() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    clock.advance(5 * SECOND);
    let run = scope.run(pending::<()>());
    clock.advance(5 * SECOND);
    let mut run = hand(task(run).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND - Duration::from_nanos(1));
    run.pending();
    clock.advance(Duration::from_nanos(1));
    run.ready().unwrap_err();
}

#[test]
fn r11_an_entered_scopes_relative_deadline_starts_at_enter() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = on(&clock, async {
        let scope = CancelScope::new().timeout(2 * SECOND);
        clock.advance(SECOND);
        let entered = scope.enter().unwrap();
        clock.advance(SECOND);
        let seen = entered.run(async { current_deadline() }).await.unwrap();
        entered.exit().unwrap();
        seen
    });
    assert_eq!(seen, Some(start + 3 * SECOND));
}

// Timers.

#[test]
fn r11_no_timer_is_armed_while_the_body_is_ready_at_once() {
    struct NoTimer;
    impl Clock for NoTimer {
        fn now(&self) -> Instant {
            Instant::now()
        }
        fn sleep_until(&self, _: Instant) -> moored::Sleep {
            panic!("a timer was armed")
        }
    }
    let entered = async {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        entered.run(ready(())).await.unwrap();
        entered.exit().unwrap();
    };
    let body = async {
        CancelScope::new().timeout(SECOND).run(ready(())).await.unwrap();
        CancelScope::new().grace(SECOND).shielded().run(ready(())).await.unwrap();
        assert!(move_on_after(SECOND, ready(())).await.is_some());
        fail_after(SECOND, ready(())).await.unwrap();
        let stack = ExitStack::new().grace(SECOND);
        stack.defer(ready(()));
        stack.close().await.unwrap();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let scope = CancelScope::new().timeout(SECOND);
        scope.run(async { current_deadline() }).await.unwrap().unwrap();
        drop(group);
        entered.await;
    };
    hand(task(body).clock(NoTimer)).drive();
}

#[test]
fn r11_a_timer_is_given_back_when_the_body_ends_or_is_dropped() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let body = async {
        let mut late = Box::pin(fail_after(SECOND, pending::<()>()));
        assert!(poll_once(&mut late).await.is_pending());
        assert_eq!(clock.sleepers(), 1);
        drop(late);
        assert_eq!(clock.sleepers(), 0);
        let mut waits = Box::pin(fail_after(SECOND, gate.wait()));
        assert!(poll_once(&mut waits).await.is_pending());
        gate.open();
        waits.as_mut().await.unwrap();
        assert_eq!(clock.sleepers(), 0, "before it is dropped");
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r11_extending_an_outer_deadline_wakes_nobody_wrongly_and_the_inner_one_still_fires() {
    let clock = MockClock::new();
    let start = clock.now();
    let outer = CancelScope::new().timeout(SECOND);
    let inner = CancelScope::new().timeout(3 * SECOND);
    let body = outer.run(async {
        let cancelled = inner.run(pending::<()>()).await.unwrap_err();
        cancelled.reason().kind()
    });
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    run.pending();
    outer.set_deadline(start + 10 * SECOND);
    assert_eq!(run.drive_with(&clock).unwrap(), ReasonKind::Deadline);
    assert_eq!(clock.now() - start, 3 * SECOND);
}

// tokio's own clock.

#[tokio::test(start_paused = true)]
async fn r11_tokios_paused_clock_moves_deadlines() {
    let start = tokio::time::Instant::now();
    let late = fail_after(3600 * SECOND, pending::<()>()).await;
    assert_eq!(late.unwrap_err().reason().kind(), ReasonKind::Deadline);
    assert_eq!(start.elapsed(), 3600 * SECOND);
    let scope = CancelScope::new().timeout(60 * SECOND);
    scope.run(tokio::time::sleep(30 * SECOND)).await.unwrap();
    let scope = CancelScope::new().timeout(60 * SECOND);
    scope.run(tokio::time::sleep(90 * SECOND)).await.unwrap_err();
    assert_eq!(start.elapsed(), 3690 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn r11_tokios_paused_clock_moves_graces() {
    let start = tokio::time::Instant::now();
    let stack = ExitStack::new().grace(60 * SECOND);
    stack.defer(pending::<()>());
    stack.close().await.unwrap_err();
    assert_eq!(start.elapsed(), 60 * SECOND);
}

#[test]
fn r11_of_two_deadlines_the_earlier_one_counts_named_or_not() {
    for named in [false, true] {
        let clock = MockClock::new();
        let start = clock.now();
        let scope = if named { CancelScope::new().named("twice") } else { CancelScope::new() };
        let scope = scope.deadline(start + SECOND).deadline(start + 3 * SECOND);
        on(&clock, scope.run(pending::<()>())).unwrap_err();
        assert_eq!(clock.now() - start, SECOND);
    }
}

#[test]
fn r09_the_handle_of_a_scope_that_was_left_tells_of_no_deadline() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    on(&clock, scope.run(async { assert!(handle.deadline().is_some()) })).unwrap();
    assert!(handle.deadline().is_none());
}

#[test]
fn r09_the_handle_of_a_scope_whose_run_was_dropped_tells_of_no_deadline() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    assert!(handle.deadline().is_some());
    drop(run);
    assert!(handle.deadline().is_none());
    // Before any other time, and there is none any more.
    hand(handle.tightened(None)).pending();
}
