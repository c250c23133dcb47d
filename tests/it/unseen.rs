//! Abandoned exits, and the failures that they return. Each of these tests catches a seeded bug that no other test
//! noticed (R8, R14, R15).

use crate::support::{
    Executor, Gate, Log, Reports, as_owner, as_thief, boom, hand, lose, me, panic_text, poll_once,
    steps, yield_now,
};
use futures::future::join;
use moored::testing::MockClock;
use moored::{
    BoxTask, Cause, ExitFailure, ExitStack, Failure, Refused, Spawn, TaskGroup, local,
    move_on_after, shield, task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A stack with this one exit, in a run that never ends by itself.
async fn parked(exit: impl Future<Output = ()> + Send + 'static) {
    let stack = ExitStack::new();
    let body = async {
        stack.defer(exit);
        pending::<Result<(), ()>>().await
    };
    let _ = stack.run(body).await;
}

/// Abandons a stack with an exit that fails.
fn abandon_a_failure() {
    ExitStack::new().defer(async { Err("of an exit") });
}

/// The only cause of `failure`, which is an exit's.
#[track_caller]
fn only_exit<E>(failure: &Failure<E>) -> &ExitFailure {
    assert_eq!(failure.rest().count(), 0);
    match failure.cause() {
        Cause::Exit(exit) => exit,
        _ => panic!("no exit's failure"),
    }
}

// Waves of other tasks.

#[test]
fn r08_what_another_task_left_behind_runs_beside_the_half_run_exit_that_waits_for_it() {
    let (log, step, done) = (Log::new(), Gate::new(), Gate::new());
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        stack.defer({
            let (log, step, done) = (log.clone(), step.clone(), done.clone());
            async move {
                let opens = done.clone();
                let exit = async move {
                    step.wait().await;
                    opens.open();
                };
                lose(task(parked(exit))).await;
                done.wait().await;
                log.add("both have ended");
            }
        });
        lose(stack.close()).await;
        yield_now().await;
    }));
    run.idle();
    step.open();
    run.drive();
    log.is(&["both have ended"]);
}

/// A stack that has adopted the exits of another task, in a run that never ends by itself.
async fn adopts(exit: impl Future<Output = ()> + Send + 'static) {
    let stack = ExitStack::new();
    let body = async {
        lose(task(parked(exit))).await;
        pending::<Result<(), ()>>().await
    };
    let _ = stack.run(body).await;
}

#[test]
fn r08_what_other_tasks_left_in_two_regions_that_are_abandoned_at_once_runs_all_the_same() {
    let (log, gate) = (Log::new(), Gate::new());
    let mut run = hand(task(async {
        lose(join(adopts(steps(&log, &gate)), adopts(steps(&log, &gate)))).await;
    }));
    run.idle();
    log.is(&["first", "first"]);
    gate.open();
    run.drive();
    log.is(&["first", "first", "second", "second"]);
}

#[test]
fn r08_lost_exits_that_were_adopted_from_another_task_are_reported_by_their_place() {
    let reports = Reports::watch();
    let (log, gate) = (Log::new(), Gate::new());
    let mut run = hand(task(adopts(steps(&log, &gate))).named("adopter-that-is-dropped"));
    run.idle();
    log.is(&["first"]);
    drop(run);
    let lines = reports.of("adopter-that-is-dropped");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("unseen.rs:"), "{lines:?}");
}

// An exit's own region.

#[test]
fn r08_an_exit_that_is_cut_off_elsewhere_is_dropped_as_the_task_that_registered_it() {
    struct Tells(Log);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.add(
                task::current().map_or("nobody".to_owned(), |task| task.name().unwrap().to_owned()),
            );
        }
    }
    let (log, clock) = (Log::new(), MockClock::new());
    let home = async {
        let stack = ExitStack::new().grace(HOUR);
        let tells = Tells(log.clone());
        let body = async {
            stack.defer(async move {
                let _tells = tells;
                pending::<()>().await;
            });
            pending::<Result<(), ()>>().await
        };
        let _ = stack.run(body).await;
    };
    let adopter = task(lose(task(home).named("home"))).named("adopter").clock(clock.clone());
    moored::testing::hand(adopter).drive_with(&clock);
    log.is(&["home"]);
}

#[test]
fn r08_a_value_that_comes_back_late_inside_another_task_is_given_back_at_home() {
    let log = Log::new();
    let body = async {
        let stack = ExitStack::new();
        let told = log.clone();
        let held = stack.hold((), |()| async move { told.add(me().name().unwrap()) });
        stack.close().await.unwrap_err();
        let other = async move {
            drop(held);
            yield_now().await;
        };
        task(other).named("other").await;
        yield_now().await;
    };
    hand(task(body).named("home")).drive();
    log.is(&["home"]);
}

#[test]
fn r14_an_exit_that_is_abandoned_after_its_bodys_end_is_told_how_that_ended() {
    let (log, gate) = (Log::new(), Gate::new());
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        let body = async {
            let told = log.clone();
            stack.defer_with(|why| async move { told.add(format!("{why:?}")) });
            stack.defer(gate.wait());
            Ok::<_, ()>(())
        };
        lose(stack.run(body)).await;
    }));
    run.idle();
    gate.open();
    run.drive();
    log.is(&["Completed"]);
}

// Failures of exits.

