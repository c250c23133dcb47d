//! Deadlines, whose timer is another thread, against other events of a scope.

use crate::clock::{SECOND, StubClock};
use crate::support::{Count, coarse_model, model, parked, poll_once};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, Clock, ReasonKind, task};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// A deadline passes while another thread cancels: one of the two is the reason, the same for every caller, and the
/// body is dropped once. It passes between two polls, because a clock on another thread is the subject of other models.
#[test]
fn r10_cancel_against_deadline() {
    model(|| {
        let dropped = Count::new();
        let clock = StubClock::new();
        let scope = CancelScope::new().timeout(SECOND);
        let handle = scope.handle();
        let canceller = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel_because("asked")
        });
        let run = task(scope.run(parked(dropped.on_drop())));
        let mut run = pin!(run.clock(clock.clone()));
        let early = poll_once(run.as_mut());
        clock.tick();
        let ended = if early.is_ready() { early } else { Poll::Ready(block_on(run)) };
        let Poll::Ready(Err(cancelled)) = ended else { panic!("the body ended by itself") };
        match cancelled.reason().kind() {
            ReasonKind::Deadline => assert_eq!(cancelled.reason().message(), None),
            kind => assert_eq!(
                (kind, cancelled.reason().message()),
                (ReasonKind::Requested, Some("asked"))
            ),
        }
        assert_eq!(handle.reason().unwrap().kind(), cancelled.reason().kind());
        assert_eq!(dropped.get(), 1);
        canceller.join().unwrap();
    });
}

/// A deadline that is set while the `run` that has to watch it is polled is seen, because no later event would
/// wake the `run`.
#[test]
fn r11_setting_a_deadline_against_poll() {
    model(|| {
        let clock = StubClock::new();
        let scope = Arc::new(CancelScope::new());
        let setter = thread::spawn({
            let (scope, now) = (Arc::clone(&scope), clock.now());
            move || scope.set_deadline(now)
        });
        let cancelled = block_on(task(scope.run(pending::<()>())).clock(clock)).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
        setter.join().unwrap();
    });
}

/// The same where the run has a deadline already, which its first poll reads: the earlier deadline counts.
#[test]
fn r11_setting_an_earlier_deadline_against_the_first_poll() {
    model(|| {
        let clock = StubClock::new();
        let scope = Arc::new(CancelScope::new().deadline(clock.now() + SECOND));
        let setter = thread::spawn({
            let (scope, now) = (Arc::clone(&scope), clock.now());
            move || scope.set_deadline(now)
        });
        let cancelled = block_on(task(scope.run(pending::<()>())).clock(clock)).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
        setter.join().unwrap();
    });
}

/// The same where the deadline is that of an enclosing scope: another run watches it, further out.
#[test]
fn r11_setting_a_deadline_against_poll_of_what_is_inside() {
    model(|| {
        let clock = StubClock::new();
        let outer = Arc::new(CancelScope::new());
        let setter = thread::spawn({
            let (outer, now) = (Arc::clone(&outer), clock.now());
            move || outer.set_deadline(now)
        });
        let inner = CancelScope::new();
        let run = outer.run(inner.run(pending::<()>()));
        let cancelled = block_on(task(run).clock(clock)).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
        setter.join().unwrap();
    });
}

/// A deadline that is put off while it passes: either it has passed, for good, or it has not, and then the later one
/// still comes.
#[test]
fn r11_extending_a_deadline_against_its_passing() {
    model(|| {
        let clock = StubClock::new();
        let start = clock.now();
        let scope = Arc::new(CancelScope::new().deadline(start + SECOND));
        let mut run = pin!(task(scope.run(pending::<()>())).clock(clock.clone()));
        assert!(poll_once(run.as_mut()).is_pending());
        let ticks = thread::spawn({
            let clock = clock.clone();
            move || clock.tick()
        });
        let setter = thread::spawn({
            let scope = Arc::clone(&scope);
            move || scope.set_deadline(start + 2 * SECOND)
        });
        let early = poll_once(run.as_mut());
        ticks.join().unwrap();
        setter.join().unwrap();
        let cancelled = match early {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => {
                clock.tick();
                block_on(run)
            }
        };
        assert_eq!(cancelled.unwrap_err().reason().kind(), ReasonKind::Deadline);
    });
}

/// The run of a scope is no longer polled, and the scope gets its first deadline while another thread begins to wait at
/// a region inside, which was found quiet before. The wait ends, although only the wait itself watches the deadline.
#[test]
fn r11_setting_the_first_deadline_of_a_parked_run_against_a_wait_inside() {
    model(|| {
        let clock = StubClock::new();
        let (outer, inner) = (Arc::new(CancelScope::new()), CancelScope::new());
        let run = outer.run(inner.run(pending::<()>()));
        let mut run = pin!(task(run).clock(clock.clone()));
        assert!(poll_once(run.as_mut()).is_pending());
        let handle = inner.handle();
        assert!(!handle.is_cancelled());
        let setter = thread::spawn({
            let (outer, now) = (Arc::clone(&outer), clock.now());
            move || outer.set_deadline(now)
        });
        block_on(handle.cancelled());
        assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent);
        setter.join().unwrap();
    });
}

/// The same while another wait is linking the region, and is dropped: the wait that relies on that link gets the
/// deadline.
#[test]
fn r11_setting_the_first_deadline_of_a_parked_run_against_a_wait_that_another_one_links() {
    coarse_model(|| {
        let clock = StubClock::new();
        let (outer, middle) = (Arc::new(CancelScope::new()), CancelScope::new());
        let inner = CancelScope::new();
        let run = outer.run(middle.run(inner.run(pending::<()>())));
        let mut run = pin!(task(run).clock(clock.clone()));
        assert!(poll_once(run.as_mut()).is_pending());
        let handle = inner.handle();
        assert!(!handle.is_cancelled());
        let waits = thread::spawn({
            let handle = handle.clone();
            move || block_on(handle.cancelled())
        });
        let gives_up = thread::spawn(move || poll_once(pin!(handle.cancelled())));
        outer.set_deadline(clock.now() + SECOND);
        let _ = gives_up.join().unwrap();
        clock.tick();
        waits.join().unwrap();
    });
}

/// A deadline is brought forward twice, or put off and brought forward, while a wait inside arms its timer: the wait ends at the last
/// one, although it is not told of each change.
#[test]
fn r11_moving_a_deadline_twice_against_a_wait_inside() {
    for first in [2, 9] {
        model(move || {
            let clock = StubClock::new();
            let start = clock.now();
            let (outer, inner) =
                (CancelScope::new().deadline(start + 4 * SECOND), CancelScope::new());
            let outer = Arc::new(outer);
            let run = outer.run(inner.run(pending::<()>()));
            let mut run = pin!(task(run).clock(clock.clone()));
            assert!(poll_once(run.as_mut()).is_pending());
            let handle = inner.handle();
            let mut wait = Box::pin(handle.cancelled());
            assert!(poll_once(wait.as_mut()).is_pending());
            let setter = thread::spawn({
                let outer = Arc::clone(&outer);
                move || {
                    outer.set_deadline(start + first * SECOND);
                    outer.set_deadline(start + SECOND);
                }
            });
            let waits = thread::spawn(move || block_on(wait));
            setter.join().unwrap();
            clock.tick();
            waits.join().unwrap();
        });
    }
}
