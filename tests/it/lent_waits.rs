//! Waits in a collection that was lent to a body. A checkpoint goes on when the cancelled region has been left (R7); a wait
//! for a request goes on with the region around (R1).

use crate::support::{Log, hand, poll_once, yield_now};
use futures::StreamExt;
use futures::future::{join, pending, select};
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{
    CancelScope, ExitStack, TaskGroup, cancelled, checkpoint, fail_after, move_on_after, shield,
    stop_requested, task,
};
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
fn r07_a_checkpoint_that_was_lent_to_one_cancelled_scope_after_the_other_goes_on_after_the_last() {
    let log = Log::new();
    hand(task(async {
        let mut lent = FuturesUnordered::new();
        lent.push(Box::pin(async {
            checkpoint().await;
            log.add("member");
        }));
        for round in ["first", "second", "third"] {
            let scope = CancelScope::new();
            scope.cancel();
            scope.run(lent.next()).await.unwrap_err();
            log.add(round);
        }
        lent.next().await;
    }))
    .drive();
    log.is(&["first", "second", "third", "member"]);
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

#[test]
fn r01_a_wait_for_a_stop_that_was_lent_to_a_time_limit_goes_on_with_the_region_around() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let body = async {
        let mut lent = FuturesUnordered::<Member<'_>>::new();
        lent.push(Box::pin(async {
            stop_requested().await;
            7
        }));
        assert_eq!(move_on_after(Duration::from_secs(1), lent.next()).await, None);
        let (ended, ()) = join(lent.next(), async {
            yield_now().await;
            scope.stop();
        })
        .await;
        ended
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.idle();
    clock.advance(Duration::from_secs(1));
    assert_eq!(run.drive().unwrap(), Some(7));
}

#[test]
fn r01_one_wait_for_a_stop_serves_a_loop_of_time_limits() {
    let clock = MockClock::new();
    let scope = CancelScope::new();
    let mut run = hand(
        task(scope.run(async {
            let mut stop = Box::pin(stop_requested());
            let mut rounds = 0;
            loop {
                rounds += 1;
                let step = select(&mut stop, Box::pin(pending::<()>()));
                if fail_after(Duration::from_secs(1), step).await.is_ok() {
                    return rounds;
                }
            }
        }))
        .clock(clock.clone()),
    );
    for _ in 0..3 {
        run.idle();
        clock.advance(Duration::from_secs(1));
    }
    run.idle();
    scope.stop();
    assert_eq!(run.drive().unwrap(), 4);
}

#[test]
fn r01_a_wait_that_was_lent_to_regions_that_have_ended_goes_on_with_the_region_around() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let (mut stop, mut end) = (Box::pin(stop_requested()), Box::pin(cancelled()));
        let (stack, entered) = (ExitStack::new(), CancelScope::new().enter().unwrap());
        let body = shield(async {
            assert!(poll_once(&mut stop).await.is_pending());
            assert!(poll_once(&mut end).await.is_pending());
            Ok::<_, ()>(())
        });
        stack.run(entered.run(task(body))).await.unwrap().unwrap();
        entered.exit().unwrap();
        join(stop, async {
            yield_now().await;
            scope.stop();
        })
        .await;
        join(end, async {
            yield_now().await;
            scope.cancel();
        })
        .await;
    }));
    run.drive().unwrap();
}

#[test]
fn r14_a_wait_that_was_lent_to_a_region_in_an_exit_does_not_look_out_of_the_exit() {
    let scope = CancelScope::new();
    scope.stop();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let exit = async {
            let (mut stop, mut end) = (Box::pin(stop_requested()), Box::pin(cancelled()));
            let inner = CancelScope::new();
            let body = inner.run(async {
                assert!(poll_once(&mut stop).await.is_pending());
                assert!(poll_once(&mut end).await.is_pending());
            });
            body.await.unwrap();
            assert!(poll_once(&mut stop).await.is_pending());
            assert!(poll_once(&mut end).await.is_pending());
        };
        stack.defer(exit);
        scope.cancel();
        stack.close().await.unwrap();
    }));
    run.drive().unwrap();
}

/// An exit that polls `region` inside `scope` once, and then alone. The home of the exit is cancelled and stopped.
fn lent_in_an_exit<R: Future<Output = bool> + Send + 'static>(
    region: impl FnOnce() -> R + Send + 'static,
) {
    let home = CancelScope::new();
    home.stop();
    let mut run = hand(home.run(async {
        let stack = ExitStack::new();
        stack.defer(async {
            let mut region = Box::pin(region());
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let lends = async { poll_once(&mut region).await.is_pending() };
            assert!(outer.run(inner.run(lends)).await.unwrap().unwrap());
            assert!(region.await);
        });
        home.cancel();
        shield(stack.close()).await.unwrap();
        7
    }));
    assert_eq!(run.drive().unwrap(), 7);
}

#[test]
fn r14_a_region_that_was_lent_to_another_one_in_an_exit_is_not_cancelled_with_the_home_of_the_exit()
{
    async fn is_asked() -> bool {
        checkpoint().await;
        checkpoint().await;
        moored::is_cancelled()
            || moored::is_stop_requested()
            || moored::current_deadline().is_some()
    }
    lent_in_an_exit(|| async { !CancelScope::new().run(is_asked()).await.unwrap() });
    lent_in_an_exit(|| async { !task(is_asked()).await });
    lent_in_an_exit(|| async { !shield(is_asked()).await });
    lent_in_an_exit(|| async {
        !ExitStack::new().run(async { Ok::<_, ()>(is_asked().await) }).await.unwrap()
    });
    lent_in_an_exit(|| async {
        !TaskGroup::new().run(async { Ok::<_, ()>(is_asked().await) }).await.unwrap()
    });
    lent_in_an_exit(|| async {
        let limit = fail_after(Duration::from_secs(3600), async {
            checkpoint().await;
            checkpoint().await;
            moored::is_cancelled()
        });
        !limit.await.unwrap()
    });
}

#[test]
fn r14_the_first_question_in_a_region_that_was_lent_in_an_exit_is_not_about_the_home_of_the_exit() {
    let questions: [fn() -> bool; 3] =
        [moored::is_cancelled, moored::is_stop_requested, || moored::current_deadline().is_some()];
    for question in questions {
        lent_in_an_exit(move || async move {
            let asks = async {
                yield_now().await;
                question()
            };
            !CancelScope::new().run(asks).await.unwrap()
        });
    }
}

#[test]
fn r14_a_time_limit_that_was_lent_in_an_exit_does_not_see_the_deadline_of_the_home() {
    let clock = MockClock::new();
    let home = CancelScope::new().timeout(Duration::from_secs(1));
    let mut run = hand(
        task(home.run(async {
            let stack = ExitStack::new();
            stack.defer(async {
                let mut inner = Box::pin(move_on_after(Duration::from_secs(5), pending::<()>()));
                let first = move_on_after(Duration::ZERO, &mut inner).await;
                assert_eq!(first, None);
                assert_eq!(inner.await, None);
            });
            shield(stack.close()).await.unwrap();
        }))
        .clock(clock.clone()),
    );
    run.idle();
    clock.advance(Duration::from_secs(2));
    run.idle();
    clock.advance(Duration::from_secs(2));
    run.idle();
    clock.advance(Duration::from_secs(1));
    run.drive().unwrap();
}
