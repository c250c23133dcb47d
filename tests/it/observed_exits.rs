//! Exits in the region tree that `inspect` shows (R8, R14).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::observed::{line, named};
use crate::support::{Gate, hand, lose};
use moored::{CancelScope, ExitStack, inspect, task};
use std::future::pending;
use std::time::Duration;

#[test]
fn r08_an_adopted_exit_is_shown_with_its_stack_its_place_its_number_and_where_it_came_from() {
    let gate = Gate::new();
    let mut run = hand(
        task(async {
            let outer = CancelScope::new().named("adopts-outer");
            let run = outer.run(async {
                let stack = ExitStack::new().named("adopts-stack");
                let body = async {
                    stack.defer(async {});
                    stack.defer(gate.wait());
                    pending::<Result<(), ()>>().await
                };
                lose(task(stack.run(body)).named("adopts-loser")).await;
            });
            run.await.unwrap();
        })
        .named("adopts-task"),
    );
    run.pending();
    let open = inspect::snapshot();
    let region = named(open.regions(), "adopts-outer").unwrap();
    let [exit] = &*region.running else { panic!("{:?}", region.running) };
    assert_eq!((&*exit.stack, exit.number, exit.of), ("exit stack `adopts-stack`", 1, 2));
    assert!(exit.owner.as_deref().unwrap().ends_with("(adopts-loser)"), "{exit:?}");
    assert!(exit.registered_at.contains(file!()) && exit.entered_at.contains(file!()));
    assert!(exit.adopted && exit.grace_left.is_none());
    let tree = open.to_string();
    let shown = line(&tree, "exit 1 of 2 of exit stack `adopts-stack`");
    assert!(shown.starts_with("    exit 1") && shown.contains("its body was dropped"), "{tree}");
    let waits = line(&tree, "`adopts-outer`");
    assert!(waits.contains("for the exit of exit stack `adopts-stack` that it adopted"), "{tree}");
    gate.open();
    run.drive();
    assert!(!inspect::snapshot().to_string().contains("adopts-"));
}

#[test]
fn r14_an_exit_of_its_own_is_shown_with_its_number_and_the_end_of_its_grace() {
    let clock = moored::testing::MockClock::new();
    let gate = Gate::new();
    let stack = ExitStack::new().named("own-exits").grace(Duration::from_secs(9));
    let mut run = hand(
        task(async {
            let body = async {
                stack.defer(async {});
                stack.defer(gate.wait());
                stack.defer(async {});
                Err::<(), _>("broken")
            };
            stack.run(body).await.unwrap_err();
        })
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(Duration::from_secs(2));
    let open = inspect::snapshot();
    let region = named(open.regions(), "own-exits").unwrap();
    let [exit] = &*region.running else { panic!("{:?}", region.running) };
    assert_eq!((exit.number, exit.of, exit.adopted), (2, 3, false));
    assert_eq!(exit.grace_left, Some(Duration::from_secs(7)));
    assert_eq!(exit.why, "its body has failed");
    assert!(open.to_string().contains("exit 2 of 3 of exit stack `own-exits`"));
    gate.open();
    run.ready();
}

#[test]
fn r08_an_exit_that_was_half_way_when_it_was_abandoned_keeps_its_number() {
    let gate = Gate::new();
    let scope = CancelScope::new().named("half-way");
    let stack = ExitStack::new().named("half-way-stack");
    let mut run = hand(scope.run(async {
        lose(stack.run(async {
            stack.defer(async {});
            stack.defer(gate.wait());
            stack.defer(async {});
            Ok::<_, ()>(())
        }))
        .await;
        pending::<()>().await
    }));
    run.pending();
    let open = inspect::snapshot();
    let region = named(open.regions(), "half-way").unwrap();
    let [exit] = &*region.running else { panic!("{:?}", region.running) };
    assert_eq!(
        (exit.number, exit.of, exit.adopted, &*exit.why),
        (2, 3, true, "its body has ended")
    );
    assert!(!region.leaving, "its body goes on");
    drop(run);
}

#[test]
fn r14_an_exit_on_an_executor_is_told_only_if_it_has_run_for_that_long() {
    let (executor, gate) = (crate::support::Executor::new(), Gate::new());
    let wait = gate.wait();
    let stack = ExitStack::new().named("just-begun");
    let body = async {
        stack.defer(wait);
        pending::<Result<(), ()>>().await
    };
    let mut run = hand(task(stack.run(body)).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    let is_told = |time| {
        let told = inspect::snapshot().leaving(time);
        told.iter().any(|line| line.contains("just-begun"))
    };
    assert!(is_told(Duration::ZERO));
    assert!(!is_told(Duration::from_secs(3_600)), "it has just begun");
    // No region runs it.
    let open = inspect::snapshot();
    assert!(open.exits().iter().any(|exit| exit.stack.contains("just-begun")));
    gate.open();
    executor.run();
    assert!(!is_told(Duration::ZERO));
}

/// A stack with an exit that waits for `gate`, in a task of its own that loses a race.
async fn loses_a_stack(gate: &Gate) {
    let stack = ExitStack::new();
    let body = async {
        stack.defer(gate.wait());
        pending::<Result<(), ()>>().await
    };
    lose(task(stack.run(body))).await;
}

#[test]
fn r08_a_region_that_runs_exits_of_two_tasks_shows_how_many() {
    let gate = Gate::new();
    let scope = CancelScope::new().named("two-adopted");
    let mut run = hand(scope.run(async {
        loses_a_stack(&gate).await;
        loses_a_stack(&gate).await;
    }));
    run.pending();
    let tree = inspect::snapshot().to_string();
    let waits = line(&tree, "`two-adopted`");
    assert!(waits.contains("for 2 exits that it adopted"), "{tree}");
    gate.open();
    run.drive().unwrap();
}

#[test]
fn r14_an_exit_is_shown_with_the_reason_why_it_runs() {
    let gate = Gate::new();
    let why = |region: &str| {
        let open = inspect::snapshot();
        let [exit] = &*named(open.regions(), region).unwrap().running else { panic!("{open}") };
        exit.why.clone()
    };
    let stack = ExitStack::new();
    let scope = CancelScope::new().named("why-cancelled");
    let mut cancelled = hand(scope.run(stack.run(async {
        stack.defer(gate.wait());
        pending::<Result<(), ()>>().await
    })));
    cancelled.pending();
    scope.cancel_because("enough");
    cancelled.pending();
    // The scope has adopted the exit.
    let text = why("why-cancelled");
    assert!(text.starts_with("cancelled with its parent: enough ("), "{text}");
    let stack = ExitStack::new().named("why-panicked");
    let mut panicked = hand(stack.run(async {
        stack.defer(gate.wait());
        crate::support::boom("of the body");
        Ok::<_, ()>(())
    }));
    panicked.pending();
    assert_eq!(why("why-panicked"), "its body has panicked");
    gate.open();
    cancelled.drive().unwrap_err();
    assert_eq!(crate::support::panic_text(|| panicked.drive().is_ok()), "of the body");
}
