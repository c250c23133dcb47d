//! The first phase, a request to stop, against the second phase and against listeners.

use crate::clock::{SECOND, StubClock};
use crate::support::{Count, coarse_model, model, poll_once, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, Clock, ReasonKind, stop_requested, task};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// A body that winds down on request, and is cancelled meanwhile: it comes to its end or is dropped, and in no case
/// waits for ever.
#[test]
fn r13_stop_against_cancel() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel_because("asked"));
        scope.stop();
        let winds_down = async {
            stop_requested().await;
            7
        };
        match block_on(task(scope.run(winds_down)).clock(StubClock::new())) {
            Ok(value) => assert_eq!(value, 7),
            Err(cancelled) => assert_eq!(cancelled.reason().message(), Some("asked")),
        }
        canceller.join().unwrap();
    });
}

/// A listener that registers inside while the outermost region is asked to stop is woken, through a shield too.
#[test]
fn r13_stop_against_registration() {
    model(|| {
        let outer = CancelScope::new();
        let handle = outer.handle();
        let stopper = thread::spawn(move || handle.stop());
        let inner = CancelScope::new().shielded();
        let run = outer.run(inner.run(stop_requested()));
        let done = block_on(task(run).clock(StubClock::new()));
        done.unwrap().unwrap();
        stopper.join().unwrap();
    });
}

/// A listener registers while another thread is linking the region, and has not reached the outermost one yet. The
/// listener is woken as well, because the other thread looks when it has reached it.
#[test]
fn r13_stop_against_a_registration_that_is_left_to_somebody_else() {
    model(|| {
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let (outer, middle, inner) = (CancelScope::new(), CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let mut run = pin!(outer.run(middle.run(inner.run(async {
            yield_now().await;
            stop_requested().await;
        }))));
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let links = thread::spawn(move || {
            let _ = poll_once(pin!(inner_handle.cancelled()));
        });
        let before = wakes.get();
        assert!(run.as_mut().poll(&mut cx).is_pending());
        outer_handle.stop();
        links.join().unwrap();
        assert!(wakes.get() > before, "who listens sleeps through the stop");
        assert!(run.as_mut().poll(&mut cx).is_ready());
    });
}

/// Of two listeners in one region, a listener that is dropped while the stop comes takes no wake-up
/// from the other.
#[test]
fn r18_stop_against_a_listener_that_gives_up() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let stopper = thread::spawn(move || handle.stop());
        let listens = async {
            let mut steady = pin!(stop_requested());
            let _ = poll_once(steady.as_mut());
            {
                let mut fickle = pin!(stop_requested());
                let _ = poll_once(fickle.as_mut());
            }
            steady.await;
        };
        block_on(task(scope.run(listens)).clock(StubClock::new())).unwrap();
        stopper.join().unwrap();
    });
}

/// A waiter is dropped while a stop wakes all waiters, and while another waiter registers and may get the same place:
/// the new waiter hears of the cancellation.
#[test]
fn r06_one_who_gives_up_against_one_who_comes_after_a_stop() {
    model(|| {
        let handle = CancelScope::new().handle();
        let mut fickle = Box::pin(handle.cancelled());
        assert!(poll_once(fickle.as_mut()).is_pending());
        let gives_up = thread::spawn(move || drop(fickle));
        handle.stop();
        let wakes = Arc::new(Count::new());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut steady = pin!(handle.cancelled());
        assert!(steady.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        handle.cancel();
        assert_eq!(wakes.get(), 1, "who came after the stop is not told");
        gives_up.join().unwrap();
    });
}

/// The grace of a stop runs out while another thread cancels: one reason, the first one, and it
/// stays.
#[test]
fn r13_the_end_of_a_grace_against_cancel() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new().grace(SECOND);
        let handle = scope.handle();
        let mut run = pin!(task(scope.run(pending::<()>())).clock(clock.clone()));
        handle.stop();
        // The grace begins with the poll that sees the stop.
        assert!(poll_once(run.as_mut()).is_pending());
        let ticks = thread::spawn({
            let clock = clock.clone();
            move || clock.tick()
        });
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel_because("asked")
        });
        let cancelled = block_on(run).unwrap_err();
        ticks.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        assert_eq!(handle.reason().unwrap().message(), cancelled.reason().message());
    });
}

/// A stop that comes while its region's run is polled: the run sees that the grace begins, because only the stop wakes
/// it for that.
#[test]
fn r13_stop_with_a_grace_against_poll() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new().grace(SECOND);
        let handle = scope.handle();
        let stopper = thread::spawn({
            let clock = clock.clone();
            move || {
                handle.stop();
                // A timer that is armed by now fires; a timer that is armed later waits for no more than the next
                // second.
                while !clock.is_slept_on() {
                    thread::yield_now();
                }
                clock.tick();
            }
        });
        let cancelled = block_on(task(scope.run(pending::<()>())).clock(clock)).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        stopper.join().unwrap();
    });
}

/// A stop with a grace that is over at once, while the run that has to watch the grace is polled: the run sees it, because
/// no later event would wake it.
#[test]
fn r13_stop_within_against_poll() {
    coarse_model(|| {
        let scope = Arc::new(CancelScope::new());
        let stopper = thread::spawn({
            let scope = Arc::clone(&scope);
            move || scope.stop_within(Duration::ZERO)
        });
        let cancelled = block_on(task(scope.run(pending::<()>())).clock(StubClock::new()));
        assert_eq!(cancelled.unwrap_err().reason().kind(), ReasonKind::Requested);
        stopper.join().unwrap();
    });
}

/// Two requests with graces at once: the shorter grace counts, in every order.
#[test]
fn r13_two_graces_at_once() {
    model(|| {
        let clock = StubClock::new();
        let scope = CancelScope::new();
        let (handle, hurry) = (scope.handle(), scope.handle());
        let mut run = pin!(task(scope.run(pending::<()>())).clock(clock.clone()));
        assert!(poll_once(run.as_mut()).is_pending());
        let other = thread::spawn(move || hurry.stop_within(SECOND));
        handle.stop_within(2 * SECOND);
        other.join().unwrap();
        assert_eq!(handle.deadline(), Some(clock.now() + SECOND));
    });
}

/// A wait for less time against a stop that leaves less.
#[test]
fn r11_tightened_against_stop_within() {
    model(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = pin!(task(scope.run(pending::<()>())).clock(StubClock::new()));
        assert!(poll_once(run.as_mut()).is_pending());
        let stopper = thread::spawn(move || handle.stop_within(SECOND));
        block_on(scope.handle().tightened(None));
        stopper.join().unwrap();
    });
}
