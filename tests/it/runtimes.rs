//! The same behaviours on every executor: tokio in both flavours, smol, and thirty lines of our own.

use crate::support::{
    Executor, Gate, Hand, Log, Reports, block_on, hand, lose, poll_once, yield_now,
};
use futures::future::join;
use moored::rt::tokio::Tokio;
use moored::{
    BoxTask, CancelScope, Cancellation, Cause, ChildError, ExitStack, ReasonKind, Refused, Spawn,
    TaskGroup, shield, task,
};
use std::future::{Future, pending};
use std::time::{Duration, Instant};

/// A thread for each task.
struct Threads;

impl Spawn for Threads {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        std::thread::spawn(move || block_on(task));
        Ok(())
    }
}

/// The behaviours that must hold on every executor.
async fn story<S: Spawn>(spawner: S) {
    values_come_back(&spawner).await;
    the_first_failure_cancels(&spawner).await;
    losers_unwind().await;
    a_dropped_group_is_waited_for(&spawner).await;
    owners_are_known(&spawner).await;
    timeouts_pass().await;
}

async fn values_come_back(spawner: &impl Spawn) {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let sum = group
        .run(async {
            let far: Vec<_> = (0..50)
                .map(|n| {
                    group.spawn_on(spawner, async move {
                        yield_now().await;
                        Ok(n)
                    })
                })
                .collect();
            let near: Vec<_> = (0..50).map(|n| group.spawn(async move { Ok(n) })).collect();
            let mut sum = 0;
            for child in far.into_iter().chain(near) {
                sum += child.join().await.unwrap();
            }
            Ok(sum)
        })
        .await
        .unwrap();
    assert_eq!(sum, 2 * (0..50).sum::<i32>());
}

async fn the_first_failure_cancels(spawner: &impl Spawn) {
    let log = Log::new();
    let ready = Gate::new();
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let failure = group
        .run(async {
            let (exits, parked) = (log.clone(), ready.clone());
            let sibling = group.spawn_on(spawner, async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(exits.entry("exit"));
                    parked.open();
                    pending::<Result<(), &str>>().await
                };
                stack.run(body).await.map_err(|_| "unreachable")
            });
            ready.wait().await;
            group.spawn_on(spawner, async { Err::<(), _>("broken") });
            let Err(ChildError::Cancelled(_)) = sibling.join().await else { panic!() };
            pending::<Result<(), &str>>().await
        })
        .await
        .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }), "{failure:?}");
    assert_eq!(failure.rest().count(), 0, "{failure:?}");
    log.is(&["exit"]);
}

async fn losers_unwind() {
    let log = Log::new();
    let scope = CancelScope::new();
    let run = scope.run(async {
        lose(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("older"));
                stack.defer(log.entry("newer"));
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        })
        .await;
        log.add("winner");
    });
    run.await.unwrap();
    log.is(&["winner", "newer", "older"]);
}

async fn a_dropped_group_is_waited_for(spawner: &impl Spawn) {
    let log = Log::new();
    let ready = Gate::new();
    let scope = CancelScope::new();
    let run = scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let body = async {
            let (exits, parked) = (log.clone(), ready.clone());
            group.spawn_on(spawner, async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(async move {
                        yield_now().await;
                        exits.add("exit");
                    });
                    parked.open();
                    pending::<Result<(), ()>>().await
                };
                stack.run(body).await.map_err(drop)
            });
            pending::<Result<(), ()>>().await
        };
        let run = std::pin::pin!(group.run(body));
        let ready = std::pin::pin!(ready.wait());
        futures::future::select(run, ready).await;
    });
    run.await.unwrap();
    log.is(&["exit"]);
}

async fn owners_are_known(spawner: &impl Spawn) {
    let stack = ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let ids = group
        .run(async {
            stack.defer(async {});
            let near =
                group.spawn(async { Ok((stack.try_defer(async {}).is_err(), task::current())) });
            let far = group.spawn_on(spawner, async { Ok(task::current()) });
            let (rejected, near) = near.join().await.unwrap();
            assert!(rejected);
            Ok([task::current(), near, far.join().await.unwrap()])
        })
        .await
        .unwrap();
    assert!(ids.iter().all(Option::is_some));
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    drop(group);
    stack.close().await.unwrap();
}

