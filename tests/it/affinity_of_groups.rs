//! Each misuse of a group by another task is rejected, and the group goes on (R2).

use super::affinity::{as_owner, as_thief, columns_out, here, me, message, misplaced, wrong_task};
use crate::support::{Executor, Log, Reports, panic_text, poll_once, yield_now};
use moored::{Cause, ExitStack, Misuse, ReasonKind, TaskGroup};
use std::future::pending;

// The group.

#[test]
fn r02_spawn_from_another_task_panics_and_the_group_goes_on() {
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().named("workers");
        let mut entered = 0;
        let value = {
            let mut run = Box::pin(group.run(async {
                yield_now().await;
                Ok(group.spawn(async { Ok(7) }).join().await.unwrap())
            }));
            entered += here() - 4;
            assert!(poll_once(&mut run).await.is_pending());
            let ((text, attempted), thief) = as_thief(async {
                let mut line = 0;
                let text = panic_text(|| {
                    line = here() + 1;
                    group.spawn(async { Ok(()) })
                });
                (text, line)
            })
            .await;
            let expected =
                message(&thief, "spawn", "task group `workers`", attempted, &me(), entered);
            assert_eq!(columns_out(&text), expected);
            let ((text, attempted), thief) = as_thief(async {
                let mut line = 0;
                let text = panic_text(|| {
                    line = here() + 1;
                    group.spawn_on(&Executor::new(), async { Ok(()) })
                });
                (text, line)
            })
            .await;
            let expected =
                message(&thief, "spawn", "task group `workers`", attempted, &me(), entered);
            assert_eq!(columns_out(&text), expected);
            assert_eq!(group.len(), 0);
            run.await.unwrap()
        };
        assert_eq!(value, 7);
    });
}

#[test]
fn r02_a_groups_run_that_another_task_polls_on_is_cancelled_with_its_children() {
    let log = Log::new();
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().named("g");
        let child = group.spawn({
            let log = log.clone();
            async move {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit of the child"));
                stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
            }
        });
        let (run, entered) = (group.run(pending::<Result<(), ()>>()), here());
        let mut run = Box::pin(run);
        assert!(poll_once(&mut run).await.is_pending());
        let (failure, thief) = as_thief(async { (&mut run).await.unwrap_err() }).await;
        let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
        misplaced(reason, &thief, "task group `g`", entered);
        assert!(child.is_finished());
        assert_eq!(group.len(), 0);
        log.is(&[]);
        yield_now().await;
        log.is(&["exit of the child"]);
    });
}

#[test]
fn r02_a_groups_run_dropped_by_another_task_is_one_report() {
    let reports = Reports::watch();
    let log = Log::new();
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().named("group-dropped-abroad");
        for n in 0..3 {
            let log = log.clone();
            group.spawn(async move {
                let stack = ExitStack::new().named("group-dropped-abroad-stack");
                stack.defer(log.entry(format!("exit {n}")));
                stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
            });
        }
        let mut run = Box::pin(group.run(pending::<Result<(), ()>>()));
        assert!(poll_once(&mut run).await.is_pending());
        as_thief(async move { drop(run) }).await;
        yield_now().await;
        assert_eq!(log.lines().len(), 3);
    });
    let lines = reports.of("group-dropped-abroad");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

// tokio's ids.

#[test]
fn r02_a_groups_run_that_another_task_polls_on_after_its_bodys_end_is_cancelled() {
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(pending::<Result<(), ()>>());
        let mut run = Box::pin(group.run(async { Ok(()) }));
        assert!(poll_once(&mut run).await.is_pending());
        let (failure, _) = as_thief(async { (&mut run).await.unwrap_err() }).await;
        let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
        assert_eq!(reason.kind(), ReasonKind::WrongTask);
        assert!(child.is_finished());
    });
}

#[test]
fn r02_try_spawn_from_another_task_hands_the_future_back() {
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new().named("workers");
        let mut run = Box::pin(group.run(async {
            yield_now().await;
            Ok(())
        }));
        assert!(poll_once(&mut run).await.is_pending());
        let (rejected, _) = as_thief(async { group.try_spawn(async { Ok(7) }).unwrap_err() }).await;
        wrong_task(rejected.error());
        let child = group.try_spawn(rejected.into_inner()).unwrap();
        run.await.unwrap();
        assert_eq!(child.join().await.unwrap(), 7);
        let left = group.try_spawn(async { Ok(8) }).unwrap_err();
        assert!(matches!(left.error(), Misuse::Closed { .. }));
        assert_eq!(left.into_inner().await, Ok(8));
    });
}
