//! A group is a cancel scope: its deadline, its grace, its shield, over the body and the children (R11, R12, R13).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{
    Executor, Gate, Log, as_owner, as_thief, hand, lose, on, panic_text, poll_once, yield_now,
};
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, ChildError, Clock, ExitStack, Failure, ReasonKind, Sleep, TaskGroup, local,
    stop_requested, task,
};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn cancelled_for<E: std::fmt::Debug>(failure: &Failure<E>) -> ReasonKind {
    match failure.cause() {
        Cause::Cancelled(reason) => reason.kind(),
        other => panic!("no cancellation: {other:?}"),
    }
}

#[test]
fn r11_a_groups_timeout_cancels_its_body_and_its_children() {
    let (clock, log) = (MockClock::new(), Log::new());
    let start = clock.now();
    let failure = on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
        let child = async {
            let _dropped = log.on_drop("the child");
            pending().await
        };
        group.run(async { group.spawn::<_, ()>(child).join().await.map_err(|_| ()) }).await
    });
    assert_eq!(cancelled_for(&failure.unwrap_err()), ReasonKind::Deadline);
    assert_eq!(clock.now() - start, SECOND);
    log.is(&["the child"]);
}

#[test]
fn r11_a_groups_deadline_counts_until_its_last_child_has_left() {
    let clock = MockClock::new();
    let start = clock.now();
    let (reason, joined) = on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().deadline(start + SECOND);
        let child = group.run(async { Ok(group.spawn(pending::<Result<(), ()>>())) }).await;
        // A cancellation after the body's end, after which everybody left cleanly, is no failure (R15).
        (group.handle().reason().unwrap(), child.unwrap().join().await)
    });
    assert_eq!(reason.kind(), ReasonKind::Deadline);
    assert!(matches!(joined, Err(ChildError::Cancelled(_))));
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r11_a_timeout_of_nothing_is_over_at_the_first_poll_and_children_run_to_their_first_await() {
    let (clock, log) = (MockClock::new(), Log::new());
    let failure = on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(Duration::ZERO);
        group
            .run::<_, ()>(async {
                group.spawn(async {
                    log.add("begun");
                    yield_now().await;
                    log.add("gone on");
                    Ok(())
                });
                pending().await
            })
            .await
    });
    assert_eq!(cancelled_for(&failure.unwrap_err()), ReasonKind::Deadline);
    log.is(&["begun"]);
}

#[test]
fn r11_of_two_deadlines_of_a_group_the_earlier_one_counts() {
    for earlier_first in [true, false] {
        let clock = MockClock::new();
        let start = clock.now();
        let (early, late) = (start + SECOND, start + 5 * SECOND);
        let (first, second) = if earlier_first { (early, late) } else { (late, early) };
        let failure = on(&clock, async {
            let group: TaskGroup<'_, ()> = TaskGroup::new().deadline(first).deadline(second);
            group.run(pending::<Result<(), ()>>()).await
        });
        assert_eq!(cancelled_for(&failure.unwrap_err()), ReasonKind::Deadline);
        assert_eq!(clock.now() - start, SECOND);
    }
}

#[test]
fn r11_a_groups_deadline_is_changed_while_only_its_children_run() {
    let clock = MockClock::new();
    let start = clock.now();
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(9 * SECOND);
    let mut run = moored::testing::hand(
        task(group.run(async {
            group.spawn(pending::<Result<(), ()>>());
            Ok(())
        }))
        .clock(clock.clone()),
    );
    run.pending();
    let wakes = run.wakes();
    group.set_deadline(start + SECOND);
    assert!(run.wakes() > wakes, "who watches looks again");
    run.drive_with(&clock).unwrap();
    assert_eq!((clock.now() - start, clock.sleepers()), (SECOND, 0));
}

#[test]
fn r11_no_timer_is_armed_for_a_group_whose_children_end_with_the_body() {
    let clock = MockClock::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let run = group.run(async {
        group.spawn(async { Ok(()) });
        Ok(())
    });
    struct NoTimers(MockClock);
    impl Clock for NoTimers {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn sleep_until(&self, _: Instant) -> Sleep {
            panic!("a timer is armed")
        }
    }
    hand(task(run).clock(NoTimers(clock))).ready().unwrap();
}