async fn timeouts_pass() {
    let scope = CancelScope::new().timeout(Duration::from_millis(1));
    let cancelled = scope.run(pending::<()>()).await.unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    let scope = CancelScope::new().timeout(Duration::from_secs(3600));
    scope.run(yield_now()).await.unwrap();
}

#[test]
fn r16_the_story_on_tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let spawner = Tokio::new(runtime.handle().clone());
    runtime.block_on(story(spawner.clone()));
    runtime.block_on(task(story(spawner.clone())));
    runtime.block_on(async { tokio::spawn(story(spawner)).await.unwrap() });
}

#[test]
fn r16_the_story_on_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let spawner = Tokio::new(runtime.handle().clone());
    runtime.block_on(story(spawner.clone()));
    runtime.block_on(async {
        let stories: Vec<_> = (0..20).map(|_| tokio::spawn(story(spawner.clone()))).collect();
        for story in stories {
            story.await.unwrap();
        }
    });
}

#[cfg(feature = "smol")]
#[test]
fn r16_the_story_on_smol() {
    smol::block_on(story(moored::rt::smol::Smol::global()));
    smol::block_on(async { smol::spawn(story(moored::rt::smol::Smol::global())).await });
}

#[cfg(feature = "smol")]
#[test]
fn r16_children_that_a_smol_executor_drops_are_cancelled_ones() {
    let log = Log::new();
    let executor = std::sync::Arc::new(smol::Executor::new());
    let spawner = moored::rt::smol::Smol::new(std::sync::Arc::clone(&executor));
    block_on(task(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let joined = group
            .run(async {
                let log = log.clone();
                let child = group.spawn_on(&spawner, async move {
                    let stack = ExitStack::new();
                    stack.defer(log.entry("exit"));
                    stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
                });
                assert!(executor.try_tick());
                drop(spawner);
                drop(executor);
                Ok(child.join().await)
            })
            .await
            .unwrap();
        let Err(ChildError::Cancelled(reason)) = joined else { panic!("{joined:?}") };
        assert_eq!(reason.kind(), ReasonKind::Shutdown);
    }));
    log.is(&["exit"]);
}

#[test]
fn r16_the_story_on_a_block_on_of_thirty_lines() {
    block_on(story(Threads));
    block_on(task(story(Threads)));
}

#[test]
fn r16_the_story_on_the_block_on_of_futures() {
    futures::executor::block_on(story(Threads));
}

