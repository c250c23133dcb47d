//! More of groups: the handshake of `start`, limits, first success, results, caps, handing back (R15 to R17,
//! R19).

use crate::support::{Executor, Full, Gate, Log, boom, hand, panic_text, yield_now};
use futures::StreamExt;
use futures::future::join_all;
use moored::{Cause, ChildError, ExitStack, Misuse, Outcome, Results, TaskGroup, TaskHandle, task};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) type Group<'env> = TaskGroup<'env, &'static str>;

// Limits.

/// A child that waits at the gate, and counts how many are inside.
pub(super) async fn inside(
    count: &AtomicUsize,
    most: &AtomicUsize,
    gate: &Gate,
) -> Result<(), &'static str> {
    most.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    gate.wait().await;
    yield_now().await;
    count.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[test]
fn r16_a_limit_lets_so_many_run_at_once_and_all_in_the_end() {
    let (count, most, gate) = (AtomicUsize::new(0), AtomicUsize::new(0), Gate::new());
    let group = Group::new().limit(3);
    for _ in 0..10 {
        group.spawn(inside(&count, &most, &gate));
    }
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    run.pending();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!(group.len(), 10);
    gate.open();
    run.drive().unwrap();
    assert_eq!((most.load(Ordering::SeqCst), group.len()), (3, 0));
}

#[test]
fn r16_children_get_their_turn_in_the_order_of_their_spawns() {
    let log = Log::new();
    let group = Group::new().limit(1);
    for n in 0..5 {
        let log = log.clone();
        group.spawn(async move {
            log.add(format!("{n} in"));
            yield_now().await;
            log.add(format!("{n} out"));
            Ok(())
        });
    }
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let expected: Vec<_> = (0..5).flat_map(|n| [format!("{n} in"), format!("{n} out")]).collect();
    assert_eq!(log.lines(), expected);
}

#[test]
fn r16_a_limit_of_nothing_is_one() {
    let group = Group::new().limit(0);
    group.spawn(async { Ok(()) });
    hand(group.run(async { Ok(()) })).drive().unwrap();
}

#[test]
fn r16_the_limit_counts_executor_children_too_and_one_that_is_dropped_gives_its_place_back() {
    let log = Log::new();
    let (first, second) = (Executor::new(), Executor::new());
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async {
        group.spawn_on(&first, pending::<Result<(), _>>());
        let log = log.clone();
        group.spawn_on(&second, async move {
            log.add("its turn");
            Ok(())
        });
        Ok(())
    }));
    run.pending();
    first.run();
    second.run();
    log.is(&[]);
    first.shut_down();
    second.run();
    log.is(&["its turn"]);
    run.drive().unwrap();
}

#[test]
fn r16_failing_and_panicking_children_give_their_place_back() {
    let log = Log::new();
    let group = Group::new().limit(1).keep_going();
    group.spawn(async { Err::<(), _>("broken") });
    group.spawn(log_it(&log, "second"));
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    assert_eq!(failure.causes().count(), 1);

    let group = Group::new().limit(1).keep_going();
    group.spawn(async {
        boom("first");
        Ok(())
    });
    group.spawn(log_it(&log, "cancelled, and polled once"));
    let mut run = hand(group.run(async { Ok(()) }));
    assert_eq!(panic_text(|| run.drive()), "first");
    log.is(&["second", "cancelled, and polled once"]);
}

async fn log_it(log: &Log, what: &str) -> Result<(), &'static str> {
    log.add(what);
    Ok(())
}

#[test]
fn r16_a_child_cancelled_in_line_does_not_wait_for_its_turn() {
    let gate = Gate::new();
    let group = Group::new().limit(1);
    let mut run = hand(group.run(async {
        let (gate, first) = (gate.clone(), gate.clone());
        group.spawn(async move {
            first.wait().await;
            Ok(())
        });
        let waiting: TaskHandle<()> = group.spawn(pending());
        let third = group.spawn(async { Ok("third") });
        yield_now().await;
        waiting.cancel();
        assert!(matches!(waiting.join().await, Err(ChildError::Cancelled(_))));
        assert!(!third.is_finished(), "the place is still taken");
        gate.open();
        Ok(third.join().await.unwrap())
    }));
    assert_eq!(run.drive().unwrap(), "third");
}

#[test]
fn r16_a_cancelled_group_with_a_limit_is_left_whoever_is_in_line() {
    let group = Group::new().limit(2);
    for _ in 0..10 {
        group.spawn(pending::<Result<(), _>>());
    }
    let mut run = hand(group.run(pending::<Result<(), _>>()));
    run.pending();
    group.cancel();
    assert!(matches!(run.drive().unwrap_err().cause(), Cause::Cancelled(_)));
    assert_eq!(group.len(), 0);
}

