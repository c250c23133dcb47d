//! Each misuse of each region is rejected: tests for the whole message, the value that is handed back,
//! and that the owner can still leave (R2). Then the uses that must not be rejected (R5).

use crate::support::{
    Executor, Gate, Log, Reports, block_on, hand, panic_text, poll_once, yield_now,
};
use futures::StreamExt;
use futures::future::{Either, FusedFuture, join, select};
use futures::stream::FuturesUnordered;
use moored::{
    CancelScope, Cause, ExitStack, Failure, Misuse, Reason, ReasonKind, TaskGroup, TaskId,
    WrongTask, task,
};
use std::future::{Future, pending};
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

const ADVICE: &str = "and only that task leaves it; ask through a `CancelHandle`, or hand it over with \
                      `release` and `adopt`";

/// The whole text of a rejection, its columns left out.
fn message(
    thief: &TaskId,
    operation: &str,
    region: &str,
    attempted: u32,
    owner: &TaskId,
    entered: u32,
) -> String {
    let file = file!();
    let advice = match operation {
        "spawn" => {
            "and only that task spawns into it; spawn through a `GroupSpawner`, which that task makes \
             with `spawner()`"
        }
        _ => ADVICE,
    };
    format!(
        "{thief} may not {operation} {region} at {file}:{attempted}: it was entered by {owner} at \
         {file}:{entered}, {advice}"
    )
}

/// Leaves the columns of this file's places out.
fn columns_out(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(file!()) {
        let line = at + file!().len() + 1;
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let column = line + digits(&rest[line..]);
        out.push_str(&rest[..column]);
        rest = &rest[column + 1 + digits(&rest[column + 1..])..];
    }
    out + rest
}

#[track_caller]
fn here() -> u32 {
    Location::caller().line()
}

/// Runs `body` as the task `owner`.
fn as_owner<F: Future>(body: F) -> F::Output {
    hand(task(body).named("owner")).drive()
}

/// Runs `body` as the task `thief`, and returns that task's id with the output.
async fn as_thief<F: Future>(body: F) -> (F::Output, TaskId) {
    task(async { (body.await, task::current().unwrap()) }).named("thief").await
}

fn me() -> TaskId {
    task::current().unwrap()
}

#[track_caller]
fn wrong_task(misuse: &Misuse) -> &WrongTask {
    match misuse {
        Misuse::WrongTask(wrong) => wrong,
        other => panic!("another misuse: {other}"),
    }
}

// The stack.

#[test]
fn r02_defer_from_another_task_panics_and_changes_nothing() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("session");
        let (_, entered) = (stack.defer(log.entry("own")), here());
        let ((text, attempted), thief) = as_thief(async {
            let mut line = 0;
            let text = panic_text(|| {
                line = here() + 1;
                stack.defer(log.entry("foreign"))
            });
            (text, line)
        })
        .await;
        let expected = message(&thief, "defer", "exit stack `session`", attempted, &me(), entered);
        assert_eq!(columns_out(&text), expected);
        let ((text, attempted), thief) = as_thief(async {
            let mut line = 0;
            let text = panic_text(|| {
                line = here() + 1;
                stack.defer_with(|_| async {})
            });
            (text, line)
        })
        .await;
        let expected = message(&thief, "defer", "exit stack `session`", attempted, &me(), entered);
        assert_eq!(columns_out(&text), expected);
        assert_eq!(stack.len(), 1);
        stack.close().await.unwrap();
    });
    log.is(&["own"]);
}

#[test]
fn r02_try_defer_from_another_task_hands_the_exit_back() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("session");
        let (_, entered) = (stack.defer(log.entry("first")), here());
        let ((rejected, attempted), thief) =
            as_thief(async { (stack.try_defer(log.entry("handed back")).unwrap_err(), here()) })
                .await;
        let expected = message(&thief, "defer", "exit stack `session`", attempted, &me(), entered);
        assert_eq!(columns_out(&rejected.to_string()), expected);
        let wrong = wrong_task(rejected.error()).clone();
        assert_eq!((wrong.operation, wrong.region.as_str()), ("defer", "exit stack `session`"));
        assert_eq!((&wrong.owner, &wrong.current), (&me(), &thief));
        assert_eq!(wrong.owner.name(), Some("owner"));
        assert_eq!(wrong.current.name(), Some("thief"));
        assert_eq!((wrong.entered_at.line(), wrong.attempted_at.line()), (entered, attempted));
        stack.try_defer(rejected.into_inner()).unwrap();
        stack.close().await.unwrap();
    });
    log.is(&["handed back", "first"]);
}

