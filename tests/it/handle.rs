//! Waits and guards through a handle, from outside the region (R3, R13).

use crate::support::{Log, block_on, hand, panic_text};
use moored::{CancelScope, ExitStack, GroupSpawner, ReasonKind, Rejected, TaskGroup, task};
use std::convert::Infallible;
use std::future::pending;

#[test]
fn r13_a_stop_is_awaited_from_another_task() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut server = hand(task(async move { handle.stop_requested().await }));
    server.pending();
    let mut run = hand(scope.run(async {
        moored::stop_requested().await;
        "drained"
    }));
    run.pending();
    scope.stop();
    assert_eq!(server.wakes.count(), 1);
    server.ready();
    assert_eq!(run.drive().unwrap(), "drained");
}

#[test]
fn r13_a_stop_of_what_is_around_counts_and_a_cancellation_does_not() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(outer.run(inner.run(pending::<()>())));
    run.pending();
    let mut waits = hand(inner.handle().stop_requested());
    waits.pending();
    inner.cancel();
    waits.pending();
    outer.stop();
    waits.ready();
    // A wait that is made after the request is ready at once.
    hand(inner.handle().stop_requested()).ready();
}

#[test]
fn r03_a_guard_cancels_when_it_is_dropped_and_tells_where_it_was_made() {
    let scope = CancelScope::new();
    let guard = scope.handle().drop_guard();
    let line = line!() - 1;
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().location().unwrap().line(), line);
}

#[test]
fn r03_a_guard_that_is_disarmed_gives_the_handle_back() {
    let group: TaskGroup<'_, Infallible> = TaskGroup::new();
    let handle = group.handle().drop_guard().disarm();
    assert!(!group.is_cancelled());
    handle.cancel();
    assert!(group.is_cancelled());
}

#[test]
fn r18_a_guard_that_is_dropped_while_unwinding_cancels() {
    let scope = CancelScope::new();
    let guard = scope.handle().drop_guard();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    let text = panic_text(move || {
        let _guard = guard;
        panic!("the holder fell");
    });
    assert_eq!(text, "the holder fell");
    run.ready().unwrap_err();
}

#[test]
fn r08_what_a_dropped_task_leaves_behind_runs_in_a_group() {
    let log = Log::new();
    let group: TaskGroup<'static, Infallible> = TaskGroup::new();
    let spawner: GroupSpawner<'static, Infallible> = group.spawner();
    let mut lost = hand({
        let log = log.clone();
        task(async move {
            let stack = ExitStack::new();
            let body = async {
                let log = log.clone();
                stack.defer(async move {
                    moored::checkpoint().await;
                    log.add("left");
                });
                pending::<Result<(), Infallible>>().await
            };
            stack.run(body).await.unwrap();
        })
        .on_abandon(spawner)
    });
    lost.pending();
    let mut run = hand(group.run(async {
        moored::checkpoint().await;
        Ok(())
    }));
    run.pending();
    drop(lost);
    run.drive().unwrap();
    log.is(&["left"]);
}

#[test]
fn r16_a_group_that_has_closed_hands_a_task_back() {
    let group: TaskGroup<'static, Infallible> = TaskGroup::new();
    let spawner = group.spawner();
    block_on(group.run(async { Ok(()) })).unwrap();
    let refused = moored::Spawn::spawn(&spawner, Box::pin(async {})).unwrap_err();
    block_on(refused.0);
}

#[test]
fn r02_a_rejection_is_an_error_without_what_was_passed_in() {
    fn spawn(
        spawner: &GroupSpawner<'static, Infallible>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Not `Sync`, as most futures of real clients are not.
        let child = async {
            let cell = std::cell::Cell::new(1);
            moored::checkpoint().await;
            cell.set(2);
            Ok(())
        };
        spawner.spawn(child).map_err(Rejected::into_error)?;
        Ok(())
    }
    let group: TaskGroup<'static, Infallible> = TaskGroup::new();
    let spawner = group.spawner();
    spawn(&spawner).unwrap();
    block_on(group.run(async { Ok(()) })).unwrap();
    let error = spawn(&spawner).unwrap_err();
    assert!(error.downcast_ref::<moored::Misuse>().is_some(), "{error}");

    let (misuse, future) = spawner.spawn(async { Ok(()) }).unwrap_err().into_parts();
    assert!(misuse.to_string().starts_with("cannot spawn into task group"), "{misuse}");
    block_on(future).unwrap();
}

#[test]
fn r10_a_request_to_the_region_itself_counts_before_one_around_it_and_stays() {
    hand(task(async {
        let outer = CancelScope::new();
        outer.cancel_because("around");
        let entered = outer.run(async {
            let entered = CancelScope::new().enter().unwrap();
            let handle = entered.handle();
            let around = handle.reason().unwrap();
            assert_eq!((around.kind(), around.message()), (ReasonKind::Parent, Some("around")));
            handle.cancel_because("itself");
            assert_eq!(handle.reason().unwrap().message(), Some("itself"));
            entered
        });
        let entered = entered.await.unwrap();
        // The scope around was left, and its cancellation stopped no body.
        assert_eq!(entered.exit().unwrap().reason().unwrap().message(), Some("itself"));
    }))
    .drive();
}
