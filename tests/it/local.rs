//! The flavour without `Send`: the same rules, on one thread.

use crate::support::{Gate, Reports, hand, yield_now};
use futures::future::{Either, select};
use moored::local::{ExitStack, TaskGroup};
use moored::testing::MockClock;
use moored::{CancelScope, Cause, ExitFailure, Leaving, task};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

type Log = Rc<RefCell<Vec<&'static str>>>;

fn entry(log: &Log, what: &'static str) -> impl Future<Output = ()> + 'static {
    let log = Rc::clone(log);
    async move { log.borrow_mut().push(what) }
}

#[test]
fn r14_local_exits_run_last_in_first_out() {
    let log = Log::default();
    let stack = ExitStack::new();
    let run = stack.run(async {
        stack.defer(entry(&log, "old"));
        stack.defer_with({
            let log = Rc::clone(&log);
            move |_| async move { log.borrow_mut().push("new") }
        });
        Ok::<_, ()>(())
    });
    hand(run).ready().unwrap();
    assert_eq!(*log.borrow(), ["new", "old"]);
}

#[test]
fn r08_local_exits_of_a_select_loser_run_in_the_enclosing_scope() {
    let log = Log::default();
    let gate = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let loser = async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(entry(&log, "oldest"));
                stack.defer({
                    let (log, gate) = (Rc::clone(&log), gate.clone());
                    async move {
                        log.borrow_mut().push("begins");
                        gate.wait().await;
                        log.borrow_mut().push("ends");
                    }
                });
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        };
        match select(pin!(loser), pin!(yield_now())).await {
            Either::Left(_) => unreachable!("it is pending for ever"),
            Either::Right(_) => {}
        }
    }));
    run.pending();
    run.pending();
    assert_eq!(*log.borrow(), ["begins"]);
    gate.open();
    run.ready().unwrap();
    assert_eq!(*log.borrow(), ["begins", "ends", "oldest"]);
}

#[test]
fn r15_a_local_exit_that_registers_another_one_runs_it_next() {
    let log = Log::default();
    let stack = Rc::new(ExitStack::new());
    stack.defer(entry(&log, "first in"));
    stack.defer({
        let (log, stack) = (Rc::clone(&log), Rc::downgrade(&stack));
        async move {
            log.borrow_mut().push("last in");
            if let Some(stack) = stack.upgrade() {
                stack.defer(entry(&log, "registered while unwinding"));
            }
        }
    });
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    assert_eq!(*log.borrow(), ["last in", "registered while unwinding", "first in"]);
}

#[test]
fn r14_a_local_hold_gives_the_value_back() {
    let seen = Rc::new(Cell::new(0));
    let stack = ExitStack::new();
    let mut held = stack.hold(Rc::new(1), {
        let seen = Rc::clone(&seen);
        move |value: Rc<i32>| async move { seen.set(*value) }
    });
    *held = Rc::new(7);
    drop(held);
    hand(stack.close()).ready().unwrap();
    assert_eq!(seen.get(), 7);
}

#[test]
fn r14_a_local_exit_with_a_value_knows_why_it_runs_also_if_the_value_comes_late() {
    for late in [false, true] {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let body = async {
            let stack = ExitStack::new();
            let held = stack.hold_with(Rc::new(1), {
                let seen = Rc::clone(&seen);
                move |value, why| async move { seen.borrow_mut().push((*value, why)) }
            });
            let kept = late.then_some(held);
            stack.run(async { Err::<(), _>("no") }).await.unwrap_err();
            assert_eq!(seen.borrow().len(), usize::from(!late));
            drop(kept);
        };
        hand(task(body)).drive();
        assert!(matches!(seen.borrow()[..], [(1, Leaving::Failed)]));
    }
}

#[test]
fn r08_a_local_value_that_comes_back_late_is_still_given_back() {
    let seen = Rc::new(Cell::new(0));
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let held = stack.hold(Rc::new(3), {
            let seen = Rc::clone(&seen);
            move |value: Rc<i32>| async move { seen.set(*value) }
        });
        let error = stack.close().await.unwrap_err();
        let cause = error.failure().unwrap().cause();
        assert!(matches!(cause, Cause::Exit(ExitFailure::StillHeld { .. })));
        drop(held);
        yield_now().await;
    }));
    run.drive().unwrap();
    assert_eq!(seen.get(), 3);
}

