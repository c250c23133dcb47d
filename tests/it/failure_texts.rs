//! The texts of failures, and the chain of their sources (R15).

use super::failure::{Inner, Outer, chain, ending, texts};
use crate::support::{hand, yield_now};
use moored::{CancelScope, Cause, ExitFailure, ExitStack, ReasonKind, TaskGroup, task};
use std::error::Error;

#[test]
fn r15_the_failure_of_a_group_names_its_children() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    let mut ids = Vec::new();
    let mut run = hand(group.run(async {
        for (n, error) in ["first", "second"].into_iter().enumerate() {
            let child = group.spawn(async move {
                for _ in 0..n {
                    yield_now().await;
                }
                Err::<(), _>(error)
            });
            ids.push(child.id());
            drop(child);
        }
        Ok(())
    }));
    let failure = run.drive().unwrap_err();
    drop(run);
    let expected = [format!("{}: first", ids[0]), format!("{}: second", ids[1])];
    assert_eq!(texts(&failure), expected);
    assert_eq!(failure.to_string(), format!("{} (and 1 more)", expected[0]));
    let tree = format!("{failure:#}");
    assert_eq!(tree.lines().count(), 2, "{tree}");
    assert!(tree.contains(&expected[0]) && tree.contains(&expected[1]), "{tree}");
}

#[test]
fn r15_the_source_chain_of_a_failure_is_the_primarys() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        stack.defer(async { Err(Outer(Inner)) });
        Err::<(), _>(Outer(Inner))
    }))
    .ready()
    .unwrap_err();
    assert_eq!(chain(&failure), ["no rows (and 1 more)", "connection refused"]);
    let exit: &(dyn Error + 'static) = failure.rest().next().unwrap();
    let texts = chain(exit);
    assert_eq!(texts.len(), 2);
    assert_eq!(ending(&texts[0]), "failed: no rows");
    assert_eq!(texts[1], "connection refused");
    assert!(matches!(failure.into_cause(), Cause::Body(Outer(Inner))));
}

#[test]
fn r15_a_failure_is_debug_and_can_be_taken_apart() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        stack.defer(async { Err::<(), _>("exit") });
        Err::<(), _>("body")
    }))
    .ready()
    .unwrap_err();
    assert!(format!("{failure:#?}").starts_with("Failure"));
    let causes: Vec<_> = failure.into_causes().collect();
    assert!(matches!(causes[0], Cause::Body("body")));
    assert!(matches!(causes[1], Cause::Exit(ExitFailure::Failed { .. })));
    assert_eq!(causes.len(), 2);
}

#[test]
fn r10_every_kind_of_reason_has_a_text_of_one_line() {
    let scope = CancelScope::new();
    scope.cancel();
    let reason = scope.handle().reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::Requested);
    assert!(reason.task().is_none());
    assert_eq!(reason.to_string(), format!("cancelled (at {})", reason.location().unwrap()));
    let by = hand(
        task(async {
            let scope = CancelScope::new();
            scope.cancel_because(String::from("by name"));
            scope.handle().reason().unwrap()
        })
        .named("asker"),
    )
    .ready();
    let text = by.to_string();
    assert!(text.starts_with("cancelled: by name (by task "), "{text}");
    assert!(text.contains(" (asker) at "), "{text}");
}

#[test]
fn r15_the_tree_of_a_failure_has_a_line_for_each_source_of_an_exits_error() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        stack.defer(async { Err(Outer(Inner)) });
        Err::<(), _>("body")
    }))
    .ready()
    .unwrap_err();
    let tree = format!("{failure:#}");
    let lines: Vec<_> = tree.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 3, "{tree}");
    assert_eq!(lines[0], "body");
    assert!(lines[1].starts_with("also: exit registered at ") && lines[1].ends_with("no rows"));
    assert!(lines[2].ends_with("connection refused"), "{tree}");
    assert_eq!(failure.to_string(), "body (and 1 more)");
}

#[test]
fn a_tree_of_many_failures_lists_the_first_and_counts_the_others() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going().max_causes(120);
    let failure = hand(group.run(async {
        for _ in 0..150 {
            group.spawn(async { Err::<(), _>("broken") });
        }
        Ok(())
    }))
    .drive()
    .unwrap_err();
    let tree = format!("{failure:#}");
    let lines: Vec<_> = tree.lines().collect();
    assert_eq!(lines.len(), 103, "{tree}");
    assert_eq!(lines[101], "  and 19 more in the record");
    assert_eq!(lines[102], "  and 30 more, over the cap of the record");
    assert!(failure.to_string().ends_with("(and 149 more)"), "{failure}");
}
