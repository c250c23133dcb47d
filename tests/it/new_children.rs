//! A child of a group before its first poll, in its first poll, and pending before it has a node: it is a task with an
//! identity, a parent and a handle all the same (R1, R3, R8, R13, R16).

use crate::support::{Log, hand, yield_now};
use futures::FutureExt;
use moored::{
    CancelHandle, CancelScope, Cause, ChildError, ExitStack, ReasonKind, TaskGroup, TaskHandle,
    checkpoint, task,
};
use std::future::pending;
use std::sync::{Arc, Mutex, OnceLock};

pub(super) type Group<'env> = TaskGroup<'env, &'static str>;

#[test]
fn r03_a_child_that_is_cancelled_before_its_first_poll_runs_to_its_first_await() {
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(task(group.run(async {
        let child = group.spawn(async {
            log.add("begun");
            pending::<()>().await;
            Ok(())
        });
        child.cancel();
        child.cancel();
        Ok((child.id(), child.join().await))
    })));
    let (_, joined) = run.drive().unwrap();
    let Err(ChildError::Cancelled(reason)) = joined else { panic!("{joined:?}") };
    assert_eq!(reason.kind(), ReasonKind::Requested);
    assert!(reason.task().is_some(), "{reason}");
    log.is(&["begun"]);
}

#[test]
fn r03_a_child_that_cancels_itself_in_its_first_poll_hears_it_at_once() {
    let own: OnceLock<TaskHandle<()>> = OnceLock::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            own.get().unwrap().cancel();
            assert!(moored::is_cancelled());
            checkpoint().await;
            unreachable!("it is cancelled")
        });
        own.set(child).unwrap();
        Ok(())
    }));
    run.drive().unwrap();
    drop(run);
    drop(group);
    assert!(own.get().unwrap().is_finished());
}

#[test]
fn r03_a_child_that_has_left_at_its_first_poll_is_not_cancelled_any_more() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async { Ok(7) });
        yield_now().await;
        assert!(child.is_finished());
        child.cancel();
        Ok(child.join().await)
    }));
    assert!(matches!(run.drive().unwrap(), Ok(7)));
}

#[test]
fn r01_what_a_child_enters_in_its_first_poll_is_inside_the_child() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            let own = moored::task::current();
            let scope = CancelScope::new();
            let inside = scope.run(async { moored::task::current() }).await.unwrap();
            assert_eq!(own, inside);
            Ok(own.unwrap())
        });
        assert_eq!(child.id(), child.join().await.unwrap());
        Ok(())
    }));
    run.drive().unwrap();
}

#[test]
fn r15_the_failure_of_a_child_at_its_first_poll_names_the_child() {
    let group = Group::new().keep_going();
    let mut run = hand(group.run(async {
        let failing = group.spawn(async { Err::<(), _>("broken") });
        let id = failing.id();
        assert!(matches!(failing.join().await, Err(ChildError::Failed(task)) if task == id));
        Ok(id)
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }), "{failure}");
}

/// Notes which task is current when it is dropped, and abandons an exit there.
pub(super) struct Leaves(pub(super) Log);

impl Drop for Leaves {
    fn drop(&mut self) {
        let current = moored::task::current();
        self.0.add(current.map_or("nobody's".to_owned(), |task| task.to_string()));
        let stack = ExitStack::new();
        stack.defer(self.0.entry("exit"));
    }
}

#[test]
fn r08_a_child_that_was_never_polled_is_dropped_in_its_own_region() {
    let log = Log::new();
    let around = ExitStack::new();
    let mut outer = hand(around.run(async {
        let group = Group::new();
        let leaves = Leaves(log.clone());
        let child = group.spawn(async move {
            let _leaves = leaves;
            Ok(())
        });
        let id = child.id().to_string();
        drop(group.run(async { Ok(()) }));
        drop(group);
        Ok::<_, &str>((id, child.join().await))
    }));
    let (id, joined) = outer.drive().unwrap();
    assert!(matches!(joined, Err(ChildError::Cancelled(_))), "{joined:?}");
    log.is(&[&id, "exit"]);
}

#[test]
fn r13_a_child_of_a_group_that_was_stopped_hears_it_in_its_first_poll() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.stop();
        let child = group.spawn(async {
            moored::stop_requested().await;
            Ok(())
        });
        Ok(child.join().await)
    }));
    assert!(matches!(run.drive().unwrap(), Ok(())));
}

#[test]
fn r17_a_child_of_a_group_that_has_its_success_is_cancelled_at_its_first_await() {
    let group = Group::new().first_success();
    let late = Mutex::new(None);
    let mut run = hand(group.run(async {
        group.spawn(async { Ok(()) });
        yield_now().await;
        *late.lock().unwrap() = Some(group.spawn(async {
            assert!(moored::is_cancelled());
            pending::<()>().await;
            Ok(())
        }));
        Ok(())
    }));
    run.drive().unwrap();
    let late = late.lock().unwrap().take().unwrap();
    assert!(matches!(hand(late.join()).drive(), Err(ChildError::Cancelled(_))));
}

