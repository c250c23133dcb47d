//! Children without a handle: they are children like others (R2, R8, R15, R16, R17, R19).

use crate::support::{Executor, Full, Gate, Hand, Log, hand, yield_now};
use moored::{Cause, ExitStack, GroupSpawner, Misuse, TaskGroup, local, shield, task};
use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Group<'env> = TaskGroup<'env, &'static str>;

/// Polls the run and the executor's tasks until the run ends.
fn drive_with<F: Future>(run: &mut Hand<F>, executor: &Executor) -> F::Output {
    for _ in 0..1_000 {
        if let Poll::Ready(output) = run.poll() {
            return output;
        }
        executor.run();
    }
    panic!("no end in 1,000 polls")
}

#[test]
fn r16_a_group_waits_for_its_children_without_handles() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn_detached(async {
            gate.wait().await;
            log.add("in the task");
            Ok(())
        });
        let (gate, log) = (gate.clone(), log.clone());
        group.spawn_detached_on(&executor, async move {
            gate.wait().await;
            log.add("on the executor");
            Ok(())
        });
        Ok(())
    }));
    run.idle();
    executor.run();
    run.pending();
    assert_eq!(group.len(), 2);
    gate.open();
    executor.run();
    run.drive().unwrap();
    log.is(&["on the executor", "in the task"]);
    assert!(group.is_empty());
}

#[test]
fn r17_a_failure_of_a_child_without_a_handle_cancels_the_others_and_names_the_child() {
    let (log, executor) = (Log::new(), Executor::new());
    for on_executor in [false, true] {
        let log = log.clone();
        let group = Group::new();
        let mut run = hand(task(group.run(async {
            let gone = log.on_drop("gone");
            group.spawn_detached(async move {
                let _gone = gone;
                pending::<Result<(), _>>().await
            });
            yield_now().await;
            let failing = async {
                assert!(moored::task::current().is_some());
                Err::<(), _>("disk is full")
            };
            match on_executor {
                true => group.spawn_detached_on(&executor, failing),
                false => group.spawn_detached(failing),
            }
            pending::<Result<(), _>>().await
        })));
        let failure = drive_with(&mut run, &executor).unwrap_err();
        let Cause::Child { task, error: "disk is full", spawned_at, .. } = failure.cause() else {
            panic!("{failure}")
        };
        assert!(spawned_at.file().ends_with("detached.rs"), "{task}: {spawned_at}");
    }
    log.is(&["gone", "gone"]);
}

#[test]
fn r15_a_panic_of_a_child_without_a_handle_is_resumed() {
    let executor = Executor::new();
    for on_executor in [false, true] {
        let group = Group::new();
        let mut run = hand(group.run(async {
            let broken = async { if true { panic!("a bug") } else { Ok(()) } };
            match on_executor {
                true => group.spawn_detached_on(&executor, broken),
                false => group.spawn_detached(broken),
            }
            Ok(())
        }));
        let panic = catch_unwind(AssertUnwindSafe(|| {
            drop(drive_with(&mut run, &executor));
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"a bug"));
    }
}

#[test]
fn r15_an_isolated_panic_of_a_child_without_a_handle_is_in_the_groups_record() {
    let group = Group::new().isolate_panics();
    let mut run = hand(group.run(async {
        group.spawn_detached(async { if true { panic!("a bug") } else { Ok(()) } });
        Ok(())
    }));
    let failure = run.drive().unwrap_err();
    assert!(format!("{failure:#}").contains("a bug"), "{failure:#}");
}

#[test]
fn r15_an_isolated_panic_of_a_started_child_is_in_the_groups_record() {
    for is_ready in [false, true] {
        let group = Group::new().isolate_panics();
        let mut run = hand(group.run(async {
            let started = group.start(|ready| async move {
                if is_ready {
                    ready(());
                }
                if true { panic!("a bug") } else { Ok(()) }
            });
            assert_eq!(started.await.is_ok(), is_ready);
            Ok(())
        }));
        let failure = run.drive().unwrap_err();
        assert!(format!("{failure:#}").contains("a bug"), "{failure:#}");

        let group: local::TaskGroup<'_, &str> = local::TaskGroup::new().isolate_panics();
        let mut run = hand(group.run(async {
            let started = group.start(|ready| async move {
                if is_ready {
                    ready(());
                }
                if true { panic!("a bug") } else { Ok(()) }
            });
            assert_eq!(started.await.is_ok(), is_ready);
            Ok(())
        }));
        let failure = run.drive().unwrap_err();
        assert!(format!("{failure:#}").contains("a bug"), "{failure:#}");
    }
}

#[test]
fn r08_exits_that_a_child_without_a_handle_abandons_run_before_its_group_is_left() {
    let (log, executor) = (Log::new(), Executor::new());
    for on_executor in [false, true] {
        let group = Group::new();
        let mut run = hand(group.run(async {
            let log = log.clone();
            let child = async move {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                stack.run(pending::<Result<(), &'static str>>()).await.map_err(|_| "failed")
            };
            match on_executor {
                true => group.spawn_detached_on(&executor, child),
                false => group.spawn_detached(child),
            }
            Ok(())
        }));
        run.idle();
        executor.run();
        run.idle();
        group.cancel();
        drive_with(&mut run, &executor).unwrap();
        drop(run);
        log.is(&["exit", "exit"][..=usize::from(on_executor)]);
    }
}

#[test]
fn r16_children_without_handles_end_with_a_run_that_is_dropped() {
    let (log, executor) = (Log::new(), Executor::new());
    let mut outer = hand(task(async {
        let group = Group::new();
        {
            let mut run = Box::pin(group.run(async {
                for on_executor in [false, true] {
                    let gone = log.on_drop("gone");
                    let child = async move {
                        let _gone = gone;
                        pending::<Result<(), _>>().await
                    };
                    match on_executor {
                        true => group.spawn_detached_on(&executor, child),
                        false => group.spawn_detached(child),
                    }
                }
                Ok(())
            }));
            for _ in 0..2 {
                assert!(futures::poll!(run.as_mut()).is_pending());
                executor.run();
            }
        }
        log.add("dropped");
    }));
    outer.pending();
    executor.run();
    outer.drive();
    log.is(&["gone", "dropped", "gone"]);
}

#[test]
fn r12_a_child_without_a_handle_is_held_by_a_shield_of_its_own() {
    let (log, gate) = (Log::new(), Gate::new());
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn_detached(async {
            shield(gate.wait()).await;
            log.add("saved");
            pending::<Result<(), _>>().await
        });
        Ok(())
    }));
    run.idle();
    group.cancel();
    run.idle();
    gate.open();
    run.drive().unwrap();
    log.is(&["saved"]);
}

