//! The deadline as the code inside sees it, and the end of a grace that runs (R11, R12, R13).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Executor, hand, on};
use moored::testing::MockClock;
use moored::{
    CancelScope, Clock, ExitStack, TaskGroup, current_deadline, shield, stop_requested, task,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r11_current_deadline_is_the_minimum_of_everything_around() {
    let clock = MockClock::new();
    let now = clock.now();
    let (outer, middle, inner) = (
        CancelScope::new().deadline(now + 2 * SECOND),
        CancelScope::new().deadline(now + SECOND),
        CancelScope::new().deadline(now + 3 * SECOND),
    );
    let stack = ExitStack::new();
    let seen = on(&clock, async {
        let none = current_deadline();
        let nested = outer.run(async {
            let first = current_deadline();
            let second = middle.run(inner.run(stack.run(async {
                let second = current_deadline();
                middle.set_deadline(now + 5 * SECOND);
                Ok::<_, ()>((second, current_deadline()))
            })));
            (first, second.await.unwrap().unwrap().unwrap())
        });
        (none, nested.await.unwrap(), current_deadline())
    });
    let (one, two) = (Some(now + SECOND), Some(now + 2 * SECOND));
    assert_eq!(seen, (None, (two, (one, two)), None));
}

#[test]
fn r11_current_deadline_stops_at_a_shield() {
    let clock = MockClock::new();
    let now = clock.now();
    let outer = CancelScope::new().deadline(now + SECOND);
    let shielded = CancelScope::new().shielded().deadline(now + 9 * SECOND);
    let seen = on(
        &clock,
        outer.run(async {
            let within = shielded.run(async { current_deadline() }).await.unwrap();
            (within, shield(async { current_deadline() }).await, current_deadline())
        }),
    );
    assert_eq!(seen.unwrap(), (Some(now + 9 * SECOND), None, Some(now + SECOND)));
}

#[test]
fn r11_current_deadline_is_seen_by_children_and_across_executor_tasks() {
    let clock = MockClock::new();
    let now = clock.now();
    let executor = Executor::new();
    let seen: Arc<Mutex<Vec<Option<Instant>>>> = Arc::default();
    let scope = CancelScope::new().deadline(now + 2 * SECOND);
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(
        task(scope.run(group.run(async {
            let (one, two) = (seen.clone(), seen.clone());
            group.spawn(async move {
                one.lock().unwrap().push(current_deadline());
                Ok(())
            });
            group.spawn_on(&executor, async move {
                let nearer = CancelScope::new().timeout(SECOND);
                let both =
                    [current_deadline(), nearer.run(async { current_deadline() }).await.unwrap()];
                two.lock().unwrap().extend(both);
                Ok(())
            });
            Ok(())
        })))
        .clock(clock.clone()),
    );
    run.pending();
    executor.run();
    run.drive().unwrap().unwrap();
    let expected = [Some(now + 2 * SECOND), Some(now + 2 * SECOND), Some(now + SECOND)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn r11_an_exit_sees_no_deadline_of_what_it_leaves() {
    let clock = MockClock::new();
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let scope = CancelScope::new().timeout(SECOND);
    let stack = ExitStack::new();
    let told = seen.clone();
    on(
        &clock,
        scope.run(stack.run(async {
            stack.defer(async move { told.lock().unwrap().push(current_deadline()) });
            Ok::<_, ()>(())
        })),
    )
    .unwrap()
    .unwrap();
    assert_eq!(*seen.lock().unwrap(), [None], "exits are shielded (R14)");
}

#[test]
fn r11_nothing_current_has_no_deadline() {
    assert_eq!(current_deadline(), None);
}

#[test]
fn r11_children_see_the_deadline_of_their_group() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = Arc::new(Mutex::new(None));
    on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
        group.spawn(async {
            *seen.lock().unwrap() = moored::current_deadline();
            Ok(())
        });
        group.run(async { Ok(()) }).await.unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), Some(start + SECOND));
}

#[test]
fn r13_the_current_deadline_is_the_end_of_a_grace_that_runs() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = || seen.lock().unwrap().push(moored::current_deadline());
    on(&clock, async {
        let scope = CancelScope::new().timeout(9 * SECOND).grace(SECOND);
        let run = scope.run(async {
            see();
            scope.stop();
            see();
            // Regions inside see it, but a shield hides it.
            CancelScope::new().run(async { see() }).await.unwrap();
            moored::shield(async { see() }).await;
        });
        run.await.unwrap();
    });
    let (far, near) = (Some(start + 9 * SECOND), Some(start + SECOND));
    assert_eq!(*seen.lock().unwrap(), [far, near, near, None]);
}

#[test]
fn r13_children_see_when_the_grace_of_their_group_ends() {
    let (clock, executor) = (MockClock::new(), Executor::new());
    let start = clock.now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let child = || {
        let seen = Arc::clone(&seen);
        async move {
            stop_requested().await;
            seen.lock().unwrap().push(moored::current_deadline());
            Ok(())
        }
    };
    let group: TaskGroup<'_, ()> = TaskGroup::new().grace(SECOND);
    let mut run = hand(
        task(group.run(async {
            group.spawn(child());
            group.spawn_on(&executor, child());
            Ok(())
        }))
        .clock(clock.clone()),
    );
    run.pending();
    executor.run();
    group.stop();
    run.pending();
    clock.advance(SECOND / 2);
    executor.run();
    run.drive().unwrap();
    assert_eq!(*seen.lock().unwrap(), [Some(start + SECOND); 2]);
}

#[test]
fn r12_inside_a_shield_whose_grace_runs_the_current_deadline_is_its_end() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = || seen.lock().unwrap().push(moored::current_deadline());
    on(&clock, async {
        let scope = CancelScope::new();
        let shield = CancelScope::new().shielded().grace(SECOND);
        let run = scope.run(shield.run(async {
            see();
            scope.cancel();
            see();
        }));
        run.await.unwrap().unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), [None, Some(start + SECOND)]);
}

#[test]
fn r11_the_deadline_of_a_shielded_entered_scope_is_seen_inside() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = on(&clock, async {
        let scope = CancelScope::new().shielded().timeout(SECOND).enter().unwrap();
        let seen = scope.run(async { moored::current_deadline() }).await.unwrap();
        scope.exit().unwrap();
        seen
    });
    assert_eq!(seen, Some(start + SECOND));
}
