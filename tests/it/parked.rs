//! Waits that depend on the times of regions with runs that are kept but no longer polled (R11), so that only the wait
//! itself can see a time.

use crate::support::{Executor, Hand, block_on, hand, poll_once};
use moored::testing::MockClock;
use moored::{
    CancelHandle, CancelScope, Clock, ExitStack, ReasonKind, Task, TaskGroup, local, task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

type Never = Result<(), ()>;

/// Polls `run` once, in a task with that clock.
fn parked<F: Future>(clock: &MockClock, run: F) -> Hand<Task<F>> {
    let mut run = hand(task(run).clock(clock.clone()));
    run.pending();
    run
}

/// Checks that the wait resolves after a second, and not before, and that its timer is released.
fn resolves_after_a_second(clock: &MockClock, handle: &CancelHandle) {
    let before = clock.sleepers();
    let mut waits = hand(handle.cancelled());
    waits.pending();
    assert_eq!(clock.sleepers(), before + 1);
    clock.advance(SECOND - INSTANT);
    waits.pending();
    clock.advance(INSTANT);
    assert_eq!(waits.wakes.count(), 1);
    waits.ready();
    assert!(handle.is_cancelled());
    assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent);
}

#[test]
fn r11_a_wait_arms_the_deadline_of_a_parked_run_around_its_region() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().timeout(SECOND), CancelScope::new());
    let mut run = parked(&clock, outer.run(inner.run(pending::<()>())));
    resolves_after_a_second(&clock, &inner.handle());
    assert_eq!(outer.handle().reason().unwrap().kind(), ReasonKind::Deadline);
    assert_eq!(run.ready().unwrap_err().reason().kind(), ReasonKind::Deadline);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_a_wait_at_any_region_arms_the_deadline_of_a_parked_run_around_it() {
    let clock = MockClock::new();
    let outer = CancelScope::new().timeout(SECOND);
    let (group, in_here) = (TaskGroup::<()>::new(), local::TaskGroup::<()>::new());
    let (of_group, of_local) = (group.handle(), in_here.handle());
    let entered = Mutex::new(None);
    let body = async {
        let stack = ExitStack::new();
        *entered.lock().unwrap() = Some(CancelScope::new().enter().unwrap());
        let groups = async {
            let local = async { in_here.run(pending::<Never>()).await.map_err(drop) };
            group.run(local).await.map_err(drop)
        };
        stack.run(groups).await
    };
    let _run = parked(&clock, outer.run(body));
    let handles = [of_group, of_local, entered.lock().unwrap().as_ref().unwrap().handle()];
    let mut waits = handles.each_ref().map(|handle| hand(handle.cancelled()));
    waits.iter_mut().for_each(Hand::pending);
    clock.advance(SECOND);
    waits.into_iter().for_each(|mut wait| wait.ready());
    assert!(handles.iter().all(CancelHandle::is_cancelled));
}

#[test]
fn r11_a_wait_inside_an_executor_child_arms_the_deadline_of_a_parked_run_in_another_task() {
    let (clock, executor) = (MockClock::new(), Executor::new());
    let (outer, told) = (CancelScope::new().timeout(SECOND), Arc::new(Mutex::new(0)));
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let body = async {
        for _ in 0..2 {
            let told = Arc::clone(&told);
            drop(group.spawn_on(&executor, async move {
                let inner = CancelScope::new().shielded();
                inner.run(async { assert!(!moored::is_cancelled()) }).await.unwrap();
                moored::cancelled().await;
                *told.lock().unwrap() += 1;
                pending::<Never>().await
            }));
        }
        group.run(pending::<Never>()).await
    };
    let _run = parked(&clock, outer.run(body));
    executor.run();
    assert_eq!(*told.lock().unwrap(), 0);
    clock.advance(SECOND);
    executor.run();
    assert_eq!(*told.lock().unwrap(), 2);
}

