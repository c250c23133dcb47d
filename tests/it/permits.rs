//! A pool with one permit: the exits of a loser give it back while the winner goes on (R8).

use super::hangs::SECOND;
use crate::support::{Executor, hand, poll_once, yield_now};
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, TaskGroup, move_on_after, task};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

// A pool with one permit.

/// Takes the permit, and gives it back by an exit that takes a step.
async fn with_permit(pool: &Arc<tokio::sync::Semaphore>, work: impl Future<Output = ()>) {
    let stack = ExitStack::new();
    let body = async {
        let permit = Arc::clone(pool).acquire_owned().await.unwrap();
        stack.defer(async move {
            yield_now().await;
            drop(permit);
        });
        work.await;
        Ok::<_, ()>(())
    };
    stack.run(body).await.unwrap();
}

#[test]
fn r08_the_permit_of_a_select_loser_comes_back_to_a_loop_that_lives_for_ever() {
    let pool = Arc::new(tokio::sync::Semaphore::new(1));
    let scope = CancelScope::new();
    let run = scope.run(async {
        for _ in 0..1_000 {
            let mut loser: Boxed<'_, ()> = Box::pin(with_permit(&pool, pending()));
            assert!(poll_once(&mut loser).await.is_pending());
            drop(loser);
            with_permit(&pool, async {}).await;
        }
    });
    hand(run).drive().unwrap();
}

#[test]
fn r08_the_permit_of_a_timed_out_holder_comes_back_before_the_time_out_is_told() {
    let pool = Arc::new(tokio::sync::Semaphore::new(1));
    let clock = MockClock::new();
    let body = async {
        for _ in 0..100 {
            assert!(move_on_after(SECOND, with_permit(&pool, pending())).await.is_none());
            assert_eq!(pool.available_permits(), 1);
        }
    };
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
}

#[test]
fn r08_the_permit_of_a_losers_group_comes_back_from_its_children() {
    let pool = Arc::new(tokio::sync::Semaphore::new(1));
    let executor = Executor::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let loser = async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let pool = Arc::clone(&pool);
            group.spawn_on(&executor, async move {
                with_permit(&pool, pending()).await;
                Ok(())
            });
            let _ = group.run(async { Ok(()) }).await;
        };
        let mut loser: Boxed<'_, ()> = Box::pin(loser);
        assert!(poll_once(&mut loser).await.is_pending());
        while pool.available_permits() == 1 {
            yield_now().await;
        }
        drop(loser);
        with_permit(&pool, async {}).await;
    }));
    run.pending();
    executor.run();
    while run.poll().is_pending() {
        executor.run();
    }
    assert_eq!(pool.available_permits(), 1);
}

#[test]
fn r08_two_losers_that_wait_for_each_others_permit_in_their_exits_both_end() {
    let pool = Arc::new(tokio::sync::Semaphore::new(0));
    let scope = CancelScope::new();
    let run = scope.run(async {
        // The exit of `taker` waits for the permit that the exit of `giver` gives back.
        let (taker, giver) = (ExitStack::new(), ExitStack::new());
        let (take, give) = (Arc::clone(&pool), Arc::clone(&pool));
        let mut first: Boxed<'_, ()> = Box::pin(async {
            let body = async {
                taker.defer(async move { take.acquire().await.unwrap().forget() });
                pending::<Result<(), ()>>().await
            };
            let _ = taker.run(body).await;
        });
        assert!(poll_once(&mut first).await.is_pending());
        drop(first);
        yield_now().await;
        let mut second: Boxed<'_, ()> = Box::pin(async {
            let body = async {
                giver.defer(async move { give.add_permits(1) });
                pending::<Result<(), ()>>().await
            };
            let _ = giver.run(body).await;
        });
        assert!(poll_once(&mut second).await.is_pending());
        drop(second);
    });
    hand(run).drive().unwrap();
    assert_eq!(pool.available_permits(), 0);
}
