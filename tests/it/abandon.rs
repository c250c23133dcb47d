//! Where exits go when no region is left to run them: a task's spawner, the executor of a child, the hook
//! (R8).

use crate::support::{Executor, Full, Gate, Log, Reports, boom, hand, poll_once, yield_now};
use moored::{BoxTask, CancelScope, ExitStack, Failure, Refused, Spawn, TaskGroup, task};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// A body that registers exits and waits for ever.
async fn parked(log: Log, name: &'static str) -> Result<(), Failure<()>> {
    let stack = ExitStack::new().named(name);
    stack
        .run(async {
            stack.defer(log.entry(format!("{name} 1")));
            stack.defer(log.entry(format!("{name} 2")));
            pending().await
        })
        .await
}

/// A task with a half-run exit, which has passed the gate's first wait.
async fn half_way(log: Log, gate: Gate, name: &'static str) -> Result<(), Failure<()>> {
    let stack = ExitStack::new().named(name);
    stack
        .run(async {
            stack.defer(log.entry(format!("{name} last")));
            let log = log.clone();
            stack.defer(async move {
                log.add(format!("{name} began"));
                gate.wait().await;
                log.add(format!("{name} ended"));
            });
            Ok(())
        })
        .await
}

// A task's own spawner.

#[test]
fn r08_what_a_dropped_task_leaves_behind_runs_on_its_spawner() {
    let reports = Reports::watch();
    let (log, executor) = (Log::new(), Executor::new());
    let mut run = hand(task(parked(log.clone(), "spawned-home")).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    log.is(&[]);
    assert_eq!(executor.len(), 1);
    executor.run();
    log.is(&["spawned-home 2", "spawned-home 1"]);
    assert_eq!(executor.len(), 0);
    assert!(reports.of("spawned-home").is_empty());
}

#[test]
fn r08_a_half_run_exit_goes_on_there_from_where_it_was() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let mut run = hand(task(half_way(log.clone(), gate.clone(), "x")).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    log.is(&["x began"]);
    gate.open();
    executor.run();
    log.is(&["x began", "x ended", "x last"]);
}

#[test]
fn r08_exits_on_a_spawner_keep_the_identity_of_their_task() {
    let (log, executor) = (Log::new(), Executor::new());
    let told = log.clone();
    let body = async move {
        let stack = ExitStack::new();
        stack.defer(async move {
            yield_now().await;
            told.add(task::current().unwrap().name().unwrap());
        });
        stack.run(pending::<Result<(), ()>>()).await
    };
    let mut run = hand(task(body).named("the task").on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    log.is(&["the task"]);
}

#[test]
fn r08_a_region_around_the_task_comes_before_its_spawner() {
    let (log, executor) = (Log::new(), Executor::new());
    let scope = CancelScope::new();
    let body = scope.run(async {
        let mut inner = Box::pin(task(parked(log.clone(), "x")).on_abandon(executor.clone()));
        assert!(poll_once(&mut inner).await.is_pending());
        drop(inner);
        yield_now().await;
        log.add("the scope goes on");
    });
    hand(body).drive().unwrap();
    log.is(&["x 2", "x 1", "the scope goes on"]);
    assert_eq!(executor.len(), 0);
}

#[test]
fn r08_a_region_around_that_was_left_leaves_it_to_the_spawner() {
    let (log, executor) = (Log::new(), Executor::new());
    let scope = CancelScope::new();
    let mut lent = Box::pin(task(parked(log.clone(), "x")).on_abandon(executor.clone()));
    hand(scope.run(async {
        assert!(poll_once(&mut lent).await.is_pending());
    }))
    .ready()
    .unwrap();
    drop(lent);
    executor.run();
    log.is(&["x 2", "x 1"]);
}

#[test]
fn r08_a_task_inside_a_task_uses_the_outer_ones_spawner() {
    let (log, executor) = (Log::new(), Executor::new());
    let mut run = hand(task(task(parked(log.clone(), "inner"))).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    log.is(&["inner 2", "inner 1"]);
}

#[test]
fn r08_a_spawner_that_refuses_has_the_exits_reported_lost_once() {
    let reports = Reports::watch();
    let log = Log::new();
    let mut run = hand(task(parked(log.clone(), "refused")).named("refused-task").on_abandon(Full));
    run.pending();
    drop(run);
    log.is(&[]);
    let lines = reports.of("abandon.rs");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("2 exits of ") && lines[0].contains("refused"), "{lines:?}");
    assert_eq!(lines[0].matches("registered at ").count(), 2, "{lines:?}");
}

#[test]
fn r08_many_lost_exits_are_reported_in_a_line_each_and_then_counted() {
    let reports = Reports::watch();
    let mut run = hand(task(async {
        let stack = ExitStack::new().named("many-lost");
        (0..12).for_each(|_| stack.defer(async {}));
        stack.run(pending::<Result<(), ()>>()).await
    }));
    run.pending();
    drop(run);
    let lines = reports.of("many-lost");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let lines: Vec<_> = lines[0].lines().collect();
    assert_eq!(lines.len(), 12, "{lines:?}");
    assert!(lines[0].starts_with("12 exits of ") && lines[0].ends_with(" lives"), "{lines:?}");
    assert!(lines[1..11].iter().all(|line| line.starts_with("  registered at ")), "{lines:?}");
    assert_eq!(lines[11], "  and 2 more");
}

/// Takes a task, polls it as often as it is told, and drops it.
#[derive(Clone)]
struct Dropping(usize);

impl Spawn for Dropping {
    fn spawn(&self, mut task: BoxTask) -> Result<(), Refused> {
        for _ in 0..self.0 {
            if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
        }
        Ok(())
    }
}

#[test]
fn r08_a_spawner_that_drops_what_it_took_has_the_exits_reported_lost_once() {
    let reports = Reports::watch();
    let log = Log::new();
    let mut run =
        hand(task(parked(log.clone(), "dropped")).named("dropped-task").on_abandon(Dropping(0)));
    run.pending();
    drop(run);
    log.is(&[]);
    let lines = reports.of("abandon.rs");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("2 exits of "), "{lines:?}");
}

#[test]
fn r08_a_spawner_that_drops_them_half_way_has_the_rest_reported_lost_once() {
    let reports = Reports::watch();
    let (log, gate) = (Log::new(), Gate::new());
    let body = half_way(log.clone(), gate, "half-dropped");
    let mut run = hand(task(body).on_abandon(Dropping(2)));
    run.pending();
    drop(run);
    log.is(&["half-dropped began"]);
    let lines = reports.of("abandon.rs");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("2 exits of "), "{lines:?}");
}

