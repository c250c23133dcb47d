use crate::support::{Gate, Log, OnDrop, hand, lose, poll_once, yield_now};
use futures::future::FusedFuture;
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, ReasonKind, checkpoint, is_cancelled, task};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

#[test]
fn r06_a_cancelled_body_is_polled_once_more_then_dropped() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut polls = 0;
    let mut run = hand(scope.run(std::future::poll_fn(|_| {
        polls += 1;
        std::task::Poll::<()>::Pending
    })));
    run.pending();
    handle.cancel_because("enough");
    assert_eq!(run.wakes.count(), 1);
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().message(), Some("enough"));
    drop(run);
    assert_eq!(polls, 2);
}

#[test]
fn r06_a_body_entered_under_cancellation_is_polled_once() {
    let scope = CancelScope::new();
    scope.cancel();
    let polls = Cell::new(0);
    let mut run = hand(scope.run(poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::<()>::Pending
    })));
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Requested);
    assert_eq!(polls.get(), 1);
}

#[test]
fn r06_a_body_that_is_ready_under_cancellation_is_delivered() {
    let scope = CancelScope::new();
    scope.cancel();
    assert_eq!(hand(scope.run(async { 7 })).ready().unwrap(), 7);
}

#[test]
fn r06_a_body_that_cancels_its_own_scope_goes_on_to_its_next_await() {
    let scope = CancelScope::new();
    let log = Log::new();
    let mut run = hand(scope.run(async {
        scope.cancel();
        log.add("before the await");
        yield_now().await;
        log.add("one more poll");
        yield_now().await;
        log.add("never");
    }));
    run.ready().unwrap_err();
    log.is(&["before the await", "one more poll"]);
}

#[test]
fn r06_a_value_or_an_error_is_delivered_though_cancellation_arrives_while_exits_run() {
    for value in [Ok(1), Err("own error")] {
        let gate = Gate::new();
        let scope = CancelScope::new();
        let mut run = hand(scope.run(async {
            lose(async {
                let stack = ExitStack::new();
                let gate = gate.clone();
                stack.defer(async move { gate.wait().await });
                stack.run(pending::<Result<(), ()>>()).await
            })
            .await;
            value
        }));
        run.pending();
        scope.cancel();
        run.pending();
        gate.open();
        assert_eq!(run.ready().unwrap(), value);
    }
}

#[test]
fn r06_a_cancelled_scope_stays_cancelled() {
    let scope = CancelScope::new();
    let seen = Cell::new((false, false));
    scope.cancel();
    hand(scope.run(async { seen.set((scope.is_cancelled(), is_cancelled())) })).ready().unwrap();
    assert_eq!(seen.get(), (true, true));
    assert!(scope.is_cancelled());
}

#[test]
fn r06_checkpoint_makes_a_hot_loop_cancellable() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut rounds = 0;
    let mut run = hand(scope.run(async {
        loop {
            rounds += 1;
            if rounds == 1_000 {
                handle.cancel();
            }
            checkpoint().await;
        }
    }));
    let cancelled: Result<(), _> = run.drive();
    cancelled.unwrap_err();
    drop(run);
    assert_eq!(rounds, 1_000);
}

#[test]
fn r06_checkpoint_yields_once_where_nothing_is_cancelled() {
    let mut run = hand(checkpoint());
    run.pending();
    assert_eq!(run.wakes.count(), 1);
    run.ready();
}

#[test]
fn r06_the_body_is_dropped_once_and_before_run_returns() {
    let (body, drops) = OnDrop::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let _body = body;
        pending::<()>().await;
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    assert_eq!(drops.get(), 1);
    drop(run);
    assert_eq!(drops.get(), 1);
}

#[test]
fn r03_anyone_may_ask_from_any_task_or_thread() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).named("owner"));
    run.pending();
    let asker = std::thread::spawn(move || {
        hand(
            task(async move {
                handle.cancel_because("from afar");
                task::current()
            })
            .named("asker"),
        )
        .ready()
        .unwrap()
    })
    .join()
    .unwrap();
    assert_eq!(run.wakes.count(), 1);
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().task(), Some(&asker));
    assert_eq!(cancelled.reason().task().unwrap().name(), Some("asker"));
}

