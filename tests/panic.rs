//! Panics of user code, wherever it is called: bodies, children, exits, wakers, drops; and user code that
//! calls back in (R15, R18).
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

#[allow(dead_code, reason = "shared with the other test binary")]
#[path = "it/support.rs"]
mod support;

use moored::{
    CancelScope, Cause, ChildError, ExitFailure, ExitStack, TaskGroup, set_report_hook, task,
};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use support::{
    Executor, Gate, Log, Loud, Reports, block_on, boom, hand, lose, panic_text, poll_once,
    waker_fn, yield_now,
};

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

#[test]
fn r15_a_panic_while_a_cancelled_child_is_dropped_is_a_childs_panic() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(async {
        let _loud = Loud("dropped child");
        pending::<Result<(), ()>>().await
    });
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    group.cancel();
    assert_eq!(panic_text(|| run.drive()), "dropped child");
    assert!(matches!(hand(child.join()).ready(), Err(ChildError::Panicked)));
}

// Drops.

#[test]
fn r15_a_body_that_panics_while_it_is_dropped_still_has_its_exits_run() {
    let log = Log::new();
    let scope = CancelScope::new();
    let stack = ExitStack::new();
    let mut run = hand(scope.run(async {
        stack.defer(log.entry("exit"));
        let _loud = Loud("dropped body");
        pending::<()>().await;
    }));
    run.pending();
    scope.cancel();
    assert_eq!(panic_text(|| run.drive()), "dropped body");
    drop(run);
    hand(stack.close()).ready().unwrap();
    log.is(&["exit"]);

    // Further inside: the stack that would have resumed the panic is dropped itself. The cancelled scope reports it,
    // and the exits run.
    let reports = Reports::watch();
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new().named("loud further in");
        let body = async {
            stack.defer(log.entry("exit"));
            let _loud = Loud("dropped body");
            pending::<Result<(), ()>>().await
        };
        stack.run(body).await
    }));
    run.pending();
    scope.cancel();
    let cancelled = run.drive().unwrap_err();
    log.is(&["exit"]);
    let [told] = cancelled.failures() else { panic!("{cancelled:#}") };
    assert!(told.to_string().ends_with("panicked: dropped body"), "{told}");
    assert_eq!(reports.of("loud further in").len(), 0, "there was a record");
}

#[test]
fn r18_dropping_a_run_whose_body_panics_while_dropped_does_not_panic_and_is_reported() {
    let reports = Reports::watch();
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let scope = CancelScope::new().named("loud-drop");
        let mut inner = Box::pin(scope.run(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("exit"));
                let _loud = Loud("dropped body");
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        }));
        assert!(poll_once(&mut inner).await.is_pending());
        drop(inner);
        log.add("on");
    }));
    run.drive().unwrap();
    log.is(&["on", "exit"]);
    drop(run);
    // No caller is left in which the panic could be resumed, so it is reported.
    assert!(!reports.of("dropped body").is_empty());
}

#[test]
fn r15_an_exit_that_panics_while_it_is_dropped_does_not_stop_the_rest() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("older"));
    stack.defer(async {
        // The exit ends, and panics when its local is dropped.
        let _loud = Loud("dropped exit");
    });
    let mut close = hand(stack.close());
    assert_eq!(panic_text(|| close.poll()), "dropped exit");
    log.is(&["older"]);
}

#[test]
fn r18_lost_exits_that_panic_while_dropped_are_still_reported() {
    let reports = Reports::watch();
    let stack = ExitStack::new().named("lost-and-loud");
    let loud = Loud("lost exit");
    stack.defer(async move {
        let _loud = loud;
    });
    drop(stack);
    assert_eq!(reports.of("lost-and-loud").len(), 1);
}

