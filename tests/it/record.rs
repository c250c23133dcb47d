//! A record at the border of a library, and the texts of its causes (R10, R15).

use crate::support::{Gate, boom, hand, lose, poll_once, yield_now};
use futures::FutureExt;
use futures::future::pending;
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, ChildError, ExitFailure, ExitStack, Failure, Leaving, ReasonKind,
    TaskGroup, task,
};
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

#[derive(Debug, PartialEq)]
struct Code(i32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.0)
    }
}

impl Error for Code {}

/// The failure of a group with a body, a child and an adopted exit that fail.
async fn everything_fails() -> Failure<i32> {
    let group: TaskGroup<'_, i32> = TaskGroup::new().keep_going();
    let run = group.run(async {
        group.spawn(async { Err::<(), _>(2) });
        let stack = ExitStack::new();
        stack.defer(async { Err("of an exit") });
        lose(stack.run(pending::<Result<(), ()>>())).await;
        Err::<(), _>(1)
    });
    run.await.unwrap_err()
}

fn kinds<E>(failure: &Failure<E>) -> Vec<&'static str> {
    let kind = |cause: &Cause<E>| match cause {
        Cause::Body(_) => "body",
        Cause::Child { .. } => "child",
        Cause::Exit(_) => "exit",
        Cause::Cancelled(_) => "cancelled",
        Cause::NotReady { .. } => "not ready",
        Cause::Rejected(_) => "rejected",
        _ => "new",
    };
    failure.causes().map(kind).collect()
}

