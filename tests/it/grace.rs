//! Exits with a bound: one absolute deadline each, from the first poll on (R14).

use crate::support::{Gate, Log, Reports, hand, lose, on, poll_once, yield_now};
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, Clock, ExitFailure, ExitStack, Failure, TaskGroup, current_deadline, task,
};
use std::future::{pending, ready};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn timed_out<E>(failure: &Failure<E>) -> Vec<Duration> {
    let of = |cause: &Cause<E>| match cause {
        Cause::Exit(ExitFailure::TimedOut { grace, .. }) => Some(*grace),
        _ => None,
    };
    failure.causes().filter_map(of).collect()
}

#[test]
fn r14_an_exit_that_outlasts_its_grace_is_dropped_recorded_and_the_rest_runs() {
    let (clock, log) = (MockClock::new(), Log::new());
    let start = clock.now();
    let failure = on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        stack.defer(log.entry("first registered"));
        stack.defer(pending::<()>());
        stack.defer(log.entry("last registered"));
        stack.run(async { Err::<(), _>("the body's") }).await.unwrap_err()
    });
    log.is(&["last registered", "first registered"]);
    assert!(matches!(failure.cause(), Cause::Body("the body's")), "it replaces nothing");
    assert_eq!(timed_out(&failure), [SECOND]);
    assert_eq!(clock.now() - start, SECOND);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r14_a_timed_out_exit_tells_where_it_was_registered_and_how_long_it_had() {
    let clock = MockClock::new();
    let (line, failed) = on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        stack.defer(pending::<()>());
        let line = line!() - 1;
        (line, stack.close().await.unwrap_err())
    });
    let text = failed.to_string();
    assert!(text.contains(&format!("grace.rs:{line}:")), "{text}");
    assert!(text.ends_with("did not end within its grace of 1s"), "{text}");
}

#[test]
fn r14_each_exit_has_its_own_bound_from_its_own_first_poll() {
    let clock = MockClock::new();
    let start = clock.now();
    let failed = on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        for _ in 0..3 {
            stack.defer(pending::<()>());
        }
        stack.close().await.unwrap_err()
    });
    assert_eq!(timed_out(failed.failure().unwrap()).len(), 3);
    assert_eq!(clock.now() - start, 3 * SECOND);
}

