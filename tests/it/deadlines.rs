//! Deadlines: absolute and relative, changeable, seen from inside, and no timer for nothing (R11).

use crate::support::{Executor, Gate, Log, Reports, hand, lose, poll_once, yield_now};
use moored::testing::MockClock;
use moored::{
    CancelScope, Clock, ExitStack, ReasonKind, TaskGroup, TimedOut, current_deadline, fail_after,
    fail_at, move_on_after, move_on_at, shield, task,
};
use std::error::Error;
use std::future::{Future, pending, ready};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `body` as a task with a clock of its own, which jumps when nothing else is left to do.
fn on<F: Future>(clock: &MockClock, body: F) -> F::Output {
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(clock)
}

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

// The deadline as a body inside sees it.

#[test]
fn r11_current_deadline_is_the_minimum_of_everything_around() {
    let clock = MockClock::new();
    let now = clock.now();
    let (outer, middle, inner) = (
        CancelScope::new().deadline(now + 2 * SECOND),
        CancelScope::new().deadline(now + SECOND),
        CancelScope::new().deadline(now + 3 * SECOND),
    );
    let stack = ExitStack::new();
    let seen = on(&clock, async {
        let none = current_deadline();
        let nested = outer.run(async {
            let first = current_deadline();
            let second = middle.run(inner.run(stack.run(async {
                let second = current_deadline();
                middle.set_deadline(now + 5 * SECOND);
                Ok::<_, ()>((second, current_deadline()))
            })));
            (first, second.await.unwrap().unwrap().unwrap())
        });
        (none, nested.await.unwrap(), current_deadline())
    });
    let (one, two) = (Some(now + SECOND), Some(now + 2 * SECOND));
    assert_eq!(seen, (None, (two, (one, two)), None));
}

#[test]
fn r11_current_deadline_stops_at_a_shield() {
    let clock = MockClock::new();
    let now = clock.now();
    let outer = CancelScope::new().deadline(now + SECOND);
    let shielded = CancelScope::new().shielded().deadline(now + 9 * SECOND);
    let seen = on(
        &clock,
        outer.run(async {
            let within = shielded.run(async { current_deadline() }).await.unwrap();
            (within, shield(async { current_deadline() }).await, current_deadline())
        }),
    );
    assert_eq!(seen.unwrap(), (Some(now + 9 * SECOND), None, Some(now + SECOND)));
}

#[test]
fn r11_current_deadline_is_seen_by_children_and_across_executor_tasks() {
    let clock = MockClock::new();
    let now = clock.now();
    let executor = Executor::new();
    let seen: Arc<Mutex<Vec<Option<Instant>>>> = Arc::default();
    let scope = CancelScope::new().deadline(now + 2 * SECOND);
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(
        task(scope.run(group.run(async {
            let (one, two) = (seen.clone(), seen.clone());
            group.spawn(async move {
                one.lock().unwrap().push(current_deadline());
                Ok(())
            });
            group.spawn_on(&executor, async move {
                let nearer = CancelScope::new().timeout(SECOND);
                let both =
                    [current_deadline(), nearer.run(async { current_deadline() }).await.unwrap()];
                two.lock().unwrap().extend(both);
                Ok(())
            });
            Ok(())
        })))
        .clock(clock.clone()),
    );
    run.pending();
    executor.run();
    run.drive().unwrap().unwrap();
    let expected = [Some(now + 2 * SECOND), Some(now + 2 * SECOND), Some(now + SECOND)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn r11_an_exit_sees_no_deadline_of_what_it_leaves() {
    let clock = MockClock::new();
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let scope = CancelScope::new().timeout(SECOND);
    let stack = ExitStack::new();
    let told = seen.clone();
    on(
        &clock,
        scope.run(stack.run(async {
            stack.defer(async move { told.lock().unwrap().push(current_deadline()) });
            Ok::<_, ()>(())
        })),
    )
    .unwrap()
    .unwrap();
    assert_eq!(*seen.lock().unwrap(), [None], "exits are shielded (R14)");
}

#[test]
fn r11_nothing_current_has_no_deadline() {
    assert_eq!(current_deadline(), None);
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

// The verbs.

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
    assert!(text.starts_with("timed out: ") && !text.contains('\n'), "{text}");
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

// From another task.

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

#[test]
fn r09_the_handle_of_a_scope_that_was_left_tells_of_no_deadline() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    on(&clock, scope.run(async { assert!(handle.deadline().is_some()) })).unwrap();
    assert!(handle.deadline().is_none());
}
