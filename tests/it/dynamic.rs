//! Regions that live in structs: entered by a call, left by a call, handed over by two (R1, R2, R4).

use crate::support::{
    Gate, Log, Reports, as_owner, as_thief, hand, is_rejection, lose, me, panic_text, poll_once,
    yield_now,
};
use moored::testing::MockClock;
use moored::{
    CancelHandle, CancelScope, EnteredScope, ExitStack, Misuse, ReasonKind, Rejected, task,
};
use std::future::pending;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r01_enter_records_the_owner_and_new_does_not() {
    as_owner(async {
        let scope = as_thief(async { CancelScope::new().named("session") }).await;
        let entered = scope.enter().unwrap();
        assert_eq!(entered.owner(), Some(me()));
        entered.exit().unwrap();
    });
    let entered = CancelScope::new().enter().unwrap();
    assert_eq!(entered.owner(), None, "nothing is known here");
    entered.exit().unwrap();
}

#[test]
fn r01_enter_does_not_become_current() {
    as_owner(async {
        let first = CancelScope::new().enter().unwrap();
        let second = CancelScope::new().enter().unwrap();
        first.handle().cancel();
        assert!(!moored::is_cancelled(), "the body is not inside an entered scope");
        assert!(!second.handle().is_cancelled(), "two entered scopes are siblings");
        assert_eq!(second.run(async { 2 }).await.unwrap(), 2);
        // The older scope is left first, which two nested runs cannot do.
        assert_eq!(first.exit().unwrap().reason().unwrap().kind(), ReasonKind::Requested);
        assert_eq!(second.run(async { 3 }).await.unwrap(), 3);
        assert!(second.exit().unwrap().reason().is_none());
    });
}

#[test]
fn r01_an_entered_scope_is_current_inside_its_runs() {
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let seen = entered.run(async {
            entered.handle().cancel();
            moored::is_cancelled()
        });
        assert!(seen.await.unwrap());
        entered.exit().unwrap();
    });
}

#[test]
fn r01_a_scope_that_was_run_cannot_be_entered_and_is_handed_back() {
    as_owner(async {
        let scope = CancelScope::new().named("once");
        scope.run(async {}).await.unwrap();
        let error = scope.enter().unwrap_err();
        assert!(matches!(error.error(), Misuse::EnteredTwice { .. }), "{error}");
        assert_eq!(error.to_string().matches("dynamic.rs").count(), 2, "{error}");
        assert!(!error.into_inner().is_cancelled());
    });
}

#[test]
fn r01_an_entered_scope_is_sendable_and_storable() {
    struct Session {
        scope: EnteredScope,
        handle: CancelHandle,
    }
    fn takes<T: Send + 'static>(value: T) -> T {
        value
    }
    as_owner(async {
        let scope = CancelScope::new().enter().unwrap();
        let session = takes(Session { handle: scope.handle(), scope });
        session.handle.cancel_because("the struct asks");
        let left = session.scope.exit().unwrap();
        assert_eq!(left.reason().unwrap().message(), Some("the struct asks"));
    });
}

// Running.

#[test]
fn r06_many_runs_one_after_the_other_and_side_by_side() {
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        for n in 0..3 {
            assert_eq!(entered.run(async move { n }).await.unwrap(), n);
        }
        let gate = Gate::new();
        let first = entered.run(async {
            gate.wait().await;
            1
        });
        let second = entered.run(async {
            gate.open();
            2
        });
        let (first, second) = futures::future::join(first, second).await;
        assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        entered.exit().unwrap();
    });
}

#[test]
fn r06_cancelling_an_entered_scope_ends_every_run_in_it_and_later_ones_run_to_their_first_await() {
    let log = Log::new();
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let handle = entered.handle();
        let (one, two, ()) = futures::future::join3(
            entered.run(pending::<()>()),
            entered.run(pending::<()>()),
            async {
                yield_now().await;
                handle.cancel_because("over");
            },
        )
        .await;
        for cancelled in [one.unwrap_err(), two.unwrap_err()] {
            assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
            assert_eq!(cancelled.reason().message(), Some("over"));
        }
        let late = entered.run(async {
            log.add("polled once");
            pending::<()>().await;
        });
        assert_eq!(late.await.unwrap_err().reason().message(), Some("over"));
        assert_eq!(entered.run(async { "ready at once" }).await.unwrap(), "ready at once");
        entered.exit().unwrap();
    });
    log.is(&["polled once"]);
}

#[test]
fn r09_an_outer_cancellation_ends_a_run_in_an_entered_scope_by_dropping_it() {
    let log = Log::new();
    as_owner(async {
        let outer = CancelScope::new();
        let handle = outer.handle();
        let body = async {
            let entered = CancelScope::new().enter().unwrap();
            let told = entered.handle();
            let run = entered.run(async {
                handle.cancel();
                assert_eq!(told.reason().unwrap().kind(), ReasonKind::Parent);
                pending::<()>().await
            });
            let _ = run.await;
            log.add("resumed");
        };
        assert!(outer.run(body).await.is_err());
    });
    log.is(&[]);
}