#[test]
fn r18_a_region_dropped_while_unwinding_hands_its_exits_over() {
    let log = Log::new();
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        stack.defer(log.entry("own"));
        let inner = ExitStack::new();
        inner.defer(log.entry("dropped while unwinding"));
        let scope = CancelScope::new();
        let mut parked = Box::pin(scope.run(async {
            let deeper = ExitStack::new();
            deeper.defer(log.entry("deeper"));
            deeper.run(pending::<Result<(), ()>>()).await
        }));
        assert!(poll_once(&mut parked).await.is_pending());
        boom("body");
        Ok::<_, ()>(())
    }));
    assert_eq!(panic_text(|| run.drive()), "body");
    log.is(&["deeper", "dropped while unwinding", "own"]);
}

#[test]
fn r18_a_group_dropped_while_unwinding_does_not_abort_the_process() {
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        for n in 0..3 {
            let log = log.clone();
            group.spawn(async move {
                let stack = ExitStack::new();
                stack.defer(log.entry(format!("{n}")));
                stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
            });
        }
        let mut parked = Box::pin(group.run(pending::<Result<(), ()>>()));
        assert!(poll_once(&mut parked).await.is_pending());
        boom("body");
    }));
    assert_eq!(panic_text(|| run.drive()), "body");
    assert_eq!(log.lines().len(), 3);
}

#[test]
fn r18_children_that_panic_while_a_dropped_group_drops_them_do_not_hold_each_other_up() {
    let drops = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            if !std::thread::panicking() {
                panic!("dropped child");
            }
        }
    }
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    for _ in 0..3 {
        let counts = Counts(Arc::clone(&drops));
        group.spawn(async move {
            let _counts = counts;
            pending::<Result<(), ()>>().await
        });
    }
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(run)));
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    assert_eq!(group.len(), 0);
}

// Wakers.

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn r18_a_panicking_waker_does_not_starve_the_others() {
    // tokio-util: a panicking waker starves the later waiters, and a second cancel never wakes them.
    let scope = CancelScope::new();
    let handle = scope.handle();
    let woken = Arc::new(AtomicUsize::new(0));
    let mut waits: Vec<_> = (0..10).map(|_| handle.cancelled()).collect();
    for (n, wait) in waits.iter_mut().enumerate() {
        let woken = Arc::clone(&woken);
        let waker = waker_fn(move || {
            if n % 3 == 0 {
                panic!("waker {n}");
            }
            woken.fetch_add(1, Ordering::SeqCst);
        });
        assert!(poll_with(wait, &waker).is_pending());
    }
    let text = panic_text(|| scope.cancel());
    assert!(text.starts_with("waker "), "{text}");
    assert_eq!(woken.load(Ordering::SeqCst), 6);
    assert!(scope.is_cancelled());
    for wait in &mut waits {
        assert!(poll_with(wait, Waker::noop()).is_ready());
    }
}

#[test]
fn r18_a_panicking_waker_of_one_child_does_not_keep_a_cancellation_from_its_siblings() {
    let exec = Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    struct Parked(Mutex<Vec<moored::BoxTask>>);
    impl moored::Spawn for Parked {
        fn spawn(&self, mut task: moored::BoxTask) -> Result<(), moored::Refused> {
            let waker = waker_fn(|| panic!("waker"));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.0.lock().unwrap().push(task);
            Ok(())
        }
    }
    let parked = Parked(Mutex::default());
    let bad = group.spawn_on(&parked, pending::<Result<(), ()>>());
    let good = group.spawn_on(&exec, pending::<Result<(), ()>>());
    exec.run();
    let _ = catch_unwind(AssertUnwindSafe(|| group.cancel()));
    exec.run();
    assert!(good.is_finished());
    assert!(!bad.is_finished());
    parked.0.lock().unwrap().clear();
    assert!(bad.is_finished());
}

