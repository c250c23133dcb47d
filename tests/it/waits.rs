//! Waits for a region's cancellation, stop or end: woken in time, registered again after a wake-up, and never
//! missed by a quiet region.

use crate::support::{Gate, Hand, Log, hand, lose, poll_once, waker_fn, yield_now};
use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{
    CancelScope, Cancellation, Clock, ExitStack, TaskGroup, current_deadline, shield,
    stop_requested, task,
};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Whether the region that runs now was asked to wind down, as a flag.
async fn stopping() -> bool {
    poll_once(&mut Box::pin(stop_requested())).await.is_ready()
}

// Wake-ups.

#[test]
fn r07_who_waits_at_a_region_is_told_of_what_is_cancelled_around_it() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    let mut run = hand(outer.run(inner.run(pending::<()>())));
    run.pending();
    let mut wait = hand(handle.cancelled());
    wait.pending();
    outer.cancel();
    assert_eq!(wait.wakes.count(), 1);
    wait.ready();
}

#[test]
fn r01_who_waits_at_a_region_that_outlives_its_parent_is_told_of_the_next_one() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    let mut run = hand(outer.run(async {
        let mut lent = Box::pin(inner.run(pending::<()>()));
        let body = async {
            assert!(poll_once(&mut lent).await.is_pending());
            yield_now().await;
        };
        CancelScope::new().run(body).await.unwrap();
        lent.await
    }));
    run.pending();
    // The wait links the inner region in the middle one, which is left in the next poll.
    let mut wait = hand(handle.cancelled());
    wait.pending();
    run.pending();
    // This question walks all the way outwards, so from now on no region holds the middle one.
    assert!(handle.reason().is_none());
    outer.cancel();
    assert_eq!(wait.wakes.count(), 1);
    wait.ready();
}

#[test]
fn r06_r13_who_waits_for_a_cancellation_and_was_woken_by_a_stop_is_woken_again() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    let handle = scope.handle();
    let mut wait = hand(handle.cancelled());
    wait.pending();
    scope.stop();
    // By the same waker, which was called and is not in its place any more.
    wait.pending();
    let wakes = wait.wakes.count();
    scope.cancel();
    assert_eq!(wait.wakes.count(), wakes + 1);
    wait.ready();
}

/// A scope with waiters that a stop has woken, though nothing is cancelled. `before` was waiting then; `after` has
/// registered since.
fn woken_in_between<R>(
    look: impl FnOnce(&CancelScope, &mut Hand<Cancellation>, Hand<Cancellation>) -> R,
) -> R {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    let mut before = hand(handle.cancelled());
    before.pending();
    scope.stop();
    assert_eq!(before.wakes.count(), 1);
    let mut after = hand(handle.cancelled());
    after.pending();
    look(&scope, &mut after, before)
}

#[test]
fn r06_who_was_woken_and_gives_up_leaves_the_place_to_who_has_it_by_now() {
    woken_in_between(|scope, after, before| {
        drop(before);
        scope.cancel();
        assert_eq!(after.wakes.count(), 1);
        after.ready();
    });
}

#[test]
fn r06_who_was_woken_and_waits_again_does_not_take_the_place_of_another() {
    woken_in_between(|scope, after, mut before| {
        before.pending();
        scope.cancel();
        assert_eq!((before.wakes.count(), after.wakes.count()), (2, 1));
        before.ready();
        after.ready();
    });
}

#[test]
fn r06_few_and_many_who_wait_are_all_told_and_nobody_twice() {
    for n in [1, 31, 32, 33, 34, 1_000] {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut waits: Vec<_> = (0..n).map(|_| hand(handle.cancelled())).collect();
        waits.iter_mut().for_each(Hand::pending);
        // One waiter gives its place back, and a new one gets it.
        waits[n / 2] = hand(handle.cancelled());
        waits[n / 2].pending();
        for round in 1..=2 {
            scope.stop();
            assert!(waits.iter().all(|wait| wait.wakes.count() == 1), "of {n}, round {round}");
        }
        waits.iter_mut().for_each(Hand::pending);
        scope.cancel();
        assert!(waits.iter().all(|wait| wait.wakes.count() == 2), "of {n}");
        waits.iter_mut().for_each(|wait| wait.ready());
    }
}

