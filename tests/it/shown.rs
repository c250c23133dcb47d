//! The output of `{:?}`: a name and a place where there are some, never a user's value, and never by waiting for a
//! lock.

use crate::support::{hand, lose};
use futures::future::pending;
use moored::testing::{MockClock, cut};
use moored::{
    CancelScope, Cause, Clock, ExitStack, Failure, Refused, Resource, TaskGroup, fail_after,
    move_on_after, shield, task,
};
use std::fmt::Debug;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn shows(shown: impl Debug, parts: &[&str]) {
    let text = format!("{shown:?}");
    for part in parts {
        assert!(text.contains(part), "{text} does not show {part}");
    }
}

#[track_caller]
fn is_shown_as(shown: impl Debug, text: &str) {
    assert_eq!(format!("{shown:?}"), text);
}

#[test]
fn a_region_is_shown_with_its_name_and_where_it_was_entered() {
    shows(CancelScope::default().named("s"), &["CancelScope", "s"]);
    is_shown_as(CancelScope::new(), "CancelScope { .. }");
    let stack = ExitStack::default().named("x");
    stack.defer(async {});
    shows(&stack, &["ExitStack", "x", "shown.rs"]);
    shows(TaskGroup::<'_, ()>::default().named("g"), &["TaskGroup", "g"]);
    shows(moored::local::ExitStack::default().named("lx"), &["ExitStack", "lx"]);
    shows(moored::local::TaskGroup::<'_, ()>::default().named("lg"), &["TaskGroup", "lg"]);
    let entered = CancelScope::new().named("e").enter().unwrap();
    shows(&entered, &["CancelScope", "e", "shown.rs"]);
    shows(entered.handle(), &["CancelHandle", "CancelScope", "e"]);
    shows(entered.handle().cancelled(), &["Cancellation", "CancelScope", "e"]);
    shows(entered.handle().stop_requested(), &["StopRequest", "CancelScope", "e"]);
    shows(entered.handle().tightened(None), &["Tightening", "CancelScope", "e"]);
    shows(entered.handle().drop_guard(), &["DropGuard", "CancelScope", "e"]);
    let group: TaskGroup<'_, ()> = TaskGroup::new().named("guarded");
    shows(group.spawner().guard().unwrap(), &["GroupGuard", "TaskGroup", "guarded"]);
    shows(entered.release().unwrap(), &["Released", "CancelScope", "e"]);
    hand(stack.close()).ready().unwrap();
}

#[test]
fn a_scope_that_was_left_is_shown_all_the_same() {
    let scope = CancelScope::new();
    hand(scope.run(async {})).ready().unwrap();
    shows(&scope, &["CancelScope"]);
    let error = scope.enter().unwrap_err();
    shows(error, &["EnterError", "EnteredTwice"]);
}

#[test]
fn a_future_is_shown_by_its_name() {
    is_shown_as(task(async {}), "Task");
    is_shown_as(shield(async {}), "Shield");
    is_shown_as(move_on_after(SECOND, async {}), "MoveOn");
    is_shown_as(fail_after(SECOND, async {}), "FailAt");
    is_shown_as(moored::checkpoint(), "Checkpoint");
    is_shown_as(moored::cancelled(), "CurrentCancelled");
    is_shown_as(moored::stop_requested(), "StopRequested");
    is_shown_as(CancelScope::new().run(async {}), "ScopeRun");
    is_shown_as(ExitStack::new().run(async { Ok::<_, ()>(()) }), "StackRun");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    is_shown_as(group.run(async { Ok(()) }), "GroupRun");
    is_shown_as(group.results(), "Results");
    is_shown_as(group.spawner(), "GroupSpawner");
    is_shown_as(moored::local::TaskGroup::<'_, ()>::new().spawner(), "GroupSpawner");
    shows(ExitStack::new().close(), &["Close", "ExitStack"]);
    shows(cut(3, async {}), &["Cut", "3"]);
    shows(moored::testing::hand(async {}), &["Hand", "wakes: 0"]);
    is_shown_as(MockClock::default(), "MockClock");
    let clock: &dyn Clock = &MockClock::new();
    is_shown_as(clock, "Clock");
}

#[test]
fn a_child_is_shown_by_its_task() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(async { Ok(()) });
    let id = child.id();
    is_shown_as(&id, &format!("TaskId({id})"));
    shows(&child, &["TaskHandle", &id.to_string(), "finished: false"]);
    let start = group.start(|ready: moored::Ready<'_, ()>| async {
        ready(());
        Ok(())
    });
    shows(start, &["Start", "TaskId(task "]);
    is_shown_as(child.join(), "Join");
    let values: moored::Values<()> = [group.spawn(async { Ok(()) })].into_iter().collect();
    shows(values, &["Values", "children: 1"]);
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

struct Port;

impl Resource for Port {
    type Value = u16;
    type Error = ();

    async fn enter(self) -> Result<u16, ()> {
        Ok(80)
    }

    async fn exit(_: u16) -> Result<(), moored::BoxError> {
        Ok(())
    }
}

#[test]
fn what_is_held_is_shown_as_itself() {
    let stack = ExitStack::new();
    is_shown_as(stack.hold(7, |_| async {}), "Held(Some(7))");
    let local = moored::local::ExitStack::new();
    is_shown_as(local.hold(8, |_| async {}), "Held(Some(8))");
    is_shown_as(stack.enter(Port), "Enter");
    hand(stack.close()).ready().unwrap();
    hand(local.close()).ready().unwrap();
}

#[test]
fn r02_a_rejection_shows_why_and_not_what_was_passed_in() {
    let stack = ExitStack::new().named("owned");
    let stack = hand(task(async {
        stack.defer(async {});
        stack
    }))
    .drive();
    let stack = hand(task(async {
        let rejected = stack.try_defer(pending::<()>()).unwrap_err();
        shows(rejected, &["Rejected", "WrongTask", "owned"]);
        let error = stack.close().await.unwrap_err();
        shows(&error, &["Rejected", "WrongTask", "owned"]);
        error.into_inner().unwrap()
    }))
    .drive();
    drop(stack);
    is_shown_as(Refused(Box::pin(async {})), "Refused");
    assert_eq!(Refused(Box::pin(async {})).to_string(), "the executor takes no more tasks");
}

#[test]
fn r15_a_failure_shows_each_of_its_causes() {
    let failure = hand(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
        let run = group.run(async {
            group.spawn(async { Err::<(), _>("of a child") });
            let stack = ExitStack::new();
            stack.defer(async { Err("of an exit") });
            lose(stack.run(pending::<Result<(), ()>>())).await;
            Err::<(), _>("of the body")
        });
        run.await.unwrap_err()
    })
    .drive();
    shows(
        failure,
        &[
            "\"of the body\"\n  also: task ",
            ": \"of a child\" (spawned at ",
            ")\n  also: exit registered at ",
            "failed: of an exit",
        ],
    );
    let stack = ExitStack::new();
    stack.defer(async { Err("of an exit") });
    let error = hand(stack.close()).ready().unwrap_err();
    shows(error, &["exit registered at ", "failed: of an exit"]);
}

#[test]
fn r10_a_reason_shows_its_kind_its_message_and_its_place() {
    let scope = CancelScope::new();
    scope.cancel_because("enough");
    let cancelled = hand(scope.run(pending::<()>())).ready().unwrap_err();
    shows(cancelled.reason(), &["Reason", "Requested", "enough", "shown.rs"]);
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let run = group.run(pending::<Result<(), ()>>());
    group.cancel_because("over");
    let failure: Failure<()> = hand(run).ready().unwrap_err();
    shows(&failure, &["cancelled: over (at "]);
    let mut start = hand(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let silent = group.run(async {
            let started = group.start(|_ready: moored::Ready<'_, ()>| async { Ok(()) }).await;
            Ok(started.unwrap_err())
        });
        silent.await.unwrap()
    });
    let failure = start.drive();
    assert!(matches!(failure.cause(), Cause::NotReady { .. }));
    shows(failure, &["ended without saying that it is ready"]);
}