#[test]
fn r08_exits_abandoned_in_an_entered_scope_run_before_its_run_returns() {
    let log = Log::new();
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let handle = entered.handle();
        let stack = ExitStack::new();
        let run = entered.run(async {
            stack.defer(log.entry("exit"));
            lose(stack.run(pending::<Result<(), ()>>())).await;
            handle.cancel();
            pending::<()>().await
        });
        assert!(run.await.is_err());
        log.add("run returned");
        entered.exit().unwrap();
    });
    log.is(&["exit", "run returned"]);
}

#[test]
fn r08_exits_of_a_run_that_is_dropped_go_to_the_region_around_the_entered_scope() {
    let log = Log::new();
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let stack = ExitStack::new();
        lose(entered.run(async {
            stack.defer(log.entry("exit"));
            let _ = stack.run(pending::<Result<(), ()>>()).await;
        }))
        .await;
        yield_now().await;
        log.add("went on");
        entered.exit().unwrap();
    });
    log.is(&["exit", "went on"]);
}

// Leaving.

#[test]
fn r02_exit_from_another_task_is_rejected_and_hands_the_scope_back() {
    as_owner(async {
        let entered = CancelScope::new().named("session").enter().unwrap();
        let handle = entered.handle();
        let rejected = as_thief(async { entered.exit().unwrap_err() }).await;
        is_rejection(rejected.error(), "exit", "cancel scope `session`");
        let entered = rejected.into_inner();
        assert_eq!(entered.owner(), Some(me()), "nothing has changed");
        assert!(!handle.is_cancelled());
        assert_eq!(entered.run(async { 1 }).await.unwrap(), 1);
        entered.exit().unwrap();
    });
}

#[test]
fn r02_an_entered_scope_dropped_by_another_task_is_reported_once() {
    let reports = Reports::watch();
    as_owner(async {
        let entered = CancelScope::new().named("carried-off").enter().unwrap();
        as_thief(async move { drop(entered) }).await;
    });
    let lines = reports.of("carried-off");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("(thief) dropped cancel scope `carried-off`"), "{lines:?}");
}

#[test]
fn r02_an_entered_scope_dropped_at_home_is_left_without_a_report() {
    let reports = Reports::watch();
    as_owner(async {
        let entered = CancelScope::new().named("dropped-at-home").enter().unwrap();
        let handle = entered.handle();
        drop(entered);
        handle.cancel();
        assert!(!handle.is_cancelled(), "a region that was left acts on nobody");
    });
    assert!(reports.of("dropped-at-home").is_empty());
}

#[test]
fn r02_a_leaked_run_does_not_keep_an_entered_scope_from_being_left() {
    let reports = Reports::watch();
    as_owner(async {
        let entered = CancelScope::new().named("leaky").enter().unwrap();
        let told = {
            let (sender, receiver) = std::sync::mpsc::channel();
            let mut run = Box::pin(entered.run(async move {
                moored::cancelled().await;
                sender.send("told").unwrap();
                pending::<()>().await
            }));
            assert!(poll_once(&mut run).await.is_pending());
            std::mem::forget(run);
            receiver
        };
        let handle = entered.handle();
        assert!(entered.exit().unwrap().reason().is_none());
        assert!(told.try_recv().is_err(), "nobody polls what was leaked");
        handle.cancel();
        assert!(!handle.is_cancelled());
    });
    assert_eq!(reports.of("leaky").len(), 1);
}

#[test]
fn r02_the_stack_checks_the_task_before_it_looks_whether_it_was_left() {
    as_owner(async {
        let stack = ExitStack::new().named("done");
        stack.run(async { Ok::<_, ()>(()) }).await.unwrap();
        let (defer, pop_all, stack) = as_thief(async {
            let defer = stack.try_defer(async {}).unwrap_err();
            let pop_all = panic_text(|| stack.pop_all());
            let release = stack.release().unwrap_err();
            is_rejection(release.error(), "release", "exit stack `done`");
            (defer, pop_all, release.into_inner())
        })
        .await;
        is_rejection(defer.error(), "defer", "exit stack `done`");
        assert!(pop_all.contains("may not pop_all exit stack `done`"), "{pop_all}");
        // The owner gets the other error: the stack was left.
        let left = panic_text(|| stack.pop_all());
        assert!(left.contains("cannot pop_all exit stack `done`"), "{left}");
        let left: Rejected<ExitStack> = stack.release().unwrap_err();
        assert!(matches!(left.error(), Misuse::Left { operation: "release", .. }), "{left}");
        let left = left.into_inner().close().await.unwrap_err();
        assert!(matches!(left.rejected(), Some(Misuse::Left { operation: "close", .. })), "{left}");
    });
}

