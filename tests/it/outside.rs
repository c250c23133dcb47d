//! Regions that were entered where no task was known, and are dropped inside one: their exits go to the region that is current
//! there (R8).

use crate::support::{Log, Reports, hand, yield_now};
use moored::{CancelScope, ExitStack, local, task};
use std::future::pending;

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
