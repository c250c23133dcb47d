//! Wakers and values that call back into the crate when they are woken and when they are *dropped*, in every place
//! that stores a waker or a value (R18). A callback under a lock would wait for that lock for ever.
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Executor, Gate, Reports, hand, poll_once, yield_now};
use futures::Stream;
use moored::testing::MockClock;
use moored::{
    BoxTask, CancelHandle, CancelScope, ExitStack, GroupSpawner, Ready, Refused, Spawn, TaskGroup,
    TaskHandle, task,
};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<'static, Called>;
type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Runs `test` on a thread of its own, and fails if the thread does not end, because then it waits for a
/// lock for ever.
#[track_caller]
fn ends(name: &str, test: impl FnOnce() + Send + 'static) {
    let (ended, end) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        ended.send(()).unwrap();
    });
    match end.recv_timeout(60 * SECOND) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{name} does not end"),
        _ => thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
    }
}

/// The calls that a callback makes: every request that is allowed from any thread.
#[derive(Clone, Default)]
struct Back {
    handle: Option<CancelHandle>,
    spawner: Option<GroupSpawner<'static, Called>>,
    child: Option<Arc<TaskHandle<()>>>,
    clock: Option<MockClock>,
    other: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Back {
    fn to(group: &Group) -> Self {
        Back { handle: Some(group.handle()), spawner: Some(group.spawner()), ..Back::default() }
    }

    fn call(&self) {
        if let Some(handle) = &self.handle {
            assert!(!handle.is_cancelled() || handle.reason().is_some());
            // Registers a waiter and removes it again.
            let _ = hand(handle.cancelled()).poll();
            handle.stop();
            handle.cancel();
        }
        if let Some(spawner) = &self.spawner {
            drop(spawner.spawn(async { Ok(()) }));
            drop(spawner.spawn_on(&Executor::new(), async { Ok(()) }));
        }
        if let Some(child) = &self.child {
            child.is_finished();
            child.cancel();
        }
        if let Some(clock) = &self.clock {
            clock.advance(SECOND);
            let later = moored::Clock::now(clock) + SECOND;
            let _ = hand(moored::Clock::sleep_until(clock, later)).poll();
        }
        if let Some(other) = &self.other {
            other();
        }
    }
}

/// Calls back when it is dropped; as a waker, when it is woken as well.
struct Called(Back);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.call();
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        self.0.call();
    }
}

/// A future that stores a waker somewhere; the calls that the waker makes; and an action that
/// lets the future go on.
struct Room {
    future: Boxed,
    back: Back,
    finish: Box<dyn FnOnce()>,
}

fn room(future: impl Future + 'static, back: Back, finish: impl FnOnce() + 'static) -> Room {
    let future = Box::pin(async move { drop(future.await) });
    Room { future, back, finish: Box::new(finish) }
}

/// Keeps the spawned tasks, to be polled by hand.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<BoxTask>>>);

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.lock().unwrap().push(task);
        Ok(())
    }
}

impl Kept {
    fn take(&self) -> BoxTask {
        self.0.lock().unwrap().remove(0)
    }
}

fn group_run(group: Group, body: impl Future<Output = Result<(), Called>> + 'static) -> Boxed {
    Box::pin(async move { drop(group.run(body).await) })
}

/// Abandons an exit that waits at `gate`.
async fn leaves_exit(gate: Gate) -> Result<(), Called> {
    let stack = ExitStack::new();
    stack.defer(gate.wait());
    stack.run(pending::<Result<(), ()>>()).await.map_or(Ok(()), Ok)
}

