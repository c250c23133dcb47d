//! The deadlines of a scope, and its clock (R10, R11).

use super::scope::SECOND;
use crate::support::{Gate, Log, hand, lose, yield_now};
use moored::testing::MockClock;
use moored::{CancelScope, Clock, ExitStack, ReasonKind, task};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn r10_a_request_before_the_deadline_is_a_request_even_if_both_are_seen_together() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.cancel_because("request");
    clock.advance(2 * SECOND);
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().message(), Some("request"));
}

#[test]
fn r10_a_deadline_that_was_seen_first_is_not_overwritten_by_a_request() {
    let clock = MockClock::new();
    let gate = Gate::new();
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = hand(
        task(scope.run(async {
            let stack = ExitStack::new();
            let gate = gate.clone();
            stack.defer(async move { gate.wait().await });
            stack.run(pending::<Result<(), ()>>()).await
        }))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND);
    run.pending();
    scope.cancel_because("too late");
    gate.open();
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    assert_eq!(cancelled.reason().message(), None);
}

#[test]
fn r11_a_timeout_starts_at_entry() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    clock.advance(10 * SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND - Duration::from_nanos(1));
    run.pending();
    clock.advance(Duration::from_nanos(1));
    assert!(run.wakes.count() > 0);
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    assert!(cancelled.to_string().contains("deadline passed"), "{cancelled}");
}

#[test]
fn r11_of_two_deadlines_the_earlier_one_counts() {
    for (timeout, at, due) in [(1, 2, 1), (2, 1, 1)] {
        let clock = MockClock::new();
        let now = moored::Clock::now(&clock);
        let scope = CancelScope::new().timeout(timeout * SECOND).deadline(now + at * SECOND);
        let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
        run.pending();
        clock.advance(due * SECOND - Duration::from_nanos(1));
        run.pending();
        clock.advance(Duration::from_nanos(1));
        run.ready().unwrap_err();
    }
}

#[test]
fn r11_a_deadline_may_be_moved_out_and_in_while_the_scope_runs() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let scope = CancelScope::new().timeout(SECOND);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    scope.set_deadline(start + 10 * SECOND);
    assert!(run.wakes.count() > 0, "the run has to arm its timer anew");
    run.pending();
    clock.advance(5 * SECOND);
    run.pending();
    scope.set_deadline(start + 6 * SECOND);
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Deadline);
}

#[test]
fn r11_a_deadline_that_is_put_off_wakes_no_wait_and_comes_at_its_new_time() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let (scope, inner) = (CancelScope::new().timeout(2 * SECOND), CancelScope::new());
    let (handle, inside) = (scope.handle(), inner.handle());
    let mut run = hand(task(scope.run(inner.run(pending::<()>()))).clock(clock.clone()));
    run.pending();
    let mut waits = [hand(handle.cancelled()), hand(inside.cancelled())];
    waits.iter_mut().for_each(|wait| wait.pending());
    for seconds in 4..8 {
        scope.set_deadline(start + seconds * SECOND);
        assert_eq!(inside.deadline(), Some(start + seconds * SECOND));
    }
    assert!(waits.iter().all(|wait| wait.wakes.count() == 0));
    clock.advance(2 * SECOND);
    waits.iter_mut().for_each(|wait| wait.pending());
    clock.advance(5 * SECOND);
    // The run is not polled.
    waits.iter_mut().for_each(|wait| wait.ready());
    run.drive().unwrap_err();
}

#[test]
fn r11_a_deadline_that_is_brought_forward_after_it_was_put_off_comes_in_time() {
    // Before the timers of the waits, and after them.
    for forward in [1, 3] {
        let clock = MockClock::new();
        let start = moored::Clock::now(&clock);
        let (scope, inner) = (CancelScope::new().timeout(2 * SECOND), CancelScope::new());
        let (handle, inside) = (scope.handle(), inner.handle());
        let mut run = hand(task(scope.run(inner.run(pending::<()>()))).clock(clock.clone()));
        run.pending();
        let mut waits = [hand(handle.cancelled()), hand(inside.cancelled())];
        waits.iter_mut().for_each(|wait| wait.pending());
        scope.set_deadline(start + 9 * SECOND);
        scope.set_deadline(start + forward * SECOND);
        waits.iter_mut().for_each(|wait| wait.pending());
        for second in 1..forward {
            clock.advance(SECOND);
            assert_eq!(waits[0].wakes.count(), usize::from(second == 2));
            waits.iter_mut().for_each(|wait| wait.pending());
        }
        clock.advance(SECOND);
        waits.iter_mut().for_each(|wait| wait.ready());
        run.drive().unwrap_err();
    }
}