#[test]
fn r02_hold_from_another_task_panics_and_try_hold_hands_back() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        let (_, entered) = (stack.defer(async {}), here());
        let ((text, attempted), thief) = as_thief(async {
            let mut line = 0;
            let text = panic_text(|| {
                line = here() + 1;
                stack.hold((), |()| async {})
            });
            (text, line)
        })
        .await;
        assert_eq!(
            columns_out(&text),
            message(&thief, "hold", "exit stack", attempted, &me(), entered)
        );
        let ((rejected, attempted), thief) = as_thief(async {
            let log = log.clone();
            let back = move |value: String| async move { log.add(value) };
            (stack.try_hold("value".to_owned(), back).unwrap_err(), here())
        })
        .await;
        assert_eq!(
            columns_out(&rejected.to_string()),
            message(&thief, "hold", "exit stack", attempted, &me(), entered)
        );
        let (value, give_back) = rejected.into_inner();
        drop(stack.hold(value, give_back));
        stack.close().await.unwrap();
    });
    log.is(&["value"]);
}

#[test]
fn r02_close_from_another_task_hands_the_stack_back() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("session");
        let (_, entered) = (stack.defer(log.entry("exit")), here());
        let ((error, attempted), thief) = as_thief(async move {
            let (close, line) = (stack.close(), here());
            (close.await.unwrap_err(), line)
        })
        .await;
        let expected = message(&thief, "close", "exit stack `session`", attempted, &me(), entered);
        assert_eq!(columns_out(&error.to_string()), expected);
        assert_eq!(wrong_task(error.rejected().unwrap()).current, thief);
        assert!(error.failure().is_none());
        log.is(&[]);
        let stack = error.into_inner().unwrap();
        assert_eq!((stack.len(), stack.owner()), (1, Some(me())));
        stack.close().await.unwrap();
    });
    log.is(&["exit"]);
}

#[test]
fn r02_a_close_that_is_moved_half_way_hands_the_stack_back_as_far_as_it_got() {
    let log = Log::new();
    let gate = Gate::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("third"));
        stack.defer({
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                log.add("second begins");
                gate.wait().await;
                log.add("second ends");
            }
        });
        stack.defer(log.entry("first"));
        let mut close = Box::pin(stack.close());
        assert!(poll_once(&mut close).await.is_pending());
        let (error, _) = as_thief(async { (&mut close).await.unwrap_err() }).await;
        drop(close);
        let stack = error.into_inner().unwrap();
        gate.open();
        log.add("back home");
        stack.close().await.unwrap();
    });
    log.is(&["first", "second begins", "back home", "second ends", "third"]);
}

#[test]
fn r02_a_stacks_run_from_another_task_is_rejected_and_its_body_not_started() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("session");
        let (_, entered) = (stack.defer(log.entry("exit")), here());
        let foreign = async {
            log.add("foreign body");
            Err::<(), _>(())
        };
        let ((failure, attempted), thief) = as_thief(async {
            let (run, line) = (stack.run(foreign), here());
            (run.await.unwrap_err(), line)
        })
        .await;
        let Cause::Rejected(wrong) = failure.cause() else { panic!("{failure:?}") };
        let expected = message(&thief, "run", "exit stack `session`", attempted, &me(), entered);
        assert_eq!(columns_out(&wrong.to_string()), expected);
        assert_eq!(failure.rest().count(), 0);
        log.is(&[]);
        stack
            .run(async {
                log.add("own body");
                Ok::<_, ()>(())
            })
            .await
            .unwrap();
    });
    log.is(&["own body", "exit"]);
}

