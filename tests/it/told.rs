//! Failures in abandoned exits and children: which region reports them, when, and how many are kept (R15,
//! R19).

use crate::support::{
    Executor, Gate, Loud, Reports, boom, hand, lose, panic_text, poll_once, yield_now,
};
use moored::{
    BoxTask, CancelScope, Cause, ExitFailure, ExitStack, Failure, Refused, Spawn, TaskGroup, local,
    task,
};
use std::future::pending;
use std::sync::{Arc, Mutex};

fn texts<E: std::fmt::Display>(failure: &Failure<E>) -> Vec<String> {
    failure.causes().map(ToString::to_string).collect()
}

/// Abandons a stack with an exit that fails.
fn abandon_a_failure() {
    ExitStack::new().defer(async { Err("of an exit") });
}

// Order and places.

#[test]
fn r15_where_the_body_and_two_exits_panic_the_record_has_the_exits_in_their_order_and_places() {
    let outer = ExitStack::new();
    let (mut lines, mut texts_of) = ([0; 2], Vec::new());
    let mut run = hand(outer.run(async {
        let inner = ExitStack::new();
        let mut inner_run = Box::pin(inner.run(async {
            lines[1] = line!() + 1;
            inner.defer(async { boom("ran second") });
            lines[0] = line!() + 1;
            inner.defer(async { boom("ran first") });
            boom("of the body");
            Ok::<_, ()>(())
        }));
        let mut poll = |cx: &mut std::task::Context<'_>| panic_text(|| inner_run.as_mut().poll(cx));
        let text = std::future::poll_fn(|cx| std::task::Poll::Ready(poll(cx))).await;
        assert_eq!(text, "of the body");
        Ok::<_, ()>(())
    }));
    let failure = run.drive().unwrap_err();
    for cause in failure.causes() {
        let Cause::Exit(exit @ ExitFailure::Panicked { message, .. }) = cause else { panic!() };
        texts_of.push((message.as_str(), exit.registered_at().line()));
    }
    drop(run);
    assert_eq!(texts_of, [("ran first", lines[0]), ("ran second", lines[1])]);
}

#[test]
fn r15_the_panic_of_an_adopted_exit_that_came_before_the_bodys_is_the_one_that_goes_on() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let scope = CancelScope::new();
        let inner = scope.run(async {
            let stack = ExitStack::new();
            stack.defer(async { boom("of the exit") });
            drop(stack);
            yield_now().await;
            boom("of the body")
        });
        let inner = std::panic::AssertUnwindSafe(inner);
        let payload = futures::FutureExt::catch_unwind(inner).await.unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("of the exit"));
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    assert_eq!(failure.causes().count(), 1);
    assert!(failure.to_string().ends_with("panicked: of the body"), "{failure}");
}

// Children and exits of a dropped group.

/// Drops each child at its first poll, and keeps every later task.
#[derive(Clone, Default)]
struct DropsChildren(Arc<Mutex<Vec<BoxTask>>>);

impl Spawn for DropsChildren {
    fn spawn(&self, mut task: BoxTask) -> Result<(), Refused> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        drop(task);
        Ok(())
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::new(Keeps(Arc::clone(&self.0))))
    }
}

struct Keeps(Arc<Mutex<Vec<BoxTask>>>);

impl Spawn for Keeps {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.lock().unwrap().push(task);
        Ok(())
    }
}

impl DropsChildren {
    fn run_kept(&self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let kept = std::mem::take(&mut *self.0.lock().unwrap());
        for mut task in kept {
            assert!(task.as_mut().poll(&mut cx).is_ready());
        }
    }
}

/// A child that abandons an exit.
async fn leaves(
    exit: impl Future<Output = Result<(), &'static str>> + Send + 'static,
) -> Result<(), &'static str> {
    let stack = ExitStack::new();
    stack.defer(exit);
    let _ = stack.run(pending::<Result<(), ()>>()).await;
    Ok(())
}

#[test]
fn r15_an_exit_that_panics_on_an_executor_is_resumed_by_the_group_that_waits_for_it() {
    let exec = DropsChildren::default();
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    group.spawn_on(
        &exec,
        leaves(async {
            boom("on its way");
            Ok(())
        }),
    );
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    exec.run_kept();
    assert_eq!(panic_text(|| run.drive()), "on its way");
}

