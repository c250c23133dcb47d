//! Failures of other libraries: each failure that was reproduced has its twin here, named `p01` to `p15`,
//! with the rule that prevents it.
//!
//! A *session* stands for the clients in those failures: a stack with an exit, and a pump that runs
//! until the session is left.

use crate::support::{
    Executor, Gate, Log, Reports, block_on, hand, panic_text, poll_once, yield_now,
};
use futures::future::{join, join_all};
use moored::{
    CancelScope, Cause, ChildError, EnteredScope, ExitFailure, ExitStack, Failure, Misuse,
    ReasonKind, TaskGroup, move_on_after, task,
};
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A session in dynamic form: a pump on an executor, cancelled and waited for by an exit.
struct Session {
    stack: ExitStack,
}

impl Session {
    /// Connects. The exit stops the pump.
    fn open(log: &Log, pumps: &Executor, name: &'static str) -> Self {
        let stack = ExitStack::new().named(name);
        let (log, running) = (log.clone(), Gate::new());
        let scope = CancelScope::new();
        let stop = scope.handle();
        let (ended, pumped) = (running.clone(), log.clone());
        let pump = async move {
            let _ = scope.run(pending::<()>()).await;
            pumped.add(format!("pump end {name}"));
            ended.open();
        };
        moored::Spawn::spawn(pumps, Box::pin(pump)).unwrap();
        stack.defer(async move {
            log.add(format!("closing {name}"));
            stop.cancel();
            running.wait().await;
        });
        Session { stack }
    }

    async fn close(self) {
        self.stack.close().await.unwrap();
    }
}

/// Polls `body` as the task `host` while the pumps have their turns.
fn host<F: Future>(pumps: &Executor, body: F) -> F::Output {
    let mut run = hand(task(body).named("host"));
    for _ in 0..100 {
        pumps.run();
        if let std::task::Poll::Ready(output) = run.poll() {
            return output;
        }
    }
    panic!("it hangs");
}

#[test]
fn r14_p01_last_in_first_out_in_one_task_is_clean() {
    let (log, pumps) = (Log::new(), Executor::new());
    host(&pumps, async {
        let a = Session::open(&log, &pumps, "A");
        let b = Session::open(&log, &pumps, "B");
        b.close().await;
        a.close().await;
    });
    log.is(&["closing B", "pump end B", "closing A", "pump end A"]);
}

#[test]
fn r05_p02_first_in_first_out_in_one_task_leaves_the_newer_session_alone() {
    let (log, pumps) = (Log::new(), Executor::new());
    host(&pumps, async {
        let a = Session::open(&log, &pumps, "A");
        let b = Session::open(&log, &pumps, "B");
        a.close().await;
        // No stray cancellation arrives later, at an await that has nothing to do with it.
        yield_now().await;
        log.is(&["closing A", "pump end A"]);
        assert!(!moored::is_cancelled());
        b.close().await;
    });
    log.is(&["closing A", "pump end A", "closing B", "pump end B"]);
}

#[test]
fn r02_p03_closing_in_child_tasks_is_rejected_and_the_owner_closes_afterwards() {
    let (log, pumps) = (Log::new(), Executor::new());
    host(&pumps, async {
        let sessions = [Session::open(&log, &pumps, "A"), Session::open(&log, &pumps, "B")];
        let group: TaskGroup<'_, ()> = TaskGroup::new().keep_going();
        let handed_back = group
            .run(async {
                let children: Vec<_> = sessions
                    .into_iter()
                    .map(|session| {
                        group.spawn(async {
                            let rejected = session.stack.close().await.unwrap_err();
                            Ok(rejected.into_inner().unwrap())
                        })
                    })
                    .collect();
                Ok(join_all(children.into_iter().map(|child| child.join())).await)
            })
            .await
            .unwrap();
        log.is(&[]);
        for stack in handed_back {
            stack.unwrap().close().await.unwrap();
        }
    });
    log.is(&["closing A", "pump end A", "closing B", "pump end B"]);
}

#[test]
fn r05_p03_closing_side_by_side_in_one_task_runs_every_exit() {
    let (log, pumps) = (Log::new(), Executor::new());
    host(&pumps, async {
        let a = Session::open(&log, &pumps, "A");
        let b = Session::open(&log, &pumps, "B");
        join(a.close(), b.close()).await;
    });
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["closing A", "closing B", "pump end A", "pump end B"]);
}