#[test]
fn r02_a_stacks_run_that_another_task_polls_on_is_cancelled_and_its_exits_go_home() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("session");
        let body = async {
            let log = log.clone();
            stack.defer(async move { log.add(format!("exit of {}", me().name().unwrap())) });
            pending::<Result<(), ()>>().await
        };
        let (run, entered) = (stack.run(body), here());
        let mut run = Box::pin(run);
        assert!(poll_once(&mut run).await.is_pending());
        let (failure, thief) = as_thief(async { (&mut run).await.unwrap_err() }).await;
        let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
        misplaced(reason, &thief, "exit stack `session`", entered);
        log.is(&[]);
        yield_now().await;
        log.is(&["exit of owner"]);
    });
    log.is(&["exit of owner"]);
}

/// The reason of a run that `thief` polled on.
#[track_caller]
fn misplaced(reason: &Reason, thief: &TaskId, region: &str, entered: u32) {
    assert_eq!(reason.kind(), ReasonKind::WrongTask);
    assert_eq!(reason.task(), Some(thief));
    let wrong = reason.wrong_task().unwrap();
    assert_eq!((wrong.owner.name(), &wrong.current), (Some("owner"), thief));
    // The place of the attempt is the run's: a poll has none of its own.
    let expected = message(thief, "poll", region, entered, &wrong.owner, entered);
    assert_eq!(columns_out(&wrong.to_string()), expected);
    assert_eq!(columns_out(&reason.to_string()), format!("cancelled: {expected}"));
}

#[test]
fn r02_a_stack_dropped_by_another_task_is_reported_and_its_exits_go_home() {
    let reports = Reports::watch();
    let log = Log::new();
    let told = as_owner(async {
        let stack = ExitStack::new().named("dropped-abroad");
        let told = log.clone();
        let exit = async move { told.add(format!("exit of {}", me().name().unwrap())) };
        let (_, entered) = (stack.defer(exit), here());
        let (_, thief) = as_thief(async move {
            drop(stack);
        })
        .await;
        yield_now().await;
        log.is(&["exit of owner"]);
        (thief, me(), entered)
    });
    let (thief, owner, entered) = told;
    let lines = reports.of("dropped-abroad");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let start =
        format!("{thief} dropped exit stack `dropped-abroad`, which was entered by {owner} at ");
    assert!(lines[0].starts_with(&start), "{lines:?}");
    let end = format!("{}:{entered}: only that task leaves it; its exits went home", file!());
    assert!(columns_out(&lines[0]).ends_with(&end), "{lines:?}");
}

#[test]
fn r02_a_run_dropped_by_another_task_is_one_report_whatever_is_inside() {
    let reports = Reports::watch();
    let log = Log::new();
    as_owner(async {
        let outer = ExitStack::new().named("root-cause");
        let inner = ExitStack::new().named("root-cause-inner");
        let scope = CancelScope::new().named("root-cause-scope");
        let mut run = Box::pin(outer.run(async {
            outer.defer(log.entry("outer"));
            let body = async {
                inner.defer(log.entry("inner"));
                pending::<Result<(), ()>>().await
            };
            scope.run(inner.run(body)).await.unwrap().map_err(drop)
        }));
        assert!(poll_once(&mut run).await.is_pending());
        as_thief(async move { drop(run) }).await;
        yield_now().await;
        log.is(&["inner", "outer"]);
    });
    let lines = reports.of("root-cause");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("dropped exit stack `root-cause`"), "{lines:?}");
}

#[test]
fn r02_a_close_dropped_by_another_task_is_reported() {
    let reports = Reports::watch();
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("close-dropped-abroad");
        stack.defer(log.entry("older"));
        stack.defer(async { yield_now().await });
        let mut close = Box::pin(stack.close());
        assert!(poll_once(&mut close).await.is_pending());
        as_thief(async move { drop(close) }).await;
        yield_now().await;
        yield_now().await;
        log.is(&["older"]);
    });
    let lines = reports.of("close-dropped-abroad");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" dropped exit stack"), "{lines:?}");
}

// The scope.

#[test]
fn r02_a_scopes_run_that_another_task_polls_on_is_cancelled() {
    let log = Log::new();
    as_owner(async {
        let scope = CancelScope::new().named("s");
        let body = async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await
        };
        let (run, entered) = (scope.run(body), here());
        let mut run = Box::pin(run);
        assert!(poll_once(&mut run).await.is_pending());
        let (cancelled, thief) = as_thief(async { (&mut run).await.unwrap_err() }).await;
        misplaced(cancelled.reason(), &thief, "cancel scope `s`", entered);
        log.is(&[]);
        yield_now().await;
        log.is(&["exit"]);
        // The owner's task is as usable as before.
        CancelScope::new().run(async {}).await.unwrap();
    });
}

