use crate::support::{Executor, Gate, Log, Loud, hand, panic_text, poll_once, waker_fn, yield_now};
use futures::future::select;
use moored::{
    CancelScope, Cause, ChildError, ExitStack, GroupSpawner, Misuse, ReasonKind, TaskGroup,
};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

#[test]
fn r16_run_returns_after_every_child_has_left() {
    let word = String::from("borrowed");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            yield_now().await;
            Ok(word.len())
        });
        Ok(child.join().await.unwrap())
    }));
    assert_eq!(run.drive().unwrap(), 8);
}

#[test]
fn r16_a_child_may_borrow_what_lives_longer_than_the_group() {
    let mut numbers = vec![1, 2, 3];
    let (left, right) = numbers.split_at_mut(1);
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn(async {
        left[0] = 10;
        Ok(())
    });
    group.spawn(async {
        right[0] = 20;
        Ok(())
    });
    hand(group.run(async { Ok(()) })).drive().unwrap();
    drop(group);
    assert_eq!(numbers, [10, 20, 3]);
}

#[test]
fn r16_run_waits_for_children_whatever_the_body_did() {
    for fails in [false, true] {
        let log = Log::new();
        let gate = Gate::new();
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let mut run = hand(group.run(async {
            let (log, gate) = (log.clone(), gate.clone());
            group.spawn(async move {
                let stack = ExitStack::new();
                let exits = log.clone();
                stack.defer(async move {
                    gate.wait().await;
                    exits.add("exit");
                });
                stack.run(pending::<Result<(), &str>>()).await.map_err(|_| "child")
            });
            yield_now().await;
            if fails { Err("body") } else { Ok(()) }
        }));
        run.pending();
        run.pending();
        if !fails {
            group.cancel();
        }
        run.pending();
        log.is(&[]);
        assert_eq!(group.len(), 1);
        gate.open();
        assert_eq!(run.drive().is_err(), fails);
        log.is(&["exit"]);
        assert!(group.is_empty());
    }
}

#[test]
fn r16_a_grandchild_spawned_by_a_child_woken_from_outside_is_polled() {
    // moro 0.4: a child woken from outside spawns a grandchild while a sibling is parked; the grandchild
    // is never polled.
    let gate = Gate::new();
    let sibling = Gate::new();
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn({
        let sibling = sibling.clone();
        async move {
            sibling.wait().await;
            Ok(())
        }
    });
    group.spawn({
        let (gate, sibling, log) = (gate.clone(), sibling.clone(), log.clone());
        async move {
            gate.wait().await;
            let child = spawner
                .spawn(async move {
                    log.add("grandchild");
                    sibling.open();
                    Ok(7)
                })
                .unwrap();
            assert_eq!(child.join().await.unwrap(), 7);
            Ok(())
        }
    });
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    let theirs = gate.clone();
    std::thread::spawn(move || theirs.open()).join().unwrap();
    assert_eq!(run.wakes.count(), 1);
    run.drive().unwrap();
    log.is(&["grandchild"]);
}

#[test]
fn r16_a_spawn_inside_a_spawn_does_not_panic() {
    // moro-local 0.4: a nested spawn panics.
    fn grow(spawner: GroupSpawner<'static, ()>, depth: u32, count: Arc<AtomicUsize>) {
        let inner = spawner.clone();
        let child = async move {
            count.fetch_add(1, Ordering::SeqCst);
            if depth > 0 {
                grow(inner.clone(), depth - 1, Arc::clone(&count));
                grow(inner, depth - 1, count);
            }
            Ok(())
        };
        drop(spawner.spawn(child).unwrap());
    }
    let count = Arc::new(AtomicUsize::new(0));
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    grow(group.spawner(), 9, Arc::clone(&count));
    hand(group.run(async { Ok(()) })).drive().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1023);
}

