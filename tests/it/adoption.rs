//! The region that adopts abandoned exits, the order in which they run, and the task as which
//! they run (R7, R8).

use crate::support::{
    Executor, Gate, Log, OnDrop, Reports, boom, hand, lose, poll_once, yield_now,
};
use futures::future::join;
use moored::testing::MockClock;
use moored::{CancelScope, ExitStack, TaskGroup, task};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A stack with two exits, in a run that never ends by itself.
pub(super) async fn parked(log: &Log, name: &str) {
    let stack = ExitStack::new().named(name);
    let body = async {
        stack.defer(log.entry(format!("{name} first in")));
        stack.defer(log.entry(format!("{name} last in")));
        pending::<Result<(), ()>>().await
    };
    stack.run(body).await.unwrap();
}

#[test]
fn r08_exits_of_a_select_loser_run_beside_the_winner_and_before_the_scope_is_left() {
    let log = Log::new();
    let gate = Gate::new();
    let work = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        lose(async {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("older"));
                let (log, gate) = (log.clone(), gate.clone());
                stack.defer(async move {
                    log.add("newer begins");
                    gate.wait().await;
                    log.add("newer ends");
                });
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        })
        .await;
        log.add("winner goes on");
        work.wait().await;
        log.add("winner ends");
    }));
    run.pending();
    log.is(&["winner goes on", "newer begins"]);
    work.open();
    run.pending();
    log.is(&["winner goes on", "newer begins", "winner ends"]);
    gate.open();
    run.ready().unwrap();
    log.is(&["winner goes on", "newer begins", "winner ends", "newer ends", "older"]);
}

#[test]
fn r08_adopting_wakes_the_region() {
    let log = Log::new();
    let scope = CancelScope::new();
    let elsewhere = Arc::new(std::sync::Mutex::new(None));
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        *elsewhere.lock().unwrap() = Some(stack);
        pending::<()>().await;
    }));
    run.pending();
    assert_eq!(run.wakes.count(), 0);
    // Dropped outside every task: an unknown identity is not rejected (R5), and no poll of the scope is
    // under way.
    drop(elsewhere.lock().unwrap().take());
    assert_eq!(run.wakes.count(), 1);
    run.pending();
    log.is(&["exit"]);
}

#[test]
fn r08_a_pool_of_one_permit_goes_on_after_a_select_loser() {
    let log = Log::new();
    let scope = CancelScope::new();
    let pool = Arc::new(tokio::sync::Semaphore::new(1));
    let mut run = hand(scope.run(async {
        for _ in 0..100 {
            lose(async {
                let stack = ExitStack::new();
                let body = async {
                    let permit = Arc::clone(&pool).acquire_owned().await.unwrap();
                    let _held = stack.hold(permit, |permit| async move {
                        yield_now().await;
                        drop(permit);
                    });
                    pending::<Result<(), ()>>().await
                };
                stack.run(body).await
            })
            .await;
            // The winner needs the permit that the loser still has.
            let permit = pool.acquire().await.unwrap();
            log.add("winner");
            drop(permit);
        }
    }));
    run.drive().unwrap();
    assert_eq!(log.lines().len(), 100);
}

#[test]
fn r08_a_server_loop_does_not_grow_with_ten_thousand_select_losers() {
    let ran = Arc::new(AtomicUsize::new(0));
    let alive = Arc::new(());
    let scope = CancelScope::new();
    let mut most = 0;
    let mut run = hand(scope.run(async {
        for _ in 0..10_000 {
            lose(async {
                let stack = ExitStack::new();
                let (ran, alive) = (Arc::clone(&ran), Arc::clone(&alive));
                stack.defer(async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    drop(alive);
                });
                stack.run(pending::<Result<(), ()>>()).await
            })
            .await;
            yield_now().await;
            most = most.max(Arc::strong_count(&alive));
        }
    }));
    // `drive` gives up after 10,000 polls, which this loop needs for itself.
    while run.poll().is_pending() {}
    drop(run);
    assert_eq!(ran.load(Ordering::SeqCst), 10_000);
    assert!(most <= 2, "{most} exits were alive at once");
}

