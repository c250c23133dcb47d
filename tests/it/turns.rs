//! Children that start, wait for their turn and end while their group is not polled. Each of these tests catches a
//! seeded bug that no other test noticed (R16, R17).

use crate::support::{Executor, Gate, Log, Wakes, boom, hand, panic_text, poll_once, yield_now};
use futures::StreamExt;
use moored::testing::live_regions;
use moored::{
    BoxTask, CancelScope, Cause, ChildError, ExitStack, Ready, ReasonKind, Refused, Spawn,
    TaskGroup, TaskHandle, local, shield, stop_requested,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

type Group<'env> = TaskGroup<'env, &'static str>;

impl Gate {
    /// A child that waits at the gate.
    fn wait_ok(&self) -> impl Future<Output = Result<(), &'static str>> + Send + 'static {
        let waits = self.wait();
        async {
            waits.await;
            Ok(())
        }
    }
}

#[test]
fn r16_the_last_executor_child_wakes_a_group_whose_results_were_asked_for() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let group = Group::new();
    let mut run = hand(group.run(async {
        drop(group.results());
        Ok(())
    }));
    for _ in 0..2 {
        group.spawn_on(&executor, gate.wait_ok());
    }
    executor.run();
    run.idle();
    let before = run.wakes.count();
    gate.open();
    executor.run();
    assert!(run.wakes.count() > before, "the last child has left, and nobody woke the group");
    run.ready().unwrap();
}

#[test]
fn r16_a_start_that_is_dropped_after_ready_cancels_nothing_though_nobody_took_the_value() {
    let (log, gate) = (Log::new(), Gate::new());
    let group = Group::new();
    let mut start = hand(group.start(|ready: Ready<'_, i32>| async {
        ready(7);
        gate.wait().await;
        log.add("served");
        Ok(())
    }));
    start.pending();
    let mut run = hand(group.run(async { Ok(()) }));
    run.idle();
    drop(start);
    run.idle();
    gate.open();
    run.drive().unwrap();
    log.is(&["served"]);
}

#[test]
fn r16_a_child_in_line_that_its_executor_drops_leaves_the_line() {
    let (log, gate) = (Log::new(), Gate::new());
    let [first, second, third] = [Executor::new(), Executor::new(), Executor::new()];
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    for (executor, name) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        let (log, gate) = (log.clone(), gate.clone());
        group.spawn_on(executor, async move {
            log.add(name);
            gate.wait().await;
            Ok(())
        });
        executor.run();
    }
    run.idle();
    second.shut_down();
    gate.open();
    first.run();
    third.run();
    log.is(&["first", "third"]);
    run.drive().unwrap();
}

/// Polls as a task that is woken through `wakes`.
fn poll_as<F: Future + ?Sized>(future: Pin<&mut F>, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
}

#[test]
fn r16_a_start_that_changes_tasks_is_woken_where_it_was_polled_last() {
    let (gate, wakes) = (Gate::new(), [Wakes::new(), Wakes::new()]);
    let group = Group::new();
    let mut start = Box::pin(group.start(|ready| async {
        gate.wait().await;
        ready(7);
        pending().await
    }));
    let mut run = hand(group.run(pending::<Result<(), _>>()));
    run.idle();
    for wakes in &wakes {
        assert!(poll_as(start.as_mut(), wakes).is_pending());
    }
    gate.open();
    run.idle();
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 1]);
    assert!(matches!(poll_as(start.as_mut(), &wakes[1]), Poll::Ready(Ok(7))));
}

/// Keeps one task.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Option<BoxTask>>>);

impl Spawn for Shelf {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        *self.0.lock().unwrap() = Some(task);
        Ok(())
    }
}

#[test]
fn r16_a_child_in_line_whose_executor_changes_its_waker_is_called_through_the_last_one() {
    let (shelf, gate, wakes) = (Shelf::default(), Gate::new(), [Wakes::new(), Wakes::new()]);
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    group.spawn(gate.wait_ok());
    run.idle();
    let child = group.spawn_on(&shelf, async { Ok(7) });
    let mut task = shelf.0.lock().unwrap().take().unwrap();
    for wakes in &wakes {
        assert!(poll_as(task.as_mut(), wakes).is_pending());
    }
    gate.open();
    run.idle();
    assert!(wakes[1].count() > 0, "its turn has come, and nobody polls it");
    assert!(poll_as(task.as_mut(), &wakes[1]).is_ready());
    run.ready().unwrap();
    assert_eq!(hand(child.join()).ready().unwrap(), 7);
}

