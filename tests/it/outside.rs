//! Regions that were entered where no task was known, and go on or are dropped inside one (R5, R8).

use crate::support::{Gate, Log, Reports, hand, yield_now};
use moored::{CancelScope, ExitStack, Failure, TaskGroup, local, task};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;

/// Two exits, the newest first.
const BOTH: [&str; 2] = ["second", "first"];

fn two_exits(stack: &ExitStack, log: &Log) {
    stack.defer(log.entry("first"));
    stack.defer(log.entry("second"));
}

fn is_run_after_body(log: &Log) {
    let expected: Vec<_> = ["body"].into_iter().chain(BOTH).collect();
    log.is(&expected);
}

#[test]
fn r08_a_stack_that_was_used_outside_every_task_and_is_dropped_inside_one_has_its_exits_run_there()
{
    let reports = Reports::watch();
    for name in [None, Some("used-outside")] {
        let log = Log::new();
        let stack = name.into_iter().fold(ExitStack::new(), ExitStack::named);
        two_exits(&stack, &log);
        let inner = log.clone();
        hand(task(async move {
            drop(stack);
            inner.add("body");
        }))
        .ready();
        is_run_after_body(&log);
    }
    assert!(reports.of("used-outside").is_empty());
}

#[test]
fn r08_its_exits_go_to_the_innermost_region_there() {
    let log = Log::new();
    let stack = ExitStack::new();
    two_exits(&stack, &log);
    let inner = log.clone();
    hand(task(async move {
        let scope = CancelScope::new();
        let body = async {
            drop(stack);
            inner.add("body");
        };
        scope.run(body).await.unwrap();
        inner.add("scope left");
    }))
    .ready();
    log.is(&["body", "second", "first", "scope left"]);
}

#[test]
fn r08_a_root_that_is_no_task_takes_them_as_well() {
    let log = Log::new();
    let stack = ExitStack::new();
    two_exits(&stack, &log);
    let scope = CancelScope::new();
    let body = async {
        drop(stack);
        log.add("body");
    };
    hand(scope.run(body)).ready().unwrap();
    is_run_after_body(&log);
}

#[test]
fn r08_a_local_stack_does_the_same() {
    let log = Log::new();
    let stack = local::ExitStack::new();
    stack.defer(log.entry("first"));
    stack.defer(log.entry("second"));
    hand(task(async {
        drop(stack);
        log.add("body");
    }))
    .ready();
    is_run_after_body(&log);
}

#[test]
fn r08_a_close_that_was_made_outside_and_is_dropped_inside_leaves_the_exits_there() {
    for polled in [false, true] {
        let log = Log::new();
        let stack = ExitStack::new();
        two_exits(&stack, &log);
        stack.defer(yield_now());
        let mut close = stack.close();
        let inner = log.clone();
        let mut run = hand(task(async move {
            if polled {
                assert!(futures::poll!(&mut close).is_pending());
            }
            drop(close);
            inner.add("body");
        }));
        run.drive();
        is_run_after_body(&log);
    }
}

#[test]
fn r08_a_run_in_a_scope_that_was_entered_outside_leaves_its_exits_where_it_is_dropped() {
    let reports = Reports::watch();
    let log = Log::new();
    let scope = CancelScope::new().named("entered-outside").enter().unwrap();
    let inner = log.clone();
    hand(task(async move {
        let stay = scope.run(async {
            let stack = ExitStack::new();
            two_exits(&stack, &inner);
            pending::<()>().await;
        });
        assert!(futures::poll!(Box::pin(stay)).is_pending());
        inner.add("body");
    }))
    .ready();
    is_run_after_body(&log);
    assert!(reports.of("entered-outside").is_empty());
}

#[test]
fn r08_dropped_where_no_region_is_they_are_reported_lost() {
    let reports = Reports::watch();
    let log = Log::new();
    let stack = ExitStack::new().named("used-and-dropped-outside");
    two_exits(&stack, &log);
    drop(stack);
    log.is(&[]);
    assert!(!reports.of("used-and-dropped-outside").is_empty());
}

