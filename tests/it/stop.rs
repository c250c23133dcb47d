//! Two phases: a region is asked to wind down, and cancelled only when its grace is over (R13).

use crate::support::{Executor, Gate, Log, hand, poll_once, yield_now};
use futures::future::{Either, join, select};
use moored::testing::MockClock;
use moored::{
    CancelScope, ChildError, ExitStack, Leaving, ReasonKind, TaskGroup, local, shield,
    stop_requested, task,
};
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Whether the region that runs now was asked to wind down, as a flag.
async fn stopping() -> bool {
    poll_once(&mut Box::pin(stop_requested())).await.is_ready()
}

#[test]
fn r13_stop_is_a_flag_and_a_future_and_cancels_nothing() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        assert!(!stopping().await);
        stop_requested().await;
        log.add("asked");
        assert!(stopping().await && !moored::is_cancelled());
        yield_now().await;
        log.add("wound down");
        7
    }));
    run.pending();
    let wakes = run.wakes.count();
    scope.stop();
    assert_eq!(run.wakes.count(), wakes + 1, "who waits is woken");
    assert!(!scope.is_cancelled());
    assert_eq!(run.drive().unwrap(), 7);
    log.is(&["asked", "wound down"]);
}

#[test]
fn r13_a_stop_before_the_entry_is_seen() {
    let scope = CancelScope::new();
    scope.stop();
    assert!(hand(scope.run(stopping())).drive().unwrap());
}

#[test]
fn r13_a_second_stop_changes_nothing() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(async {
        stop_requested().await;
        pending::<()>().await
    }));
    run.pending();
    handle.stop();
    run.pending();
    let wakes = run.wakes.count();
    handle.stop();
    assert_eq!(run.wakes.count(), wakes);
    scope.cancel();
    assert!(run.drive().is_err());
}

#[test]
fn r13_a_stop_after_the_end_acts_on_nobody() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let stop = inner.handle();
    let seen = outer.run(async {
        inner.run(async {}).await.unwrap();
        stop.stop();
        stopping().await
    });
    assert!(!hand(seen).drive().unwrap());
}

#[test]
fn r13_stop_is_inherited_inwards_and_not_outwards() {
    let (outer, middle, inner) = (CancelScope::new(), CancelScope::new(), CancelScope::new());
    let stop = middle.handle();
    let body = outer.run(async {
        let told = middle.run(async {
            let inside = inner.run(async {
                stop.stop();
                stop_requested().await;
                stopping().await
            });
            (inside.await.unwrap(), stopping().await)
        });
        (told.await.unwrap(), stopping().await)
    });
    assert_eq!(hand(body).drive().unwrap(), ((true, true), false));
}

#[test]
fn r13_a_stop_of_one_arm_leaves_the_other_alone() {
    let (left, right) = (CancelScope::new(), CancelScope::new());
    let stop = left.handle();
    let both = join(
        left.run(async {
            stop.stop();
            stop_requested().await;
        }),
        right.run(async {
            yield_now().await;
            stopping().await
        }),
    );
    let (one, two) = hand(both).drive();
    assert!(one.is_ok() && !two.unwrap());
}

#[test]
fn r13_stop_goes_through_shields() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(shield(async {
        let shielded = CancelScope::new().shielded();
        let inside = shielded.run(async {
            stop_requested().await;
            log.add("asked behind two shields");
        });
        inside.await.unwrap();
    })));
    run.pending();
    scope.stop();
    run.drive().unwrap();
    log.is(&["asked behind two shields"]);
}

#[test]
fn r13_stop_reaches_children_their_children_and_scopes_inside_them() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let spawner = group.spawner();
    let mut run = hand(group.run(async {
        let (log, inner) = (log.clone(), spawner.clone());
        group.spawn(async move {
            let grandchild = log.clone();
            let _ = inner.spawn(async move {
                stop_requested().await;
                grandchild.add("grandchild");
                Ok(())
            });
            let scope = CancelScope::new();
            scope.run(stop_requested()).await.unwrap();
            log.add("child");
            Ok(())
        });
        Ok(())
    }));
    run.pending();
    group.stop();
    run.drive().unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["child", "grandchild"]);
}

#[test]
fn r13_a_child_spawned_into_a_stopped_group_is_told() {
    let (seen, executor) = (Arc::new(Mutex::new(Vec::new())), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        group.stop();
        let (one, two) = (seen.clone(), seen.clone());
        group.spawn(async move {
            let told = stopping().await;
            one.lock().unwrap().push(told);
            Ok(())
        });
        group.spawn_on(&executor, async move {
            let told = stopping().await;
            two.lock().unwrap().push(told);
            Ok(())
        });
        Ok(())
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, true]);
}

