use crate::support::{
    Executor, Full, Gate, Log, Loud, hand, lose, panic_text, poll_once, waker_fn, yield_now,
};
use futures::future::{FusedFuture, select};
use moored::{
    BoxTask, CancelScope, Cause, ChildError, ExitStack, GroupSpawner, Misuse, ReasonKind, Refused,
    Spawn, TaskGroup, rt::tokio::Tokio, task,
};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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
fn r17_the_first_failure_cancels_the_siblings_and_the_body() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut handle = None;
    let mut run = hand(group.run(async {
        handle = Some(group.spawn(std::future::pending::<Result<(), &str>>()));
        group.spawn(async {
            yield_now().await;
            Err::<(), _>("broken")
        });
        std::future::pending::<Result<(), &str>>().await
    }));
    let failure = run.drive().unwrap_err();
    drop(run);
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }));
    assert_eq!(failure.rest().count(), 0);
    let joined = hand(handle.unwrap().join()).ready();
    assert!(matches!(joined, Err(ChildError::Cancelled(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_executor_children_are_waited_for() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let sum = group
        .run(async {
            let tokio = Tokio::current();
            let children: Vec<_> = (0..100)
                .map(|n| {
                    group.spawn_on(&tokio, async move {
                        tokio::task::yield_now().await;
                        Ok(n)
                    })
                })
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.join().await.unwrap();
            }
            Ok(sum)
        })
        .await
        .unwrap();
    assert_eq!(sum, 4950);
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
fn r16_a_child_that_its_executor_refuses_is_a_cancelled_one() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn_on(&Full, async { Ok(()) });
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let Err(ChildError::Cancelled(reason)) = hand(child.join()).ready() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::Shutdown);
}

#[test]
fn r16_a_child_that_its_executor_drops_has_its_exits_run_by_the_group() {
    let log = Log::new();
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let log = log.clone();
        let child = group.spawn_on(&exec, async move {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        });
        Ok(child.join().await)
    }));
    run.pending();
    exec.run();
    log.is(&[]);
    exec.shut_down();
    let Err(ChildError::Cancelled(reason)) = run.drive().unwrap() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::Shutdown);
    log.is(&["exit"]);
}

/// Polls a task once where it is spawned, and keeps it.
struct Eager(Mutex<Vec<BoxTask>>);

impl Spawn for Eager {
    fn spawn(&self, mut task: BoxTask) -> Result<(), Refused> {
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.0.lock().unwrap().push(task);
        }
        Ok(())
    }
}

#[test]
fn r16_an_executor_may_poll_a_child_inside_spawn() {
    let exec = Eager(Mutex::default());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let ids = hand(group.run(async {
        let own = task::current();
        let child = group.spawn_on(&exec, async { Ok(task::current()) });
        assert!(child.is_finished());
        assert_eq!(task::current(), own);
        Ok((own, child.join().await.unwrap()))
    }))
    .drive()
    .unwrap();
    assert_ne!(ids.0, ids.1);
}

#[test]
fn r16_one_executor_child_cancelled_alone_is_no_failure() {
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let children: Vec<_> =
            (0..3).map(|_| group.spawn_on(&exec, pending::<Result<(), ()>>())).collect();
        yield_now().await;
        for child in children {
            child.cancel();
            assert!(matches!(child.join().await, Err(ChildError::Cancelled(_))));
        }
        Ok(())
    }));
    run.pending();
    exec.run();
    while run.poll().is_pending() {
        exec.run();
    }
    assert!(group.is_empty());
}

#[test]
fn r17_keep_going_collects_every_error() {
    let group: TaskGroup<'_, u32> = TaskGroup::new().keep_going();
    for n in 0..10 {
        group.spawn(async move {
            for _ in 0..n {
                yield_now().await;
            }
            Err::<(), _>(n)
        });
    }
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    let errors: Vec<_> = failure
        .causes()
        .map(|cause| match cause {
            Cause::Child { error, .. } => *error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, (0..10).collect::<Vec<_>>());
}

#[test]
fn r17_errors_of_siblings_that_fail_while_cancelled_are_kept() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let gate = Gate::new();
    group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Err::<(), _>("second")
        }
    });
    let mut run = hand(group.run(async {
        yield_now().await;
        gate.open();
        Err::<(), _>("first")
    }));
    let failure = run.drive().unwrap_err();
    let texts: Vec<_> = failure.causes().map(|cause| cause.to_string()).collect();
    assert_eq!(texts[0], "first");
    assert!(texts[1].ends_with(": second"), "{texts:?}");
    assert_eq!(texts.len(), 2);
}

