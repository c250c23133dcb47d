//! Programs that hang with other libraries: each of these cancels, goes on, or leaves (R7, R8). A hang would
//! show as a pending run that nothing wakes.

use crate::support::{Executor, Gate, Log, block_on, hand, lose, poll_once, yield_now};
use futures::executor::LocalPool;
use futures::future::{Either, join, select};
use futures::stream::FuturesUnordered;
use futures::task::LocalSpawnExt;
use futures::{FutureExt, StreamExt};
use moored::testing::MockClock;
use moored::{
    CancelScope, ExitStack, ReasonKind, TaskGroup, fail_after, move_on_after, shield, task,
};
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A stack with one exit, and a body that waits at the gate.
async fn session(log: Log, gate: Gate, name: &str) -> Result<(), ()> {
    let stack = ExitStack::new();
    let exit = log.entry(format!("{name} exit"));
    let body = async {
        stack.defer(async move {
            yield_now().await;
            exit.await;
        });
        gate.wait().await;
        Ok::<_, ()>(())
    };
    stack.run(body).await.map_err(drop)
}

// Lent to a timed scope.

#[test]
fn r07_a_stack_lent_to_a_timed_scope_is_awaited_after_it() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let body = async {
        let mut lent = pin!(session(log.clone(), gate.clone(), "lent"));
        let late = fail_after(SECOND, &mut lent).await;
        assert_eq!(late.unwrap_err().reason().kind(), ReasonKind::Deadline);
        log.add("timed out");
        gate.open();
        lent.await.unwrap();
    };
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    log.is(&["timed out", "lent exit"]);
}

#[test]
fn r07_a_group_lent_to_a_timed_scope_keeps_its_children() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let executor = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = async {
        let mut lent = pin!(group.run(async {
            group.spawn(async {
                gate.wait().await;
                log.add("child");
                Ok(())
            });
            let (log, gate) = (log.clone(), gate.clone());
            group.spawn_on(&executor, async move {
                gate.wait().await;
                log.add("executor child");
                Ok(())
            });
            Ok(())
        }));
        assert!(move_on_after(SECOND, &mut lent).await.is_none());
        assert!(!group.is_cancelled());
        gate.open();
        lent.await.unwrap();
    };
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    run.pending();
    executor.run();
    clock.advance(SECOND);
    run.pending();
    executor.run();
    run.drive();
    assert_eq!(log.lines().len(), 2);
}

#[test]
fn r07_a_region_lent_half_way_through_its_exits_finishes_them_afterwards() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let stack = ExitStack::new();
    let body = async {
        let mut lent = pin!(stack.run(async {
            stack.defer(log.entry("last"));
            let (log, gate) = (log.clone(), gate.clone());
            stack.defer(async move {
                log.add("half");
                gate.wait().await;
                log.add("way");
            });
            Ok::<_, ()>(())
        }));
        assert!(move_on_after(SECOND, &mut lent).await.is_none());
        gate.open();
        lent.await.unwrap();
    };
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    log.is(&["half", "way", "last"]);
}

#[test]
fn r07_a_region_lent_to_one_scope_after_another_belongs_to_none_of_them() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let body = async {
        let mut lent = pin!(session(log.clone(), gate.clone(), "lent"));
        for _ in 0..3 {
            let scope = CancelScope::new().timeout(SECOND);
            assert!(scope.run(&mut lent).await.is_err());
        }
        gate.open();
        CancelScope::new().run(&mut lent).await.unwrap().unwrap();
    };
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    log.is(&["lent exit"]);
}

#[test]
fn r07_a_checkpoint_in_a_lent_region_goes_on_after_the_scope_it_was_lent_to() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let inner = CancelScope::new();
    let told = inner.handle();
    let body = async {
        let mut lent = pin!(inner.run(async {
            gate.wait().await;
            moored::checkpoint().await;
            "went on"
        }));
        // A wait through the handle sees the cancellation of an enclosing region only while that region
        // encloses the scope.
        let mut waiting = pin!(told.cancelled());
        assert!(poll_once(&mut waiting).await.is_pending());
        assert!(move_on_after(SECOND, &mut lent).await.is_none());
        assert!(!told.is_cancelled());
        gate.open();
        lent.await.unwrap()
    };
    let told = moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    assert_eq!(told, "went on");
}

// Under a nested `block_on`.

#[test]
fn r07_a_region_under_a_nested_block_on_ends_and_its_surroundings_are_cancelled_afterwards() {
    let log = Log::new();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(async {
        let gate = Gate::new();
        let opener = gate.clone();
        let other = std::thread::spawn(move || {
            handle.cancel();
            opener.open();
        });
        block_on(session(log.clone(), gate, "nested")).unwrap();
        other.join().unwrap();
        log.add("after the block_on");
        yield_now().await;
        yield_now().await;
        log.add("never");
    }));
    assert!(run.drive().is_err());
    log.is(&["nested exit", "after the block_on"]);
}

