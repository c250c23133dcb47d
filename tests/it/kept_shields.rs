//! Shields that a body keeps and does not poll hold for a bounded time, the patience of their task (R12).

use super::shields_between_polls::{Boxed, SECOND, idle};
use crate::support::{Executor, Gate, Log, hand, lose, poll_once, steps};
use futures::StreamExt;
use futures::future::{LocalBoxFuture, join, select};
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{CancelScope, Clock, ExitStack, TaskGroup, shield, task};
use std::future::{Future, pending};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

#[test]
fn r12_a_shield_that_its_body_keeps_and_polls_no_more_holds_nothing_however_long_it_had_held() {
    let (clock, log, other) = (MockClock::new(), Log::new(), Gate::new());
    let gates: Vec<Gate> = (0..20).map(|_| Gate::new()).collect();
    let scope = CancelScope::new();
    let inside = async {
        for gate in &gates {
            gate.wait().await;
            log.add("step");
        }
        pending::<()>().await;
    };
    let body = async {
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(shield(inside)));
        let other = pin!(other.wait());
        let _ = select(all.next(), other).await;
        pending::<()>().await;
        drop(all);
    };
    let mut run = moored::testing::hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    for gate in &gates {
        gate.open();
        idle(&mut run);
        clock.advance(SECOND);
    }
    other.open();
    assert!(run.drive_with(&clock).is_err());
    log.is(&["step"; 20]);
}

const PATIENCE: Duration = Duration::from_millis(100);

const INSTANT: Duration = Duration::from_nanos(1);

/// A body that polls a shield once and keeps it.
async fn keeps_a_shield(log: Log) {
    let mut kept = pin!(shield(pending::<()>()));
    assert!(poll_once(&mut kept).await.is_pending());
    let _gone = log.on_drop("body");
    pending::<()>().await;
}

