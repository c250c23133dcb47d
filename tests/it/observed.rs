//! Who is inside what, and what is told of it.

use crate::support::{Gate, hand, lose, yield_now};
use moored::{CancelScope, ExitStack, TaskGroup, inspect, task};
use std::future::pending;

/// The line of the tree that names `region`, with its indentation.
#[track_caller]
fn line(tree: &str, region: &str) -> String {
    let found = tree.lines().find(|line| line.contains(region));
    found.unwrap_or_else(|| panic!("no {region} in\n{tree}")).to_owned()
}

#[test]
fn a_snapshot_shows_what_is_open_who_owns_it_and_what_it_waits_for() {
    let gate = Gate::new();
    let mut run = hand(
        task(async {
            let scope = CancelScope::new().named("snap-scope");
            let stack = ExitStack::new().named("snap-stack");
            stack.defer(async {});
            stack.defer(gate.wait());
            scope.stop();
            scope.run(stack.run(async { Ok::<_, ()>(()) })).await.unwrap().unwrap();
        })
        .named("snap-task"),
    );
    run.pending();
    let open = inspect::snapshot();
    let tree = open.to_string();
    let (outer, scope) =
        (line(&tree, "task `snap-task`"), line(&tree, "cancel scope `snap-scope`"));
    let stack = line(&tree, "exit stack `snap-stack` of task");
    assert!(outer.starts_with("task") && scope.starts_with("  cancel"), "{tree}");
    assert!(scope.contains("(snap-task)") && scope.contains("stopping"), "{tree}");
    assert!(
        stack.contains("1 exits to run") && stack.contains("for the exit registered at"),
        "{tree}"
    );
    assert!(stack.contains(file!()), "{tree}");
    let json: serde_json::Value = serde_json::from_str(&open.to_json()).unwrap();
    let found = json.as_array().unwrap().iter().find(|region| region["name"] == "snap-task");
    // Entered by its first use, before the scope was: the two are siblings.
    let inside = found.unwrap()["inside"].as_array().unwrap();
    let names: Vec<_> = inside.iter().map(|region| region["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["snap-stack", "snap-scope"]);
    gate.open();
    run.ready();
    assert!(!inspect::snapshot().to_string().contains("`snap-task`"));
}

#[test]
fn a_snapshot_shows_a_group_that_waits_for_its_children() {
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("snap-group");
    let mut run = hand(group.run(async {
        group.spawn({
            let wait = gate.wait();
            async move {
                task(wait).named("snap-child").await;
                Ok(())
            }
        });
        Ok(())
    }));
    run.pending();
    run.pending();
    let tree = inspect::snapshot().to_string();
    assert!(line(&tree, "`snap-group`").contains("for its children"), "{tree}");
    assert!(line(&tree, "`snap-child`").starts_with("    task"), "{tree}");
    drop(run);
    drop(group);
    assert!(!inspect::snapshot().to_string().contains("snap-group"));
}

#[test]
fn a_leaked_run_does_not_stay_in_the_snapshot_for_ever() {
    let scope = CancelScope::new().named("snap-leak");
    let mut run = Box::pin(scope.run(pending::<()>()));
    hand(std::future::poll_fn(|cx| run.as_mut().poll(cx))).pending();
    assert!(inspect::snapshot().to_string().contains("snap-leak"));
    drop(run);
    drop(scope);
    assert!(!inspect::snapshot().to_string().contains("snap-leak"));
}

#[test]
fn a_timeline_has_a_bar_for_each_region_that_was_left() {
    let recording = inspect::record();
    hand(
        task(async {
            CancelScope::new().named("bar").run(yield_now()).await.unwrap();
        })
        .named("row"),
    )
    .drive();
    let timeline = recording.finish();
    assert!(!timeline.is_empty());
    let trace: serde_json::Value = serde_json::from_str(&timeline.to_trace_json()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let bar = events.iter().find(|event| event["name"] == "cancel scope `bar`").unwrap();
    assert_eq!(bar["ph"], "X");
    let named = |event: &&serde_json::Value| event["ph"] == "M" && event["tid"] == bar["tid"];
    let row = events.iter().find(named).unwrap();
    assert!(row["args"]["name"].as_str().unwrap().ends_with("(row)"));
}

#[test]
fn a_snapshot_shows_a_region_that_runs_what_was_abandoned_in_it() {
    let gate = Gate::new();
    let scope = CancelScope::new().named("snap-adopts");
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
    }));
    run.pending();
    let open = inspect::snapshot();
    let region = open.regions().iter().find(|region| region.name.as_deref() == Some("snap-adopts"));
    let region = region.unwrap();
    assert_eq!((region.kind, &*region.waits_for), ("cancel scope", "exits that it adopted"));
    gate.open();
    run.ready().unwrap();
    let recording = inspect::record();
    let timeline = recording.finish();
    assert_eq!(format!("{timeline:?}"), format!("Timeline {{ regions: {}, .. }}", timeline.len()));
}
