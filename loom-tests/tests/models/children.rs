//! In-task children, which other threads wake and cancel; and further parts of a group: turns, results, starting.

use crate::executors::{Kept, Threads};
use crate::support::{Count, Gate, coarse_model, model, parked, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{ChildError, Outcome, TaskGroup, TaskHandle};
use std::future::pending;
use std::sync::Arc;

/// A child in the task that another thread wakes while the group polls its children is polled again.
#[test]
fn r16_wake_of_a_child_against_poll() {
    model(|| {
        let gates = [Gate::new(), Gate::new()];
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let openers = gates.each_ref().map(|gate| {
            let waits = gate.wait();
            drop(group.spawn(async move {
                waits.await;
                Ok(())
            }));
            let gate = Arc::clone(gate);
            thread::spawn(move || gate.open())
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        for opener in openers {
            opener.join().unwrap();
        }
    });
}

/// An in-task child that is pending for ever, and needs no node for that.
fn parked_child(group: &TaskGroup<'_, ()>, gone: &Count) -> TaskHandle<()> {
    let on_drop = gone.on_drop();
    group.spawn(async move {
        parked(on_drop).await;
        Ok(())
    })
}

/// An in-task child without a node is cancelled through its handle while it becomes pending, or is pending: it ends.
#[test]
fn r03_cancel_of_a_pending_child_by_its_handle_against_its_poll() {
    model(|| {
        let gone = Count::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = parked_child(&group, &gone);
        let canceller = thread::spawn(move || {
            child.cancel();
            child
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(gone.get(), 1);
        let child = canceller.join().unwrap();
        assert!(matches!(block_on(child.join()), Err(ChildError::Cancelled(_))));
    });
}

/// As above, by a handle that is dropped at once: the child becomes pending, finds that no handle is left that could
/// cancel it, and still has to notice the cancellation that came before.
#[test]
fn r03_cancel_of_a_pending_child_by_a_handle_that_goes_against_its_poll() {
    model(|| {
        let gone = Count::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = parked_child(&group, &gone);
        let canceller = thread::spawn(move || child.cancel());
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(gone.get(), 1);
        canceller.join().unwrap();
    });
}

/// In-task children without nodes are cancelled with their group while they become pending, or are pending.
#[test]
fn r16_cancel_of_a_group_against_the_polls_of_pending_children() {
    model(|| {
        let gone = Count::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        for _ in 0..2 {
            drop(parked_child(&group, &gone));
        }
        let handle = group.handle();
        let canceller = thread::spawn(move || handle.cancel());
        drop(block_on(group.run(async { Ok(()) })));
        assert_eq!(gone.get(), 2);
        canceller.join().unwrap();
    });
}

/// An executor child returns the first success while an in-task child without a node is pending or becomes pending:
/// the in-task child ends.
#[test]
fn r17_the_first_success_against_the_polls_of_a_pending_child() {
    model(|| {
        let gone = Count::new();
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new().first_success();
        drop(parked_child(&group, &gone));
        drop(group.spawn_on(&threads, async { Ok(()) }));
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(gone.get(), 1);
        threads.join();
    });
}

/// The last child leaves while the group is cancelled: the child ends in one of two ways, `run` returns after it, and a
/// cancellation that found nothing to drop leaves no trace.
#[test]
fn r16_cancel_against_the_last_child_leaving() {
    coarse_model(|| {
        let gone = Count::new();
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let handle = group.handle();
        let on_drop = gone.on_drop();
        let child = group.spawn_on(&threads, async move {
            let _on_drop = on_drop;
            Ok(7)
        });
        let canceller = thread::spawn(move || handle.cancel());
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(gone.get(), 1, "run returned before the child had left");
        match block_on(child.join()) {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(matches!(error, ChildError::Cancelled(_)), "{error:?}"),
        }
        canceller.join().unwrap();
        threads.join();
    });
}

/// A child is spawned through a spawner on one thread and leaves at once, while the group is cancelled: it is
/// linked and unlinked in between, and `run` returns.
#[test]
fn r16_cancel_against_linking_and_unlinking_a_child() {
    model(|| {
        let gone = Count::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let late = thread::spawn({
            let on_drop = gone.on_drop();
            move || {
                let kept = Kept::default();
                let child = async move {
                    parked(on_drop).await;
                    Ok(())
                };
                if spawner.spawn_on(&kept, child).is_ok() {
                    block_on(kept.task());
                }
            }
        });
        group.cancel();
        block_on(group.run(pending::<Result<(), ()>>())).unwrap_err();
        late.join().unwrap();
        assert_eq!(gone.get(), 1);
        assert!(group.is_empty());
    });
}

/// A child's handle is joined on another thread while the child is cancelled: the join ends.
#[test]
fn r03_cancel_of_a_child_against_join() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let child = group.spawn_on(&threads, pending::<Result<(), ()>>());
        child.cancel();
        let joiner = thread::spawn(move || block_on(child.join()));
        block_on(group.run(async { Ok(()) })).unwrap();
        assert!(matches!(joiner.join().unwrap(), Err(ChildError::Cancelled(_))));
        threads.join();
    });
}

/// Two children where one may run at a time: never two at once, and the one that waits is called. The group's `run` comes
/// after the second one: as a third thread beside the two it would only multiply the interleavings.
#[test]
fn r16_the_end_of_a_turn_against_waiting_for_one() {
    model(|| {
        let inside = Count::new();
        let (threads, kept) = (Threads::default(), Kept::default());
        let group: TaskGroup<'static, ()> = TaskGroup::new().limit(1);
        let child = || {
            let inside = inside.clone();
            async move {
                let before = inside.get();
                inside.add();
                yield_now().await;
                assert_eq!(inside.get(), before + 1, "two at once");
                Ok(())
            }
        };
        drop(group.spawn_on(&threads, child()));
        drop(group.spawn_on(&kept, child()));
        block_on(kept.task());
        assert_eq!(inside.get(), 2);
        block_on(group.run(async { Ok(()) })).unwrap();
        threads.join();
    });
}

/// A child that waits for its turn is cancelled while the turn is given to it: the group returns.
#[test]
fn r16_cancel_against_waiting_for_a_turn() {
    coarse_model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new().limit(1);
        drop(group.spawn_on(&threads, async { Ok(()) }));
        let waits = group.spawn_on(&threads, async {
            yield_now().await;
            Ok(())
        });
        waits.cancel();
        block_on(group.run(async { Ok(()) })).unwrap();
        assert!(matches!(block_on(waits.join()), Ok(()) | Err(ChildError::Cancelled(_))));
        threads.join();
    });
}