/// A child that looks for a stop in its first poll, in its second one, and there in a scope.
async fn looks(seen: Arc<Mutex<Vec<bool>>>) -> Result<(), ()> {
    let first = stopping().await;
    yield_now().await;
    let second = stopping().await;
    let inside = CancelScope::new().run(stopping()).await.unwrap();
    seen.lock().unwrap().extend([first, second, inside]);
    Ok(())
}

#[test]
fn r13_a_child_of_any_kind_that_is_spawned_after_a_stop_around_its_group_sees_it() {
    let (executor, seen) = (Executor::new(), Arc::default());
    let looks = || looks(Arc::clone(&seen));
    let outer = CancelScope::new();
    let (group, in_here) = (TaskGroup::<()>::new(), local::TaskGroup::<()>::new());
    let spawner = group.spawner();
    let spawns = async {
        yield_now().await;
        let kept = group.spawn(looks());
        drop(group.spawn(looks()));
        drop(group.spawn_named("named", looks()));
        group.spawn_detached(looks());
        drop(group.spawn_on(&executor, looks()));
        group.spawn_detached_on(&executor, looks());
        drop(spawner.spawn(looks()).unwrap());
        drop(spawner.spawn_on(&executor, looks()).unwrap());
        drop(spawner.spawn_named_on("named", &executor, looks()).unwrap());
        drop(in_here.spawn(looks()));
        drop(in_here.spawn_named("named", looks()));
        in_here.spawn_detached(looks());
        kept.join().await.map_err(drop)
    };
    let locals = async { in_here.run(spawns).await.map_err(drop) };
    let mut run = hand(outer.run(group.run(locals)));
    run.pending();
    outer.stop();
    while run.poll().is_pending() {
        executor.run();
        assert!(run.wakes.count() < 100, "it does not end");
    }
    assert_eq!(*seen.lock().unwrap(), [true; 12 * 3]);
}

#[test]
fn r13_executor_children_of_a_group_that_was_stopped_and_dropped_see_the_stop() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let group = TaskGroup::<()>::new();
    let looks = |from_then_on: Gate| {
        let seen = Arc::clone(&seen);
        async move {
            shield(async {
                from_then_on.wait().await;
                let told = stopping().await;
                seen.lock().unwrap().push(told);
            })
            .await;
            Ok(())
        }
    };
    let body = async {
        let mut run = Box::pin(group.run(pending::<Result<(), ()>>()));
        assert!(poll_once(&mut run).await.is_pending());
        group.spawn_detached_on(&executor, looks(gate.clone()));
        executor.run();
        group.stop();
        group.spawn_detached_on(&executor, looks(gate.clone()));
        drop(run);
        // Only now the second one starts.
        executor.run();
        gate.open();
        executor.run();
    };
    hand(CancelScope::new().run(body)).drive().unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, true]);
}

#[test]
fn r13_nothing_of_moored_current_means_never_stopped() {
    let mut waits = hand(stop_requested());
    waits.pending();
    waits.pending();
    assert_eq!(waits.wakes.count(), 0);
}

#[test]
fn r13_select_with_stop_requested_ends_a_server_loop() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut served = 0;
        loop {
            let request = pin!(async {
                yield_now().await;
                yield_now().await;
            });
            match select(pin!(stop_requested()), request).await {
                Either::Left(_) => return served,
                Either::Right(_) => served += 1,
            }
        }
    }));
    for _ in 0..8 {
        run.pending();
    }
    scope.stop();
    assert!(run.drive().unwrap() >= 3);
}

#[test]
fn r19_a_loop_of_dropped_waits_for_a_stop_leaves_nothing_behind() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        for _ in 0..1_000 {
            assert!(!stopping().await);
        }
        pending::<()>().await
    }));
    run.pending();
    let wakes = run.wakes.count();
    scope.stop();
    assert!(run.wakes.count() <= wakes + 1);
    scope.cancel();
    assert!(run.drive().is_err());
}

// With a grace.

#[test]
fn r13_without_a_grace_a_stop_never_becomes_a_cancellation() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.stop();
    clock.advance(1_000_000 * SECOND);
    run.pending();
    assert_eq!(clock.sleepers(), 0);
    assert!(!scope.is_cancelled());
}

#[test]
fn r13_a_stop_with_a_grace_becomes_a_cancellation_with_the_stops_reason() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    assert_eq!(clock.sleepers(), 0, "nobody has asked");
    clock.advance(5 * SECOND);
    let line = line!() + 1;
    scope.stop();
    run.pending();
    clock.advance(SECOND - Duration::from_nanos(1));
    run.pending();
    clock.advance(Duration::from_nanos(1));
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().location().unwrap().line(), line, "the place of the stop");
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r13_a_stop_from_another_thread_starts_the_grace_by_waking_the_run() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    std::thread::spawn(move || handle.stop()).join().unwrap();
    assert_eq!(run.wakes.count(), 1);
    run.pending();
    assert_eq!(clock.sleepers(), 1);
    clock.advance(SECOND);
    assert_eq!(run.wakes.count(), 2);
    run.ready().unwrap_err();
}