#[test]
fn r15_an_exit_that_panics_on_an_executor_is_resumed_by_what_adopted_its_dropped_group() {
    let exec = DropsChildren::default();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        group.spawn_on(
            &exec,
            leaves(async {
                boom("on its way");
                Ok(())
            }),
        );
        lose(group.run(pending::<Result<(), &str>>())).await;
    }));
    run.pending();
    exec.run_kept();
    assert_eq!(panic_text(|| run.drive()), "on its way");
}

#[test]
fn r15_a_child_that_panics_after_its_group_was_dropped_is_resumed_where_the_wait_was_adopted() {
    let exec = Executor::new();
    let gate = Gate::new();
    let mut run = hand(task(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        for text in ["first", "second"] {
            let gate = gate.clone();
            group.spawn_on(
                &exec,
                moored::shield(async move {
                    gate.wait().await;
                    boom(text);
                    Ok(())
                }),
            );
        }
        exec.run();
        lose(group.run(pending::<Result<(), ()>>())).await;
    }));
    run.pending();
    let reports = Reports::watch();
    gate.open();
    exec.run();
    // The first panic is resumed. The second has no record, so it is reported when it happens.
    assert!(matches!(&reports.of("panicked: second")[..], [_]));
    assert_eq!(panic_text(|| run.drive()), "first");
}

#[test]
fn r15_a_cancelled_scope_tells_of_the_errors_of_children_that_its_body_left_behind() {
    let exec = Executor::new();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let (mut child, mut line) = (None, 0);
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let gate = gate.clone();
        line = line!() + 1;
        let spawned = group.spawn_on(
            &exec,
            moored::shield(async move {
                gate.wait().await;
                Err::<(), _>("of nobody")
            }),
        );
        child = Some(spawned.id());
        exec.run();
        let _ = group.run(pending::<Result<(), &str>>()).await;
    }));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    exec.run();
    let cancelled = run.ready().unwrap_err();
    drop(run);
    let [ExitFailure::Unclaimed { task, registered_at, .. }] = cancelled.failures() else {
        panic!("{cancelled:#}")
    };
    assert_eq!((Some(task), registered_at.line()), (child.as_ref(), line));
}

#[test]
fn r15_a_cancelled_scope_tells_of_exits_that_had_failed_before_their_stack_was_dropped() {
    let scope = CancelScope::new();
    let gate = Gate::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        stack.defer(async { Err("before") });
        let _ = stack.run(async { Ok::<_, ()>(()) }).await;
    }));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    let cancelled = run.ready().unwrap_err();
    let [failure] = cancelled.failures() else { panic!("{cancelled:#}") };
    assert!(failure.to_string().ends_with("failed: before"), "{failure}");
}

#[test]
fn r15_an_error_of_a_child_whose_exits_run_when_its_group_is_dropped_is_unclaimed() {
    let gate = Gate::new();
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let exit = gate.clone();
        let child = group.spawn(async {
            let inner = ExitStack::new();
            inner.defer(async move { exit.wait().await });
            drop(inner);
            Err::<(), _>("of a child")
        });
        lose(group.run(pending::<Result<(), &str>>())).await;
        Ok::<_, &str>(child.id())
    }));
    run.pending();
    gate.open();
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Exit(ExitFailure::Unclaimed { .. })), "{failure:?}");
}

#[test]
fn r15_an_error_of_a_body_whose_exits_run_when_its_stacks_run_is_dropped_is_unclaimed() {
    for is_local in [false, true] {
        let (scope, gate) = (CancelScope::new(), Gate::new());
        let exit = gate.wait();
        let body = async {
            if is_local {
                let stack = local::ExitStack::new();
                let failing = async {
                    stack.defer(exit);
                    Err::<(), _>("of a body")
                };
                return stack.run(failing).await;
            }
            let stack = ExitStack::new();
            let failing = async {
                stack.defer(exit);
                Err::<(), _>("of a body")
            };
            stack.run(failing).await
        };
        let mut run = hand(scope.run(body));
        run.pending();
        scope.cancel();
        run.idle();
        gate.open();
        let cancelled = run.drive().map(drop).unwrap_err();
        assert!(
            matches!(cancelled.failures(), [ExitFailure::Unclaimed { .. }]),
            "local {is_local}: {cancelled:?}"
        );
    }
}