#[test]
fn r14_a_slow_registration_takes_nothing_from_the_bound() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let stack = ExitStack::new().grace(SECOND);
    let mut run = hand(
        task(stack.run(async {
            stack.defer(gate.wait());
            clock.advance(100 * SECOND);
            Ok::<_, ()>(())
        }))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND / 2);
    run.pending();
    gate.open();
    run.drive().unwrap();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r14_an_exit_that_is_ready_in_the_poll_of_its_bound_has_ended() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let stack = ExitStack::new().grace(SECOND);
    stack.defer(gate.wait());
    let mut run = hand(task(stack.close()).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r14_abandonment_does_not_extend_the_bound() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new();
    let body = scope.run(async {
        let stack = ExitStack::new().grace(3 * SECOND);
        let mut loser = Box::pin(stack.run(async {
            stack.defer(pending::<()>());
            Ok::<_, ()>(())
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        clock.advance(SECOND);
        drop(loser);
    });
    on(&clock, body).unwrap();
    assert_eq!(clock.now() - start, 3 * SECOND);
}

#[test]
fn r14_being_abandoned_again_and_again_does_not_extend_the_bound() {
    let (clock, log) = (MockClock::new(), Log::new());
    let start = clock.now();
    let (outer, middle) = (CancelScope::new(), CancelScope::new());
    let body = outer.run(async {
        let mut middle = Box::pin(middle.run(async {
            let stack = ExitStack::new().grace(4 * SECOND);
            let mut inner = Box::pin(stack.run(async {
                stack.defer(log.entry("the next one"));
                stack.defer(pending::<()>());
                Ok::<_, ()>(())
            }));
            assert!(poll_once(&mut inner).await.is_pending());
            clock.advance(SECOND);
            drop(inner);
            pending::<()>().await
        }));
        assert!(poll_once(&mut middle).await.is_pending());
        clock.advance(SECOND);
        assert!(poll_once(&mut middle).await.is_pending());
        drop(middle);
        yield_now().await;
        clock.advance(SECOND);
    });
    on(&clock, body).unwrap();
    assert_eq!(clock.now() - start, 4 * SECOND);
    log.is(&["the next one"]);
}

#[test]
fn r14_an_exit_that_had_not_begun_when_it_was_abandoned_has_its_whole_bound() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new();
    let body = scope.run(async {
        let stack = ExitStack::new().grace(SECOND);
        let mut loser = Box::pin(stack.run(async {
            stack.defer(pending::<()>());
            pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        clock.advance(10 * SECOND);
        drop(loser);
    });
    on(&clock, body).unwrap();
    assert_eq!(clock.now() - start, 11 * SECOND);
}

#[test]
fn r15_an_adopted_exit_that_times_out_goes_into_the_nearest_record() {
    let clock = MockClock::new();
    let failure = on(&clock, async {
        let outer = ExitStack::new();
        let failed = outer
            .run(async {
                let inner = ExitStack::new().grace(SECOND);
                lose(inner.run(async {
                    inner.defer(pending::<()>());
                    pending::<Result<(), ()>>().await
                }))
                .await;
                Ok::<_, ()>(())
            })
            .await;
        failed.unwrap_err()
    });
    assert_eq!(timed_out(&failure), [SECOND]);
}

#[test]
fn r15_an_exit_that_times_out_without_a_record_goes_to_the_hook() {
    let reports = Reports::watch();
    let clock = MockClock::new();
    on(&clock, async {
        let stack = ExitStack::new().grace(Duration::from_millis(1_414));
        lose(stack.run(async {
            stack.defer(pending::<()>());
            pending::<Result<(), ()>>().await
        }))
        .await;
    });
    let lines = reports.of("1.414s");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn r14_a_timed_out_exit_is_dropped_once_and_before_the_next_one_begins() {
    let (clock, log) = (MockClock::new(), Log::new());
    struct Says(Log);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        stack.defer(log.entry("next"));
        let says = Says(log.clone());
        stack.defer(async move {
            let _says = says;
            pending::<()>().await
        });
        let _ = stack.close().await;
    });
    log.is(&["dropped", "next"]);
}

#[test]
fn r14_without_a_grace_an_exit_outlasts_every_deadline_around_it() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let scope = CancelScope::new().timeout(SECOND);
    let stack = ExitStack::new();
    let mut run = hand(
        task(scope.run(stack.run(async {
            stack.defer(gate.wait());
            pending::<Result<(), ()>>().await
        })))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(1_000 * SECOND);
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r14_the_bound_is_no_deadline_of_the_scopes_inside_the_exit() {
    let (clock, log) = (MockClock::new(), Log::new());
    let told = log.clone();
    on(&clock, async {
        let stack = ExitStack::new().grace(10 * SECOND);
        stack.defer(async move {
            let late = moored::move_on_after(SECOND, pending::<()>()).await;
            told.add(format!("{:?} {}", late, current_deadline().is_some()));
        });
        stack.close().await.unwrap();
    });
    log.is(&["None false"]);
}

#[test]
fn r14_a_grace_does_not_bind_the_exits_of_a_stack_inside() {
    let clock = MockClock::new();
    let start = clock.now();
    on(&clock, async {
        let outer = ExitStack::new().grace(SECOND);
        let inner = ExitStack::new();
        let run = outer.run(inner.run(async {
            inner.defer(clock.sleep_until(start + 5 * SECOND));
            Ok::<_, ()>(())
        }));
        run.await.unwrap();
    });
    assert_eq!(clock.now() - start, 5 * SECOND);
}

#[test]
fn r14_no_timer_is_armed_for_exits_that_are_ready_at_once() {
    let clock = MockClock::new();
    on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        for _ in 0..3 {
            stack.defer(ready(()));
        }
        stack.close().await.unwrap();
        assert_eq!(clock.sleepers(), 0);
    });
}

#[test]
fn r14_a_grace_of_zero_is_one_poll_and_one_no_clock_can_tell_is_none() {
    let clock = MockClock::new();
    let failed = on(&clock, async {
        let stack = ExitStack::new().grace(Duration::ZERO);
        stack.defer(ready(()));
        stack.defer(pending::<()>());
        stack.close().await.unwrap_err()
    });
    assert_eq!(timed_out(failed.failure().unwrap()), [Duration::ZERO]);
    let gate = Gate::new();
    let stack = ExitStack::new().grace(Duration::MAX);
    stack.defer(gate.wait());
    let mut close = hand(task(stack.close()).clock(clock.clone()));
    close.pending();
    assert_eq!(clock.sleepers(), 0);
    gate.open();
    close.ready().unwrap();
}

#[test]
fn r14_a_held_value_whose_exit_times_out_is_dropped() {
    let clock = MockClock::new();
    let dropped = std::sync::Arc::new(());
    let value = std::sync::Arc::clone(&dropped);
    let failed = on(&clock, async {
        let stack = ExitStack::new().grace(SECOND);
        let held = stack.hold(value, |value| async move {
            pending::<()>().await;
            drop(value);
        });
        drop(held);
        stack.close().await.unwrap_err()
    });
    assert_eq!(timed_out(failed.failure().unwrap()), [SECOND]);
    assert_eq!(std::sync::Arc::strong_count(&dropped), 1);
}

#[test]
fn r14_a_stack_in_a_child_keeps_its_bound_when_the_group_is_cancelled() {
    let clock = MockClock::new();
    let start = clock.now();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = group.run(async {
        group.spawn(async {
            let stack = ExitStack::new().grace(SECOND);
            let run = stack.run(async {
                stack.defer(pending::<()>());
                pending::<Result<(), ()>>().await
            });
            run.await.map_err(drop)
        });
        yield_now().await;
        group.cancel();
        Ok(())
    });
    let _ = on(&clock, body);
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r14_the_bound_counts_on_after_a_rejected_close_was_handed_back() {
    let clock = MockClock::new();
    let start = clock.now();
    let failed = on(&clock, async {
        let stack = ExitStack::new().grace(2 * SECOND);
        stack.defer(pending::<()>());
        let mut close = Box::pin(stack.close());
        assert!(poll_once(&mut close).await.is_pending());
        clock.advance(SECOND);
        let rejected = task(async { poll_once(&mut close).await }).await;
        let Poll::Ready(Err(rejected)) = rejected else { panic!("{rejected:?}") };
        rejected.into_inner().unwrap().close().await.unwrap_err()
    });
    assert_eq!(timed_out(failed.failure().unwrap()), [2 * SECOND]);
    assert_eq!(clock.now() - start, 2 * SECOND);
}
