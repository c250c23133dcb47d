//! Panics of user code, wherever it is called: bodies, children, exits, wakers, drops; and user code that
//! calls back in (R15, R18).
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use moored::{
    CancelScope, Cause, ChildError, ExitFailure, ExitStack, TaskGroup, set_report_hook, task,
};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use support::{Executor, Gate, Log, Reports, block_on, boom, hand, lose, panic_text, yield_now};

#[allow(dead_code, reason = "shared with the other test binary")]
#[path = "it/support.rs"]
mod support;

#[path = "panic/drops.rs"]
mod drops;
#[path = "panic/wakers.rs"]
mod wakers;

// Bodies.

#[test]
fn r15_a_scopes_body_panics_after_what_it_abandoned_has_run() {
    let log = Log::new();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        lose(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("older"));
            let gate = gate.clone();
            stack.defer(async move { gate.wait().await });
            stack.run(pending::<Result<(), ()>>()).await
        })
        .await;
        boom("body");
    }));
    run.pending();
    gate.open();
    assert_eq!(panic_text(|| run.drive()), "body");
    log.is(&["older"]);
}

#[test]
fn r15_a_tasks_body_panics_after_what_it_abandoned_has_run() {
    let log = Log::new();
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("dropped by the unwinding body"));
        boom("body");
    }));
    assert_eq!(panic_text(|| run.drive()), "body");
    log.is(&["dropped by the unwinding body"]);
}

#[test]
fn r15_the_payload_of_a_panic_is_resumed_as_it_is() {
    #[derive(Debug, PartialEq)]
    struct Payload(u32);
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        if true {
            std::panic::panic_any(Payload(7));
        }
        Ok::<_, ()>(())
    }));
    let payload = catch_unwind(AssertUnwindSafe(|| run.poll())).unwrap_err();
    assert_eq!(*payload.downcast::<Payload>().unwrap(), Payload(7));
}

#[test]
fn r15_of_two_panics_the_first_is_resumed_and_the_second_recorded() {
    let reports = Reports::watch();
    let outer = ExitStack::new();
    let mut failures = Vec::new();
    let mut run = hand(outer.run(async {
        let inner = ExitStack::new().named("two-panics");
        let mut inner_run = Box::pin(inner.run(async {
            inner.defer(async { boom("third") });
            inner.defer(async { boom("second") });
            boom("first");
            Ok::<_, ()>(())
        }));
        let text = poll_fn(|cx| Poll::Ready(panic_text(|| inner_run.as_mut().poll(cx)))).await;
        assert_eq!(text, "first");
        Ok::<_, ()>(())
    }));
    let failure = run.drive().unwrap_err();
    for cause in failure.causes() {
        let Cause::Exit(ExitFailure::Panicked { message, .. }) = cause else { panic!("{cause:?}") };
        failures.push(message.clone());
    }
    failures.sort();
    assert_eq!(failures, ["second", "third"]);
    assert_eq!(reports.of("two-panics").len(), 0, "there was a record");
}

#[test]
fn r15_a_run_that_panicked_is_not_polled_into_a_second_panic() {
    let polls = AtomicUsize::new(0);
    let scope = CancelScope::new();
    let mut run = hand(scope.run(poll_fn(|_| -> Poll<()> {
        polls.fetch_add(1, Ordering::SeqCst);
        panic!("body")
    })));
    assert_eq!(panic_text(|| run.poll()), "body");
    assert!(run.poll().is_pending());
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

// Children.

#[test]
fn r15_two_children_panic_and_the_first_is_resumed() {
    let reports = Reports::watch();
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("both-panic");
    for (n, text) in ["first", "second"].into_iter().enumerate() {
        group.spawn(async move {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(async move { boom(text) });
                for _ in 0..n {
                    yield_now().await;
                }
                Ok::<_, ()>(())
            };
            stack.run(body).await.map_err(drop)
        });
    }
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    assert_eq!(panic_text(|| run.drive()), "first");
    let told = reports.of("both-panic");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("panicked: second"), "{told:?}");
}