#[test]
fn r15_p04_a_connect_error_is_what_the_caller_sees_and_the_clean_up_runs() {
    let reports = Reports::watch();
    let log = Log::new();
    let connect = async {
        let transport = ExitStack::new().named("p04");
        let pumps: TaskGroup<'_, &str> = TaskGroup::new();
        transport
            .run(async {
                transport.defer(log.entry("transport closed"));
                let connected = pumps.run(async {
                    pumps.spawn(async {
                        yield_now().await;
                        Err::<(), _>("connection refused")
                    });
                    pending::<Result<(), _>>().await
                });
                connected.await.map_err(Failure::into_cause)
            })
            .await
    };
    let failure = hand(task(connect)).drive().unwrap_err();
    match failure.cause() {
        Cause::Body(Cause::Child { error, .. }) => assert_eq!(*error, "connection refused"),
        other => panic!("{other:?}"),
    }
    log.is(&["transport closed"]);
    assert!(reports.of("p04").is_empty());
}

#[test]
fn r08_p04_a_stack_that_nobody_closes_is_detected_where_it_is_dropped() {
    let reports = Reports::watch();
    let stack = hand(task(async {
        let stack = ExitStack::new().named("p04-forgotten");
        stack.defer(async {});
        stack
    }))
    .ready();
    drop(stack);
    assert_eq!(reports.of("p04-forgotten").len(), 1);
}

#[test]
fn r05_p05_entering_under_a_timeout_or_side_by_side_is_entering_in_the_same_task() {
    let log = Log::new();
    hand(task(async {
        let open = |name: &'static str| {
            let log = log.clone();
            async move {
                yield_now().await;
                let stack = ExitStack::new();
                stack.defer(log.entry(name));
                stack
            }
        };
        let timed = move_on_after(Duration::MAX, open("timed")).await.unwrap();
        let both = join_all([open("one"), open("two")]).await;
        timed.close().await.unwrap();
        for stack in both {
            stack.close().await.unwrap();
        }
    }))
    .drive();
    log.is(&["timed", "one", "two"]);
}

#[test]
fn r04_p05_entering_in_a_child_and_leaving_in_the_parent_takes_a_handover() {
    let log = Log::new();
    hand(task(async {
        let open = |name: &'static str| {
            let log = log.clone();
            async move {
                let stack = ExitStack::new();
                stack.defer(log.entry(name));
                Ok(stack)
            }
        };
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let (kept, released) = group
            .run(async {
                let kept = group.spawn(open("kept"));
                let released =
                    group.spawn(async { Ok(open("released").await?.release().unwrap()) });
                Ok((kept.join().await.unwrap(), released.join().await.unwrap()))
            })
            .await
            .unwrap();
        released.adopt().close().await.unwrap();
        let rejected = kept.close().await.unwrap_err();
        assert!(matches!(rejected.rejected(), Some(Misuse::WrongTask(_))));
        // Dropping the rejected value does not lose its exits.
        drop(rejected);
    }))
    .drive();
    log.is(&["released", "kept"]);
}

/// An entered scope in a shared slot. Its task goes on when the gate opens.
fn entered_elsewhere(
    slot: &Arc<Mutex<Option<EnteredScope>>>,
    gate: &Gate,
) -> impl Future<Output = bool> {
    let (slot, gate) = (Arc::clone(slot), gate.clone());
    async move {
        *slot.lock().unwrap() = Some(CancelScope::new().named("owned").enter().unwrap());
        gate.wait().await;
        let scope = slot.lock().unwrap().take().unwrap();
        let handle = scope.handle();
        handle.cancel();
        let cancelled = scope.run(pending::<()>()).await.is_err();
        cancelled && scope.exit().unwrap().reason().is_some()
    }
}

#[test]
fn r02_p06_after_a_rejected_exit_the_owner_is_cancelled_and_exits_as_if_nothing_had_been() {
    let (slot, gate) = (Arc::default(), Gate::new());
    let mut owner = hand(task(entered_elsewhere(&slot, &gate)).named("owner"));
    owner.pending();
    hand(task(async {
        let rejected = slot.lock().unwrap().take().unwrap().exit().unwrap_err();
        *slot.lock().unwrap() = Some(rejected.into_inner());
    }))
    .ready();
    gate.open();
    assert!(owner.drive());
}

