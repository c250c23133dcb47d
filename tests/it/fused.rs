//! Futures that have ended: `is_terminated` tells so, and a further poll is pending for ever.

use crate::support::{hand, poll_once};
use futures::future::{FusedFuture, pending};
use moored::{
    CancelScope, ExitStack, Resource, TaskGroup, checkpoint, fail_after, move_on_after, shield,
    task,
};
use std::pin::pin;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Drives `future` to its end.
#[track_caller]
fn ends<F: FusedFuture>(future: F) {
    hand(async {
        let mut future = pin!(future);
        assert!(!future.is_terminated(), "ended before its first poll");
        while poll_once(&mut future).await.is_pending() {
            assert!(!future.is_terminated(), "ended, but pending");
            crate::support::yield_now().await;
        }
        assert!(future.is_terminated(), "ready, but not ended");
        assert!(poll_once(&mut future).await.is_pending(), "ready twice");
        assert!(future.is_terminated(), "not ended any more");
    })
    .drive();
}

#[test]
fn a_checkpoint_a_task_a_shield_and_a_timeout_are_pending_after_their_end() {
    ends(checkpoint());
    ends(task(checkpoint()));
    ends(task(async {}));
    ends(task(crate::support::yield_now()));
    ends(shield(async {}));
    ends(shield(crate::support::yield_now()));
    ends(move_on_after(SECOND, async {}));
    ends(move_on_after(Duration::ZERO, pending::<()>()));
    ends(fail_after(SECOND, crate::support::yield_now()));
    ends(fail_after(Duration::ZERO, pending::<()>()));
}

#[test]
fn a_run_is_pending_after_its_end() {
    ends(CancelScope::new().run(async {}));
    ends(ExitStack::new().run(async { Ok::<_, ()>(()) }));
    ends(ExitStack::new().run(async { Err::<(), _>(()) }));
    ends(TaskGroup::new().run(async { Ok::<_, ()>(()) }));
    ends(TaskGroup::new().run(async { Err::<(), _>(()) }));
    ends(moored::local::ExitStack::new().run(async { Ok::<_, ()>(()) }));
    ends(moored::local::TaskGroup::new().run(async { Ok::<_, ()>(()) }));
}

#[test]
fn a_close_is_pending_after_its_end_well_or_not() {
    let stack = ExitStack::new();
    stack.defer(crate::support::yield_now());
    ends(stack.close());
    let stack = ExitStack::new();
    stack.defer(async { Err("broken") });
    ends(stack.close());
    let mut owner = hand(task(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        stack
    }));
    let stack = owner.drive();
    hand(task(async { ends(stack.close()) })).drive();
}

struct Port;

impl Resource for Port {
    type Value = u16;
    type Error = ();

    async fn enter(self) -> Result<u16, ()> {
        crate::support::yield_now().await;
        Ok(80)
    }

    async fn exit(_: u16) -> Result<(), moored::BoxError> {
        Ok(())
    }
}

#[test]
fn an_enter_is_pending_after_its_end() {
    let stack = ExitStack::new();
    ends(stack.enter(Port));
    assert_eq!(stack.len(), 1);
    hand(stack.close()).ready().unwrap();
}

/// Checks that `is_terminated` of a wait becomes `true` only when the wait is ready.
async fn is_over<F: FusedFuture>(wait: F, happen: impl FnOnce()) {
    let mut wait = pin!(wait);
    assert!(poll_once(&mut wait).await.is_pending());
    assert!(!wait.is_terminated());
    happen();
    assert!(poll_once(&mut wait).await.is_ready());
    assert!(wait.is_terminated());
}

#[test]
fn a_wait_is_terminated_once_it_is_over() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    hand(scope.run(async {
        is_over(moored::stop_requested(), || handle.stop()).await;
        // Both waits are dropped: the first is over, the second is still pending.
        let (mut stopped, mut cancelled) = (moored::stop_requested(), moored::cancelled());
        assert!(poll_once(&mut stopped).await.is_ready());
        assert!(poll_once(&mut cancelled).await.is_pending());
        drop((stopped, cancelled));
        is_over(moored::cancelled(), || handle.cancel()).await;
    }))
    .ready()
    .unwrap();
    let scope = CancelScope::new();
    let handle = scope.handle();
    hand(is_over(handle.stop_requested(), || handle.stop())).ready();
    hand(is_over(handle.cancelled(), || handle.cancel())).ready();
    let scope = CancelScope::new();
    let handle = scope.handle();
    hand(is_over(handle.tightened(None), || handle.cancel())).ready();
}

#[test]
fn r19_a_wait_that_is_dropped_is_not_woken() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(async {
        let mut waits = (moored::cancelled(), moored::stop_requested());
        assert!(poll_once(&mut waits.0).await.is_pending());
        assert!(poll_once(&mut waits.1).await.is_pending());
        drop(waits);
        pending::<()>().await
    }));
    run.pending();
    let before = run.wakes.count();
    handle.stop();
    assert_eq!(run.wakes.count(), before, "nobody waits for the stop any more");
}
