//! The outcome of leaving: a primary cause and the ordered rest; nothing is masked (R15).

use crate::support::{
    Executor, Gate, Log, Loud, Reports, boom, hand, lose, panic_text, poll_once, yield_now,
};
use moored::{
    CancelScope, Cause, ChildError, ExitFailure, ExitStack, Failure, Leaving, TaskGroup, task,
};
use std::error::Error;
use std::fmt;
use std::future::pending;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fine,
    Fails,
    Panics,
}

const ENDS: [End; 3] = [End::Fine, End::Fails, End::Panics];

impl End {
    fn of(self, what: &'static str) -> Result<(), &'static str> {
        match self {
            End::Fine => Ok(()),
            End::Fails => Err(what),
            End::Panics => {
                boom(what);
                Ok(())
            }
        }
    }
}

/// The causes of a failure by their own texts, places left out.
pub(super) fn texts<E: fmt::Display>(failure: &Failure<E>) -> Vec<String> {
    failure.causes().map(|cause| ending(&cause.to_string())).collect()
}

pub(super) fn ending(text: &str) -> String {
    match text.split_once(" at ") {
        Some(("exit registered", rest)) => {
            let at = rest.find(' ').unwrap();
            rest[at + 1..].to_owned()
        }
        _ => text.to_owned(),
    }
}

#[test]
fn r15_every_end_of_a_body_with_every_end_of_two_exits() {
    let reports = Reports::watch();
    for body in ENDS {
        for newer in ENDS {
            for older in ENDS {
                let name = format!("combination {body:?} {newer:?} {older:?}.");
                let log = Log::new();
                let stack = ExitStack::new().named(name.clone());
                let mut run = hand(task(stack.run(async {
                    let ran = log.clone();
                    stack.defer(async move {
                        ran.add("older");
                        older.of("older")
                    });
                    let ran = log.clone();
                    stack.defer(async move {
                        ran.add("newer");
                        yield_now().await;
                        newer.of("newer")
                    });
                    body.of("body")
                })));
                let all = [("body", body), ("newer", newer), ("older", older)];
                let mut panicked = all.iter().filter(|(_, end)| *end == End::Panics);
                let failed = |what: &str, end: End| match end {
                    End::Fails if what == "body" => Some(what.to_owned()),
                    End::Fails => Some(format!("failed: {what}")),
                    _ => None,
                };
                if let Some((first, _)) = panicked.next() {
                    assert_eq!(panic_text(|| run.drive()), *first, "{name}");
                    // The region has no record, and none is around it, so every failure but the first
                    // is reported to the hook.
                    let told = reports.of(&name);
                    let expected: Vec<_> = all
                        .iter()
                        .filter(|(what, _)| what != first)
                        .filter_map(|(what, end)| match end {
                            End::Panics => Some(format!("panicked: {what}")),
                            // The hook cannot get the body's error, because a report does not know its type.
                            End::Fails if *what == "body" => Some("or has panicked".to_owned()),
                            end => failed(what, *end),
                        })
                        .collect();
                    assert_eq!(told.len(), expected.len(), "{name}: {told:?}");
                    for text in &expected {
                        assert!(told.iter().any(|line| line.ends_with(text)), "{name}: {told:?}");
                    }
                } else {
                    let expected: Vec<_> =
                        all.iter().filter_map(|(what, end)| failed(what, *end)).collect();
                    let seen = run.drive().err().map_or(Vec::new(), |failure| texts(&failure));
                    assert_eq!(seen, expected, "{name}");
                    assert_eq!(reports.of(&name).len(), 0, "{name}");
                }
                log.is(&["newer", "older"]);
            }
        }
    }
}

#[test]
fn r15_every_end_of_a_child_with_every_end_of_the_body_and_of_a_sibling() {
    for keep_going in [false, true] {
        for child in ENDS {
            for sibling in ENDS {
                for body in ENDS {
                    let name = format!("{keep_going} {child:?} {sibling:?} {body:?}");
                    let mut group: TaskGroup<'_, &str> = TaskGroup::new();
                    if keep_going {
                        group = group.keep_going();
                    }
                    let mut run = hand(task(group.run(async {
                        group.spawn(async move { child.of("child") });
                        group.spawn(async move {
                            yield_now().await;
                            sibling.of("sibling")
                        });
                        // Pending long enough to be dropped when a child fails first.
                        for _ in 0..5 {
                            yield_now().await;
                        }
                        body.of("body")
                    })));
                    let all = [("child", child), ("sibling", sibling), ("body", body)];
                    // In the order in which they complete; a failure cancels the others.
                    let mut happened = Vec::new();
                    for (what, end) in all {
                        if end == End::Fine {
                            continue;
                        }
                        happened.push((what, end));
                        if !keep_going || end == End::Panics {
                            break;
                        }
                    }
                    if let Some((what, _)) = happened.iter().find(|(_, end)| *end == End::Panics) {
                        assert_eq!(panic_text(|| run.drive()), *what, "{name}");
                        continue;
                    }
                    match run.drive() {
                        Ok(()) => assert!(happened.is_empty(), "{name}"),
                        Err(failure) => {
                            let seen: Vec<_> = failure
                                .causes()
                                .map(|cause| match cause {
                                    Cause::Body(error) => *error,
                                    Cause::Child { error, .. } => *error,
                                    other => panic!("{name}: {other:?}"),
                                })
                                .collect();
                            let expected: Vec<_> = happened.iter().map(|(what, _)| *what).collect();
                            assert_eq!(seen, expected, "{name}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn r15_cancellation_is_primary_only_where_nothing_real_exists() {
    // No real error.
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut run = hand(group.run(pending::<Result<(), &str>>()));
    run.pending();
    group.cancel_because("stop");
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Cancelled(r) if r.message() == Some("stop")));
    drop(run);

    // A child fails while it is cancelled.
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let gate = Gate::new();
    group.spawn({
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Err::<(), _>("real")
        }
    });
    let mut run = hand(group.run(pending::<Result<(), &str>>()));
    run.pending();
    group.cancel();
    gate.open();
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "real", .. }), "{failure:?}");
    assert_eq!(failure.rest().count(), 0, "{failure:?}");
}

#[test]
fn r15_a_failing_exit_of_a_cancelled_body_stands_beside_the_cancellation() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let body = async {
            stack.defer(async { Err::<(), _>("older") });
            stack.defer(async { Err::<(), _>("newer") });
            pending::<Result<(), ()>>().await
        };
        stack.run(body).await
    }));
    run.pending();
    scope.cancel_because("stop");
    let cancelled = run.ready().unwrap_err();
    let texts: Vec<_> = cancelled.failures().iter().map(|f| ending(&f.to_string())).collect();
    assert_eq!(texts, ["failed: newer", "failed: older"]);
    let text = cancelled.to_string();
    assert!(text.starts_with("cancelled: stop") && text.ends_with("(and 2 more)"), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(format!("{cancelled:#}").lines().count(), 3);
}

