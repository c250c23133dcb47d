//! Of nested regions that are cancelled, the outermost catches (R9).

use crate::support::{Executor, Gate, Log, hand, poll_once, steps, yield_now};
use futures::StreamExt;
use futures::future::{Either, FutureExt, join, join_all, select};
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, ExitStack, ReasonKind, TaskGroup, fail_after, local, move_on_after, shield,
    task,
};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r09_of_two_cancelled_scopes_the_outer_one_catches_whichever_was_first() {
    for outer_first in [true, false] {
        let log = Log::new();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let mut run = hand(outer.run(async {
            let _ = inner.run(pending::<()>()).await;
            log.add("resumed");
        }));
        run.pending();
        if outer_first {
            outer.cancel_because("outer");
        }
        inner.cancel_because("inner");
        outer.cancel_because("outer");
        assert_eq!(run.ready().unwrap_err().reason().message(), Some("outer"));
        log.is(&[]);
    }
}

#[test]
fn r09_a_scope_that_was_cancelled_before_it_was_entered_yields_too() {
    let (outer, inner, log) = (CancelScope::new(), CancelScope::new(), Log::new());
    outer.cancel();
    inner.cancel();
    let mut run = hand(outer.run(async {
        let _ = inner.run(pending::<()>()).await;
        log.add("resumed");
    }));
    assert!(run.ready().is_err());
    log.is(&[]);
}

#[test]
fn r09_the_inner_scope_has_dropped_its_body_and_waits_to_be_dropped_while_a_shield_holds() {
    let (log, gate) = (Log::new(), Gate::new());
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let stack = ExitStack::new();
    let mut run = hand(outer.run(async {
        let arm = async {
            let body = stack.run(async {
                stack.defer(log.entry("exit"));
                pending::<Result<(), ()>>().await
            });
            let _ = inner.run(body).await;
            log.add("resumed");
        };
        join(shield(steps(&log, &gate)), arm).await;
    }));
    run.pending();
    inner.handle().cancel();
    outer.cancel();
    run.idle();
    log.is(&["first", "exit"]);
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["first", "exit", "second"]);
}

#[test]
fn r09_three_in_each_other_leave_it_to_the_outermost() {
    let scopes = [CancelScope::new(), CancelScope::new(), CancelScope::new()];
    let log = Log::new();
    let [outer, middle, inner] = &scopes;
    let mut run = hand(outer.run(async {
        let _ = middle
            .run(async {
                let _ = inner.run(pending::<()>()).await;
                log.add("inner resumed");
                pending::<()>().await;
            })
            .await;
        log.add("middle resumed");
        pending::<()>().await;
    }));
    run.pending();
    inner.cancel();
    middle.cancel();
    outer.cancel();
    assert!(run.ready().is_err());
    log.is(&[]);
}

#[test]
fn r09_a_scope_inside_a_shield_catches_its_own_whatever_is_cancelled_around_the_shield() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(outer.run(shield(async {
        inner.run(pending::<()>()).await.unwrap_err();
        "caught"
    })));
    run.pending();
    outer.cancel();
    run.pending();
    inner.cancel();
    assert_eq!(run.drive().unwrap(), "caught");
}

#[test]
fn r09_a_shield_that_gave_way_is_none_between_the_two() {
    let (clock, log) = (MockClock::new(), Log::new());
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(
        task(outer.run(async {
            let shielded = CancelScope::new().shielded().grace(SECOND);
            let _ = shielded
                .run(async {
                    let _ = inner.run(pending::<()>()).await;
                    log.add("resumed");
                })
                .await;
        }))
        .clock(clock.clone()),
    );
    run.pending();
    outer.cancel();
    run.idle();
    inner.handle().cancel();
    clock.advance(SECOND);
    assert!(run.drive().is_err());
    log.is(&[]);
}

#[test]
fn r09_a_body_that_ends_is_delivered_though_a_scope_in_it_waits_to_be_dropped() {
    let (outer, inner, gate) = (CancelScope::new(), CancelScope::new(), Gate::new());
    let mut run = hand(outer.run(async {
        let waits = pin!(inner.run(pending::<()>()));
        match select(waits, pin!(shield(gate.wait()))).await {
            Either::Left(_) => "resumed",
            Either::Right(_) => "the other arm",
        }
    }));
    run.pending();
    outer.cancel();
    inner.cancel();
    run.idle();
    gate.open();
    assert_eq!(run.drive().unwrap(), "the other arm");
}

#[test]
fn r09_what_was_lent_catches_its_own_when_the_outer_scope_has_left() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    hand(async {
        let mut lent = Box::pin(inner.run(pending::<()>()));
        let mut run = Box::pin(outer.run(async {
            let _ = (&mut lent).await;
            panic!("it is for the outer one to catch");
        }));
        assert!(poll_once(&mut run).await.is_pending());
        inner.cancel_because("inner");
        outer.cancel();
        assert!(run.await.is_err());
        assert_eq!(lent.await.unwrap_err().reason().message(), Some("inner"));
    })
    .drive();
}

