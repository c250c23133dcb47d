//! `move_on_after`, `fail_after` and their kin: the result, and a poll by another task (R2, R10, R11).

use crate::support::{Gate, Log, Reports, hand, lose, on, poll_once};
use moored::testing::MockClock;
use moored::{
    CancelScope, Clock, ExitStack, ReasonKind, TimedOut, fail_after, fail_at, move_on_after,
    move_on_at, shield, task,
};
use std::error::Error;
use std::future::{Future, pending, ready};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r11_move_on_after_gives_the_value_or_none() {
    let clock = MockClock::new();
    let start = clock.now();
    let (in_time, late) = on(&clock, async {
        (move_on_after(SECOND, ready(7)).await, move_on_after(SECOND, pending::<i32>()).await)
    });
    assert_eq!((in_time, late), (Some(7), None));
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r11_move_on_after_starts_at_its_first_poll() {
    let clock = MockClock::new();
    let waits = move_on_after(SECOND, pending::<()>());
    clock.advance(5 * SECOND);
    let mut waits = hand(task(waits).clock(clock.clone()));
    waits.pending();
    clock.advance(SECOND);
    assert!(waits.ready().is_none());
}

#[test]
fn r11_move_on_at_and_fail_at_take_an_instant() {
    let clock = MockClock::new();
    let at = clock.now() + SECOND;
    assert!(on(&clock, move_on_at(at, pending::<()>())).is_none());
    assert_eq!(clock.now(), at);
    on(&clock, fail_at(at, pending::<()>())).unwrap_err();
    assert_eq!(clock.now(), at, "an instant that has passed waits for nothing");
    assert!(on(&clock, move_on_at(at, ready(()))).is_some());
    on(&clock, fail_at(at, ready(()))).unwrap();
}

#[test]
fn r11_fail_after_fails_with_the_recorded_cause() {
    fn question(result: Result<(), TimedOut>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(result?)
    }
    let clock = MockClock::new();
    let line = line!() + 1;
    let timed_out = on(&clock, fail_after(SECOND, pending::<()>())).unwrap_err();
    assert_eq!(timed_out.reason().kind(), ReasonKind::Deadline);
    let place = timed_out.reason().location().unwrap();
    assert_eq!((place.file(), place.line()), (file!(), line));
    let text = question(Err(timed_out)).unwrap_err().to_string();
    assert_eq!(text, format!("timed out (at {place})"));
}

#[test]
fn r10_an_outer_cancellation_is_no_time_out() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let log = Log::new();
    let body = scope.run(async {
        let late = fail_after(SECOND, async {
            scope.cancel();
            clock.advance(2 * SECOND);
            pending::<()>().await
        });
        let _ = late.await;
        log.add("the inner one resolved");
        pending::<()>().await
    });
    let mut run = hand(task(body).clock(clock.clone()));
    let cancelled = run.drive().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested, "by cause, not by the clock");
}

#[test]
fn r10_the_inner_time_out_is_the_inner_ones_though_the_outer_deadline_has_passed_too() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(2 * SECOND);
    let body = scope.run(async {
        let inner = fail_after(SECOND, pending::<()>()).await;
        inner.unwrap_err().reason().kind()
    });
    let mut run = hand(task(body).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.drive().unwrap(), ReasonKind::Deadline);
}

#[test]
fn r11_a_value_that_is_there_in_the_poll_of_the_deadline_is_delivered() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let mut run = hand(task(fail_after(SECOND, gate.wait())).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r08_what_a_timed_out_future_abandons_runs_before_it_resolves() {
    let clock = MockClock::new();
    let log = Log::new();
    let stack = ExitStack::new();
    on(&clock, async {
        let late = move_on_after(
            SECOND,
            stack.run(async {
                stack.defer(log.entry("exit"));
                pending::<Result<(), ()>>().await
            }),
        );
        assert!(late.await.is_none());
        log.add("moved on");
    });
    log.is(&["exit", "moved on"]);
}

#[test]
fn r11_nested_time_limits_end_innermost_first() {
    let clock = MockClock::new();
    let start = clock.now();
    let inner = on(
        &clock,
        move_on_after(3 * SECOND, async {
            let first = move_on_after(SECOND, pending::<()>()).await;
            let second = move_on_after(SECOND, pending::<()>()).await;
            (first, second)
        }),
    );
    assert_eq!(inner, Some((None, None)));
    assert_eq!(clock.now() - start, 2 * SECOND);
}

#[test]
fn r11_a_time_no_clock_can_tell_is_no_limit() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let mut run = hand(task(move_on_after(Duration::MAX, gate.wait())).clock(clock.clone()));
    run.pending();
    assert_eq!(clock.sleepers(), 0);
    gate.open();
    assert!(run.ready().is_some());
}

#[test]
fn r11_a_zero_timeout_polls_the_body_once() {
    let clock = MockClock::new();
    assert_eq!(on(&clock, move_on_after(Duration::ZERO, ready(7))), Some(7));
    assert_eq!(on(&clock, move_on_after(Duration::ZERO, pending::<()>())), None);
}

/// Polls `timed` in a task of its own, then in another one of the same region.
async fn moved<F: Future>(timed: F) -> F::Output {
    let mut timed = Box::pin(timed);
    task(async { assert!(poll_once(&mut timed).await.is_pending()) }).named("owner").await;
    task(timed).named("thief").await
}

#[test]
fn r02_a_move_on_polled_by_another_task_is_no_time_out_and_the_hook_is_told() {
    let (reports, clock) = (Reports::watch(), MockClock::new());
    let log = Log::new();
    let waits = async {
        let _dropped = log.on_drop("dropped");
        pending::<()>().await
    };
    on(&clock, async {
        assert_eq!(moved(move_on_after(SECOND, waits)).await, None);
        log.is(&["dropped"]);
        assert_eq!(moved(move_on_at(clock.now() + SECOND, pending::<()>())).await, None);
    });
    let told = reports.of("(thief)");
    assert_eq!(told.len(), 2, "{told:?}");
    for told in told {
        assert!(told.contains("poll") && told.contains("(owner)"), "{told}");
    }
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r02_a_fail_after_polled_by_another_task_tells_of_it_itself() {
    let (reports, clock) = (Reports::watch(), MockClock::new());
    on(&clock, async {
        let after = moved(fail_after(SECOND, pending::<()>())).await.unwrap_err();
        let at = moved(fail_at(clock.now() + SECOND, pending::<()>())).await.unwrap_err();
        for failed in [after, at] {
            assert_eq!(failed.reason().kind(), ReasonKind::WrongTask);
        }
    });
    assert!(reports.of("(thief)").is_empty(), "once is enough");
}

#[test]
fn r02_a_shield_whose_future_has_ended_gives_its_value_to_another_task_and_the_hook_is_told() {
    let (reports, gate) = (Reports::watch(), Gate::new());
    let body = async {
        let ends = shield(async {
            let stack = ExitStack::new();
            stack.defer(gate.wait());
            lose(stack.run(pending::<Result<(), ()>>())).await;
            7
        });
        let mut ends = Box::pin(ends);
        task(async { assert!(poll_once(&mut ends).await.is_pending()) }).named("owner").await;
        assert_eq!(task(ends).named("thief").await, 7);
        gate.open();
    };
    hand(task(body)).drive();
    assert_eq!(reports.of("(thief)").len(), 1);
}