#[test]
fn r03_a_handle_outlives_its_region_and_does_no_harm() {
    let handle = {
        let scope = CancelScope::new();
        hand(scope.run(async {})).ready().unwrap();
        scope.handle()
    };
    handle.cancel();
    handle.clone().cancel_because("too late");
    assert!(!handle.is_cancelled());
    assert!(handle.reason().is_none());
}

#[test]
fn r03_cancelled_resolves_for_every_waiter_on_every_thread() {
    let scope = CancelScope::new();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let handle = scope.handle();
            std::thread::spawn(move || crate::support::block_on(handle.cancelled()))
        })
        .collect();
    scope.cancel();
    for waiter in waiters {
        waiter.join().unwrap();
    }
    hand(scope.handle().cancelled()).ready();
}

#[test]
fn r03_cancelled_resolves_when_a_region_around_is_cancelled() {
    let outer = CancelScope::new();
    let inner = CancelScope::new();
    let handle = inner.handle();
    let mut early = hand(handle.cancelled());
    early.pending();
    let mut run = hand(outer.run(async {
        inner.run(pending::<()>()).await.unwrap();
    }));
    run.pending();
    let mut late = hand(handle.cancelled());
    late.pending();
    outer.cancel_because("outer");
    assert!(early.wakes.count() > 0 && late.wakes.count() > 0);
    early.ready();
    late.ready();
    let reason = handle.reason().unwrap();
    assert_eq!((reason.kind(), reason.message()), (ReasonKind::Parent, Some("outer")));
    run.ready().unwrap_err();
}

#[test]
fn r03_a_dropped_wait_leaves_the_others_in_place() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut waits: Vec<_> = (0..10).map(|_| hand(handle.cancelled())).collect();
    waits.iter_mut().for_each(|wait| wait.pending());
    let rest: Vec<_> = waits.drain(..).enumerate().filter(|(n, _)| n % 2 == 1).collect();
    scope.cancel();
    for (_, mut wait) in rest {
        assert_eq!(wait.wakes.count(), 1);
        wait.ready();
    }
}

#[test]
fn r09_a_scope_catches_its_own_cancellation_only() {
    let log = Log::new();
    let outer = CancelScope::new().named("outer");
    let mut run = hand(outer.run(async {
        let inner = CancelScope::new();
        let caught = inner.run(pending::<()>()).await;
        log.add(format!("swallowed {caught:?}"));
    }));
    run.pending();
    outer.cancel_because("stop");
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().message(), Some("stop"));
    log.is(&[]);
}

#[test]
fn r09_the_body_goes_on_after_an_inner_scope_was_cancelled() {
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let inner = CancelScope::new();
        inner.cancel();
        let caught = inner.run(pending::<()>()).await.unwrap_err();
        assert!(!is_cancelled());
        yield_now().await;
        caught.reason().kind()
    }));
    assert_eq!(run.drive().unwrap(), ReasonKind::Requested);
    assert!(!outer.is_cancelled());
}

#[test]
fn r09_a_region_that_was_left_acts_on_nobody() {
    let clock = MockClock::new();
    let hand_of = clock.clone();
    let mut run = hand(
        task(async {
            let inner = CancelScope::new().timeout(SECOND);
            let handle = inner.handle();
            inner.run(async {}).await.unwrap();
            handle.cancel();
            hand_of.advance(2 * SECOND);
            yield_now().await;
            (handle.is_cancelled(), is_cancelled())
        })
        .clock(clock),
    );
    assert_eq!(run.drive(), (false, false));
}

#[test]
fn r10_the_first_reason_wins() {
    let scope = CancelScope::new();
    let (_, line) = (scope.cancel_because("first"), line!());
    scope.cancel_because("second");
    scope.cancel();
    let cancelled = hand(scope.run(pending::<()>())).ready().unwrap_err();
    let reason = cancelled.reason();
    assert_eq!(reason.message(), Some("first"));
    let place = reason.location().unwrap();
    assert_eq!((place.file(), place.line()), (file!(), line));
    assert_eq!(cancelled.to_string(), format!("cancelled: first (at {place})"));
}

