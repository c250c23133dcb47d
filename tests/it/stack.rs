use crate::support::{Gate, Log, boom, hand, lose, panic_text, yield_now};
use futures::future::{Either, select};
use moored::{CancelScope, Cause, ExitStack, Failure, Leaving, checkpoint, is_cancelled, task};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

#[test]
fn r14_exits_run_last_in_first_out_after_the_body() {
    let log = Log::new();
    let stack = ExitStack::new();
    let result: Result<u8, Failure<()>> = hand(stack.run(async {
        stack.defer(log.entry("first in"));
        stack.defer(log.entry("second in"));
        log.add("body");
        Ok(1)
    }))
    .ready();
    assert_eq!(result.unwrap(), 1);
    log.is(&["body", "second in", "first in"]);
}

#[test]
fn r08_exits_of_a_select_loser_run_in_the_enclosing_scope() {
    let log = Log::new();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let loser = async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("oldest"));
                stack.defer_with({
                    let (log, gate) = (log.clone(), gate.clone());
                    move |why| async move {
                        log.add(format!("newest begins: {}", matches!(why, Leaving::Abandoned)));
                        gate.wait().await;
                        log.add("newest ends");
                    }
                });
                std::future::pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        };
        match select(pin!(loser), pin!(yield_now())).await {
            Either::Left(_) => unreachable!(),
            Either::Right(_) => {}
        }
        log.add("winner goes on");
    }));
    run.pending();
    run.pending();
    log.is(&["winner goes on", "newest begins: true"]);
    gate.open();
    assert!(run.wakes.count() > 0);
    run.ready().unwrap();
    log.is(&["winner goes on", "newest begins: true", "newest ends", "oldest"]);
}

#[test]
fn r02_a_stack_closed_by_another_task_is_rejected_and_its_owner_closes_it_afterwards() {
    let log = Log::new();
    let mut owner = hand(
        task(async {
            let stack = ExitStack::new().named("session");
            stack.defer(log.entry("left"));
            let stack = task(async move {
                let error = stack.close().await.unwrap_err();
                let text = error.to_string();
                assert!(text.contains("(thief)") && text.contains("(owner)"), "{text}");
                error.into_inner().unwrap()
            })
            .named("thief")
            .await;
            log.is(&[]);
            stack.close().await.unwrap();
        })
        .named("owner"),
    );
    owner.ready();
    log.is(&["left"]);
}

#[test]
fn r15_body_error_first_then_the_exits_in_the_order_they_ran() {
    let stack = ExitStack::new();
    let failure: Failure<&str> = hand(stack.run(async {
        stack.defer(async { Err("old") });
        stack.defer(async { Err("new") });
        Err::<(), _>("body")
    }))
    .ready()
    .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("body")));
    let rest: Vec<_> = failure.rest().map(ToString::to_string).collect();
    assert!(rest[0].ends_with("failed: new") && rest[1].ends_with("failed: old"), "{rest:?}");
}

#[test]
fn r14_ten_thousand_exits_run_once_each_last_in_first_out() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let stack = ExitStack::new();
    for n in 0..10_000 {
        let order = Arc::clone(&order);
        stack.defer(async move { order.lock().unwrap().push(n) });
    }
    assert_eq!(stack.len(), 10_000);
    hand(stack.close()).ready().unwrap();
    assert!(order.lock().unwrap().iter().rev().eq(&(0..10_000).collect::<Vec<_>>()));
}

#[test]
fn r14_a_chain_of_ten_thousand_regions_does_not_overflow_the_stack() {
    // Each stack is entered inside an exit of the one before, so that it is its child.
    fn link(depth: usize, ran: Arc<AtomicUsize>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            ran.fetch_add(1, Ordering::SeqCst);
            if depth > 0 {
                let stack = ExitStack::new();
                stack.defer(link(depth - 1, ran));
                // The stack is dropped here. Its exit is adopted, and runs when this exit has ended.
            }
        })
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let stack = ExitStack::new();
    stack.defer(link(10_000, Arc::clone(&ran)));
    hand(stack.close()).drive().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 10_001);
}

