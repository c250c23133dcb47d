//! A `run` that another task polls on: every region inside it is cancelled or told so, and its owner goes
//! on (R2, R8, R16).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{
    Executor, Gate, Log, as_owner, as_thief, boom, hand, panic_text, poll_once, yield_now,
};
use moored::{
    CancelScope, Cause, ChildError, ExitStack, Failure, ReasonKind, TaskGroup, fail_after, local,
    task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

/// The state of the body when the other task polls the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Parked,
    Ended,
}

const BOTH: [Body; 2] = [Body::Parked, Body::Ended];

impl Body {
    async fn run<E>(self) -> Result<(), E> {
        if self == Body::Parked {
            pending::<()>().await;
        }
        Ok(())
    }
}

/// A child that abandons an exit at the await where it is dropped.
async fn child(log: Log, name: &'static str) -> Result<(), &'static str> {
    let stack = ExitStack::new();
    stack.defer(log.entry(format!("exit of {name}")));
    stack.run(pending::<Result<(), &str>>()).await.map_err(|_| name)
}

fn is_of_the_wrong_task<E>(failure: &Failure<E>) -> bool {
    matches!(failure.cause(), Cause::Cancelled(reason) if reason.kind() == ReasonKind::WrongTask)
}

/// Runs `body` as the task `owner` to its end, and the executor beside it; both are polled only
/// when they are woken.
fn drive_with(executor: &Executor, body: impl Future<Output = ()>) {
    let mut owner = hand(task(body).named("owner"));
    for _ in 0..100 {
        let before = owner.wakes.count();
        if owner.poll().is_ready() {
            return;
        }
        executor.run();
        assert!(owner.wakes.count() > before, "pending, and nobody woke it");
    }
    panic!("no end in 100 polls");
}

#[test]
fn r16_children_of_both_kinds_are_cancelled_when_another_task_polls_their_groups_run() {
    for body in BOTH {
        let (log, executor) = (Log::new(), Executor::new());
        drive_with(&executor, async {
            let group: TaskGroup<'_, &str> = TaskGroup::new();
            let here = group.spawn(child(log.clone(), "here"));
            let there = group.spawn_on(&executor, child(log.clone(), "there"));
            // Never polled before the group is abandoned.
            let late = Executor::new();
            let unbegun = group.spawn_on(&late, child(log.clone(), "unbegun"));
            let mut run = Box::pin(group.run(body.run()));
            assert!(poll_once(&mut run).await.is_pending());
            executor.run();
            let failure = as_thief(async { (&mut run).await.unwrap_err() }).await;
            assert!(is_of_the_wrong_task(&failure), "{body:?}: {failure:?}");
            assert!(here.is_finished(), "{body:?}");
            late.run();
            executor.run();
            for child in [there, unbegun] {
                assert!(child.is_finished(), "{body:?}: a child on an executor was not told");
                let ended = child.join().await.unwrap_err();
                let ChildError::Cancelled(reason) = ended else { panic!("{body:?}: {ended:?}") };
                assert_eq!(reason.kind(), ReasonKind::Parent, "{body:?}");
                assert_eq!(reason.wrong_task().unwrap().current.name(), Some("thief"));
            }
            assert_eq!(group.len(), 0, "{body:?}");
        });
        let mut lines = log.lines();
        lines.sort();
        assert_eq!(lines, ["exit of here", "exit of there", "exit of unbegun"], "{body:?}");
    }
}

#[test]
fn r16_the_owner_waits_for_a_child_on_an_executor_whose_groups_run_another_task_polled() {
    for body in BOTH {
        let (log, executor, gate) = (Log::new(), Executor::new(), Gate::new());
        let mut owner = hand(task(async {
            let scope = CancelScope::new();
            let inside = async {
                let group: TaskGroup<'_, ()> = TaskGroup::new();
                let (wait, left) = (gate.wait(), log.clone());
                drop(group.spawn_on(&executor, async move {
                    // The shield lets it outlive its cancellation.
                    moored::shield(wait).await;
                    left.add("the child");
                    Ok(())
                }));
                let mut run = Box::pin(group.run(body.run()));
                assert!(poll_once(&mut run).await.is_pending());
                executor.run();
                as_thief(async { (&mut run).await.unwrap_err() }).await;
            };
            scope.run(inside).await.unwrap();
            log.add("the owner");
        }));
        owner.idle();
        executor.run();
        owner.idle();
        log.is(&[]);
        gate.open();
        executor.run();
        owner.drive();
        log.is(&["the child", "the owner"]);
    }
}

#[test]
fn r16_children_of_a_local_group_are_dropped_when_another_task_polls_its_run() {
    for body in BOTH {
        let log = Log::new();
        as_owner(async {
            let group: local::TaskGroup<'_, &str> = local::TaskGroup::new();
            let child = group.spawn(child(log.clone(), "here"));
            let mut run = Box::pin(group.run(body.run()));
            assert!(poll_once(&mut run).await.is_pending());
            let failure = as_thief(async { (&mut run).await.unwrap_err() }).await;
            assert!(is_of_the_wrong_task(&failure), "{body:?}: {failure:?}");
            assert!(child.is_finished() && group.is_empty(), "{body:?}");
            log.is(&[]);
            yield_now().await;
            log.is(&["exit of here"]);
        });
    }
}

/// A group with a child on the executor, inside a region whose run the other task polls.
fn inside<'a>(
    executor: &'a Executor,
    log: &Log,
) -> Pin<Box<dyn Future<Output = Result<(), ()>> + 'a>> {
    let log = log.clone();
    Box::pin(async move {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        drop(group.spawn_on(executor, child(log.clone(), "there")));
        drop(group.spawn(child(log, "here")));
        group.run(pending::<Result<(), &str>>()).await.map_err(drop)
    })
}