#[test]
fn r16_local_children_may_hold_what_is_not_send() {
    let count = Rc::new(Cell::new(0));
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let spawner = group.spawner();
    let mut run = hand(group.run(async {
        let port = group.start(|ready| async {
            yield_now().await;
            ready(Rc::new(80));
            Ok(())
        });
        let port = port.await.unwrap();
        for _ in 0..10 {
            let count = Rc::clone(&count);
            spawner
                .spawn(async move {
                    yield_now().await;
                    count.set(count.get() + 1);
                    Ok(())
                })
                .unwrap();
        }
        Ok(*port)
    }));
    assert_eq!(run.drive().unwrap(), 80);
    drop(run);
    assert_eq!(count.get(), 10);
    assert!(spawner.spawn(async { Ok(()) }).is_err());
}

#[test]
fn r08_local_exits_that_a_thread_leaves_behind_are_reported() {
    let reports = Reports::watch();
    std::thread::spawn(|| {
        let stack = ExitStack::new().named("left-on-a-thread");
        stack.defer(async {});
        drop(stack);
    })
    .join()
    .unwrap();
    assert_eq!(reports.of("left-on-a-thread").len(), 1);
}

#[test]
fn r08_a_local_exit_that_reaches_another_thread_fails_and_its_own_thread_reports_it_lost() {
    let reports = Reports::watch();
    let gate = Gate::new();
    let line = line!() + 6;
    let body = {
        let gate = gate.clone();
        async move {
            {
                let stack = ExitStack::new();
                stack.defer(pending::<()>());
            }
            gate.wait().await;
            Ok::<_, &str>(())
        }
    };
    let stack = moored::ExitStack::new();
    let mut run = hand(stack.run(body));
    std::thread::scope(|threads| threads.spawn(|| run.pending()).join().unwrap());
    let place = format!("local.rs:{line}:");
    let told = reports.of("local exit stacks of a thread that has ended");
    assert!(matches!(&told[..], [one] if one.contains(&place)), "{told:?}");
    gate.open();
    let failure = run.ready().unwrap_err();
    let text = failure.to_string();
    assert!(text.contains(&place) && text.contains("cannot run on another thread"), "{text}");
}

#[test]
fn r08_a_local_exit_that_its_thread_has_reported_lost_is_not_reported_where_it_fails() {
    let reports = Reports::watch();
    let gate = Gate::new();
    let body = async {
        {
            let stack = ExitStack::new();
            stack.defer(pending::<()>());
        }
        gate.wait().await;
    };
    // A scope returns no failures, so the exit's would be reported.
    let scope = CancelScope::new().named("local-exit-moved");
    let mut run = hand(scope.run(body));
    std::thread::scope(|threads| threads.spawn(|| run.pending()).join().unwrap());
    gate.open();
    run.ready().unwrap();
    assert!(reports.of("local-exit-moved").is_empty());
}

#[test]
fn r17_a_local_group_follows_its_policy() {
    let group: TaskGroup<'_, i32> = TaskGroup::new().named("local").keep_going().max_causes(1);
    let failure = hand(group.run(async {
        for number in 0..3 {
            group.spawn(async move { Err::<(), _>(number) });
        }
        Ok(())
    }))
    .drive()
    .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: 0, .. }));
    assert_eq!(failure.omitted(), 2);

    let group: TaskGroup<'_, i32> = TaskGroup::new().first_success();
    let mut first = None;
    hand(group.run(async {
        group.spawn(pending::<Result<(), i32>>());
        group.spawn(async { Err::<(), _>(1) });
        first = Some(group.spawn(async { Ok(Rc::new(7)) }));
        Ok(())
    }))
    .drive()
    .unwrap();
    assert_eq!(*hand(first.unwrap().join()).ready().unwrap(), 7);
}

#[test]
fn r16_a_local_group_with_a_limit_runs_no_more_at_once() {
    let (running, most) = (Cell::new(0), Cell::new(0));
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(2);
    assert!(group.is_empty());
    let results = group.results();
    let mut run = hand(group.run(async {
        for _ in 0..5 {
            group.spawn(async {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                yield_now().await;
                running.set(running.get() - 1);
                Ok(())
            });
        }
        assert_eq!(group.len(), 5);
        Ok(())
    }));
    run.drive().unwrap();
    assert_eq!(most.get(), 2);
    drop(run);
    let mut all = hand(futures::StreamExt::count(results));
    assert_eq!(all.ready(), 5);
}