/// A reader of the results gets the outcome of a child that ends meanwhile, and then the end.
#[test]
fn r16_the_end_of_a_child_against_reading_results() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let mut results = group.results();
        let child = group.spawn_on(&threads, async { Ok(()) });
        let id = child.id();
        let read = async {
            let mut seen = Vec::new();
            while let Some(result) = next(&mut results).await {
                seen.push(result);
            }
            Ok(seen)
        };
        let seen = block_on(group.run(read)).unwrap();
        assert!(matches!(&seen[..], [(task, Outcome::Completed)] if *task == id), "{seen:?}");
        threads.join();
    });
}

/// A reader that begins while a child ends gets its outcome, or nothing, and then the end.
#[test]
fn r16_the_end_of_a_child_against_beginning_to_read_results() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        drop(group.spawn_on(&threads, async { Ok(()) }));
        let read = async {
            let mut results = group.results();
            let mut seen = 0;
            while next(&mut results).await.is_some() {
                seen += 1;
            }
            Ok(seen)
        };
        let seen = block_on(group.run(read)).unwrap();
        assert!(seen <= 1, "{seen}");
        threads.join();
    });
}

/// A reader that reads after the end, while a spawn is turned away, gets the end.
#[test]
fn r16_a_spawn_that_is_turned_away_against_reading_results() {
    model(|| {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let (mut results, spawner) = (group.results(), group.spawner());
        block_on(group.run(async { Ok(()) })).unwrap();
        let late = thread::spawn(move || drop(spawner.spawn(async { Ok(()) })));
        assert!(block_on(next(&mut results)).is_none());
        late.join().unwrap();
    });
}

/// Written by hand, because loom's flag reaches every crate of the graph.
async fn next(results: &mut moored::Results) -> Option<(moored::TaskId, Outcome)> {
    std::future::poll_fn(|cx| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut *results), cx)
    })
    .await
}

/// Two children return `Ok` at once where the first success ends the group: one value at least is delivered, and the
/// group returns without a failure. Its `run` begins when the second one has ended, and the first one may not have.
#[test]
fn r17_two_successes_against_each_other() {
    model(|| {
        let (threads, kept) = (Threads::default(), Kept::default());
        let group: TaskGroup<'static, ()> = TaskGroup::new().first_success();
        let children =
            [group.spawn_on(&threads, async { Ok(1) }), group.spawn_on(&kept, async { Ok(2) })];
        block_on(kept.task());
        block_on(group.run(async { Ok(()) })).unwrap();
        let values = children.map(|child| block_on(child.join()));
        assert!(values.iter().any(Result::is_ok), "{values:?}");
        threads.join();
    });
}

/// The writes of a thread before it wakes a child are visible to the poll that follows, even if another
/// thread has woken the child meanwhile.
#[test]
fn r16_what_came_before_a_wake_is_seen_by_the_next_poll() {
    use loom::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Mutex;
    use std::task::{Poll, Waker};
    model(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let (seen, keeps) = (Arc::clone(&flag), Arc::clone(&kept));
        drop(group.spawn(async move {
            std::future::poll_fn(move |cx| {
                if seen.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                keeps.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
                Poll::Pending
            })
            .await;
            Ok(())
        }));
        let mut run = std::pin::pin!(group.run(async { Ok(()) }));
        let first = std::future::poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        });
        block_on(first);
        let waker = kept.lock().unwrap().take().unwrap();
        *kept.lock().unwrap() = Some(waker.clone());
        // The child is woken already when the other thread wakes it.
        waker.wake_by_ref();
        let other = thread::spawn(move || {
            flag.store(true, Ordering::Relaxed);
            waker.wake();
        });
        block_on(run).unwrap();
        other.join().unwrap();
        drop(kept.lock().unwrap().take());
    });
}
