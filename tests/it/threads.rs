//! Races on real threads: two threads act at once, many times with a shifting skew. The loom models
//! explore every order; these tests run on the real machine, and ThreadSanitizer runs these.

use crate::support::{Executor, Reports, Wakes, block_on, hand, poll_once, yield_now};
use moored::{BoxTask, CancelScope, ExitStack, Refused, Spawn, TaskGroup, checkpoint};
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};

const ROUNDS: u32 = 300;

/// A barrier: a thread goes on when `n` threads have arrived.
struct Spin(AtomicUsize);

impl Spin {
    fn wait(&self, n: usize) {
        self.0.fetch_add(1, SeqCst);
        while self.0.load(SeqCst) < n {
            std::hint::spin_loop()
        }
    }
}

/// Runs `left` and `right` at the same time.
fn race<A: Send, B: Send>(
    skew: u32,
    left: impl FnOnce() -> A + Send,
    right: impl FnOnce() -> B + Send,
) -> (A, B) {
    let spin = Spin(AtomicUsize::new(0));
    std::thread::scope(|threads| {
        let left = threads.spawn(|| {
            spin.wait(2);
            for _ in 0..skew {
                std::hint::spin_loop()
            }
            left()
        });
        spin.wait(2);
        let right = right();
        (left.join().unwrap(), right)
    })
}

#[test]
fn r03_a_wait_that_races_the_entry_hears_of_an_outer_cancellation() {
    for n in 0..ROUNDS {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let handle = inner.handle();
        let wakes = Wakes::new();
        let waker = Waker::from(wakes.clone());
        let mut wait = Box::pin(handle.cancelled());
        let mut run = Box::pin(outer.run(async {
            let _ = inner.run(pending::<()>()).await;
        }));
        let (told, _) = race(
            n % 100,
            || wait.as_mut().poll(&mut Context::from_waker(&waker)).is_ready(),
            || {
                assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            },
        );
        assert!(!told);
        outer.cancel();
        assert!(wakes.count() > 0, "round {n}: nobody told it");
    }
}

#[test]
fn r16_a_spawn_that_races_the_drop_of_run_is_refused_or_cancelled() {
    // Lost exits are reported here; the reports are ignored.
    let _quiet = Reports::watch();
    for n in 0..ROUNDS {
        let exec = Executor::new();
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let mut run = hand(group.run(pending::<Result<(), ()>>()));
        run.pending();
        let (spawned, _) = race(
            n % 200,
            || spawner.spawn_on(&exec, pending::<Result<(), ()>>()).ok(),
            || drop(run),
        );
        exec.run();
        if let Some(child) = spawned {
            assert!(child.is_finished(), "round {n}: an orphan");
        }
    }
}

#[test]
fn r16_an_in_task_spawn_that_races_the_drop_of_run_leaves_no_wait_behind() {
    for n in 0..ROUNDS {
        let group: TaskGroup<'static, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let scope = CancelScope::new();
        let mut outer = hand(scope.run(async {
            let mut run = Box::pin(group.run(pending::<Result<(), ()>>()));
            assert!(poll_once(&mut run).await.is_pending());
            let (spawned, _) =
                race(n % 200, || spawner.spawn(pending::<Result<(), ()>>()).ok(), || drop(run));
            drop(spawned);
        }));
        assert!(outer.poll().is_ready(), "round {n}: waits for a child that nobody polls");
    }
}

#[test]
fn r02_try_defer_that_races_the_leaving_hands_back() {
    // Lost exits are reported here; the reports are ignored.
    let _quiet = Reports::watch();
    for n in 0..ROUNDS {
        let stack = ExitStack::new();
        let mut run = hand(stack.run(async { Ok::<_, ()>(()) }));
        let ((), left) = race(
            n % 100,
            || {
                for _ in 0..20 {
                    if stack.try_defer(async {}).is_err() {
                        break;
                    }
                    for _ in 0..30 {
                        std::hint::spin_loop()
                    }
                }
            },
            || run.poll(),
        );
        assert!(left.is_ready());
    }
}

#[test]
fn r02_try_hold_that_races_the_leaving_hands_back() {
    // Lost exits are reported here; the reports are ignored.
    let _quiet = Reports::watch();
    for n in 0..ROUNDS {
        let stack = ExitStack::new();
        let mut run = hand(stack.run(async { Ok::<_, ()>(()) }));
        let ((), _) = race(
            n % 100,
            || {
                for _ in 0..20 {
                    if stack.try_hold((), |()| async {}).is_err() {
                        break;
                    }
                    for _ in 0..30 {
                        std::hint::spin_loop()
                    }
                }
            },
            || run.poll(),
        );
    }
}

#[test]
fn r08_no_exit_is_lost_when_children_on_threads_are_cancelled_from_everywhere() {
    struct Threads;
    impl Spawn for Threads {
        fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
            std::thread::spawn(move || block_on(task));
            Ok(())
        }
    }
    for round in 0..100 {
        let ran = Arc::new(AtomicUsize::new(0));
        let registered = Arc::new(AtomicUsize::new(0));
        let scope = CancelScope::new();
        let handle = scope.handle();
        let asker = std::thread::spawn(move || {
            for _ in 0..round * 50 {
                std::hint::spin_loop()
            }
            handle.cancel()
        });
        let _ = block_on(scope.run(async {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            for _ in 0..4 {
                let (ran, registered) = (ran.clone(), registered.clone());
                group.spawn_on(&Threads, async move {
                    for _ in 0..3 {
                        let stack = ExitStack::new();
                        registered.fetch_add(1, SeqCst);
                        let ran = ran.clone();
                        stack.defer(async move {
                            yield_now().await;
                            ran.fetch_add(1, SeqCst);
                        });
                        stack
                            .run(async {
                                checkpoint().await;
                                Ok::<_, ()>(())
                            })
                            .await
                            .unwrap();
                    }
                    Ok(())
                });
            }
            group.run(async { Ok(()) }).await
        }));
        asker.join().unwrap();
        assert_eq!(ran.load(SeqCst), registered.load(SeqCst), "round {round}");
    }
}
