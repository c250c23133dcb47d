//! Values that call back into the crate when they are *dropped*, in every place that stores a value (R18).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use super::reentrant::{Back, Called, Group, Named, SECOND, ends};
use crate::support::{Executor, Reports, hand, yield_now};
use moored::testing::MockClock;
use moored::{BoxTask, CancelScope, ExitStack, Refused, Spawn, task};
use std::future::pending;
use std::sync::Arc;

/// A value in every place that stores values, and the action that drops it.
fn values() -> Vec<Named<()>> {
    fn called(group: &Group) -> Called {
        Called(Back::to(group))
    }
    vec![
        ("an exit, when it has run", || {
            let scope = CancelScope::new();
            let back = Back { handle: Some(scope.handle()), ..Back::default() };
            let run = scope.run(async {
                let stack = ExitStack::new();
                let value = Called(back);
                stack.defer(async move {
                    yield_now().await;
                    drop(value);
                });
                stack.close().await.unwrap();
            });
            drop(hand(run).drive());
        }),
        ("an exit that is lost, and one that comes after it", || {
            let stack = Arc::new(ExitStack::new());
            let theirs = Arc::downgrade(&stack);
            let other = move || {
                if let Some(stack) = theirs.upgrade() {
                    drop(stack.try_defer(async {}));
                }
            };
            let back = Back { other: Some(Arc::new(other)), ..Back::default() };
            for _ in 0..2 {
                let value = Called(back.clone());
                stack.defer(async move { drop(value) });
            }
            drop(stack);
        }),
        ("an exit that its time cuts off", || {
            let clock = MockClock::new();
            let value = Called(Back { clock: Some(clock.clone()), ..Back::default() });
            let close = task(async move {
                let stack = ExitStack::new().grace(SECOND);
                stack.defer(async move {
                    pending::<()>().await;
                    drop(value);
                });
                stack.close().await.is_err()
            });
            assert!(moored::testing::hand(close.clock(clock.clone())).drive_with(&clock));
        }),
        ("what is held", || {
            let scope = CancelScope::new();
            let back = Back { handle: Some(scope.handle()), ..Back::default() };
            let run = scope.run(async {
                for put_back in [true, false] {
                    let stack = ExitStack::new();
                    let held = stack.hold(Called(back.clone()), |value| async move { drop(value) });
                    if put_back {
                        drop(held);
                        stack.close().await.unwrap();
                    } else {
                        stack.close().await.unwrap_err();
                        drop(held);
                    }
                }
            });
            drop(hand(run).drive());
        }),
        ("children that are never run", || {
            let group = Group::new();
            for _ in 0..3 {
                let value = called(&group);
                drop(group.spawn(async move { Ok(drop(value)) }));
                let value = called(&group);
                drop(group.spawn_on(&Executor::new(), async move { Ok(drop(value)) }));
            }
            drop(group);
        }),
        ("children that are dropped with their group's run", || {
            let (group, executor) = (Group::new().limit(2), Executor::new());
            for _ in 0..3 {
                let value = called(&group);
                drop(group.spawn(async move { Ok((pending::<()>().await, drop(value)).0) }));
                let value = called(&group);
                let child = async move { Ok((pending::<()>().await, drop(value)).0) };
                drop(group.spawn_on(&executor, child));
            }
            let mut run = hand(group.run(pending::<Result<(), _>>()));
            run.pending();
            executor.run();
            drop(run);
            executor.run();
        }),
        ("values of children, joined and not", || {
            let (group, executor) = (Group::new(), Executor::new());
            let values = [called(&group), called(&group), called(&group)];
            let [one, two, three] = values;
            drop(group.spawn(async move { Ok(one) }));
            let kept = group.spawn(async move { Ok(two) });
            let joined = group.spawn_on(&executor, async move { Ok(three) });
            let mut run = hand(group.run(async { Ok(()) }));
            run.pending();
            executor.run();
            drop(run.drive());
            drop(kept);
            drop(hand(joined.join()).ready());
        }),
        ("errors of children", || {
            for group in [
                Group::new().max_causes(1),
                Group::new().keep_going().max_causes(2),
                Group::new().first_success(),
            ] {
                for _ in 0..3 {
                    let error = called(&group);
                    drop(group.spawn(async move { Err::<(), _>(error) }));
                }
                drop(group.spawn(async { Ok(()) }));
                let error = called(&group);
                drop(hand(group.run(async move { Err::<(), _>(error) })).drive());
            }
        }),
        ("errors in a group whose run was dropped", || {
            let (group, executor) = (Group::new().keep_going(), Executor::new());
            let errors = [called(&group), called(&group)];
            let [here, there] = errors;
            drop(group.spawn(async move { Err::<(), _>(here) }));
            drop(group.spawn_on(&executor, async move { Err::<(), _>(there) }));
            let mut run = hand(group.run(pending::<Result<(), _>>()));
            run.pending();
            drop(run);
            executor.run();
        }),
        ("the body of a run, and its value", || {
            let group = Group::new();
            let value = called(&group);
            let mut run = hand(group.run(async move { Ok((pending::<()>().await, value).0) }));
            run.pending();
            group.cancel();
            drop(run.poll());
            let scope = CancelScope::new();
            let value = Called(Back { handle: Some(scope.handle()), ..Back::default() });
            let mut run = hand(scope.run(async move { (pending::<()>().await, value).0 }));
            run.pending();
            drop(run);
        }),
        ("an executor's future that is refused", || {
            struct Never;
            impl Spawn for Never {
                fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
                    Err(Refused(task))
                }
            }
            let group = Group::new();
            let value = called(&group);
            drop(group.spawn_on(&Never, async move { Ok(drop(value)) }));
            drop(hand(group.run(async { Ok(()) })).drive());
        }),
        ("exits of a thread", || {
            let stack = moored::local::ExitStack::new();
            let scope = CancelScope::new();
            for _ in 0..2 {
                let value = Called(Back { handle: Some(scope.handle()), ..Back::default() });
                stack.defer(async move {
                    yield_now().await;
                    drop(value);
                });
            }
            hand(stack.close()).drive().unwrap();
            let stack = moored::local::ExitStack::new();
            let inner = Called(Back {
                other: Some(Arc::new(|| {
                    let stack = moored::local::ExitStack::new();
                    stack.defer(async {});
                    drop(hand(stack.close()).drive());
                })),
                ..Back::default()
            });
            stack.defer(async move { drop(inner) });
            drop(stack);
        }),
    ]
}

