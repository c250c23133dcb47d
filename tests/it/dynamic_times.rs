//! Deadlines and graces of entered scopes: over several runs, and while nothing runs in them (R11, R13).

use super::dynamic::SECOND;
use crate::support::{Gate, Hand, block_on, hand, poll_once};
use moored::testing::MockClock;
use moored::{CancelScope, EnteredScope, ReasonKind, task};
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

// Deadlines over several runs.

#[test]
fn r11_the_deadline_of_an_entered_scope_starts_at_enter_and_spans_its_runs() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().timeout(3 * SECOND).enter().unwrap();
        entered.run(async { clock.advance(SECOND) }).await.unwrap();
        clock.advance(SECOND);
        entered.run(async {}).await.unwrap();
        let run = entered.run(async {
            clock.advance(SECOND);
            pending::<()>().await
        });
        let cancelled = run.await.unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
        // It stays cancelled, for every later run.
        assert!(entered.run(pending::<()>()).await.is_err());
        assert_eq!(entered.exit().unwrap().reason().unwrap().kind(), ReasonKind::Deadline);
    };
    hand(task(body).clock(clock.clone())).drive();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_a_deadline_that_passed_between_two_runs_cancels_the_next_one() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        clock.advance(2 * SECOND);
        let cancelled = entered.run(pending::<()>()).await.unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
        entered.exit().unwrap();
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r11_the_deadline_of_an_entered_scope_is_seen_inside_its_runs_and_not_beside_them() {
    let clock = MockClock::new();
    let at = moored::Clock::now(&clock) + SECOND;
    let body = async {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        assert_eq!(moored::current_deadline(), None);
        let seen = entered.run(async { moored::current_deadline() }).await.unwrap();
        assert_eq!(seen, Some(at));
        entered.exit().unwrap();
    };
    hand(task(body).clock(clock.clone())).drive();
    assert_eq!(clock.sleepers(), 0);
}

// Times while nothing runs in it.

/// An entered scope of a task that waits for the gate, by a clock of its own.
fn entered_by(
    clock: &MockClock,
    scope: CancelScope,
) -> (EnteredScope, Hand<impl Future<Output = ()>>) {
    let place = Arc::new(Mutex::new(None));
    let gate = Gate::new();
    let mut owner = hand(
        task({
            let place = Arc::clone(&place);
            async move {
                *place.lock().unwrap() = Some(scope.enter().unwrap());
                gate.wait().await;
            }
        })
        .clock(clock.clone()),
    );
    owner.pending();
    let entered = place.lock().unwrap().take().unwrap();
    (entered, owner)
}

#[test]
fn r11_a_wait_arms_the_deadline_of_an_entered_scope_in_which_nothing_runs() {
    let clock = MockClock::new();
    let (entered, _owner) = entered_by(&clock, CancelScope::new().timeout(SECOND));
    assert_eq!(clock.sleepers(), 0, "nobody waits for it");
    let handle = entered.handle();
    let mut waits = hand(handle.cancelled());
    waits.pending();
    assert_eq!(clock.sleepers(), 1);
    clock.advance(SECOND);
    assert_eq!(waits.wakes.count(), 1);
    waits.ready();
    assert_eq!(clock.sleepers(), 0);
    assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Deadline);
}

#[test]
fn r11_a_wait_from_before_the_entry_arms_the_deadline() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let mut waits = hand(scope.handle().cancelled());
    waits.pending();
    let (_entered, _owner) = entered_by(&clock, scope);
    assert_eq!(waits.wakes.count(), 1);
    waits.pending();
    clock.advance(SECOND);
    waits.ready();
}

#[test]
fn r11_a_question_looks_at_the_clock_where_nothing_runs() {
    let clock = MockClock::new();
    let (entered, _owner) = entered_by(&clock, CancelScope::new().timeout(SECOND));
    let handle = entered.handle();
    assert!(!handle.is_cancelled() && handle.reason().is_none());
    clock.advance(SECOND - Duration::from_nanos(1));
    assert!(!handle.is_cancelled() && handle.reason().is_none());
    clock.advance(Duration::from_nanos(1));
    assert!(handle.is_cancelled());
    assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Deadline);
    let (entered, _owner) = entered_by(&clock, CancelScope::new().timeout(SECOND));
    let handle = entered.handle();
    clock.advance(SECOND);
    assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Deadline);
}