#[test]
fn r03_a_local_group_is_asked_to_stop_and_cancelled_like_any_other() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().named("asked");
    let spawner = group.spawner().clone();
    let stopped = Cell::new(false);
    let mut run = hand(group.run(async {
        spawner
            .spawn(async {
                moored::stop_requested().await;
                stopped.set(true);
                pending::<Result<(), &str>>().await
            })
            .unwrap();
        pending::<Result<(), &str>>().await
    }));
    run.pending();
    group.stop();
    run.pending();
    assert!(stopped.get() && !group.is_cancelled());
    group.cancel();
    group.cancel_because("too late: the first reason wins");
    assert!(group.is_cancelled() && group.handle().is_cancelled());
    let failure = run.ready().unwrap_err();
    let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure}") };
    assert_eq!(reason.message(), None);
    drop(run);
    drop(group);
    let rejected = spawner.spawn(async { Ok(()) }).unwrap_err();
    assert!(rejected.to_string().starts_with("cannot spawn into task group at "), "{rejected}");
}

#[test]
fn r10_a_local_group_that_is_cancelled_with_a_message_tells_it() {
    let group: TaskGroup<'_, &str> = TaskGroup::default();
    group.cancel_because("enough");
    let failure = hand(group.run(pending::<Result<(), &str>>())).ready().unwrap_err();
    assert!(failure.to_string().starts_with("cancelled: enough (at "), "{failure}");
}

#[test]
fn r02_what_another_task_asks_of_a_local_region_is_handed_back() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let stack = ExitStack::default();
    let mut owner = hand(task(async {
        stack.defer(async {});
        group
            .run(async {
                task(async {
                    let rejected = group.try_spawn(async { Ok(()) }).unwrap_err();
                    assert!(rejected.to_string().contains(" may not spawn task group at "));
                    hand(rejected.into_inner()).ready().unwrap();
                    let (value, _) =
                        stack.try_hold(Rc::new(1), |_| async {}).unwrap_err().into_inner();
                    assert_eq!(*value, 1);
                    assert_eq!(stack.len(), 1);
                })
                .await;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(stack.owner(), moored::task::current());
    }));
    owner.drive();
    drop(owner);
    let mut foreign = hand(task(async {
        let rejected = stack.release().unwrap_err();
        assert!(rejected.to_string().contains(" may not release exit stack at "), "{rejected}");
        rejected.into_inner()
    }));
    assert_eq!(foreign.drive().len(), 1);
}

#[test]
fn r04_a_released_local_stack_that_is_dropped_goes_to_the_region_current_at_the_drop() {
    let log = Log::default();
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        stack.defer(entry(&log, "exit"));
        let released = stack.release().unwrap();
        task(async move { drop(released) }).await;
        log.borrow_mut().push("home");
    }));
    run.drive();
    assert_eq!(*log.borrow(), ["exit", "home"]);
}

#[test]
fn r04_a_local_stack_is_handed_over_to_another_task_of_its_thread() {
    let log = Log::default();
    let mut first = hand(task(async {
        let stack = ExitStack::new().named("handed over");
        stack.defer(entry(&log, "first"));
        stack.defer(entry(&log, "second"));
        let rest = stack.pop_all();
        assert!(stack.is_empty() && rest.len() == 2);
        stack.close().await.unwrap();
        rest.release().unwrap()
    }));
    let released = first.drive();
    assert!(log.borrow().is_empty());
    let mut second = hand(task(async {
        let stack = released.adopt();
        assert_eq!(stack.owner(), moored::task::current());
        stack.close().await.unwrap();
    }));
    second.drive();
    assert_eq!(*log.borrow(), ["second", "first"]);
}

#[test]
fn r14_a_local_exit_has_the_grace_of_its_stack() {
    let clock = MockClock::new();
    let second = std::time::Duration::from_secs(1);
    let body = async {
        let stack = ExitStack::new().grace(second);
        stack.defer(pending::<()>());
        stack.close().await.unwrap_err()
    };
    let error = moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    let cause = error.failure().unwrap().cause();
    assert!(matches!(cause, Cause::Exit(ExitFailure::TimedOut { grace, .. }) if *grace == second));
}

#[test]
fn r15_a_local_stack_keeps_so_many_causes_and_counts_the_others() {
    let stack = ExitStack::new().max_causes(1);
    stack.defer(async { Err("first") });
    stack.defer(async { Err("second") });
    let failure = hand(stack.run(async { Ok::<_, ()>(()) })).drive().unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 1));
}