#[test]
fn r16_a_child_that_is_cancelled_in_line_runs_at_once_and_is_not_counted() {
    let (log, holds) = (Log::new(), Gate::new());
    let [first, last] = [Gate::new(), Gate::new()];
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    group.spawn(first.wait_ok());
    let second = group.spawn(async {
        log.add("second");
        shield(holds.wait()).await;
        pending::<Result<(), _>>().await
    });
    group.spawn(async {
        log.add("third");
        last.wait_ok().await
    });
    run.idle();
    log.is(&[]);
    second.cancel();
    run.idle();
    log.is(&["second"]);
    first.open();
    run.idle();
    // The second child is still inside, beyond the limit.
    log.is(&["second", "third"]);
    last.open();
    holds.open();
    run.drive().unwrap();
}

#[test]
fn r17_every_reader_of_results_is_woken_when_a_child_ends() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let group = Group::new();
    let mut readers = [group.results(), group.results()]
        .map(|mut results| hand(async move { results.next().await.is_some() }));
    let mut run = hand(group.run(async { Ok(()) }));
    group.spawn_on(&executor, gate.wait_ok());
    executor.run();
    run.idle();
    for reader in &mut readers {
        reader.pending();
    }
    gate.open();
    executor.run();
    for reader in &mut readers {
        assert!(reader.wakes.count() > 0, "a reader sleeps on");
        assert!(reader.ready());
    }
    run.drive().unwrap();
}

#[test]
fn r19_the_handle_of_a_child_that_has_ended_keeps_no_region() {
    async fn waits() -> Result<u32, &'static str> {
        yield_now().await;
        Ok(7)
    }
    async fn waits_in_a_scope() -> Result<u32, &'static str> {
        CancelScope::new().run(waits()).await.unwrap()
    }
    let before = live_regions();
    let (executor, group) = (Executor::new(), Group::new());
    let children = [
        group.spawn(waits()),
        group.spawn(waits_in_a_scope()),
        group.spawn_named("named", waits()),
        group.spawn_on(&executor, waits()),
        group.spawn_named_on("named", &executor, waits_in_a_scope()),
    ];
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    drop(run);
    drop(group);
    assert!(children.iter().all(TaskHandle::is_finished));
    assert_eq!(live_regions(), before);
    for child in children {
        assert_eq!(hand(child.join()).ready().unwrap(), 7);
    }
}

#[test]
fn r16_a_spawner_whose_group_is_gone_says_where_it_was_made_and_where_it_was_used() {
    let is_told = |text: String, made_at: u32| {
        assert!(text.contains(&format!("turns.rs:{made_at}:")), "{text}");
        assert_eq!(text.matches("turns.rs:").count(), 2, "{text}");
        assert_eq!(text.matches(&format!("turns.rs:{made_at}:")).count(), 1, "{text}");
    };
    let group = Group::new();
    let (spawner, line) = (group.spawner(), line!());
    drop(group);
    is_told(spawner.spawn(async { Ok(()) }).unwrap_err().to_string(), line);
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let (spawner, line) = (group.spawner(), line!());
    drop(group);
    is_told(spawner.spawn(async { Ok(()) }).unwrap_err().to_string(), line);
}

#[test]
fn r16_the_children_of_a_local_group_that_is_never_run_are_cancelled_with_it() {
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let child = group.spawn(pending::<Result<(), ()>>());
    drop(group);
    let ended = hand(child.join()).ready().unwrap_err();
    let ChildError::Cancelled(reason) = ended else { panic!("{ended}") };
    assert_eq!(reason.kind(), ReasonKind::OwnerGone);
}

#[test]
fn r19_a_stream_of_results_that_is_read_to_its_end_keeps_no_waker() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let group = Group::new();
    group.spawn_on(&executor, gate.wait_ok());
    executor.run();
    let mut results = group.results();
    let mut reader = hand(async {
        assert!(results.next().await.is_some());
        assert!(results.next().await.is_none());
    });
    reader.pending();
    gate.open();
    executor.run();
    reader.ready();
    assert_eq!(Arc::strong_count(&reader.wakes), 1);
    drop(reader);
    drop(results);
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