#[test]
fn r02_a_scopes_run_dropped_by_another_task_is_reported_and_its_exits_go_home() {
    let reports = Reports::watch();
    let log = Log::new();
    as_owner(async {
        let scope = CancelScope::new().named("scope-dropped-abroad");
        let mut run = Box::pin(scope.run(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await
        }));
        assert!(poll_once(&mut run).await.is_pending());
        as_thief(async move { drop(run) }).await;
        yield_now().await;
    });
    log.is(&["exit"]);
    let lines = reports.of("scope-dropped-abroad");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn r03_what_another_task_may_do_with_a_scope_is_ask() {
    as_owner(async {
        let scope = CancelScope::new();
        let mut run = Box::pin(scope.run(pending::<()>()));
        assert!(poll_once(&mut run).await.is_pending());
        let (_, thief) = as_thief(async { scope.cancel_because("asked") }).await;
        let cancelled = run.await.unwrap_err();
        assert_eq!(cancelled.reason().task(), Some(&thief));
    });
}

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

#[test]
fn r05_an_in_task_child_is_a_task_of_its_own_for_an_outer_stack() {
    let log = Log::new();
    let stack = ExitStack::new().named("outer");
    let result: Result<(), Failure<()>> = hand(
        task(stack.run(async {
            stack.defer(log.entry("own"));
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let child = group.spawn(async {
                let rejected = stack.try_defer(async {}).unwrap_err();
                let wrong = wrong_task(rejected.error());
                assert_eq!(wrong.current, task::current().unwrap());
                assert_eq!(wrong.owner.name(), Some("owner"));
                Ok(())
            });
            group
                .run(async { Ok(child.join().await.is_ok()) })
                .await
                .map(|ok| assert!(ok))
                .map_err(drop)
        }))
        .named("owner"),
    )
    .drive();
    result.unwrap();
    log.is(&["own"]);
}

#[test]
fn r05_an_in_task_child_is_rejected_though_nothing_of_moored_encloses_the_stack() {
    let stack = ExitStack::new();
    hand(stack.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(stack.try_defer(async {}).is_err()) });
        let rejected = group.run(async { Ok(child.join().await.unwrap()) }).await;
        assert!(rejected.unwrap());
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap();
}

#[test]
fn r02_the_wrong_task_check_comes_before_every_other() {
    as_owner(async {
        let stack = ExitStack::new();
        stack.run(async { Ok::<_, ()>(()) }).await.unwrap();
        let (rejected, _) = as_thief(async { stack.try_defer(async {}).unwrap_err() }).await;
        wrong_task(rejected.error());
        let (failure, _) =
            as_thief(async { stack.run(async { Ok::<_, ()>(()) }).await.unwrap_err() }).await;
        assert!(matches!(failure.cause(), Cause::Rejected(_)), "{failure:?}");
        let (error, _) = as_thief(stack.close()).await;
        wrong_task(error.unwrap_err().rejected().unwrap());
    });
}

// No false alarm.

#[test]
fn r05_two_scopes_in_two_arms_of_a_join_are_left_in_any_order() {
    for first_out in [0, 1] {
        let gates = [Gate::new(), Gate::new()];
        let (left, right) = (CancelScope::new(), CancelScope::new());
        let mut run =
            hand(task(async { join(left.run(gates[0].wait()), right.run(gates[1].wait())).await }));
        run.pending();
        gates[first_out].open();
        run.pending();
        gates[1 - first_out].open();
        let (left, right) = run.ready();
        left.unwrap();
        right.unwrap();
    }
}

#[test]
fn r05_cancelling_one_arm_of_a_join_leaves_the_other_alone() {
    for cancelled in [0, 1] {
        let scopes = [CancelScope::new(), CancelScope::new()];
        let gate = Gate::new();
        let mut run = hand(task(join(scopes[0].run(gate.wait()), scopes[1].run(gate.wait()))));
        run.pending();
        scopes[cancelled].cancel();
        run.pending();
        gate.open();
        let (left, right) = run.ready();
        assert_eq!([left.is_err(), right.is_err()], [cancelled == 0, cancelled == 1]);
    }
}