// The time and the number of reports.

#[test]
fn r15_what_fails_in_a_task_is_told_when_it_happens_and_not_when_the_task_ends() {
    let reports = Reports::watch();
    let mut run = hand(
        task(async {
            for _ in 0..2 {
                abandon_a_failure();
                yield_now().await;
            }
            pending::<()>().await
        })
        .named("tells at once"),
    );
    run.pending();
    assert_eq!(reports.of("tells at once").len(), 1);
    run.pending();
    assert_eq!(reports.of("tells at once").len(), 2);
    drop(run);
    assert_eq!(reports.of("tells at once").len(), 2);
}

#[test]
fn r15_what_fails_in_a_scope_without_a_record_around_is_told_when_it_happens() {
    let reports = Reports::watch();
    let scope = CancelScope::new().named("scope tells at once");
    let mut run = hand(scope.run(async {
        abandon_a_failure();
        pending::<()>().await
    }));
    run.pending();
    assert_eq!(reports.of("scope tells at once").len(), 1);
    // A later cancellation has the failure in its record as well.
    scope.cancel();
    assert_eq!(run.ready().unwrap_err().failures().len(), 1);
    assert_eq!(reports.of("scope tells at once").len(), 1);
}

#[test]
fn r15_what_an_executor_child_of_a_dropped_group_fails_with_wakes_a_scope_that_has_to_tell() {
    let reports = Reports::watch();
    let exec = Executor::new();
    let gate = Gate::new();
    let scope = CancelScope::new().named("woken to tell");
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
        let opened = gate.clone();
        group.spawn_on(
            &exec,
            moored::shield(async move {
                opened.wait().await;
                Err::<(), _>("of nobody")
            }),
        );
        group.spawn_on(&exec, moored::shield(pending::<Result<(), &str>>()));
        exec.run();
        lose(group.run(pending::<Result<(), &str>>())).await;
        pending::<()>().await
    }));
    run.pending();
    gate.open();
    exec.run();
    run.pending();
    assert!(matches!(&reports.of("woken to tell")[..], [one] if one.contains("nobody can claim")));
}

#[test]
fn r15_a_record_keeps_the_first_failures_of_adopted_exits_and_counts_the_others() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().max_causes(10);
    let failure = hand(group.run(async {
        for _ in 0..100 {
            abandon_a_failure();
            yield_now().await;
        }
        Ok(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (10, 90));

    let stack = ExitStack::new().max_causes(3);
    let failure = hand(stack.run(async {
        (0..5).for_each(|_| abandon_a_failure());
        stack.defer(async { Err("own") });
        Err::<(), _>("body")
    }))
    .drive()
    .unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (3, 4));
    assert!(matches!(failure.cause(), Cause::Body("body")));
    assert!(texts(&failure)[1].ends_with("of an exit"));

    let stack = ExitStack::new().max_causes(1);
    (0..3).for_each(|_| stack.defer(async { Err("own") }));
    let failure = hand(stack.close()).ready().unwrap_err();
    let failure = failure.failure().unwrap();
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 2));
}

#[test]
fn r15_the_cap_counts_children_and_exits_together() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going().max_causes(3);
    let failure = hand(group.run(async {
        (0..2).for_each(|_| drop(group.spawn(async { Err::<(), _>("of a child") })));
        (0..4).for_each(|_| abandon_a_failure());
        Ok(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (3, 3));
}

/// An error that holds a reference until it is dropped.
#[derive(Debug)]
struct Counted(#[allow(dead_code, reason = "it is counted")] Arc<()>);

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("of an exit")
    }
}

impl std::error::Error for Counted {}

#[test]
fn r19_a_group_that_is_not_polled_keeps_no_more_failures_of_executor_children_than_its_cap() {
    let (executor, kept) = (Executor::new(), Arc::new(()));
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going().max_causes(2);
    let mut run = hand(group.run(async {
        for _ in 0..5 {
            let error = Counted(Arc::clone(&kept));
            drop(group.spawn_on(&executor, async {
                ExitStack::new().defer(async { Err(error) });
                Ok(())
            }));
        }
        Ok(())
    }));
    run.pending();
    executor.run();
    assert_eq!(Arc::strong_count(&kept) - 1, 2, "the others were dropped when they were counted");
    let failure = run.ready().unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (2, 3));
}

