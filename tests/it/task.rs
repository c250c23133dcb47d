use crate::support::{Gate, Log, Reports, block_on, hand, lose, panic_text, poll_once, yield_now};
use moored::{CancelScope, ExitStack, TaskGroup, task};
use std::collections::HashSet;
use std::future::pending;

#[test]
fn r01_a_task_is_current_while_it_is_polled_and_only_then() {
    let mut run = hand(
        task(async {
            let before = task::current().unwrap();
            yield_now().await;
            (before, task::current().unwrap())
        })
        .named("session github"),
    );
    run.pending();
    assert_eq!(task::current(), None);
    let (before, after) = run.ready();
    assert_eq!(task::current(), None);
    assert_eq!(before, after);
    assert_eq!(before.name(), Some("session github"));
    let text = before.to_string();
    assert!(text.starts_with("task ") && text.ends_with(" (session github)"), "{text}");
}

#[test]
fn r01_ids_differ_between_tasks_and_their_names_take_no_part() {
    let ids: HashSet<_> = (0..100)
        .map(|_| hand(task(async { task::current().unwrap() }).named("twin")).ready())
        .collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn r01_a_region_that_nothing_encloses_is_its_own_task() {
    let scope = CancelScope::new();
    let id = hand(scope.run(async { task::current() })).ready().unwrap();
    assert!(id.is_some());
    assert_eq!(id.as_ref().unwrap().name(), None);
    let stack = ExitStack::new();
    let other = hand(stack.run(async { Ok::<_, ()>((task::current(), stack.owner())) })).ready();
    let (current, owner) = other.unwrap();
    assert_eq!(current, owner);
    assert_ne!(current, id);
}

#[test]
fn r01_a_stack_is_entered_by_its_first_use_and_not_by_new() {
    let stack = hand(task(async { ExitStack::new() }).named("maker")).ready();
    assert_eq!(stack.owner(), None);
    hand(
        task(async {
            stack.defer(async {});
            assert_eq!(stack.owner(), task::current());
            stack.close().await.unwrap();
        })
        .named("user"),
    )
    .ready();
}

#[test]
fn r01_the_parent_is_the_region_of_the_first_use_then_its_nearest_live_ancestor() {
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let stack = ExitStack::new();
        let inner = CancelScope::new();
        inner.run(async { stack.defer(log.entry("exit")) }).await.unwrap();
        drop(stack);
        log.add("dropped");
        yield_now().await;
        log.add("on");
    }));
    run.drive().unwrap();
    log.is(&["dropped", "exit", "on"]);
}

#[test]
fn r01_a_region_between_the_first_use_and_the_drop_is_not_the_parent() {
    // The stack is entered outside and dropped inside: its exit goes to the region in which it was entered.
    let log = Log::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        let inner = CancelScope::new();
        inner
            .run(async {
                drop(stack);
                yield_now().await;
                log.add("inner ends");
            })
            .await
            .unwrap();
        log.add("outer goes on");
        yield_now().await;
    }));
    run.pending();
    log.is(&["exit"]);
    run.drive().unwrap();
    log.is(&["exit", "inner ends", "outer goes on"]);
}

#[test]
fn r05_the_current_task_is_restored_when_a_poll_unwinds() {
    let mut outer = hand(
        task(async {
            let mut inner = Box::pin(task(async {
                if task::current().is_some() {
                    panic!("inner");
                }
            }));
            let text = panic_text(|| {
                let waker = std::task::Waker::noop();
                inner.as_mut().poll(&mut std::task::Context::from_waker(waker))
            });
            assert_eq!(text, "inner");
            task::current().unwrap()
        })
        .named("outer"),
    );
    assert_eq!(outer.ready().name(), Some("outer"));
    assert_eq!(task::current(), None);
}

#[test]
fn r05_a_nested_block_on_restores_the_outer_task() {
    let names = hand(
        task(async {
            let inner = block_on(task(async {
                yield_now().await;
                task::current()
            }));
            let unnamed = block_on(async { task::current() });
            (inner.unwrap(), unnamed.unwrap(), task::current().unwrap())
        })
        .named("outer"),
    )
    .ready();
    assert_ne!(names.0, names.2);
    assert_eq!(names.1, names.2);
    assert_eq!(names.2.name(), Some("outer"));
}

#[test]
fn r05_the_task_is_current_while_its_future_is_dropped() {
    struct Tell(Log);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.add(task::current().unwrap().name().unwrap());
        }
    }
    let log = Log::new();
    let mut run = hand(
        task(async {
            let _tell = Tell(log.clone());
            pending::<()>().await;
        })
        .named("dropped"),
    );
    run.pending();
    drop(run);
    log.is(&["dropped"]);
}

#[test]
fn r05_a_task_may_move_between_threads_and_tasks_with_its_future() {
    let log = Log::new();
    let gate = Gate::new();
    let mut moves = Box::pin(
        task({
            let (log, gate) = (log.clone(), gate.clone());
            async move {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                gate.wait().await;
                stack.close().await.unwrap();
                task::current()
            }
        })
        .named("traveller"),
    );
    assert!(hand(task(async { poll_once(&mut moves).await.is_pending() })).ready());
    gate.open();
    let id = std::thread::spawn(move || hand(task(moves)).ready()).join().unwrap();
    assert_eq!(id.unwrap().name(), Some("traveller"));
    log.is(&["exit"]);
}

#[test]
fn r08_exits_abandoned_in_a_task_run_before_it_ends() {
    let log = Log::new();
    let gate = Gate::new();
    let mut run = hand(task(async {
        lose(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("first in"));
            stack.defer({
                let gate = gate.clone();
                async move { gate.wait().await }
            });
            stack.run(pending::<Result<(), ()>>()).await
        })
        .await;
        log.add("body ends");
        7
    }));
    run.pending();
    log.is(&["body ends"]);
    gate.open();
    assert!(run.wakes.count() > 0);
    assert_eq!(run.ready(), 7);
    log.is(&["body ends", "first in"]);
}

#[test]
fn r08_exits_of_a_dropped_task_go_to_the_region_in_which_it_was_first_polled() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut inner = Box::pin(task(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            stack.run(pending::<Result<(), ()>>()).await
        }));
        assert!(poll_once(&mut inner).await.is_pending());
        drop(inner);
        log.add("dropped");
    }));
    run.ready().unwrap();
    log.is(&["dropped", "exit"]);
}

#[test]
fn r01_every_child_of_a_group_is_a_task_of_its_own() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let ids = hand(group.run(async {
        let own = task::current().unwrap();
        let child = group.spawn(async { Ok(task::current().unwrap()) });
        let id = child.id();
        let seen = child.join().await.unwrap();
        assert_eq!(id, seen);
        Ok((own, seen))
    }))
    .drive()
    .unwrap();
    assert_ne!(ids.0, ids.1);
}

#[test]
fn r15_failures_of_adopted_exits_are_told_when_their_task_ends_and_not_when_it_is_dropped() {
    let reports = Reports::watch();
    let mut run = hand(
        task(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(async { Err::<(), _>("the pool is gone") });
                pending::<Result<(), ()>>().await
            };
            lose(stack.run(body)).await;
        })
        .named("kept-after-its-end"),
    );
    run.drive();
    assert_eq!(reports.of("the pool is gone").len(), 1);
    drop(run);
    assert_eq!(reports.of("the pool is gone").len(), 1);
}
