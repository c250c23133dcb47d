use crate::support::{Gate, Log, hand, yield_now};
use futures::future::{Either, select};
use moored::{CancelScope, Cause, ExitStack, Failure, Leaving, task};
use std::pin::pin;

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