#[test]
fn r11_a_wait_is_told_once_of_a_deadline_that_is_brought_forward_until_it_has_looked() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let (scope, inner) = (CancelScope::new().timeout(9 * SECOND), CancelScope::new());
    let (handle, inside) = (scope.handle(), inner.handle());
    let mut run = hand(task(scope.run(inner.run(pending::<()>()))).clock(clock.clone()));
    run.pending();
    let mut waits = [hand(handle.cancelled()), hand(inside.cancelled())];
    let mut tightened = hand(inside.tightened(Some(start + 4 * SECOND)));
    waits.iter_mut().for_each(|wait| wait.pending());
    tightened.pending();
    for seconds in [8, 7, 6] {
        scope.set_deadline(start + seconds * SECOND);
    }
    assert!(waits.iter().all(|wait| wait.wakes.count() == 1));
    tightened.pending();
    waits[1].pending();
    scope.set_deadline(start + 5 * SECOND);
    assert_eq!(waits[1].wakes.count(), 2);
    scope.set_deadline(start + 3 * SECOND);
    tightened.ready();
    waits.iter_mut().for_each(|wait| wait.pending());
    clock.advance(3 * SECOND);
    waits.iter_mut().for_each(|wait| wait.ready());
    run.drive().unwrap_err();
}

#[test]
fn r11_a_deadline_given_from_another_thread_wakes_the_run() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let scope = Arc::new(CancelScope::new());
    let theirs = Arc::clone(&scope);
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    std::thread::spawn(move || theirs.set_deadline(start)).join().unwrap();
    assert_eq!(run.wakes.count(), 1);
    run.ready().unwrap_err();
}

#[test]
fn r11_a_later_deadline_never_un_cancels() {
    let clock = MockClock::new();
    let start = moored::Clock::now(&clock);
    let scope = CancelScope::new();
    scope.cancel();
    scope.set_deadline(start + 100 * SECOND);
    let run = hand(task(scope.run(pending::<()>())).clock(clock)).ready();
    assert_eq!(run.unwrap_err().reason().kind(), ReasonKind::Requested);
}

#[test]
fn r11_the_outer_deadline_cancels_what_is_inside() {
    let clock = MockClock::new();
    let outer = CancelScope::new().timeout(SECOND);
    let mut run = hand(
        task(outer.run(async {
            let inner = CancelScope::new().timeout(5 * SECOND);
            inner.run(pending::<()>()).await
        }))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND);
    run.ready().unwrap_err();
}