/// A name, and a function that makes the value.
type Named<T> = (&'static str, fn() -> T);

/// Every place that stores a waker.
fn rooms() -> Vec<Named<Room>> {
    vec![
        ("a scope's run", || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let back = Back { handle: Some(handle.clone()), ..Back::default() };
            room(async move { scope.run(pending::<()>()).await }, back, move || handle.cancel())
        }),
        ("a run in an entered scope", || {
            let scope = CancelScope::new().enter().unwrap();
            let handle = scope.handle();
            let back = Back { handle: Some(handle.clone()), ..Back::default() };
            room(async move { scope.run(pending::<()>()).await }, back, move || handle.stop())
        }),
        ("a shielded run", || {
            let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded());
            let (handle, theirs) = (inner.handle(), outer.handle());
            let back = Back { handle: Some(outer.handle()), ..Back::default() };
            let body = async move { outer.run(inner.run(pending::<()>())).await };
            room(body, back, move || {
                theirs.cancel();
                handle.cancel();
            })
        }),
        ("a task that runs what was abandoned", || {
            let gate = Gate::new();
            let wait = gate.clone();
            let body = task(async move {
                let mut lost = Box::pin(leaves_exit(wait));
                assert!(poll_once(&mut lost).await.is_pending());
            });
            room(body, Back::default(), move || gate.open())
        }),
        ("a stack that is closed", || {
            let gate = Gate::new();
            let stack = ExitStack::new();
            stack.defer(gate.wait());
            room(stack.close(), Back::default(), move || gate.open())
        }),
        ("a wait for a cancellation", || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let back = Back { handle: Some(scope.handle()), ..Back::default() };
            room(async move { (handle.cancelled().await, drop(scope)) }, back.clone(), move || {
                back.handle.unwrap().cancel();
            })
        }),
        ("a wait for a stop inside", || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let back = Back { handle: Some(scope.handle()), ..Back::default() };
            let body = async move { scope.run(moored::stop_requested()).await };
            room(body, back, move || handle.stop())
        }),
        ("a wait for a cancellation further out", || {
            let outer = CancelScope::new();
            let handle = outer.handle();
            let back = Back { handle: Some(outer.handle()), ..Back::default() };
            let body = async move {
                outer.run(async { CancelScope::new().run(moored::cancelled()).await }).await
            };
            room(body, back, move || handle.cancel())
        }),
        ("a group with a child in the task", || {
            let group = Group::new();
            let gate = Gate::new();
            let wait = gate.clone();
            drop(group.spawn(async move { Ok(wait.wait().await) }));
            let back = Back::to(&group);
            room(group_run(group, pending()), back, move || gate.open())
        }),
        ("a group that waits for a child on an executor", || {
            let (group, executor) = (Group::new(), Executor::new());
            drop(group.spawn_on(&executor, async { Ok(()) }));
            let back = Back::to(&group);
            room(group_run(group, async { Ok(()) }), back, move || executor.run())
        }),
        ("a wait for the children of a group that was dropped", || {
            let (group, executor) = (Group::new(), Executor::new());
            drop(group.spawn_on(&executor, async { Ok(()) }));
            let back = Back::to(&group);
            let body = async move {
                let mut run = group_run(group, pending());
                assert!(poll_once(&mut run).await.is_pending());
            };
            room(task(body), back, move || executor.run())
        }),
        ("a wait for exits on an executor", || {
            let (group, kept, executor) = (Group::new(), Kept::default(), Executor::new());
            struct First(Kept, Executor);
            impl Spawn for First {
                fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
                    self.0.spawn(task)
                }
                fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
                    Some(Arc::new(self.1.clone()))
                }
            }
            let gate = Gate::new();
            gate.open();
            let first = First(kept.clone(), executor.clone());
            drop(group.spawn_on(&first, leaves_exit(gate)));
            let mut child = kept.take();
            assert!(hand(poll_fn(|cx| child.as_mut().poll(cx))).poll().is_pending());
            drop(child);
            let back = Back::to(&group);
            room(group_run(group, async { Ok(()) }), back, move || executor.run())
        }),
        ("a child in line for its turn", || {
            let (group, kept) = (Group::new().limit(1), Kept::default());
            drop(group.spawn_on(&kept, pending::<Result<(), Called>>()));
            let waits = group.spawn_on(&kept, pending::<Result<(), Called>>());
            let mut first = kept.take();
            assert!(hand(poll_fn(|cx| first.as_mut().poll(cx))).poll().is_pending());
            let back = Back { child: Some(Arc::new(waits)), ..Back::to(&group) };
            let second = kept.take();
            room(async move { (second.await, drop(group)) }, back, move || drop(first))
        }),
        ("a join", || {
            let (group, executor) = (Group::new(), Executor::new());
            let child = group.spawn_on(&executor, async { Ok(()) });
            let back = Back::to(&group);
            room(async move { (child.join().await, drop(group)) }, back, move || executor.run())
        }),
        ("the results of a group", || {
            let (group, executor) = (Group::new(), Executor::new());
            drop(group.spawn_on(&executor, async { Ok(()) }));
            let results = Mutex::new(group.results());
            let group = Arc::new(group);
            let theirs = Arc::downgrade(&group);
            let other = move || drop(theirs.upgrade().map(|group| group.results()));
            let back = Back { other: Some(Arc::new(other)), ..Back::default() };
            let next = poll_fn(move |cx| Pin::new(&mut *results.lock().unwrap()).poll_next(cx));
            room(async move { (next.await, drop(group)) }, back, move || executor.run())
        }),
        ("a start whose child says that it is ready", || {
            let (start, group, ready) = start();
            let back = Back::to(&group);
            let said = ready.clone();
            room(async move { (start.await, drop(group)) }, back, move || say(&said))
        }),
        ("a start whose waker says that it is ready", || {
            let (start, group, ready) = start();
            let handle = group.handle();
            let back = Back { other: Some(Arc::new(move || say(&ready))), ..Back::default() };
            let mut run = group_run(group, pending());
            room(start, back, move || {
                // The child ends without reporting ready.
                handle.cancel();
                assert!(hand(poll_fn(|cx| run.as_mut().poll(cx))).poll().is_ready());
            })
        }),
        ("a timer of the mock clock", || {
            let clock = MockClock::new();
            let scope = CancelScope::new().timeout(2 * SECOND);
            let handle = Some(scope.handle());
            let back = Back { handle, clock: Some(clock.clone()), ..Back::default() };
            let run = async move { scope.run(pending::<()>()).await };
            room(task(run).clock(clock.clone()), back, move || clock.advance(SECOND))
        }),
    ]
}