#[test]
fn r06_a_child_around_which_something_is_cancelled_sees_it_in_its_first_poll() {
    let scope = CancelScope::new();
    let group = Group::new();
    let mut run = hand(scope.run(async {
        let handle = scope.handle();
        group
            .run(async {
                group.spawn(async move {
                    assert!(!moored::is_cancelled());
                    handle.cancel();
                    assert!(moored::is_cancelled());
                    Ok(())
                });
                Ok(())
            })
            .await
    }));
    run.drive().unwrap().unwrap();
}

#[test]
fn r03_a_child_that_another_thread_cancels_in_its_poll_ends_at_the_await_where_it_is() {
    for has_node in [false, true] {
        let own: OnceLock<TaskHandle<()>> = OnceLock::new();
        let log = Log::new();
        let group = Group::new();
        let mut run = hand(group.run(async {
            let child = group.spawn(async {
                let _gone = OnDrop(log.clone());
                // A wait for a cancellation makes the node of the region around it.
                let waits = has_node.then(|| Box::pin(moored::cancelled()));
                assert!(waits.is_none_or(|waits| waits.now_or_never().is_none()));
                std::thread::scope(|scope| {
                    scope.spawn(|| own.get().unwrap().cancel()).join().unwrap();
                });
                log.add("goes on");
                pending::<()>().await;
                Ok(())
            });
            own.set(child).unwrap();
            Ok(())
        }));
        run.drive().unwrap();
        log.is(&["goes on", "gone"]);
    }
}

type Step<'a> = &'a dyn Fn(&TaskHandle<()>);

/// The reasons of two unpolled children after the two steps have been taken. Only the second child is asked through its
/// handle.
fn reasons(group: &Group<'_>, steps: [Step<'_>; 2]) -> [ReasonKind; 2] {
    let mut run = hand(group.run(async {
        let children = [(); 2].map(|()| {
            group.spawn(async {
                pending::<()>().await;
                Ok(())
            })
        });
        steps.iter().for_each(|step| step(&children[1]));
        Ok(children)
    }));
    run.drive().unwrap().map(|child| {
        let Err(ChildError::Cancelled(reason)) = hand(child.join()).drive() else { panic!() };
        reason.kind()
    })
}

#[test]
fn r10_of_what_a_child_is_asked_before_its_first_poll_and_its_group_is_told_the_first_counts() {
    let (asked, told) = (ReasonKind::Requested, ReasonKind::Parent);
    let group = Group::new();
    let handle = group.handle();
    assert_eq!(reasons(&group, [&TaskHandle::cancel, &|_| handle.cancel()]), [told, asked]);
    let group = Group::new();
    let handle = group.handle();
    assert_eq!(reasons(&group, [&|_| handle.cancel(), &TaskHandle::cancel]), [told, told]);
}

/// The reason for which a child is cancelled that makes its node in its first poll, after another thread has
/// called `asks`.
fn reason_in_first_poll(asks: fn(&TaskHandle<()>, &CancelHandle)) -> ReasonKind {
    let child: Arc<Mutex<Option<TaskHandle<()>>>> = Arc::default();
    let group = Group::new();
    let (seen, told) = (Arc::clone(&child), group.handle());
    let mut run = hand(group.run(async {
        let spawned = group.spawn(async move {
            let elsewhere = std::thread::spawn(move || {
                let seen = seen.lock().unwrap();
                asks(seen.as_ref().unwrap(), &told);
            });
            elsewhere.join().unwrap();
            moored::cancelled().await;
            pending::<Result<(), _>>().await
        });
        *child.lock().unwrap() = Some(spawned);
        Ok(())
    }));
    drop(run.drive());
    let joined = hand(child.lock().unwrap().take().unwrap().join()).ready();
    let Err(ChildError::Cancelled(reason)) = joined else { panic!("{joined:?}") };
    reason.kind()
}

#[test]
fn r10_of_what_a_child_and_its_group_are_told_before_the_child_waits_the_first_counts() {
    let (asked, told) = (ReasonKind::Requested, ReasonKind::Parent);
    assert_eq!(reason_in_first_poll(|child, _| child.cancel()), asked);
    assert_eq!(reason_in_first_poll(|_, group| group.cancel()), told);
    let child_first = |child: &TaskHandle<()>, group: &CancelHandle| {
        child.cancel();
        group.cancel();
    };
    assert_eq!(reason_in_first_poll(child_first), asked);
    let group_first = |child: &TaskHandle<()>, group: &CancelHandle| {
        group.cancel();
        child.cancel();
    };
    assert_eq!(reason_in_first_poll(group_first), told);
}

pub(super) struct OnDrop(pub(super) Log);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add("gone");
    }
}