#[test]
fn r02_p07_a_child_that_leaves_its_groups_own_region_is_told_at_the_call() {
    let group: Arc<TaskGroup<'static, ()>> = Arc::new(TaskGroup::new().named("own"));
    let theirs = Arc::downgrade(&group);
    let body = async {
        let child = group.spawn(async move {
            let group = theirs.upgrade().unwrap();
            let failure = group.run(async { Ok(()) }).await.unwrap_err();
            match failure.cause() {
                Cause::Rejected(wrong) => Ok((wrong.operation, wrong.region.clone())),
                other => panic!("{other:?}"),
            }
        });
        let told = child.join().await.unwrap();
        // The group is unchanged: it takes another child.
        group.spawn(async { Ok(()) }).join().await.unwrap();
        Ok(told)
    };
    let told = hand(task(group.run(body))).drive().unwrap();
    assert_eq!(told, ("run", "task group `own`".to_owned()));
}

#[test]
fn r02_p08_a_child_that_leaves_an_outer_scope_is_told_of_the_task_and_not_of_the_order() {
    let slot = Arc::new(Mutex::new(None));
    hand(task(async {
        let outer = CancelScope::new().named("outer").enter().unwrap();
        *slot.lock().unwrap() = Some(outer);
        let inner = CancelScope::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        group
            .run(async {
                let theirs = Arc::clone(&slot);
                group.spawn(async move {
                    inner
                        .run(async {
                            let outer = theirs.lock().unwrap().take().unwrap();
                            let rejected = outer.exit().unwrap_err();
                            assert!(matches!(rejected.error(), Misuse::WrongTask(_)));
                            *theirs.lock().unwrap() = Some(rejected.into_inner());
                        })
                        .await
                        .unwrap();
                    Ok(())
                });
                Ok(())
            })
            .await
            .unwrap();
        let outer = slot.lock().unwrap().take().unwrap();
        assert_eq!(outer.run(async { 1 }).await.unwrap(), 1, "it was neither closed nor corrupted");
        outer.exit().unwrap();
    }))
    .drive();
}

#[test]
fn r02_p09_an_unrelated_task_that_exits_changes_nothing() {
    let (slot, gate) = (Arc::default(), Gate::new());
    let mut owner = hand(task(entered_elsewhere(&slot, &gate)).named("owner"));
    owner.pending();
    let theirs = Arc::clone(&slot);
    std::thread::spawn(move || {
        block_on(
            task(async move {
                let rejected = theirs.lock().unwrap().take().unwrap().exit().unwrap_err();
                let text = rejected.to_string();
                assert!(text.contains("(stranger)") && text.contains("(owner)"), "{text}");
                *theirs.lock().unwrap() = Some(rejected.into_inner());
            })
            .named("stranger"),
        )
    })
    .join()
    .unwrap();
    gate.open();
    assert!(owner.drive());
}

#[test]
fn r02_p10_a_group_and_a_time_limit_polled_on_by_another_task_misdeliver_nothing() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let slot = Mutex::new(None);
    let gate = Gate::new();
    let mut owner = hand(
        task(async {
            let mut run = Box::pin(group.run(async {
                group.spawn(async {
                    let _guard = scopeguard(&log, "child dropped");
                    pending::<Result<(), ()>>().await
                });
                pending::<Result<(), ()>>().await
            }));
            assert!(poll_once(&mut run).await.is_pending());
            let mut limit =
                Box::pin(moored::fail_after(Duration::from_secs(3600), pending::<()>()));
            assert!(poll_once(&mut limit).await.is_pending());
            *slot.lock().unwrap() = Some((run, limit));
            gate.wait().await;
            assert!(!moored::is_cancelled(), "the entering task is cancelled by nobody");
            yield_now().await;
            "unharmed"
        })
        .named("owner"),
    );
    owner.pending();
    let (run, limit) = slot.lock().unwrap().take().unwrap();
    let (failure, late) = hand(task(async { (run.await, limit.await) }).named("thief")).drive();
    let failure = failure.unwrap_err();
    match failure.cause() {
        Cause::Cancelled(reason) => assert_eq!(reason.kind(), ReasonKind::WrongTask),
        other => panic!("{other:?}"),
    }
    assert_eq!(late.unwrap_err().reason().kind(), ReasonKind::WrongTask, "and no time out");
    log.is(&["child dropped"]);
    gate.open();
    assert_eq!(owner.drive(), "unharmed");
}

/// Adds an entry when it is dropped.
fn scopeguard<'a>(log: &'a Log, what: &'static str) -> impl Drop + 'a {
    struct Guard<'a>(&'a Log, &'static str);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.add(self.1);
        }
    }
    Guard(log, what)
}