#[test]
fn r14_an_exit_registered_while_the_stack_unwinds_runs_next() {
    let log = Log::new();
    let stack = ExitStack::new();
    hand(stack.run(async {
        let late = ExitStack::new();
        late.defer(async {});
        late.close().await.unwrap();
        stack.defer(log.entry("oldest"));
        Ok::<_, ()>(())
    }))
    .ready()
    .unwrap();
    log.is(&["oldest"]);

    // From inside an exit, through a shared stack.
    let log = Log::new();
    let stack: &'static ExitStack = Box::leak(Box::new(ExitStack::new()));
    let mut run = hand(stack.run({
        let log = log.clone();
        async move {
            stack.defer(log.entry("oldest"));
            stack.defer({
                let log = log.clone();
                async move {
                    log.add("middle");
                    stack.defer(log.entry("registered late"));
                }
            });
            stack.defer(log.entry("newest"));
            Ok::<_, ()>(())
        }
    }));
    run.ready().unwrap();
    log.is(&["newest", "middle", "registered late", "oldest"]);
}

#[test]
fn r14_cancelling_from_an_exit_changes_nothing_for_the_other_exits() {
    let log = Log::new();
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer({
            let log = log.clone();
            async move {
                yield_now().await;
                log.add(format!("oldest, cancelled: {}", is_cancelled()));
            }
        });
        stack.defer({
            let (log, handle) = (log.clone(), handle.clone());
            async move {
                handle.cancel();
                yield_now().await;
                checkpoint().await;
                log.add(format!("newest, cancelled: {}", is_cancelled()));
            }
        });
        stack.run(async { Ok::<_, ()>(()) }).await
    }));
    let _ = run.drive();
    log.is(&["newest, cancelled: false", "oldest, cancelled: false"]);
}

#[test]
fn r14_exits_are_shielded_from_what_cancelled_their_region() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer({
            let log = log.clone();
            async move {
                let inner = CancelScope::new();
                let value = inner
                    .run(async {
                        checkpoint().await;
                        yield_now().await;
                        7
                    })
                    .await;
                log.add(format!("{}", value.unwrap()));
            }
        });
        stack.run(pending::<Result<(), ()>>()).await
    }));
    run.pending();
    scope.cancel();
    run.drive().unwrap_err();
    log.is(&["7"]);
}

#[test]
fn r14_a_scope_inside_an_exit_can_be_cancelled_and_timed() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer({
            let log = log.clone();
            async move {
                let inner = CancelScope::new();
                inner.cancel_because("own");
                let cancelled = inner.run(pending::<()>()).await.unwrap_err();
                log.add(cancelled.reason().message().unwrap());
            }
        });
        stack.run(pending::<Result<(), ()>>()).await
    }));
    run.pending();
    scope.cancel_because("outer");
    run.drive().unwrap_err();
    log.is(&["own"]);
}

#[test]
fn r14_an_exit_knows_why_it_runs() {
    fn tell(stack: &ExitStack, log: &Log) {
        let log = log.clone();
        stack.defer_with(move |why| async move {
            log.add(match why {
                Leaving::Cancelled(reason) => format!("cancelled: {}", reason.message().unwrap()),
                other => format!("{other:?}").to_lowercase(),
            })
        });
    }
    let log = Log::new();
    let stack = ExitStack::new();
    tell(&stack, &log);
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    let stack = ExitStack::new();
    tell(&stack, &log);
    hand(stack.run(async { Err::<(), _>(()) })).ready().unwrap_err();
    let stack = ExitStack::new();
    tell(&stack, &log);
    hand(stack.close()).ready().unwrap();
    let stack = ExitStack::new();
    tell(&stack, &log);
    panic_text(|| {
        hand(stack.run(async {
            boom("body");
            Ok::<_, ()>(())
        }))
        .poll()
    });
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        tell(&stack, &log);
        stack.run(pending::<Result<(), ()>>()).await
    }));
    run.pending();
    scope.cancel_because("outer");
    run.ready().unwrap_err();
    hand(task(lose(async {
        let stack = ExitStack::new();
        tell(&stack, &log);
        stack.run(pending::<Result<(), ()>>()).await
    })))
    .ready();
    log.is(&["completed", "failed", "completed", "panicked", "cancelled: outer", "abandoned"]);
}

