//! No reference cycle survives leaving: a test for each cycle that is possible by design (R19).

use crate::support::{Executor, Gate, Log, Wakes, hand, lose, poll_once, yield_now};
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, TaskGroup, task};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// A task as many executors allocate it: each of its wakers keeps the future alive.
struct ArcTask(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for ArcTask {
    fn wake(self: Arc<Self>) {}
}

impl ArcTask {
    fn new(future: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(ArcTask(Mutex::new(Some(Box::pin(future)))))
    }

    /// Polls it once. A future that is ready is kept until the task is dropped, as some executors do.
    fn poll(self: &Arc<Self>) -> bool {
        let waker = Waker::from(Arc::clone(self));
        let mut future = self.0.lock().unwrap();
        future.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }
}

/// Checks that the task is freed once the executor drops its reference.
#[track_caller]
fn gone(task: Arc<ArcTask>) {
    let weak: Weak<ArcTask> = Arc::downgrade(&task);
    drop(task);
    assert!(weak.upgrade().is_none(), "something holds the task's waker, and the task holds it");
}

#[test]
fn r19_a_scope_that_was_left_keeps_no_waker() {
    let scope = Arc::new(CancelScope::new());
    let handle = scope.handle();
    let task = ArcTask::new(async move {
        scope.run(yield_now()).await.unwrap();
        pending::<()>().await;
        drop(scope);
    });
    assert!(!task.poll());
    assert!(!task.poll());
    gone(task);
    drop(handle);
}

#[test]
fn r19_a_cancelled_scope_keeps_no_waker() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let theirs = scope.handle();
    let task = ArcTask::new(async move {
        scope.run(pending::<()>()).await.unwrap_err();
        pending::<()>().await;
        drop(theirs);
    });
    assert!(!task.poll());
    handle.cancel();
    assert!(!task.poll());
    gone(task);
}

#[test]
fn r19_a_closed_stack_keeps_no_waker() {
    let task = ArcTask::new(async {
        let stack = ExitStack::new();
        stack.defer(async { yield_now().await });
        stack.close().await.unwrap();
        pending::<()>().await;
    });
    assert!(!task.poll());
    assert!(!task.poll());
    gone(task);
}

#[test]
fn r19_a_group_that_was_left_keeps_neither_waker_nor_children() {
    let alive = Arc::new(());
    let token = Arc::clone(&alive);
    let task = ArcTask::new(async move {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let children = group.spawner();
        group
            .run(async {
                let token = Arc::clone(&token);
                // A child that holds a spawner of its own group.
                group.spawn(async move {
                    yield_now().await;
                    drop((children, token));
                    Ok(())
                });
                Ok(())
            })
            .await
            .unwrap();
        drop(token);
        pending::<()>().await;
        drop(spawner);
    });
    while Arc::strong_count(&alive) > 1 {
        assert!(!task.poll());
    }
    gone(task);
}

#[test]
fn r19_a_child_that_holds_its_groups_spawner_does_not_outlive_the_group() {
    // Spawned and never run: the spawner holds the queue, the queue the child, and the child the
    // spawner.
    let alive = Arc::new(());
    let spawner = {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        for _ in 0..3 {
            let (spawner, token) = (group.spawner(), Arc::clone(&alive));
            group.spawn(async move {
                pending::<()>().await;
                drop((spawner, token));
                Ok(())
            });
        }
        group.spawner()
    };
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(spawner);

    // Started, and dropped with the run.
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let (spawner, token) = (group.spawner(), Arc::clone(&alive));
    group.spawn(async move {
        pending::<()>().await;
        drop((spawner, token));
        Ok(())
    });
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    drop(run);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn r19_an_executor_child_that_holds_its_groups_spawner_is_gone_when_it_ends() {
    let alive = Arc::new(());
    let exec = Executor::new();
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let (spawner, token) = (group.spawner(), Arc::clone(&alive));
    let handle = group.spawn_on(&exec, async move {
        yield_now().await;
        drop(spawner);
        Ok(token)
    });
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    exec.run();
    run.drive().unwrap();
    // The value is kept for a `join`.
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(handle);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn r19_a_dropped_handle_keeps_no_result() {
    let alive = Arc::new(());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let token = Arc::clone(&alive);
    drop(group.spawn(async move { Ok(token) }));
    let mut run = hand(group.run(async {
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(Arc::strong_count(&alive), 1, "while the group goes on");
        Ok(())
    }));
    run.drive().unwrap();
}

#[test]
fn r19_a_dropped_wait_for_cancellation_keeps_no_waker() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let task = ArcTask::new(async move {
        lose(handle.cancelled()).await;
        pending::<()>().await;
        drop(handle);
    });
    assert!(!task.poll());
    gone(task);
    drop(scope);
}

#[test]
fn r19_exits_are_dropped_where_they_end() {
    let alive = Arc::new(());
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        for _ in 0..3 {
            let token = Arc::clone(&alive);
            stack.defer(async move {
                yield_now().await;
                let _token = token;
            });
        }
        stack.close().await.unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
        lose(async {
            let stack = ExitStack::new();
            let token = Arc::clone(&alive);
            stack.defer(async move { drop(token) });
            stack.run(pending::<Result<(), ()>>()).await
        })
        .await;
        yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }));
    run.drive();
}