#[test]
fn r08_an_executor_that_shuts_down_has_them_reported_lost_once() {
    let reports = Reports::watch();
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let body = half_way(log.clone(), gate.clone(), "shut-down");
    let mut run = hand(task(body).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    executor.shut_down();
    gate.open();
    log.is(&["shut-down began"]);
    assert_eq!(reports.of("abandon.rs").len(), 1);
}

#[test]
fn r08_a_spawner_may_run_them_inside_spawn() {
    let reports = Reports::watch();
    let log = Log::new();
    let mut run = hand(task(parked(log.clone(), "at-once")).on_abandon(Dropping(5)));
    run.pending();
    drop(run);
    log.is(&["at-once 2", "at-once 1"]);
    assert!(reports.of("at-once").is_empty());
}

#[test]
fn r15_failures_of_exits_on_a_spawner_go_to_the_hook_and_stop_nothing() {
    let reports = Reports::watch();
    let (log, executor) = (Log::new(), Executor::new());
    let last = log.entry("last");
    let body = async move {
        let stack = ExitStack::new();
        stack.defer(last);
        stack.defer(async {
            boom("panic of the exit");
        });
        stack.defer(async { Err::<(), _>("error of the exit") });
        stack.run(pending::<Result<(), ()>>()).await
    };
    let mut run = hand(task(body).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    executor.run();
    log.is(&["last"]);
    assert_eq!(reports.of("error of the exit").len(), 1);
    assert_eq!(reports.of("panic of the exit").len(), 1);
}

#[test]
fn r08_a_task_that_abandons_nothing_spawns_nothing() {
    let executor = Executor::new();
    let mut run = hand(task(pending::<()>()).on_abandon(executor.clone()));
    run.pending();
    drop(run);
    assert_eq!(executor.len(), 0);
    let mut done = hand(task(yield_now()).on_abandon(executor.clone()));
    done.drive();
    drop(done);
    drop(task(async {}).on_abandon(executor.clone()));
    assert_eq!(executor.len(), 0);
}

#[test]
fn r16_the_wait_for_executor_children_of_a_dropped_group_goes_to_the_spawner() {
    let (log, executor, home) = (Log::new(), Executor::new(), Executor::new());
    let (children, told) = (executor.clone(), log.clone());
    let body = async move {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let stack = ExitStack::new();
        let inside = group.run(async {
            let log = told.clone();
            group.spawn_on(&children, async move {
                let _ = parked(log, "child").await;
                Ok(())
            });
            pending::<Result<(), ()>>().await
        });
        let entry = told.entry("after the children");
        let _ = stack
            .run(async {
                stack.defer(entry);
                inside.await.map_err(drop)
            })
            .await;
    };
    let mut run = hand(task(body).on_abandon(home.clone()));
    run.pending();
    executor.run();
    drop(run);
    home.run();
    log.is(&[]);
    executor.run();
    home.run();
    log.is(&["child 2", "child 1", "after the children"]);
}

// The executor of a child.

/// An executor that can be kept; its kept form does something else.
struct Kept<K> {
    children: Executor,
    kept: Mutex<Option<K>>,
}

impl<K: Spawn + Send + Sync + 'static> Spawn for Kept<K> {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.children.spawn(task)
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        let kept = self.kept.lock().unwrap().take()?;
        Some(Arc::new(kept))
    }
}

