//! Shields that a poll of the cancelled region does not reach. Either a combinator in between polls only futures that
//! were woken, or the body has stopped polling the shield (R12).

use crate::support::{Executor, Gate, Hand, Log, hand, poll_once, steps, yield_now};
use futures::StreamExt;
use futures::future::select;
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, TaskGroup, move_on_after, shield, task};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

#[test]
fn r12_a_shield_inside_a_futures_unordered_holds() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(shield(steps(&log, &gate))));
        all.push(Box::pin(pending()));
        while all.next().await.is_some() {
            log.add("one has ended");
        }
    }));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["first", "second", "one has ended"]);
}

#[test]
fn r12_a_poll_that_does_not_reach_a_shield_in_a_futures_unordered_does_not_end_it() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(shield(steps(&log, &gate))));
        while all.next().await.is_some() {}
    }));
    run.pending();
    scope.cancel();
    run.pending();
    // Another wake-up polls the region. The shield was not woken, because the gate is still
    // closed.
    run.pending();
    gate.open();
    assert_eq!(run.drive().map_err(drop), Ok(()));
    log.is(&["first", "second"]);
}

#[test]
fn r12_a_shield_holds_beyond_many_regions_without_one() {
    // The region finds the shield below it by a search, because a poll does not reach it.
    for before in [1, 8, 9, 100] {
        let (log, gate) = (Log::new(), Gate::new());
        let scope = CancelScope::new();
        let mut run = hand(scope.run(async {
            let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
            let mut handles = Vec::new();
            for _ in 0..before {
                let inside = CancelScope::new();
                handles.push(inside.handle());
                all.push(Box::pin(async move { inside.run(pending()).await.unwrap() }));
            }
            assert!(poll_once(&mut all.next()).await.is_pending());
            // A wait links its scope, before the shield is linked.
            let mut waits: Vec<_> =
                handles.iter().map(|handle| Box::pin(handle.cancelled())).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).await.is_pending());
            }
            all.push(Box::pin(shield(steps(&log, &gate))));
            while all.next().await.is_some() {}
        }));
        run.pending();
        scope.cancel();
        run.pending();
        // The shield was not woken, because the gate is still closed.
        run.pending();
        gate.open();
        _ = run.drive();
        log.is(&["first", "second"]);
    }
}

#[test]
fn r12_a_shield_below_two_futures_unordered_is_not_woken_for_ever() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(async {
            let group = TaskGroup::<()>::new();
            let inside = steps(&log, &gate);
            let body = async {
                group.spawn(async {
                    let mut below: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
                    below.push(Box::pin(shield(inside)));
                    while below.next().await.is_some() {}
                    Ok(())
                });
                pending::<Result<(), ()>>().await
            };
            let _ = group.run(body).await;
        }));
        while all.next().await.is_some() {}
    }));
    run.pending();
    scope.cancel();
    run.idle();
    gate.open();
    assert!(run.drive().is_err());
    log.is(&["first", "second"]);
}