#[test]
fn r09_what_was_lent_in_a_collection_is_woken_when_the_outer_scope_has_left() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(async {
        let mut lent = FuturesUnordered::new();
        lent.push(inner.run(pending::<()>()));
        let mut run = Box::pin(outer.run(async { lent.next().await.is_some() }));
        assert!(poll_once(&mut run).await.is_pending());
        inner.cancel();
        outer.cancel();
        assert!(run.await.is_err());
        lent.next().await.unwrap().is_err()
    });
    assert!(run.drive(), "it caught its own");
}

#[test]
fn r09_what_was_lent_with_many_regions_inside_is_woken_when_the_outer_scope_has_left() {
    let (outer, middle, inner) = (CancelScope::new(), CancelScope::new(), CancelScope::new());
    let mut lent = hand(inner.run(async {
        let inside: Vec<_> = (0..20).map(|_| CancelScope::new().enter().unwrap()).collect();
        let waits = inside.iter().map(|scope| scope.handle().cancelled());
        let waits: Vec<_> = waits.map(|wait| wait.then(|()| pending::<()>())).collect();
        join_all(waits).await;
    }));
    let (before, wakes) = (Cell::new(0), Arc::clone(&lent.wakes));
    let mut run = hand(outer.run(async {
        let lends = middle.run(async {
            lent.pending();
            // Its request tells all the regions inside; then the scope around it is left.
            inner.cancel_because("inner");
        });
        lends.await.unwrap();
        yield_now().await;
        lent.pending();
        before.set(wakes.count());
        pending::<()>().await;
    }));
    run.pending();
    outer.cancel();
    assert!(run.ready().is_err());
    drop(run);
    assert!(wakes.count() > before.get(), "nobody woke it");
    assert_eq!(lent.ready().unwrap_err().reason().message(), Some("inner"));
}

// Groups.

#[test]
fn r09_a_group_leaves_it_to_the_scope_around() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let arm = async {
            let body = async {
                group.spawn(async {
                    let _gone = log.on_drop("child");
                    pending::<Result<(), ()>>().await
                });
                pending::<Result<(), ()>>().await
            };
            let _ = group.run(body).await;
            log.add("resumed");
        };
        join(arm, shield(gate.wait())).await;
    }));
    run.pending();
    group.cancel();
    outer.cancel();
    run.idle();
    log.is(&["child"]);
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["child"]);
}

#[test]
fn r09_a_local_group_leaves_it_to_the_scope_around() {
    let (log, outer) = (Log::new(), CancelScope::new());
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let mut run = hand(outer.run(async {
        let _ = group.run(pending::<Result<(), ()>>()).await;
        log.add("resumed");
    }));
    run.pending();
    group.cancel();
    outer.cancel();
    assert!(run.drive().is_err());
    log.is(&[]);
}

#[test]
fn r09_r15_a_group_that_has_failed_tells_so_in_a_cancelled_scope() {
    let (outer, gate, shielded) = (CancelScope::new(), Gate::new(), Gate::new());
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let failing = async {
            gate.wait().await;
            Err::<(), _>("real")
        };
        let body = async {
            group.spawn(failing);
            pending::<Result<(), &str>>().await
        };
        join(group.run(body), shield(shielded.wait())).await.0
    }));
    run.pending();
    gate.open();
    outer.cancel();
    run.idle();
    shielded.open();
    let failure = run.drive().expect("the body ends with it").unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "real", .. }));
}

#[test]
fn r09_a_child_ends_for_its_group_whatever_is_cancelled_around_that() {
    let (outer, executor) = (CancelScope::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(group.run(async {
        let inside = group.spawn(pending::<Result<(), ()>>());
        let posted = group.spawn_on(&executor, pending::<Result<(), ()>>());
        yield_now().await;
        inside.cancel();
        posted.cancel();
        pending::<Result<(), ()>>().await
    })));
    run.pending();
    executor.run();
    outer.cancel();
    while run.poll().is_pending() {
        executor.run();
    }
    assert_eq!(executor.len(), 0);
}

#[test]
fn r09_a_scope_in_a_child_leaves_it_to_the_group() {
    let (log, executor) = (Log::new(), Executor::new());
    let scopes = [CancelScope::new(), CancelScope::new()];
    let handles = scopes.each_ref().map(CancelScope::handle);
    let [first, second] = scopes;
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        group.spawn({
            let log = log.clone();
            async move {
                let _ = first.run(pending::<()>()).await;
                log.add("resumed");
                Ok(())
            }
        });
        let log = log.clone();
        group.spawn_on(&executor, async move {
            let _ = second.run(pending::<()>()).await;
            log.add("resumed");
            Ok(())
        });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    executor.run();
    handles.iter().for_each(|handle| handle.cancel());
    group.cancel();
    while run.poll().is_pending() {
        executor.run();
    }
    log.is(&[]);
}