#[test]
fn r15_an_exit_that_fails_and_panics_in_its_drop_is_both() {
    struct FailsLoudly;
    impl Future for FailsLoudly {
        type Output = Result<(), &'static str>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Err("it failed before"))
        }
    }
    impl Drop for FailsLoudly {
        fn drop(&mut self) {
            boom("in its drop");
        }
    }
    let reports = Reports::watch();
    let stack = ExitStack::new().named("fails-loudly");
    stack.defer(FailsLoudly);
    let mut close = hand(stack.close());
    assert_eq!(panic_text(|| close.poll()), "in its drop");
    let lines = reports.of("it failed before");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn r15_a_stack_that_is_handed_back_half_closed_keeps_the_failures_of_its_exits() {
    let gate = Gate::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        stack.defer(async { Err("the first to run") });
        let mut close = stack.close();
        assert!(poll_once(&mut close).await.is_pending());
        let Poll::Ready(Err(rejected)) = as_thief(poll_once(&mut close)).await else {
            panic!("a thief closed it")
        };
        gate.open();
        let error = rejected.into_inner().unwrap().close().await.unwrap_err();
        let exit = only_exit(error.failure().unwrap());
        assert!(exit.to_string().contains("the first to run"), "{exit}");
    });
}

#[test]
fn r15_the_panic_of_an_exit_is_told_though_the_half_closed_stack_is_handed_back_and_dropped() {
    let gate = Gate::new();
    let outer = ExitStack::new();
    let failure: Failure<()> = as_owner(outer.run(async {
        let stack = ExitStack::new();
        stack.defer(gate.wait());
        stack.defer(async { boom("the first to run") });
        let mut close = stack.close();
        assert!(poll_once(&mut close).await.is_pending());
        let Poll::Ready(Err(rejected)) = as_thief(poll_once(&mut close)).await else {
            panic!("a thief closed it")
        };
        drop(rejected.into_inner().unwrap());
        gate.open();
        Ok(())
    }))
    .unwrap_err();
    let exit = only_exit(&failure);
    assert!(exit.to_string().contains("the first to run"), "{exit}");
}

#[test]
fn r15_the_error_of_a_body_is_told_where_another_task_polls_its_exits() {
    let gate = Gate::new();
    as_owner(async {
        let stack = ExitStack::new();
        let mut run = Box::pin(stack.run(async {
            stack.defer(gate.wait());
            Err::<(), _>("of the body")
        }));
        assert!(poll_once(&mut run).await.is_pending());
        let failure = as_thief(run).await.unwrap_err();
        assert!(matches!(failure.cause(), Cause::Body("of the body")), "{failure:?}");
        assert!(matches!(failure.rest().next(), Some(Cause::Cancelled(_))), "{failure:?}");
        gate.open();
    });
}

#[test]
fn r15_failures_of_what_a_shield_a_time_limit_or_a_task_adopted_go_into_the_record_around() {
    let in_a_shield = ExitStack::new();
    let body = async {
        shield(async { abandon_a_failure() }).await;
        Ok::<_, ()>(())
    };
    only_exit(&hand(in_a_shield.run(body)).drive().unwrap_err());
    let in_a_limit = ExitStack::new();
    let body = async {
        move_on_after(HOUR, async { abandon_a_failure() }).await;
        Ok::<_, ()>(())
    };
    only_exit(&hand(in_a_limit.run(body)).drive().unwrap_err());
    let in_a_task = ExitStack::new();
    let body = async {
        task(async { abandon_a_failure() }).await;
        Ok::<_, ()>(())
    };
    only_exit(&hand(in_a_task.run(body)).drive().unwrap_err());
}

#[test]
fn r15_a_failure_that_reached_a_record_which_is_then_dropped_goes_into_the_next_one() {
    let outer = ExitStack::new();
    let body = async {
        let lent = Mutex::new(None);
        let inner = ExitStack::new();
        let mut run = Box::pin(inner.run(async {
            let mut ends_elsewhere = Box::pin(task(async {
                yield_now().await;
                abandon_a_failure();
            }));
            assert!(poll_once(&mut ends_elsewhere).await.is_pending());
            *lent.lock().unwrap() = Some(ends_elsewhere);
            pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(&mut run).await.is_pending());
        let ends_elsewhere = lent.lock().unwrap().take();
        ends_elsewhere.unwrap().await;
        drop(run);
        Ok::<_, ()>(())
    };
    only_exit(&hand(outer.run(body)).drive().unwrap_err());
}

// Exits on an executor.

/// An executor that runs the exits that a child abandons.
struct Keeps(Executor);

impl Spawn for Keeps {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.spawn(task)
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::new(self.0.clone()))
    }
}

#[test]
fn r16_exits_that_end_on_an_executor_wake_the_group_that_waits_for_them() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let exit = gate.wait();
    group.spawn_on(&Keeps(executor.clone()), async {
        parked(exit).await;
        Ok(())
    });
    let mut run = hand(group.run(async { Ok(()) }));
    executor.run();
    executor.shut_down();
    executor.run();
    run.idle();
    let before = run.wakes.count();
    gate.open();
    executor.run();
    assert!(run.wakes.count() > before, "the exits have ended, and nobody woke the group");
    run.ready().unwrap();
}

#[test]
fn r19_a_local_exit_that_has_run_is_not_reported_when_its_thread_ends() {
    let reports = Reports::watch();
    let local_exit = || {
        let stack = local::ExitStack::new();
        stack.defer(async {});
        hand(stack.close()).ready().unwrap();
    };
    std::thread::spawn(local_exit).join().unwrap();
    let lines = reports.of("thread that has ended");
    assert!(!lines.iter().any(|line| line.contains("unseen.rs")), "{lines:?}");
}