#[test]
fn r15_a_panicking_exit_of_a_cancelled_body_is_resumed_by_the_scope() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let body = async {
            stack.defer(log.entry("older"));
            stack.defer(async { boom("exit") });
            pending::<Result<(), ()>>().await
        };
        stack.run(body).await
    }));
    run.pending();
    scope.cancel();
    assert_eq!(panic_text(|| run.poll()), "exit");
    log.is(&["older"]);
}

#[test]
fn r15_failures_of_adopted_exits_go_into_the_nearest_record_outwards() {
    // Through a scope that returns a value, into the stack around it.
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        let scope = CancelScope::new();
        scope
            .run(lose(async {
                let loser = ExitStack::new();
                loser.defer(async { Err::<(), _>("loser's exit") });
                loser.run(pending::<Result<(), ()>>()).await
            }))
            .await
            .unwrap();
        Ok::<_, &str>(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!(texts(&failure), ["failed: loser's exit"]);
    let Cause::Exit(exit @ ExitFailure::Failed { .. }) = failure.cause() else { panic!() };
    assert!(exit.registered_at().file().ends_with("failure.rs"));

    // Into the group, from a child.
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let failure = hand(group.run(async {
        group.spawn(async {
            lose(async {
                let loser = ExitStack::new();
                loser.defer(async { Err::<(), _>("child's loser") });
                loser.run(pending::<Result<(), ()>>()).await
            })
            .await;
            Ok(())
        });
        Ok(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!(texts(&failure), ["failed: child's loser"]);
}

#[test]
fn r15_failures_without_a_record_go_to_the_hook() {
    let reports = Reports::watch();
    let scope = CancelScope::new().named("no-record");
    hand(scope.run(lose(async {
        let loser = ExitStack::new();
        loser.defer(async { Err::<(), _>("nobody listens") });
        loser.run(pending::<Result<(), ()>>()).await
    })))
    .drive()
    .unwrap();
    let told = reports.of("no-record");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("in cancel scope `no-record`: exit registered at "), "{told:?}");
    assert!(told[0].ends_with("failed: nobody listens"), "{told:?}");
}

#[test]
fn r15_an_interrupted_exit_never_replaces_an_error() {
    // The stack's body failed, its exit is half-way, the scope around is cancelled: the exit finishes in
    // the scope, with its own error, and says why it began.
    let gate = Gate::new();
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let body = async {
            let (gate, log) = (gate.clone(), log.clone());
            stack.defer_with(move |why| async move {
                gate.wait().await;
                log.add(format!("{}", matches!(why, Leaving::Failed)));
                Err::<(), _>("late")
            });
            Err::<(), _>("body")
        };
        stack.run(body).await
    }));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    let cancelled = run.ready().unwrap_err();
    // The body's own error completed first, and no caller is left to receive it.
    let [body, exit] = cancelled.failures() else { panic!("{cancelled:#}") };
    assert!(matches!(body, ExitFailure::Unclaimed { .. }), "{body}");
    assert_eq!(ending(&exit.to_string()), "failed: late");
    log.is(&["true"]);
}

#[test]
fn r15_a_group_cancelled_after_its_bodys_end_whose_children_left_cleanly_is_ok() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(pending::<Result<(), ()>>());
    let mut run = hand(group.run(async { Ok(7) }));
    run.pending();
    group.cancel();
    assert_eq!(run.drive().unwrap(), 7);
    assert!(matches!(hand(child.join()).ready(), Err(ChildError::Cancelled(_))));
}