// Entered scopes.

#[test]
fn r09_a_run_in_an_entered_scope_leaves_it_to_what_is_around_the_scope() {
    let (log, outer) = (Log::new(), CancelScope::new());
    let mut run = hand(outer.run(async {
        let entered = CancelScope::new().enter().unwrap();
        let handle = entered.handle();
        let cancels = async {
            yield_now().await;
            handle.cancel();
            outer.cancel();
        };
        join(cancels, async {
            let _ = entered.run(pending::<()>()).await;
            log.add("resumed");
        })
        .await;
    }));
    assert!(run.drive().is_err());
    log.is(&[]);
}

#[test]
fn r09_a_scope_in_a_run_of_an_entered_scope_leaves_it_to_that_one() {
    let log = Log::new();
    let mut run = hand(async {
        let (entered, inner) = (CancelScope::new().enter().unwrap(), CancelScope::new());
        let body = async {
            inner.cancel();
            entered.handle().cancel_because("entered");
            let _ = inner.run(pending::<()>()).await;
            log.add("resumed");
        };
        let cancelled = entered.run(body).await.unwrap_err();
        assert_eq!(cancelled.reason().message(), Some("entered"));
        // The entered scope is still cancelled, but it is not around a region that runs outside
        // it.
        CancelScope::new().timeout(Duration::ZERO).run(pending::<()>()).await.unwrap_err();
    });
    run.drive();
    log.is(&[]);
}

#[test]
fn r09_what_was_lent_to_a_run_of_an_entered_scope_that_is_cancelled_catches_its_own() {
    let inner = CancelScope::new();
    let mut run = hand(async {
        let entered = CancelScope::new().enter().unwrap();
        let mut lent = Box::pin(inner.run(pending::<()>()));
        entered.run(async { assert!(poll_once(&mut lent).await.is_pending()) }).await.unwrap();
        entered.handle().cancel();
        inner.cancel();
        let caught = lent.await.is_err();
        entered.exit().unwrap();
        caught
    });
    assert!(run.drive());
}

// Nothing is masked.

#[test]
fn r09_r15_an_exit_that_panics_in_a_scope_that_waits_to_be_dropped_is_told() {
    let (outer, inner, gate) = (CancelScope::new(), CancelScope::new(), Gate::new());
    let stack = ExitStack::new();
    let mut run = hand(outer.run(async {
        let body = stack.run(async {
            stack.defer(async { crate::support::boom("in an exit") });
            pending::<Result<(), ()>>().await
        });
        join(inner.run(body), shield(gate.wait())).await.0.map(drop).map_err(drop)
    }));
    run.pending();
    inner.cancel();
    outer.cancel();
    assert_eq!(crate::support::panic_text(|| run.drive()), "in an exit");
}

#[test]
fn r09_r15_an_exit_that_fails_in_a_scope_that_waits_to_be_dropped_is_told_by_the_outer_one() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let stack = ExitStack::new();
    let mut run = hand(outer.run(async {
        let body = stack.run(async {
            stack.defer(async { Err::<(), _>("rollback failed") });
            pending::<Result<(), ()>>().await
        });
        let _ = inner.run(body).await;
    }));
    run.pending();
    inner.cancel();
    outer.cancel();
    let cancelled = run.drive().unwrap_err();
    let told: Vec<_> = cancelled.failures().iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("rollback failed"), "{told:?}");
}

#[test]
fn r09_a_timeout_in_a_cancelled_scope_is_not_told() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let outer = CancelScope::new();
    let body = async {
        let arm = async {
            let _ = fail_after(SECOND, pending::<()>()).await;
            log.add("resumed");
        };
        let inside: [Pin<Box<dyn Future<Output = ()>>>; 2] =
            [Box::pin(arm), Box::pin(shield(gate.wait()))];
        futures::future::join_all(inside).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    run.idle();
    clock.advance(2 * SECOND);
    run.idle();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&[]);
}

#[test]
fn r09_the_outer_scope_catches_where_an_exit_that_the_inner_one_runs_last_cancels_it() {
    let (clock, log) = (MockClock::new(), Log::new());
    let outer = CancelScope::new();
    let stack = ExitStack::new();
    let abandons = stack.run(async {
        let handle = outer.handle();
        stack.defer(async move { handle.cancel() });
        pending::<Result<(), Infallible>>().await
    });
    let body = async {
        let _ = move_on_after(SECOND, abandons).await;
        log.add("ran in a cancelled scope");
        pending::<()>().await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.drive().unwrap_err().reason().kind(), ReasonKind::Requested);
    log.is(&[]);
}