#[test]
fn r02_another_task_spawns_no_child_without_a_handle_and_gets_its_future_back() {
    let group = Arc::new(TaskGroup::<'static, &'static str>::new());
    let mut run = hand(task(group.run(async {
        let group = Arc::clone(&group);
        let tried = task(async move {
            let in_task = group.try_spawn_detached(async { Ok(1) }).unwrap_err();
            assert!(matches!(in_task.error(), Misuse::WrongTask(_)));
            let on = group.try_spawn_detached_on(&Executor::new(), async { Ok(2) }).unwrap_err();
            assert!(matches!(on.error(), Misuse::WrongTask(_)));
            (in_task.into_inner().await, on.into_inner().await)
        });
        Ok(tried.await)
    })));
    assert_eq!(run.drive().unwrap(), (Ok::<_, &str>(1), Ok::<_, &str>(2)));
}

#[test]
fn r16_a_group_that_has_closed_hands_the_future_of_a_child_without_a_handle_back() {
    let group = Group::new();
    let spawner: GroupSpawner<'_, _> = group.spawner();
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let late = spawner.spawn_detached(async { Ok(1) }).unwrap_err();
    assert!(matches!(late.error(), Misuse::Closed { .. }), "{late}");
    assert!(spawner.spawn_detached_on(&Executor::new(), async { Ok(1) }).is_err());
    assert!(group.try_spawn_detached(async { Ok(1) }).is_err());
    drop(group);
    assert!(spawner.spawn_detached(async { Ok(1) }).is_err());
}

#[test]
fn r16_children_without_handles_wait_for_their_turn() {
    let (log, executor) = (Log::new(), Executor::new());
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async {
        for name in ["first", "second"] {
            let log = &log;
            group.spawn_detached(async move {
                log.add(name);
                yield_now().await;
                log.add(name);
                Ok(())
            });
        }
        let log = log.clone();
        group.spawn_detached_on(&executor, async move {
            log.add("third");
            Ok(())
        });
        Ok(())
    }));
    executor.run();
    run.idle();
    executor.run();
    run.drive().unwrap();
    log.is(&["first", "first", "second", "second", "third"]);
}

#[test]
fn r16_an_executor_that_refuses_a_child_without_a_handle_leaves_its_exits_to_the_group() {
    let log = Log::new();
    let mut run = hand(task(async {
        let group = Group::new();
        let gone = log.on_drop("gone");
        let run = group.run(async {
            group.spawn_detached_on(&Full, async move {
                let _gone = gone;
                Ok(())
            });
            Ok(())
        });
        run.await.unwrap();
    }));
    run.drive();
    log.is(&["gone"]);
}

#[test]
fn r19_children_without_handles_leave_nothing_behind() {
    let before = moored::testing::live_regions();
    let group = Group::new();
    let mut run = hand(group.run(async {
        for _ in 0..3 {
            group.spawn_detached(async { Ok(()) });
            group.spawn_detached(async {
                yield_now().await;
                Ok(())
            });
        }
        Ok(())
    }));
    run.drive().unwrap();
    drop(run);
    drop(group);
    assert_eq!(moored::testing::live_regions(), before);
}

#[test]
fn r16_a_local_group_waits_for_a_child_without_a_handle_that_is_not_send() {
    let seen = Rc::new(Cell::new(0));
    let group: local::TaskGroup<'_, &'static str> = local::TaskGroup::new();
    let spawner = group.spawner();
    let mut run = hand(group.run(async {
        let seen = Rc::clone(&seen);
        group.spawn_detached(async move {
            yield_now().await;
            seen.set(seen.get() + 1);
            let seen = Rc::clone(&seen);
            let nested = spawner.spawn_detached(async move {
                seen.set(seen.get() + 1);
                Ok(())
            });
            assert!(nested.is_ok());
            Ok(())
        });
        Ok(())
    }));
    run.drive().unwrap();
    assert_eq!(seen.get(), 2);
}

#[test]
fn r16_the_value_of_a_child_without_a_handle_is_dropped_when_it_ends() {
    let log = Log::new();
    let kept = Mutex::new(());
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn_detached(async {
            let _kept = kept.lock();
            Ok(log.on_drop("value"))
        });
        yield_now().await;
        log.add("body");
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["value", "body"]);
}