#[test]
fn r16_a_one_threaded_executor_is_neither_blocked_nor_aborted() {
    // async-scoped blocks the thread in a drop, and aborts the process on a one-threaded runtime.
    let exec = Executor::new();
    let log = Log::new();
    let theirs = exec.clone();
    let ends = log.entry("scope left");
    exec.spawn(Box::pin(async move {
        let scope = CancelScope::new();
        let run = scope.run(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            group.spawn_on(&theirs, pending::<Result<(), ()>>());
            yield_now().await;
            lose(group.run(pending::<Result<(), ()>>())).await;
        });
        run.await.unwrap();
        ends.await;
    }))
    .unwrap();
    exec.run();
    log.is(&["scope left"]);
    assert_eq!(exec.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn r11_tokios_paused_clock_drives_a_timeout() {
    let began = tokio::time::Instant::now();
    let wall = Instant::now();
    let scope = CancelScope::new().timeout(Duration::from_secs(3600));
    let cancelled = scope.run(pending::<()>()).await.unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    assert_eq!(began.elapsed(), Duration::from_secs(3600));
    assert!(wall.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn r11_tokios_paused_clock_drives_a_deadline_that_is_moved() {
    let began = tokio::time::Instant::now();
    let scope = CancelScope::new().timeout(Duration::from_secs(1));
    let body = async {
        scope.set_deadline((began + Duration::from_secs(10)).into_std());
        pending::<()>().await;
    };
    scope.run(body).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn r12_a_wait_by_another_clock_is_woken_when_a_shield_around_it_gives_way() {
    const HOUR: Duration = Duration::from_secs(3600);
    // Outside the runtime, where an hour takes an hour.
    fn elsewhere(mut waits: Hand<Cancellation>) -> (Hand<Cancellation>, bool) {
        let polls = move || {
            let ready = waits.poll().is_ready();
            (waits, ready)
        };
        std::thread::spawn(polls).join().unwrap()
    }
    let (outer, inner, gate) = (CancelScope::new(), CancelScope::new(), Gate::new());
    let shielded = CancelScope::new().shielded().grace(HOUR);
    let handle = inner.handle();
    let body = join(shielded.run(inner.run(pending::<()>())), shield(gate.wait()));
    let mut run = Box::pin(outer.run(body));
    assert!(poll_once(&mut run).await.is_pending());
    let (waits, _) = elsewhere(hand(handle.cancelled()));
    outer.cancel();
    assert!(poll_once(&mut run).await.is_pending());
    let (waits, ready) = elsewhere(waits);
    assert!(!ready, "both shields hold");
    let before = waits.wakes.count();
    assert!(tokio::time::timeout(HOUR * 2, &mut run).await.is_err(), "the other shield holds");
    assert_eq!(waits.wakes.count(), before + 1);
    assert!(elsewhere(waits).1);
    gate.open();
    assert!(run.await.is_err());
}

#[test]
fn r11_the_default_clock_works_outside_any_runtime() {
    let began = Instant::now();
    let scope = CancelScope::new().timeout(Duration::from_millis(20));
    let cancelled = block_on(scope.run(pending::<()>())).unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Deadline);
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn r05_a_thread_that_ends_with_a_region_in_its_locals_does_not_panic() {
    use std::cell::RefCell;
    type Kept = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    thread_local! { static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) }; }
    let reports = Reports::watch();
    let thread = std::thread::spawn(|| {
        let mut kept: Kept = Box::pin(async {
            let stack = ExitStack::new();
            let scope =
                CancelScope::new().named("kept-in-a-thread").timeout(Duration::from_secs(3600));
            let body = async {
                stack.defer(async {});
                pending::<Result<(), ()>>().await
            };
            let _ = scope.run(stack.run(body)).await;
        });
        // This thread-local first, so that it is destroyed after the crate's own.
        KEPT.with(|slot| *slot.borrow_mut() = None);
        assert!(hand(async { poll_once(&mut kept).await }).ready().is_pending());
        KEPT.with(|slot| *slot.borrow_mut() = Some(kept));
    });
    thread.join().unwrap();
    assert_eq!(reports.of("kept-in-a-thread").len(), 1);
}

#[test]
fn r16_a_group_that_is_run_while_its_thread_ends_waits_for_its_children() {
    use std::cell::RefCell;
    struct Last(std::sync::mpsc::Sender<u32>);
    impl Drop for Last {
        fn drop(&mut self) {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let mut run = hand(group.run(async {
                let ready = group.spawn(async { Ok(1) });
                let pending = group.spawn(async {
                    yield_now().await;
                    Ok(2)
                });
                Ok(ready.join().await.unwrap() + pending.join().await.unwrap())
            }));
            let _ = self.0.send(run.drive().unwrap());
        }
    }
    thread_local! { static LAST: RefCell<Option<Last>> = const { RefCell::new(None) }; }
    let (sender, sum) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // This thread-local first, so that it is destroyed after the crate's own.
        LAST.with(|slot| *slot.borrow_mut() = Some(Last(sender)));
        hand(moored::task(async {})).ready();
    });
    thread.join().unwrap();
    assert_eq!(sum.recv(), Ok(3));
}