#[test]
fn r08_an_exit_runs_under_the_identity_of_the_task_that_registered_it() {
    let log = Log::new();
    let tell = |stack: &ExitStack| {
        let log = log.clone();
        stack.defer(async move {
            let first = task::current().unwrap();
            yield_now().await;
            assert_eq!(task::current().unwrap(), first);
            log.add(first.name().unwrap());
        });
    };
    let mut run = hand(
        task(async {
            let inner = task(async {
                let stack = ExitStack::new();
                tell(&stack);
                stack.run(pending::<Result<(), ()>>()).await
            });
            lose(inner.named("registered")).await;
            yield_now().await;
            task::current()
        })
        .named("polls"),
    );
    assert_eq!(run.drive().unwrap().name(), Some("polls"));
    log.is(&["registered"]);
}

#[test]
fn r08_an_adopted_exit_may_use_what_its_task_owns() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let mut inner = Box::pin(
            task(async {
                let shared = Arc::new(ExitStack::new());
                shared.defer(async {});
                let stack = ExitStack::new();
                let (theirs, log) = (Arc::clone(&shared), log.clone());
                stack.defer(async move {
                    // The exit acts as its owner, although the scope polls it.
                    theirs.try_defer(async {}).unwrap();
                    log.add(format!("{}", theirs.len()));
                });
                stack.run(pending::<Result<(), ()>>()).await
            })
            .named("owner"),
        );
        assert!(poll_once(&mut inner).await.is_pending());
        drop(inner);
    }));
    run.drive().unwrap();
    log.is(&["2"]);
}

#[test]
fn r08_each_exit_is_counted_exactly_once_however_it_is_abandoned() {
    let begun = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let fill = |stack: &ExitStack| {
        for _ in 0..5 {
            let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
            stack.defer(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                for _ in 0..3 {
                    yield_now().await;
                }
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
    };
    // The leaving of a stack is itself abandoned after `n` polls, in a scope that is abandoned as well.
    for n in 0..25 {
        begun.store(0, Ordering::SeqCst);
        ended.store(0, Ordering::SeqCst);
        let outer = CancelScope::new();
        let mut run = hand(outer.run(async {
            let middle = CancelScope::new();
            let mut inner = Box::pin(middle.run(async {
                let stack = ExitStack::new();
                fill(&stack);
                let mut close = Box::pin(stack.close());
                for _ in 0..n {
                    if poll_once(&mut close).await.is_ready() {
                        return;
                    }
                }
                drop(close);
                yield_now().await;
            }));
            assert!(n >= 16 || poll_once(&mut inner).await.is_pending());
        }));
        run.drive().unwrap();
        let counts = (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        assert!(counts == (5, 5) || n >= 16, "{n}: {counts:?}");
    }
}

#[test]
fn r08_exits_without_a_live_region_around_are_reported_lost_by_name_and_place() {
    let reports = Reports::watch();
    let mut lines = Vec::new();
    let stack = ExitStack::new().named("nobody-around");
    let mut run = hand(stack.run(async {
        lines.push(line!() + 1);
        stack.defer(async { boom("lost") });
        lines.push(line!() + 1);
        stack.defer(async { boom("lost") });
        pending::<Result<(), ()>>().await
    }));
    run.pending();
    drop(run);
    let told = reports.of("nobody-around");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("2 exits of exit stack `nobody-around` are lost"), "{told:?}");
    let newest = told[0].find(&format!("{}:{}:", file!(), lines[1])).expect("its place");
    let oldest = told[0].find(&format!("{}:{}:", file!(), lines[0])).expect("its place");
    assert!(newest < oldest, "newest first: {told:?}");
}

#[test]
fn r08_a_stack_without_exits_is_not_reported() {
    let reports = Reports::watch();
    let stack = ExitStack::new().named("nothing-to-lose");
    let mut run = hand(stack.run(pending::<Result<(), ()>>()));
    run.pending();
    drop(run);
    drop(stack);
    let (body, drops) = OnDrop::new();
    drop(ExitStack::new().named("nothing-to-lose").run(async move {
        let _body = body;
        Ok::<_, ()>(())
    }));
    assert_eq!(drops.get(), 1);
    assert_eq!(reports.of("nothing-to-lose").len(), 0);
}

#[test]
fn r08_executor_children_of_a_dropped_group_are_cancelled_and_waited_for() {
    let log = Log::new();
    let gate = Gate::new();
    let exec = Executor::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let group_run = async {
            let child = group.spawn_on(&exec, {
                let (log, gate) = (log.clone(), gate.clone());
                async move {
                    let stack = ExitStack::new();
                    stack.defer(async move {
                        log.add("exit begins");
                        gate.wait().await;
                        log.add("exit ends");
                    });
                    stack.run(pending::<Result<(), ()>>()).await.map_err(drop)
                }
            });
            exec.run();
            group.run(async { Ok(child.join().await) }).await
        };
        lose(group_run).await;
        log.add("dropped");
    }));
    run.pending();
    log.is(&["dropped"]);
    exec.run();
    run.pending();
    log.is(&["dropped", "exit begins"]);
    gate.open();
    let before = run.wakes.count();
    exec.run();
    assert_eq!(exec.len(), 0);
    assert!(run.wakes.count() > before);
    run.ready().unwrap();
    log.is(&["dropped", "exit begins", "exit ends"]);
}