// Statements in the docs about a group's policies.

#[test]
fn r17_a_child_that_panics_cancels_the_others_whatever_the_policy() {
    for group in [Group::new().keep_going(), Group::new().first_success()] {
        let mut sibling = None;
        let mut run = hand(group.run(async {
            sibling = Some(group.spawn(pending::<Result<(), _>>()));
            group.spawn(async {
                boom("a child's panic");
                Ok(())
            });
            pending::<Result<(), _>>().await
        }));
        assert_eq!(panic_text(|| run.drive()), "a child's panic");
        drop(run);
        let ended = hand(sibling.unwrap().join()).ready().unwrap_err();
        let ChildError::Cancelled(reason) = ended else { panic!("{ended}") };
        assert_eq!(reason.kind(), ReasonKind::SiblingFailed);
    }
}

#[test]
fn r17_an_error_of_the_body_cancels_the_children_that_wait_for_a_first_success() {
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        group.spawn(pending::<Result<(), _>>());
        Err::<(), _>("of the body")
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("of the body")), "{failure:?}");
}

#[test]
fn r15_an_error_of_the_body_is_told_though_children_had_filled_the_record_before_one_succeeded() {
    let group = Group::new().first_success().max_causes(1);
    let mut run = hand(group.run(async {
        for error in ["of a child", "of another one"] {
            group.spawn(async move { Err::<(), _>(error) }).join().await.unwrap_err();
        }
        group.spawn(async { Ok(()) }).join().await.unwrap();
        Err::<(), _>("of the body")
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("of the body")), "{failure:?}");
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 0));
}

#[test]
fn r15_where_none_succeeds_the_errors_over_the_cap_are_counted_the_bodys_too() {
    let group = Group::new().first_success().max_causes(1);
    let mut run = hand(group.run(async {
        for error in ["first", "second"] {
            group.spawn(async move { Err::<(), _>(error) }).join().await.unwrap_err();
        }
        Err::<(), _>("of the body")
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "first", .. }), "{failure:?}");
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 2));
}

#[test]
fn r10_executor_children_of_a_group_that_is_dropped_by_a_cancellation_are_told_of_that() {
    let executor = Executor::new();
    let scope = CancelScope::new();
    let group = Group::new();
    let child = group.spawn_on(&executor, pending::<Result<(), _>>());
    let mut run = hand(scope.run(async {
        let _ = group.run(pending::<Result<(), _>>()).await;
    }));
    run.pending();
    executor.run();
    scope.cancel_because("enough");
    let _ = run.poll();
    executor.run();
    run.drive().unwrap_err();
    let ended = hand(child.join()).ready().unwrap_err();
    let ChildError::Cancelled(reason) = ended else { panic!("{ended}") };
    assert_eq!((reason.kind(), reason.message()), (ReasonKind::Parent, Some("enough")));
}

#[test]
fn r16_a_join_that_changes_tasks_is_woken_where_it_was_polled_last() {
    let (executor, gate, wakes) = (Executor::new(), Gate::new(), [Wakes::new(), Wakes::new()]);
    let group = Group::new();
    let mut join = Box::pin(group.spawn_on(&executor, gate.wait_ok()).join());
    executor.run();
    for wakes in &wakes {
        assert!(poll_as(join.as_mut(), wakes).is_pending());
    }
    gate.open();
    executor.run();
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 1]);
    assert!(poll_as(join.as_mut(), &wakes[1]).is_ready());
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

#[test]
fn r16_a_spawn_into_a_group_whose_run_was_dropped_hands_the_future_back() {
    let group = Group::new();
    let spawner = group.spawner();
    let mut run = hand(group.run(pending::<Result<(), _>>()));
    run.pending();
    drop(run);
    let rejected = spawner.spawn(async { Ok(7) }).unwrap_err();
    assert_eq!(hand(rejected.into_inner()).ready(), Ok(7));
    let rejected = spawner.spawn_on(&Executor::new(), async { Ok(7) }).unwrap_err();
    assert_eq!(hand(rejected.into_inner()).ready(), Ok(7));
}