#[test]
fn r11_a_run_whose_deadline_was_put_off_is_woken_by_a_cancellation() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.set_deadline(clock.now() + 2 * SECOND);
    run.pending();
    let wakes = run.wakes.count();
    scope.cancel();
    assert_eq!(run.wakes.count(), wakes + 1);
    run.ready().unwrap_err();
}

#[test]
fn r06_a_body_that_cancels_its_own_scope_is_dropped_in_that_poll_whichever_it_is() {
    for before in 0..3 {
        let scope = CancelScope::new();
        let mut polls = 0;
        let body = poll_fn(|_| {
            polls += 1;
            if polls > before {
                scope.cancel();
            }
            Poll::<()>::Pending
        });
        let mut run = hand(scope.run(body));
        (0..before).for_each(|_| run.pending());
        run.ready().unwrap_err();
        drop(run);
        assert_eq!(polls, before + 2, "once more after the cancellation");
    }
}

#[test]
fn r06_a_body_whose_timeout_is_over_at_once_is_polled_once_and_knows() {
    let scope = CancelScope::new().timeout(Duration::ZERO);
    let mut seen = Vec::new();
    let body = poll_fn(|_| {
        seen.push(moored::is_cancelled());
        Poll::<()>::Pending
    });
    hand(scope.run(body)).ready().unwrap_err();
    assert_eq!(seen, [true]);
}

#[test]
fn r16_two_who_leave_at_once_make_room_for_two() {
    let (log, gate) = (Log::new(), Gate::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(2);
    for name in ["one", "two", "three", "four"] {
        let (log, waits) =
            (log.clone(), if name.len() == 3 { gate.wait() } else { Gate::new().wait() });
        drop(group.spawn(async move {
            log.add(name);
            waits.await;
            Ok(())
        }));
    }
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    log.is(&["one", "two"]);
    gate.open();
    // A child that gets its turn calls the next one while there is room.
    (0..3).for_each(|_| run.pending());
    log.is(&["one", "two", "three", "four"]);
}

// Regions that were left.

#[test]
fn r09_a_scope_that_nobody_asked_anything_before_it_was_left_cannot_be_cancelled() {
    let scope = CancelScope::new();
    hand(scope.run(async {})).ready().unwrap();
    let handle = scope.handle();
    handle.cancel();
    assert!(!handle.is_cancelled() && handle.reason().is_none());
    hand(handle.cancelled()).pending();
}

// Regions whose surroundings have changed.

#[test]
fn r04_a_scope_that_is_adopted_inside_a_cancelled_one_counts_as_cancelled() {
    let outer = CancelScope::new();
    let entered = CancelScope::new().enter().unwrap();
    let handle = entered.handle();
    let released = entered.release().unwrap();
    outer.cancel();
    let mut run = hand(outer.run(async {
        assert!(!handle.is_cancelled(), "there is nothing around it yet");
        let _adopted = released.adopt();
        handle.is_cancelled()
    }));
    assert!(run.ready().unwrap());
}

#[test]
fn r06_a_scope_that_was_asked_before_it_was_entered_finds_what_is_cancelled_around_it() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    outer.cancel();
    let mut run = hand(outer.run(async {
        assert!(!handle.is_cancelled(), "there is nothing around it yet");
        inner.run(async { moored::is_cancelled() }).await.unwrap()
    }));
    assert!(run.ready().unwrap());
}

#[test]
fn r13_a_scope_that_was_asked_before_it_was_entered_finds_what_was_stopped_around_it() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    outer.stop();
    let mut run = hand(outer.run(async {
        assert!(!handle.is_cancelled());
        inner.run(stopping()).await.unwrap()
    }));
    assert!(run.ready().unwrap());
}

#[test]
fn r13_a_look_for_cancellations_does_not_hide_a_stop_around() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    let mut run = hand(outer.run(inner.run(async {
        // Before and after the stop nothing is cancelled, and a look outwards notes that.
        assert!(!handle.is_cancelled() && !stopping().await);
        outer.stop();
        assert!(stopping().await);
        assert!(!handle.is_cancelled());
        stopping().await
    })));
    assert!(run.ready().unwrap().unwrap());
}

