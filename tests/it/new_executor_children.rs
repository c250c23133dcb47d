//! An executor child before and during its first poll: it has no node yet, and is a task inside its group all the same
//! (R2, R3, R6, R8, R11, R12, R16).

use crate::support::{Executor, Full, Log, hand, yield_now};
use moored::testing::MockClock;
use moored::{
    CancelHandle, CancelScope, ChildError, Clock, ExitStack, Misuse, ReasonKind, TaskGroup,
    TaskHandle, checkpoint, fail_after, task,
};
use std::future::pending;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

type Group<'env> = TaskGroup<'env, &'static str>;

#[test]
fn r03_an_executor_child_that_cancels_itself_in_its_first_poll_hears_it_at_once() {
    let executor = Executor::new();
    let own: Arc<OnceLock<TaskHandle<()>>> = Arc::default();
    let group = Group::new();
    let seen = Arc::clone(&own);
    let mut run = hand(group.run(async {
        let child = group.spawn_on(&executor, async move {
            assert!(!moored::is_cancelled());
            seen.get().unwrap().cancel();
            assert!(moored::is_cancelled());
            checkpoint().await;
            unreachable!("it is cancelled")
        });
        own.set(child).unwrap();
        Ok(())
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    assert!(own.get().unwrap().is_finished());
}

#[test]
fn r06_an_executor_child_in_its_first_poll_hears_that_its_group_is_cancelled() {
    let executor = Executor::new();
    let group = Group::new();
    let cancel = group.handle();
    let mut run = hand(group.run(async {
        let child = group.spawn_on(&executor, async move {
            cancel.cancel();
            assert!(moored::is_cancelled());
            pending::<()>().await;
            Ok(())
        });
        Ok(child.join().await)
    }));
    run.pending();
    executor.run();
    assert_eq!(executor.len(), 0, "it was dropped at its first await");
    assert!(matches!(run.drive().unwrap(), Err(ChildError::Cancelled(_))));
}

#[test]
fn r06_an_executor_child_in_its_first_poll_sees_what_is_cancelled_around_its_group() {
    let executor = Executor::new();
    let outer = CancelScope::new();
    let cancel: CancelHandle = outer.handle();
    let seen = Log::new();
    let mut run = hand(outer.run(async {
        let group = Group::new();
        let log = seen.clone();
        group.spawn_on(&executor, async move {
            log.add(format!("before: {}", moored::is_cancelled()));
            cancel.cancel();
            log.add(format!("after: {}", moored::is_cancelled()));
            Ok(())
        });
        group.run(pending::<Result<(), _>>()).await
    }));
    run.pending();
    executor.run();
    assert!(run.drive().is_err());
    seen.is(&["before: false", "after: true"]);
}

#[test]
fn r03_an_executor_child_that_is_cancelled_before_its_first_poll_runs_to_its_first_await() {
    let executor = Executor::new();
    let log = Log::new();
    let group = Group::new();
    let begun = log.entry("begun");
    let mut run = hand(group.run(async {
        let child = group.spawn_on(&executor, async move {
            begun.await;
            yield_now().await;
            unreachable!("it is cancelled")
        });
        child.cancel();
        Ok::<Result<(), ChildError>, _>(child.join().await)
    }));
    run.pending();
    executor.run();
    let Err(ChildError::Cancelled(reason)) = run.drive().unwrap() else { panic!("no reason") };
    assert_eq!(reason.kind(), ReasonKind::Requested);
    log.is(&["begun"]);
}

#[test]
fn r16_an_executor_child_that_became_pending_in_its_first_poll_ends_with_its_group() {
    let executor = Executor::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        drop(group.spawn_on(&executor, pending::<Result<(), _>>()));
        pending::<Result<(), _>>().await
    }));
    run.pending();
    executor.run();
    assert_eq!(executor.len(), 1);
    group.cancel();
    executor.run();
    assert_eq!(executor.len(), 0);
    assert!(run.drive().is_err());
}