#[test]
fn r11_a_group_that_was_left_has_no_timer_and_no_deadline() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let wait = gate.wait();
    let mut run = hand(
        task(group.run(async {
            group.spawn(async { Ok(wait.await) });
            Ok(())
        }))
        .clock(clock.clone()),
    );
    run.pending();
    assert_eq!(clock.sleepers(), 1);
    gate.open();
    run.drive().unwrap();
    assert_eq!(clock.sleepers(), 0);
    clock.advance(9 * SECOND);
    assert!(!group.is_cancelled());
}

#[test]
fn r13_a_stop_of_a_group_becomes_its_cancellation_when_its_grace_is_over() {
    for after_the_body in [false, true] {
        let (clock, log) = (MockClock::new(), Log::new());
        let start = clock.now();
        let failure: Failure<&str> = on(&clock, async {
            let group = TaskGroup::new().keep_going().grace(SECOND);
            let handle = group.handle();
            let run = group.run(async {
                group.spawn(async {
                    stop_requested().await;
                    log.add("winds down");
                    Err::<(), _>("disk is full")
                });
                group.spawn(async {
                    let _dropped = log.on_drop("cancelled");
                    pending::<Result<(), _>>().await
                });
                handle.stop();
                if !after_the_body {
                    pending::<()>().await;
                }
                Ok(())
            });
            run.await.unwrap_err()
        });
        log.is(&["winds down", "cancelled"]);
        assert!(matches!(failure.cause(), Cause::Child { error: "disk is full", .. }), "{failure}");
        assert_eq!(clock.now() - start, SECOND);
    }
}

#[test]
fn r13_children_that_finish_within_a_groups_grace_are_not_cancelled() {
    let clock = MockClock::new();
    let start = clock.now();
    let sum = on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().grace(SECOND);
        let run = group.run(async {
            let child = group.spawn(async {
                stop_requested().await;
                yield_now().await;
                Ok(3)
            });
            group.stop();
            Ok(child.join().await.unwrap())
        });
        run.await.unwrap()
    });
    assert_eq!((sum, clock.now() - start), (3, Duration::ZERO));
}

#[test]
fn r13_a_groups_grace_reaches_children_on_an_executor() {
    let (clock, executor) = (MockClock::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().grace(SECOND);
    let mut run = hand(
        task(group.run(async {
            let child = group.spawn_on(&executor, pending::<Result<(), ()>>());
            group.stop();
            Ok(child.join().await)
        }))
        .clock(clock.clone()),
    );
    run.pending();
    executor.run();
    clock.advance(SECOND);
    // The body waits for a child, so only the cancellation ends the group: both see it.
    run.pending();
    executor.run();
    let failure = run.drive().unwrap_err();
    assert_eq!(cancelled_for(&failure), ReasonKind::Requested);
    assert_eq!(executor.len(), 0);
}

#[test]
fn r16_a_groups_grace_does_not_cut_off_the_wait_for_the_children_of_a_dropped_run() {
    let (clock, executor, gate) = (MockClock::new(), Executor::new(), Gate::new());
    let mut outer = moored::testing::hand(
        task(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new().grace(SECOND);
            let wait = gate.wait();
            let mut run = Box::pin(group.run(async {
                group.spawn_on(&executor, async move { Ok(moored::shield(wait).await) });
                pending::<Result<(), ()>>().await
            }));
            assert!(crate::support::poll_once(&mut run).await.is_pending());
        })
        .clock(clock.clone()),
    );
    executor.run();
    outer.pending();
    executor.run();
    for _ in 0..3 {
        clock.advance(9 * SECOND);
        outer.pending();
        executor.run();
    }
    gate.open();
    executor.run();
    outer.ready();
}

#[test]
fn r12_a_shielded_group_holds_for_its_body_and_for_its_children() {
    for in_task in [true, false] {
        let (log, executor, gate) = (Log::new(), Executor::new(), Gate::new());
        let scope = CancelScope::new();
        let mut run = hand(scope.run(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new().shielded();
            let child = |log: Log, gate: Gate| async move {
                gate.wait().await;
                assert!(!moored::is_cancelled());
                log.add("a child");
                Ok(())
            };
            let run = group.run(async {
                let (log, gate) = (log.clone(), gate.clone());
                match in_task {
                    true => drop(group.spawn(child(log.clone(), gate))),
                    false => drop(group.spawn_on(&executor, child(log.clone(), gate))),
                }
                yield_now().await;
                log.add("the body");
                Ok(())
            });
            run.await.unwrap();
            log.add("after the group");
            pending::<()>().await
        }));
        run.pending();
        scope.cancel();
        for _ in 0..3 {
            run.pending();
            executor.run();
        }
        log.is(&["the body"]);
        gate.open();
        executor.run();
        run.drive().unwrap_err();
        // The scope's body is polled once more, and is dropped where it is parked then.
        log.is(&["the body", "a child", "after the group"]);
    }
}

