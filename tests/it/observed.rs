//! The region tree that `inspect` shows, and the text and timeline made of it.
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Gate, hand, lose, yield_now};
use moored::{CancelScope, ExitStack, TaskGroup, inspect, task};
use std::future::pending;
use std::time::Duration;

/// There is one recording in a process, so the tests that record take turns.
static RECORDS: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The line of the tree that names `region`, with its indentation.
#[track_caller]
pub(super) fn line(tree: &str, region: &str) -> String {
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
        stack.contains("1 exit to run") && stack.contains("for the exit registered at"),
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
    let _turn = RECORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
    assert_eq!((region.kind, region.leaving), ("cancel scope", true));
    assert!(region.waits_for.starts_with("the exit of exit stack that it adopted, registered at "));
    assert!(region.waits_for.contains(file!()));
    gate.open();
    run.ready().unwrap();
    let _turn = RECORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let recording = inspect::record();
    let timeline = recording.finish();
    assert_eq!(format!("{timeline:?}"), format!("Timeline {{ bars: {}, .. }}", timeline.len()));
}

/// The regions with that name, at any depth.
pub(super) fn named<'a>(regions: &'a [inspect::Region], name: &str) -> Option<&'a inspect::Region> {
    regions.iter().find_map(|region| {
        let found = region.name.as_deref() == Some(name);
        if found { Some(region) } else { named(&region.inside, name) }
    })
}

#[test]
fn r16_a_group_is_shown_until_the_children_of_its_dropped_run_are_gone() {
    let (executor, gate) = (crate::support::Executor::new(), Gate::new());
    let wait = gate.wait();
    let mut handle = None;
    let mut run = hand(
        task(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new().named("gone-group");
            handle = Some(group.handle());
            let child = moored::shield(wait);
            let body = async {
                group.spawn_on(&executor, async move { Ok(child.await) });
                pending::<Result<(), ()>>().await
            };
            lose(group.run(body)).await;
        })
        .named("gone-task"),
    );
    executor.run();
    run.pending();
    executor.run();
    let open = inspect::snapshot();
    let group = named(open.regions(), "gone-group").unwrap();
    assert!(group.abandoned && group.leaving, "{group:?}");
    assert_eq!(group.waits_for, "its children");
    assert_eq!((group.inside.len(), group.inside[0].kind), (1, "task"));
    assert_eq!(named(open.regions(), "gone-task").unwrap().waits_for, "work that it adopted");
    assert!(line(&open.to_string(), "`gone-group`").contains("its run was dropped"));
    gate.open();
    executor.run();
    run.ready();
    drop(run);
    assert!(handle.is_some());
    assert!(!inspect::snapshot().to_string().contains("gone-"), "a handle keeps it shown");
}

#[test]
fn shields_and_timeouts_have_kinds_of_their_own() {
    let mut run = hand(
        task(moored::shield(moored::move_on_after(Duration::from_secs(900), pending::<()>())))
            .named("kinds"),
    );
    run.pending();
    let open = inspect::snapshot();
    let shield = &named(open.regions(), "kinds").unwrap().inside[0];
    assert_eq!((shield.kind, shield.shielded), ("shield", true));
    let timeout = &shield.inside[0];
    assert_eq!((timeout.kind, timeout.shielded), ("timeout", false));
    assert!(timeout.deadline_left.unwrap() > Duration::from_secs(800));
    assert!(open.to_string().contains("timeout of task"));
}

#[test]
fn a_region_is_shown_with_its_deadline_its_grace_and_its_reason() {
    let clock = moored::testing::MockClock::new();
    let second = Duration::from_secs(1);
    let scope = CancelScope::new().named("times").timeout(9 * second).grace(3 * second);
    let shield = CancelScope::new().named("times-shield").shielded().grace(2 * second);
    let mut run = hand(task(scope.run(shield.run(pending::<()>()))).clock(clock.clone()));
    run.pending();
    clock.advance(second);
    let open = inspect::snapshot();
    let shown = named(open.regions(), "times").unwrap();
    assert_eq!((shown.deadline_left, shown.grace_left), (Some(8 * second), None));
    assert_eq!((shown.shielded, shown.reason.as_deref()), (false, None));
    assert!(named(open.regions(), "times-shield").unwrap().shielded);

    scope.stop();
    run.pending();
    clock.advance(second);
    let open = inspect::snapshot();
    let shown = named(open.regions(), "times").unwrap();
    assert_eq!((shown.deadline_left, shown.grace_left), (Some(7 * second), Some(2 * second)));
    assert!(shown.reason.as_deref().unwrap().starts_with("asked to wind down (at "));
    let tree = line(&open.to_string(), "`times`");
    assert!(tree.contains(", deadline in 7s, grace ends in 2s, "), "{tree}");
    assert!(tree.contains(", stopping (at "), "{tree}");

    scope.cancel_because("enough");
    run.pending();
    let open = inspect::snapshot();
    let shown = named(open.regions(), "times").unwrap();
    assert_eq!((shown.deadline_left, shown.grace_left), (None, None));
    assert!(shown.reason.as_deref().unwrap().starts_with("cancelled: enough (at "));
    assert_eq!(named(open.regions(), "times-shield").unwrap().grace_left, Some(2 * second));
    shield.cancel();
    let open = inspect::snapshot();
    assert_eq!(named(open.regions(), "times-shield").unwrap().grace_left, None);
    run.drive().unwrap().unwrap_err();
}