#[test]
fn r16_a_group_inside_what_another_task_polls_on_cancels_its_children() {
    for region in ["scope", "stack", "group", "entered", "local"] {
        let (log, executor) = (Log::new(), Executor::new());
        drive_with(&executor, async {
            let body = inside(&executor, &log);
            let (scope, stack, group) = (CancelScope::new(), ExitStack::new(), TaskGroup::new());
            let entered = CancelScope::new().enter().unwrap();
            let local: local::TaskGroup<'_, ()> = local::TaskGroup::new();
            let mut run: Pin<Box<dyn Future<Output = bool> + '_>> = match region {
                "scope" => Box::pin(async { scope.run(body).await.is_err() }),
                "stack" => Box::pin(async { stack.run(body).await.is_err() }),
                "group" => Box::pin(async { group.run(body).await.is_err() }),
                "entered" => Box::pin(async { entered.run(body).await.is_err() }),
                _ => Box::pin(async { local.run(body).await.is_err() }),
            };
            assert!(poll_once(&mut run).await.is_pending());
            executor.run();
            assert!(as_thief(run).await, "{region}");
            executor.run();
            assert_eq!(executor.len(), 0, "{region}: a child was not told");
        });
        let mut lines = log.lines();
        lines.sort();
        assert_eq!(lines, ["exit of here", "exit of there"], "{region}");
    }
}

#[test]
fn r15_a_panic_in_a_group_goes_on_in_the_task_that_polls_its_run_instead() {
    let executor = Executor::new();
    let text = panic_text(|| {
        drive_with(&executor, async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            drop(group.spawn_on(&executor, pending::<Result<(), ()>>()));
            drop(group.spawn(async { Ok(boom("of a child")) }));
            let mut run = Box::pin(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(&mut run).await.is_pending());
            drop(as_thief(async { (&mut run).await }).await);
        });
    });
    assert_eq!(text, "of a child");
}

#[test]
fn r08_what_the_value_of_a_groups_body_holds_goes_home_when_another_task_polls_on() {
    let log = Log::new();
    as_owner(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        drop(group.spawn(pending::<Result<(), ()>>()));
        let mut run = Box::pin(group.run(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            Ok(stack)
        }));
        assert!(poll_once(&mut run).await.is_pending());
        as_thief(async { assert!((&mut run).await.is_err()) }).await;
        log.is(&[]);
        yield_now().await;
        log.is(&["exit"]);
    });
}

#[test]
fn r02_a_run_in_an_entered_scope_that_another_task_polls_names_the_entry_of_the_scope() {
    as_owner(async {
        let (entered, entry) = (CancelScope::new().named("session").enter().unwrap(), line!());
        let (first, made) = (entered.run(pending::<()>()), line!());
        let mut later = Box::pin(entered.run(pending::<()>()));
        assert!(poll_once(&mut later).await.is_pending());
        let first = as_thief(first).await.unwrap_err();
        let later = as_thief(later).await.unwrap_err();
        for (cancelled, made) in [(first, made), (later, made + 1)] {
            let wrong = cancelled.reason().wrong_task().unwrap();
            assert_eq!(
                (wrong.entered_at.line(), wrong.attempted_at.line()),
                (entry, made),
                "{wrong}"
            );
            let advice = "give a future to its task before the first poll, or hand an entered scope over with \
                          `release` and `adopt`";
            assert!(wrong.to_string().ends_with(advice), "{wrong}");
        }
        assert_eq!(entered.run(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn r02_a_time_limit_that_another_task_polls_does_not_say_that_it_timed_out() {
    as_owner(async {
        let mut limited = Box::pin(fail_after(Duration::from_secs(1), pending::<()>()));
        assert!(poll_once(&mut limited).await.is_pending());
        let text = as_thief(limited).await.unwrap_err().to_string();
        assert!(text.starts_with("cancelled: task ") && text.contains("(owner)"), "{text}");
        assert!(text.contains("(thief) may not poll timeout at "), "{text}");
    });
}