#[test]
fn r08_exits_of_children_on_a_tokio_runtime_that_is_dropped_are_run_by_the_group() {
    for several in [false, true] {
        let runtime = match several {
            true => tokio::runtime::Builder::new_multi_thread().worker_threads(1).build(),
            false => tokio::runtime::Builder::new_current_thread().build(),
        }
        .unwrap();
        let log = Log::new();
        let parked = Gate::new();
        let spawner = Tokio::new(runtime.handle().clone());
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn_on(&spawner, {
            let (log, parked) = (log.clone(), parked.clone());
            async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(async move {
                        yield_now().await;
                        log.add("exit");
                    });
                    parked.open();
                    pending::<Result<(), ()>>().await
                };
                stack.run(body).await.map_err(drop)
            }
        });
        let mut run = hand(group.run(async { Ok(()) }));
        run.pending();
        runtime.block_on(parked.wait());
        drop(runtime);
        run.drive().unwrap();
        let Err(ChildError::Cancelled(reason)) = hand(child.join()).ready() else { panic!() };
        assert_eq!(reason.kind(), ReasonKind::Shutdown);
        log.is(&["exit"]);
    }
}

/// A task for an executor, and the channel that reports its end.
fn told() -> (BoxTask, std::sync::mpsc::Receiver<&'static str>) {
    let (tell, told) = std::sync::mpsc::channel();
    (Box::pin(async move { tell.send("ran").unwrap() }), told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn r08_what_a_tokio_spawner_keeps_runs_tasks_on_the_same_runtime() {
    let spawner = Tokio::current();
    let (task, ran) = told();
    spawner.spawn(task).unwrap();
    assert_eq!(ran.recv(), Ok("ran"));
    let kept = spawner.keep().unwrap();
    drop(spawner);
    let (task, ran) = told();
    kept.spawn(task).unwrap();
    assert_eq!(ran.recv(), Ok("ran"));
}

#[cfg(feature = "smol")]
#[test]
fn r08_what_a_smol_spawner_keeps_runs_tasks_as_long_as_its_executor_lives() {
    use moored::rt::smol::Smol;
    let (task, ran) = told();
    Smol::default().spawn(task).unwrap();
    assert_eq!(ran.recv(), Ok("ran"));
    let (task, ran) = told();
    Smol::global().keep().unwrap().spawn(task).unwrap();
    assert_eq!(ran.recv(), Ok("ran"));

    let executor = std::sync::Arc::new(smol::Executor::new());
    let spawner = Smol::new(std::sync::Arc::clone(&executor));
    let kept = spawner.keep().unwrap();
    let (task, ran) = told();
    kept.spawn(task).unwrap();
    assert!(executor.try_tick());
    assert_eq!(ran.recv(), Ok("ran"));
    drop((spawner, executor));
    let (task, ran) = told();
    let Refused(task) = kept.spawn(task).unwrap_err();
    block_on(task);
    assert_eq!(ran.recv(), Ok("ran"), "what was refused was handed back whole");
}

#[test]
fn r05_a_second_run_in_the_same_tokio_task_is_a_second_run_and_no_wrong_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for waits in [false, true] {
        let twice = async move {
            let scope = CancelScope::new();
            let body = async {
                if waits {
                    tokio::task::yield_now().await;
                }
            };
            scope.run(body).await.unwrap();
            scope.run(async {}).await
        };
        let ended = runtime.block_on(async { tokio::spawn(twice).await });
        let text = ended.unwrap_err().into_panic().downcast::<String>().unwrap();
        assert!(text.contains("entered once"), "waits: {waits}: {text}");
    }
}

#[test]
fn r02_a_second_run_in_another_tokio_task_is_the_wrong_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let scope = std::sync::Arc::new(CancelScope::new());
        let first = std::sync::Arc::clone(&scope);
        tokio::spawn(async move { first.run(async {}).await.unwrap() }).await.unwrap();
        let second = tokio::spawn(async move { scope.run(async {}).await.unwrap_err() }).await;
        let told = second.unwrap().to_string();
        assert!(told.contains("may not run cancel scope"), "{told}");
        // The owner is named by its own number if it has a node, else by the runtime's.
        assert!(told.contains("it was entered by ") && told.contains("task "), "{told}");
    });
}