/// Drops a child that has exits, and logs the state of the group before and after the executor has
/// polled. The child is dropped at the await where it is parked.
fn dropped_child<K: Spawn + Send + Sync + 'static>(
    log: &Log,
    kept: K,
    name: &'static str,
    between: impl FnOnce(),
) {
    let executor = Kept { children: Executor::new(), kept: Mutex::new(Some(kept)) };
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let log = log.clone();
        group.spawn_on(&executor, async move {
            let _ = parked(log, name).await;
            Ok(())
        });
        Ok(())
    }));
    run.pending();
    executor.children.run();
    executor.children.shut_down();
    let early = run.poll();
    log.add(if early.is_ready() { "left at once" } else { "waits" });
    if early.is_pending() {
        between();
        run.drive().unwrap();
        log.add("left");
    }
}

#[test]
fn r08_an_executor_childs_exits_run_on_a_fresh_task_of_the_same_spawner_and_the_group_waits() {
    let reports = Reports::watch();
    let (log, later) = (Log::new(), Executor::new());
    dropped_child(&log, later.clone(), "fresh", || later.run());
    log.is(&["waits", "fresh 2", "fresh 1", "left"]);
    assert!(reports.of("fresh").is_empty());
}

#[test]
fn r08_where_the_spawner_refuses_the_group_polls_them() {
    let reports = Reports::watch();
    let log = Log::new();
    dropped_child(&log, Full, "polled-by-group", || {});
    log.is(&["polled-by-group 2", "polled-by-group 1", "left at once"]);
    assert!(reports.of("polled-by-group").is_empty());
}

#[test]
fn r08_where_the_spawner_drops_them_half_way_they_are_lost_once_and_the_group_leaves() {
    let reports = Reports::watch();
    let (log, later) = (Log::new(), Executor::new());
    dropped_child(&log, later.clone(), "lost-abroad", || later.shut_down());
    log.is(&["waits", "left"]);
    let lines = reports.of("abandon.rs");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("2 exits of "), "{lines:?}");
}