#[test]
fn r17_what_cancels_the_siblings_is_told_as_their_reason() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let sibling = group.spawn(pending::<Result<(), &str>>());
    let failing = group.spawn(async {
        yield_now().await;
        Err::<(), _>("broken")
    });
    let id = failing.id();
    hand(group.run(async { Ok(()) })).drive().unwrap_err();
    let Err(ChildError::Cancelled(reason)) = hand(sibling.join()).ready() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::SiblingFailed);
    assert_eq!(reason.task(), Some(&id));
    let Err(ChildError::Failed(failed)) = hand(failing.join()).ready() else { panic!() };
    assert_eq!(failed, id);
}

#[test]
fn r17_a_panicking_child_cancels_the_siblings_and_is_resumed_after_they_left() {
    for keep_going in [false, true] {
        let log = Log::new();
        let mut group: TaskGroup<'_, ()> = TaskGroup::new();
        if keep_going {
            group = group.keep_going();
        }
        group.spawn({
            let log = log.clone();
            async move {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
            }
        });
        let child = group.spawn(async {
            yield_now().await;
            crate::support::boom("child");
            Ok(())
        });
        let mut run = hand(group.run(pending::<Result<(), ()>>()));
        assert_eq!(panic_text(|| run.drive()), "child");
        log.is(&["exit"]);
        assert!(matches!(hand(child.join()).ready(), Err(ChildError::Panicked)));
    }
}

#[test]
fn r17_join_gives_the_value_once_it_is_there() {
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok(7)
        }
    });
    assert!(!child.is_finished());
    let mut join = Box::pin(child.join());
    let mut run = hand(group.run(async {
        assert!(!join.is_terminated());
        assert!(poll_once(&mut join).await.is_pending());
        gate.open();
        let value = (&mut join).await.unwrap();
        assert!(join.is_terminated());
        Ok(value)
    }));
    assert_eq!(run.drive().unwrap(), 7);
}

#[test]
fn r17_a_dropped_handle_leaves_its_child_alone() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        drop(group.spawn(async {
            yield_now().await;
            log.add("child ends");
            Ok(())
        }));
        lose(group.spawn(pending::<Result<(), ()>>()).join()).await;
        for _ in 0..3 {
            yield_now().await;
        }
        group.cancel();
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["child ends"]);
}

#[test]
fn r07_cancelling_a_group_reaches_children_on_an_executor() {
    let exec = Executor::new();
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let log = log.clone();
        group.spawn_on(&exec, async move {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    exec.run();
    group.cancel_because("all");
    exec.run();
    assert_eq!(exec.len(), 0);
    log.is(&["exit"]);
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Cancelled(r) if r.message() == Some("all")));
}

#[test]
fn r07_an_outer_cancellation_reaches_grandchildren_on_executors() {
    let exec = Executor::new();
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let (inner, logs) = (exec.clone(), log.clone());
        group.spawn_on(&exec, async move {
            let nested: TaskGroup<'_, ()> = TaskGroup::new();
            let body = async {
                nested.spawn_on(&inner, async move {
                    let stack = ExitStack::new();
                    stack.defer(logs.entry("exit"));
                    stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
                });
                pending::<Result<(), ()>>().await
            };
            nested.run(body).await.map_err(drop)
        });
        group.run(pending::<Result<(), ()>>()).await
    }));
    run.pending();
    exec.run();
    assert_eq!(exec.len(), 2);
    scope.cancel();
    run.pending();
    log.is(&[]);
    exec.run();
    log.is(&["exit"]);
    assert_eq!(exec.len(), 0);
    run.drive().unwrap_err();
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
fn r16_executor_children_of_a_group_that_is_never_run_are_cancelled() {
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn_on(&exec, pending::<Result<(), ()>>());
    exec.run();
    assert!(!child.is_finished());
    drop(group);
    exec.run();
    let Err(ChildError::Cancelled(reason)) = hand(child.join()).ready() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::OwnerGone);
    assert_eq!(exec.len(), 0);
}

#[test]
fn r16_executor_children_of_a_group_that_is_never_run_are_waited_for_where_it_is_dropped() {
    let log = Log::new();
    let exec = Executor::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let exits = log.clone();
        group.spawn_on(&exec, async move {
            let stack = ExitStack::new();
            stack.defer(exits.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        });
        exec.run();
        drop(group);
        log.add("dropped");
    }));
    run.pending();
    log.is(&["dropped"]);
    exec.run();
    run.drive().unwrap();
    log.is(&["dropped", "exit"]);
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
fn r08_exits_of_a_child_that_its_executor_drops_before_the_group_is_run_are_run_by_it() {
    let log = Log::new();
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn_on(&exec, {
        let log = log.clone();
        async move {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        }
    });
    exec.run();
    exec.shut_down();
    log.is(&[]);
    hand(group.run(async { Ok(()) })).drive().unwrap();
    log.is(&["exit"]);
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