#[test]
fn r11_a_future_that_a_parked_run_has_given_away_waits_for_its_deadline() {
    let clock = MockClock::new();
    let (outer, given) = (CancelScope::new().timeout(SECOND), Mutex::new(None));
    let body = async {
        let body = async {
            let mut inside = Box::pin(moored::cancelled());
            assert!(poll_once(&mut inside).await.is_pending());
            *given.lock().unwrap() = Some(inside);
            pending::<()>().await
        };
        let mut run = Box::pin(outer.run(body));
        assert!(poll_once(&mut run).await.is_pending());
        let inside = given.lock().unwrap().take().unwrap();
        inside.await;
        run.await
    };
    let start = clock.now();
    let mut run = moored::testing::hand(task(body).clock(clock.clone()));
    assert!(run.drive_with(&clock).is_err());
    assert_eq!(clock.now() - start, SECOND);
}

#[test]
fn r11_a_wait_is_told_of_a_deadline_that_a_parked_run_around_is_given_later() {
    for has_one in [false, true] {
        let clock = MockClock::new();
        let (mut outer, inner) = (CancelScope::new(), CancelScope::new());
        if has_one {
            outer = outer.timeout(10 * SECOND);
        }
        let middle = CancelScope::new();
        let _run = parked(&clock, outer.run(middle.run(inner.run(pending::<()>()))));
        let (handle, between) = (inner.handle(), middle.handle());
        let mut waits = [hand(handle.cancelled()), hand(between.cancelled())];
        waits.iter_mut().for_each(Hand::pending);
        outer.set_deadline(clock.now() + 2 * SECOND);
        waits.iter_mut().for_each(|wait| {
            assert_eq!(wait.wakes.count(), 1);
            wait.pending();
        });
        clock.advance(SECOND);
        // Put off.
        outer.set_deadline(clock.now() + 2 * SECOND);
        waits.iter_mut().for_each(Hand::pending);
        clock.advance(SECOND);
        waits.iter_mut().for_each(Hand::pending);
        clock.advance(SECOND);
        waits.iter_mut().for_each(Hand::ready);
    }
}

#[test]
fn r11_a_deadline_that_came_after_a_look_around_is_seen_by_a_later_wait() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let _run = parked(&clock, outer.run(inner.run(pending::<()>())));
    let handle = inner.handle();
    assert!(!handle.is_cancelled());
    outer.set_deadline(clock.now() + SECOND);
    assert!(!handle.is_cancelled());
    resolves_after_a_second(&clock, &handle);
}

#[test]
fn r11_a_wait_from_before_the_entry_arms_the_deadline_of_what_the_run_is_in_and_its_own() {
    for (own, depth) in (0..6).map(|n| (n % 2 == 0, n / 2)) {
        let clock = MockClock::new();
        let between: Vec<_> = (0..depth).map(|_| CancelScope::new()).collect();
        let (mut outer, mut inner) = (CancelScope::new(), CancelScope::new());
        match own {
            true => inner = inner.timeout(SECOND),
            false => outer = outer.timeout(SECOND),
        }
        let handle = inner.handle();
        let mut waits = hand(handle.cancelled());
        waits.pending();
        let mut body: Pin<Box<dyn Future<Output = ()> + '_>> =
            Box::pin(async { drop(inner.run(pending::<()>()).await) });
        for scope in &between {
            body = Box::pin(async move { drop(scope.run(body).await) });
        }
        let _run = parked(&clock, outer.run(body));
        assert_eq!(waits.wakes.count(), 1, "own: {own}, scopes between: {depth}");
        waits.pending();
        clock.advance(SECOND);
        waits.ready();
    }
}

#[test]
fn r13_a_wait_begins_and_arms_the_grace_of_a_parked_run_around_that_was_stopped() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().grace(SECOND), CancelScope::new());
    let _run = parked(&clock, outer.run(inner.run(pending::<()>())));
    let handle = inner.handle();
    let mut waits = hand(handle.cancelled());
    waits.pending();
    assert_eq!(clock.sleepers(), 0);
    outer.stop();
    waits.pending();
    clock.advance(SECOND - INSTANT);
    waits.pending();
    clock.advance(INSTANT);
    waits.ready();
}

#[test]
fn r12_a_wait_arms_the_grace_of_a_parked_shield_around_its_region() {
    for entered in [false, true] {
        let clock = MockClock::new();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let body = async {
            let shield = CancelScope::new().shielded().grace(SECOND);
            match entered {
                false => drop(shield.run(inner.run(pending::<()>())).await),
                true => drop(shield.enter().unwrap().run(inner.run(pending::<()>())).await),
            }
        };
        let _run = parked(&clock, outer.run(body));
        let handle = inner.handle();
        let mut waits = hand(handle.cancelled());
        waits.pending();
        outer.cancel();
        waits.pending();
        clock.advance(SECOND - INSTANT);
        waits.pending();
        assert!(!handle.is_cancelled());
        clock.advance(INSTANT);
        waits.ready();
        assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent, "entered: {entered}");
    }
}