#[test]
fn r18_values_that_call_back_when_they_are_dropped() {
    for (name, test) in values() {
        ends(name, test);
    }
}

#[test]
fn r18_a_report_hook_that_sets_another_one_when_it_is_dropped() {
    let reports = Reports::watch();
    ends("a hook", || {
        let set = Called(Back {
            other: Some(Arc::new(|| moored::set_report_hook(|_| {}))),
            ..Back::default()
        });
        moored::set_report_hook(move |_| _ = &set);
        moored::set_report_hook(|_| {});
    });
    drop(reports);
}

#[test]
fn r18_a_clock_and_a_spawner_that_call_back_when_they_are_replaced() {
    struct Loud(MockClock, #[allow(dead_code, reason = "its drop is what matters")] Called);
    impl moored::Clock for Loud {
        fn now(&self) -> std::time::Instant {
            moored::Clock::now(&self.0)
        }
        fn sleep_until(&self, at: std::time::Instant) -> moored::Sleep {
            moored::Clock::sleep_until(&self.0, at)
        }
    }
    impl Spawn for Loud {
        fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
            Err(Refused(task))
        }
    }
    ends("a clock", || {
        let clock = MockClock::new();
        let back = Back { clock: Some(clock.clone()), ..Back::default() };
        let loud = || Loud(clock.clone(), Called(back.clone()));
        let body = task(async {}).clock(loud()).clock(loud()).on_abandon(loud()).on_abandon(loud());
        hand(body).drive();
    });
}
