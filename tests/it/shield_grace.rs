//! The grace of a shield, and a shield that gave way (R12).

use super::shield::SECOND;
use crate::support::{Gate, Log, hand, poll_once, yield_now};
use futures::future::join;
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, task};
use std::future::pending;

#[test]
fn r12_a_grace_bounds_the_shield_from_the_cancellation_on() {
    let clock = MockClock::new();
    let outer = CancelScope::new();
    let mut run = hand(
        task(outer.run(async {
            CancelScope::new().shielded().grace(SECOND).run(pending::<()>()).await.unwrap()
        }))
        .clock(clock.clone()),
    );
    run.pending();
    assert_eq!(clock.sleepers(), 0, "nothing is cancelled yet");
    clock.advance(10 * SECOND);
    run.pending();
    outer.cancel();
    run.pending();
    clock.advance(SECOND / 2);
    run.pending();
    clock.advance(SECOND / 2);
    assert!(run.drive().is_err());
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r12_what_the_grace_is_over_for_runs_its_exits() {
    let clock = MockClock::new();
    let log = Log::new();
    let outer = CancelScope::new();
    let stack = ExitStack::new();
    let body = async {
        let shielded = CancelScope::new().shielded().grace(SECOND);
        let run = shielded.run(stack.run(async {
            stack.defer(log.entry("exit"));
            pending::<Result<(), ()>>().await
        }));
        let _ = run.await;
        log.add("never");
    };
    let mut run = moored::testing::hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    assert!(run.drive_with(&clock).is_err());
    log.is(&["exit"]);
}

// Inside each kind of combinator.

#[test]
fn r12_what_is_inside_a_shield_that_gave_way_sees_what_is_cancelled_around_it() {
    let clock = MockClock::new();
    let outer = CancelScope::new();
    let shielded = CancelScope::new().shielded().grace(SECOND);
    let body = shielded.run(async {
        let waits = moored::cancelled();
        assert!(!moored::is_cancelled());
        waits.await;
        assert!(moored::is_cancelled());
        "told"
    });
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    run.pending();
    clock.advance(SECOND);
    assert_eq!(run.drive().unwrap().unwrap(), "told");
}

#[test]
fn r12_the_grace_of_a_shield_that_is_being_left_goes_on() {
    let (clock, gate, log) = (MockClock::new(), Gate::new(), Log::new());
    let outer = CancelScope::new();
    let stack = ExitStack::new();
    let body = async {
        let beside = async {
            let _gone = log.on_drop("body");
            pending::<()>().await
        };
        let shielded = CancelScope::new().shielded().grace(SECOND);
        let shielded = shielded.run(async {
            // Abandoned inside: the shield runs its exit, and then it is left.
            let inner = ExitStack::new();
            inner.defer(gate.wait());
            yield_now().await;
        });
        let _ = join(beside, shielded).await;
    };
    let mut run = hand(
        task(stack.run(async {
            let _ = outer.run(body).await;
            log.add("outer");
            Ok::<(), ()>(())
        }))
        .clock(clock.clone()),
    );
    run.pending();
    outer.cancel();
    run.idle();
    clock.advance(SECOND / 2);
    run.idle();
    log.is(&[]);
    clock.advance(SECOND / 2);
    run.idle();
    log.is(&["body"]);
    gate.open();
    run.drive().unwrap();
    log.is(&["body", "outer"]);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r12_the_grace_of_a_shield_inside_another_one_begins_when_that_one_gives_way() {
    let clock = MockClock::new();
    let outer = CancelScope::new();
    let body = async {
        let inner = async {
            CancelScope::new().shielded().grace(SECOND).run(pending::<()>()).await.unwrap()
        };
        CancelScope::new().shielded().grace(SECOND).run(inner).await.unwrap();
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    run.idle();
    clock.advance(SECOND);
    run.idle();
    clock.advance(SECOND);
    assert!(run.drive().is_err());
}

#[test]
fn r12_what_is_inside_an_entered_shield_that_gave_way_sees_what_is_cancelled_around_it() {
    let (clock, log) = (MockClock::new(), Log::new());
    let outer = CancelScope::new();
    let body = async {
        let entered = CancelScope::new().shielded().grace(SECOND).enter().unwrap();
        let run = entered.run(async {
            assert!(!moored::is_cancelled());
            moored::cancelled().await;
            log.add("told");
        });
        let _ = run.await;
        let again = entered.run(async { moored::is_cancelled() }).await.unwrap();
        log.add(format!("the next run is cancelled: {again}"));
        let _ = entered.exit();
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    outer.cancel();
    run.idle();
    log.is(&[]);
    clock.advance(SECOND);
    run.drive().unwrap();
    log.is(&["told", "the next run is cancelled: true"]);
}

#[test]
fn r12_a_grace_ends_with_the_cancellation_that_began_it() {
    let (clock, log, gate) = (MockClock::new(), Log::new(), Gate::new());
    let outer = CancelScope::new();
    let body = async {
        let shielded = CancelScope::new().shielded().grace(SECOND);
        let waits = async {
            gate.wait().await;
            log.add("done");
        };
        let mut lent = Box::pin(shielded.run(waits));
        let inner = CancelScope::new();
        let lends = async {
            assert!(poll_once(&mut lent).await.is_pending());
            inner.cancel();
            assert!(poll_once(&mut lent).await.is_pending());
        };
        inner.run(lends).await.unwrap();
        let _ = lent.await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.idle();
    clock.advance(2 * SECOND);
    run.idle();
    outer.cancel();
    run.idle();
    gate.open();
    let _ = run.drive();
    log.is(&["done"]);
}

#[test]
fn r12_the_runs_of_an_entered_shield_share_the_grace_of_a_cancellation() {
    let clock = MockClock::new();
    let (outer, log) = (CancelScope::new(), Log::new());
    let gates = [Gate::new(), Gate::new()];
    let body = async {
        let scope = CancelScope::new().shielded().grace(SECOND).enter().unwrap();
        for gate in &gates {
            scope.run(gate.wait()).await.unwrap();
            log.add("ran");
        }
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.idle();
    outer.cancel();
    run.idle();
    clock.advance(SECOND * 6 / 10);
    gates[0].open();
    run.idle();
    log.is(&["ran"]);
    clock.advance(SECOND * 6 / 10);
    run.ready().unwrap_err();
}

#[test]
fn r12_a_grace_goes_on_where_something_nearer_is_cancelled_meanwhile() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let shield = CancelScope::new().shielded().grace(2 * SECOND);
    let mut run =
        hand(task(outer.run(inner.run(shield.run(pending::<()>())))).clock(clock.clone()));
    run.pending();
    outer.cancel_because("first");
    run.pending();
    clock.advance(SECOND);
    inner.cancel();
    run.pending();
    clock.advance(SECOND);
    let cancelled = run.drive().unwrap_err();
    assert_eq!(cancelled.reason().message(), Some("first"));
}