// First success.

#[test]
fn r17_the_first_success_cancels_the_others_and_its_failures_are_no_failure() {
    let log = Log::new();
    let stack = ExitStack::new();
    let group = Group::new().first_success();
    let body = async {
        let down = group.spawn(async { Err::<(), _>("down") });
        let slow: TaskHandle<()> = group.spawn(async {
            let body = async {
                stack.defer(log.entry("the slow one gives back"));
                pending::<Result<(), &str>>().await
            };
            stack.run(body).await.map_err(|_| "slow")
        });
        yield_now().await;
        let good = group.spawn(async { Ok(7) });
        let value = good.join().await.unwrap();
        assert!(!moored::is_cancelled(), "the body goes on");
        assert!(!group.is_cancelled());
        yield_now().await;
        assert!(matches!(down.join().await, Err(ChildError::Failed(_))));
        assert!(matches!(slow.join().await, Err(ChildError::Cancelled(_))));
        Ok(value)
    };
    assert_eq!(hand(group.run(body)).drive().unwrap(), 7);
    log.is(&["the slow one gives back"]);
}

#[test]
fn r17_where_none_succeeds_every_failure_is_reported() {
    let group = Group::new().first_success();
    for error in ["one", "two", "three"] {
        group.spawn(async move { Err::<(), _>(error) });
    }
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    let errors: Vec<_> = failure
        .causes()
        .map(|cause| match cause {
            Cause::Child { error, .. } => *error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, ["one", "two", "three"]);
}

#[test]
fn r17_an_error_of_the_body_is_reported_though_a_child_succeeded() {
    let group = Group::new().first_success();
    let body = async {
        group.spawn(async { Ok(()) }).join().await.unwrap();
        Err::<(), _>("the body's own")
    };
    let failure = hand(group.run(body)).drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("the body's own")));
}

#[test]
fn r17_a_child_spawned_after_the_first_success_runs_to_its_first_await() {
    let log = Log::new();
    let group = Group::new().first_success();
    let body = async {
        group.spawn(async { Ok(()) }).join().await.unwrap();
        let late = group.spawn(async {
            log.add("before");
            yield_now().await;
            yield_now().await;
            log.add("after");
            Ok(())
        });
        assert!(matches!(late.join().await, Err(ChildError::Cancelled(_))));
        Ok(())
    };
    hand(group.run(body)).drive().unwrap();
    log.is(&["before"]);
}

#[test]
fn r17_a_first_success_on_an_executor_reaches_children_elsewhere() {
    let executor = Executor::new();
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        group.spawn(pending::<Result<(), _>>());
        group.spawn_on(&executor, pending::<Result<(), _>>());
        Ok(group.spawn_on(&executor, async { Ok(1) }).join().await)
    }));
    run.pending();
    executor.run();
    assert_eq!(run.drive().unwrap().unwrap(), 1);
    assert_eq!(executor.len(), 0);
}

#[test]
fn r15_a_panic_beats_a_first_success() {
    let group = Group::new().first_success();
    group.spawn(async { Ok(()) });
    group.spawn(async {
        boom("beside it");
        Ok(())
    });
    let mut run = hand(group.run(async { Ok(()) }));
    assert_eq!(panic_text(|| run.drive()), "beside it");
}

// Results.

pub(super) async fn next(results: &mut Results) -> Option<&'static str> {
    results.next().await.map(|(_, outcome)| match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Cancelled(_) => "cancelled",
        Outcome::Panicked => "panicked",
        _ => "another",
    })
}

// The cap of a record.

#[test]
fn r15_a_record_keeps_the_first_errors_and_counts_the_rest() {
    let group = Group::new().keep_going().max_causes(2);
    for error in ["one", "two", "three", "four", "five"] {
        group.spawn(async move { Err::<(), _>(error) });
    }
    let failure = hand(group.run(async { Err::<(), _>("body") })).drive().unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (2, 4));
    assert!(failure.to_string().ends_with("(and 5 more)"), "{failure}");
    let tree = format!("{failure:#}");
    assert!(tree.ends_with("and 4 more, over the cap of the record"), "{tree}");
}

#[test]
fn r15_a_cap_of_nothing_is_one_and_the_default_is_1024() {
    let group = Group::new().keep_going().max_causes(0);
    for _ in 0..2 {
        group.spawn(async { Err::<(), _>("error") });
    }
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (1, 1));

    let group = Group::new().keep_going();
    for _ in 0..2_000 {
        group.spawn(async { Err::<(), _>("error") });
    }
    let failure = hand(group.run(async { Ok(()) })).drive().unwrap_err();
    assert_eq!((failure.causes().count(), failure.omitted()), (1024, 976));
}