#[test]
fn r12_a_shielded_group_gives_way_when_its_grace_is_over() {
    let (clock, log) = (MockClock::new(), Log::new());
    let start = clock.now();
    on(&clock, async {
        let scope = CancelScope::new();
        let run = scope.run(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new().shielded().grace(SECOND);
            let run = group.run(async {
                group.spawn(async {
                    let _dropped = log.on_drop("the child");
                    pending::<Result<(), ()>>().await
                });
                scope.cancel();
                Ok(())
            });
            run.await
        });
        run.await.unwrap_err();
    });
    log.is(&["the child"]);
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r12_a_shielded_groups_own_deadline_and_cancel_count() {
    let clock = MockClock::new();
    let failure = on(&clock, async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().shielded().timeout(SECOND);
        group.run(pending::<Result<(), ()>>()).await.unwrap_err()
    });
    assert_eq!(cancelled_for(&failure), ReasonKind::Deadline);
}

#[test]
fn r09_a_group_whose_deadline_passes_inside_a_cancelled_scope_is_caught_by_the_scope() {
    let clock = MockClock::new();
    let cancelled = on(&clock, async {
        let scope = CancelScope::new().timeout(SECOND);
        let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
        scope.run(group.run(pending::<Result<(), ()>>())).await
    });
    assert_eq!(cancelled.unwrap_err().reason().kind(), ReasonKind::Deadline);
}

#[test]
fn r15_an_error_of_a_child_is_primary_whatever_time_ran_out_first() {
    let clock = MockClock::new();
    let failure: Failure<&str> = on(&clock, async {
        let group = TaskGroup::new().timeout(SECOND);
        let run = group.run(async {
            group.spawn(async {
                moored::cancelled().await;
                Err::<(), _>("could not flush")
            });
            pending::<Result<(), _>>().await
        });
        run.await.unwrap_err()
    });
    assert!(matches!(failure.cause(), Cause::Child { error: "could not flush", .. }), "{failure}");
}

/// A clock that panics when a timer is made.
struct Broken(MockClock);

impl Clock for Broken {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn sleep_until(&self, _: Instant) -> Sleep {
        panic!("the clock is broken")
    }
}

#[test]
fn r15_a_clock_that_panics_while_only_children_run_is_as_a_childs_panic() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let run = group.run(async {
        group.spawn(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("the child's exit"));
                pending::<Result<(), ()>>().await
            };
            let _ = stack.run(body).await;
            Ok(())
        });
        Ok(())
    });
    let mut run = hand(task(run).clock(Broken(MockClock::new())));
    assert_eq!(panic_text(|| run.drive()), "the clock is broken");
    log.is(&["the child's exit"]);
}

#[test]
fn a_local_group_has_the_same_times() {
    let clock = MockClock::new();
    let start = clock.now();
    let seen = Rc::new(Mutex::new(Vec::new()));
    let failure: Failure<&str> = on(&clock, async {
        let group = local::TaskGroup::new().keep_going().grace(SECOND).timeout(9 * SECOND);
        group.set_deadline(start + 5 * SECOND);
        let run = group.run(async {
            let seen = Rc::clone(&seen);
            group.spawn(async move {
                stop_requested().await;
                seen.lock().unwrap().push("asked");
                Err::<(), _>("disk is full")
            });
            group.spawn(pending::<Result<(), _>>());
            group.stop();
            Ok(())
        });
        run.await.unwrap_err()
    });
    assert!(matches!(failure.cause(), Cause::Child { error: "disk is full", .. }), "{failure}");
    assert_eq!((clock.now() - start, seen.lock().unwrap().len()), (SECOND, 1));
    let held = hand(async {
        let scope = CancelScope::new();
        scope.cancel();
        let group: local::TaskGroup<'_, ()> = local::TaskGroup::new().shielded();
        let run = group.run(async {
            let child = group.spawn(async { Ok(yield_now().await) });
            Ok(child.join().await)
        });
        scope.run(run).await
    })
    .drive();
    assert!(held.unwrap().unwrap().is_ok());
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new().deadline(start);
    drop(group);
}