#[test]
fn r18_a_waker_that_calls_back_in_does_not_deadlock() {
    // async-shutdown wakes while it holds its mutex: a waker that calls back in hangs.
    let scope = Arc::new(CancelScope::new());
    let handle = scope.handle();
    let called = Arc::new(AtomicUsize::new(0));
    let waker = {
        let (handle, called) = (scope.handle(), Arc::clone(&called));
        waker_fn(move || {
            called.fetch_add(1, Ordering::SeqCst);
            handle.cancel();
            assert!(handle.is_cancelled());
            assert!(handle.reason().is_some());
            assert!(poll_with(&mut handle.cancelled(), Waker::noop()).is_ready());
            let _ = format!("{handle:?}");
        })
    };
    let mut wait = handle.cancelled();
    assert!(poll_with(&mut wait, &waker).is_pending());
    let theirs = Arc::clone(&scope);
    let mut run = Box::pin(async move { theirs.run(pending::<()>()).await });
    assert!(poll_with(&mut run, &waker).is_pending());
    scope.cancel();
    assert_eq!(called.load(Ordering::SeqCst), 2);
    assert!(poll_with(&mut run, &waker).is_ready());
}

#[test]
fn r18_a_waker_that_spawns_and_joins_does_not_deadlock() {
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let spawner = group.spawner();
    let gate = Gate::new();
    let child = group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok(7)
        }
    });
    let called = Arc::new(AtomicUsize::new(0));
    let waker = {
        let (handle, called) = (group.handle(), Arc::clone(&called));
        waker_fn(move || {
            if called.fetch_add(1, Ordering::SeqCst) == 0 {
                drop(spawner.spawn(async { Ok(()) }));
                let _ = handle.is_cancelled();
            }
        })
    };
    let mut join = child.join();
    assert!(poll_with(&mut join, &waker).is_pending());
    let mut run = Box::pin(group.run(async { Ok(()) }));
    assert!(poll_with(&mut run, &waker).is_pending());
    gate.open();
    while poll_with(&mut run, &waker).is_pending() {}
    assert!(called.load(Ordering::SeqCst) > 1);
    assert!(matches!(poll_with(&mut join, &waker), Poll::Ready(Ok(7))));
}

/// Calls back into everything when it is dropped.
struct CallsBack {
    handle: moored::CancelHandle,
    stack: Arc<ExitStack>,
    log: Log,
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.handle.cancel();
        let _ = self.handle.reason();
        let _ = self.stack.len();
        let _ = self.stack.owner();
        let _ = format!("{:?} {:?}", self.handle, self.stack);
        let _ = self.stack.try_defer(self.log.entry("registered in a drop"));
        self.log.add("dropped");
    }
}