#[test]
fn r05_regions_in_a_futures_unordered_are_left_in_any_order() {
    let log = Log::new();
    let gates: Vec<_> = (0..8).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        let mut many: FuturesUnordered<_> = gates
            .iter()
            .enumerate()
            .map(|(n, gate)| {
                let log = log.clone();
                async move {
                    let stack = ExitStack::new();
                    let scope = CancelScope::new();
                    let body = async {
                        stack.defer(log.entry(format!("exit {n}")));
                        scope.run(gate.wait()).await.map_err(drop)
                    };
                    stack.run(body).await.unwrap();
                }
            })
            .collect();
        while many.next().await.is_some() {}
    }));
    run.pending();
    for n in [3, 0, 7, 1, 6, 2, 5, 4] {
        gates[n].open();
        let _ = run.poll();
        assert_eq!(log.lines().last().unwrap(), &format!("exit {n}"));
    }
    assert_eq!(log.lines().len(), 8);
}

#[test]
fn r05_two_stacks_opened_in_one_task_are_closed_in_any_order() {
    // The bug that this crate began with: closing the older one first kills the newer.
    for older_first in [true, false] {
        let log = Log::new();
        as_owner(async {
            let (older, newer) = (ExitStack::new(), ExitStack::new());
            older.defer(log.entry("older"));
            newer.defer(log.entry("newer"));
            let (first, second) = if older_first { (older, newer) } else { (newer, older) };
            first.close().await.unwrap();
            yield_now().await;
            second.close().await.unwrap();
        });
        log.is(if older_first { &["older", "newer"] } else { &["newer", "older"] });
    }
}

#[test]
fn r05_a_select_may_poll_a_region_and_leave_it_for_later() {
    as_owner(async {
        let gate = Gate::new();
        let scope = CancelScope::new();
        let mut run = Box::pin(scope.run(gate.wait()));
        for _ in 0..3 {
            match select(&mut run, pin!(yield_now())).await {
                Either::Left(_) => panic!("nobody opened the gate"),
                Either::Right(_) => {}
            }
        }
        gate.open();
        run.await.unwrap();
    });
}

#[test]
fn r05_an_unknown_identity_is_never_rejected() {
    let log = Log::new();
    let stack = Arc::new(ExitStack::new());
    as_owner(async { stack.defer(log.entry("owner's")) });
    // A thread without a known task may do everything that the owner may do.
    let theirs = Arc::clone(&stack);
    let entry = log.entry("unknown thread's");
    std::thread::spawn(move || theirs.try_defer(entry).unwrap()).join().unwrap();
    hand(async { stack.run(async { Ok::<_, ()>(()) }).await.unwrap() }).ready();
    log.is(&["unknown thread's", "owner's"]);
}

#[test]
fn r05_a_stack_entered_by_an_unknown_identity_rejects_nobody() {
    let log = Log::new();
    let stack = ExitStack::new();
    block_on(async { stack.defer(log.entry("unknown")) });
    assert_eq!(stack.owner(), None);
    as_owner(async {
        stack.defer(log.entry("known"));
        stack.close().await.unwrap();
    });
    log.is(&["known", "unknown"]);
}

#[test]
fn r05_a_root_region_may_be_polled_by_one_task_after_another() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    let inner = CancelScope::new();
    let mut run = Box::pin(scope.run(async { inner.run(gate.wait()).await.unwrap() }));
    assert!(hand(async { poll_once(&mut run).await.is_pending() }).ready());
    assert!(hand(task(async { poll_once(&mut run).await.is_pending() })).ready());
    gate.open();
    hand(task(async { (&mut run).await.unwrap() })).ready();
}