#[test]
fn r08_a_timed_out_body_has_its_exits_run_before_the_scope_returns() {
    // async-safe-defer: the body timed out first, and none of its actions ran.
    let clock = MockClock::new();
    let log = Log::new();
    let gate = Gate::new();
    let scope = CancelScope::new().timeout(Duration::from_secs(1));
    let mut run = hand(
        task(scope.run(async {
            let stack = ExitStack::new();
            stack.defer(log.entry("third"));
            stack.defer({
                let gate = gate.clone();
                async move { gate.wait().await }
            });
            stack.defer(log.entry("first"));
            stack.run(pending::<Result<(), ()>>()).await
        }))
        .clock(clock.clone()),
    );
    run.pending();
    clock.advance(Duration::from_secs(1));
    run.pending();
    log.is(&["first"]);
    // However long it takes: an exit outlasts every deadline.
    clock.advance(Duration::from_secs(3600));
    run.pending();
    gate.open();
    run.ready().unwrap_err();
    log.is(&["first", "third"]);
}

#[test]
fn r08_waves_that_arrive_at_different_times_run_side_by_side() {
    let log = Log::new();
    let slow = Gate::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        lose(async {
            let stack = ExitStack::new();
            let (log, slow) = (log.clone(), slow.clone());
            stack.defer(async move {
                slow.wait().await;
                log.add("slow");
            });
            stack.run(pending::<Result<(), ()>>()).await
        })
        .await;
        yield_now().await;
        lose(parked(&log, "quick")).await;
        yield_now().await;
        yield_now().await;
        log.add("body ends");
    }));
    while log.lines().last().is_none_or(|last| last != "body ends") {
        run.pending();
    }
    log.is(&["quick last in", "quick first in", "body ends"]);
    slow.open();
    run.ready().unwrap();
    assert_eq!(log.lines()[3], "slow");
}

#[test]
fn r08_a_scope_that_adopted_hands_on_what_it_had_not_finished() {
    let log = Log::new();
    let gate = Gate::new();
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let inner = CancelScope::new();
        let mut inner_run = Box::pin(inner.run(async {
            lose(async {
                let stack = ExitStack::new();
                stack.defer(log.entry("older"));
                let (log, gate) = (log.clone(), gate.clone());
                stack.defer(async move {
                    log.add("newer begins");
                    gate.wait().await;
                    log.add("newer ends");
                });
                stack.run(pending::<Result<(), ()>>()).await
            })
            .await;
            pending::<()>().await;
        }));
        assert!(poll_once(&mut inner_run).await.is_pending());
        log.add("inner dropped");
        drop(inner_run);
    }));
    run.pending();
    gate.open();
    run.ready().unwrap();
    log.is(&["newer begins", "inner dropped", "newer ends", "older"]);
}

#[test]
fn r08_an_exit_that_abandons_exits_has_them_run_too() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("oldest"));
    stack.defer({
        let log = log.clone();
        async move {
            lose(parked(&log, "inside")).await;
            log.add("exit ends");
        }
    });
    hand(stack.close()).drive().unwrap();
    assert_eq!(log.lines()[0], "exit ends");
    let mut rest = log.lines()[1..].to_vec();
    rest.sort();
    assert_eq!(rest, ["inside first in", "inside last in", "oldest"]);
}