#[test]
fn r12_a_shield_that_is_kept_holds_for_its_time_after_it_was_woken_to_see() {
    let (clock, log, scope) = (MockClock::new(), Log::new(), CancelScope::new());
    let mut run = hand(task(scope.run(keeps_a_shield(log.clone()))).clock(clock.clone()));
    run.pending();
    clock.advance(10 * SECOND);
    scope.cancel();
    run.idle();
    clock.advance(PATIENCE - INSTANT);
    // The number of polls in that time does not matter.
    for _ in 0..100 {
        run.idle();
    }
    log.is(&[]);
    clock.advance(INSTANT);
    assert!(run.ready().is_err());
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r12_how_long_a_shield_that_is_kept_holds_is_set_for_a_task_and_what_it_spawns() {
    let (clock, executor, outer) = (MockClock::new(), Executor::new(), CancelScope::new());
    let (inside, posted) = (Log::new(), Log::new());
    let body = async {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let log = posted.clone();
        drop(group.spawn_on(&executor, async move {
            keeps_a_shield(log).await;
            Ok(())
        }));
        let log = inside.clone();
        drop(group.spawn(async move {
            keeps_a_shield(log).await;
            Ok(())
        }));
        outer.run(group.run(pending::<Result<(), ()>>())).await
    };
    let body = task(body).shield_patience(3 * SECOND).clock(clock.clone());
    let mut run = hand(body);
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    clock.advance(3 * SECOND - INSTANT);
    run.idle();
    executor.run();
    inside.is(&[]);
    posted.is(&[]);
    clock.advance(INSTANT);
    while run.poll().is_pending() {
        executor.run();
    }
    inside.is(&["body"]);
    posted.is(&["body"]);
}

#[test]
fn r12_a_patience_without_end_never_drops_what_a_kept_shield_is_in() {
    let (clock, log, scope) = (MockClock::new(), Log::new(), CancelScope::new());
    let run = task(scope.run(keeps_a_shield(log.clone()))).clock(clock.clone());
    let mut run = hand(run.shield_patience(Duration::MAX));
    run.pending();
    scope.cancel();
    run.idle();
    clock.advance(1_000_000 * SECOND);
    run.idle();
    assert_eq!((clock.sleepers(), log.lines().len()), (0, 0));
}

#[test]
fn r12_a_shield_that_is_let_go_in_the_poll_that_reached_it_holds_for_a_bounded_time() {
    let (clock, scope, other) = (MockClock::new(), CancelScope::new(), Gate::new());
    let body = async {
        let kept = pin!(shield(pending::<()>()));
        // The shield is polled, and then the other one is ready.
        let _ = select(kept, pin!(other.wait())).await;
        pending::<()>().await;
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    run.idle();
    other.open();
    run.idle();
    clock.advance(PATIENCE);
    run.idle();
    clock.advance(PATIENCE);
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_that_is_polled_holds_beside_one_that_is_kept() {
    let (clock, scope, gate, log) = (MockClock::new(), CancelScope::new(), Gate::new(), Log::new());
    let body = async {
        let mut kept = pin!(shield(pending::<()>()));
        assert!(poll_once(&mut kept).await.is_pending());
        let mut all: FuturesUnordered<_> = [shield(steps(&log, &gate))].into_iter().collect();
        all.next().await;
        pending::<()>().await;
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    for _ in 0..20 {
        run.idle();
        clock.advance(PATIENCE);
    }
    gate.open();
    run.idle();
    log.is(&["first", "second"]);
    clock.advance(PATIENCE);
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_that_holds_between_polls_is_looked_at_a_few_times_in_its_time_and_not_in_a_loop() {
    let (clock, scope, gate) = (MockClock::new(), CancelScope::new(), Gate::new());
    let body = async {
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(shield(gate.wait())));
        all.push(Box::pin(pending()));
        while all.next().await.is_some() {}
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    run.idle();
    let before = run.wakes.count();
    for _ in 0..10 {
        run.idle();
        clock.advance(PATIENCE);
    }
    let wakes = run.wakes.count() - before;
    assert!(wakes <= 40, "{wakes} wakes in a second");
}

#[test]
fn r12_a_shield_that_took_long_to_be_polled_is_woken_again_after_as_long_a_time() {
    let (clock, scope, gate) = (MockClock::new(), CancelScope::new(), Gate::new());
    let polls = std::cell::Cell::new(0);
    let body = async {
        let mut waits = Box::pin(gate.wait());
        let mut all: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        let slow = std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            if polls.get() > 1 {
                clock.advance(SECOND);
            }
            waits.as_mut().poll(cx)
        });
        all.push(Box::pin(shield(slow)));
        all.push(Box::pin(pending()));
        all.next().await;
        // Kept from here on.
        pending::<()>().await;
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    run.idle();
    assert_eq!(polls.get(), 2, "by the cancellation");
    clock.advance(PATIENCE);
    run.idle();
    assert_eq!(polls.get(), 3, "by the region, to see");
    clock.advance(SECOND - INSTANT);
    run.idle();
    assert_eq!(polls.get(), 3, "it was woken again too early");
    clock.advance(INSTANT);
    run.idle();
    assert_eq!(polls.get(), 4);
    gate.open();
    clock.advance(5 * SECOND);
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_that_is_polled_in_every_poll_needs_no_timer_once_that_was_seen() {
    let (clock, scope, gate) = (MockClock::new(), CancelScope::new(), Gate::new());
    let mut run = hand(task(scope.run(shield(gate.wait()))).clock(clock.clone()));
    run.pending();
    scope.cancel();
    let before = run.wakes.count();
    run.idle();
    assert_eq!(run.wakes.count(), before, "nothing has to be woken to see");
    clock.advance(PATIENCE);
    run.idle();
    assert_eq!(clock.sleepers(), 0);
    gate.open();
    run.drive().unwrap();
}

#[test]
fn r12_a_child_that_keeps_a_shield_is_held_for_its_time_wherever_it_runs() {
    let (clock, executor, gate) = (MockClock::new(), Executor::new(), Gate::new());
    let logs = [Log::new(), Log::new()];
    let outer = CancelScope::new();
    let body = async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let [inside, posted] = logs.clone();
        drop(group.spawn(async move {
            keeps_a_shield(inside).await;
            Ok(())
        }));
        drop(group.spawn_on(&executor, async move {
            keeps_a_shield(posted).await;
            Ok(())
        }));
        let _ = join(group.run(pending::<Result<(), ()>>()), shield(gate.wait())).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    executor.run();
    outer.cancel();
    for _ in 0..3 {
        run.idle();
        executor.run();
    }
    logs.iter().for_each(|log| log.is(&[]));
    clock.advance(PATIENCE);
    for _ in 0..3 {
        run.idle();
        executor.run();
    }
    clock.advance(PATIENCE);
    for _ in 0..3 {
        run.idle();
        executor.run();
    }
    logs.iter().for_each(|log| log.is(&["body"]));
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_that_is_let_go_in_the_poll_that_reached_it_holds_for_its_patience_at_most() {
    let clock = MockClock::new();
    let start = clock.now();
    let outer = CancelScope::new();
    let mut kept = Some(Box::pin(shield(pending::<()>())));
    let mut polls = 0;
    let body = std::future::poll_fn(|cx| {
        polls += 1;
        if let Some(mut shielded) = kept.take() {
            assert!(shielded.as_mut().poll(cx).is_pending());
            match polls {
                1 => {
                    outer.cancel();
                    kept = Some(shielded);
                }
                _ => drop(shielded),
            }
        }
        Poll::<()>::Pending
    });
    let run = task(outer.run(body)).clock(clock.clone());
    moored::testing::hand(run).drive_with(&clock).unwrap_err();
    assert!(clock.now() - start <= Duration::from_millis(100));
}

#[test]
fn r12_no_timer_for_shields_is_left_while_the_exits_of_a_cancelled_region_run() {
    let (clock, shielded, exit) = (MockClock::new(), Gate::new(), Gate::new());
    let outer = CancelScope::new();
    let body = async {
        let stack = ExitStack::new();
        let stays = async {
            stack.defer(exit.wait());
            pending::<Result<(), ()>>().await
        };
        lose(stack.run(stays)).await;
        shield(shielded.wait()).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    run.pending();
    assert_eq!(clock.sleepers(), 1, "the shield is looked at again");
    shielded.open();
    run.pending();
    assert_eq!(clock.sleepers(), 0);
    exit.open();
    run.ready().unwrap();
}

#[test]
fn r12_a_shield_that_is_dropped_later_in_the_poll_that_reached_it_holds_no_longer() {
    for patience in [Duration::from_secs(1), Duration::MAX] {
        let clock = MockClock::new();
        let scope = CancelScope::new();
        let body = async {
            let mut kept = Some(Box::pin(shield(pending::<()>())));
            std::future::poll_fn(|cx| {
                let Some(held) = &mut kept else { return Poll::<()>::Pending };
                assert!(held.as_mut().poll(cx).is_pending());
                if scope.is_cancelled() {
                    kept = None;
                }
                Poll::Pending
            })
            .await;
        };
        let in_task = task(scope.run(body)).clock(clock.clone()).shield_patience(patience);
        let mut run = hand(in_task);
        run.idle();
        scope.cancel();
        assert!(run.drive().is_err(), "with a patience of {patience:?}");
        assert_eq!(clock.sleepers(), 0);
    }
}

#[test]
fn r12_two_cancelled_scopes_around_a_shield_in_an_exit_do_not_wake_each_other_for_ever() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let stack = ExitStack::new();
    let body = inner.run(stack.run(async {
        stack.defer(shield(pending::<()>()));
        Ok::<_, ()>(())
    }));
    let mut run = hand(task(outer.run(body)).clock(MockClock::new()));
    run.pending();
    outer.cancel();
    run.pending();
    inner.cancel();
    run.idle();
}