#[tokio::test]
async fn r02_r08_a_stack_of_another_task_of_the_runtime_is_reported_and_its_exits_are_lost() {
    let reports = Reports::watch();
    let log = Log::new();
    let other = log.clone();
    let stack = tokio::spawn(async move {
        let stack = ExitStack::new().named("used-in-a-bare-task");
        two_exits(&stack, &other);
        stack
    });
    let stack = stack.await.unwrap();
    task(async move { drop(stack) }).await;
    log.is(&[]);
    assert!(!reports.of("used-in-a-bare-task").is_empty());
}

// Runs that were polled outside.

#[test]
fn r05_a_run_of_a_stack_that_was_used_outside_moves_into_a_task() {
    let log = Log::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    two_exits(&stack, &log);
    let mut run = hand(stack.run(async {
        gate.wait().await;
        stack.defer(log.entry("inside"));
        log.add("body");
        Ok::<_, Infallible>(())
    }));
    run.pending();
    gate.open();
    let moved = std::future::poll_fn(|_| run.poll());
    hand(task(moved)).ready().unwrap();
    log.is(&["body", "inside", "second", "first"]);
}

#[test]
fn r05_a_close_of_a_stack_that_was_used_outside_moves_into_a_task() {
    let log = Log::new();
    let stack = ExitStack::new();
    two_exits(&stack, &log);
    stack.defer(yield_now());
    let mut close = hand(stack.close());
    close.pending();
    let moved = std::future::poll_fn(|_| close.poll());
    hand(task(moved)).ready().unwrap();
    log.is(&BOTH);
}

#[test]
fn r02_another_task_does_not_add_to_a_stack_while_its_run_is_polled_outside() {
    let log = Log::new();
    let stack = ExitStack::new();
    two_exits(&stack, &log);
    let gate = Gate::new();
    let mut run = hand(stack.run(async {
        gate.wait().await;
        Ok::<_, Infallible>(())
    }));
    run.pending();
    hand(task(async { assert!(stack.try_defer(async {}).is_err()) })).ready();
    gate.open();
    run.drive().unwrap();
    log.is(&BOTH);
}