#[test]
fn r08_an_in_task_child_has_no_spawner_its_group_runs_its_exits() {
    let (log, executor) = (Log::new(), Executor::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(
        task(group.run(async {
            let child = group.spawn(async {
                let _ = parked(log.clone(), "in-task").await;
                Ok(())
            });
            yield_now().await;
            child.cancel();
            let _ = child.join().await;
            Ok(())
        }))
        .on_abandon(executor.clone()),
    );
    run.drive().unwrap();
    log.is(&["in-task 2", "in-task 1"]);
    assert_eq!(executor.len(), 0);
}

// No region and no spawner.

#[test]
fn r08_a_task_without_a_spawner_reports_its_exits_lost_by_name_and_place() {
    let reports = Reports::watch();
    let log = Log::new();
    let mut run = hand(task(parked(log.clone(), "nobody")).named("nobodys-task"));
    run.pending();
    drop(run);
    log.is(&[]);
    let lines = reports.of("nobody");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].matches("abandon.rs:").count(), 2, "{lines:?}");
}

#[test]
fn r08_each_exit_runs_once_or_is_reported_once_whatever_the_spawner_does() {
    let reports = Reports::watch();
    for polls in 0..4 {
        for steps in 0..3 {
            let (ran, before) = (Log::new(), reports.of("abandon.rs").len());
            let counted = ran.clone();
            let body = async move {
                let stack = ExitStack::new();
                for n in 0..3 {
                    let ran = counted.clone();
                    stack.defer(async move {
                        for _ in 0..steps {
                            yield_now().await;
                        }
                        ran.add(format!("{n}"));
                    });
                }
                stack.run(pending::<Result<(), ()>>()).await
            };
            let mut run = hand(task(body).on_abandon(Dropping(polls)));
            run.pending();
            drop(run);
            let lost: usize = reports.of("abandon.rs")[before..]
                .iter()
                .map(|line| line.matches("registered at ").count())
                .sum();
            assert_eq!(ran.lines().len() + lost, 3, "{polls} polls, {steps} steps");
        }
    }
}

#[test]
fn r18_a_spawner_that_panics_loses_no_exit_silently() {
    struct Panics;
    impl Spawn for Panics {
        fn spawn(&self, _: BoxTask) -> Result<(), Refused> {
            boom("no more tasks");
            Ok(())
        }
    }
    let reports = Reports::watch();
    let log = Log::new();
    let mut run =
        hand(task(parked(log.clone(), "panicky")).named("panicky-task").on_abandon(Panics));
    run.pending();
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(run)));
    log.is(&[]);
    let lines = reports.of("2 exits of ");
    assert_eq!(lines.iter().filter(|line| line.contains("abandon.rs")).count(), 1, "{lines:?}");
}

#[cfg(feature = "smol")]
#[test]
fn r19_an_executor_is_not_kept_by_a_task_of_its_own_that_abandons_its_exits_to_it() {
    use moored::rt::smol::Smol;
    let reports = Reports::watch();
    let (log, gate) = (Log::new(), Gate::new());
    let executor = Arc::new(smol::Executor::new());
    // One task runs on the executor, and the exits of another one, half-way, do.
    let own = task(parked(log.clone(), "own-smol")).on_abandon(Smol::new(Arc::clone(&executor)));
    executor.spawn(own).detach();
    let body = half_way(log.clone(), gate, "half-smol");
    let mut run = hand(task(body).on_abandon(Smol::new(Arc::clone(&executor))));
    run.pending();
    drop(run);
    while executor.try_tick() {}
    log.is(&["half-smol began"]);
    assert_eq!(Arc::strong_count(&executor), 1);
    drop(executor);
    assert_eq!(reports.of("own-smol").len(), 1);
    assert_eq!(reports.of("half-smol").len(), 1);
}
