//! The failures of children, and their values: siblings are cancelled, nothing is lost, `join` has the value (R17).

use crate::support::{
    Executor, Gate, Log, Loud, boom, hand, lose, panic_text, poll_once, yield_now,
};
use futures::FutureExt;
use futures::future::FusedFuture;
use moored::{Cause, ChildError, ExitStack, ReasonKind, TaskGroup};
use std::future::pending;
use std::panic::AssertUnwindSafe;

#[test]
fn r17_the_first_failure_cancels_the_siblings_and_the_body() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut handle = None;
    let mut run = hand(group.run(async {
        handle = Some(group.spawn(std::future::pending::<Result<(), &str>>()));
        group.spawn(async {
            yield_now().await;
            Err::<(), _>("broken")
        });
        std::future::pending::<Result<(), &str>>().await
    }));
    let failure = run.drive().unwrap_err();
    drop(run);
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }));
    assert_eq!(failure.rest().count(), 0);
    let joined = hand(handle.unwrap().join()).ready();
    assert!(matches!(joined, Err(ChildError::Cancelled(_))));
}

#[test]
fn r17_keep_going_collects_every_error() {
    let group: TaskGroup<'_, u32> = TaskGroup::new().keep_going();
    for n in 0..10 {
        group.spawn(async move {
            for _ in 0..n {
                yield_now().await;
            }
            Err::<(), _>(n)
        });
    }
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    let errors: Vec<_> = failure
        .causes()
        .map(|cause| match cause {
            Cause::Child { error, .. } => *error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, (0..10).collect::<Vec<_>>());
}

#[test]
fn r17_errors_of_siblings_that_fail_while_cancelled_are_kept() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let gate = Gate::new();
    group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Err::<(), _>("second")
        }
    });
    let mut run = hand(group.run(async {
        yield_now().await;
        gate.open();
        Err::<(), _>("first")
    }));
    let failure = run.drive().unwrap_err();
    let texts: Vec<_> = failure.causes().map(|cause| cause.to_string()).collect();
    assert_eq!(texts[0], "first");
    assert!(texts[1].ends_with(": second"), "{texts:?}");
    assert_eq!(texts.len(), 2);
}

#[test]
fn r17_what_cancels_the_siblings_is_told_as_their_reason() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let sibling = group.spawn(pending::<Result<(), &str>>());
    let failing = group.spawn(async {
        yield_now().await;
        Err::<(), _>("broken")
    });
    let id = failing.id();
    hand(group.run(async { Ok(()) })).drive().unwrap_err();
    let Err(ChildError::Cancelled(reason)) = hand(sibling.join()).ready() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::SiblingFailed);
    assert_eq!(reason.task(), Some(&id));
    let Err(ChildError::Failed(failed)) = hand(failing.join()).ready() else { panic!() };
    assert_eq!(failed, id);
}

#[test]
fn r17_a_panicking_child_cancels_the_siblings_and_is_resumed_after_they_left() {
    for keep_going in [false, true] {
        let log = Log::new();
        let mut group: TaskGroup<'_, ()> = TaskGroup::new();
        if keep_going {
            group = group.keep_going();
        }
        group.spawn({
            let log = log.clone();
            async move {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
            }
        });
        let child = group.spawn(async {
            yield_now().await;
            crate::support::boom("child");
            Ok(())
        });
        let mut run = hand(group.run(pending::<Result<(), ()>>()));
        assert_eq!(panic_text(|| run.drive()), "child");
        log.is(&["exit"]);
        assert!(matches!(hand(child.join()).ready(), Err(ChildError::Panicked)));
    }
}

#[test]
fn r17_join_gives_the_value_once_it_is_there() {
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Ok(7)
        }
    });
    assert!(!child.is_finished());
    let mut join = Box::pin(child.join());
    let mut run = hand(group.run(async {
        assert!(!join.is_terminated());
        assert!(poll_once(&mut join).await.is_pending());
        gate.open();
        let value = (&mut join).await.unwrap();
        assert!(join.is_terminated());
        Ok(value)
    }));
    assert_eq!(run.drive().unwrap(), 7);
}

#[test]
fn r17_a_dropped_handle_leaves_its_child_alone() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        drop(group.spawn(async {
            yield_now().await;
            log.add("child ends");
            Ok(())
        }));
        lose(group.spawn(pending::<Result<(), ()>>()).join()).await;
        for _ in 0..3 {
            yield_now().await;
        }
        group.cancel();
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["child ends"]);
}

#[test]
fn r15_a_childs_panic_is_resumed_and_a_later_one_of_the_body_is_recorded() {
    for on_executor in [false, true] {
        let (executor, outer) = (Executor::new(), ExitStack::new());
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let mut run = hand(outer.run(async {
            let body = async {
                let _loud = Loud("the body");
                let child = async {
                    boom("the child");
                    Ok(())
                };
                match on_executor {
                    true => group.spawn_detached_on(&executor, child),
                    false => group.spawn_detached(child),
                }
                pending::<Result<(), _>>().await
            };
            let resumed = AssertUnwindSafe(group.run(body)).catch_unwind().await.unwrap_err();
            assert_eq!(*resumed.downcast::<String>().unwrap(), "the child");
            Ok::<_, &str>(())
        }));
        if on_executor {
            run.pending();
            executor.run();
        }
        let failure = run.drive().unwrap_err();
        assert!(failure.to_string().ends_with("panicked: the body"), "{failure}");
    }
}

#[test]
fn r15_an_error_over_the_cap_that_panics_in_its_drop_is_a_panic_of_the_group() {
    let group: TaskGroup<'_, Option<Loud>> = TaskGroup::new().keep_going().max_causes(1);
    let run = group.run(async {
        group.spawn(async { Err::<(), _>(None) });
        group.spawn(async { Err::<(), _>(Some(Loud("over the cap"))) });
        Ok(())
    });
    assert_eq!(panic_text(|| hand(run).drive().is_ok()), "over the cap");
}

#[test]
fn r17_an_error_beside_a_success_that_panics_in_its_drop_is_recorded_around_the_group() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let group: TaskGroup<'_, Loud> = TaskGroup::new().first_success();
        let body = async {
            group.spawn(async { Err::<(), _>(Loud("of an error")) });
            yield_now().await;
            group.spawn(async { Ok(()) });
            Ok(7)
        };
        assert_eq!(group.run(body).await.ok(), Some(7));
        Ok::<_, &str>(())
    }));
    let failure = run.drive().unwrap_err();
    assert_eq!(failure.causes().count(), 1, "{failure:?}");
    assert!(failure.to_string().ends_with("panicked: of an error"), "{failure}");
}
