//! The flavour without `Send`: the same rules, on one thread.

use crate::support::{Gate, Reports, hand, yield_now};
use futures::future::{Either, select};
use moored::local::{ExitStack, TaskGroup};
use moored::{CancelScope, Cause, ExitFailure};
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
