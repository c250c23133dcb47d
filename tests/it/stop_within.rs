//! A stop with a grace of its own, and the deadline that others share (R10, R11, R13).

use crate::support::{Log, hand, on};
use moored::testing::MockClock;
use moored::{
    CancelHandle, CancelScope, Cancelled, Clock, ExitStack, ReasonKind, TaskGroup,
    is_stop_requested, local, shield, stop_requested, task,
};
use std::future::pending;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r13_a_stop_within_asks_at_once_and_cancels_when_its_grace_is_over() {
    let (clock, log) = (MockClock::new(), Log::new());
    let start = clock.now();
    let cancelled = on(&clock, async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let body = async {
            handle.stop_within(3 * SECOND);
            stop_requested().await;
            log.add("asked");
            pending::<()>().await
        };
        scope.run(body).await.unwrap_err()
    });
    log.is(&["asked"]);
    assert_eq!(clock.now() - start, 3 * SECOND);
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
}

#[test]
fn r13_a_body_that_winds_down_in_time_is_not_cancelled() {
    let clock = MockClock::new();
    let ended = on(&clock, async {
        let scope = CancelScope::new();
        let body = async {
            scope.stop_within(3 * SECOND);
            stop_requested().await;
            7
        };
        scope.run(body).await
    });
    assert_eq!(ended.unwrap(), 7);
}

#[test]
fn r13_of_several_graces_the_one_that_is_over_first_counts() {
    let cases: [(Option<u32>, &[u32], u32); 5] = [
        (Some(5), &[3, 10], 3),
        (Some(2), &[3, 10], 2),
        (None, &[10, 3, 7], 3),
        (Some(4), &[], 4),
        (None, &[0, 7], 0),
    ];
    for (own, asked, expected) in cases {
        let clock = MockClock::new();
        let start = clock.now();
        let cancelled = on(&clock, async {
            let mut scope = CancelScope::new();
            if let Some(own) = own {
                scope = scope.grace(own * SECOND);
            }
            let body = async {
                scope.stop();
                for grace in asked {
                    scope.stop_within(*grace * SECOND);
                }
                pending::<()>().await
            };
            scope.run(body).await
        });
        cancelled.unwrap_err();
        assert_eq!(clock.now() - start, expected * SECOND, "{own:?} {asked:?}");
    }
}

#[test]
fn r13_a_later_request_may_tighten_and_never_loosens() {
    let clock = MockClock::new();
    let start = clock.now();
    let scope = CancelScope::new();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    let handle = scope.handle();
    handle.stop_within(10 * SECOND);
    run.pending();
    assert_eq!(handle.deadline(), Some(start + 10 * SECOND));
    clock.advance(4 * SECOND);
    handle.stop_within(SECOND);
    assert_eq!(handle.deadline(), Some(start + 5 * SECOND), "from this request on");
    handle.stop_within(30 * SECOND);
    run.pending();
    assert_eq!(handle.deadline(), Some(start + 5 * SECOND));
    clock.advance(SECOND);
    run.ready().unwrap_err();
    assert_eq!(handle.deadline(), None, "a region that was left has none");
}

#[test]
fn r13_the_grace_begins_with_the_request_even_if_the_run_is_not_polled() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.stop_within(2 * SECOND);
    clock.advance(2 * SECOND);
    run.ready().unwrap_err();
}

#[test]
fn r13_a_request_before_the_entry_counts_from_the_entry() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    for grace in [5, 2, 9] {
        scope.stop_within(grace * SECOND);
    }
    clock.advance(60 * SECOND);
    let start = clock.now();
    let seen = on(&clock, async {
        let body = async {
            assert!(is_stop_requested());
            pending::<()>().await
        };
        scope.run(body).await
    });
    seen.unwrap_err();
    assert_eq!(clock.now() - start, 2 * SECOND);
}

#[test]
fn r10_the_reason_is_that_of_the_first_stop() {
    let clock = MockClock::new();
    let (line, cancelled): (u32, Cancelled) = on(&clock, async {
        let scope = CancelScope::new();
        let line = line!() + 2;
        let body = async {
            scope.stop();
            scope.stop_within(SECOND);
            pending::<()>().await
        };
        (line, scope.run(body).await.unwrap_err())
    });
    assert_eq!(cancelled.reason().location().unwrap().line(), line);
}

#[test]
fn r13_a_stop_without_a_grace_cancels_in_the_poll_that_hears_of_it() {
    // By the clock of the crate, whose timers are those of a thread outside every runtime.
    let mut run = hand(task(async {
        let scope = CancelScope::new();
        scope.stop_within(Duration::ZERO);
        scope.run(pending::<()>()).await.unwrap_err()
    }));
    assert!(run.poll().is_ready());
}

#[test]
fn r13_an_entered_scope_is_cancelled_when_the_grace_of_a_request_is_over() {
    for stopped_before in [false, true] {
        let clock = MockClock::new();
        on(&clock, async {
            let scope = CancelScope::new().enter().unwrap();
            let handle = scope.handle();
            if stopped_before {
                handle.stop();
            }
            handle.stop_within(SECOND);
            assert!(handle.is_stop_requested() && !handle.is_cancelled());
            let start = clock.now();
            handle.cancelled().await;
            assert_eq!(clock.now() - start, SECOND);
            assert!(handle.is_cancelled());
            assert!(scope.exit().unwrap().reason().is_some());
        });
    }
}

#[test]
fn r13_a_scope_that_is_entered_after_the_request_is_cancelled_after_its_grace() {
    let clock = MockClock::new();
    on(&clock, async {
        let scope = CancelScope::new();
        scope.stop_within(SECOND);
        let scope = scope.enter().unwrap();
        let start = clock.now();
        scope.run(pending::<()>()).await.unwrap_err();
        assert_eq!(clock.now() - start, SECOND);
        drop(scope);
    });
}

