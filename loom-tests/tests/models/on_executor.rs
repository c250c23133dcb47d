//! The exits that an executor child abandons: they run on a task of the same executor, and the child's group waits for
//! them.

use crate::executors::Aborting;
use crate::support::{Count, abandons, lost, model, poll_once};
use loom::future::block_on;
use moored::{CancelScope, TaskGroup};
use std::future::pending;
use std::pin::pin;

/// The exits run on a task of their own while the group waits: exactly once, and before `run` returns.
#[test]
fn r08_exits_on_an_executor_against_run() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = Aborting::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        drop(group.spawn_on(&executor, abandons(ran.entry())));
        block_on(group.run(async { Ok(()) })).unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
        executor.join();
    });
}

/// A task of abandoned exits that the executor drops is reported lost, once. The group does not wait for it for ever,
/// and no exit runs a second time.
#[test]
fn r08_exits_whose_executor_drops_them_against_run() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = Aborting::all();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        drop(group.spawn_on(&executor, abandons(ran.entry())));
        block_on(group.run(async { Ok(()) })).unwrap();
        executor.join();
        // The group runs the exits if the executor dropped their task before it accepted it, because that is a
        // refusal.
        assert_eq!(ran.get() + lost::count(), 1);
    });
}

/// The task of abandoned exits goes on while the group is cancelled, because an exit is
/// shielded from that.
#[test]
fn r14_exits_on_an_executor_against_cancel() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = Aborting::default();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        drop(group.spawn_on(&executor, abandons(ran.entry())));
        group.cancel();
        let _ = block_on(group.run(pending::<Result<(), ()>>()));
        assert_eq!((ran.get(), lost::count()), (1, 0));
        executor.join();
    });
}

/// The group's `run` is dropped while its child's exits run on their task: the region around
/// waits for them.
#[test]
fn r16_exits_on_an_executor_against_drop_of_run() {
    model(|| {
        lost::reset();
        let ran = Count::new();
        let executor = Aborting::by_hand();
        let scope = CancelScope::new();
        block_on(scope.run(async {
            let group: TaskGroup<'static, ()> = TaskGroup::new();
            drop(group.spawn_on(&executor, abandons(ran.entry())));
            let mut run = pin!(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(run.as_mut()).is_pending());
            executor.abort();
        }))
        .unwrap();
        assert_eq!((ran.get(), lost::count()), (1, 0));
        executor.join();
    });
}

/// An exit fails on its task: the group that waits for it reports the failure, whenever it looks.
#[test]
fn r15_a_failure_on_an_executor_against_run() {
    model(|| {
        lost::reset();
        let executor = Aborting::by_hand();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        drop(group.spawn_on(&executor, abandons(async { Err("of an exit") })));
        executor.abort();
        let failure = block_on(group.run(async { Ok(()) })).unwrap_err();
        assert_eq!(failure.causes().count(), 1);
        executor.join();
    });
}