#[test]
fn r18_user_drops_that_call_back_in_do_not_deadlock() {
    let log = Log::new();
    let scope = CancelScope::new();
    let stack = Arc::new(ExitStack::new());
    let calls_back =
        || CallsBack { handle: scope.handle(), stack: Arc::clone(&stack), log: log.clone() };
    let mut run = hand(task(async {
        let in_body = calls_back();
        stack.defer({
            let in_exit = calls_back();
            async move {
                yield_now().await;
                drop(in_exit);
            }
        });
        drop(stack.hold(calls_back(), |back| async move { drop(back) }));
        let body = async {
            let _in_body = in_body;
            pending::<Result<(), ()>>().await
        };
        let _ = scope.run(stack.run(body)).await;
        // A value that no `join` takes.
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let value = calls_back();
        drop(group.spawn(async move { Ok(value) }));
        let _ = group.run(async { Ok(()) }).await;
    }));
    run.pending();
    scope.cancel();
    run.drive();
    let lines = log.lines();
    assert_eq!(lines.iter().filter(|line| *line == "dropped").count(), 4, "{lines:?}");
}

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
fn r15_an_exits_panic_is_not_hidden_by_the_panic_of_the_values_drop() {
    let reports = Reports::watch();
    let stack = ExitStack::new().named("value-and-exit");
    let mut run = hand(stack.run(async {
        stack.defer(async { boom("exit") });
        Ok::<_, ()>(Loud("value"))
    }));
    let text = panic_text(|| {
        let Poll::Ready(value) = run.poll() else { return };
        std::mem::forget(value);
    });
    assert_eq!(text, "exit");
    let told = reports.of("value-and-exit");
    assert!(told.len() == 1 && told[0].ends_with("panicked: value"), "{told:?}");
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

#[test]
fn r08_a_panicking_waker_loses_no_exit_of_a_dropped_group() {
    /// Keeps tasks that were polled once, with a waker that panics.
    struct Keeps(Mutex<Vec<moored::BoxTask>>);
    impl moored::Spawn for Keeps {
        fn spawn(&self, mut task: moored::BoxTask) -> Result<(), moored::Refused> {
            let waker = waker_fn(|| panic!("waker"));
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.0.lock().unwrap().push(task);
            Ok(())
        }
    }
    let keeps = Keeps(Mutex::default());
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn_on(&keeps, pending::<Result<(), ()>>());
        let mut parked = Box::pin(group.run(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
        }));
        assert!(poll_once(&mut parked).await.is_pending());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(parked)));
        keeps.0.lock().unwrap().clear();
    }));
    run.drive().unwrap();
    log.is(&["exit"]);
}
#[test]
fn r18_a_waker_that_panics_in_its_drop_loses_no_exit() {
    struct LoudWaker(#[allow(dead_code)] Loud);
    impl std::task::Wake for LoudWaker {
        fn wake(self: Arc<Self>) {}
    }
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let mut inner = Box::pin(async {
            let scope = CancelScope::new();
            scope
                .run(async {
                    let stack = ExitStack::new();
                    stack.defer(log.entry("exit"));
                    stack.run(pending::<Result<(), ()>>()).await
                })
                .await
        });
        let waker = Waker::from(Arc::new(LoudWaker(Loud("waker"))));
        assert!(inner.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }));
    let _ = catch_unwind(AssertUnwindSafe(|| run.drive()));
    log.is(&["exit"]);
}

#[test]
fn r14_a_payload_that_panics_when_it_is_dropped_does_not_run_its_exit_twice() {
    let polls = Arc::new(AtomicUsize::new(0));
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("oldest"));
        let counted = Arc::clone(&polls);
        stack.defer(poll_fn(move |_| -> Poll<()> {
            counted.fetch_add(1, Ordering::SeqCst);
            std::panic::panic_any(Loud("payload"))
        }));
        stack.defer(async { boom("first") });
        let _ = stack.close().await;
    }));
    for _ in 0..4 {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| run.poll())) {
            std::mem::forget(payload);
        }
    }
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    log.is(&["oldest"]);
}

/// Panics whenever it is dropped.
struct AlwaysLoud;

impl Drop for AlwaysLoud {
    fn drop(&mut self) {
        panic!("always");
    }
}

#[test]
fn r18_bodies_and_children_that_panic_when_dropped_while_unwinding_do_not_abort_the_process() {
    let text = panic_text(|| {
        let body = || async {
            let _loud = AlwaysLoud;
            pending::<Result<(), ()>>().await
        };
        let scope = CancelScope::new();
        let mut scope_run = hand(scope.run(body()));
        scope_run.pending();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn(body());
        group.spawn(body());
        let mut group_run = hand(group.run(body()));
        group_run.pending();
        // A group that is never run.
        let idle: TaskGroup<'_, ()> = TaskGroup::new();
        for loud in [AlwaysLoud, AlwaysLoud] {
            idle.spawn(async move {
                drop(loud);
                Ok(())
            });
        }
        boom("first");
    });
    assert_eq!(text, "first");
}

#[test]
fn r18_lost_exits_that_panic_when_dropped_while_unwinding_do_not_abort_the_process() {
    let reports = Reports::watch();
    let text = panic_text(|| {
        let stack = ExitStack::new().named("lost while unwinding");
        for loud in [AlwaysLoud, AlwaysLoud] {
            stack.defer(async move { drop(loud) });
        }
        boom("first");
    });
    assert_eq!(text, "first");
    assert!(reports.of("lost while unwinding")[0].starts_with("2 exits"));
}