// Taking everything out.

#[test]
fn r02_pop_all_from_another_task_panics_and_changes_nothing() {
    as_owner(async {
        let stack = ExitStack::new().named("full");
        stack.defer(async {});
        let text = as_thief(async { panic_text(|| stack.pop_all()) }).await;
        assert!(text.contains("(thief) may not pop_all exit stack `full`"), "{text}");
        assert_eq!(stack.len(), 1);
        stack.close().await.unwrap();
    });
}

// Memory of runs that were left.

#[test]
fn r19_a_long_lived_entered_scope_does_not_grow_with_its_runs() {
    let before = moored::testing::live_regions();
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let inside = moored::testing::live_regions();
        for _ in 0..5_000 {
            entered.run(yield_now()).await.unwrap();
        }
        assert_eq!(moored::testing::live_regions(), inside);
        entered.exit().unwrap();
    });
    assert_eq!(moored::testing::live_regions(), before);
}

#[test]
fn r02_a_run_of_an_entered_scope_from_another_task_is_cancelled_and_its_body_not_started() {
    let log = Log::new();
    as_owner(async {
        let entered = CancelScope::new().named("session").enter().unwrap();
        let cancelled =
            as_thief(entered.run(log.entry("started"))).await.expect_err("another task's scope");
        assert_eq!(cancelled.reason().kind(), ReasonKind::WrongTask);
        let wrong = cancelled.reason().wrong_task().unwrap();
        assert_eq!(wrong.region, "cancel scope `session`");
        assert_eq!(wrong.current.name(), Some("thief"));
        assert!(!entered.handle().is_cancelled(), "the scope itself is as it was");
        assert_eq!(entered.run(async { 1 }).await.unwrap(), 1);
        entered.exit().unwrap();
    });
    log.is(&[]);
}

#[test]
fn r12_an_entered_shielded_scope_holds_against_a_cancellation_from_outside() {
    let log = Log::new();
    let gate = Gate::new();
    let outer = CancelScope::new();
    let body = async {
        let entered = CancelScope::new().shielded().enter().unwrap();
        let run = entered.run(async {
            gate.wait().await;
            log.add("the shielded body went on");
        });
        let _ = run.await;
        let _ = entered.exit();
        pending::<()>().await
    };
    let mut run = hand(outer.run(body));
    run.pending();
    outer.cancel();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["the shielded body went on"]);
}

#[test]
fn r14_exits_that_were_popped_keep_the_bound_of_their_stack() {
    let clock = MockClock::new();
    let body = async {
        let stack = ExitStack::new().grace(SECOND);
        stack.defer(pending::<()>());
        let kept = stack.pop_all();
        stack.close().await.unwrap();
        kept.close().await.unwrap_err()
    };
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    let failed = run.drive_with(&clock);
    assert!(failed.to_string().contains("did not end within its grace of 1s"), "{failed}");
}

#[test]
fn r09_a_run_that_is_polled_first_after_the_shield_of_its_scope_gave_way_waits_for_the_outer_scope()
{
    let clock = MockClock::new();
    let (outer, gate) = (CancelScope::new(), Gate::new());
    let body = outer.run(async {
        let shield = CancelScope::new().shielded().grace(SECOND).enter().unwrap();
        let mut early = Box::pin(shield.run(pending::<()>()));
        let mut late = Box::pin(shield.run(pending::<()>()));
        assert!(poll_once(&mut early).await.is_pending());
        outer.cancel();
        // Holds the body while `early` sees the end of the grace, and both runs are cancelled.
        moored::shield(async {
            assert!(poll_once(&mut early).await.is_pending());
            clock.advance(SECOND);
            assert!(poll_once(&mut early).await.is_pending());
            shield.handle().cancel();
            assert!(poll_once(&mut early).await.is_pending(), "the outer scope is cancelled, too");
            assert!(poll_once(&mut late).await.is_pending(), "the outer scope is cancelled, too");
            gate.wait().await;
        })
        .await;
        pending::<()>().await
    });
    let mut run = hand(task(body).clock(clock.clone()));
    run.pending();
    gate.open();
    assert_eq!(run.drive().unwrap_err().reason().kind(), ReasonKind::Requested);
}

#[test]
fn r13_a_stop_with_a_grace_of_its_own_counts_where_nothing_runs_and_nobody_waits() {
    let clock = MockClock::new();
    hand(
        task(async {
            let entered = CancelScope::new().enter().unwrap();
            let handle = entered.handle();
            handle.stop_within(SECOND);
            assert!(!handle.is_cancelled());
            clock.advance(SECOND);
            assert!(handle.is_cancelled());
            assert!(entered.exit().unwrap().reason().is_some());
        })
        .clock(clock.clone()),
    )
    .ready();
}
