//! Chains of regions with times.

use super::{chain_with, in_a_task, nested, on_a_deep_stack, steps_per_region};
use crate::checkpoint::{cancelled, checkpoint, current_deadline, is_cancelled, is_stop_requested};
use crate::clock::Clock;
use crate::scope::{CancelScope, Cancellation, EnteredScope};
use crate::testing::{Hand, MockClock, hand};
use crate::timeout::move_on_after;
use futures::future::FutureExt;
use std::future::{pending, poll_fn};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Polls a wait for the cancellation of each scope once.
fn awaited<'a>(scopes: impl IntoIterator<Item = &'a EnteredScope>) -> Vec<Hand<Cancellation>> {
    let wait = |scope: &EnteredScope| {
        let mut wait = hand(scope.handle().cancelled());
        wait.pending();
        wait
    };
    scopes.into_iter().map(wait).collect()
}

/// No deadline; that of the outermost scope comes first; that of the innermost; each has the same.
fn timed(at: usize, which: usize) -> CancelScope {
    let scope = CancelScope::new();
    let minute = Duration::from_secs(60);
    match which {
        0 if at == 0 => scope.timeout(HOUR),
        0 => scope,
        1 => scope.timeout(HOUR + minute * u32::try_from(at).unwrap()),
        2 => scope.timeout(HOUR * 1_000 - minute * u32::try_from(at).unwrap()),
        _ => scope.timeout(HOUR),
    }
}

#[test]
fn r19_waits_in_a_chain_with_deadlines() {
    for which in 0..4 {
        for inside_out in [false, true] {
            steps_per_region(100, |n| {
                in_a_task(|| {
                    let chain = chain_with(n, |at| timed(at, which));
                    let waits = match inside_out {
                        true => awaited(chain.iter().rev()),
                        false => awaited(&chain),
                    };
                    drop((waits, chain));
                });
            });
        }
    }
}

#[test]
fn r19_waits_in_one_region_far_inside_a_deadline() {
    for which in 0..4 {
        steps_per_region(100, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                let waits = awaited((0..n).map(|_| &chain[n - 1]));
                drop(waits);
                chain.into_iter().rev().for_each(drop);
            });
        });
    }
}

#[test]
fn r19_questions_in_a_chain_with_deadlines() {
    for which in 0..4 {
        steps_per_region(150, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                for scope in &chain {
                    assert!(!scope.handle().is_cancelled());
                    assert!(!scope.handle().is_stop_requested());
                    assert!(scope.handle().reason().is_none());
                    assert!(scope.handle().deadline().is_some());
                    assert!(
                        hand(scope.run(async { current_deadline() })).ready().unwrap().is_some()
                    );
                }
                chain.into_iter().rev().for_each(drop);
            });
        });
    }
}

#[test]
fn r19_a_chain_with_deadlines_that_is_left_from_outside_in_while_it_is_awaited() {
    for which in 0..4 {
        steps_per_region(100, |n| {
            in_a_task(|| {
                let chain = chain_with(n, |at| timed(at, which));
                let waits = awaited(&chain);
                chain.into_iter().for_each(drop);
                drop(waits);
            });
        });
    }
}

#[test]
fn r19_times_that_come_at_once() {
    on_a_deep_stack(|| {
        steps_per_region(100, |n| {
            let clock = MockClock::new();
            let body =
                nested(n, pending().boxed(), |body| move_on_after(HOUR, body).map(|_| ()).boxed());
            let mut run = hand(crate::task::task(body).clock(clock.clone()));
            run.pending();
            clock.advance(HOUR);
            run.drive();
        });
    });
    steps_per_region(100, |n| {
        let clock = MockClock::new();
        let work = async {
            let chain = chain_with(n, |at| timed(at, 3));
            let mut waits = awaited(&chain);
            clock.advance(HOUR);
            waits.iter_mut().rev().for_each(Hand::ready);
            drop((waits, chain));
        };
        hand(crate::task::task(work).clock(clock.clone())).drive();
    });
}

/// `n` waits inside a scope, in scopes side by side or inside each other. The deadline of the scope is set `n` times, to `at`, and
/// the waits that were woken are polled: after each change, or after the last one.
fn moved(n: usize, chained: bool, polls_each_time: bool, at: fn(u32, u32) -> u32) {
    let (clock, outer) = (MockClock::new(), CancelScope::new().timeout(HOUR * 2));
    let body = async {
        let chain = match chained {
            true => chain_with(n, |_| CancelScope::new()),
            false => (0..n).map(|_| CancelScope::new().enter().unwrap()).collect(),
        };
        let mut waits = awaited(&chain);
        let mut woken = vec![0; n];
        let mut poll_woken = || {
            for (wait, before) in waits.iter_mut().zip(&mut woken) {
                if std::mem::replace(before, wait.wakes()) != wait.wakes() {
                    wait.pending();
                }
            }
        };
        let n = u32::try_from(n).unwrap();
        for change in 0..n {
            outer.set_deadline(clock.now() + HOUR + HOUR / n * at(change, n));
            if polls_each_time {
                poll_woken();
            }
        }
        poll_woken();
        drop((waits, chain));
    };
    hand(crate::task::task(outer.run(body)).clock(clock.clone())).drive().unwrap();
}

#[test]
fn r19_a_deadline_that_is_moved_around_waits() {
    for chained in [false, true] {
        // Put off each time; brought forward; now the one and now the other, as long as it is put off in all.
        steps_per_region(60, |n| moved(n, chained, true, |change, n| n + change));
        steps_per_region(60, |n| moved(n, chained, false, |change, n| n - change));
        steps_per_region(60, |n| moved(n, chained, true, |change, n| n + change % 2));
        steps_per_region(60, |n| moved(n, chained, false, |change, n| n - change % 2));
    }
}

/// All questions to the current region, inside a region that is cancelled.
fn ask() {
    assert!(is_cancelled() && !is_stop_requested());
    let _ = current_deadline();
    hand(checkpoint()).pending();
    hand(cancelled()).ready();
}

#[test]
fn r19_questions_in_each_region_inside_one_that_is_cancelled() {
    for which in 0..4 {
        for inside_out in [false, true] {
            steps_per_region(240, |n| {
                in_a_task(|| {
                    let mut chain = chain_with(n, |at| timed(at, which));
                    chain[0].handle().cancel();
                    if inside_out {
                        chain.reverse();
                    }
                    for scope in &chain {
                        let handle = scope.handle();
                        assert!(handle.deadline().is_some());
                        assert!(handle.is_cancelled() && !handle.is_stop_requested());
                        assert!(handle.reason().is_some());
                        hand(handle.tightened(None)).ready();
                        hand(scope.run(async { ask() })).ready().unwrap();
                    }
                    drop(chain);
                });
            });
        }
    }
    on_a_deep_stack(|| {
        steps_per_region(240, |n| {
            let scope = CancelScope::new().timeout(HOUR);
            let body = nested(n, pending().boxed(), |mut body| {
                let asks = poll_fn(move |cx| {
                    if is_cancelled() {
                        ask();
                    }
                    body.as_mut().poll(cx)
                });
                move_on_after(HOUR, asks).map(|_| ()).boxed()
            });
            let mut run = hand(scope.run(body));
            run.pending();
            scope.cancel();
            assert!(run.drive().is_err());
        });
    });
}