#[test]
fn r12_a_shield_in_a_futures_unordered_that_gives_way_is_dropped_however_often_it_had_held() {
    let clock = MockClock::new();
    let (outer, gates) = (CancelScope::new(), [Gate::new(), Gate::new(), Gate::new()]);
    let mut run = hand(
        task(outer.run(async {
            let shielded = CancelScope::new().shielded().grace(SECOND);
            let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
            all.push(Box::pin(async {
                let _ = shielded.run(pending::<()>()).await;
            }));
            for gate in &gates {
                all.push(Box::pin(gate.wait()));
            }
            while all.next().await.is_some() {}
        }))
        .clock(clock.clone()),
    );
    run.pending();
    outer.cancel();
    run.idle();
    for gate in &gates {
        gate.open();
        run.idle();
    }
    clock.advance(SECOND);
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_in_an_executor_child_does_not_hold_the_body_around_its_group() {
    let (executor, gate, log) = (Executor::new(), Gate::new(), Log::new());
    let outer = CancelScope::new();
    let waits = gate.wait();
    let mut run = hand(outer.run(async {
        let _gone = log.on_drop("body");
        let group = TaskGroup::<()>::new();
        drop(group.spawn_on(&executor, async move {
            shield(waits).await;
            Ok(())
        }));
        let _ = group.run(pending::<Result<(), ()>>()).await;
    }));
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    log.is(&["body"]);
    gate.open();
    executor.run();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_shield_in_a_child_does_not_hold_the_body_of_its_group() {
    let (gate, log) = (Gate::new(), Log::new());
    let group = TaskGroup::<()>::new();
    let (waits, other) = (gate.wait(), Gate::new());
    let wakes = other.wait();
    let mut run = hand(group.run(async {
        let _gone = log.on_drop("body");
        drop(group.spawn(async move {
            shield(waits).await;
            Ok(())
        }));
        drop(group.spawn(async move {
            wakes.await;
            yield_now().await;
            Ok(())
        }));
        pending::<Result<(), ()>>().await
    }));
    run.idle();
    other.open();
    group.cancel();
    run.idle();
    log.is(&["body"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_who_waits_in_a_futures_unordered_inside_a_shield_is_woken_when_that_gives_way() {
    let clock = MockClock::new();
    let (outer, log) = (CancelScope::new(), Log::new());
    let shielded = CancelScope::new().shielded().grace(SECOND);
    let mut run = hand(
        task(outer.run(shielded.run(async {
            let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
            all.push(Box::pin(async {
                moored::cancelled().await;
                log.add("told");
            }));
            all.push(Box::pin(pending()));
            while all.next().await.is_some() {}
        })))
        .clock(clock.clone()),
    );
    run.idle();
    outer.cancel();
    run.idle();
    log.is(&[]);
    clock.advance(SECOND);
    assert!(run.drive().is_err());
    log.is(&["told"]);
}

/// As [`Hand::idle`], for the hand of the crate, which a clock can drive.
pub(super) fn idle<F: Future>(run: &mut moored::testing::Hand<F>) {
    for _ in 0..10_000 {
        let before = run.wakes();
        run.pending();
        if run.wakes() == before {
            return;
        }
    }
    panic!("not idle after 10,000 polls");
}

/// A future that wakes itself in each poll.
fn busy() -> Boxed<'static> {
    Box::pin(async {
        loop {
            yield_now().await
        }
    })
}

/// `collects` gets `count` futures that wake themselves in each poll, and a shield behind them.
fn behind_busy_ones<'a, C: Future + Send>(
    count: usize,
    log: &'a Log,
    collects: impl FnOnce(Vec<Boxed<'a>>) -> C,
) {
    let (gate, scope) = (Gate::new(), CancelScope::new());
    let mut all: Vec<Boxed<'a>> = (0..count).map(|_| busy()).collect();
    all.push(Box::pin(shield(steps(log, &gate))));
    // No time passes, however long the polls take.
    let mut run = hand(task(scope.run(collects(all))).clock(MockClock::new()));
    let some = count + 40;
    for _ in 0..some {
        run.pending();
    }
    log.is(&["first"]);
    scope.cancel();
    for _ in 0..some {
        run.pending();
    }
    gate.open();
    assert!((0..2 * some).any(|_| run.poll().is_ready()), "nothing holds it up any more");
    log.is(&["first", "second"]);
}

#[test]
fn r12_a_shield_beside_any_number_of_others_that_are_always_ready_holds_until_its_turn_comes() {
    for count in [0, 1, 2, 3, 8, 20, 29, 30, 31, 32, 33, 100, 1000] {
        behind_busy_ones(count, &Log::new(), |all| async {
            let mut all: FuturesUnordered<_> = all.into_iter().collect();
            while all.next().await.is_some() {}
        });
        behind_busy_ones(count, &Log::new(), futures::future::join_all);
        behind_busy_ones(count, &Log::new(), |all| async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            for one in all {
                drop(group.spawn(async {
                    one.await;
                    Ok(())
                }));
            }
            group.run(pending::<Result<(), ()>>()).await
        });
    }
}

#[test]
fn r12_an_entered_shield_in_which_nothing_runs_holds_nothing() {
    let (log, scope) = (Log::new(), CancelScope::new());
    let mut run = hand(scope.run(async {
        let entered = CancelScope::new().shielded().enter().unwrap();
        entered.run(yield_now()).await.unwrap();
        let _gone = log.on_drop("body");
        pending::<()>().await;
        drop(entered);
    }));
    run.idle();
    scope.cancel();
    assert!(run.ready().is_err());
    log.is(&["body"]);
}

/// Polls `run` once for each wake that is not in `seen` yet; returns whether it has ended.
fn polled_while_woken<F: Future>(run: &mut Hand<F>, executor: &Executor, seen: &mut usize) -> bool {
    while *seen != run.wakes.count() {
        *seen = run.wakes.count();
        if run.poll().is_ready() {
            return true;
        }
        executor.run();
    }
    false
}

#[test]
fn r12_a_shield_in_an_executor_child_does_not_hold_the_body_beside_it() {
    let (first, second, executor) = (Gate::new(), Gate::new(), Executor::new());
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let waits = second.wait();
        drop(group.spawn_on(&executor, async move {
            shield(waits).await;
            Ok(())
        }));
        let mut all: FuturesUnordered<_> = [shield(first.wait())].into_iter().collect();
        all.next().await;
        pending::<Result<(), ()>>().await
    }));
    run.idle();
    executor.run();
    group.cancel();
    executor.run();
    run.idle();
    // A poll without a wake-up: it reaches no shield.
    run.pending();
    run.idle();
    executor.run();
    first.open();
    let mut seen = 0;
    let ended = polled_while_woken(&mut run, &executor, &mut seen);
    second.open();
    executor.run();
    assert_eq!(executor.len(), 0, "the child has left");
    let ended = ended || polled_while_woken(&mut run, &executor, &mut seen);
    assert!(ended, "nobody wakes the group's run");
}