// Handing back.

#[test]
fn r02_try_spawn_hands_the_future_back_from_another_task_and_when_it_was_left() {
    let executor = Executor::new();
    let group = TaskGroup::<'_, ()>::new().named("crew");
    let body = group.run(async {
        let rejected = task(async {
            let one = group.try_spawn(async { Ok(1) }).unwrap_err();
            let two = group.try_spawn_on(&executor, async { Ok(2) }).unwrap_err();
            for misuse in [one.error(), two.error()] {
                let Misuse::WrongTask(wrong) = misuse else { panic!("{misuse}") };
                assert_eq!(
                    (wrong.operation, wrong.region.as_str()),
                    ("spawn", "task group `crew`")
                );
            }
            (one.into_inner(), two.into_inner())
        })
        .named("thief")
        .await;
        let one = group.try_spawn(rejected.0).unwrap();
        let two = group.try_spawn(rejected.1).unwrap();
        Ok((one.join().await.unwrap(), two.join().await.unwrap()))
    });
    let mut run = hand(task(body).named("owner"));
    assert_eq!(run.drive().unwrap(), (1, 2));
    let rejected = group.try_spawn(async { Ok(3) }).unwrap_err();
    assert!(matches!(rejected.error(), Misuse::Closed { .. }), "{rejected}");
    assert_eq!(hand(rejected.into_inner()).ready(), Ok(3));
    let rejected = group.try_spawn_on(&Full, async { Ok(4) }).unwrap_err();
    assert_eq!(hand(rejected.into_inner()).ready(), Ok(4));
    assert!(group.spawner().spawn(async { Ok(()) }).is_err());
}

#[test]
fn r16_a_spawn_into_a_cancelled_group_has_its_exits_in_place() {
    let (log, executor) = (Log::new(), Executor::new());
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.cancel();
        for name in ["here", "there"] {
            let log = log.clone();
            let child = async move {
                let stack = ExitStack::new();
                let body = async {
                    stack.defer(log.entry(format!("exit {name}")));
                    yield_now().await;
                    yield_now().await;
                    log.add("never");
                    Ok::<_, &str>(())
                };
                stack.run(body).await.map_err(|_| "failed")
            };
            match name {
                "here" => drop(group.spawn(child)),
                _ => drop(group.spawn_on(&executor, child)),
            }
        }
        Ok(())
    }));
    run.pending();
    executor.run();
    run.drive().unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["exit here", "exit there"]);
}

// A hundred thousand.

#[test]
fn r19_a_hundred_thousand_children_pass_through_with_a_limit_and_their_results() {
    let before = moored::testing::live_regions();
    let group = Group::new().limit(16);
    let body = async {
        let mut results = group.results();
        let mut most = 0;
        for _ in 0..1_000 {
            let batch: Vec<_> = (0..100_u32).map(|n| group.spawn(async move { Ok(n) })).collect();
            let sum: u32 = join_all(batch.into_iter().map(TaskHandle::join))
                .await
                .into_iter()
                .map(Result::unwrap)
                .sum();
            assert_eq!(sum, 4950);
            for _ in 0..100 {
                assert_eq!(next(&mut results).await, Some("completed"));
            }
            most = most.max(moored::testing::live_regions() - before);
        }
        Ok(most)
    };
    let mut run = moored::testing::hand(group.run(body));
    let most = run.drive().unwrap();
    assert!(most <= 110, "{most} regions were alive at once");
    drop(run);
    drop(group);
    assert_eq!(moored::testing::live_regions(), before);
}

#[test]
fn r19_thirty_thousand_in_line_are_cancelled_without_a_search_for_each() {
    // The minimum of a few measurements, because other processes may use the processor
    // meanwhile.
    let least = |n: usize| {
        let timed = |_| {
            let group = Group::new().limit(1);
            for _ in 0..n {
                group.spawn(pending::<Result<(), _>>());
            }
            let mut run = hand(group.run(pending::<Result<(), _>>()));
            run.pending();
            let start = std::time::Instant::now();
            group.cancel();
            assert!(run.drive().is_err());
            start.elapsed()
        };
        (0..3).map(timed).min().unwrap()
    };
    // A search through the line for each child takes a hundred times as long for ten times as many.
    let (few, many) = (least(3_000), least(30_000));
    assert!(many < few * 40, "{few:?} for 3,000, {many:?} for 30,000");
}
