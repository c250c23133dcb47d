//! Guards: a group waits for work that others poll (R7, R13, R16).

use crate::support::{Gate, hand, panic_text};
use moored::testing::MockClock;
use moored::{CancelScope, Clock, GroupGuard, TaskGroup, local, task};
use std::future::pending;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Group<'env> = TaskGroup<'env, &'static str>;

fn guard(group: &Group<'_>) -> GroupGuard {
    group.spawner().guard().expect("the group is open")
}

#[test]
fn r16_a_group_ends_when_its_last_guard_is_gone_and_takes_children_until_then() {
    let group = Group::new().named("requests");
    let (first, second) = (guard(&group), guard(&group));
    let spawner = group.spawner();
    let mut run = hand(group.run(async { Ok(7) }));
    run.pending();
    drop(first);
    run.pending();
    let child = spawner.spawn(async { Ok(8) }).expect("a guard is inside");
    run.pending();
    assert!(child.is_finished());
    let wakes = run.wakes.count();
    drop(second);
    assert_eq!(run.wakes.count(), wakes + 1);
    assert_eq!(run.ready().unwrap(), 7);
    let late = spawner.guard().unwrap_err();
    let text = late.to_string();
    assert!(text.starts_with("cannot guard task group `requests`"), "{text}");
    assert!(text.contains("guards.rs") && text.ends_with("enter a new one"), "{text}");
    assert!(spawner.spawn(async { Ok(()) }).is_err());
}

#[test]
fn r16_a_guard_is_no_child() {
    let gate = Gate::new();
    let group = Group::new().limit(1);
    let _guard = guard(&group);
    assert!(group.is_empty());
    let child = group.spawn(async {
        gate.wait().await;
        Ok(())
    });
    assert_eq!(group.len(), 1);
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    gate.open();
    run.pending();
    assert!(child.is_finished(), "it takes nobody's turn");
}

#[test]
fn r13_a_guard_holds_up_a_group_that_is_stopped_and_its_work_learns_of_it() {
    let group = Group::new();
    let guard = guard(&group);
    let mut run = hand(group.run(async {
        moored::stop_requested().await;
        Ok(())
    }));
    run.pending();
    let handle = guard.handle();
    let mut asked = hand(handle.stop_requested());
    asked.pending();
    group.stop();
    asked.ready();
    run.pending();
    drop(guard);
    run.ready().unwrap();
}

#[test]
fn r07_a_guard_holds_no_cancellation_up() {
    // By a request.
    let group = Group::new();
    let guarded = guard(&group);
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    let handle = guarded.handle();
    let mut told = hand(handle.cancelled());
    told.pending();
    group.cancel();
    run.drive().expect("the body had ended");
    told.ready();
    drop(guarded);

    // By a failure.
    let group = Group::new();
    let _guard = guard(&group);
    assert!(hand(group.run(async { Err::<(), _>("lost") })).drive().is_err());

    // By a cancellation around the group.
    let outer = CancelScope::new();
    let group = Group::new();
    let _guard = guard(&group);
    let mut run = hand(outer.run(group.run(async { Ok(()) })));
    run.pending();
    outer.cancel();
    run.drive().expect("the group ends in the last poll").unwrap();

    // By the drop of its run, after which no guard is made.
    let group = Group::new();
    let guarded = guard(&group);
    let around = CancelScope::new();
    let inside = around.run(async {
        let mut run = hand(group.run(async { Ok(()) }));
        run.pending();
        drop(run);
    });
    hand(inside).ready().unwrap();
    assert!(group.spawner().guard().is_err());
    drop(guarded);
}

#[test]
fn r11_a_deadline_counts_while_only_a_guard_is_inside() {
    let clock = MockClock::new();
    let start = clock.now();
    let held = async {
        let group = Group::new().timeout(SECOND);
        let guarded = guard(&group);
        group.run(async { Ok(()) }).await.unwrap();
        let group = Group::new();
        let within = guard(&group);
        group.stop_within(SECOND);
        group.run(async { Ok(()) }).await.unwrap();
        drop((guarded, within));
    };
    moored::testing::hand(task(held).clock(clock.clone())).drive_with(&clock);
    assert_eq!(clock.now() - start, 2 * SECOND);
}

#[test]
fn r16_children_of_a_dropped_run_are_awaited_and_guards_are_not() {
    let exec = crate::support::Executor::new();
    let group = Group::new();
    let _guard = guard(&group);
    let outer = CancelScope::new();
    let mut body = hand(outer.run(async {
        let mut run = hand(group.run(async { Ok(()) }));
        group.spawn_on(&exec, pending::<Result<(), _>>());
        run.pending();
        drop(run);
    }));
    body.pending();
    exec.run();
    body.drive().unwrap();
}

#[test]
fn r16_a_local_group_has_guards_that_go_to_other_threads() {
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let guard = group.spawner().guard().unwrap();
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    run.ready().unwrap();
    assert!(group.spawner().guard().is_err());
}

#[test]
fn r16_a_guard_of_a_group_that_is_gone_is_refused_with_both_places() {
    let spawner = Group::new().spawner();
    let text = spawner.guard().unwrap_err().to_string();
    assert_eq!(text.matches("guards.rs").count(), 2, "{text}");
}

#[test]
fn r18_a_guard_that_is_dropped_while_unwinding_lets_its_group_end() {
    let group = Group::new();
    let guarded = guard(&group);
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    let panicked = panic_text(move || {
        let _guard = guarded;
        panic!("in the handler");
    });
    assert_eq!(panicked, "in the handler");
    run.ready().unwrap();
}

/// The last poll of a cancelled body reaches the groups in it. A child in it was not woken and is not cancelled itself: it
/// falls with the body, and a group in the child with it.
#[test]
fn r09_a_group_that_waits_for_a_guard_leaves_in_the_last_poll_and_in_a_child_falls_with_the_body() {
    for (in_child, by_deadline) in [(false, false), (false, true), (true, false), (true, true)] {
        let (log, clock) = (crate::support::Log::new(), MockClock::new());
        let scope = CancelScope::new().timeout(SECOND);
        let handle = scope.handle();
        let guards = std::sync::Mutex::new(Vec::new());
        let guarded = async {
            let _gone = log.on_drop("gone");
            let group = Group::new();
            let body = async {
                guards.lock().unwrap().push(guard(&group));
                Ok(())
            };
            group.run(body).await.unwrap();
            log.add("left");
            pending().await
        };
        let around = Group::new();
        let body = async {
            match in_child {
                true => drop(around.spawn(guarded)),
                false => guarded.await?,
            }
            Ok(())
        };
        let mut run = hand(task(scope.run(around.run(body))).clock(clock.clone()));
        run.pending();
        if by_deadline {
            clock.advance(SECOND)
        } else {
            handle.cancel()
        }
        assert!(run.ready().is_err());
        let expected: &[_] = if in_child { &["gone"] } else { &["left", "gone"] };
        log.is(expected);
    }
}

#[test]
fn r19_a_group_that_a_cancellation_ends_in_spite_of_a_guard_keeps_no_waker() {
    let group = Group::new();
    let guarded = guard(&group);
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    group.cancel();
    run.drive().expect("the body had ended");
    let wakes = run.wakes.count();
    drop(guarded);
    assert_eq!(run.wakes.count(), wakes, "woken after its end");
    assert_eq!(std::sync::Arc::strong_count(&run.wakes), 1);
}