#[test]
fn r08_what_an_exit_abandons_comes_before_the_next_exit() {
    // One has a node when its exits begin, and the other has not.
    for stack in [ExitStack::new(), ExitStack::new().named("stack")] {
        let log = Log::new();
        let mut run = hand(stack.run(async {
            stack.defer(log.entry("first in"));
            stack.defer({
                let log = log.clone();
                async move {
                    let inner = ExitStack::new();
                    inner.defer(log.entry("abandoned in an exit"));
                    drop(inner);
                    log.add("last in");
                }
            });
            Ok::<_, ()>(())
        }));
        run.drive().unwrap();
        log.is(&["last in", "abandoned in an exit", "first in"]);
    }
}

#[test]
fn r08_both_arms_of_a_join_keep_their_exits_apart() {
    let log = Log::new();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        join(parked(&log, "left"), parked(&log, "right")).await;
    }));
    run.pending();
    scope.cancel();
    run.ready().unwrap_err();
    // One task: the younger region first.
    log.is(&["right last in", "right first in", "left last in", "left first in"]);
}

#[test]
fn r08_the_identity_and_its_name_survive_what_an_exit_abandons_in_its_turn() {
    fn tell(log: Log, deep: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if deep > 0 {
                let stack = ExitStack::new();
                stack.defer(tell(log.clone(), deep - 1));
                drop(stack);
            }
            log.add(task::current().unwrap().name().unwrap_or("nobody"));
        })
    }
    let log = Log::new();
    let mut run = hand(
        task(async {
            let inner = task(async {
                let stack = ExitStack::new();
                stack.defer(tell(log.clone(), 3));
                stack.run(pending::<Result<(), ()>>()).await
            });
            lose(inner.named("registered")).await;
        })
        .named("polls"),
    );
    run.drive();
    log.is(&["registered"; 4]);
}

#[test]
fn r08_a_group_that_waits_for_a_child_runs_what_another_child_has_abandoned() {
    let (executor, gate) = (Executor::new(), Gate::new());
    let opens = gate.clone();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        group.spawn_on(&executor, async move {
            let stack = ExitStack::new();
            let parked = async {
                stack.defer(async move { opens.open() });
                pending::<Result<(), ()>>().await
            };
            stack.run(parked).await.map_err(drop)
        });
        group.spawn(async {
            gate.wait().await;
            Ok(())
        });
        Ok(())
    }));
    run.idle();
    executor.run();
    executor.shut_down();
    run.drive().unwrap();
}

#[test]
fn r08_what_an_adopted_exit_abandons_goes_to_a_region_that_lives() {
    let log = Log::new();
    let foreign = {
        let log = log.clone();
        async move {
            let stack = ExitStack::new();
            let body = async {
                stack.defer(log.entry("of no region"));
                pending::<Result<(), ()>>().await
            };
            stack.run(body).await
        }
    };
    // Entered where no task is known.
    let mut foreign = hand(foreign);
    foreign.pending();
    let scope = CancelScope::new();
    let mut run = hand(scope.run(async {
        let stack = ExitStack::new();
        let body = async {
            let log = log.clone();
            stack.defer(async move {
                // The region of this exit has been left.
                drop(foreign);
                log.add("drops it");
            });
            pending::<Result<(), ()>>().await
        };
        lose(stack.run(body)).await;
        log.add("the body ends");
    }));
    run.drive().unwrap();
    log.is(&["the body ends", "drops it", "of no region"]);
}

#[test]
fn r07_a_group_that_is_polled_again_keeps_its_place_in_the_order_of_entry() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let mut run = hand(task(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let waits = gate.wait();
        group.spawn_on(
            &executor,
            moored::shield(async move {
                waits.await;
                Ok(())
            }),
        );
        executor.run();
        let mut inside = Box::pin(group.run(async {
            parked(&log, "stack").await;
            Ok(())
        }));
        for _ in 0..2 {
            assert!(poll_once(&mut inside).await.is_pending());
        }
        drop(inside);
        yield_now().await;
        log.add("body");
    }));
    run.pending();
    run.pending();
    log.is(&["stack last in", "stack first in", "body"]);
    gate.open();
    executor.run();
    run.drive();
}