#[test]
fn r13_a_stop_before_the_entry_has_its_grace_from_the_entry_on() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    scope.stop();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    clock.advance(10 * SECOND);
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Requested);
}

#[test]
fn r13_a_body_that_winds_down_in_time_is_delivered_and_leaves_no_timer() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let mut run = hand(
        task(scope.run(async {
            stop_requested().await;
            "in time"
        }))
        .clock(clock.clone()),
    );
    run.pending();
    scope.stop();
    assert_eq!(run.drive().unwrap(), "in time");
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r13_a_second_stop_does_not_extend_the_grace() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.stop();
    run.pending();
    clock.advance(SECOND / 2);
    scope.stop();
    run.pending();
    clock.advance(SECOND / 2);
    run.ready().unwrap_err();
}

#[test]
fn r13_a_cancellation_does_not_wait_for_the_grace_and_its_reason_counts() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.stop();
    run.pending();
    scope.cancel_because("now");
    assert_eq!(run.ready().unwrap_err().reason().message(), Some("now"));
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r13_an_exit_that_the_grace_cut_off_the_body_for_is_told_the_reason() {
    let clock = MockClock::new();
    let log = Log::new();
    let scope = CancelScope::new().grace(SECOND);
    let stack = ExitStack::new();
    let body = scope.run(stack.run(async {
        let log = log.clone();
        stack.defer_with(move |why| async move {
            match why {
                Leaving::Cancelled(reason) => log.add(format!("{:?}", reason.kind())),
                other => log.add(format!("{other:?}")),
            }
        });
        pending::<Result<(), ()>>().await
    }));
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    run.pending();
    scope.stop();
    assert!(run.drive_with(&clock).is_err());
    log.is(&["Parent"]);
}

#[test]
fn r13_the_grace_of_a_stop_of_an_outer_scope_is_the_outer_scopes() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().grace(2 * SECOND), CancelScope::new().grace(SECOND));
    let stop = outer.handle();
    let mut run = hand(task(outer.run(inner.run(pending::<()>()))).clock(clock.clone()));
    run.pending();
    stop.stop();
    run.pending();
    clock.advance(SECOND);
    run.pending();
    clock.advance(SECOND);
    assert!(run.drive().is_err(), "only the scope that was asked is cancelled");
}

#[test]
fn r13_an_exit_is_not_told_to_stop() {
    let scope = CancelScope::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    let mut run = hand(scope.run(stack.run(async {
        let gate = gate.clone();
        stack.defer(async move {
            match select(pin!(stop_requested()), pin!(gate.wait())).await {
                Either::Left(_) => Err("an exit winds down already"),
                Either::Right(_) => Ok(()),
            }
        });
        Ok::<_, ()>(())
    })));
    run.pending();
    scope.stop();
    run.pending();
    gate.open();
    run.drive().unwrap().unwrap();
}

#[test]
fn r13_children_that_finish_in_time_are_not_cancelled_and_the_others_are() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    let (quick, slow) = (Mutex::new(None), Mutex::new(None));
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = scope.run(group.run(async {
        *quick.lock().unwrap() = Some(group.spawn(async {
            stop_requested().await;
            yield_now().await;
            Ok("in time")
        }));
        *slow.lock().unwrap() = Some(group.spawn(async {
            stop_requested().await;
            pending::<Result<(), ()>>().await
        }));
        Ok(())
    }));
    let mut run = hand(task(body).clock(clock.clone()));
    run.pending();
    scope.stop();
    run.pending();
    run.pending();
    clock.advance(SECOND);
    assert!(run.drive().is_err());
    let quick = quick.lock().unwrap().take().unwrap();
    assert_eq!(hand(quick.join()).ready().unwrap(), "in time");
    let slow = slow.lock().unwrap().take().unwrap();
    assert!(matches!(hand(slow.join()).ready(), Err(ChildError::Cancelled(_))));
}

#[test]
fn r13_stop_reaches_executor_children_from_a_scope_around_their_group() {
    let (log, executor) = (Log::new(), Executor::new());
    let scope = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(scope.run(group.run(async {
        let log = log.clone();
        group.spawn_on(&executor, async move {
            stop_requested().await;
            log.add("asked on the executor");
            Ok(())
        });
        Ok(())
    })));
    run.pending();
    executor.run();
    scope.stop();
    executor.run();
    run.drive().unwrap().unwrap();
    log.is(&["asked on the executor"]);
}
