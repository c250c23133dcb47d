//! Stacks that nobody reaches but their own run, while they run, wait and leave.

use crate::support::{Gate, Log, hand, wrong_task, yield_now};
use futures::future::{Either, select};
use moored::{CancelScope, Cause, ExitStack, Failure, checkpoint, is_cancelled, task};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

type Never = Result<(), Infallible>;

#[test]
fn r14_a_region_in_an_exit_is_sheltered_where_the_exit_ends_at_once() {
    let log = Log::new();
    let scope = CancelScope::new();
    hand(task(scope.run(async {
        let stack = ExitStack::new();
        let exit = |log: Log| async move {
            log.add(format!("exit: {}", is_cancelled()));
            let inside = CancelScope::new();
            inside.run(async { log.add(format!("scope: {}", is_cancelled())) }).await.unwrap();
            let own = CancelScope::new();
            own.cancel();
            own.run(async { log.add(format!("own: {}", is_cancelled())) }).await.unwrap();
        };
        // The second exit begins after the first one has given the stack its node.
        stack.defer(exit(log.clone()));
        stack.defer(exit(log.clone()));
        scope.cancel();
        let body = async {
            log.add(format!("body: {}", is_cancelled()));
            Never::Ok(())
        };
        stack.run(body).await.unwrap();
        let stack = ExitStack::new();
        let body = async {
            stack.defer(exit(log.clone()));
            stack.defer(exit(log.clone()));
            Never::Ok(())
        };
        stack.run(body).await.unwrap();
        log.add(format!("after: {}", is_cancelled()));
    })))
    .ready()
    .unwrap();
    let twice = ["exit: false", "scope: false", "own: true"].repeat(2);
    let all = [&["body: true"], &twice[..], &twice[..], &["after: true"]].concat();
    log.is(&all);
}

#[test]
fn r14_an_exit_waits_in_the_poll_in_which_it_begins() {
    let log = Log::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    let exit = |name: &'static str| {
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            log.add(format!("{name} begins"));
            gate.wait().await;
            checkpoint().await;
            log.add(format!("{name} ends"));
        }
    };
    let mut run = hand(task(stack.run(async {
        stack.defer(exit("first in"));
        stack.defer(log.entry("between"));
        stack.defer(exit("last in"));
        yield_now().await;
        stack.defer(log.entry("at once"));
        Ok::<_, Infallible>(7)
    })));
    run.pending();
    log.is(&[]);
    run.pending();
    log.is(&["at once", "last in begins"]);
    gate.open();
    assert_eq!(run.drive().unwrap(), 7);
    log.is(&[
        "at once",
        "last in begins",
        "last in ends",
        "between",
        "first in begins",
        "first in ends",
    ]);
}

#[test]
fn r15_failures_and_panics_of_exits_that_end_at_once_are_all_told() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        stack.defer(async { Err::<(), _>("disk is full") });
        stack.defer(async {});
        stack.defer(async { Err::<(), _>("peer is gone") });
        Err::<(), _>("no")
    }))
    .ready()
    .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("no")));
    let rest: Vec<_> = failure.rest().map(ToString::to_string).collect();
    assert!(rest.len() == 2 && rest[0].contains("peer is gone"), "{rest:?}");
    assert!(rest[1].contains("disk is full"), "{rest:?}");
}

