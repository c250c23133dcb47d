//! Panics while bodies, children, exits and payloads are dropped (R14, R15, R18).

use crate::support::{Log, Loud, Reports, boom, hand, panic_text, poll_once, yield_now};
use moored::{CancelScope, ChildError, ExitStack, TaskGroup, task};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

// Children.

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
