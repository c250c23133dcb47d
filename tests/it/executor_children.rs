//! Children on an executor: a group waits for them wherever they run, and their exits run even if the executor drops them (R16).

use crate::support::{Executor, Full, Gate, Log, boom, hand, panic_text, yield_now};
use moored::rt::tokio::Tokio;
use moored::{
    BoxTask, CancelScope, Cause, ChildError, ExitStack, ReasonKind, Refused, Spawn, TaskGroup, task,
};
use std::future::{Future, pending};
use std::sync::Mutex;
use std::task::{Context, Waker};

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

// An option of a group that is set after an executor child was spawned.

/// Spawns `child` on `executor`, and polls it there.
fn polled_on<T: Send + 'static>(
    executor: &Executor,
    child: impl Future<Output = Result<T, &'static str>> + Send + 'static,
) -> TaskGroup<'static, &'static str> {
    let group = TaskGroup::new();
    group.spawn_on(executor, child);
    executor.run();
    group
}

#[test]
fn r17_an_executor_child_that_succeeds_before_first_success_is_set_cancels_nobody() {
    let executor = Executor::new();
    let group = polled_on(&executor, async { Ok(()) }).first_success();
    let second = group.spawn_on(&executor, async { Ok(()) });
    let third = group.spawn(pending::<Result<(), _>>());
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    assert!(!third.is_finished());
    // The option holds for a child that ends from then on, wherever it was spawned.
    executor.run();
    run.drive().unwrap();
    assert!(second.is_finished() && third.is_finished());
}

#[test]
fn r17_an_executor_child_that_fails_before_keep_going_is_set_cancels_its_group() {
    let executor = Executor::new();
    let group = polled_on(&executor, async { Err::<(), _>("early") }).keep_going();
    let other = group.spawn(pending::<Result<(), _>>());
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    assert_eq!(failure.causes().count(), 1);
    let cancelled = hand(other.join()).ready().unwrap_err();
    let ChildError::Cancelled(reason) = cancelled else { panic!("{cancelled}") };
    assert_eq!(reason.kind(), ReasonKind::SiblingFailed);
}

#[test]
fn r15_an_executor_child_that_panics_before_panics_are_isolated_ends_its_group() {
    let executor = Executor::new();
    let panics = async {
        boom("early");
        Ok(())
    };
    let group = polled_on(&executor, panics).isolate_panics();
    let mut run = hand(group.run(async { Ok(()) }));
    assert_eq!(panic_text(|| run.drive()), "early");
}

#[test]
fn r16_an_executor_child_that_is_polled_before_a_limit_is_set_has_no_turn() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let wait = gate.wait();
    let first = async {
        wait.await;
        Ok(())
    };
    let group = polled_on(&executor, first).limit(1);
    let (second, third) = (group.spawn(pending::<Result<(), _>>()), group.spawn(async { Ok(()) }));
    let mut run = hand(group.run(async { Ok(()) }));
    // The second child has the only turn, beside the first, and the third waits for it.
    run.idle();
    assert!(!third.is_finished());
    second.cancel();
    run.idle();
    assert!(third.is_finished());
    gate.open();
    executor.run();
    run.drive().unwrap();
}

/// Abandons an exit that waits for `gate`, and ends with `result`.
async fn ends_before_its_exit<T>(
    gate: Gate,
    result: Result<T, &'static str>,
) -> Result<T, &'static str> {
    let stack = ExitStack::new();
    stack.defer(gate.wait());
    drop(stack);
    result
}

#[test]
fn r06_r17_a_child_whose_body_has_ended_keeps_its_result_though_its_executor_drops_it() {
    let (exec, gate) = (Executor::new(), Gate::new());
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    let value = group.spawn_on(&exec, ends_before_its_exit(gate.clone(), Ok(7)));
    let error = group.spawn_on(&exec, ends_before_its_exit::<()>(gate.clone(), Err("broken")));
    let failed = error.id();
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    exec.run();
    exec.shut_down();
    run.pending();
    gate.open();
    let failure = run.drive().unwrap_err();
    assert_eq!(hand(value.join()).ready().unwrap(), 7);
    assert_eq!(failure.causes().count(), 1, "{failure:#}");
    let Cause::Child { task, error: "broken", .. } = failure.cause() else { panic!("{failure}") };
    assert_eq!(*task, failed);
    assert!(matches!(hand(error.join()).ready(), Err(ChildError::Failed(task)) if task == failed));
}