#[test]
fn r15_failures_over_the_cap_of_a_group_that_is_dropped_are_still_counted() {
    let reports = Reports::watch();
    let group: TaskGroup<'_, &str> = TaskGroup::new().named("capped").max_causes(2);
    let mut run = hand(group.run(async {
        (0..5).for_each(|_| abandon_a_failure());
        pending::<Result<(), &str>>().await
    }));
    run.pending();
    drop(run);
    let told = reports.of("in task group `capped`");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[2].ends_with("3 more failures over the cap of a record that was dropped"),
        "{told:?}"
    );
}

#[test]
fn r19_a_scope_that_lives_for_ever_keeps_no_more_than_its_cap() {
    let _turn = Reports::watch();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        for _ in 0..3_000 {
            abandon_a_failure();
            yield_now().await;
        }
        pending::<()>().await
    }));
    (0..=3_000).for_each(|_| run.pending());
    scope.cancel();
    let cancelled = run.ready().unwrap_err();
    assert_eq!((cancelled.failures().len(), cancelled.omitted()), (1024, 3_000 - 1024));
    assert!(cancelled.to_string().ends_with("(and 3000 more)"), "{cancelled}");
}

// A value that is dropped because a failure is returned instead.

#[test]
fn r15_a_value_that_panics_in_its_drop_does_not_hide_the_failure_that_takes_its_place() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let stack = ExitStack::new();
        let inner = stack.run(async {
            stack.defer(async { Err("of an exit") });
            Ok::<_, &str>(Loud("of the value"))
        });
        let inner = std::panic::AssertUnwindSafe(inner);
        let payload = futures::FutureExt::catch_unwind(inner).await.err().unwrap();
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("of the value"));
        let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
        let inner = group.run(async {
            group.spawn(async { Err::<(), _>("of a child") });
            Ok(Loud("of the value"))
        });
        let inner = std::panic::AssertUnwindSafe(inner);
        let payload = futures::FutureExt::catch_unwind(inner).await.err().unwrap();
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("of the value"));
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    let told = texts(&failure);
    assert!(told[0].ends_with("failed: of an exit"), "{told:?}");
    assert!(told[1].ends_with("dropped, or has panicked"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn r15_a_value_of_a_run_that_another_task_polls_may_panic_in_its_drop() {
    let scope = CancelScope::new();
    let gate = Gate::new();
    let mut run = Box::pin(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        drop(stack);
        Loud("of the value")
    }));
    let outer = CancelScope::new();
    let mut around = hand(outer.run(async {
        task(async { assert!(poll_once(&mut run).await.is_pending()) }).await;
        task(async { drop(run.as_mut().await) }).await;
    }));
    around.pending();
    gate.open();
    assert_eq!(panic_text(|| around.drive()), "of the value");
}

#[test]
fn r15_r19_a_wait_for_children_that_is_dropped_tells_of_each_panic_and_keeps_no_waker() {
    let reports = Reports::watch();
    for panics_before in [true, false] {
        let (exec, gate) = (Executor::new(), Gate::new());
        let mut run = hand(task(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let gate = gate.clone();
            group.spawn_on(
                &exec,
                moored::shield(async move {
                    gate.wait().await;
                    boom("that no wait resumes");
                    Ok(())
                }),
            );
            exec.run();
            lose(group.run(pending::<Result<(), ()>>())).await;
            pending::<()>().await;
        }));
        run.pending();
        let wakes = Arc::clone(&run.wakes);
        if panics_before {
            gate.open();
            exec.run();
        }
        drop(run);
        assert_eq!(Arc::strong_count(&wakes), 1);
        gate.open();
        exec.run();
        let told = reports.of("panicked: that no wait resumes").len();
        assert_eq!(told, if panics_before { 1 } else { 2 });
    }
}

#[test]
fn r15_errors_over_the_cap_of_a_group_whose_run_is_dropped_are_counted_in_the_record_around() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going().max_causes(1);
        (0..3).for_each(|_| drop(group.spawn(async { Err::<(), _>("of a child") })));
        lose(group.run(pending::<Result<(), &str>>())).await;
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 2));
}
