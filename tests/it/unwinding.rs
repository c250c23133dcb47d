//! The order in which abandoned exits run: inner regions first, newest first, children side by side (R7).

use super::adoption::parked;
use crate::support::{Gate, Log, OnDrop, hand, lose};
use moored::{CancelScope, ExitStack, TaskGroup, task};
use std::future::pending;
use std::sync::Arc;

#[test]
fn r07_nested_stacks_unwind_innermost_first() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let outer = ExitStack::new();
        let body = async {
            outer.defer(log.entry("outer"));
            let middle = ExitStack::new();
            let body = async {
                middle.defer(log.entry("middle"));
                parked(&log, "inner").await;
                Ok::<_, ()>(())
            };
            middle.run(body).await.map_err(drop)
        };
        outer.run(body).await.map_err(drop)
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    log.is(&["inner last in", "inner first in", "middle", "outer"]);
}

#[test]
fn r07_the_scopes_own_order_is_inner_regions_before_outer_ones_whatever_drops_first() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        // Rust drops a Vec oldest first.
        let stacks: Vec<_> = (0..4)
            .map(|n| {
                let stack = ExitStack::new();
                stack.defer(log.entry(format!("{n}a")));
                stack.defer(log.entry(format!("{n}b")));
                stack
            })
            .collect();
        pending::<()>().await;
        drop(stacks);
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    log.is(&["3b", "3a", "2b", "2a", "1b", "1a", "0b", "0a"]);
}

#[test]
fn r07_struct_fields_unwind_newest_entered_first() {
    struct Session {
        younger: ExitStack,
        elder: ExitStack,
    }
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        // Fields are dropped in the order of their declaration: here the younger stack first,
        // below the younger stack last.
        let one = Session { younger: ExitStack::new(), elder: ExitStack::new() };
        one.elder.defer(log.entry("one elder"));
        one.younger.defer(log.entry("one younger"));
        let two = Session { younger: ExitStack::new(), elder: ExitStack::new() };
        two.younger.defer(log.entry("two entered first"));
        two.elder.defer(log.entry("two entered last"));
        pending::<()>().await;
        drop((one, two));
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    log.is(&["two entered last", "two entered first", "one younger", "one elder"]);
}

#[test]
fn r07_a_half_run_exit_goes_on_from_where_it_was_and_goes_first() {
    let log = Log::new();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let elder = ExitStack::new();
        elder.defer(log.entry("elder, not begun"));
        elder.defer({
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                log.add("half-run begins");
                gate.wait().await;
                log.add("half-run ends");
            }
        });
        let younger = ExitStack::new();
        younger.defer(log.entry("younger"));
        elder.close().await
    }));
    run.pending();
    scope.cancel();
    run.pending();
    log.is(&["half-run begins"]);
    gate.open();
    run.ready().unwrap_err();
    log.is(&["half-run begins", "half-run ends", "younger", "elder, not begun"]);
}

#[test]
fn r07_children_of_a_dropped_group_unwind_side_by_side_and_last_in_first_out_within_one() {
    let log = Log::new();
    let gates = [Gate::new(), Gate::new()];
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        for (n, gate) in gates.iter().enumerate() {
            let (log, gate) = (log.clone(), gate.clone());
            group.spawn(async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(log.entry(format!("{n} older")));
                    let newer = log.clone();
                    stack.defer(async move {
                        newer.add(format!("{n} begins"));
                        gate.wait().await;
                    });
                    pending::<Result<(), ()>>().await
                };
                stack.run(body).await.map_err(drop)
            });
        }
        lose(group.run(pending::<Result<(), ()>>())).await;
        log.add("winner");
    }));
    run.pending();
    let lines = log.lines();
    assert_eq!(lines[0], "winner");
    let mut begun = lines[1..].to_vec();
    begun.sort();
    assert_eq!(begun, ["0 begins", "1 begins"], "both, before either has ended");
    gates[1].open();
    run.pending();
    assert_eq!(log.lines()[3..], ["1 older"]);
    gates[0].open();
    run.ready().unwrap();
    assert_eq!(log.lines()[4..], ["0 older"]);
}

#[test]
fn r07_cancelling_a_group_lets_each_child_unwind_in_its_own_task() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    for n in 0..3 {
        let log = log.clone();
        group.spawn(async move {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry(format!("{n} older")));
                stack.defer(log.entry(format!("{n} newer")));
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await.map_err(drop)
        });
    }
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    group.cancel();
    run.drive().unwrap_err();
    let lines = log.lines();
    assert_eq!(lines.len(), 6);
    for n in 0..3 {
        let at = |what: &str| lines.iter().position(|l| *l == format!("{n} {what}")).unwrap();
        assert!(at("newer") < at("older"), "{lines:?}");
    }
}

#[test]
fn r07_nothing_inside_is_asked_when_a_region_is_cancelled() {
    // A body that is parked behind a combinator with wakers of its own is dropped all the same.
    let scope = CancelScope::new();
    let (body, drops) = OnDrop::new();
    let mut run = hand(scope.run(async {
        let _body = body;
        let many: futures::stream::FuturesUnordered<_> =
            (0..10).map(|_| async { CancelScope::new().run(pending::<()>()).await }).collect();
        futures::StreamExt::collect::<Vec<_>>(many).await
    }));
    run.pending();
    let before = run.wakes.count();
    scope.cancel();
    assert_eq!(run.wakes.count(), before + 1);
    run.ready().unwrap_err();
    assert_eq!(drops.get(), 1);
}

#[test]
fn r07_twenty_thousand_stacks_dropped_at_once_unwind_in_order() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    hand(task(async {
        let stacks: Vec<_> = (0..20_000)
            .map(|n| {
                let stack = ExitStack::new();
                let order = Arc::clone(&order);
                stack.defer(async move { order.lock().unwrap().push(n) });
                stack
            })
            .collect();
        drop(stacks);
    }))
    .ready();
    assert!(order.lock().unwrap().iter().rev().eq(&(0..20_000).collect::<Vec<_>>()));
}