#[test]
fn r05_what_is_nested_in_a_task_cannot_leave_it() {
    let gate = Gate::new();
    let scope = Arc::new(CancelScope::new());
    let slot = Arc::new(Mutex::new(None));
    let mut owner = hand(
        task({
            let (gate, slot) = (gate.clone(), Arc::clone(&slot));
            async move {
                let mut run = Box::pin(async move { scope.run(pending::<()>()).await });
                assert!(poll_once(&mut run).await.is_pending());
                *slot.lock().unwrap() = Some(run);
                gate.wait().await;
            }
        })
        .named("owner"),
    );
    owner.pending();
    let run = slot.lock().unwrap().take().unwrap();
    let cancelled = std::thread::spawn(move || hand(task(run).named("thief")).ready())
        .join()
        .unwrap()
        .unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::WrongTask);
    gate.open();
    owner.ready();
}

// tokio's ids.

async fn spawned<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future).await.unwrap()
}

#[tokio::test]
async fn r05_a_stack_entered_in_one_tokio_task_is_rejected_in_another() {
    let log = Log::new();
    let stack = Arc::new(ExitStack::new().named("session"));
    let (theirs, exit) = (Arc::clone(&stack), log.entry("exit"));
    let gate = Gate::new();
    let wait = gate.wait();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let owner = tokio::spawn(async move {
        theirs.defer(exit);
        sender.send(theirs.owner().unwrap()).unwrap();
        wait.await;
        let stack = theirs;
        stack.run(async { Ok::<_, ()>(()) }).await.unwrap();
    });
    let owner_id = receiver.await.unwrap();
    assert!(owner_id.to_string().starts_with("tokio task "), "{owner_id}");
    let theirs = Arc::clone(&stack);
    let (text, thief) = spawned(async move {
        let rejected = theirs.try_defer(async {}).unwrap_err();
        (rejected.to_string(), task::current().unwrap())
    })
    .await;
    assert!(text.starts_with(&format!("{thief} may not defer exit stack `session`")), "{text}");
    assert!(text.contains(&format!("entered by {owner_id} at")), "{text}");
    assert_ne!(owner_id, thief);
    let theirs = Arc::clone(&stack);
    let rejected = spawned(async move {
        matches!(
            theirs.run(async { Ok::<_, ()>(()) }).await.unwrap_err().cause(),
            Cause::Rejected(_)
        )
    })
    .await;
    assert!(rejected);
    gate.open();
    owner.await.unwrap();
    log.is(&["exit"]);
}