#[test]
fn r16_a_chain_of_ten_thousand_children_that_spawn_the_next_is_waited_for() {
    fn next(spawner: GroupSpawner<'static, ()>, left: u32) {
        let inner = spawner.clone();
        let child = async move {
            if left > 0 {
                next(inner, left - 1);
            }
            Ok(())
        };
        drop(spawner.spawn(child).unwrap());
    }
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    next(group.spawner(), 9_000);
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

#[test]
fn r16_a_child_spawned_while_the_group_fails_is_waited_for_and_has_its_exits_in_place() {
    let log = Log::new();
    let gate = Gate::new();
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let stack = ExitStack::new();
            // Runs while the group is failing.
            let late = log.clone();
            stack.defer(async move {
                let child = spawner
                    .spawn(async move {
                        let stack = ExitStack::new();
                        let exits = late.clone();
                        stack.defer(async move {
                            gate.wait().await;
                            exits.add("exit of the late child");
                        });
                        late.add("late child runs");
                        stack.run(pending::<Result<(), &str>>()).await.map_err(|_| "late")
                    })
                    .unwrap();
                drop(child);
            });
            stack.run(pending::<Result<(), &str>>()).await.map_err(|_| "first")
        }
    });
    let mut run = hand(group.run(async {
        yield_now().await;
        Err::<(), _>("body")
    }));
    run.pending();
    for _ in 0..5 {
        run.pending();
    }
    log.is(&["late child runs"]);
    gate.open();
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("body")), "{failure:?}");
    assert_eq!(failure.rest().count(), 0, "{failure:?}");
    log.is(&["late child runs", "exit of the late child"]);
}

#[test]
fn r16_a_spawn_into_a_cancelled_group_runs_to_its_first_await() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.cancel();
    let child = group.spawn({
        let log = log.clone();
        async move {
            log.add("first");
            yield_now().await;
            log.add("never");
            Ok(())
        }
    });
    let ready = group.spawn(async { Ok(7) });
    let failure = hand(group.run(pending::<Result<(), ()>>())).drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Cancelled(_)));
    log.is(&["first"]);
    assert!(matches!(hand(child.join()).ready(), Err(ChildError::Cancelled(_))));
    assert_eq!(hand(ready.join()).ready().unwrap(), 7);
}

#[test]
fn r16_a_spawn_after_the_group_closed_hands_the_future_back() {
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("closed");
    let spawner = group.spawner();
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let rejected = spawner.spawn(async { Ok(7) }).unwrap_err();
    assert!(matches!(rejected.error(), Misuse::Closed { .. }));
    let text = rejected.to_string();
    assert!(text.starts_with("cannot spawn into task group `closed` at "), "{text}");
    assert_eq!(hand(rejected.into_inner()).ready(), Ok::<_, ()>(7));
    let rejected = spawner.spawn_on(&Executor::new(), async { Ok(8) }).unwrap_err();
    assert_eq!(hand(rejected.into_inner()).ready(), Ok::<_, ()>(8));
    let text = panic_text(|| group.spawn(async { Ok(()) }));
    assert!(text.ends_with("has closed; spawn while its body or a child is inside"), "{text}");
    drop(group);
    let rejected = spawner.spawn(async { Ok(9) }).unwrap_err();
    assert_eq!(hand(rejected.into_inner()).ready(), Ok::<_, ()>(9));
}

#[test]
fn r16_children_spawned_before_run_start_with_it() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn({
        let log = log.clone();
        async move {
            log.add("child");
            Ok(())
        }
    });
    assert_eq!(group.len(), 1);
    log.is(&[]);
    hand(group.run(async { Ok(()) })).drive().unwrap();
    log.is(&["child"]);
}

#[test]
fn r16_in_task_children_of_a_dropped_run_are_dropped_with_it() {
    let alive = Arc::new(());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let handles: Vec<_> = (0..10)
        .map(|_| {
            let alive = Arc::clone(&alive);
            group.spawn(async move {
                pending::<()>().await;
                drop(alive);
                Ok(())
            })
        })
        .collect();
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    drop(run);
    assert_eq!(Arc::strong_count(&alive), 1);
    for handle in handles {
        let Err(ChildError::Cancelled(reason)) = hand(handle.join()).ready() else { panic!() };
        assert_eq!(reason.kind(), ReasonKind::OwnerGone);
    }
}

