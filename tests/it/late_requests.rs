//! A request to a child after the time of its group has come, though no run has seen that yet: the child is cancelled with its
//! group (R10, R11).

use crate::support::{Executor, hand};
use futures::FutureExt;
use moored::testing::MockClock;
use moored::{
    CancelScope, ChildError, Clock, Reason, ReasonKind, Sleep, TaskGroup, TaskHandle, local, task,
};
use std::cell::OnceCell;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// How a group runs out of time a second after its entry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Deadline,
    GraceOfTheGroup,
    GraceOfTheRequest,
}

const LIMITS: [Limit; 3] = [Limit::Deadline, Limit::GraceOfTheGroup, Limit::GraceOfTheRequest];

fn reason_of(child: TaskHandle<()>) -> Reason {
    match child.join().now_or_never() {
        Some(Err(ChildError::Cancelled(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

/// The reason of a child that `spawn` makes, and that is cancelled through its handle two seconds after the entry of the
/// group. `before` runs between the polls of the group before that, and `after` after it.
macro_rules! reason_of_a_late_request {
    ($group:ty, $limit:expr, $spawn:expr, $before:expr, $after:expr) => {{
        let clock = MockClock::new();
        let group = <$group>::new();
        let group = match $limit {
            Limit::Deadline => group.timeout(SECOND),
            Limit::GraceOfTheGroup => group.grace(SECOND),
            Limit::GraceOfTheRequest => group,
        };
        let child: OnceCell<TaskHandle<()>> = OnceCell::new();
        let body = group.run(async {
            assert!(child.set($spawn(&group)).is_ok());
            pending::<Result<(), ()>>().await
        });
        let mut run = hand(task(body).clock(clock.clone()));
        run.idle();
        match $limit {
            Limit::Deadline => {}
            Limit::GraceOfTheGroup => group.stop(),
            Limit::GraceOfTheRequest => group.stop_within(SECOND),
        }
        run.idle();
        $before();
        clock.advance(2 * SECOND);
        child.get().unwrap().cancel();
        $after();
        assert!(run.drive().is_err());
        drop(run);
        reason_of(child.into_inner().unwrap())
    }};
}

#[track_caller]
fn is_of_the_group(reason: &Reason, limit: Limit) {
    let root = if limit == Limit::Deadline { ReasonKind::Deadline } else { ReasonKind::Requested };
    let grace = (limit != Limit::Deadline).then_some(SECOND);
    let seen = (reason.kind(), reason.root_kind(), reason.grace());
    assert_eq!(seen, (ReasonKind::Parent, root, grace), "{limit:?}: {reason}");
}

type Group = TaskGroup<'static, ()>;
type Local = local::TaskGroup<'static, ()>;

#[test]
fn r11_a_request_to_a_pending_child_comes_after_a_time_of_its_group_that_no_run_has_seen() {
    for limit in LIMITS {
        let spawn = |group: &Group| group.spawn(pending());
        is_of_the_group(&reason_of_a_late_request!(Group, limit, spawn, || (), || ()), limit);
        let spawn = |group: &Local| group.spawn(pending());
        is_of_the_group(&reason_of_a_late_request!(Local, limit, spawn, || (), || ()), limit);
    }
}

#[test]
fn r11_a_request_to_a_child_with_a_region_inside_comes_after_a_time_of_its_group() {
    async fn waits_inside() -> Result<(), ()> {
        let scope = CancelScope::new();
        let _handle = scope.handle();
        scope.run(pending()).await.unwrap_or(Ok(()))
    }
    for limit in LIMITS {
        let spawn = |group: &Group| group.spawn(waits_inside());
        is_of_the_group(&reason_of_a_late_request!(Group, limit, spawn, || (), || ()), limit);
        let spawn = |group: &Group| group.spawn_named("named", pending());
        is_of_the_group(&reason_of_a_late_request!(Group, limit, spawn, || (), || ()), limit);
        let spawn = |group: &Local| group.spawn_named("named", pending());
        is_of_the_group(&reason_of_a_late_request!(Local, limit, spawn, || (), || ()), limit);
    }
}

#[test]
fn r11_a_request_to_an_executor_child_comes_after_a_time_of_its_group() {
    for limit in LIMITS {
        for polled_before in [true, false] {
            let executor = Executor::new();
            let spawn = |group: &Group| group.spawn_on(&executor, pending());
            let before = || {
                if polled_before {
                    executor.run();
                }
            };
            let after = || executor.run();
            let reason = reason_of_a_late_request!(Group, limit, spawn, before, after);
            is_of_the_group(&reason, limit);
        }
    }
}

#[test]
fn r10_a_request_to_a_child_comes_before_a_time_of_its_group_that_comes_later() {
    let clock = MockClock::new();
    let group = Group::new().timeout(SECOND);
    let child: OnceCell<TaskHandle<()>> = OnceCell::new();
    let body = group.run(async {
        assert!(child.set(group.spawn(pending())).is_ok());
        pending::<Result<(), ()>>().await
    });
    let mut run = hand(task(body).clock(clock.clone()));
    run.idle();
    child.get().unwrap().cancel();
    clock.advance(2 * SECOND);
    assert!(run.drive().is_err());
    drop(run);
    assert_eq!(reason_of(child.into_inner().unwrap()).kind(), ReasonKind::Requested);
}

#[test]
fn r11_a_request_to_a_child_wakes_a_group_whose_time_has_come() {
    let clock = MockClock::new();
    let group = Group::new().timeout(SECOND);
    let child: OnceCell<TaskHandle<()>> = OnceCell::new();
    let body = group.run(async {
        assert!(child.set(group.spawn(pending())).is_ok());
        Ok(())
    });
    let mut run = hand(task(body).clock(clock.clone()));
    run.idle();
    clock.advance(SECOND);
    let before = run.wakes.count();
    child.get().unwrap().cancel();
    assert!(run.wakes.count() > before && group.is_cancelled());
    run.drive().unwrap();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn r09_a_request_to_a_child_comes_after_the_deadline_around_its_group_as_well() {
    let clock = MockClock::new();
    let scope = CancelScope::new().timeout(SECOND);
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let child: OnceCell<TaskHandle<()>> = OnceCell::new();
    let mut run = hand(
        task(scope.run(group.run(async {
            assert!(child.set(group.spawn(pending())).is_ok());
            pending::<Result<(), ()>>().await
        })))
        .clock(clock.clone()),
    );
    run.idle();
    clock.advance(SECOND);
    child.get().unwrap().cancel();
    assert!(scope.is_cancelled() && group.is_cancelled());
    assert_eq!(run.drive().unwrap_err().reason().kind(), ReasonKind::Deadline);
}

#[test]
fn r18_a_request_to_a_child_is_made_though_the_clock_of_its_group_panics() {
    struct Breaks(MockClock, Arc<AtomicBool>);
    impl Clock for Breaks {
        fn now(&self) -> Instant {
            assert!(!self.1.load(Ordering::SeqCst), "the clock");
            self.0.now()
        }
        fn sleep_until(&self, at: Instant) -> Sleep {
            self.0.sleep_until(at)
        }
    }
    let broken = Arc::new(AtomicBool::new(false));
    let group: TaskGroup<'_, ()> = TaskGroup::new().timeout(SECOND);
    let child: OnceCell<TaskHandle<()>> = OnceCell::new();
    let mut run = hand(
        task(group.run(async {
            assert!(child.set(group.spawn(pending())).is_ok());
            Ok(())
        }))
        .clock(Breaks(MockClock::new(), Arc::clone(&broken))),
    );
    run.idle();
    broken.store(true, Ordering::SeqCst);
    child.get().unwrap().cancel();
    broken.store(false, Ordering::SeqCst);
    run.drive().unwrap();
    drop(run);
    assert_eq!(reason_of(child.into_inner().unwrap()).kind(), ReasonKind::Requested);
}
