//! A cancelled region waits for a shield inside it, and only while the shield is polled (R12).

use crate::support::{Executor, Gate, Log, hand, lose, poll_once, steps, yield_now};
use futures::future::{Either, join, select};
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, ReasonKind, TaskGroup, fail_after, shield, task};
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r12_a_body_that_is_ready_after_its_shield_is_delivered() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        shield(gate.wait()).await;
        "done"
    }));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    assert_eq!(run.ready().unwrap(), "done");
}

#[test]
fn r12_a_shield_first_polled_under_cancellation_holds_too() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    scope.cancel();
    let mut run = hand(scope.run(async {
        shield(gate.wait()).await;
        "done"
    }));
    run.pending();
    gate.open();
    assert_eq!(run.ready().unwrap(), "done");
}

#[test]
fn r12_a_shielded_scope_does_the_same_and_reports_nothing_cancelled_inside() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let inner = CancelScope::new().shielded();
        let inside = inner.run(async {
            steps(&log, &gate).await;
            assert!(!moored::is_cancelled(), "the shield keeps it out");
            moored::checkpoint().await;
            7
        });
        let value = inside.await.unwrap();
        assert!(moored::is_cancelled(), "outside the shield it is seen");
        value
    }));
    run.pending();
    outer.cancel();
    run.pending();
    gate.open();
    assert_eq!(run.drive().unwrap(), 7);
    log.is(&["first", "second"]);
}

#[test]
fn r12_a_shield_protects_from_outside_only() {
    let scope = CancelScope::new().shielded();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    scope.cancel();
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Requested);

    let clock = MockClock::new();
    let scope = CancelScope::new().shielded().timeout(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Deadline);
}

#[test]
fn r12_a_scope_inside_a_shield_is_cancelled_as_ever() {
    let clock = MockClock::new();
    let outer = CancelScope::new();
    let cancel = outer.handle();
    let body = async {
        cancel.cancel();
        shield(fail_after(SECOND, pending::<()>())).await.unwrap_err();
        "bounded from inside"
    };
    let mut run = moored::testing::hand(task(outer.run(body)).clock(clock.clone()));
    assert_eq!(run.drive_with(&clock).unwrap(), "bounded from inside");
}

#[test]
fn r12_two_cancellations_further_out_wait_as_well() {
    let (log, gate) = (Log::new(), Gate::new());
    let (outer, middle) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(outer.run(async {
        let _ = middle.run(shield(steps(&log, &gate))).await;
        log.add("between");
        pending::<()>().await;
    }));
    run.pending();
    outer.cancel();
    run.pending();
    middle.cancel();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    assert_eq!(log.lines()[..2], ["first", "second"]);
}

// Inside each kind of combinator.

#[test]
fn r12_a_shield_in_a_join_arm_holds_both_arms() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let other = async {
        loop {
            log.add("other");
            yield_now().await;
        }
    };
    let mut run = hand(scope.run(async {
        join(other, shield(gate.wait())).await;
    }));
    run.pending();
    scope.cancel();
    run.pending();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    assert!(log.lines().len() >= 3, "the other arm is in the same body, and is polled with it");
}

#[test]
fn r12_an_arm_whose_shield_is_over_does_not_drop_the_other_shield() {
    let (log, one, two) = (Log::new(), Gate::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        join(shield(steps(&log, &one)), shield(steps(&log, &two))).await;
    }));
    run.pending();
    scope.cancel();
    run.pending();
    one.open();
    run.pending();
    two.open();
    assert_eq!(run.drive().map_err(drop), Ok(()));
    log.is(&["first", "first", "second", "second"]);
}

#[test]
fn r12_a_shield_in_an_in_task_child_holds_its_group_and_what_is_around() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(scope.run(group.run(async {
        group.spawn(async {
            shield(steps(&log, &gate)).await;
            Ok(())
        });
        pending::<Result<(), ()>>().await
    })));
    run.pending();
    scope.cancel();
    run.pending();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["first", "second"]);
}

#[test]
fn r12_a_shield_in_an_executor_child_of_a_cancelled_group_ends() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let (log, gate) = (log.clone(), gate.clone());
        group.spawn_on(&executor, async move {
            shield(steps(&log, &gate)).await;
            Ok(())
        });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    executor.run();
    group.cancel();
    executor.run();
    run.pending();
    gate.open();
    executor.run();
    assert!(run.drive().is_err());
    log.is(&["first", "second"]);
}