#[test]
fn r07_a_scope_under_a_nested_block_on_is_cancelled_by_another_thread() {
    let outer = CancelScope::new();
    let run = outer.run(async {
        let inner = CancelScope::new();
        let handle = inner.handle();
        let other = std::thread::spawn(move || handle.cancel_because("from a thread"));
        let cancelled = block_on(inner.run(pending::<()>())).unwrap_err();
        other.join().unwrap();
        cancelled.reason().message().map(str::to_owned)
    });
    assert_eq!(hand(run).drive().unwrap().as_deref(), Some("from a thread"));
}

#[test]
fn r07_a_deadline_under_a_nested_block_on_passes() {
    let outer = CancelScope::new();
    let run = outer.run(async {
        let late = block_on(fail_after(Duration::from_millis(1), pending::<()>()));
        late.unwrap_err().reason().kind()
    });
    assert_eq!(hand(run).drive().unwrap(), ReasonKind::Deadline);
}

#[test]
fn r08_what_a_nested_block_on_abandons_runs_in_the_region_around_it() {
    let log = Log::new();
    let outer = CancelScope::new();
    hand(outer.run(async {
        block_on(lose(session(log.clone(), Gate::new(), "loser")));
        log.add("after");
        yield_now().await;
        yield_now().await;
    }))
    .drive()
    .unwrap();
    log.is(&["after", "loser exit"]);
}

#[test]
fn r14_an_exit_may_run_a_region_under_a_nested_block_on() {
    let log = Log::new();
    let stack = ExitStack::new();
    let inner = log.clone();
    hand(stack.run(async {
        stack.defer(async move {
            let gate = Gate::new();
            gate.open();
            block_on(session(inner, gate, "inside an exit")).unwrap();
        });
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap();
    log.is(&["inside an exit exit"]);
}

// Pinned outside a `select!` loop, and no longer polled.

#[test]
fn r07_a_region_that_a_loop_no_longer_polls_does_not_hold_up_a_cancellation() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut left_behind = pin!(session(log.clone(), gate.clone(), "left behind"));
        for _ in 0..3 {
            match select(&mut left_behind, pin!(yield_now())).await {
                Either::Left(_) => panic!("it waits"),
                Either::Right(_) => {}
            }
        }
        pending::<()>().await
    }));
    for _ in 0..4 {
        run.pending();
    }
    scope.cancel();
    assert!(run.drive().is_err());
    log.is(&["left behind exit"]);
}

#[test]
fn r07_a_group_that_a_loop_no_longer_polls_does_not_hold_up_a_cancellation() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let scope = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(scope.run(async {
        let mut left_behind = pin!(group.run(async {
            group.spawn(session(log.clone(), gate.clone(), "child"));
            group.spawn_on(&executor, session(log.clone(), gate.clone(), "executor child"));
            pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(&mut left_behind).await.is_pending());
        assert!(poll_once(&mut left_behind).await.is_pending());
        pending::<()>().await
    }));
    run.pending();
    executor.run();
    scope.cancel();
    while run.poll().is_pending() {
        executor.run();
    }
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["child exit", "executor child exit"]);
}

#[test]
fn r12_a_shield_that_a_loop_no_longer_polls_does_not_hold_up_a_cancellation() {
    let (clock, scope) = (MockClock::new(), CancelScope::new());
    let body = async {
        let mut left_behind = pin!(shield(pending::<()>()));
        assert!(poll_once(&mut left_behind).await.is_pending());
        pending::<()>().await
    };
    let mut run = moored::testing::hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    scope.cancel();
    assert!(run.drive_with(&clock).is_err());
}

#[test]
fn r07_a_region_that_lives_outside_a_scope_does_not_keep_it_from_being_left() {
    let (log, gate) = (Log::new(), Gate::new());
    hand(async {
        let mut outside = Box::pin(session(log.clone(), gate.clone(), "outside"));
        let scope = CancelScope::new();
        scope.run(async { assert!(poll_once(&mut outside).await.is_pending()) }).await.unwrap();
        log.add("left");
        gate.open();
        outside.await.unwrap();
    })
    .drive();
    log.is(&["left", "outside exit"]);
}

// In collections.

#[test]
fn r07_a_futures_unordered_of_regions_is_cancelled_and_every_exit_runs() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut all: FuturesUnordered<_> = ["a", "b", "c"]
            .map(|name| session(log.clone(), gate.clone(), name))
            .into_iter()
            .collect();
        while all.next().await.is_some() {}
    }));
    run.pending();
    scope.cancel();
    assert!(run.drive().is_err());
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["a exit", "b exit", "c exit"]);
}

#[test]
fn r07_a_futures_unordered_that_lives_outside_goes_on_after_the_scope() {
    let (log, gate) = (Log::new(), Gate::new());
    hand(async {
        let mut all: FuturesUnordered<_> =
            ["a", "b"].map(|name| session(log.clone(), gate.clone(), name)).into_iter().collect();
        let scope = CancelScope::new();
        let run = scope.run(async {
            assert!(poll_once(&mut all.next()).await.is_pending());
            scope.cancel();
            pending::<()>().await
        });
        assert!(run.await.is_err());
        gate.open();
        while let Some(ended) = all.next().await {
            ended.unwrap();
        }
    })
    .drive();
    assert_eq!(log.lines().len(), 2);
}

