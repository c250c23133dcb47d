//! Of nested regions whose times have come, the outermost catches (R9).

use super::outermost::SECOND;
use crate::support::{Executor, Log, hand};
use moored::testing::MockClock;
use moored::{
    CancelScope, ReasonKind, TaskGroup, fail_after, fail_at, move_on_after, move_on_at, shield,
    task,
};
use std::future::{Future, pending};
use std::time::Duration;

// Deadlines.

/// Runs `body` in a scope with a deadline in one second. The body must not go on after it.
#[track_caller]
fn is_caught_outside<F: Future>(body: impl FnOnce(MockClock, Log) -> F) {
    let (clock, log) = (MockClock::new(), Log::new());
    let outer = CancelScope::new().timeout(SECOND);
    let body = body(clock.clone(), log.clone());
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    let cancelled = run.drive().map(drop).expect_err("the outer one counts");
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    log.is(&[]);
}

#[test]
fn r09_of_two_deadlines_at_one_instant_the_outer_one_counts() {
    is_caught_outside(|_, log| async move {
        let _ = CancelScope::new().timeout(SECOND).run(pending::<()>()).await;
        log.add("resumed");
    });
    is_caught_outside(|_, log| async move {
        move_on_after(SECOND, pending::<()>()).await;
        log.add("resumed");
    });
    is_caught_outside(|_, log| async move {
        let _ = fail_after(SECOND, pending::<()>()).await;
        log.add("resumed");
    });
    is_caught_outside(|_, log| async move {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        let _ = entered.run(pending::<()>()).await;
        log.add("resumed");
    });
    is_caught_outside(|_, log| async move {
        let at = moored::current_deadline().unwrap();
        move_on_at(at, pending::<()>()).await;
        log.add("resumed");
    });
    is_caught_outside(|_, log| async move {
        let at = moored::current_deadline().unwrap();
        let _ = fail_at(at, pending::<()>()).await;
        log.add("resumed");
    });
}

#[test]
fn r09_an_outer_deadline_that_has_passed_counts_though_the_inner_one_is_seen_first() {
    let (clock, log) = (MockClock::new(), Log::new());
    let at = moored::Clock::now(&clock);
    let outer = CancelScope::new().deadline(at);
    // Both have passed before the first poll, in which the inner one arms its timer first.
    let body = async {
        move_on_at(at, pending::<()>()).await;
        log.add("resumed");
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    assert_eq!(run.drive().unwrap_err().reason().kind(), ReasonKind::Deadline);
    let outer = CancelScope::new().deadline(at);
    let body = async {
        move_on_after(Duration::ZERO, pending::<()>()).await;
        log.add("resumed");
    };
    let mut run = hand(task(outer.run(body)).clock(clock));
    assert!(run.drive().is_err());
    log.is(&[]);
}

#[test]
fn r09_an_outer_deadline_at_the_same_instant_counts_across_tasks() {
    let (clock, log, executor) = (MockClock::new(), Log::new(), Executor::new());
    let outer = CancelScope::new().timeout(SECOND);
    let body = async {
        let group = TaskGroup::<()>::new();
        let log = log.clone();
        drop(group.spawn_on(&executor, async move {
            let at = moored::current_deadline().unwrap();
            let _ = fail_at(at, pending::<()>()).await;
            log.add("resumed");
            Ok(())
        }));
        let _ = group.run(pending::<Result<(), ()>>()).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    executor.run();
    clock.advance(SECOND);
    // The child is polled before the outer scope, which has not seen yet that its time is over.
    executor.run();
    assert!(outer.is_cancelled());
    while run.poll().is_pending() {
        executor.run();
    }
    log.is(&[]);
}

#[test]
fn r09_a_deadline_behind_a_shield_does_not_count_for_what_is_inside() {
    let clock = MockClock::new();
    let outer = CancelScope::new().timeout(SECOND);
    let body = shield(async { fail_after(SECOND, pending::<()>()).await.is_err() });
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    clock.advance(SECOND);
    assert!(run.drive().unwrap(), "the shield keeps the outer one from it");
}

#[test]
fn r09_deadlines_of_different_clocks_are_not_compared() {
    let (clock, other) = (MockClock::new(), MockClock::new());
    let outer = CancelScope::new().timeout(SECOND);
    let inner = task(async { fail_after(5 * SECOND, pending::<()>()).await.is_err() });
    let mut run = hand(task(outer.run(inner.clock(other.clone()))).clock(clock));
    run.pending();
    other.advance(5 * SECOND);
    assert!(run.drive().unwrap(), "by its own clock the outer one has time left");
}

#[test]
fn r09_deadlines_of_two_clocks_are_not_compared_where_two_of_one_clock_are() {
    let (clock, other) = (MockClock::new(), MockClock::new());
    let outer = CancelScope::new().timeout(SECOND);
    let around = CancelScope::new().timeout(5 * SECOND);
    let inside = CancelScope::new().timeout(4 * SECOND);
    let handle = inside.handle();
    let both = async { around.run(inside.run(pending::<()>())).await.is_err() };
    let mut run = hand(task(outer.run(task(both).clock(other.clone()))).clock(clock));
    run.pending();
    let mut waits = hand(handle.cancelled());
    waits.pending();
    other.advance(5 * SECOND);
    waits.ready();
    assert!(run.drive().unwrap(), "by its own clock the outer one has time left");
}

// Nothing is masked.

#[test]
fn r09_a_stop_whose_grace_ends_at_the_instant_of_an_inner_deadline_counts_across_tasks() {
    let (clock, log, executor) = (MockClock::new(), Log::new(), Executor::new());
    let outer = CancelScope::new().grace(SECOND);
    let body = async {
        let group = TaskGroup::<()>::new();
        let log = log.clone();
        drop(group.spawn_on(&executor, async move {
            let _ = move_on_after(SECOND, pending::<()>()).await;
            log.add("resumed");
            Ok(())
        }));
        let _ = group.run(pending::<Result<(), ()>>()).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.stop();
    run.pending();
    executor.run();
    clock.advance(SECOND);
    // The child is polled before the outer scope, which has not seen yet that its grace is over.
    executor.run();
    assert!(outer.is_cancelled());
    while run.poll().is_pending() {
        executor.run();
    }
    log.is(&[]);
}

#[test]
fn r09_an_outer_deadline_at_the_instant_at_which_an_inner_grace_ends_counts_across_tasks() {
    let (clock, log, executor) = (MockClock::new(), Log::new(), Executor::new());
    let outer = CancelScope::new().timeout(SECOND);
    let body = async {
        let group = TaskGroup::<()>::new();
        let log = log.clone();
        drop(group.spawn_on(&executor, async move {
            let inner = CancelScope::new().grace(SECOND);
            inner.stop();
            let _ = inner.run(pending::<()>()).await;
            log.add("resumed");
            Ok(())
        }));
        let _ = group.run(pending::<Result<(), ()>>()).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    executor.run();
    clock.advance(SECOND);
    executor.run();
    assert!(outer.is_cancelled());
    while run.poll().is_pending() {
        executor.run();
    }
    log.is(&[]);
}