#[test]
fn r19_a_group_does_not_grow_with_a_hundred_thousand_children() {
    let alive = Arc::new(());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut most = 0;
    let mut sum = 0_u64;
    let mut run = hand(group.run(async {
        for n in 0..100_000_u64 {
            let token = Arc::clone(&alive);
            let child = group.spawn(async move {
                yield_now().await;
                drop(token);
                Ok(n)
            });
            if n % 100 == 99 {
                sum += child.join().await.unwrap();
                yield_now().await;
                most = most.max(group.len()).max(Arc::strong_count(&alive) - 1);
            }
        }
        Ok(())
    }));
    while run.poll().is_pending() {}
    drop(run);
    assert!(most <= 200, "{most} were alive at once");
    assert_eq!(sum, (99..100_000).step_by(100).sum::<u64>());
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn r16_a_hundred_thousand_children_at_once_leave_within_one_run() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    for _ in 0..100_000 {
        group.spawn(async {
            yield_now().await;
            Ok(())
        });
    }
    assert_eq!(group.len(), 100_000);
    hand(group.run(async { Ok(()) })).drive().unwrap();
    assert_eq!(group.len(), 0);
}

#[test]
fn r16_a_run_left_behind_by_select_goes_on_when_it_is_polled_again() {
    // A group polls its in-task children only while it is polled, as `FuturesUnordered` does.
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let gate = Gate::new();
    group.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            gate.wait().await;
            log.add("child");
            Ok(())
        }
    });
    hand(async {
        let mut run = Box::pin(group.run(async { Ok(()) }));
        assert!(poll_once(&mut run).await.is_pending());
        gate.open();
        log.add("elsewhere");
        run.await.unwrap();
    })
    .drive();
    log.is(&["elsewhere", "child"]);
}

#[test]
fn r16_a_group_is_run_once() {
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("once");
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let mut second = hand(group.run(async { Ok(()) }));
    let text = panic_text(|| second.poll());
    assert!(text.starts_with("cannot run task group `once` at "), "{text}");
}

#[test]
fn r16_a_child_whose_value_panics_when_it_is_dropped_is_counted_out() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        drop(group.spawn(async { Ok(Loud("loud value")) }));
        Ok(())
    }));
    assert_eq!(panic_text(|| run.drive()), "loud value");
    assert_eq!(group.len(), 0);
}

#[test]
fn r18_a_child_whose_joiner_has_a_panicking_waker_is_counted_out() {
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok(())
        }
    });
    let mut join = Box::pin(child.join());
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    let waker = waker_fn(|| panic!("waker"));
    assert!(join.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.open();
    // Whether the panic is resumed or not, the run ends, and the value is there.
    let _ = catch_unwind(AssertUnwindSafe(|| run.drive()));
    assert_eq!(group.len(), 0);
    assert!(matches!(
        join.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Ok(()))
    ));
}

#[test]
fn r07_a_lent_groups_children_survive_though_its_cancellation_is_awaited() {
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let gate = Gate::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let handle = group.handle();
        let child = group.spawn({
            let gate = gate.clone();
            async move {
                gate.wait().await;
                Ok(7)
            }
        });
        let mut lent = Box::pin(group.run(async { Ok(child.join().await) }));
        let mut waits = Box::pin(handle.cancelled());
        let timed = CancelScope::new();
        {
            let mut timed_run = Box::pin(timed.run(async {
                let (lent, waits) = (&mut lent, &mut waits);
                select(lent, waits).await;
            }));
            assert!(poll_once(&mut timed_run).await.is_pending());
            timed.cancel();
            // The poll may end the wait. The group was only lent to the timed scope.
            let _ = poll_once(&mut timed_run).await;
        }
        gate.open();
        assert!(!handle.is_cancelled());
        lent.await.unwrap().unwrap()
    }));
    assert_eq!(run.drive().unwrap(), 7);
}
