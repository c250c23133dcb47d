//! The clock that measures a deadline: that of the runtime that polls the region, or the clock that
//! the task was given (R11).

use crate::support::{
    Executor, Gate, Log, Reports, block_on, hand, panic_text, poll_once, yield_now,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moored::rt::tokio::Tokio;
use moored::testing::MockClock;
use moored::{
    CancelScope, Cause, Clock, ExitFailure, ExitStack, ReasonKind, Sleep, TaskGroup, fail_at,
    move_on_after, move_on_at, task,
};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const SECOND: Duration = Duration::from_secs(1);
/// Long enough that a future which is polled immediately is polled before it has passed.
const SOON: Duration = Duration::from_millis(30);

fn with_time() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn without_time() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Every way to end a wait by time: each returns once its deadline has passed.
async fn all_times() {
    assert_eq!(move_on_after(SOON, pending::<()>()).await, None);
    let scope = CancelScope::new().deadline(Instant::now() + SOON);
    assert_eq!(scope.run(pending::<()>()).await.unwrap_err().reason().kind(), ReasonKind::Deadline);
    let stopped = CancelScope::new().grace(SOON);
    stopped.stop();
    stopped.run(pending::<()>()).await.unwrap_err();
    let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded().grace(SOON));
    outer.cancel();
    outer.run(inner.run(pending::<()>())).await.unwrap_err();
    let stack = ExitStack::new().grace(SOON);
    stack.defer(pending::<()>());
    stack.close().await.unwrap_err();
    let entered = CancelScope::new().timeout(SOON).enter().unwrap();
    entered.handle().cancelled().await;
    assert_eq!(entered.exit().unwrap().reason().unwrap().kind(), ReasonKind::Deadline);
}

// Which clock is used.

#[test]
fn r11_every_time_comes_in_a_tokio_runtime_that_has_one() {
    with_time().block_on(all_times());
    let several = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    several.block_on(several.spawn(all_times())).unwrap();
}

#[test]
fn r11_every_time_comes_in_a_tokio_runtime_without_one() {
    without_time().block_on(all_times());
    let several = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    several.block_on(several.spawn(all_times())).unwrap();
}

#[test]
fn r11_every_time_comes_outside_every_runtime() {
    block_on(all_times());
}

#[cfg(feature = "smol")]
#[test]
fn r11_every_time_comes_on_smol() {
    smol::block_on(smol::spawn(all_times()));
}

#[test]
fn r11_every_time_comes_below_a_nested_block_on() {
    block_on(async { block_on(CancelScope::new().run(all_times())).unwrap() });
    let several = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let nested = || tokio::task::block_in_place(|| block_on(CancelScope::new().run(all_times())));
    several.block_on(several.spawn(async move { nested() })).unwrap().unwrap();
}

#[test]
fn r11_every_time_comes_where_the_runtime_that_is_current_has_shut_down() {
    let runtime = with_time();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _inside = handle.enter();
    block_on(all_times());
}

// A future that moves.

type Timed = Pin<Box<dyn Future<Output = Option<()>>>>;

/// A future with a time limit that has been polled in `runtime`.
fn armed_in(runtime: &Runtime) -> (Instant, Timed) {
    let began = Instant::now();
    let mut timed = Box::pin(move_on_after(SOON, pending::<()>()));
    assert!(runtime.block_on(poll_once(&mut timed)).is_pending());
    (began, timed)
}

#[test]
fn r11_a_deadline_is_kept_when_the_runtime_it_was_armed_in_is_dropped() {
    let elsewhere: [fn(Timed) -> Option<()>; 4] = [
        |timed| block_on(timed),
        |timed| futures::executor::block_on(timed),
        |timed| with_time().block_on(timed),
        |timed| without_time().block_on(timed),
    ];
    for elsewhere in elsewhere {
        let runtime = with_time();
        let (began, timed) = armed_in(&runtime);
        drop(runtime);
        assert_eq!(elsewhere(timed), None);
        assert!(began.elapsed() >= SOON, "too early");
    }
}

#[test]
fn r11_a_deadline_is_kept_when_the_runtime_it_was_armed_in_is_parked() {
    let parked = with_time();
    let (began, timed) = armed_in(&parked);
    assert_eq!(block_on(timed), None);
    assert!(began.elapsed() >= SOON, "too early");
    let (began, timed) = armed_in(&parked);
    assert_eq!(with_time().block_on(timed), None);
    assert!(began.elapsed() >= SOON, "too early");
}

#[test]
fn r11_a_deadline_moves_into_a_runtime_and_within_it() {
    let mut timed = Box::pin(move_on_after(SOON, pending::<()>()));
    assert!(block_on(poll_once(&mut timed)).is_pending());
    let several = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let timed = several.block_on(several.spawn(async move {
        assert!(poll_once(&mut timed).await.is_pending());
        Some(timed)
    }));
    let timed = timed.unwrap().unwrap();
    assert_eq!(several.block_on(several.spawn(timed)).unwrap(), None);
}