#[test]
fn r14_a_failing_or_panicking_exit_does_not_stop_the_rest() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("oldest"));
    stack.defer(async { boom("exit") });
    stack.defer(log.entry("middle"));
    stack.defer(async { Err::<(), _>("refused") });
    stack.defer(log.entry("newest"));
    assert_eq!(panic_text(|| hand(stack.close()).poll()), "exit");
    log.is(&["newest", "middle", "oldest"]);
}

#[test]
fn r14_exits_run_one_after_the_other() {
    let log = Log::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("older"));
    stack.defer({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            log.add("newer begins");
            gate.wait().await;
            log.add("newer ends");
        }
    });
    let mut close = hand(stack.close());
    close.pending();
    close.pending();
    log.is(&["newer begins"]);
    gate.open();
    close.ready().unwrap();
    log.is(&["newer begins", "newer ends", "older"]);
}

#[test]
fn r14_a_stack_entered_by_its_first_use_may_be_run_afterwards() {
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("before run"));
        stack
            .run(async {
                stack.defer(log.entry("in run"));
                Ok::<_, ()>(())
            })
            .await
            .unwrap();
        let left = stack.try_defer(async {}).unwrap_err();
        assert!(left.to_string().contains("has been left"), "{left}");
    }))
    .ready();
    log.is(&["in run", "before run"]);
}

#[test]
fn r01_defer_on_a_stack_that_was_left_panics_with_both_places() {
    let stack = ExitStack::new().named("old");
    let (mut run, entered) = (hand(stack.run(async { Ok::<_, ()>(()) })), line!());
    run.ready().unwrap();
    let mut attempted = 0;
    let text = panic_text(|| {
        attempted = line!() + 1;
        stack.defer(async {})
    });
    assert!(text.starts_with("cannot defer exit stack `old` at "), "{text}");
    for line in [entered, attempted] {
        assert!(text.contains(&format!("{}:{line}:", file!())), "{line}: {text}");
    }
    assert!(text.ends_with("has been left; enter a new one"), "{text}");
}

#[test]
fn r08_close_that_is_dropped_half_way_goes_on_in_the_enclosing_region() {
    let log = Log::new();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("older"));
        stack.defer({
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                log.add("newer begins");
                gate.wait().await;
                log.add("newer ends");
            }
        });
        lose(stack.close()).await;
        log.add("dropped");
    }));
    run.pending();
    log.is(&["newer begins", "dropped"]);
    gate.open();
    run.ready().unwrap();
    log.is(&["newer begins", "dropped", "newer ends", "older"]);
}

#[test]
fn r14_a_stack_that_unwinds_counts_the_exits_that_have_not_begun() {
    let stack = Arc::new(ExitStack::new());
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    for _ in 0..3 {
        let (stack_of_exit, seen) = (Arc::downgrade(&stack), Arc::clone(&seen));
        stack.defer(async move {
            let len = stack_of_exit.upgrade().unwrap().len();
            seen.lock().unwrap().push(len);
        });
    }
    hand(stack.run(async { Ok::<_, ()>(()) })).drive().unwrap();
    assert_eq!(*seen.lock().unwrap(), [2, 1, 0]);
    assert_eq!(stack.len(), 0);
}

#[test]
fn r14_an_exit_finds_in_its_stack_the_exits_that_come_after_it() {
    let (stack, log) = (Arc::new(ExitStack::new()), Log::new());
    let mut run = hand(stack.run(async {
        for _ in 0..3 {
            let (inside, log) = (Arc::clone(&stack), log.clone());
            stack.defer(async move { log.add(inside.len().to_string()) });
        }
        Ok::<_, ()>(())
    }));
    run.ready().unwrap();
    log.is(&["2", "1", "0"]);
}

#[test]
fn r07_a_body_that_has_ended_is_dropped_before_the_exits_of_its_region_run() {
    let (log, stack) = (Log::new(), ExitStack::new());
    let held = log.on_drop("body");
    let (entries, exits) = (&log, &stack);
    // A body that owns something beyond its end, as a future that was written by hand does.
    let body = poll_fn(move |_| {
        let _held = &held;
        exits.defer(entries.entry("exit"));
        Poll::Ready(Ok::<_, ()>(()))
    });
    let mut run = hand(stack.run(body));
    run.ready().unwrap();
    assert_eq!(log.lines(), ["body", "exit"]);
}
