//! Children against the group that waits for them.

use crate::executors::{Kept, ShuttingDown, Threads};
use crate::support::{
    Count, CountOnDrop, abandons, coarse_model, lost, model, parked, poll_once, yield_now,
};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, Cause, ChildError, TaskGroup};
use std::future::pending;
use std::pin::pin;

/// A spawn from another thread while the group closes: the child runs before `run` returns, or its future comes back
/// unpolled.
#[test]
fn r16_spawn_against_close() {
    model(|| {
        let ran = Count::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let late = thread::spawn({
            let ran = ran.clone();
            move || {
                let child = async move {
                    ran.add();
                    Ok(())
                };
                match spawner.spawn(child) {
                    Ok(_) => true,
                    Err(rejected) => {
                        drop(rejected.into_inner());
                        false
                    }
                }
            }
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        let ran_by_then = ran.get();
        let admitted = late.join().unwrap();
        assert_eq!(ran.get(), ran_by_then, "a child outlived its group");
        assert_eq!(ran.get(), usize::from(admitted));
        assert!(group.is_empty());
    });
}

/// The same for an executor child.
#[test]
fn r16_spawn_on_an_executor_against_close() {
    model(|| {
        let ran = Count::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let late = thread::spawn({
            let ran = ran.clone();
            move || {
                let child = async move {
                    ran.add();
                    Ok(())
                };
                let threads = Threads::default();
                let admitted = spawner.spawn_on(&threads, child).is_ok();
                threads.join();
                admitted
            }
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        let ran_by_then = ran.get();
        let admitted = late.join().unwrap();
        assert_eq!(ran.get(), ran_by_then, "a child outlived its group");
        assert_eq!(ran.get(), usize::from(admitted));
    });
}

/// A spawn from another thread while `run` is dropped: the child is dropped then, or its future comes back; it is not
/// kept for as long as the group happens to live.
#[test]
fn r16_spawn_against_drop_of_run() {
    model(|| {
        let dropped = Count::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let late = thread::spawn({
            let on_drop = dropped.on_drop();
            move || {
                let child = async move {
                    parked(on_drop).await;
                    Ok(())
                };
                drop(spawner.spawn(child));
            }
        });
        {
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(run.as_mut()).is_pending());
        }
        late.join().unwrap();
        assert_eq!(dropped.get(), 1);
        assert!(group.is_empty());
    });
}

/// The last child ends on its executor while the group begins to wait for it: `run` returns, after the child, with its
/// value in the handle.
#[test]
fn r16_end_of_a_child_against_run() {
    model(|| {
        let gone = Count::new();
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let on_drop: CountOnDrop = gone.on_drop();
        let child = group.spawn_on(&threads, async move {
            let _on_drop = on_drop;
            Ok(7)
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!(gone.get(), 1, "run returned before the child had left");
        assert!(child.is_finished());
        assert_eq!(block_on(child.join()).unwrap(), 7);
        threads.join();
    });
}

/// A join of a child that ends meanwhile gets its value.
#[test]
fn r16_end_of_a_child_against_join() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let child = group.spawn_on(&threads, async { Ok(7) });
        let value = block_on(group.run(async { Ok(child.join().await.unwrap()) })).unwrap();
        assert_eq!(value, 7);
        threads.join();
    });
}

/// Two children fail at once: one of them is the primary, the other is not lost, and the body is cancelled. The group's
/// `run` begins when the second one has ended, and the first one may not have.
#[test]
fn r17_two_failures_against_each_other() {
    model(|| {
        let (threads, kept) = (Threads::default(), Kept::default());
        let group: TaskGroup<'static, u8> = TaskGroup::new();
        drop(group.spawn_on(&threads, async { Err::<(), u8>(1) }));
        drop(group.spawn_on(&kept, async { Err::<(), u8>(2) }));
        block_on(kept.task());
        let failure = block_on(group.run(pending::<Result<(), u8>>())).unwrap_err();
        let mut errors: Vec<u8> = failure
            .causes()
            .map(|cause| match cause {
                Cause::Child { error, .. } => *error,
                other => panic!("{other:?}"),
            })
            .collect();
        errors.sort_unstable();
        assert_eq!(errors, [1, 2]);
        threads.join();
    });
}

/// A child that is cancelled through its handle while it yields ends once, and its group returns.
#[test]
fn r03_cancel_of_a_child_against_its_end() {
    model(|| {
        let threads = Threads::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let child = group.spawn_on(&threads, async {
            yield_now().await;
            Ok(7)
        });
        child.cancel();
        block_on(group.run(async { Ok(()) })).unwrap();
        match block_on(child.join()) {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(matches!(error, ChildError::Cancelled(_)), "{error:?}"),
        }
        threads.join();
    });
}

/// A group's cancellation reaches a child that is being spawned on another thread.
#[test]
fn r16_cancel_of_the_group_against_spawn() {
    model(|| {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let handle = group.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let kept = Kept::default();
        // Pending for ever: only the cancellation ends it.
        let child = group.spawn_on(&kept, pending::<Result<(), ()>>());
        canceller.join().unwrap();
        block_on(kept.task());
        assert!(matches!(block_on(child.join()), Err(ChildError::Cancelled(_))));
        block_on(group.run(pending::<Result<(), ()>>())).unwrap_err();
    });
}

/// `run` is dropped while its executor child, which was pending, ends: the region around it is left after the child.
#[test]
fn r16_end_of_a_child_against_drop_of_run() {
    model(|| {
        lost::reset();
        let gone = Count::new();
        let (threads, kept) = (Threads::default(), Kept::default());
        let scope = CancelScope::new();
        block_on(scope.run(async {
            let group: TaskGroup<'static, ()> = TaskGroup::new();
            let on_drop = gone.on_drop();
            drop(group.spawn_on(&kept, async move {
                parked(on_drop).await;
                Ok(())
            }));
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(run.as_mut()).is_pending());
            kept.goes_on(&threads);
        }))
        .unwrap();
        assert_eq!((gone.get(), lost::count()), (1, 0));
        threads.join();
    });
}

/// An executor that shuts down drops a child on its own thread while the group waits: the child's exits run exactly
/// once, before `run` returns.
#[test]
fn r08_exits_of_a_dropped_child_against_run() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = ShuttingDown::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        block_on(group.run(async {
            drop(group.spawn_on(&executor, abandons(ran.entry())));
            Ok(())
        }))
        .unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
        executor.join();
    });
}