#[test]
fn r11_a_deadline_moves_where_the_waker_stays_the_same() {
    let mut all: FuturesUnordered<_> = [move_on_after(SOON, pending::<()>())].into_iter().collect();
    let runtime = with_time();
    let pending = runtime.block_on(async { futures::poll!(all.next()).is_pending() });
    assert!(pending);
    drop(runtime);
    assert_eq!(block_on(all.next()), Some(None));
}

#[test]
fn r11_a_wait_for_an_entered_scope_moves_with_its_deadline() {
    let entered = CancelScope::new().timeout(SOON).enter().unwrap();
    let mut cancelled = Box::pin(entered.handle().cancelled());
    let runtime = with_time();
    assert!(runtime.block_on(poll_once(&mut cancelled)).is_pending());
    drop(runtime);
    block_on(cancelled);
}

// An exit that moves.

/// Two exits of a child on a runtime that shuts down, the second of them half-way. Returns the group's outcome, and the
/// exits that have ended.
fn orphaned(clock: Option<Arc<dyn Clock>>) -> (Result<(), String>, Vec<String>) {
    let (log, gate, half_way) = (Log::new(), Gate::new(), Gate::new());
    let going = with_time();
    let spawner = Tokio::new(going.handle().clone());
    let group: TaskGroup<'_, Infallible> = TaskGroup::new().named("orphans");
    let body = {
        let (log, gate, half_way) = (log.clone(), gate.clone(), half_way.clone());
        async move {
            let stack = ExitStack::new().named("orphans").grace(60 * SECOND);
            stack.defer(log.entry("first"));
            stack.defer(async move {
                half_way.open();
                gate.wait().await;
                log.add("second");
            });
            let _ = stack.run(async { Ok::<_, Infallible>(()) }).await;
            Ok(())
        }
    };
    let body: Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>> = match clock {
        Some(clock) => Box::pin(task(body).clock(Shared(clock))),
        None => Box::pin(body),
    };
    drop(group.spawn_on(&spawner, body));
    let healthy = with_time();
    let mut run = Box::pin(group.run(async { Ok(()) }));
    assert!(healthy.block_on(poll_once(&mut run)).is_pending());
    going.block_on(half_way.wait());
    drop(going);
    assert!(healthy.block_on(poll_once(&mut run)).is_pending());
    gate.open();
    let ended = healthy.block_on(run).map_err(|failure| failure.to_string());
    (ended, log.lines())
}

struct Shared(Arc<dyn Clock>);

impl Clock for Shared {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.0.sleep_until(at)
    }
}

#[test]
fn r08_an_exit_with_a_grace_outlives_the_runtime_in_which_it_began() {
    let (ended, ran) = orphaned(None);
    assert_eq!((ended, ran), (Ok(()), vec!["second".to_owned(), "first".to_owned()]));
}

/// A clock as a user writes it for tokio: its timers belong to the runtime they are made in.
struct TokiosTimers;

