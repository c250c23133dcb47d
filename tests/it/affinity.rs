//! Each misuse of each region is rejected: tests for the whole message, the value that is handed back,
//! and that the owner can still leave (R2). Then the uses that must not be rejected (R5).

use crate::support::{Gate, Log, Reports, hand, panic_text, poll_once, yield_now};
use futures::future::FusedFuture;
use moored::{CancelScope, Cause, ExitStack, Misuse, Reason, ReasonKind, TaskId, WrongTask, task};
use std::future::{Future, pending};
use std::panic::Location;
use std::task::Poll;

const ADVICE: &str = "and only that task leaves it; ask through a `CancelHandle`, or hand it over with \
                      `release` and `adopt`";

/// The whole text of a rejection at places in the caller's file, the columns left out.
#[track_caller]
pub(super) fn message(
    thief: &TaskId,
    operation: &str,
    region: &str,
    attempted: u32,
    owner: &TaskId,
    entered: u32,
) -> String {
    let file = Location::caller().file();
    let advice = match operation {
        "spawn" => {
            "and only that task spawns into it; spawn through a `GroupSpawner`, which that task makes \
             with `spawner()`"
        }
        "poll" => {
            "and only that task polls it; give a future to its task before the first poll, or hand an \
             entered scope over with `release` and `adopt`"
        }
        _ => ADVICE,
    };
    format!(
        "{thief} may not {operation} {region} at {file}:{attempted}: it was entered by {owner} at \
         {file}:{entered}, {advice}"
    )
}

/// Leaves the columns of places in the caller's file out.
#[track_caller]
pub(super) fn columns_out(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let file = Location::caller().file();
    while let Some(at) = rest.find(file) {
        let line = at + file.len() + 1;
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let column = line + digits(&rest[line..]);
        out.push_str(&rest[..column]);
        rest = &rest[column + 1 + digits(&rest[column + 1..])..];
    }
    out + rest
}

#[track_caller]
pub(super) fn here() -> u32 {
    Location::caller().line()
}

/// Runs `body` as the task `owner`.
pub(super) fn as_owner<F: Future>(body: F) -> F::Output {
    hand(task(body).named("owner")).drive()
}

/// Runs `body` as the task `thief`, and returns that task's id with the output.
pub(super) async fn as_thief<F: Future>(body: F) -> (F::Output, TaskId) {
    task(async { (body.await, task::current().unwrap()) }).named("thief").await
}

pub(super) fn me() -> TaskId {
    task::current().unwrap()
}

#[track_caller]
pub(super) fn wrong_task(misuse: &Misuse) -> &WrongTask {
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
pub(super) fn misplaced(reason: &Reason, thief: &TaskId, region: &str, entered: u32) {
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

// tokio's ids.

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