#[test]
fn r15_terminate_does_not_override_an_ok_body_nor_lose_later_errors() {
    // moro 0.4: `terminate` overrides an `Ok` body and loses later errors.
    let gate = Gate::new();
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    group.spawn({
        let gate = gate.clone();
        async move {
            let stack = ExitStack::new();
            stack.defer(async move { gate.wait().await });
            stack.defer(async { Err::<(), _>("later") });
            stack.run(pending::<Result<(), ()>>()).await.map_err(|_| "unreachable")
        }
    });
    let mut run = hand(group.run(async { Ok(7) }));
    run.pending();
    group.cancel();
    run.pending();
    gate.open();
    let failure = run.drive().unwrap_err();
    assert_eq!(texts(&failure), ["failed: later"]);
}

#[derive(Debug)]
pub(super) struct Outer(pub(super) Inner);

#[derive(Debug)]
pub(super) struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no rows")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl Error for Inner {}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

pub(super) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}

#[test]
fn r15_close_tells_of_failing_exits() {
    let stack = ExitStack::new();
    stack.defer(async { Err(Outer(Inner)) });
    let error = hand(stack.close()).ready().unwrap_err();
    assert!(error.rejected().is_none());
    assert_eq!(error.failure().unwrap().causes().count(), 1);
    assert_eq!(chain(&error).len(), 2);
    let error = error.into_inner().unwrap_err();
    assert_eq!(error.failure().unwrap().causes().count(), 1);
}

#[test]
fn r15_a_dropped_groups_exit_failures_go_into_the_nearest_record() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn(async {
            let inner = ExitStack::new();
            inner.defer(async { Err::<(), _>("child's exit") });
            inner.run(pending::<Result<(), ()>>()).await.map_err(drop)
        });
        lose(group.run(pending::<Result<(), ()>>())).await;
        Ok::<_, &str>(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!(texts(&failure), ["failed: child's exit"]);
}

#[test]
fn r15_an_exits_panic_survives_that_a_half_closed_stack_is_handed_back() {
    let gate = Gate::new();
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        stack.defer({
            let gate = gate.clone();
            async move { gate.wait().await }
        });
        stack.defer(async { boom("exit") });
        let mut close = Box::pin(stack.close());
        assert!(poll_once(&mut close).await.is_pending());
        let error = task(async { (&mut close).await.unwrap_err() }).await;
        drop(close);
        gate.open();
        error.into_inner().unwrap().close().await
    }));
    assert_eq!(panic_text(|| run.drive()), "exit");
}

#[test]
fn r15_a_panic_of_a_child_of_a_dropped_run_goes_into_the_nearest_record() {
    let gate = Gate::new();
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn(async {
            boom("child");
            Ok(())
        });
        // A sibling's exit holds the group open, and its run is dropped meanwhile.
        group.spawn({
            let gate = gate.clone();
            async move {
                let stack = ExitStack::new();
                stack.defer(async move { gate.wait().await });
                stack.run(async { Ok::<_, ()>(()) }).await.map_err(drop)
            }
        });
        lose(group.run(pending::<Result<(), ()>>())).await;
        gate.open();
        Ok::<_, &str>(())
    }))
    .drive()
    .unwrap_err();
    assert_eq!(failure.causes().count(), 1, "{failure:?}");
    assert!(failure.to_string().ends_with("panicked: child"), "{failure}");
}

#[test]
fn r15_a_panic_of_a_dropped_groups_executor_child_is_resumed_by_the_region_that_adopts_it() {
    let exec = Executor::new();
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group.spawn_on(&exec, async {
            let _loud = Loud("on the way out");
            pending::<Result<(), ()>>().await
        });
        exec.run();
        lose(group.run(pending::<Result<(), ()>>())).await;
        Ok::<_, &str>(())
    }));
    run.pending();
    exec.run();
    assert_eq!(panic_text(|| run.drive()), "on the way out");
}

#[test]
fn r15_the_error_of_a_dropped_groups_child_is_told_in_the_nearest_record() {
    let exec = Executor::new();
    let gate = Gate::new();
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        let group: TaskGroup<'_, &str> = TaskGroup::new();
        let gate = gate.clone();
        group.spawn_on(&exec, async move {
            gate.wait().await;
            Err::<(), _>("of nobody")
        });
        exec.run();
        lose(group.run(pending::<Result<(), &str>>())).await;
        Ok::<_, &str>(())
    }));
    run.pending();
    gate.open();
    exec.run();
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Exit(_)), "{failure:?}");
    assert_eq!(failure.rest().count(), 0);
}
