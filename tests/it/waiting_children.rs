//! In-task children that are pending, with and without a node: a request to them or to their group takes effect
//! meanwhile, and the first request decides the reason (R3, R6, R7, R8, R10, R12, R16).

use crate::support::{Executor, Log, hand, poll_once, yield_now};
use futures::FutureExt;
use moored::{CancelScope, ChildError, ExitStack, Reason, ReasonKind, TaskGroup, TaskHandle};
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};

type Group<'env> = TaskGroup<'env, &'static str>;

fn reason_of<T: std::fmt::Debug>(child: TaskHandle<T>) -> Reason {
    match child.join().now_or_never() {
        Some(Err(ChildError::Cancelled(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn for_ever() -> Result<(), &'static str> {
    pending::<()>().await;
    Ok(())
}

#[test]
fn r10_a_request_to_a_pending_child_comes_before_a_later_one_to_its_group() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut run = hand(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        Ok(())
    }));
    run.idle();
    let child = child.lock().unwrap().take().unwrap();
    child.cancel();
    group.cancel_because("the group, later");
    drop(run.drive());
    let reason = reason_of(child);
    assert_eq!((reason.kind(), reason.message()), (ReasonKind::Requested, None), "{reason}");
}

#[test]
fn r10_a_request_to_a_pending_child_comes_before_a_later_failure() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut run = hand(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        yield_now().await;
        child.lock().unwrap().as_ref().unwrap().cancel();
        Err::<(), _>("later")
    }));
    drop(run.drive());
    let reason = reason_of(child.lock().unwrap().take().unwrap());
    assert_eq!(reason.kind(), ReasonKind::Requested, "{reason}");
}

#[test]
fn r10_the_first_success_comes_before_a_later_request() {
    let child = Mutex::new(None);
    let executor = Executor::new();
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        group.spawn_on(&executor, async { Ok(()) });
        Ok(())
    }));
    run.idle();
    executor.run();
    group.cancel_because("the group, later");
    drop(run.drive());
    let reason = reason_of(child.lock().unwrap().take().unwrap());
    assert_eq!(reason.message(), Some("another child succeeded first"), "{reason}");
}

#[test]
fn r10_a_child_that_comes_after_both_hears_of_the_first_success_and_not_of_a_later_request() {
    let executor = Executor::new();
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        group.spawn_on(&executor, async { Ok(()) });
        executor.run();
        group.cancel_because("the group, later");
        Ok(group.spawn(for_ever()))
    }));
    let reason = reason_of(run.drive().unwrap());
    assert_eq!(reason.message(), Some("another child succeeded first"), "{reason}");
}

fn on_another_thread(f: impl FnOnce() + Send) {
    std::thread::scope(|threads| threads.spawn(f).join().unwrap());
}

#[test]
fn r06_a_child_in_a_later_poll_sees_what_its_handle_asks_from_another_thread() {
    let child: OnceLock<TaskHandle<bool>> = OnceLock::new();
    let seen = OnceLock::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let spawned = group.spawn(async {
            yield_now().await;
            on_another_thread(|| child.get().unwrap().cancel());
            seen.set(moored::is_cancelled()).unwrap();
            Ok(true)
        });
        child.set(spawned).unwrap();
        Ok(())
    }));
    run.drive().unwrap();
    assert!(seen.get().unwrap());
}

#[test]
fn r06_a_child_in_a_later_poll_sees_the_first_success_of_an_executor_child() {
    let executor = Executor::new();
    let seen = OnceLock::new();
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        group.spawn_on(&executor, async { Ok(()) });
        group.spawn(async {
            yield_now().await;
            on_another_thread(|| executor.run());
            seen.set(moored::is_cancelled()).unwrap();
            Ok(())
        });
        Ok(())
    }));
    run.drive().unwrap();
    assert!(seen.get().unwrap());
}

#[test]
fn r06_a_child_that_cancels_its_group_ends_in_the_last_poll_of_a_scope_around() {
    let scope = &CancelScope::new();
    let gone = Log::new();
    let mut run = hand(scope.run(async {
        let group = Group::new();
        drop(
            group
                .run(async {
                    let handle = group.handle();
                    group.spawn(async move {
                        yield_now().await;
                        scope.cancel();
                        handle.cancel();
                        for_ever().await
                    });
                    Ok(())
                })
                .await,
        );
        gone.add("completed");
    }));
    let ended = run.drive();
    assert!(ended.is_ok(), "{ended:?}");
}

/// Cancels a sibling when it is dropped.
struct Cancels(Arc<Mutex<Vec<TaskHandle<()>>>>);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.lock().unwrap().iter().for_each(TaskHandle::cancel);
    }
}

#[test]
fn r03_children_that_cancel_each_other_where_they_are_dropped() {
    let all = Arc::new(Mutex::new(Vec::new()));
    let group = Group::new();
    let mut run = hand(group.run(async {
        for _ in 0..4 {
            let cancels = Cancels(Arc::clone(&all));
            let child = group.spawn(async move {
                let _cancels = cancels;
                for_ever().await
            });
            all.lock().unwrap().push(child);
        }
        Ok(())
    }));
    run.idle();
    let last = all.lock().unwrap().pop().unwrap();
    last.cancel();
    run.drive().unwrap();
    assert!(last.is_finished());
    for child in std::mem::take(&mut *all.lock().unwrap()) {
        assert_eq!(reason_of(child).kind(), ReasonKind::Requested);
    }
}