#[test]
fn r16_in_a_group_that_is_cancelled_every_child_in_line_runs_to_its_first_await() {
    let log = Log::new();
    let group = Group::new().limit(1);
    let mut run = hand(group.run(pending::<Result<(), _>>()));
    let children = ["first", "second", "third"].map(|name| {
        let log = &log;
        group.spawn(async move {
            log.add(name);
            pending::<()>().await;
            log.add("beyond it");
            Ok(())
        })
    });
    run.idle();
    log.is(&["first"]);
    group.cancel();
    run.drive().unwrap_err();
    log.is(&["first", "second", "third"]);
    drop(children);
}

#[test]
fn r13_a_region_in_an_exit_hears_of_its_own_stop_and_of_no_other() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let stack = ExitStack::new();
    let exit = {
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let inside = CancelScope::new();
            let mut told = Box::pin(inside.run(stop_requested()));
            assert!(poll_once(&mut told).await.is_pending());
            gate.wait().await;
            assert!(poll_once(&mut told).await.is_pending());
            inside.stop();
            told.await.unwrap();
            log.add("told");
        }
    };
    let mut run = hand(outer.run(stack.run(async {
        stack.defer(exit);
        Ok::<_, ()>(())
    })));
    run.idle();
    outer.stop();
    gate.open();
    run.drive().unwrap().unwrap();
    log.is(&["told"]);
}