#[test]
fn r02_an_executor_child_in_its_first_poll_is_not_the_owner_of_what_is_around_its_group() {
    let executor = Executor::new();
    let log = Log::new();
    let stack = Arc::new(ExitStack::new());
    let outer = Arc::clone(&stack);
    let mut run = hand(stack.run(async {
        let group = Group::new();
        let exit = log.entry("never");
        let child = group.spawn_on(&executor, async move {
            let rejected = outer.try_defer(exit).unwrap_err();
            assert!(matches!(rejected.error(), Misuse::WrongTask(_)), "{}", rejected.error());
            Ok(moored::task::current())
        });
        let id = child.id();
        let found = group.run(async { Ok(child.join().await) }).await.unwrap().unwrap();
        assert_eq!(found, Some(id));
        Ok::<(), ()>(())
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    log.is(&[]);
}

#[test]
fn r08_what_an_executor_child_abandons_in_its_first_poll_comes_to_it() {
    let executor = Executor::new();
    let log = Log::new();
    let group = Group::new();
    let exit = log.entry("exit");
    let ended = log.clone();
    let mut run = hand(group.run(async {
        drop(group.spawn_on(&executor, async move {
            let stack = ExitStack::new();
            stack.defer(exit);
            drop(stack);
            ended.add("the body has ended");
            Ok(())
        }));
        Ok(())
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    log.is(&["the body has ended", "exit"]);
}

/// Abandons an exit when it is dropped.
struct Leaves(Log);

impl Drop for Leaves {
    fn drop(&mut self) {
        let stack = ExitStack::new();
        stack.defer(self.0.entry("exit"));
    }
}

#[test]
fn r08_what_an_executor_child_that_was_never_polled_leaves_behind_runs_before_its_group_ends() {
    let executor = Executor::new();
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let leaves = [Leaves(log.clone()), Leaves(log.clone())];
        let joined = leaves.map(|leaves| {
            let child = async move {
                let _leaves = leaves;
                Ok(())
            };
            group.spawn_on(&executor, child)
        });
        let refused = Leaves(log.clone());
        drop(group.spawn_on(&Full, async move {
            let _leaves = refused;
            Ok(())
        }));
        Ok(joined.map(|child| child.id()))
    }));
    run.pending();
    executor.shut_down();
    run.drive().unwrap();
    log.is(&["exit", "exit", "exit"]);
}

#[test]
fn r11_an_executor_child_in_its_first_poll_sees_the_deadline_around_its_group() {
    let executor = Executor::new();
    let clock = MockClock::new();
    let due = clock.now() + Duration::from_secs(1);
    let found = Arc::new(Mutex::new(None));
    let put = Arc::clone(&found);
    let group = Group::new();
    let body = fail_after(Duration::from_secs(1), async {
        group
            .run(async {
                drop(group.spawn_on(&executor, async move {
                    *put.lock().unwrap() = moored::current_deadline();
                    Ok(())
                }));
                Ok(())
            })
            .await
    });
    let mut run = hand(task(body).clock(clock.clone()));
    run.pending();
    executor.run();
    run.drive().unwrap().unwrap();
    assert_eq!(*found.lock().unwrap(), Some(due));
}

/// Keeps the tasks that are pending. With `polls`, each task is polled once inside the call of
/// `spawn`.
struct Inline {
    polls: bool,
    kept: Arc<Mutex<Vec<moored::BoxTask>>>,
}

impl Inline {
    fn later(kept: &Arc<Mutex<Vec<moored::BoxTask>>>) -> Self {
        Inline { polls: false, kept: Arc::clone(kept) }
    }
}

impl moored::Spawn for Inline {
    fn spawn(&self, mut task: moored::BoxTask) -> Result<(), moored::Refused> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if !self.polls || task.as_mut().poll(&mut cx).is_pending() {
            self.kept.lock().unwrap().push(task);
        }
        Ok(())
    }
}

#[test]
fn r12_a_shield_in_the_first_poll_of_a_child_that_is_polled_inside_a_region_holds_that() {
    let outer = CancelScope::new();
    outer.cancel();
    let kept = Inline { polls: true, kept: Arc::default() };
    let group = Group::new();
    let mut run = hand(outer.run(std::future::poll_fn(|_| {
        drop(group.spawn_on(&kept, moored::shield(pending::<Result<(), _>>())));
        std::task::Poll::<()>::Pending
    })));
    assert!(run.poll().is_pending(), "a shield was polled inside in this very poll");
}

#[test]
fn r10_what_a_handle_asks_an_executor_child_in_its_first_poll_counts_before_what_its_group_is_told()
{
    let executor = Executor::new();
    let handle: Arc<Mutex<Option<TaskHandle<()>>>> = Arc::default();
    let group: Group<'static> = Group::new();
    let (cancel, seen) = (group.handle(), Arc::clone(&handle));
    let mut run = hand(group.run(async {
        let child = group.spawn_on(&executor, async move {
            let asks = move || {
                seen.lock().unwrap().as_ref().unwrap().cancel();
                cancel.cancel();
            };
            std::thread::spawn(asks).join().unwrap();
            assert!(moored::is_cancelled());
            pending::<Result<(), _>>().await
        });
        *handle.lock().unwrap() = Some(child);
        pending::<Result<(), _>>().await
    }));
    run.pending();
    executor.run();
    let _ = run.drive();
    let child = handle.lock().unwrap().take().unwrap();
    let Err(ChildError::Cancelled(reason)) = hand(child.join()).ready() else { panic!("it ended") };
    assert_eq!(reason.kind(), ReasonKind::Requested);
}

/// Polls a task when its thread is taken down, and keeps it if it is pending.
struct AtTheEnd(Option<moored::BoxTask>, Arc<Mutex<Option<moored::BoxTask>>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let Some(mut task) = self.0.take() else { return };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if task.as_mut().poll(&mut cx).is_pending() {
            *self.1.lock().unwrap() = Some(task);
        }
    }
}

#[test]
fn r18_an_executor_child_first_polled_while_its_thread_is_taken_down_is_in_its_group() {
    std::thread_local! {
        static KEPT: std::cell::RefCell<Option<AtTheEnd>> = const { std::cell::RefCell::new(None) };
    }
    let kept = Arc::default();
    let group = Group::new();
    let mut run = hand(group.run(async {
        drop(group.spawn_on(&Inline::later(&kept), async {
            moored::is_cancelled();
            pending::<Result<(), _>>().await
        }));
        pending::<Result<(), _>>().await
    }));
    run.pending();
    let task = kept.lock().unwrap().pop();
    let pending_again = Arc::default();
    let at_the_end = AtTheEnd(task, Arc::clone(&pending_again));
    let thread = std::thread::spawn(move || {
        // The thread drops its thread-locals in reverse order of their first use. The list of drafts is used before
        // ours, so it still exists when ours is dropped; thread-locals that only a region with a node uses are first
        // used after ours, so they are gone by then.
        hand(CancelScope::new().run(async {})).ready().unwrap();
        KEPT.with(|kept| *kept.borrow_mut() = Some(at_the_end));
        hand(CancelScope::new().run(pending::<()>())).pending();
    });
    thread.join().unwrap();
    let task: moored::BoxTask = pending_again.lock().unwrap().take().expect("it is pending");
    let mut task = hand(task);
    task.pending();
    let before = task.wakes.count();
    group.cancel();
    assert!(task.wakes.count() > before, "its group reaches it");
    task.ready();
    assert!(run.drive().is_err());
}