#[test]
fn r19_a_handle_keeps_nothing_of_its_region_alive() {
    let alive = Arc::new(());
    let scope = CancelScope::new();
    let handle = scope.handle();
    let token = Arc::clone(&alive);
    let mut run = Box::pin(scope.run(async move {
        pending::<()>().await;
        drop(token);
    }));
    assert!(hand(async { poll_once(&mut run).await.is_pending() }).ready());
    drop(run);
    drop(scope);
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(handle);
}

#[test]
fn r19_a_scope_that_lives_for_ever_forgets_who_waited_inside_it() {
    // Each round links an inner scope outwards, because a wait for its cancellation is
    // registered.
    let gate = Gate::new();
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        for _ in 0..1_000 {
            let inner = CancelScope::new();
            let handle = inner.handle();
            inner.run(lose(handle.cancelled())).await.unwrap();
        }
        log.add("rounds");
        gate.wait().await;
    }));
    run.pending();
    log.is(&["rounds"]);
    scope.cancel();
    assert_eq!(run.wakes.count(), 1);
    run.ready().unwrap_err();
}

#[test]
fn r19_a_wait_for_a_region_that_was_left_keeps_nothing_alive() {
    for left_first in [false, true] {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let task = ArcTask::new(async move { handle.cancelled().await });
        if !left_first {
            assert!(!task.poll());
        }
        hand(scope.run(async {})).ready().unwrap();
        drop(scope);
        if left_first {
            assert!(!task.poll());
        }
        gone(task);
    }
}

#[test]
fn r19_a_mock_clock_gives_its_timers_back() {
    let wakes = Wakes::new();
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(Duration::from_secs(1));
    let mut run = Box::pin(task(scope.run(pending::<()>())).clock(clock.clone()));
    for _ in 0..3 {
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(run);
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn r19_a_region_is_counted_once_in_its_first_poll_and_after_it() {
    let counted = || {
        let scope = CancelScope::new();
        // The handle makes the nodes of the region in its first poll and of the regions around it.
        let now = moored::testing::live_regions();
        drop(scope.handle());
        now
    };
    let mut run = hand(task(async {
        let scope = CancelScope::new();
        let inner = async {
            let entered = CancelScope::new().enter().unwrap();
            assert_eq!(
                moored::testing::live_regions(),
                3,
                "the task, the scope, and what was entered"
            );
            drop(entered);
            assert_eq!(counted(), 3);
            yield_now().await;
            assert_eq!(moored::testing::live_regions(), 2);
        };
        scope.run(inner).await.unwrap();
        drop(scope);
        assert_eq!(moored::testing::live_regions(), 1);
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        drop(group.spawn(async {
            drop(CancelScope::new().enter().unwrap());
            assert_eq!(moored::testing::live_regions(), 3, "the task, the group, and the child");
            yield_now().await;
            assert_eq!(moored::testing::live_regions(), 3);
            Ok(())
        }));
        group.run(async { Ok(()) }).await.unwrap();
        drop(group);
        assert_eq!(moored::testing::live_regions(), 1);
    }));
    run.drive();
    drop(run);
    assert_eq!(moored::testing::live_regions(), 0);
}

#[test]
fn r19_a_stack_that_another_task_hands_back_keeps_no_waker_of_its_close() {
    crate::support::as_owner(async {
        let (wakes, open) = (Wakes::new(), Arc::new(Mutex::new(false)));
        let stack = ExitStack::new();
        let waits = Arc::clone(&open);
        stack.defer(std::future::poll_fn(move |_| match *waits.lock().unwrap() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }));
        let mut close = Box::pin(stack.close());
        {
            let waker = Waker::from(Arc::clone(&wakes));
            assert!(close.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let error = crate::support::as_thief(async { (&mut close).await.unwrap_err() }).await;
        assert_eq!(Arc::strong_count(&wakes), 1);
        drop(close);
        *open.lock().unwrap() = true;
        error.into_inner().unwrap().close().await.unwrap();
    });
}