type Said = Arc<Mutex<Option<Ready<'static, Called>>>>;

/// A start, its group, and its child's `Ready`, in a slot that every caller can reach.
fn start() -> (impl Future + 'static, Group, Said) {
    let group = Group::new();
    let said = Said::default();
    let start = group.start(|ready| {
        *said.lock().unwrap() = Some(ready);
        pending()
    });
    (start, group, said)
}

fn say(ready: &Said) {
    let ready = ready.lock().unwrap().take();
    if let Some(ready) = ready {
        ready(Called(Back::default()));
    }
}

fn poll(future: &mut Boxed, waker: &Waker) -> bool {
    future.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
}

/// Polls with a waker that has no other copy; returns `true` if the wait is over.
fn register(room: &mut Room) -> bool {
    let waker = Waker::from(Arc::new(Called(room.back.clone())));
    poll(&mut room.future, &waker)
}

#[test]
fn r18_wakers_that_call_back_when_they_are_replaced() {
    for (name, make) in rooms() {
        ends(name, move || {
            let mut room = make();
            assert!(!register(&mut room));
            // The callback may have ended the wait.
            for _ in 0..3 {
                if register(&mut room) {
                    break;
                }
            }
        });
    }
}

#[test]
fn r18_wakers_that_call_back_when_what_waits_is_dropped() {
    for (name, make) in rooms() {
        ends(name, move || {
            let mut room = make();
            assert!(!register(&mut room));
            drop(room.future);
        });
    }
}

#[test]
fn r18_wakers_that_call_back_when_they_are_woken_and_when_the_wait_is_over() {
    for (name, make) in rooms() {
        ends(name, move || {
            let mut room = make();
            assert!(!register(&mut room));
            (room.finish)();
            for _ in 0..3 {
                if poll(&mut room.future, Waker::noop()) {
                    break;
                }
            }
        });
    }
}

#[test]
fn r18_a_start_that_is_over_drops_a_value_that_comes_late_outside_its_lock() {
    ends("a late value", || {
        let (start, group, said) = start();
        let mut start = hand(start);
        start.pending();
        drop(start);
        say(&said);
        drop(group);
    });
}

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