#[test]
fn r13_a_group_is_asked_with_its_children_and_cancelled_with_them() {
    let (clock, log) = (MockClock::new(), Log::new());
    let child = async || {
        stop_requested().await;
        log.add("asked");
        pending::<Result<(), ()>>().await
    };
    let start = clock.now();
    on(&clock, async {
        let group = TaskGroup::new();
        let run = group.run(async {
            group.spawn(async { child().await });
            group.stop_within(SECOND);
            Ok(())
        });
        run.await.unwrap();
        let group = local::TaskGroup::new();
        let run = group.run(async {
            group.spawn(async { child().await });
            moored::checkpoint().await;
            group.stop_within(SECOND);
            pending::<Result<(), ()>>().await
        });
        run.await.unwrap_err();
    });
    assert_eq!(clock.now() - start, 2 * SECOND);
    log.is(&["asked", "asked"]);
}

#[test]
fn r09_a_region_that_was_left_is_not_stopped_and_one_that_is_cancelled_keeps_its_reason() {
    let clock = MockClock::new();
    on(&clock, async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        scope.run(async {}).await.unwrap();
        handle.stop_within(SECOND);
        assert_eq!((handle.deadline(), handle.is_stop_requested()), (None, false));

        let scope = CancelScope::new();
        let handle = scope.handle();
        let body = async {
            handle.cancel_because("first");
            handle.stop_within(SECOND);
            pending::<()>().await
        };
        let cancelled = scope.run(body).await.unwrap_err();
        assert_eq!(cancelled.reason().message(), Some("first"));
    });
}

#[test]
fn r13_a_grace_beyond_the_end_of_the_clock_is_no_grace() {
    let clock = MockClock::new();
    on(&clock, async {
        let scope = CancelScope::new();
        let body = async {
            scope.stop_within(Duration::MAX);
            assert_eq!(moored::current_deadline(), None);
            stop_requested().await;
        };
        scope.run(body).await.unwrap();
    });
}

/// Polls the wait of a task that has nothing to do with the region.
fn wait_for_less(handle: &CancelHandle) -> crate::support::Hand<moored::future::Tightening> {
    let mut wait = hand(handle.tightened(handle.deadline()));
    wait.pending();
    wait
}

#[test]
fn r11_who_waits_for_less_time_is_woken_by_less_time_and_by_nothing_else() {
    let clock = MockClock::new();
    let scope = CancelScope::new().deadline(clock.now() + 60 * SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();

    let mut wait = wait_for_less(&handle);
    scope.set_deadline(clock.now() + 90 * SECOND);
    wait.pending();
    scope.set_deadline(clock.now() + 60 * SECOND);
    wait.pending();
    handle.stop_within(70 * SECOND);
    wait.pending();
    let wakes = wait.wakes.count();
    handle.stop_within(50 * SECOND);
    assert!(wait.wakes.count() > wakes);
    wait.ready();

    let mut wait = wait_for_less(&handle);
    scope.set_deadline(clock.now() + 40 * SECOND);
    wait.ready();

    let mut wait = wait_for_less(&handle);
    let wakes = wait.wakes.count();
    handle.cancel();
    assert!(wait.wakes.count() > wakes);
    wait.ready();
    run.ready().unwrap_err();

    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    hand(task(scope.run(async {})).clock(clock.clone())).ready().unwrap();
    let mut late = hand(handle.tightened(None));
    late.pending();
}

#[test]
fn r11_a_region_shares_the_time_of_those_around_it_up_to_a_shield() {
    let clock = MockClock::new();
    let (outer, inner, kept) = (CancelScope::new(), CancelScope::new(), CancelScope::new());
    let body = async {
        let shielded = shield(async { kept.run(pending::<()>()).await });
        let _ = futures::join!(inner.run(pending::<()>()), shielded);
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    let (inside, behind) = (inner.handle(), kept.handle());
    let mut wait = wait_for_less(&inside);
    let mut sheltered = wait_for_less(&behind);
    let now = clock.now();
    outer.stop_within(3 * SECOND);
    wait.ready();
    sheltered.pending();
    assert_eq!((inside.deadline(), behind.deadline()), (Some(now + 3 * SECOND), None));
    assert!(inside.is_stop_requested() && behind.is_stop_requested(), "shields let a stop through");
    outer.set_deadline(now + 2 * SECOND);
    assert_eq!(inside.deadline(), Some(now + 2 * SECOND));
    kept.cancel();
    outer.cancel();
    run.drive().unwrap_err();
}

#[test]
fn r11_a_grace_of_the_region_itself_counts_as_less_time_once_it_runs() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(4 * SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    let mut wait = wait_for_less(&handle);
    scope.stop();
    wait.ready();
    assert_eq!(handle.deadline(), Some(clock.now() + 4 * SECOND));
}

#[test]
fn r13_a_look_for_a_stop_sees_what_the_wait_for_it_sees() {
    let log = Log::new();
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    assert!(!is_stop_requested(), "nothing is current");
    let body = outer.run(inner.run(async {
        assert!(!is_stop_requested());
        outer.stop();
        assert!(is_stop_requested() && inner.handle().is_stop_requested());
        let stack = ExitStack::new();
        let seen = log.clone();
        stack.defer(async move { seen.add(format!("in an exit: {}", is_stop_requested())) });
        stack.run(async { Ok::<_, ()>(()) }).await.unwrap();
    }));
    hand(body).drive().unwrap().unwrap();
    log.is(&["in an exit: false"]);
}