/// A child that is started, fails at its first poll, and is not waited for; the group ends.
fn start_that_fails(group: &Group<'_>) -> moored::Start<(), &'static str> {
    group.start(|_: Ready<'_, ()>| async { Err("refused") })
}

#[test]
fn r15_an_error_that_a_dropped_start_has_not_taken_is_the_groups() {
    for polls in [false, true] {
        let group = Group::new();
        let mut run = hand(group.run(async {
            let sibling = group.spawn(pending::<Result<(), &'static str>>());
            let mut start = start_that_fails(&group);
            if polls {
                assert!(poll_once(&mut start).await.is_pending());
            }
            yield_now().await;
            drop(start);
            // The first failure cancels the siblings (R17).
            assert!(matches!(sibling.join().await, Err(ChildError::Cancelled(_))));
            pending::<Result<(), &'static str>>().await
        }));
        let failure = run.drive().unwrap_err();
        let Cause::Child { error, .. } = failure.cause() else { panic!("{failure:?}") };
        assert_eq!((*error, failure.rest().count()), ("refused", 0));
    }
}

#[test]
fn r15_an_error_that_a_start_has_told_of_is_not_the_groups_too() {
    let group = Group::new();
    let told = hand(group.run(async { Ok(start_that_fails(&group).await.is_err()) })).drive();
    assert!(told.unwrap());
}

#[test]
fn r15_an_error_that_a_start_holds_beyond_the_end_of_its_group_is_told_further_out() {
    let (outer, mut kept) = (ExitStack::new(), None);
    let mut run = hand(outer.run(async {
        let group = Group::new();
        let body = async {
            kept = Some(start_that_fails(&group));
            Ok(())
        };
        group.run(body).await.unwrap();
        // Still the caller's.
        drop(kept.take());
        Err::<(), _>("the body's")
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("the body's")), "{failure:#}");
    let rest: Vec<_> = failure.rest().map(|cause| cause.to_string()).collect();
    assert_eq!(rest.len(), 1, "{failure:#}");
    assert!(rest[0].contains("turns.rs"), "where it was started: {failure:#}");
}

#[test]
fn r15_an_error_that_a_start_holds_beyond_the_end_of_its_group_can_still_be_taken() {
    let (group, mut kept) = (Group::new(), None);
    hand(group.run(async {
        kept = Some(start_that_fails(&group));
        Ok(())
    }))
    .drive()
    .unwrap();
    let failure = hand(kept.take().unwrap()).ready().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "refused", .. }));
}

#[test]
fn r15_an_error_that_a_dropped_start_of_a_dropped_group_has_not_taken_is_told_further_out() {
    let outer = ExitStack::new();
    let mut run = hand(outer.run(async {
        let group = Group::new();
        let start;
        {
            let mut run = Box::pin(group.run(pending::<Result<(), &'static str>>()));
            start = start_that_fails(&group);
            assert!(poll_once(&mut run).await.is_pending());
        }
        drop(start);
        Ok::<_, &'static str>(())
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Exit(_)), "{failure:#}");
}

#[test]
fn r15_an_error_that_a_dropped_start_of_a_local_group_has_not_taken_is_the_groups() {
    let group: local::TaskGroup<'_, &'static str> = local::TaskGroup::new();
    let mut run = hand(group.run(async {
        let start = group.start(|_: moored::LocalReady<'_, ()>| async { Err("refused") });
        yield_now().await;
        drop(start);
        Ok(())
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "refused", .. }), "{failure:?}");
}

#[test]
fn r16_children_in_line_are_called_when_their_group_lets_more_of_them_run() {
    let (executor, gate, log) = (Executor::new(), Gate::new(), Log::new());
    let group = Group::new().limit(1);
    for name in ["first", "second", "third"] {
        let (gate, log) = (gate.clone(), log.clone());
        group.spawn_on(&executor, async move {
            log.add(name);
            gate.wait().await;
            Ok(())
        });
    }
    executor.run();
    log.is(&["first"]);
    let group = group.limit(2);
    executor.run();
    log.is(&["first", "second"]);
    gate.open();
    executor.run();
    log.is(&["first", "second", "third"]);
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

#[test]
fn r19_a_child_in_line_is_woken_by_no_other_that_gives_its_place_up() {
    let (shelf, executor, wakes) = (Shelf::default(), Executor::new(), Wakes::new());
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    group.spawn(pending::<Result<(), _>>());
    run.idle();
    group.spawn_on(&shelf, async { Ok(()) });
    let mut second = shelf.0.lock().unwrap().take().unwrap();
    assert!(poll_as(second.as_mut(), &wakes).is_pending());
    group.spawn_on(&executor, async { Ok(()) });
    executor.run();
    executor.shut_down();
    assert_eq!(wakes.count(), 0, "the first one has its turn");
}

#[test]
fn r16_a_child_of_a_spawner_is_cancelled_with_the_group_whose_run_was_leaked() {
    let group = Group::new();
    let spawner = group.spawner();
    let mut run = hand(group.run(pending::<Result<(), &'static str>>()));
    run.pending();
    std::mem::forget(run);
    let child = spawner.spawn(async { Ok(7) }).unwrap();
    drop(group);
    assert!(matches!(hand(child.join()).ready(), Err(ChildError::Cancelled(_))));
}

#[test]
fn r16_children_of_a_group_and_of_its_spawner_are_polled_in_the_order_in_which_they_came() {
    let log = Log::new();
    let group = Group::new();
    let child = |name: &'static str| {
        let entry = log.entry(name);
        async move {
            entry.await;
            Ok(())
        }
    };
    group.spawn(child("first"));
    let spawner = group.spawner();
    drop(spawner.spawn(child("second")).unwrap());
    group.spawn(child("third"));
    hand(group.run(async { Ok(()) })).drive().unwrap();
    log.is(&["first", "second", "third"]);
}

#[test]
fn r19_after_a_request_a_group_polls_those_children_only_that_are_woken() {
    let (gate, polls) = (Gate::new(), Log::new());
    let group = Group::new();
    for _ in 0..3 {
        let polls = polls.clone();
        group.spawn(shield(std::future::poll_fn(move |_| {
            polls.add("poll");
            Poll::<Result<(), &'static str>>::Pending
        })));
    }
    group.spawn(shield(gate.wait_ok()));
    let mut run = hand(group.run(async { Ok(()) }));
    run.idle();
    group.cancel();
    run.idle();
    let before = polls.lines().len();
    assert!(before > 3, "no child was polled for the request");
    gate.open();
    run.idle();
    assert_eq!(polls.lines().len(), before);
}

#[test]
fn r06_a_group_that_another_waker_polls_is_woken_through_that_one() {
    let (gate, wakes) = (Gate::new(), [Wakes::new(), Wakes::new()]);
    let group = Group::new();
    group.spawn(gate.wait_ok());
    let mut run = Box::pin(group.run(async { Ok(()) }));
    for wakes in &wakes {
        assert!(poll_as(run.as_mut(), wakes).is_pending());
    }
    gate.open();
    assert!(wakes[1].count() > 0, "its child is woken, and nobody polls it");
    assert!(poll_as(run.as_mut(), &wakes[1]).is_ready());
}