/// A future that has been polled once where no task is known, and is dropped inside a task: its exits run there, without a
/// report about `name`.
fn is_taken_up(name: &str, log: &Log, begun: impl Future + 'static) {
    let reports = Reports::watch();
    let mut begun = Box::pin(begun);
    hand(std::future::poll_fn(|cx| {
        assert!(begun.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    }))
    .ready();
    let inner = log.clone();
    hand(task(async move {
        drop(begun);
        inner.add("body");
    }))
    .drive();
    is_run_after_body(log);
    assert!(reports.of(name).is_empty());
}

#[test]
fn r08_a_run_of_such_a_stack_that_was_polled_outside_leaves_its_exits_where_it_is_dropped() {
    let log = Log::new();
    let stack = ExitStack::new().named("run-outside");
    two_exits(&stack, &log);
    is_taken_up("run-outside", &log, async move {
        stack.run(pending::<Result<(), Infallible>>()).await
    });

    let log = Log::new();
    let stack = local::ExitStack::new().named("local-run-outside");
    stack.defer(log.entry("first"));
    stack.defer(log.entry("second"));
    is_taken_up("local-run-outside", &log, async move {
        stack.run(pending::<Result<(), Infallible>>()).await
    });
}

#[test]
fn r08_a_close_that_was_polled_outside_leaves_its_exits_where_it_is_dropped() {
    let log = Log::new();
    let stack = ExitStack::new().named("closed-outside");
    two_exits(&stack, &log);
    stack.defer(yield_now());
    is_taken_up("closed-outside", &log, stack.close());
}

async fn waits_with_two_exits(log: Log) -> Result<(), Failure<Infallible>> {
    let stack = ExitStack::new().named("in-a-root");
    let body = async {
        two_exits(&stack, &log);
        pending::<Result<(), Infallible>>().await
    };
    stack.run(body).await
}

#[test]
fn r08_a_root_that_was_polled_outside_leaves_its_exits_where_it_is_dropped() {
    let log = Log::new();
    is_taken_up("in-a-root", &log, waits_with_two_exits(log.clone()));

    let log = Log::new();
    let inner = log.clone();
    is_taken_up("in-a-root", &log, async move {
        let scope = CancelScope::new();
        let _ = scope.run(waits_with_two_exits(inner)).await;
    });

    let log = Log::new();
    let inner = log.clone();
    is_taken_up("in-a-root", &log, async move {
        let group: TaskGroup<'_, Failure<Infallible>> = TaskGroup::new();
        group.spawn(waits_with_two_exits(inner));
        let _ = group.run(async { Ok(()) }).await;
    });
}

#[test]
fn r08_a_task_that_was_polled_outside_has_only_its_own_chain() {
    let reports = Reports::watch();
    let log = Log::new();
    let inner = log.clone();
    let mut begun = Box::pin(task(async move {
        let stack = ExitStack::new().named("in-a-task-of-its-own");
        two_exits(&stack, &inner);
        pending::<()>().await;
    }));
    let once =
        std::future::poll_fn(|cx| std::task::Poll::Ready(begun.as_mut().poll(cx).is_pending()));
    assert!(hand(once).ready());
    hand(task(async move { drop(begun) })).ready();
    log.is(&[]);
    assert!(!reports.of("in-a-task-of-its-own").is_empty());
}

// Values that are held.

#[test]
fn r08_a_value_that_was_held_outside_comes_back_where_it_is_dropped() {
    let log = Log::new();
    let stack = ExitStack::new();
    let given = log.clone();
    let held = stack.hold((), |()| async move { given.add("back") });
    assert!(hand(stack.close()).ready().is_err(), "still held");
    let inner = log.clone();
    hand(task(async move {
        drop(held);
        inner.add("body");
    }))
    .ready();
    log.is(&["body", "back"]);
}

#[tokio::test]
async fn r08_a_value_that_was_held_in_a_task_of_the_runtime_comes_back_in_that_task() {
    let log = Log::new();
    let inner = log.clone();
    let tokio_task = tokio::spawn(async move {
        let stack = ExitStack::new();
        let given = inner.clone();
        let held = stack.hold((), |()| async move { given.add("back") });
        assert!(stack.close().await.is_err(), "still held");
        let scope = CancelScope::new();
        scope.run(async { drop(held) }).await.unwrap();
        inner.add("left");
    });
    tokio_task.await.unwrap();
    log.is(&["back", "left"]);
}

#[tokio::test]
async fn r02_a_close_that_a_task_of_the_runtime_began_is_refused_to_another_one() {
    let log = Log::new();
    let inner = log.clone();
    let close = tokio::spawn(async move {
        let stack = ExitStack::new();
        two_exits(&stack, &inner);
        stack.defer(yield_now());
        let mut close = stack.close();
        assert!(futures::poll!(&mut close).is_pending());
        Some(close)
    });
    let close = close.await.unwrap().unwrap();
    let refused = tokio::spawn(close).await.unwrap().unwrap_err();
    assert!(refused.rejected().is_some());
    log.is(&[]);
}

#[test]
fn r12_a_stack_whose_run_was_leaked_outside_is_linked_where_it_is_adopted() {
    let stack = ExitStack::new();
    stack.defer(async {});
    let mut handle = None;
    let mut run: Pin<Box<dyn Future<Output = _>>> = Box::pin(stack.run(async {
        let scope = CancelScope::new();
        handle = Some(scope.handle());
        let _ = scope.run(pending::<()>()).await;
        Ok::<_, Infallible>(())
    }));
    hand(std::future::poll_fn(|cx| std::task::Poll::Ready(run.as_mut().poll(cx).is_pending())))
        .ready();
    std::mem::forget(run);
    let released = stack.release().unwrap();
    let outer = CancelScope::new();
    let mut adopts = hand(task(outer.run(async {
        let _stack = released.adopt();
        pending::<()>().await
    })));
    adopts.pending();
    let mut wait = hand(handle.unwrap().cancelled());
    wait.pending();
    outer.cancel();
    assert!(wait.wakes.count() > 0);
    wait.ready();
    drop(adopts);
}