#[test]
fn r01_a_scope_asked_in_its_first_poll_by_what_is_only_lent_to_it_is_inside_what_is_around_it() {
    let [outer, inner, lent] = [(); 3].map(|()| CancelScope::new());
    let mut seen = None;
    let mut asks = Box::pin(lent.run(poll_fn(|_| {
        seen = outer.is_cancelled().then(|| inner.is_cancelled());
        if seen.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })));
    let mut run = hand(outer.run(async {
        assert!(poll_once(&mut asks).await.is_pending());
        outer.cancel();
        inner.run(asks.as_mut()).await.unwrap().unwrap();
    }));
    run.ready().unwrap();
    drop(run);
    drop(asks);
    assert_eq!(seen, Some(true));
}

#[test]
fn r12_what_outlives_its_shield_finds_what_is_cancelled_around_that() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let handle = inner.handle();
    outer.cancel();
    let mut run = hand(outer.run(async {
        let mut lent = Box::pin(inner.run(pending::<()>()));
        shield(async {
            assert!(poll_once(&mut lent).await.is_pending());
            assert!(!handle.is_cancelled(), "the shield keeps it out");
        })
        .await;
        handle.is_cancelled()
    }));
    assert!(run.ready().unwrap());
}

#[test]
fn r11_the_deadline_of_a_scope_inside_a_shield_ends_at_the_shield() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().timeout(SECOND), CancelScope::new().named("inner"));
    let seen = outer.run(shield(inner.run(async { current_deadline() })));
    let mut run = hand(task(seen).clock(clock));
    assert_eq!(run.ready().unwrap().unwrap(), None);
}

#[test]
fn r13_a_run_that_enters_a_scope_after_its_stop_has_the_grace_too() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().grace(SECOND).enter().unwrap();
        entered.handle().stop();
        let cancelled = entered.run(pending::<()>()).await.unwrap_err();
        entered.exit().unwrap();
        cancelled
    };
    let mut run = hand(task(body).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    run.drive();
}

// Shields, which have to be polled to hold.

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

#[test]
fn r12_a_shield_is_woken_before_the_region_that_would_drop_it() {
    let log = Log::new();
    let wakes = |what: &'static str| {
        let log = log.clone();
        waker_fn(move || log.add(what))
    };
    let (own, inside) = (wakes("region"), wakes("shield"));
    let scope = CancelScope::new();
    let mut shielded = Box::pin(shield(pending::<()>()));
    let body = poll_fn(|_| shielded.as_mut().poll(&mut Context::from_waker(&inside)));
    let mut run = Box::pin(scope.run(body));
    assert!(run.as_mut().poll(&mut Context::from_waker(&own)).is_pending());
    scope.cancel();
    log.is(&["shield", "region"]);
}

#[test]
fn r12_a_shield_is_reached_by_the_very_poll_that_would_drop_the_body() {
    let (gate, never) = (Gate::new(), Gate::new());
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        // It polls only futures that were woken. With a single future inside, it would wake
        // itself after each poll.
        let inside: [Boxed; 2] = [Box::pin(shield(gate.wait())), Box::pin(never.wait())];
        let mut inside: FuturesUnordered<_> = inside.into_iter().collect();
        inside.next().await;
    }));
    run.pending();
    scope.cancel();
    let wakes = run.wakes.count();
    run.pending();
    assert_eq!(run.wakes.count(), wakes, "no second poll was needed to find the shield");
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r12_a_shielded_scope_that_was_woken_to_hold_is_woken_by_its_own_cancellation() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded());
    outer.cancel();
    let mut run = hand(outer.run(async {
        let mut inside: FuturesUnordered<_> = [inner.run(pending::<()>())].into_iter().collect();
        inside.next().await.unwrap().map_err(drop)
    }));
    run.pending();
    // Nothing woke the shield, so this poll does not reach it, and wakes it.
    let wakes = run.wakes.count();
    run.pending();
    assert!(run.wakes.count() > wakes);
    run.pending();
    let wakes = run.wakes.count();
    inner.cancel();
    assert_eq!(run.wakes.count(), wakes + 1);
    assert_eq!(run.drive().unwrap(), Err(()));
}