#[test]
fn r02_another_task_is_rejected_while_the_stack_waits_and_its_owner_is_not() {
    let log = Log::new();
    let stack = Arc::new(ExitStack::new());
    let mut owner = hand(
        task(async {
            let gate = Gate::new();
            let mut run = pin!(stack.run(async {
                gate.wait().await;
                Ok::<_, Infallible>(())
            }));
            assert!(matches!(select(run.as_mut(), pin!(yield_now())).await, Either::Right(_)));
            stack.defer(log.entry("of the owner"));
            let rejected = task(async {
                let rejected = stack.try_defer(async {}).unwrap_err();
                assert!(wrong_task(rejected.error()).owner.to_string().contains("(owner)"));
                rejected.error().to_string()
            })
            .named("thief")
            .await;
            assert!(rejected.contains("(thief)"), "{rejected}");
            assert!(stack.owner().unwrap().to_string().contains("(owner)"));
            assert_eq!((stack.len(), stack.owner()), (1, task::current()));
            let again: Result<(), Failure<Infallible>> =
                task(stack.run(async { unreachable!() })).await;
            assert!(matches!(again.unwrap_err().cause(), Cause::Rejected(_)));
            gate.open();
            run.await.unwrap();
        })
        .named("owner"),
    );
    owner.drive();
    log.is(&["of the owner"]);
    assert!(stack.try_defer(async {}).is_err());
}

#[test]
fn r05_an_unknown_identity_registers_an_exit_while_the_stack_waits() {
    let log = Log::new();
    let stack = ExitStack::new();
    let mut run = hand(task(stack.run(async {
        yield_now().await;
        Ok::<_, Infallible>(())
    })));
    run.pending();
    stack.defer(log.entry("from outside"));
    std::thread::scope(|threads| {
        threads.spawn(|| stack.defer(log.entry("from another thread")));
    });
    run.ready().unwrap();
    log.is(&["from another thread", "from outside"]);
    assert!(stack.try_defer(async {}).is_err());
}

#[test]
#[should_panic(expected = "entered")]
fn r01_a_stack_that_waits_is_not_run_again() {
    let stack = ExitStack::new();
    hand(task(async {
        let mut first = pin!(stack.run(pending::<Never>()));
        assert!(matches!(select(first.as_mut(), pin!(yield_now())).await, Either::Right(_)));
        drop(stack.run(async { Ok::<_, Infallible>(()) }).await);
    }))
    .drive();
}

#[test]
fn r08_the_exits_of_a_stack_whose_run_was_leaked_go_with_the_stack() {
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new();
        stack.pop_all().close().await.unwrap();
        let stack = ExitStack::new();
        let mut run = Box::pin(stack.run(async {
            stack.defer(log.entry("exit"));
            pending::<Never>().await
        }));
        assert!(matches!(select(run.as_mut(), pin!(yield_now())).await, Either::Right(_)));
        std::mem::forget(run);
        assert_eq!(stack.len(), 1);
        drop(stack);
        log.add("body goes on");
        yield_now().await;
    }))
    .drive();
    log.is(&["body goes on", "exit"]);
}

#[test]
fn r08_a_stack_that_is_dropped_where_it_waits_hands_its_exits_over() {
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new();
        let body = async {
            stack.defer(log.entry("first in"));
            yield_now().await;
            stack.defer(log.entry("last in"));
            pending::<Never>().await
        };
        let mut run = Box::pin(stack.run(body));
        for _ in 0..2 {
            assert!(matches!(select(run.as_mut(), pin!(yield_now())).await, Either::Right(_)));
        }
        drop(run);
        assert!(stack.try_defer(async {}).is_err());
        log.is(&[]);
        yield_now().await;
    }))
    .drive();
    log.is(&["last in", "first in"]);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn r05_the_task_of_the_runtime_is_the_owner_outside_the_region_too() {
    let log = Log::new();
    let inside = log.clone();
    tokio::spawn(async move {
        let stack = ExitStack::new();
        let gate = Gate::new();
        let mut run = Box::pin(stack.run(async {
            gate.wait().await;
            Ok::<_, Infallible>(())
        }));
        let scope = CancelScope::new();
        // Entered in a root of its own, which does not hide the runtime's task.
        scope
            .run(async {
                let mut yields = pin!(yield_now());
                let first = select(run.as_mut(), yields.as_mut()).await;
                assert!(matches!(first, Either::Right(_)));
            })
            .await
            .unwrap();
        stack.defer(inside.entry("exit"));
        gate.open();
        run.await.unwrap();
    })
    .await
    .unwrap();
    log.is(&["exit"]);
}