#[test]
fn r07_the_scopes_of_a_futures_unordered_are_cancelled_one_by_one() {
    let scopes: Vec<_> = (0..50).map(|_| CancelScope::new()).collect();
    let mut all: FuturesUnordered<_> =
        scopes.iter().map(|scope| scope.run(pending::<()>())).collect();
    let mut run = hand(task(async {
        let mut ended = 0;
        while let Some(cancelled) = all.next().await {
            cancelled.unwrap_err();
            ended += 1;
            if let Some(scope) = scopes.get(ended * 7 % 50) {
                scope.cancel();
            }
            if ended == 50 {
                return;
            }
        }
    }));
    run.pending();
    scopes[0].cancel();
    run.drive();
}

#[test]
fn r07_a_shared_region_is_left_once_whoever_of_its_arms_goes_on() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let shared = session(log.clone(), gate.clone(), "shared").shared();
        let arm = shared.clone();
        match select(Box::pin(arm), pin!(yield_now())).await {
            Either::Left(_) => panic!("it waits"),
            Either::Right((_, arm)) => drop(arm),
        }
        join(shared.clone(), shared).await.0.unwrap();
    }));
    run.pending();
    run.pending();
    gate.open();
    run.drive().unwrap();
    log.is(&["shared exit"]);
}

#[test]
fn r07_a_shared_region_is_dropped_with_its_last_arm() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let shared = session(log.clone(), Gate::new(), "shared").shared();
        lose(join(shared.clone(), shared.clone())).await;
        log.add("one arm left");
        drop(shared);
        yield_now().await;
        yield_now().await;
        log.add("goes on");
    }));
    run.drive().unwrap();
    log.is(&["one arm left", "shared exit", "goes on"]);
}

#[test]
fn r02_a_shared_region_that_two_tasks_poll_tells_both_and_hangs_neither() {
    let (log, gate) = (Log::new(), Gate::new());
    let scope = Arc::new(CancelScope::new());
    let region = {
        let (log, gate, scope) = (log.clone(), gate.clone(), scope.clone());
        async move {
            scope.run(session(log, gate, "shared")).await.map_err(|c| c.reason().kind()).is_ok()
        }
    };
    let shared = region.shared();
    let (one, two) = (shared.clone(), shared);
    let mut owner = hand(task(one));
    owner.pending();
    // The other task's poll ends it, with the wrong task as its reason.
    let mut thief = hand(task(two));
    let (told, other) = (thief.drive(), owner.drive());
    assert_eq!((told, other), (false, false));
    log.is(&["shared exit"]);
}

// A sub-executor with wakers of its own.

#[test]
fn r07_regions_in_a_sub_executor_are_dropped_with_it_and_their_exits_run_outside() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut pool = LocalPool::new();
        for name in ["a", "b"] {
            let session = session(log.clone(), Gate::new(), name);
            pool.spawner().spawn_local(async move { session.await.unwrap() }).unwrap();
        }
        std::future::poll_fn(|_| {
            pool.run_until_stalled();
            Poll::<()>::Pending
        })
        .await;
    }));
    run.pending();
    scope.cancel();
    assert!(run.drive().is_err());
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["a exit", "b exit"]);
}

#[test]
fn r07_a_region_in_a_sub_executor_that_lives_outside_survives_the_scope() {
    let (log, gate) = (Log::new(), Gate::new());
    let mut pool = LocalPool::new();
    let inside = session(log.clone(), gate.clone(), "outside");
    pool.spawner().spawn_local(async move { inside.await.unwrap() }).unwrap();
    let scope = CancelScope::new();
    hand(task(async {
        let run = scope.run(async {
            pool.run_until_stalled();
            scope.cancel();
            pending::<()>().await
        });
        assert!(run.await.is_err());
        gate.open();
        pool.run();
    }))
    .drive();
    log.is(&["outside exit"]);
}

#[test]
fn r07_a_cancellation_reaches_a_scope_in_a_sub_executor_through_its_own_waker() {
    let mut pool = LocalPool::new();
    let scope = Arc::new(CancelScope::new());
    let (inner, told) = (Arc::clone(&scope), Arc::new(Mutex::new(false)));
    let tell = Arc::clone(&told);
    pool.spawner()
        .spawn_local(async move {
            inner.run(pending::<()>()).await.unwrap_err();
            *tell.lock().unwrap() = true;
        })
        .unwrap();
    hand(task(async {
        pool.run_until_stalled();
        scope.cancel();
        pool.run_until_stalled();
    }))
    .drive();
    assert!(*told.lock().unwrap());
}

// A pool with one permit.

#[test]
fn r14_an_exit_that_never_ends_is_left_within_its_grace_wherever_it_was_adopted() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let scope = CancelScope::new();
    let body = scope.run(async {
        let stack = ExitStack::new().grace(SECOND);
        lose(stack.run(async {
            stack.defer(pending::<()>());
            pending::<Result<(), ()>>().await
        }))
        .await;
    });
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock).unwrap();
    assert_eq!(moored::Clock::now(&clock) - start, SECOND);
}