#[test]
fn r18_a_clock_that_panics_costs_a_snapshot_its_times_and_nothing_else() {
    #[derive(Clone)]
    struct Broken(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl moored::Clock for Broken {
        fn now(&self) -> std::time::Instant {
            assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the clock is broken");
            std::time::Instant::now()
        }
        fn sleep_until(&self, _: std::time::Instant) -> moored::Sleep {
            Box::pin(pending())
        }
    }
    let broken = Broken(std::sync::Arc::default());
    let scope = CancelScope::new().named("broken-clock").timeout(Duration::from_secs(900));
    let mut run = hand(task(scope.run(pending::<()>())).clock(broken.clone()));
    run.pending();
    let left = || named(inspect::snapshot().regions(), "broken-clock").unwrap().deadline_left;
    assert!(left().is_some());
    broken.0.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(left().is_none());
}

#[test]
fn what_has_been_leaving_for_long_is_told_with_the_path_from_the_root_and_only_where_it_hangs() {
    let gate = Gate::new();
    let wait = gate.wait();
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("hangs-group");
    let mut run = hand(
        task(group.run(async {
            let stack = ExitStack::new().named("hangs-stack");
            group.spawn(async move {
                let body = async {
                    stack.defer(wait);
                    Ok::<_, ()>(())
                };
                stack.run(body).await.map_err(drop)
            });
            Ok(())
        }))
        .named("hangs-task"),
    );
    run.pending();
    let hangs = inspect::snapshot().leaving(Duration::ZERO);
    let mine: Vec<_> = hangs.iter().filter(|line| line.contains("hangs-task")).collect();
    assert_eq!(mine.len(), 1, "{hangs:?}");
    let path = "task `hangs-task` > task group `hangs-group` > task > exit stack `hangs-stack` > exit 1 of 1 of ";
    assert!(mine[0].starts_with(path), "{mine:?}");
    assert!(mine[0].contains(file!()), "{mine:?}");
    let later = inspect::snapshot().leaving(Duration::from_secs(3600));
    assert!(!later.iter().any(|line| line.contains("hangs-task")), "{later:?}");
    gate.open();
    run.drive().unwrap();
}

#[test]
fn a_group_that_waits_for_a_guard_is_not_told_of_as_waiting_for_a_child() {
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("hangs-guard");
    let guard = group.spawner().guard().unwrap();
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    let waits_for = || {
        let open = inspect::snapshot();
        named(open.regions(), "hangs-guard").unwrap().waits_for.clone()
    };
    assert_eq!(waits_for(), "its children or guards");
    group.spawner().spawn_detached(pending::<Result<(), ()>>()).unwrap();
    run.pending();
    assert_eq!(waits_for(), "its children");
    group.cancel();
    run.drive().unwrap();
    drop(guard);
}

#[test]
fn a_group_that_waits_for_a_child_that_goes_on_is_told_of_as_leaving() {
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("hangs-children");
    let mut run = hand(group.run(async {
        group.spawn(pending::<Result<(), ()>>());
        Ok(())
    }));
    run.pending();
    let hangs = inspect::snapshot().leaving(Duration::ZERO);
    let mine: Vec<_> = hangs.iter().filter(|line| line.contains("hangs-children")).collect();
    assert!(mine[0].starts_with("task group `hangs-children` > waits "), "{mine:?}");
    assert!(mine[0].ends_with(" for its children"), "{mine:?}");
    assert_eq!(mine.len(), 1);
}

#[test]
fn open_regions_and_exits_are_in_the_timeline() {
    let _turn = RECORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let gate = Gate::new();
    let recording = inspect::record();
    let stack = ExitStack::new().named("bar-open");
    let mut run = hand(stack.run(async {
        stack.defer(gate.wait());
        Ok::<_, ()>(())
    }));
    run.pending();
    let bars = |timeline: inspect::Timeline| -> Vec<(String, bool)> {
        let trace: serde_json::Value = serde_json::from_str(&timeline.to_trace_json()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap().iter();
        let bars = events.filter(|event| event["name"].as_str().unwrap().contains("`bar-open`"));
        bars.map(|bar| {
            (bar["name"].as_str().unwrap().to_owned(), bar["args"]["open"].as_bool().unwrap())
        })
        .collect()
    };
    let name = "exit stack `bar-open`".to_owned();
    let both = |open| vec![(name.clone(), open), (format!("exit of {name}"), open)];
    assert_eq!(bars(recording.finish()), both(true));
    let recording = inspect::record();
    gate.open();
    run.ready().unwrap();
    assert_eq!(bars(recording.finish()), both(false));
}

#[test]
fn an_exit_that_another_region_ran_is_in_the_timeline_under_its_stack_and_its_task() {
    let _turn = RECORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let gate = Gate::new();
    let recording = inspect::record();
    let body = async {
        let stack = ExitStack::new().named("bar-adopted");
        stack.defer(gate.wait());
        lose(stack.run(async { Ok::<_, ()>(()) })).await;
        gate.open();
    };
    hand(task(body).named("row-adopted")).drive();
    let trace: serde_json::Value =
        serde_json::from_str(&recording.finish().to_trace_json()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let bar = |name: &str| events.iter().find(|event| event["name"] == name).unwrap();
    let exit = bar("exit of exit stack `bar-adopted`");
    assert_eq!(exit["tid"], bar("task `row-adopted`")["tid"]);
}

/// The checks of a JSON schema that the crate's schema uses.
fn check(
    schema: &serde_json::Value,
    root: &serde_json::Value,
    value: &serde_json::Value,
    at: &str,
) {
    use serde_json::Value;
    for (rule, says) in schema.as_object().unwrap() {
        match &**rule {
            "$ref" => {
                let name = says.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(&root["$defs"][name], root, value, at);
            }
            "type" => {
                let is = |name: &str| match name {
                    "null" => value.is_null(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("type {other}"),
                };
                let one = |says: &Value| is(says.as_str().unwrap());
                let holds = says.as_array().map_or_else(|| one(says), |all| all.iter().any(one));
                assert!(holds, "{at}: {value} is no {says}");
            }
            "enum" => assert!(says.as_array().unwrap().contains(value), "{at}: {value}"),
            "minimum" => assert!(value.as_i64() >= says.as_i64(), "{at}: {value}"),
            "anyOf" => assert!(
                says.as_array().unwrap().iter().any(|says| {
                    std::panic::catch_unwind(|| check(says, root, value, at)).is_ok()
                }),
                "{at}: {value}"
            ),
            "items" => {
                value.as_array().unwrap().iter().for_each(|item| check(says, root, item, at));
            }
            "required" => says.as_array().unwrap().iter().for_each(|name| {
                assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: no {name}");
            }),
            "properties" => {
                for (name, value) in value.as_object().unwrap() {
                    let Some(says) = says.get(name) else {
                        panic!("{at}: {name} is not described")
                    };
                    check(says, root, value, &format!("{at}.{name}"));
                }
            }
            "additionalProperties" => assert_eq!(says, &Value::Bool(false)),
            "$schema" | "$defs" | "title" | "description" => {}
            other => panic!("the test does not know {other}"),
        }
    }
}

#[test]
fn the_json_of_a_snapshot_is_as_its_schema_says() {
    let gate = Gate::new();
    let scope = CancelScope::new().named("schema").timeout(Duration::from_secs(900));
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new().grace(Duration::from_secs(900));
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
        moored::shield(pending::<()>()).await
    }));
    run.pending();
    scope.cancel();
    run.pending();
    let schema: serde_json::Value = serde_json::from_str(inspect::Snapshot::json_schema()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&inspect::snapshot().to_json()).unwrap();
    assert!(json.to_string().contains("\"running_ms\""));
    check(&schema, &schema, &json, "$");
}

#[test]
fn r11_each_region_of_a_task_is_shown_with_its_deadline_by_the_clock_of_the_task() {
    let clock = moored::testing::MockClock::new();
    let second = Duration::from_secs(1);
    let outer = CancelScope::new().named("by-its-clock-outer").timeout(9 * second);
    let inner = CancelScope::new().named("by-its-clock-inner").timeout(5 * second);
    let mut run = hand(task(outer.run(inner.run(pending::<()>()))).clock(clock.clone()));
    run.pending();
    clock.advance(2 * second);
    let open = inspect::snapshot();
    let left = |name| named(open.regions(), name).unwrap().deadline_left;
    assert_eq!(left("by-its-clock-outer"), Some(7 * second));
    assert_eq!(left("by-its-clock-inner"), Some(3 * second));
}

#[test]
fn r11_a_scope_whose_body_has_ended_is_shown_without_its_deadline_and_its_grace() {
    let (clock, gate) = (moored::testing::MockClock::new(), Gate::new());
    let second = Duration::from_secs(1);
    let scope = CancelScope::new().named("times-over").timeout(9 * second).grace(3 * second);
    let body = async {
        scope.stop();
        yield_now().await;
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
    };
    let times = || {
        let open = inspect::snapshot();
        let shown = named(open.regions(), "times-over").unwrap();
        (shown.deadline_left, shown.grace_left)
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    assert_eq!(times(), (Some(9 * second), Some(3 * second)));
    run.pending();
    assert_eq!(times(), (None, None));
    gate.open();
    run.ready().unwrap();
}