#[test]
fn r15_a_mapped_record_has_the_same_causes_in_the_same_order() {
    let failure = hand(task(everything_fails())).drive().map(Code);
    assert_eq!(kinds(&failure), ["body", "child", "exit"]);
    let errors: Vec<_> = failure
        .into_causes()
        .filter_map(|cause| match cause {
            Cause::Body(error) | Cause::Child { error, .. } => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [Code(1), Code(2)]);
}

/// Failures with one cause each, none of which is an error of the user.
async fn without_an_error() -> [Failure<i32>; 3] {
    let group: TaskGroup<'_, i32> = TaskGroup::new();
    group.cancel_because("enough");
    let cancelled = group.run(pending::<Result<(), i32>>()).await.unwrap_err();
    let group: TaskGroup<'_, i32> = TaskGroup::new();
    let silent = group.run(async {
        let started = group.start(|_ready: moored::Ready<'_, ()>| async { Ok(()) }).await;
        Ok(started.unwrap_err())
    });
    let silent = silent.await.unwrap();
    let stack = ExitStack::new();
    stack.defer(async {});
    let (rejected, stack) = task(async move {
        let rejected = stack.run(async { Err::<(), _>(3) }).await.unwrap_err();
        (rejected, stack.release().map_err(|rejected| rejected.into_inner()).unwrap_err())
    })
    .await;
    stack.close().await.unwrap();
    [cancelled, silent, rejected]
}

#[test]
fn r15_a_mapped_record_keeps_what_has_no_error_in_it() {
    let failures = hand(task(without_an_error())).drive();
    let kinds_of = |failures: &[Failure<Code>]| failures.iter().flat_map(kinds).collect::<Vec<_>>();
    let texts = failures.each_ref().map(ToString::to_string);
    let mapped = failures.map(|failure| failure.map(Code));
    assert_eq!(kinds_of(&mapped), ["cancelled", "not ready", "rejected"]);
    assert_eq!(mapped.each_ref().map(ToString::to_string), texts);
    assert!(texts[0].contains("enough"), "{}", texts[0]);
    assert!(texts[1].ends_with("ended without saying that it is ready"), "{}", texts[1]);
    assert!(texts[2].contains("may not run exit stack"), "{}", texts[2]);
    for failure in &mapped {
        assert!(failure.source().is_none(), "{failure} has no error below it");
        assert!(format!("{failure:#?}").contains("Failure"));
    }
    let debug = format!("{:#?}", mapped[2]);
    assert!(debug.contains("Rejected("), "{debug}");
}

#[test]
fn r15_two_nested_records_become_one_the_inner_one_in_its_place() {
    let nested = hand(task(async {
        let outer: TaskGroup<'_, Failure<i32>> = TaskGroup::new().keep_going();
        let run = outer.run(async {
            outer.spawn(async { Err::<(), _>(everything_fails().await) });
            let stack = ExitStack::new();
            stack.defer(async { Err("of the outer exit") });
            lose(stack.run(pending::<Result<(), ()>>())).await;
            Err::<(), _>(everything_fails().await)
        });
        run.await.unwrap_err()
    }))
    .drive();
    let flat = nested.flatten();
    assert_eq!(kinds(&flat), ["body", "child", "exit", "body", "child", "exit", "exit"]);
    let last = flat.causes().last().unwrap().to_string();
    assert!(last.contains("of the outer exit"), "{last}");
}

#[test]
fn r15_a_flattened_record_counts_what_either_left_out() {
    let capped = || async {
        let group: TaskGroup<'_, i32> = TaskGroup::new().keep_going().max_causes(1);
        let run = group.run(async {
            for number in 0..4 {
                group.spawn(async move { Err::<(), _>(number) });
            }
            Ok(())
        });
        run.await.unwrap_err()
    };
    let inner = hand(capped()).drive();
    assert_eq!((inner.causes().count(), inner.omitted()), (1, 3));
    let nested = hand(async {
        let outer: TaskGroup<'_, Failure<i32>> = TaskGroup::new().keep_going().max_causes(1);
        let run = outer.run(async {
            outer.spawn(async { Err::<(), _>(capped().await) });
            outer.spawn(async { Err::<(), _>(capped().await) });
            Ok(())
        });
        run.await.unwrap_err()
    })
    .drive();
    assert_eq!(nested.omitted(), 1);
    let flat = nested.flatten();
    assert_eq!((flat.causes().count(), flat.omitted()), (1, 4));
}

#[test]
fn r15_a_cancellation_is_primary_in_a_flattened_record_only_where_no_error_is() {
    let flattened = |child: fn() -> Result<(), Failure<i32>>| {
        hand(task(async move {
            let outer: TaskGroup<'_, Failure<i32>> = TaskGroup::new().keep_going();
            let run = outer.run(async {
                outer.spawn(async {
                    let inner: TaskGroup<'_, i32> = TaskGroup::new();
                    inner.cancel();
                    let stack = ExitStack::new();
                    stack.defer(async { Err("of an exit") });
                    drop(stack);
                    inner.run(pending::<Result<(), _>>()).await
                });
                outer.spawn(async move { child() });
                let stack = ExitStack::new();
                stack.defer(async { Err("of an exit") });
                drop(stack);
                Ok(())
            });
            run.await.unwrap_err()
        }))
        .drive()
        .flatten()
    };
    let failed = flattened(|| Err(Failure::from(1)));
    assert_eq!(kinds(&failed), ["body", "cancelled", "exit", "exit"]);
    let cancelled = flattened(|| Ok(()));
    assert_eq!(kinds(&cancelled)[0], "cancelled");
}

#[test]
fn r15_a_tree_shows_where_a_child_was_started_that_never_was_ready() {
    let group: TaskGroup<'_, i32> = TaskGroup::new();
    let line = line!() + 2;
    let failure = hand(group.run(async {
        let started = group.start(|_ready: moored::Ready<'_, ()>| async { Ok(()) }).await;
        Ok(started.unwrap_err())
    }))
    .drive()
    .unwrap();
    let tree = format!("{failure:#}");
    assert!(tree.contains(&format!("(spawned at tests/it/record.rs:{line}:")), "{tree}");
}

#[test]
fn r15_a_flattened_record_keeps_what_has_no_error_in_it() {
    let causes = hand(task(async {
        let mut flat = Vec::new();
        let group: TaskGroup<'_, Failure<i32>> = TaskGroup::new();
        group.cancel();
        flat.push(group.run(pending::<Result<(), _>>()).await.unwrap_err().flatten());
        let group: TaskGroup<'_, Failure<i32>> = TaskGroup::new();
        let silent = group.run(async {
            let started = group.start(|_ready: moored::Ready<'_, ()>| async { Ok(()) }).await;
            Ok(started.unwrap_err())
        });
        flat.push(silent.await.unwrap().flatten());
        let stack = ExitStack::new();
        stack.defer(async {});
        let (rejected, stack) = task(async move {
            let run = stack.run(pending::<Result<(), Failure<i32>>>());
            let rejected = run.await.unwrap_err().flatten();
            (rejected, stack.release().map_err(|rejected| rejected.into_inner()).unwrap_err())
        })
        .await;
        flat.push(rejected);
        stack.close().await.unwrap();
        flat.iter().flat_map(kinds).collect::<Vec<_>>()
    }))
    .drive();
    assert_eq!(causes, ["cancelled", "not ready", "rejected"]);
}

#[test]
fn r14_every_failed_exit_tells_where_it_was_registered() {
    let clock = MockClock::new();
    let run = async {
        let outer = ExitStack::new();
        let body = async {
            let group: TaskGroup<'_, i32> = TaskGroup::new().keep_going();
            let panics = group.run(async {
                group.spawn(async { Err::<(), _>(1) });
                let stack = ExitStack::new();
                stack.defer(async { boom("second") });
                yield_now().await;
                lose(stack.run(pending::<Result<(), ()>>())).await;
                boom("first");
                Ok(())
            });
            AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
            let stack = ExitStack::new().grace(Duration::from_secs(1));
            let held = stack.hold((), |()| async {});
            stack.defer(pending::<()>());
            stack.defer(async { Err("failed") });
            let error = stack.close().await.unwrap_err();
            drop(held);
            Err::<(), _>(error)
        };
        outer.run(body).await.unwrap_err()
    };
    let failure = moored::testing::hand(task(run).clock(clock.clone())).drive_with(&clock);
    let mut found = Vec::new();
    let mut note = |exit: &ExitFailure| {
        assert!(exit.registered_at().file().ends_with("record.rs"), "{exit}");
        assert!(exit.to_string().contains("record.rs"), "{exit}");
        found.push(format!("{exit:?}").split(' ').next().unwrap().to_owned());
    };
    for cause in failure.causes() {
        match cause {
            Cause::Exit(exit) => note(exit),
            Cause::Body(closed) => {
                let failure = closed.failure().unwrap();
                assert!(failure.source().is_none(), "none of them has an error below it");
                for cause in failure.causes() {
                    if let Cause::Exit(exit) = cause {
                        note(exit);
                        assert!(exit.source().is_none());
                    }
                }
            }
            _ => unreachable!("nothing else went wrong"),
        }
    }
    assert_eq!(found, ["Failed", "TimedOut", "StillHeld", "Panicked", "Unclaimed"]);
}

#[test]
fn r10_the_text_of_a_reason_tells_why_a_child_has_no_value() {
    let failed = hand(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let mut sibling = None;
        let run = group.run(async {
            sibling = Some(group.spawn(pending::<Result<(), &str>>()));
            group.spawn(async { Err::<(), _>("broken") });
            pending::<Result<(), &str>>().await
        });
        run.await.unwrap_err();
        sibling.take().unwrap().join().await.unwrap_err()
    })
    .drive();
    let text = failed.to_string();
    assert!(text.starts_with("child cancelled: a sibling failed (by task "), "{text}");

    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(pending::<Result<(), ()>>());
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    drop(run);
    let gone = hand(child.join()).ready().unwrap_err();
    assert!(
        matches!(&gone, ChildError::Cancelled(reason) if reason.kind() == ReasonKind::OwnerGone)
    );
    assert!(gone.to_string().starts_with("child cancelled: its owner is gone (at "), "{gone}");

    let executor = crate::support::Executor::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn_on(&executor, pending::<Result<(), ()>>());
    executor.run();
    executor.shut_down();
    let dropped = hand(child.join()).ready().unwrap_err();
    let text = dropped.to_string();
    assert!(text.starts_with("child cancelled: its executor dropped it (at "), "{text}");

    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(async {
        boom("broken");
        Ok(())
    });
    let mut run = hand(group.run(async { Ok(()) }));
    assert_eq!(crate::support::panic_text(|| run.drive()), "broken");
    drop(run);
    let panicked = hand(child.join()).ready().unwrap_err();
    assert_eq!(
        panicked.to_string(),
        "child panicked; its group goes on with the panic, unless it isolates panics"
    );
}

#[test]
fn r10_an_exit_two_regions_inside_tells_a_time_out_from_a_shutdown() {
    let second = Duration::from_secs(1);
    for (end, root) in [
        ("deadline", ReasonKind::Deadline),
        ("stop", ReasonKind::Requested),
        ("cancel", ReasonKind::Requested),
    ] {
        let clock = MockClock::new();
        let outer = CancelScope::new().grace(second);
        let outer = if end == "deadline" { outer.timeout(second) } else { outer };
        let inner = CancelScope::new();
        let (told, seen) = futures::channel::oneshot::channel();
        let body = outer.run(inner.run(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer_with(|why| async { drop(told.send(why)) });
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        }));
        let mut run = hand(task(body).clock(clock.clone()));
        run.pending();
        match end {
            "stop" => outer.stop(),
            "cancel" => outer.cancel(),
            _ => {}
        }
        if end != "cancel" {
            run.pending();
            clock.advance(second);
        }
        run.drive().unwrap_err();
        let why = hand(seen).ready().unwrap();
        let Leaving::Cancelled(reason) = why else { panic!("{end}: {why:?}") };
        assert_eq!((reason.kind(), reason.root_kind()), (ReasonKind::Parent, root), "{end}");
        assert_eq!(reason.grace(), (end == "stop").then_some(second));
    }
}

#[test]
fn r02_only_a_wrong_task_is_below_a_misuse() {
    let scope = CancelScope::new();
    hand(scope.run(async {})).ready().unwrap();
    let twice = scope.enter().unwrap_err();
    assert!(twice.error().source().is_none());
    let stack = ExitStack::new();
    hand(task(async {
        stack.defer(async {});
        let gate = Gate::new();
        let foreign = task(async {
            let rejected = stack.try_defer(gate.wait()).unwrap_err();
            assert!(rejected.source().is_some_and(|source| source.is::<moored::WrongTask>()));
        });
        foreign.await;
        yield_now().await;
    }))
    .drive();
}

#[test]
fn r02_a_close_that_was_rejected_has_the_wrong_task_as_its_source() {
    let mut owner = hand(task(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        stack
    }));
    let stack = owner.drive();
    hand(task(async {
        let error = stack.close().await.unwrap_err();
        assert!(error.rejected().is_some() && error.failure().is_none());
        assert!(error.source().is_some_and(|source| source.is::<moored::WrongTask>()));
        let mut stack = error.into_inner().unwrap().close();
        assert!(poll_once(&mut stack).await.is_ready());
    }))
    .drive();
}