/// The same for a child that was spawned before the group is entered.
#[test]
fn r08_exits_of_a_dropped_child_against_entering() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = ShuttingDown::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let child = group.spawn_on(&executor, abandons(ran.entry()));
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
        assert!(matches!(block_on(child.join()), Err(ChildError::Cancelled(_))));
        executor.join();
    });
}

/// `run` is dropped while its executor child ends, and a spawn comes too late: the wait for the last child, which has
/// moved outwards, does not count the spawn that was turned away.
#[test]
fn r16_a_spawn_that_is_turned_away_against_the_end_of_the_last_child() {
    coarse_model(|| {
        lost::reset();
        let gone = Count::new();
        let (threads, kept) = (Threads::default(), Kept::default());
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let scope = CancelScope::new();
        let mut late = None;
        block_on(scope.run(async {
            let on_drop = gone.on_drop();
            drop(group.spawn_on(&kept, async move {
                parked(on_drop).await;
                Ok(())
            }));
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(run.as_mut()).is_pending());
            kept.goes_on(&threads);
            late = Some(thread::spawn(move || drop(spawner.spawn(async { Ok(()) }))));
        }))
        .unwrap();
        assert_eq!((gone.get(), lost::count()), (1, 0));
        late.unwrap().join().unwrap();
        threads.join();
    });
}

/// A guard from another thread while the group closes: `run` returns after the guard is gone, or no guard is made.
#[test]
fn r16_a_guard_against_close() {
    model(|| {
        let worked = Count::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let late = thread::spawn({
            let worked = worked.clone();
            move || {
                let guard = spawner.guard();
                if guard.is_ok() {
                    worked.add();
                }
                guard.is_ok()
            }
        });
        block_on(group.run(async { Ok(()) })).unwrap();
        let worked_by_then = worked.get();
        let admitted = late.join().unwrap();
        assert_eq!(worked.get(), worked_by_then, "guarded work outlived its group");
        assert_eq!(worked.get(), usize::from(admitted));
    });
}

/// The last guard against the last child: the group is woken whichever leaves last.
#[test]
fn r16_a_guard_and_a_child_leave_against_close() {
    model(|| {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let guard = group.spawner().guard().unwrap();
        let threads = Threads::default();
        group.spawn_on(&threads, async { Ok(()) });
        let leaving = thread::spawn(move || drop(guard));
        block_on(group.run(async { Ok(()) })).unwrap();
        leaving.join().unwrap();
        threads.join();
        assert!(group.is_empty());
    });
}