#[test]
fn r11_exit_tells_of_a_deadline_that_passed_while_nothing_ran() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        let handle = entered.handle();
        clock.advance(SECOND);
        // The deadline came first.
        handle.cancel_because("too late");
        handle.stop();
        assert_eq!(entered.exit().unwrap().reason().unwrap().kind(), ReasonKind::Deadline);
        let in_time = CancelScope::new().timeout(SECOND).enter().unwrap();
        assert!(in_time.exit().unwrap().reason().is_none());
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r09_the_deadline_of_a_scope_that_was_exited_acts_on_nobody() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().timeout(SECOND).enter().unwrap();
        let handle = entered.handle();
        let mut waits = hand(handle.cancelled());
        waits.pending();
        entered.exit().unwrap();
        clock.advance(SECOND);
        assert!(!handle.is_cancelled() && handle.reason().is_none());
        waits.pending();
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r13_the_grace_after_a_stop_goes_on_while_nothing_runs() {
    for waits_too in [false, true] {
        let clock = MockClock::new();
        let (entered, _owner) = entered_by(&clock, CancelScope::new().grace(2 * SECOND));
        let handle = entered.handle();
        let mut waits = hand(handle.cancelled());
        if waits_too {
            waits.pending();
        }
        clock.advance(10 * SECOND);
        assert!(!handle.is_cancelled(), "nobody has asked it to stop");
        handle.stop();
        if waits_too {
            assert_eq!(waits.wakes.count(), 1, "it has a time to arm");
            waits.pending();
        }
        clock.advance(2 * SECOND - Duration::from_nanos(1));
        assert!(!handle.is_cancelled());
        clock.advance(Duration::from_nanos(1));
        if waits_too {
            waits.ready();
        }
        assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Requested);
        assert!(handle.is_cancelled());
    }
}

#[test]
fn r13_exit_tells_of_a_stop_whose_grace_is_over() {
    for (waited, cancelled) in [(SECOND, false), (2 * SECOND, true)] {
        let clock = MockClock::new();
        let body = async {
            let entered = CancelScope::new().grace(2 * SECOND).enter().unwrap();
            entered.handle().stop();
            clock.advance(waited);
            assert_eq!(entered.exit().unwrap().reason().is_some(), cancelled);
        };
        hand(task(body).clock(clock.clone())).drive();
    }
}

#[test]
fn r13_a_stop_from_before_the_entry_has_its_grace_from_the_entry_on_though_nothing_runs() {
    let clock = MockClock::new();
    let scope = CancelScope::new().grace(SECOND);
    scope.stop();
    clock.advance(5 * SECOND);
    let (entered, _owner) = entered_by(&clock, scope);
    let handle = entered.handle();
    assert!(!handle.is_cancelled());
    clock.advance(SECOND);
    assert!(handle.is_cancelled());
}

#[test]
fn r10_of_a_deadline_and_a_grace_the_one_that_came_first_is_the_reason() {
    for (grace, kind) in [(1, ReasonKind::Requested), (3, ReasonKind::Deadline)] {
        let clock = MockClock::new();
        let scope = CancelScope::new().timeout(2 * SECOND).grace(grace * SECOND);
        let (entered, _owner) = entered_by(&clock, scope);
        let handle = entered.handle();
        handle.stop();
        clock.advance(10 * SECOND);
        assert_eq!(handle.reason().unwrap().kind(), kind);
    }
}

#[test]
fn r12_the_grace_of_an_entered_shield_goes_on_while_nothing_runs() {
    // Without a question in between, the grace begins with the cancellation all the same.
    for (waits_too, asks) in [(false, false), (false, true), (true, true)] {
        let clock = MockClock::new();
        let outer = CancelScope::new();
        let place = Mutex::new(None);
        let gate = Gate::new();
        let body = outer.run(async {
            let shield = CancelScope::new().shielded().grace(SECOND).enter().unwrap();
            *place.lock().unwrap() = Some((shield.handle(), shield));
            moored::shield(gate.wait()).await;
        });
        let mut run = hand(task(body).clock(clock.clone()));
        run.pending();
        let (handle, _shield) = place.lock().unwrap().take().unwrap();
        let mut waits = hand(handle.cancelled());
        if waits_too {
            waits.pending();
        }
        outer.cancel();
        if waits_too {
            waits.pending();
        }
        if asks {
            assert!(!handle.is_cancelled());
        }
        clock.advance(SECOND);
        if waits_too {
            waits.ready();
        }
        assert!(handle.is_cancelled());
        assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent);
    }
}

#[test]
fn r11_the_deadline_of_an_entered_scope_reaches_what_was_entered_inside_it() {
    for waits_too in [false, true] {
        let clock = MockClock::new();
        let body = async {
            let outer = CancelScope::new().timeout(SECOND).enter().unwrap();
            let inner = outer.run(async { CancelScope::new().enter().unwrap() }).await.unwrap();
            let handle = inner.handle();
            let mut waits = hand(handle.cancelled());
            assert!(!handle.is_cancelled());
            if waits_too {
                waits.pending();
            }
            clock.advance(SECOND);
            if waits_too {
                waits.ready();
            }
            assert!(handle.is_cancelled());
            assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent);
            assert_eq!(outer.exit().unwrap().reason().unwrap().kind(), ReasonKind::Deadline);
        };
        hand(task(body).clock(clock.clone())).drive();
    }
}