#[test]
fn r12_the_siblings_of_a_shielded_child_are_dropped_at_once() {
    let (log, gate) = (Log::new(), Gate::new());
    let sibling = ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        group.spawn(async {
            shield(gate.wait()).await;
            Ok(())
        });
        group.spawn(async {
            sibling
                .run(async {
                    sibling.defer(log.entry("sibling's exit"));
                    pending::<Result<(), ()>>().await
                })
                .await
                .map_err(drop)
        });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    group.cancel();
    run.pending();
    run.pending();
    log.is(&["sibling's exit"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_that_select_drops_loses_its_shield() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        lose(shield(steps(&log, &gate))).await;
        pending::<()>().await;
    }));
    run.pending();
    scope.cancel();
    assert!(run.ready().is_err(), "nothing holds it up");
    log.is(&["first"]);
}

#[test]
fn r12_a_shield_that_is_no_longer_polled_loses_its_shield() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let scope = CancelScope::new();
    let body = async {
        let mut left_behind = pin!(shield(steps(&log, &gate)));
        assert!(poll_once(&mut left_behind).await.is_pending());
        pending::<()>().await;
    };
    let mut run = moored::testing::hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    assert!(run.drive_with(&clock).is_err(), "what nobody polls holds nothing up for long");
    log.is(&["first"]);
}

#[test]
fn r12_a_shield_lent_to_a_timed_scope_survives_it() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let mut lent = Box::pin(shield(steps(&log, &gate)));
    let scope = CancelScope::new();
    let body = async {
        let mut inside = Box::pin(scope.run(async {
            match select(&mut lent, pin!(yield_now())).await {
                Either::Left(_) => panic!("it waits"),
                Either::Right(_) => pending::<()>().await,
            }
        }));
        assert!(poll_once(&mut inside).await.is_pending());
        assert!(poll_once(&mut inside).await.is_pending());
        scope.cancel();
        assert!(inside.await.is_err(), "it is not polled any more, so it holds nothing up");
        gate.open();
        lent.await;
    };
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    log.is(&["first", "second"]);
}

#[test]
fn r12_exits_that_run_inside_a_shielded_scope_hold_it() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let stack = ExitStack::new();
    let mut run = hand(outer.run(async {
        let shielded = CancelScope::new().shielded();
        let run = shielded.run(stack.run(async {
            stack.defer(steps(&log, &gate));
            Ok::<_, ()>(())
        }));
        run.await.unwrap().unwrap();
        log.add("after");
    }));
    run.pending();
    outer.cancel();
    run.pending();
    gate.open();
    assert_eq!(run.drive().map_err(drop), Ok(()));
    log.is(&["first", "second", "after"]);
}

#[test]
fn r12_the_place_of_a_shield_does_not_matter_for_who_asks() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let (gate, log) = (Gate::new(), Log::new());
    let mut run = hand(scope.run(async {
        shield(async {
            handle.cancel();
            assert!(handle.is_cancelled());
            gate.wait().await;
            log.add("ended");
        })
        .await;
    }));
    run.pending();
    run.pending();
    gate.open();
    assert_eq!(run.drive().map_err(drop), Ok(()), "it was cancelled from inside its own shield");
    log.is(&["ended"]);
}

#[test]
fn r12_current_deadline_does_not_look_through_a_shield() {
    let clock = MockClock::new();
    let body = CancelScope::new();
    let scope = CancelScope::new().timeout(SECOND);
    let seen = scope.run(async {
        assert!(moored::current_deadline().is_some());
        shield(async { moored::current_deadline() }).await
    });
    let mut run = hand(task(body.run(seen)).clock(clock.clone()));
    assert_eq!(run.drive().unwrap().unwrap(), None);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r12_a_panic_inside_a_shield_goes_on_outside() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        shield(async {
            moored::checkpoint().await;
            crate::support::boom("inside");
        })
        .await;
    }));
    run.pending();
    scope.cancel();
    assert_eq!(crate::support::panic_text(|| run.drive()), "inside");
}

#[test]
fn r12_a_shield_in_a_child_of_a_cancelled_group_ends() {
    let (log, gate) = (Log::new(), Gate::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        group.spawn(async {
            shield(steps(&log, &gate)).await;
            log.add("child went on");
            yield_now().await;
            log.add("never");
            Ok(())
        });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    group.cancel();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["first", "second", "child went on"]);
}

#[test]
fn r12_a_shielded_future_ends_and_then_the_body_is_dropped_at_its_next_await() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        shield(steps(&log, &gate)).await;
        log.add("after");
        yield_now().await;
        log.add("never");
    }));
    run.pending();
    scope.cancel();
    run.pending();
    run.pending();
    gate.open();
    assert!(run.ready().is_err(), "the outer body is dropped in the same poll");
    log.is(&["first", "second", "after"]);
}
