//! Wakers and values that call back into the crate when they are woken and when they are *dropped*, in every place
//! that stores a waker or a value (R18). A callback under a lock would wait for that lock for ever.
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Executor, Gate, hand, poll_once};
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

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) type Group = TaskGroup<'static, Called>;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Runs `test` on a thread of its own, and fails if the thread does not end, because then it waits for a
/// lock for ever.
#[track_caller]
pub(super) fn ends(name: &str, test: impl FnOnce() + Send + 'static) {
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
pub(super) struct Back {
    pub(super) handle: Option<CancelHandle>,
    pub(super) spawner: Option<GroupSpawner<'static, Called>>,
    pub(super) child: Option<Arc<TaskHandle<()>>>,
    pub(super) clock: Option<MockClock>,
    pub(super) other: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Back {
    pub(super) fn to(group: &Group) -> Self {
        Back { handle: Some(group.handle()), spawner: Some(group.spawner()), ..Back::default() }
    }

    pub(super) fn call(&self) {
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
pub(super) struct Called(pub(super) Back);

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
pub(super) type Named<T> = (&'static str, fn() -> T);

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
                    Some(Arc::new(self.1.weak()))
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

pub(super) fn poll(future: &mut Boxed, waker: &Waker) -> bool {
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
