//! Statements in the docs of the local flavour and of entered scopes about tasks and panics (R2,
//! R15).

use crate::support::{Log, as_owner, as_thief, boom, hand, panic_text, poll_once, yield_now};
use moored::{CancelScope, Cause, ReasonKind, local};
use std::future::pending;
use std::pin::pin;

#[test]
fn r15_a_panic_in_a_local_region_goes_on_when_everything_has_left() {
    let log = Log::new();
    let stack = local::ExitStack::new();
    let mut run = hand(stack.run(async {
        stack.defer(log.entry("an exit"));
        boom("the body's");
        Ok::<_, ()>(())
    }));
    assert_eq!(panic_text(|| run.poll()), "the body's");
    log.is(&["an exit"]);
    let closed = local::ExitStack::new();
    closed.defer(log.entry("the last exit"));
    closed.defer(async { boom("an exit's") });
    let mut close = hand(closed.close());
    assert_eq!(panic_text(|| close.poll()), "an exit's");
    log.is(&["an exit", "the last exit"]);
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let mut run = hand(group.run(async {
        group.spawn(async {
            boom("a child's");
            Ok(())
        });
        pending::<Result<(), ()>>().await
    }));
    assert_eq!(panic_text(|| run.drive()), "a child's");
}

#[test]
fn r01_a_local_region_that_was_run_panics_when_it_is_run_again() {
    let stack = local::ExitStack::new();
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    let mut again = hand(stack.run(async { Ok::<_, ()>(()) }));
    assert!(panic_text(|| again.poll()).starts_with("cannot run exit stack"));
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    hand(group.run(async { Ok(()) })).ready().unwrap();
    let mut again = hand(group.run(async { Ok(()) }));
    assert!(panic_text(|| again.poll()).starts_with("cannot run task group"));
}

#[test]
fn r02_a_local_run_is_its_owners_from_the_first_poll_to_the_last() {
    let log = Log::new();
    as_owner(async {
        let stack = local::ExitStack::new();
        stack.defer(log.entry("an exit"));
        let run = stack.run(async {
            log.add("the body of a thief");
            Ok::<_, ()>(())
        });
        let rejected = as_thief(run).await.unwrap_err();
        assert!(matches!(rejected.cause(), Cause::Rejected(_)), "{rejected:?}");
        log.is(&[]);
        stack.close().await.unwrap();
        log.is(&["an exit"]);

        let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
        let mut run = pin!(group.run(pending::<Result<(), ()>>()));
        group.spawn(async {
            let _dropped = log.on_drop("a child");
            pending::<Result<(), ()>>().await
        });
        assert!(poll_once(&mut run).await.is_pending());
        let failure = as_thief(run).await.unwrap_err();
        let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure:?}") };
        assert_eq!(reason.kind(), ReasonKind::WrongTask);
        log.is(&["an exit", "a child"]);
    });
}

#[test]
fn r02_an_entered_scope_goes_on_after_a_run_that_another_task_polled_or_that_panicked() {
    let log = Log::new();
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let misplaced = as_thief(entered.run(async { log.add("not started") })).await.unwrap_err();
        assert_eq!(misplaced.reason().kind(), ReasonKind::WrongTask);
        let mut moved = Box::pin(entered.run(async {
            let _dropped = log.on_drop("dropped");
            yield_now().await;
            log.add("not gone on with");
        }));
        assert!(poll_once(&mut moved).await.is_pending());
        let misplaced = as_thief(moved).await.unwrap_err();
        assert_eq!(misplaced.reason().kind(), ReasonKind::WrongTask);
        log.is(&["dropped"]);
        let mut panics = hand(entered.run(async { boom("in the scope") }));
        assert_eq!(panic_text(|| panics.poll()), "in the scope");
        drop(panics);
        assert_eq!(entered.run(async { 7 }).await.unwrap(), 7);
        assert!(entered.exit().unwrap().reason().is_none());
    });
}
