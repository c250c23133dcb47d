//! Snapshots of any number of regions, however deep they are inside each other (R14, R19).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Gate, hand};
use moored::testing::live_regions;
use moored::{CancelScope, EnteredScope, ExitStack, TaskGroup, inspect, task};
use std::time::Duration;

/// Regions of which each is inside the one before, without a poll inside a poll.
fn nested(depth: usize) -> Vec<EnteredScope> {
    let mut chain = vec![CancelScope::new().named("chain-0").enter().unwrap()];
    for n in 1..depth {
        let enter = async { CancelScope::new().named(format!("chain-{n}")).enter().unwrap() };
        let inner = hand(chain[n - 1].run(enter)).ready().unwrap();
        chain.push(inner);
    }
    chain
}

/// The lines of the chain of this thread. The snapshot contains the regions of other tests as
/// well.
fn of_chain(snapshot: &inspect::Snapshot, owner: &str) -> Vec<String> {
    let text = snapshot.to_string();
    text.lines().filter(|line| line.contains(owner)).map(str::to_owned).collect()
}

/// Runs `test` on a thread with the stack that threads have by default, as a task of that name.
fn on_a_thread(name: &'static str, test: impl Fn() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let body = move || hand(task(async move { test() }).named(name)).ready();
    thread.spawn(body).unwrap().join().unwrap();
}

#[test]
fn r14_a_snapshot_of_ten_thousand_regions_inside_each_other_does_not_recurse() {
    on_a_thread("snap-deep", || {
        let chain = nested(10_000);
        let open = inspect::snapshot();
        let lines = of_chain(&open, "(snap-deep)");
        assert_eq!(lines.len(), chain.len() + 1);
        let json = open.to_json();
        assert_eq!(json.matches("(snap-deep)").count(), chain.len() + 1);
        let copy = format!("{:?}", open.clone());
        assert_eq!(copy.matches("(snap-deep)").count(), chain.len() + 1);
        drop(open);
        // Later ones first: each is inside the one before.
        chain.into_iter().rev().for_each(drop);
    });
}

#[test]
fn r14_a_line_about_what_hangs_far_inside_leaves_out_the_middle_of_its_path() {
    on_a_thread("snap-path", || {
        let chain = nested(100);
        let gate = Gate::new();
        let stack = ExitStack::new().named("slow");
        let mut leaving = hand(chain[99].run(stack.run(async {
            stack.defer(gate.wait());
            Ok::<_, ()>(())
        })));
        leaving.pending();
        let lines = inspect::snapshot().leaving(Duration::ZERO);
        let line = lines.iter().find(|line| line.contains("`snap-path`")).unwrap();
        let path: Vec<_> = line.split(" > ").collect();
        assert_eq!(path.len(), 34, "{line}");
        assert_eq!((path[0], path[15]), ("task `snap-path`", "cancel scope `chain-14`"));
        // The task, the chain, the run of its innermost scope, and the stack.
        assert_eq!(path[16], "(71 more)");
        assert_eq!((path[17], path[32]), ("cancel scope `chain-86`", "exit stack `slow`"));
        assert!(path[33].starts_with("exit 1 of 1 of exit stack `slow`"), "{line}");
        gate.open();
        assert!(leaving.ready().unwrap().is_ok());
        drop(leaving);
        chain.into_iter().rev().for_each(drop);
    });
}

#[test]
fn r14_exits_that_came_out_from_far_inside_are_shown_in_the_region_that_runs_them() {
    on_a_thread("snap-adopted", || {
        let chain = nested(300);
        let gate = Gate::new();
        let mut abandon = hand(chain[299].run(async {
            for _ in 0..300 {
                let stack = ExitStack::new();
                let mut leaving = hand(stack.run(async {
                    stack.defer(gate.wait());
                    Ok::<_, ()>(())
                }));
                leaving.pending();
            }
        }));
        abandon.pending();
        drop(abandon);
        let open = inspect::snapshot();
        let named = |region: &&inspect::Region| region.name.as_deref() == Some("snap-adopted");
        let task = open.regions().iter().find(named).unwrap();
        assert_eq!(task.running.len(), 300);
        assert!(task.running.iter().all(|exit| exit.adopted));
        // The text has a line for each of the ten oldest, and the number of the others; the JSON has all.
        let text = open.to_string();
        let lines =
            text.lines().skip_while(|line| !line.starts_with("task `snap-adopted`")).skip(1);
        let lines: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
        assert!(
            lines[..10].iter().all(|line| line.starts_with("  exit 1 of 1 of exit stack")),
            "{text}"
        );
        assert_eq!(lines[10], "  and 290 more exits");
        let json: serde_json::Value = serde_json::from_str(&open.to_json()).unwrap();
        let mut tasks = json.as_array().unwrap().iter();
        let task = tasks.find(|region| region["name"] == "snap-adopted").unwrap();
        assert_eq!(task["running"].as_array().unwrap().len(), 300);
        gate.open();
        chain.into_iter().rev().for_each(drop);
    });
}