#[test]
fn r11_a_clock_is_inherited_through_regions_and_children() {
    let clock = MockClock::new();
    let mut run = hand(
        task(async {
            let group: moored::TaskGroup<'_, ()> = moored::TaskGroup::new();
            group
                .run(async {
                    let child = group.spawn(async {
                        let scope = CancelScope::new().timeout(SECOND);
                        Ok(scope.run(pending::<()>()).await.is_err())
                    });
                    Ok(child.join().await.unwrap())
                })
                .await
        })
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(SECOND);
    assert!(run.drive().unwrap());
}

/// Counts the timers that were armed.
struct Counting(MockClock, Arc<AtomicUsize>);

impl moored::Clock for Counting {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> moored::Sleep {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sleep_until(at)
    }
}

#[test]
fn r11_no_timer_is_armed_for_a_body_that_is_ready_at_once() {
    let armed = Arc::new(AtomicUsize::new(0));
    let clock = Counting(MockClock::new(), Arc::clone(&armed));
    let scope = CancelScope::new().timeout(SECOND);
    hand(task(scope.run(async {})).clock(clock)).ready().unwrap();
    assert_eq!(armed.load(Ordering::SeqCst), 0);
}

#[test]
fn r11_one_timer_is_armed_however_often_the_body_is_polled() {
    let armed = Arc::new(AtomicUsize::new(0));
    let clock = Counting(MockClock::new(), Arc::clone(&armed));
    let scope = CancelScope::new().timeout(SECOND);
    let body = async {
        for _ in 0..100 {
            yield_now().await;
        }
    };
    hand(task(scope.run(body)).clock(clock)).drive().unwrap();
    assert_eq!(armed.load(Ordering::SeqCst), 1);
}

#[test]
fn r11_a_timeout_that_no_clock_can_tell_is_none() {
    let scope = CancelScope::new().timeout(Duration::MAX);
    let mut run = hand(task(scope.run(yield_now())).clock(MockClock::new()));
    run.drive().unwrap();
}

#[test]
fn r11_an_adopted_exit_keeps_the_clock_of_its_task() {
    let armed = Arc::new(AtomicUsize::new(0));
    let clock = Counting(MockClock::new(), Arc::clone(&armed));
    let mut run = hand(task(async {
        let inner = task(async {
            let stack = ExitStack::new();
            stack.defer(async {
                // Abandoned in its turn, so that a walk outwards passes a region that was left.
                let deeper = ExitStack::new();
                deeper.defer(async {
                    let scope = CancelScope::new().timeout(SECOND);
                    scope.run(yield_now()).await.unwrap();
                });
            });
            stack.run(pending::<Result<(), ()>>()).await
        });
        lose(inner.clock(clock)).await;
    }));
    run.drive();
    assert_eq!(armed.load(Ordering::SeqCst), 1);
}

#[test]
fn r11_a_deadline_that_another_thread_sets_in_the_first_poll_is_heard_inside() {
    let (log, clock, scope) = (Log::new(), MockClock::new(), CancelScope::new());
    let at = clock.now() + SECOND;
    let body = async {
        let inner = CancelScope::new();
        let body = async {
            std::thread::scope(|threads| {
                threads.spawn(|| scope.set_deadline(at)).join().unwrap();
            });
            moored::cancelled().await;
            log.add("heard");
            pending::<()>().await
        };
        inner.run(body).await
    };
    let mut run = hand(task(scope.run(body)).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    let cancelled = run.drive().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    log.is(&["heard"]);
}

/// Drops a stack that has an exit, which waits for `gate`, so that the region around adopts it (R8).
async fn leave_an_exit(gate: &Gate) {
    let stack = ExitStack::new();
    let gate = gate.clone();
    stack.defer(async move { gate.wait().await });
    lose(stack.run(pending::<Result<(), ()>>())).await;
}

#[test]
fn r11_the_deadline_of_a_scope_ends_with_its_body_for_a_wait_by_its_handle_as_well() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    let (mut cancelled, mut tightened) = (hand(handle.cancelled()), hand(handle.tightened(None)));
    let mut run = hand(task(scope.run(leave_an_exit(&gate))).clock(clock.clone()));
    cancelled.pending();
    tightened.pending();
    run.pending();
    assert_eq!(handle.deadline(), None, "the body has ended");
    clock.advance(2 * SECOND);
    cancelled.pending();
    tightened.pending();
    assert!(handle.reason().is_none());
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r13_a_grace_cancels_no_scope_whose_body_has_ended() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let scope = CancelScope::new().grace(SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(leave_an_exit(&gate))).clock(clock.clone()));
    run.pending();
    let (mut cancelled, mut tightened) = (hand(handle.cancelled()), hand(handle.tightened(None)));
    cancelled.pending();
    tightened.pending();
    handle.stop_within(Duration::ZERO);
    clock.advance(2 * SECOND);
    cancelled.pending();
    tightened.pending();
    assert!(handle.is_stop_requested());
    assert!(handle.deadline().is_none() && handle.reason().is_none());
    gate.open();
    run.ready().unwrap();
}

#[test]
fn r11_the_deadline_ends_with_the_body_for_a_handle_that_another_thread_made_meanwhile() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let scope = CancelScope::new();
    let mut handle = None;
    let body = async {
        // Now the scope has a node, and the thread makes another one.
        leave_an_exit(&gate).await;
        handle = std::thread::scope(|threads| threads.spawn(|| scope.handle()).join().ok());
    };
    let mut run = Box::pin(task(scope.run(body)).clock(clock.clone()));
    let mut first = hand(&mut run);
    first.pending();
    drop(first);
    let outside = scope.handle();
    outside.stop_within(SECOND);
    let mut cancelled = hand(outside.cancelled());
    cancelled.pending();
    assert_eq!(outside.deadline(), None, "the body has ended");
    clock.advance(2 * SECOND);
    cancelled.pending();
    assert!(outside.reason().is_none());
    gate.open();
    hand(run).ready().unwrap();
    assert!(handle.is_some());
}
