//! Checkpoints in a collection that was lent to a cancelled body: they go on when the cancelled region has been left (R7).

use crate::support::hand;
use futures::StreamExt;
use futures::future::{join, pending};
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, TaskGroup, checkpoint, move_on_after, shield, task};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

type Member<'a> = Pin<Box<dyn Future<Output = u32> + 'a>>;

/// Polls `member` in a collection that is lent to a cancelled scope, and then to nobody.
#[track_caller]
fn goes_on<'a>(member: impl Future<Output = u32> + 'a) {
    let mut lent = FuturesUnordered::<Member<'a>>::new();
    lent.push(Box::pin(member));
    let ended = hand(task(async {
        let scope = CancelScope::new();
        scope.cancel();
        scope.run(lent.next()).await.unwrap_err();
        lent.next().await
    }))
    .drive();
    assert_eq!(ended, Some(7));
}

async fn twice() -> u32 {
    checkpoint().await;
    checkpoint().await;
    7
}

#[test]
fn r07_a_lent_checkpoint_goes_on_after_the_cancelled_scope() {
    goes_on(twice());
}

#[test]
fn r07_a_checkpoint_in_a_lent_region_goes_on_after_the_cancelled_scope() {
    let (scope, stack) = (CancelScope::new(), ExitStack::new());
    goes_on(async { scope.run(twice()).await.unwrap() });
    goes_on(async { stack.run(async { Ok::<_, ()>(twice().await) }).await.unwrap() });
    goes_on(task(twice()));
    goes_on(async { move_on_after(Duration::from_secs(3600), twice()).await.unwrap() });
}

#[test]
fn r07_a_checkpoint_in_a_child_of_a_lent_group_goes_on_after_the_cancelled_scope() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let run = group.run(async {
        let child = group.spawn(async { Ok(twice().await) });
        Ok(child.join().await.unwrap())
    });
    goes_on(async { run.await.unwrap() });
    let group: moored::local::TaskGroup<'_, ()> = moored::local::TaskGroup::new();
    let run = group.run(async {
        let child = group.spawn(async { Ok(twice().await) });
        Ok(child.join().await.unwrap())
    });
    goes_on(async { run.await.unwrap() });
}

#[test]
fn r07_a_checkpoint_that_was_lent_through_cancelled_scopes_goes_on_after_the_last() {
    let mut lent = FuturesUnordered::<Member<'_>>::new();
    lent.push(Box::pin(twice()));
    hand(task(async {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let body = inner.run(async {
            outer.cancel();
            inner.cancel();
            lent.next().await
        });
        outer.run(body).await.unwrap_err();
        assert_eq!(lent.next().await, Some(7));
    }))
    .drive();
}

#[test]
fn r07_a_checkpoint_that_was_lent_to_a_child_or_to_an_entered_scope_goes_on_after_it() {
    let mut lent = FuturesUnordered::<Member<'_>>::new();
    lent.push(Box::pin(twice()));
    hand(task(async {
        let group: moored::local::TaskGroup<'_, ()> = moored::local::TaskGroup::new();
        let run = group.run(async {
            let child = group.spawn(async {
                lent.next().await;
                Ok(())
            });
            child.cancel();
            Ok(child.join().await)
        });
        run.await.unwrap().unwrap_err();
        drop(group);
        assert_eq!(lent.next().await, Some(7));

        lent.push(Box::pin(twice()));
        let entered = CancelScope::new().enter().unwrap();
        entered.handle().cancel();
        entered.run(lent.next()).await.unwrap_err();
        assert_eq!(lent.next().await, Some(7));
        entered.exit().unwrap();
    }))
    .drive();
}

#[test]
fn r11_a_lent_checkpoint_goes_on_after_a_time_limit() {
    let clock = MockClock::new();
    let mut lent = FuturesUnordered::<Member<'_>>::new();
    lent.push(Box::pin(async {
        checkpoint().await;
        clock.advance(Duration::from_secs(2));
        twice().await
    }));
    let story = async {
        assert_eq!(move_on_after(Duration::from_secs(1), lent.next()).await, None);
        lent.next().await
    };
    assert_eq!(hand(task(story).clock(clock.clone())).drive(), Some(7));
}

#[test]
fn r12_a_checkpoint_beside_a_shield_waits_without_polls() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(join(shield(pending::<()>()), twice())));
    scope.cancel();
    run.pending();
    run.pending();
    let wakes = run.wakes.count();
    run.pending();
    run.pending();
    assert_eq!(run.wakes.count(), wakes);
}