impl Clock for TokiosTimers {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

#[test]
fn r08_an_exit_with_a_grace_by_a_given_clock_outlives_the_runtime_in_which_it_began() {
    let (ended, ran) = orphaned(Some(Arc::new(TokiosTimers)));
    assert_eq!((ended, ran), (Ok(()), vec!["second".to_owned(), "first".to_owned()]));
}

#[test]
fn r08_an_exit_that_moves_makes_its_timer_anew_where_it_goes_on() {
    let (parked, going_on, gate) = (with_time(), with_time(), Gate::new());
    let body = async {
        let stack = ExitStack::new().grace(SOON);
        let mut loser = Box::pin(stack.run(async {
            stack.defer(pending::<()>());
            Ok::<_, Infallible>(())
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        gate.wait().await;
    };
    let mut run = Box::pin(task(body).clock(TokiosTimers));
    assert!(parked.block_on(poll_once(&mut run)).is_pending());
    gate.open();
    // The exit goes to the task, which another runtime polls by now.
    going_on.block_on(async { tokio::time::timeout(30 * SECOND, run).await }).unwrap();
}

#[test]
fn r11_a_deadline_by_a_given_clock_is_kept_when_the_runtime_it_was_armed_in_is_dropped() {
    let mut timed = Box::pin(task(move_on_after(SOON, pending::<()>())).clock(TokiosTimers));
    let runtime = with_time();
    assert!(runtime.block_on(poll_once(&mut timed)).is_pending());
    drop(runtime);
    assert_eq!(with_time().block_on(timed), None);
}

#[test]
fn r11_a_child_spawned_before_its_group_is_entered_has_the_clock_of_the_task_around() {
    let (clock, executor) = (MockClock::new(), Executor::new());
    let group: TaskGroup<'_, Infallible> = TaskGroup::new();
    let times_out = async {
        assert_eq!(move_on_after(SECOND, pending::<()>()).await, None);
        Ok(())
    };
    drop(group.spawn_on(&executor, times_out));
    let mut run = hand(task(group.run(async { Ok(()) })).clock(clock.clone()));
    run.pending();
    executor.run();
    assert_eq!(clock.sleepers(), 1);
    clock.advance(SECOND);
    executor.run();
    run.ready().unwrap();
}

// A clock that panics.

/// Its timers are pending as often as said, and panic then.
#[derive(Clone)]
struct Broken {
    polls: Arc<AtomicUsize>,
    panics: Arc<AtomicUsize>,
}

impl Broken {
    fn after(polls: usize) -> Self {
        Broken { polls: Arc::new(AtomicUsize::new(polls)), panics: Arc::default() }
    }
}

impl Clock for Broken {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        let Broken { polls, panics } = self.clone();
        Box::pin(std::future::poll_fn(move |_| {
            let left = polls.load(Ordering::SeqCst);
            panics.fetch_add(usize::from(left == 0), Ordering::SeqCst);
            assert!(left > 0, "the clock is broken");
            polls.store(left - 1, Ordering::SeqCst);
            std::task::Poll::Pending
        }))
    }
}

#[test]
fn r15_a_clock_that_panics_ends_the_body_as_a_panic_of_its_own_does() {
    for polls in [0, 1, 2] {
        let timed: [fn(&CancelScope) -> CancelScope; 3] = [
            |_| CancelScope::new().timeout(SECOND),
            |_| {
                let scope = CancelScope::new().grace(SECOND);
                scope.stop();
                scope
            },
            |outer| {
                outer.cancel();
                CancelScope::new().shielded().grace(SECOND)
            },
        ];
        for timed in timed {
            let log = Log::new();
            let outer = CancelScope::new();
            let scope = timed(&outer);
            let logged = log.clone();
            let body = scope.run(async {
                let stack = ExitStack::new();
                let _ = stack
                    .run(async {
                        stack.defer(async move {
                            yield_now().await;
                            logged.add("exit");
                        });
                        for _ in 0..10 {
                            yield_now().await;
                        }
                        Ok::<_, Infallible>(())
                    })
                    .await;
            });
            let run = outer.run(body);
            let mut run = hand(task(run).clock(Broken::after(polls)));
            let text = panic_text(|| run.drive());
            assert!(text.contains("the clock is broken"), "{text}");
            log.is(&["exit"]);
        }
    }
}

#[test]
fn r15_a_clock_that_panics_when_a_cancelled_shield_begins_its_grace_ends_the_body() {
    // The first timer is that of the patience with the shield inside.
    for polls in [0, 1] {
        let outer = CancelScope::new();
        let scope = CancelScope::new().shielded().grace(SECOND);
        let body = scope.run(async {
            scope.cancel();
            moored::shield(async {
                // Pending, and polled once more in the same poll of the scope, because the scope is cancelled.
                yield_now().await;
                outer.cancel();
                yield_now().await;
            })
            .await;
        });
        let mut run = hand(task(outer.run(body)).clock(Broken::after(polls)));
        assert!(panic_text(|| run.poll().is_ready()).contains("the clock is broken"));
    }
}

#[test]
fn r15_a_clock_that_has_panicked_is_not_asked_again_while_the_region_leaves() {
    let (outer, log, clock) = (CancelScope::new(), Log::new(), Broken::after(1));
    outer.cancel();
    let scope = CancelScope::new().shielded().grace(SECOND);
    let logged = log.clone();
    let body = scope.run(async {
        let stack = ExitStack::new();
        let body = async {
            stack.defer(async move {
                for _ in 0..3 {
                    yield_now().await;
                    logged.add("exit");
                }
            });
            pending::<Result<(), Infallible>>().await
        };
        stack.run(body).await
    });
    let run = outer.run(task(body).clock(clock.clone()));
    let mut run = hand(task(run).clock(MockClock::new()));
    run.pending();
    assert!(panic_text(|| run.drive()).contains("the clock is broken"));
    log.is(&["exit", "exit", "exit"]);
    // A timer that panics is made anew once, because the runtime that it was made in may have shut down.
    assert_eq!(clock.panics.load(Ordering::SeqCst), 2);
}

#[test]
fn r14_a_clock_that_panics_is_the_failure_of_the_exit_that_it_bounds() {
    for polls in [0, 1, 2] {
        let log = Log::new();
        let stack = ExitStack::new().grace(SECOND);
        let body = stack.run(async {
            stack.defer(log.entry("first"));
            let dropped = log.on_drop("dropped");
            stack.defer(async move {
                let _dropped = dropped;
                for _ in 0..10 {
                    yield_now().await;
                }
            });
            Ok::<_, Infallible>(())
        });
        let failure = hand(task(body).clock(Broken::after(polls))).drive().unwrap_err();
        let Cause::Exit(ExitFailure::Failed { error, .. }) = failure.cause() else {
            panic!("{failure}")
        };
        assert!(error.to_string().contains("the clock is broken"), "{error}");
        assert_eq!(failure.causes().count(), 1);
        log.is(&["dropped", "first"]);
    }
}

#[test]
fn r14_a_clock_that_panics_is_the_failure_of_an_adopted_exit_and_never_its_regions_end() {
    let (log, reports) = (Log::new(), Reports::watch());
    let scope = CancelScope::new().named("broken clocks");
    let body = scope.run(async {
        let lost = ExitStack::new().named("broken clocks").grace(SECOND);
        let mut loser = Box::pin(lost.run(async {
            lost.defer(log.entry("first"));
            lost.defer(pending::<()>());
            Ok::<_, Infallible>(())
        }));
        assert!(poll_once(&mut loser).await.is_pending());
        drop(loser);
        yield_now().await;
        yield_now().await;
        7
    });
    assert_eq!(hand(task(body).clock(Broken::after(1))).drive().unwrap(), 7);
    log.is(&["first"]);
    assert_eq!(reports.of("the clock is broken").len(), 1);
}

// The end of time.

/// The last instant that can be represented.
fn last_instant() -> Instant {
    let (mut last, mut step) = (Instant::now(), Duration::MAX);
    while !step.is_zero() {
        match last.checked_add(step) {
            Some(later) => last = later,
            None => step /= 2,
        }
    }
    last
}

async fn never_ends_the_time() {
    let last = last_instant();
    for at in [last, last - Duration::from_nanos(1), last - Duration::from_millis(1)] {
        let twice = || async {
            yield_now().await;
            yield_now().await;
            1
        };
        assert_eq!(move_on_at(at, twice()).await, Some(1));
        assert_eq!(fail_at(at, twice()).await.unwrap(), 1);
        assert_eq!(CancelScope::new().deadline(at).run(twice()).await.unwrap(), 1);
        let scope = CancelScope::new().timeout(SECOND);
        let body = async {
            scope.set_deadline(at);
            assert_eq!(moored::current_deadline(), Some(at));
            twice().await
        };
        assert_eq!(scope.run(body).await.unwrap(), 1);
        let entered = CancelScope::new().deadline(at).enter().unwrap();
        let handle = entered.handle();
        assert!(poll_once(&mut handle.cancelled()).await.is_pending());
        assert!(!handle.is_cancelled() && handle.reason().is_none());
        assert!(entered.exit().unwrap().reason().is_none());
        // To the last instant, and beyond it.
        let to_the_end = at.saturating_duration_since(Instant::now());
        for time in [to_the_end, to_the_end + SECOND, Duration::MAX] {
            assert_eq!(move_on_after(time, twice()).await, Some(1));
            assert_eq!(CancelScope::new().timeout(time).run(twice()).await.unwrap(), 1);
            let stopped = CancelScope::new().grace(time);
            stopped.stop();
            assert_eq!(stopped.run(twice()).await.unwrap(), 1);
            let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded().grace(time));
            outer.cancel();
            assert_eq!(outer.run(inner.run(twice())).await.unwrap().unwrap(), 1);
            let stack = ExitStack::new().grace(time);
            stack.defer(async move { assert_eq!(twice().await, 1) });
            stack.close().await.unwrap();
            let entered = CancelScope::new().timeout(time).grace(time).enter().unwrap();
            let handle = entered.handle();
            handle.stop();
            assert!(poll_once(&mut handle.cancelled()).await.is_pending());
            assert!(entered.exit().unwrap().reason().is_none());
        }
    }
}

#[test]
fn r11_the_last_instant_never_comes_and_panics_nowhere() {
    with_time().block_on(never_ends_the_time());
    without_time().block_on(never_ends_the_time());
    block_on(never_ends_the_time());
    let clock = MockClock::new();
    hand(task(never_ends_the_time()).clock(clock.clone())).drive();
    assert_eq!(clock.sleepers(), 0);
    with_time().block_on(task(never_ends_the_time()).clock(TokiosTimers));
}

#[test]
fn r11_a_mock_clock_that_is_moved_too_far_stands_at_the_last_instant() {
    let clock = MockClock::new();
    clock.advance(Duration::MAX);
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), last_instant());
    let mut past = hand(task(move_on_after(SECOND, pending::<()>())).clock(clock.clone()));
    past.pending();
}