#[test]
fn r12_a_shield_inside_an_exit_holds_what_is_around_the_stack() {
    let gate = Gate::new();
    let (scope, stack) = (CancelScope::new(), ExitStack::new());
    let mut run = hand(scope.run(stack.run(async {
        stack.defer(shield(gate.wait()));
        Ok::<_, ()>(())
    })));
    run.pending();
    scope.cancel();
    run.pending();
    gate.open();
    run.drive().unwrap().unwrap();
}

#[test]
fn r12_a_shield_beside_a_scope_does_not_hold_it() {
    let (log, gate) = (Log::new(), Gate::new());
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let beside = async {
        let body = async {
            inner.cancel();
            pending::<()>().await
        };
        inner.run(body).await.unwrap_err();
        log.add("dropped");
    };
    let mut run = hand(outer.run(join(shield(gate.wait()), beside)));
    run.pending();
    log.is(&["dropped"]);
}

// Exits that other exits abandon.

/// Loses a region with the exit `exit`.
async fn abandon(exit: impl Future<Output = ()> + Send + 'static) {
    let stack = ExitStack::new();
    lose(stack.run(async {
        stack.defer(exit);
        pending::<Result<(), ()>>().await
    }))
    .await;
}

#[test]
fn r08_what_an_adopted_exit_abandons_runs_in_the_same_poll() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let (first, second) = (log.entry("first"), log.entry("second"));
        abandon(async move {
            first.await;
            abandon(second).await;
        })
        .await;
        pending::<()>().await
    }));
    run.pending();
    log.is(&["first", "second"]);
}

#[test]
fn r08_an_exit_may_wait_for_what_it_has_abandoned_itself() {
    // One has a node when its exits begin, and the other has not.
    for stack in [ExitStack::new(), ExitStack::new().named("stack")] {
        let gate = Gate::new();
        let mut run = hand(stack.run(async {
            let opens = gate.clone();
            let waits = gate.wait();
            stack.defer(async move {
                abandon(async move { opens.open() }).await;
                waits.await;
            });
            Ok::<_, ()>(())
        }));
        run.drive().unwrap();
    }
}

#[test]
fn r08_what_is_abandoned_beside_a_body_that_waits_for_it_is_run() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    let opens = gate.clone();
    let both = join(gate.wait(), abandon(async move { opens.open() }));
    hand(scope.run(both)).drive().unwrap();
}

#[test]
fn r07_r08_an_exit_that_a_dropped_body_registers_on_its_way_goes_home_with_the_others() {
    struct DefersOnDrop<'a>(&'a ExitStack, &'a Log);
    impl Drop for DefersOnDrop<'_> {
        fn drop(&mut self) {
            self.0.defer(self.1.entry("late"));
        }
    }
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        lose(stack.run(async {
            let _late = DefersOnDrop(&stack, &log);
            stack.defer(log.entry("early"));
            pending::<Result<(), ()>>().await
        }))
        .await;
    }));
    run.drive().unwrap();
    log.is(&["late", "early"]);
}

#[test]
fn r07_one_who_waits_for_a_region_lent_beyond_its_task_hears_of_what_is_cancelled_around() {
    let outer = CancelScope::new();
    let mut waits = None;
    let mut run = hand(outer.run(async {
        let lent = CancelScope::new();
        let handle = lent.handle();
        let mut inside = Box::pin(lent.run(pending::<()>()));
        // The task in which it was entered ends, and stays between it and the scope around, for its name.
        task(async { assert!(poll_once(&mut inside).await.is_pending()) }).await;
        let mut cancelled = handle.cancelled();
        assert!(poll_once(&mut cancelled).await.is_pending());
        waits = Some((cancelled, handle));
        pending::<()>().await
    }));
    run.pending();
    let before = run.wakes.count();
    outer.cancel_because("around");
    assert!(run.wakes.count() > before);
    run.ready().unwrap_err();
    drop(run);
    let (cancelled, handle) = waits.unwrap();
    hand(cancelled).ready();
    assert_eq!(handle.reason().unwrap().message(), Some("around"));
}