#[test]
fn r07_a_future_lent_to_a_timed_scope_survives_uncancelled() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let log = Log::new();
    let mut run = hand(
        task(async {
            let inner = CancelScope::new();
            let mut lent = Box::pin(inner.run(async {
                let stack = ExitStack::new();
                stack.defer(log.entry("exit"));
                let value = stack
                    .run(async {
                        gate.wait().await;
                        checkpoint().await;
                        Ok::<_, ()>(7)
                    })
                    .await;
                value.unwrap()
            }));
            let timed = CancelScope::new().timeout(SECOND);
            let late = timed.run(&mut lent).await.unwrap_err();
            assert_eq!(late.reason().kind(), ReasonKind::Deadline);
            log.add("timed out");
            assert!(!inner.is_cancelled());
            lent.await.unwrap()
        })
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND);
    run.pending();
    log.is(&["timed out"]);
    gate.open();
    assert_eq!(run.drive(), 7);
    log.is(&["timed out", "exit"]);
}

#[test]
fn r05_a_scope_is_entered_once_and_says_so_with_both_places() {
    let scope = CancelScope::new().named("twice");
    let (mut first, entered) = (hand(scope.run(async {})), line!());
    first.ready().unwrap();
    let (mut second, attempted) = (hand(scope.run(async {})), line!());
    let text = crate::support::panic_text(|| second.poll());
    let (file, here) = (file!(), |line| format!("{}:{line}:", file!()));
    assert!(text.starts_with("cannot run cancel scope `twice` at "), "{text}");
    assert!(text.contains(&here(entered)) && text.contains(&here(attempted)), "{file}: {text}");
    assert!(text.ends_with("a region is entered once; make a new one for each run"), "{text}");
}

#[test]
fn a_run_is_terminated_once_it_is_ready() {
    let scope = CancelScope::new();
    let mut run = Box::pin(scope.run(yield_now()));
    hand(async {
        assert!(!run.is_terminated());
        assert!(poll_once(&mut run).await.is_pending());
        assert!(!run.is_terminated());
        (&mut run).await.unwrap();
        assert!(run.is_terminated());
    })
    .ready();
}

#[test]
fn r19_a_scope_that_is_polled_by_changing_wakers_is_woken_by_the_last_one() {
    let scope = CancelScope::new();
    let mut run = Box::pin(scope.run(pending::<()>()));
    let mut first = hand(async { poll_once(&mut run).await.is_pending() });
    assert!(first.ready());
    let old = Arc::clone(&first.wakes);
    drop(first);
    let mut second = hand(async { poll_once(&mut run).await.is_pending() });
    assert!(second.ready());
    let new = Arc::clone(&second.wakes);
    drop(second);
    scope.cancel();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn r07_a_lent_region_survives_uncancelled_though_its_cancellation_is_awaited() {
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let gate = Gate::new();
        let inner = CancelScope::new();
        let handle = inner.handle();
        let mut lent = Box::pin(inner.run(async {
            gate.wait().await;
            checkpoint().await;
            7
        }));
        let timed = CancelScope::new();
        {
            let mut waits = Box::pin(handle.cancelled());
            let mut timed_run = Box::pin(timed.run(poll_fn(|cx| {
                let _ = lent.as_mut().poll(cx);
                waits.as_mut().poll(cx)
            })));
            assert!(poll_once(&mut timed_run).await.is_pending());
            timed.cancel();
            let _ = poll_once(&mut timed_run).await;
        }
        gate.open();
        assert!(!handle.is_cancelled() && !inner.is_cancelled());
        lent.await.unwrap()
    }));
    assert_eq!(run.drive().unwrap(), 7);
}

#[test]
fn r03_a_waiter_that_looks_late_still_hears_that_its_region_was_cancelled() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut run = hand(scope.run(pending::<()>()));
    run.pending();
    let mut wait = hand(handle.cancelled());
    wait.pending();
    scope.cancel_because("own");
    run.ready().unwrap_err();
    wait.ready();
    assert_eq!(handle.reason().unwrap().message(), Some("own"));
}

#[test]
fn r03_a_waiter_that_looks_late_still_hears_that_a_region_around_was_cancelled() {
    let outer = CancelScope::new();
    let inner = CancelScope::new();
    let handle = inner.handle();
    let mut run = hand(outer.run(async {
        inner.run(pending::<()>()).await.unwrap();
    }));
    run.pending();
    let mut wait = hand(handle.cancelled());
    wait.pending();
    outer.cancel_because("outer");
    assert!(wait.wakes.count() > 0);
    // The cancelled body is dropped before the waiter is polled, as may happen with two threads.
    run.ready().unwrap_err();
    wait.ready();
    assert_eq!(handle.reason().unwrap().message(), Some("outer"));
}