#[test]
fn r12_a_shield_that_waits_in_an_executor_child_holds_that_child() {
    let (gate, log, executor) = (Gate::new(), Log::new(), Executor::new());
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let (waits, log) = (gate.wait(), log.clone());
        drop(group.spawn_on(&executor, async move {
            let steps = async move {
                waits.await;
                log.add("done");
            };
            let mut all: FuturesUnordered<_> = [shield(steps)].into_iter().collect();
            all.next().await;
            pending::<Result<(), ()>>().await
        }));
        Ok(())
    }));
    run.idle();
    executor.run();
    group.cancel();
    executor.run();
    run.idle();
    gate.open();
    executor.run();
    log.is(&["done"]);
    run.drive().unwrap();
}

#[test]
fn r12_a_shield_from_outside_every_region_holds_the_bodies_that_poll_it() {
    type Kept = Boxed<'static>;
    /// Ends with `kept`, and is woken all the time.
    async fn busily(kept: Kept, log: Log) -> Result<(), String> {
        let busy = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        drop(select(kept, busy).await);
        log.add("done");
        Ok(())
    }
    async fn in_child(kept: Kept, log: Log) {
        let group = TaskGroup::new();
        group.spawn_detached(busily(kept, log));
        drop(group.run(async { Ok(()) }).await);
    }
    async fn in_task(kept: Kept, log: Log) {
        drop(task(busily(kept, log)).await);
    }
    async fn in_time_limit(kept: Kept, log: Log) {
        drop(move_on_after(3600 * SECOND, busily(kept, log)).await);
    }
    async fn in_stack(kept: Kept, log: Log) {
        drop(ExitStack::new().run(busily(kept, log)).await);
    }
    fn holds<F: Future<Output = ()>>(body: fn(Kept, Log) -> F) {
        let (gate, log, outer) = (Gate::new(), Log::new(), CancelScope::new());
        let mut kept: Kept = Box::pin(shield(gate.wait()));
        assert!(kept.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut run = hand(outer.run(body(kept, log.clone())));
        run.pending();
        outer.cancel();
        run.pending();
        run.pending();
        gate.open();
        drop(run.drive());
        log.is(&["done"]);
    }
    holds(in_child);
    holds(in_task);
    holds(in_time_limit);
    holds(in_stack);
}