#[test]
fn r08_a_child_cancelled_by_its_handle_and_dropped_before_it_is_polled_keeps_its_reason() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut run = hand(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        Ok(())
    }));
    run.idle();
    child.lock().unwrap().as_ref().unwrap().cancel();
    drop(run);
    let reason = reason_of(child.lock().unwrap().take().unwrap());
    assert_eq!(reason.kind(), ReasonKind::Requested, "{reason}");
}

#[test]
fn r12_a_child_enters_its_shield_in_the_poll_in_which_its_group_is_cancelled() {
    let log = Log::new();
    let go = crate::support::Gate::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let handle = group.handle();
        let (go, log) = (&go, &log);
        group.spawn(async move {
            yield_now().await;
            handle.cancel();
            moored::shield(async {
                go.wait().await;
                log.add("shielded");
            })
            .await;
            for_ever().await
        });
        for_ever().await
    }));
    run.idle();
    log.is(&[]);
    go.open();
    drop(run.drive());
    log.is(&["shielded"]);
}

#[test]
fn r07_a_group_that_was_only_lent_is_cancelled_later_all_the_same() {
    let scope = CancelScope::new();
    let log = Log::new();
    let group = Group::new();
    let mut outer = hand(moored::task(async {
        let mut run = Box::pin(group.run(async {
            group.spawn(async {
                for _ in 0..3 {
                    yield_now().await;
                }
                log.add("still there");
                for_ever().await
            });
            Ok(())
        }));
        let lent = scope.run(async {
            let _ = poll_once(&mut run).await;
            scope.cancel();
            (&mut run).await
        });
        lent.await.unwrap_err();
        assert!(poll_once(&mut run).await.is_pending());
        yield_now().await;
        assert!(poll_once(&mut run).await.is_pending());
        yield_now().await;
        assert!(poll_once(&mut run).await.is_pending());
        group.cancel();
        run.await
    }));
    outer.drive().unwrap();
    log.is(&["still there"]);
}

#[test]
fn r13_a_stop_and_then_a_request_to_pending_children() {
    let child = Mutex::new(None);
    let group = Group::new();
    let mut run = hand(group.run(async {
        *child.lock().unwrap() = Some(group.spawn(for_ever()));
        for_ever().await
    }));
    run.idle();
    group.stop();
    run.idle();
    group.cancel_because("enough");
    drop(run.drive());
    let reason = reason_of(child.lock().unwrap().take().unwrap());
    assert_eq!(reason.kind(), ReasonKind::Parent, "{reason}");
    assert_eq!(reason.message(), Some("enough"));
}

#[test]
fn r08_a_child_that_is_dropped_in_the_destruction_of_a_thread_local() {
    struct Holds(std::cell::RefCell<Option<std::pin::Pin<Box<dyn Future<Output = ()>>>>>);
    impl Drop for Holds {
        fn drop(&mut self) {
            if let Some(mut held) = self.0.borrow_mut().take() {
                let _ = held.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
    thread_local! {
        static HOLDS: Holds = const { Holds(std::cell::RefCell::new(None)) };
    }
    let log = Log::new();
    let gone = log.clone();
    std::thread::spawn(move || {
        HOLDS.with(|_| ());
        let go = crate::support::Gate::new();
        let wait = go.wait();
        let mut held: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            let group: Group<'static> = Group::new();
            let run = group.run(async {
                group.spawn(async move {
                    wait.await;
                    gone.add("polled");
                    let stack = ExitStack::new();
                    stack.defer(gone.entry("exit"));
                    drop(stack);
                    Ok(())
                });
                Ok(())
            });
            let _ = run.await;
        });
        assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        go.open();
        HOLDS.with(|holds| *holds.0.borrow_mut() = Some(held));
    })
    .join()
    .unwrap();
    assert_eq!(log.lines().first().map(String::as_str), Some("polled"));
}

#[test]
fn r16_a_child_that_becomes_pending_in_a_later_poll_spawns_into_its_own_group() {
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let (spawner, log) = (group.spawner(), &log);
        group.spawn(async move {
            yield_now().await;
            let other = spawner.spawn(async {
                yield_now().await;
                log.add("grandchild");
                Ok(3)
            });
            let other = other.map_err(|_| "closed")?;
            assert_eq!(other.join().await.unwrap(), 3);
            Ok(())
        });
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["grandchild"]);
}

#[test]
fn r02_a_child_in_a_later_poll_may_not_use_what_its_group_is_in() {
    let stack = ExitStack::new();
    let mut outer = hand(stack.run(async {
        let group = Group::new();
        let run = group.run(async {
            group.spawn(async {
                yield_now().await;
                let rejected = stack.try_defer(async {}).unwrap_err();
                assert!(rejected.error().to_string().contains("task"), "{}", rejected.error());
                Ok(())
            });
            Ok(())
        });
        run.await.map_err(|_| "failed")
    }));
    outer.drive().unwrap();
}

#[test]
fn r03_a_request_to_a_child_is_not_one_to_the_next_child_in_its_place() {
    let seen = OnceLock::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let first = group.spawn(for_ever());
        yield_now().await;
        first.cancel();
        let _ = first.join().await;
        let next = group.spawn(async {
            yield_now().await;
            seen.set(moored::is_cancelled()).unwrap();
            Ok(())
        });
        Ok(next.join().await.is_ok())
    }));
    assert!(run.drive().unwrap());
    assert!(!seen.get().unwrap());
}