#[test]
fn r11_a_wait_depends_on_nothing_outside_a_shield() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().timeout(SECOND), CancelScope::new());
    let shield = CancelScope::new().shielded();
    let _run = parked(&clock, outer.run(shield.run(inner.run(pending::<()>()))));
    let mut waits = hand(inner.handle().cancelled());
    let before = clock.sleepers();
    waits.pending();
    assert_eq!(clock.sleepers(), before);
    clock.advance(2 * SECOND);
    waits.pending();
}

#[test]
fn r11_a_wait_watches_the_next_time_by_each_clock() {
    for (around, within, outer_passes) in [(1, 9, true), (1, 9, false), (9, 1, true), (9, 1, false)]
    {
        let (first, second) = (MockClock::new(), MockClock::new());
        let outer = CancelScope::new().timeout(around * SECOND);
        let (middle, inner) = (CancelScope::new().timeout(within * SECOND), CancelScope::new());
        let body = task(middle.run(inner.run(pending::<()>()))).clock(second.clone());
        let _run = parked(&first, outer.run(body));
        let mut waits = hand(inner.handle().cancelled());
        waits.pending();
        let (clock, time) = if outer_passes { (first, around) } else { (second, within) };
        clock.advance(time * SECOND - INSTANT);
        waits.pending();
        clock.advance(INSTANT);
        waits.ready();
        let kind = |scope: &CancelScope| scope.handle().reason().map(|reason| reason.kind());
        let expected = match outer_passes {
            true => (Some(ReasonKind::Deadline), Some(ReasonKind::Parent)),
            false => (None, Some(ReasonKind::Deadline)),
        };
        assert_eq!((kind(&outer), kind(&middle)), expected);
    }
}

#[test]
fn r09_r11_of_two_deadlines_at_one_instant_the_outer_one_counts_where_a_wait_sees_them() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().timeout(SECOND), CancelScope::new().timeout(SECOND));
    let mut run = parked(&clock, outer.run(inner.run(pending::<()>())));
    let mut waits = hand(inner.handle().cancelled());
    waits.pending();
    clock.advance(SECOND);
    waits.ready();
    assert!(outer.handle().is_cancelled());
    assert!(run.ready().is_err());
}

#[test]
fn r09_r11_a_wait_watches_no_time_of_a_region_that_was_left() {
    let clock = MockClock::new();
    let (outer, inner) = (CancelScope::new().timeout(SECOND), CancelScope::new());
    let mut run = parked(&clock, async {
        let mut lent = Box::pin(inner.run(pending::<()>()));
        outer.run(async { assert!(poll_once(&mut lent).await.is_pending()) }).await.unwrap();
        lent.await
    });
    let mut waits = hand(inner.handle().cancelled());
    waits.pending();
    clock.advance(SECOND);
    waits.pending();
    run.pending();
    assert!(outer.handle().reason().is_none());
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r11_a_wait_for_a_stop_arms_no_timer_because_no_time_is_a_request_to_stop() {
    let clock = MockClock::new();
    let outer = CancelScope::new().timeout(SECOND).grace(SECOND);
    let inner = CancelScope::new();
    let mut run = parked(&clock, outer.run(inner.run(moored::stop_requested())));
    let armed = clock.sleepers();
    let mut waits = hand(inner.handle().stop_requested());
    waits.pending();
    assert_eq!(clock.sleepers(), armed);
    clock.advance(SECOND);
    waits.pending();
    assert!(run.ready().is_err(), "the deadline cancels");
}

#[test]
fn r11_a_wait_on_another_thread_is_told_of_the_deadline_of_a_parked_run() {
    let (outer, inner) =
        (CancelScope::new().timeout(Duration::from_millis(20)), CancelScope::new());
    let mut run = hand(outer.run(inner.run(pending::<()>())));
    run.pending();
    let handle = inner.handle();
    let waits = std::thread::spawn(move || block_on(handle.cancelled()));
    waits.join().unwrap();
    assert!(run.ready().is_err());
}