#[tokio::test]
async fn r05_the_body_of_a_block_on_has_no_tokio_id_and_is_not_rejected() {
    let stack = Arc::new(ExitStack::new());
    let theirs = Arc::clone(&stack);
    spawned(async move { theirs.defer(async {}) }).await;
    assert_eq!(task::current(), None);
    stack.try_defer(async {}).unwrap();
    assert_eq!(stack.len(), 2);
    Arc::into_inner(stack).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn r05_a_root_region_moves_between_tokio_tasks_with_its_future() {
    let gate = Gate::new();
    let log = Log::new();
    let wait = gate.wait();
    let exit = log.entry("exit");
    let mut run = Box::pin(async move {
        let scope = CancelScope::new();
        let stack = ExitStack::new();
        let body = async {
            stack.defer(exit);
            wait.await;
            stack.defer(async {});
            CancelScope::new().run(yield_now()).await.unwrap();
            Ok::<_, ()>(())
        };
        scope.run(stack.run(body)).await.unwrap().unwrap();
        drop(scope);
        7
    });
    let moved = spawned(async move {
        assert!(poll_once(&mut run).await.is_pending());
        (run,)
    })
    .await;
    gate.open();
    assert_eq!(spawned(moved.0).await, 7);
    log.is(&["exit"]);
}

#[tokio::test]
async fn r05_a_root_region_does_not_hide_tokios_id() {
    // A stack of the tokio task, used inside a region of the same tokio task that is its own root.
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        let scope = CancelScope::new();
        scope.run(async { stack.try_defer(async {}).unwrap() }).await.unwrap();
        assert_eq!(stack.len(), 2);
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_a_moored_task_hides_tokios_id() {
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        task(async { stack.try_defer(async {}).unwrap_err() }).await;
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_an_in_task_child_in_a_tokio_task_is_rejected_by_an_outer_stack() {
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(stack.try_defer(async {}).is_err()) });
        let rejected = group.run(async { Ok(child.join().await.unwrap()) }).await;
        assert!(rejected.unwrap());
        drop(group);
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_a_nested_block_on_in_a_tokio_task_keeps_and_restores_the_outer_task() {
    spawned(async {
        let before = task::current();
        let inner = block_on(task(async { task::current() }).named("inner"));
        assert_eq!(inner.unwrap().name(), Some("inner"));
        let stack = ExitStack::new();
        stack.defer(async {});
        block_on(async { stack.try_defer(async {}).unwrap() });
        assert_eq!(task::current(), before);
        stack.close().await.unwrap();
    })
    .await;
}

#[test]
fn r05_what_a_runtime_drops_at_its_shutdown_is_not_a_foreign_drop() {
    let reports = Reports::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.spawn(task(async move {
        let stack = ExitStack::new().named("shut-down");
        let scope = CancelScope::new().named("shut-down scope");
        let body = async {
            sender.send(()).unwrap();
            scope.run(pending::<()>()).await.map_err(drop)
        };
        stack.run(body).await
    }));
    receiver.recv().unwrap();
    drop(runtime);
    assert_eq!(reports.of("shut-down"), Vec::<String>::new());
}

#[test]
fn r02_a_run_that_another_task_polls_on_while_it_unwinds_sends_its_exits_home() {
    let log = Log::new();
    let gate = Gate::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("second"));
        stack.defer({
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                gate.wait().await;
                log.add("first");
            }
        });
        let mut run = Box::pin(stack.run(async { Ok::<_, ()>(7) }));
        assert!(poll_once(&mut run).await.is_pending());
        let (failure, _) = as_thief(async { (&mut run).await.unwrap_err() }).await;
        let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
        assert_eq!(reason.kind(), ReasonKind::WrongTask);
        gate.open();
        log.is(&[]);
        yield_now().await;
    });
    log.is(&["first", "second"]);
}

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
fn r02_a_second_run_of_a_scope_by_another_task_is_rejected_as_the_wrong_tasks() {
    as_owner(async {
        let scope = CancelScope::new();
        scope.run(async {}).await.unwrap();
        // As an error or as a panic, the wrong task comes before the second entry.
        let (outcome, _) = as_thief(async {
            let mut run = Box::pin(scope.run(async {}));
            std::future::poll_fn(|cx| {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    run.as_mut().poll(cx)
                }));
                Poll::Ready(match polled {
                    Ok(Poll::Ready(Err(cancelled))) => cancelled.to_string(),
                    Ok(other) => panic!("{other:?}"),
                    Err(payload) => *payload.downcast::<String>().unwrap(),
                })
            })
            .await
        })
        .await;
        assert!(outcome.contains("may not run cancel scope"), "{outcome}");
        assert!(outcome.contains("(owner)") && outcome.contains("(thief)"), "{outcome}");
    });
}

#[test]
fn r02_a_rejected_run_is_terminated_and_the_owner_closes_afterwards() {
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        let (terminated, _) = as_thief(async {
            let mut run = Box::pin(stack.run(async { Ok::<_, ()>(()) }));
            (&mut run).await.unwrap_err();
            run.is_terminated()
        })
        .await;
        assert!(terminated);
        stack.close().await.unwrap();
    });
}

#[test]
fn r02_closing_a_stack_that_was_run_says_that_it_was_left() {
    let stack = ExitStack::new().named("once");
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    let error = hand(stack.close()).ready().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot close exit stack `once` at "), "{text}");
    assert!(text.ends_with("has been left; enter a new one"), "{text}");
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

#[test]
fn r05_a_stack_first_used_where_nothing_is_known_may_be_run_inside_a_region() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("exit"));
    let scope = CancelScope::new();
    let value = hand(scope.run(stack.run(async {
        yield_now().await;
        stack.defer(log.entry("inside"));
        Ok::<_, ()>(7)
    })))
    .drive();
    assert_eq!(value.unwrap().unwrap(), 7);
    log.is(&["inside", "exit"]);
}

#[test]
fn r05_a_stack_first_used_where_nothing_is_known_may_be_closed_inside_a_region() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("exit"));
    stack.defer(async { yield_now().await });
    let scope = CancelScope::new();
    hand(scope.run(stack.close())).drive().unwrap().unwrap();
    log.is(&["exit"]);
}