#[test]
fn r11_a_deadline_that_was_armed_before_the_bodys_end_counts_for_the_children_after_it() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    drop(group.spawn(pending::<Result<(), ()>>()));
    let body = async {
        gate.wait().await;
        Ok(())
    };
    let mut run = hand(task(group.run(body)).clock(clock.clone()));
    run.pending();
    gate.open();
    run.pending();
    clock.advance(SECOND);
    run.ready().unwrap();
}

#[test]
fn r09_a_time_of_a_group_counts_before_what_ends_in_a_child_at_the_same_instant() {
    let clock = MockClock::new();
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let run = group.run(async {
        group.spawn_detached(async {
            let scope = CancelScope::new();
            let shield = CancelScope::new().shielded().timeout(SECOND);
            let run = scope.run(async {
                drop(shield.run(pending::<()>()).await);
                pending::<()>().await
            });
            scope.cancel();
            log.add(format!("{:?}", run.await.unwrap_err().reason().kind()));
            Ok(())
        });
        pending::<Result<(), ()>>().await
    });
    let failure: Failure<()> = on(&clock, run).unwrap_err();
    assert_eq!(cancelled_for(&failure), ReasonKind::Deadline);
    log.is(&[]);
}

#[test]
fn r11_a_child_that_waits_before_its_group_is_entered_hears_of_the_groups_deadline() {
    let (clock, executor, log) = (MockClock::new(), Executor::new(), Log::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let heard = log.clone();
    drop(group.spawn_on(&executor, async move {
        moored::cancelled().await;
        heard.add("heard");
        Ok(())
    }));
    executor.run();
    let mut run = hand(task(group.run(pending::<Result<(), ()>>())).clock(clock.clone()));
    run.pending();
    executor.run();
    log.is(&[]);
    clock.advance(SECOND);
    run.pending();
    executor.run();
    let failure = run.drive().unwrap_err();
    let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
    assert_eq!(reason.kind(), ReasonKind::Deadline);
    log.is(&["heard"]);
}

/// Tells whether it is dropped where a deadline counts.
struct Timed(Arc<Mutex<Vec<bool>>>);

impl Drop for Timed {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(moored::current_deadline().is_some());
    }
}

#[test]
fn r07_the_value_of_a_body_is_dropped_inside_its_group_whoever_ends_the_run() {
    let told = Arc::new(Mutex::new(Vec::new()));
    as_owner(async {
        for dropped in [true, false] {
            let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(Duration::from_secs(3_600));
            group.spawn(pending::<Result<(), ()>>());
            let value = Timed(Arc::clone(&told));
            let mut run = Box::pin(group.run(async { Ok(value) }));
            assert!(poll_once(&mut run).await.is_pending());
            if !dropped {
                assert!(as_thief(poll_once(&mut run)).await.is_ready());
            }
        }
    });
    assert_eq!(*told.lock().unwrap(), [true, true]);
}

#[test]
fn r19_the_timer_of_a_group_wakes_nobody_while_only_its_exits_run() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(Duration::from_secs(1));
    let body = async {
        yield_now().await;
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        lose(stack.run(pending::<Result<(), ()>>())).await;
        Ok(())
    };
    let mut run = hand(task(group.run(body)).clock(clock.clone()));
    run.pending();
    run.pending();
    let before = run.wakes.count();
    clock.advance(Duration::from_secs(2));
    assert_eq!(run.wakes.count(), before);
    gate.open();
    run.drive().unwrap();
}

#[test]
fn r11_the_deadline_of_a_group_ends_with_its_last_child() {
    let (clock, child, exit) = (MockClock::new(), Gate::new(), Gate::new());
    let deadline = clock.now() + SECOND;
    let group: TaskGroup<'_, ()> = TaskGroup::new().deadline(deadline);
    let handle = group.handle();
    let body = async {
        let stack = ExitStack::new();
        let exit = exit.clone();
        stack.defer(async move { exit.wait().await });
        lose(stack.run(pending::<Result<(), ()>>())).await;
        let child = child.clone();
        drop(group.spawn(async move { Ok(child.wait().await) }));
        Ok(())
    };
    let mut run = hand(task(group.run(body)).clock(clock.clone()));
    run.pending();
    assert_eq!(handle.deadline(), Some(deadline), "the child is open");
    child.open();
    run.pending();
    let mut cancelled = hand(handle.cancelled());
    cancelled.pending();
    assert_eq!(handle.deadline(), None, "the group waits for the exit alone");
    clock.advance(2 * SECOND);
    cancelled.pending();
    run.pending();
    exit.open();
    run.ready().unwrap();
}