#[test]
fn r15_an_executor_childs_panic_comes_out_of_its_groups_run() {
    // JoinSet::shutdown() discards panics.
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn_on(&exec, async {
        yield_now().await;
        boom("child");
        Ok(())
    });
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    exec.run();
    assert_eq!(panic_text(|| run.drive()), "child");
    assert!(matches!(hand(child.join()).ready(), Err(ChildError::Panicked)));
    drop(run);
}

// Wakers.

#[test]
fn r18_a_report_hook_that_panics_is_swallowed_also_while_unwinding() {
    let turn = Reports::watch();
    let told = Arc::new(AtomicUsize::new(0));
    set_report_hook({
        let told = Arc::clone(&told);
        move |_| {
            told.fetch_add(1, Ordering::SeqCst);
            panic!("hook");
        }
    });
    let lose_one = || {
        let stack = ExitStack::new();
        stack.defer(async {});
        stack
    };
    drop(lose_one());
    let text = panic_text(|| {
        let _stack = lose_one();
        boom("first");
    });
    assert_eq!(text, "first");
    assert!(told.load(Ordering::SeqCst) >= 2);
    set_report_hook(|_| {});
    drop(turn);
}

#[test]
fn r18_a_report_hook_may_call_back_in() {
    let turn = Reports::watch();
    let told = Arc::new(AtomicUsize::new(0));
    set_report_hook({
        let told = Arc::clone(&told);
        move |report| {
            let _ = report.to_string();
            if told.fetch_add(1, Ordering::SeqCst) == 0 {
                // The hook enters a region of its own, and sets another hook.
                let stack = ExitStack::new();
                stack.defer(async {});
                block_on(stack.close()).unwrap();
                set_report_hook(|_| {});
            }
        }
    });
    let stack = ExitStack::new();
    stack.defer(async {});
    drop(stack);
    assert!(told.load(Ordering::SeqCst) >= 1);
    drop(turn);
}

#[test]
fn r15_a_failing_body_beside_a_panicking_sibling_ends_in_the_panic() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    group.spawn(async {
        yield_now().await;
        boom("child");
        Ok(())
    });
    let mut run = hand(group.run(async { Err::<(), _>("body") }));
    assert_eq!(panic_text(|| run.drive()), "child");
}

#[test]
fn r18_a_clock_that_panics_loses_no_exit() {
    struct Broken;
    impl moored::Clock for Broken {
        fn now(&self) -> std::time::Instant {
            std::time::Instant::now()
        }
        fn sleep_until(&self, _: std::time::Instant) -> moored::Sleep {
            panic!("no time")
        }
    }
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let mut inner = Box::pin(
            task(async {
                let scope = CancelScope::new().timeout(std::time::Duration::from_secs(1));
                scope
                    .run(async {
                        let stack = ExitStack::new();
                        stack.defer(log.entry("exit"));
                        stack.run(pending::<Result<(), ()>>()).await
                    })
                    .await
            })
            .clock(Broken),
        );
        let text = poll_fn(|cx| Poll::Ready(panic_text(|| inner.as_mut().poll(cx)))).await;
        assert_eq!(text, "no time");
    }));
    run.drive().unwrap();
    log.is(&["exit"]);
}

#[test]
fn r18_a_stack_closed_while_unwinding_whose_exit_panics_still_resolves() {
    /// As a guard that blocks in its drop does.
    struct ClosesInDrop(Option<ExitStack>, Log);
    impl Drop for ClosesInDrop {
        fn drop(&mut self) {
            let stack = self.0.take().unwrap();
            match hand(stack.close()).poll() {
                Poll::Ready(Err(error)) => self.1.add(error.to_string()),
                other => self.1.add(format!("{other:?}")),
            }
        }
    }
    let log = Log::new();
    let text = panic_text(|| {
        let stack = ExitStack::new();
        stack.defer(log.entry("older"));
        stack.defer(async { boom("exit") });
        let _guard = ClosesInDrop(Some(stack), log.clone());
        boom("first");
    });
    assert_eq!(text, "first");
    let lines = log.lines();
    assert_eq!(lines[0], "older");
    assert!(lines[1].ends_with("panicked: exit"), "{lines:?}");
}