#[test]
fn r01_p11_a_region_is_not_entered_again_after_it_was_left() {
    let scope = CancelScope::new().named("again");
    hand(scope.run(async {})).ready().unwrap();
    let mut again = hand(scope.run(async {}));
    assert!(panic_text(|| again.poll()).contains("cannot run cancel scope `again`"));
    drop(again);
    assert!(scope.enter().is_err());
    let stack = ExitStack::new();
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    assert!(stack.try_defer(async {}).is_err());
}

#[test]
fn r16_p12_sessions_that_own_themselves_are_closed_in_any_order() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = async {
        let mut sessions = Vec::new();
        for name in ["A", "B", "C"] {
            let (stop, log) = (Gate::new(), log.clone());
            let wait = stop.wait();
            let started = group.start(move |ready| async move {
                let stack = ExitStack::new().named(name);
                let session = stack.run(async {
                    stack.defer(log.entry(format!("closed {name}")));
                    ready(());
                    wait.await;
                    Ok::<_, ()>(())
                });
                session.await.map_err(drop)
            });
            started.await.unwrap();
            sessions.push(stop);
        }
        for n in [0, 2, 1] {
            sessions[n].open();
            let before = group.len();
            while group.len() == before {
                yield_now().await;
            }
        }
        Ok(())
    };
    hand(task(group.run(body))).drive().unwrap();
    log.is(&["closed A", "closed C", "closed B"]);
}

#[test]
fn r15_p13_three_failing_exits_are_all_told_in_the_order_in_which_they_ran() {
    fn failing() -> ExitStack {
        let stack = ExitStack::new();
        for name in ["A", "B", "C"] {
            stack.defer(async move { Err::<(), _>(name) });
        }
        stack
    }
    fn texts<E>(failure: &Failure<E>) -> Vec<String> {
        failure
            .causes()
            .map(|cause| match cause {
                Cause::Exit(ExitFailure::Failed { error, .. }) => error.to_string(),
                Cause::Body(_) => "body".to_owned(),
                _ => "other".to_owned(),
            })
            .collect()
    }
    let told = hand(task(async {
        let closed = failing().close().await.unwrap_err();
        let stack = failing();
        let failed = stack.run(async { Err::<(), _>("the body's") }).await.unwrap_err();
        (texts(closed.failure().unwrap()), texts(&failed))
    }))
    .drive();
    assert_eq!(told.0, ["C", "B", "A"]);
    assert_eq!(told.1, ["body", "C", "B", "A"]);
}

#[test]
fn r15_p14_an_error_is_not_lost_when_its_clean_up_cancels_and_awaits() {
    let scope = CancelScope::new();
    let cancel = scope.handle();
    let stack = ExitStack::new();
    let log = Log::new();
    let ended = log.clone();
    let run = scope.run(stack.run(async {
        stack.defer(async move {
            cancel.cancel();
            yield_now().await;
            ended.add("cleaned up");
        });
        yield_now().await;
        Err::<(), _>("the real one")
    }));
    // An error that the body has returned is delivered (R6), and leaving is shielded (R14).
    let failure = hand(task(run)).drive().unwrap().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("the real one")));
    log.is(&["cleaned up"]);
}

#[test]
fn r15_p14_a_childs_error_is_not_lost_when_its_clean_up_cancels_the_group() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let spawner = group.handle();
    let body = async {
        let child = group.spawn(async {
            let stack = ExitStack::new();
            let failed = stack
                .run(async {
                    stack.defer(async move {
                        spawner.cancel();
                        yield_now().await;
                    });
                    Err::<(), _>("the real one")
                })
                .await;
            failed.map_err(|failure| match failure.into_cause() {
                Cause::Body(error) => error,
                _ => "another",
            })
        });
        assert!(matches!(child.join().await, Err(ChildError::Failed(_))));
        Ok(())
    };
    let failure = hand(task(group.run(body))).drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "the real one", .. }), "{failure:?}");
}

#[test]
fn r14_p15_every_exit_of_a_cancelled_body_passes_all_of_its_awaits() {
    let log = Log::new();
    let scope = CancelScope::new();
    let stack = ExitStack::new();
    let mut run = hand(scope.run(stack.run(async {
        for name in ["A", "B", "C"] {
            let log = log.clone();
            stack.defer(async move {
                log.add(format!("start {name}"));
                for _ in 0..3 {
                    yield_now().await;
                    moored::checkpoint().await;
                }
                log.add(format!("end {name}"));
            });
        }
        pending::<Result<(), ()>>().await
    })));
    run.pending();
    scope.cancel();
    assert!(run.drive().is_err());
    log.is(&["start C", "end C", "start B", "end B", "start A", "end A"]);
}