#[test]
fn r14_what_is_deep_in_a_snapshot_is_a_list_with_depths() {
    on_a_thread("snap-list", || {
        let chain = nested(100);
        // A region beside the chain, at a depth that is written as a number.
        let beside = CancelScope::new().named("beside");
        let beside = hand(chain[60].run(async { beside.enter().unwrap() })).ready().unwrap();
        let open = inspect::snapshot();
        let lines = of_chain(&open, "(snap-list)");
        let depth_of = |line: &str| line.len() - line.trim_start().len();
        assert!(lines[1].starts_with("  cancel scope `chain-0`"), "{}", lines[1]);
        assert!(
            lines[31].starts_with(&format!("{:62}cancel scope `chain-30`", "")),
            "{}",
            lines[31]
        );
        assert!(lines[32].contains("    (depth 32) cancel scope `chain-31`"), "{}", lines[32]);
        assert!(lines[61].contains("(depth 61) cancel scope `chain-60`"), "{}", lines[61]);
        assert!(lines[101].contains("(depth 62) cancel scope `beside`"), "{}", lines[101]);
        assert!(lines[32..].iter().all(|line| depth_of(line) == 64));

        // Nested as deep as a JSON parser follows.
        let json: serde_json::Value = serde_json::from_str(&open.to_json()).unwrap();
        let find = |regions: &serde_json::Value, name: &str| {
            let mut regions = regions.as_array().unwrap().iter();
            regions.find(|region| region["name"] == name).cloned().unwrap()
        };
        let mut region = find(&json, "snap-list");
        for depth in 0..31 {
            assert_eq!(region["depth"], depth);
            region = find(&region["inside"], &format!("chain-{depth}"));
        }
        let deep = region["inside"].as_array().unwrap();
        assert_eq!(deep.len(), 70);
        assert!(deep.iter().all(|region| region["inside"].as_array().unwrap().is_empty()));
        assert_eq!(find(&region["inside"], "beside")["depth"], 62);

        // The same in the values of the snapshot.
        let find = |regions: &[inspect::Region], name: &str| {
            regions.iter().position(|region| region.name.as_deref() == Some(name)).unwrap()
        };
        let mut regions = open.regions();
        regions = &regions[find(regions, "snap-list")].inside;
        for n in 0..31 {
            let region = &regions[find(regions, &format!("chain-{n}"))];
            assert_eq!(region.depth, n + 1);
            regions = &region.inside;
        }
        assert_eq!(regions.len(), 70);
        assert_eq!(regions[find(regions, "chain-99")].depth, 100);
        drop(beside);
        chain.into_iter().rev().for_each(drop);
    });
}

#[test]
fn r14_the_text_and_the_json_of_a_chain_grow_with_its_length_only() {
    on_a_thread("snap-size", || {
        let sizes = |depth| {
            let chain = nested(depth);
            let open = inspect::snapshot();
            let text: usize = of_chain(&open, "(snap-size)").iter().map(String::len).sum();
            let json = open.to_json().len();
            chain.into_iter().rev().for_each(drop);
            (text, json)
        };
        let (short, long) = (sizes(500), sizes(4_000));
        // Longer output has numbers with more digits.
        assert!(long.0 < short.0 * 10, "{short:?} {long:?}");
        assert!(long.1 < (short.1 + 200_000) * 10, "{short:?} {long:?}");
    });
}

/// Compares two durations instead of bounding one, because machines differ: eight times as many regions must
/// take less than about thirty times as long.
#[test]
fn r14_a_snapshot_takes_time_in_proportion_to_its_regions() {
    on_a_thread("snap-time", || {
        let timed = |n: usize, chain: bool| {
            let mut open = match chain {
                true => nested(n),
                false => (0..n).map(|_| CancelScope::new().enter().unwrap()).collect(),
            };
            let least = (0..5).map(|_| {
                let start = std::time::Instant::now();
                let snapshot = inspect::snapshot();
                drop((snapshot.to_string(), snapshot.to_json(), snapshot));
                start.elapsed()
            });
            let least = least.min().unwrap();
            while let Some(scope) = open.pop() {
                drop(scope);
            }
            least
        };
        for chain in [false, true] {
            let (few, many) = (timed(2_000, chain), timed(16_000, chain));
            assert!(many < few * 32, "{few:?} for 2,000, {many:?} for 16,000");
        }
    });
}

#[test]
fn the_json_of_a_snapshot_tells_how_long_a_region_waits_and_how_long_it_is_open() {
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("snap-waits");
    let wait = gate.wait();
    drop(group.spawn(async move { Ok(wait.await) }));
    let mut run = hand(group.run(async {
        // The group is open for a while before it waits for its children.
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        Ok(())
    }));
    run.pending();
    let open = inspect::snapshot();
    let named = |region: &&inspect::Region| region.name.as_deref() == Some("snap-waits");
    let region = open.regions().iter().find(named).unwrap();
    assert!(region.open_for.as_millis() >= region.waiting_for.as_millis() + 20);
    let json: serde_json::Value = serde_json::from_str(&open.to_json()).unwrap();
    let mut regions = json.as_array().unwrap().iter();
    let shown = regions.find(|region| region["name"] == "snap-waits").unwrap();
    assert_eq!(shown["open_ms"].as_u64(), u64::try_from(region.open_for.as_millis()).ok());
    assert_eq!(shown["waiting_ms"].as_u64(), u64::try_from(region.waiting_for.as_millis()).ok());
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r19_regions_are_counted_exactly_while_another_thread_takes_snapshots() {
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let over = std::sync::Arc::clone(&over);
            std::thread::spawn(move || {
                let mut taken = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(inspect::snapshot());
                    taken += 1;
                }
                taken
            })
        })
        .collect();
    let before = live_regions();
    let mut wrong = 0;
    for _ in 0..10_000 {
        let outer = CancelScope::new().enter().unwrap();
        let inner = hand(outer.run(async { CancelScope::new().enter().unwrap() })).ready().unwrap();
        // Both scopes, and the run in which the inner one was entered.
        wrong += usize::from(live_regions() != before + 3);
        drop(outer);
        drop(inner);
        wrong += usize::from(live_regions() != before);
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    for taker in takers {
        assert!(taker.join().unwrap() > 0);
    }
    assert_eq!(wrong, 0, "of 20,000 counts");
}