#[test]
fn r11_a_future_that_was_lent_to_an_entered_scope_waits_for_its_deadline() {
    let clock = MockClock::new();
    let body = async {
        let outer = CancelScope::new().timeout(SECOND).enter().unwrap();
        let inner = CancelScope::new();
        let mut lent = Box::pin(inner.run(moored::cancelled()));
        outer.run(async { assert!(poll_once(&mut lent).await.is_pending()) }).await.unwrap();
        lent.await.unwrap();
    };
    let start = moored::Clock::now(&clock);
    moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock);
    assert_eq!(moored::Clock::now(&clock) - start, SECOND);
}

#[test]
fn r11_a_wait_for_a_scope_whose_run_is_not_polled_any_more_arms_its_deadline() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let handle = scope.handle();
    let mut run = hand(task(scope.run(pending::<()>())).clock(clock.clone()));
    run.pending();
    let mut waits = hand(handle.cancelled());
    waits.pending();
    clock.advance(SECOND / 2);
    waits.pending();
    // A deadline that is put off is armed anew when the former time has come.
    scope.set_deadline(moored::Clock::now(&clock) + 3 * SECOND);
    assert_eq!(waits.wakes.count(), 0);
    waits.pending();
    clock.advance(SECOND);
    assert_eq!(waits.wakes.count(), 1);
    waits.pending();
    clock.advance(2 * SECOND);
    waits.ready();
    run.ready().unwrap_err();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_an_entered_scope_that_is_handed_over_goes_by_the_clock_of_its_new_owner() {
    let (first, second) = (MockClock::new(), MockClock::new());
    let (entered, _owner) = entered_by(&first, CancelScope::new().timeout(SECOND));
    let mut waits = hand(entered.handle().cancelled());
    waits.pending();
    assert_eq!((first.sleepers(), second.sleepers()), (1, 0));
    let released = entered.release().unwrap();
    let adopted = hand(task(async { released.adopt() }).clock(second.clone())).ready();
    assert_eq!(waits.wakes.count(), 1);
    waits.pending();
    assert_eq!((first.sleepers(), second.sleepers()), (0, 1));
    drop(adopted);
}

#[test]
fn r11_a_wait_that_is_dropped_gives_its_timer_back() {
    let clock = MockClock::new();
    let (entered, _owner) = entered_by(&clock, CancelScope::new().timeout(SECOND));
    let mut waits = hand(entered.handle().cancelled());
    waits.pending();
    drop(waits);
    assert_eq!(clock.sleepers(), 0);
    let mut cancelled = hand(entered.handle().cancelled());
    cancelled.pending();
    entered.handle().cancel();
    cancelled.ready();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_the_deadline_of_an_entered_scope_reaches_another_thread() {
    let entered = CancelScope::new().timeout(Duration::from_millis(20)).enter().unwrap();
    let handle = entered.handle();
    let waits = std::thread::spawn(move || block_on(handle.cancelled()));
    waits.join().unwrap();
    assert_eq!(entered.exit().unwrap().reason().unwrap().kind(), ReasonKind::Deadline);
}

// Memory of runs that were left.

#[test]
fn r13_a_stop_with_a_grace_becomes_a_cancellation_of_an_entered_scope() {
    let clock = MockClock::new();
    let body = async {
        let entered = CancelScope::new().grace(SECOND).enter().unwrap();
        let handle = entered.handle();
        let mut run = Box::pin(entered.run(pending::<()>()));
        assert!(poll_once(&mut run).await.is_pending());
        handle.stop();
        assert!(poll_once(&mut run).await.is_pending());
        clock.advance(SECOND);
        let cancelled = match poll_once(&mut run).await {
            std::task::Poll::Ready(result) => result.unwrap_err(),
            std::task::Poll::Pending => panic!("the grace is over"),
        };
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        drop(run);
        entered.exit().unwrap();
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r13_a_grace_that_was_asked_for_before_the_entry_counts_where_nothing_runs_and_nobody_waits() {
    let clock = MockClock::new();
    let enters = task(async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.stop_within(SECOND);
        clock.advance(SECOND);
        let entered = scope.enter().unwrap();
        assert!(!handle.is_cancelled(), "the grace begins with the entry");
        clock.advance(SECOND);
        assert!(handle.is_cancelled());
        assert!(entered.exit().unwrap().reason().is_some());
    });
    hand(enters.clock(clock.clone())).ready();
}
