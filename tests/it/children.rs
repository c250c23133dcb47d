//! The features of a group beyond a set of tasks: names, places, values as they complete, isolated panics, a first
//! failure that stops.

use crate::support::{Executor, Gate, Log, Loud, boom, hand, panic_text, yield_now};
use moored::testing::MockClock;
use moored::{
    BoxTask, Cause, ChildError, ExitFailure, ExitStack, Failure, Outcome, Refused, Spawn,
    TaskGroup, TaskHandle, Values, local, stop_requested, task,
};
use std::future::{Future, pending};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn run<F: Future>(future: F) -> F::Output {
    hand(future).drive()
}

#[test]
fn r01_a_named_child_is_named_in_its_id_its_task_and_every_text() {
    let executor = Executor::new();
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = || {
        let seen = Arc::clone(&seen);
        async move {
            seen.lock().unwrap().push(task::current().unwrap());
            yield_now().await;
            Err::<(), _>("broken")
        }
    };
    let mut polled = hand(group.run(async {
        let spawner = group.spawner();
        let handles = [
            group.spawn_named("one", see()),
            group.spawn_named_on("two", &executor, see()),
            spawner.spawn_named("three", see()).unwrap(),
            spawner.spawn_named_on("four", &executor, see()).unwrap(),
        ];
        Ok(handles.map(|handle| handle.id()))
    }));
    polled.pending();
    executor.run();
    let failure = polled.drive().unwrap_err();
    let mut names: Vec<_> =
        seen.lock().unwrap().iter().map(|id| id.name().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["four", "one", "three", "two"]);
    let mut told: Vec<_> = failure.causes().map(ToString::to_string).collect();
    told.sort();
    assert!(told.iter().all(|text| text.ends_with("): broken")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("(three)")), "{told:?}");

    let group: local::TaskGroup<'_, &str> = local::TaskGroup::new();
    let spawner = group.spawner();
    let (one, two) =
        (group.spawn_named("near", see()), spawner.spawn_named("nearer", see()).unwrap());
    assert_eq!((one.id().name(), two.id().name()), (Some("near"), Some("nearer")));
    run(group.run(async { Ok(()) })).unwrap_err();
}

#[test]
fn r01_a_childs_failure_tells_where_it_was_spawned() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let spawned = line!() + 2;
    let failure = run(group.run(async {
        group.spawn(async { Err::<(), _>("broken") });
        Ok(())
    }))
    .unwrap_err();
    let Cause::Child { spawned_at, .. } = failure.cause() else { panic!("{failure}") };
    assert_eq!((spawned_at.file(), spawned_at.line()), (file!(), spawned));
    let place = format!("spawned at {}:{spawned}:", file!());
    assert!(format!("{failure:#}").contains(&place), "{failure:#}");
    assert!(!failure.to_string().contains("spawned at"), "one line is short: {failure}");
    // The place is kept through every conversion of the record.
    let mapped = format!("{:#}", failure.map(str::len));
    assert!(mapped.contains(&place), "{mapped}");

    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let started = line!() + 2;
    let failure = run(group.run(async {
        let failed = group.start(|_ready: moored::Ready<'_, ()>| async { Err("too early") }).await;
        Ok(failed.unwrap_err())
    }))
    .unwrap();
    let Cause::Child { spawned_at, .. } = failure.cause() else { panic!("{failure}") };
    assert_eq!((spawned_at.file(), spawned_at.line()), (file!(), started));
}

/// An executor that records the place of each call.
#[derive(Default)]
struct Places(Mutex<Vec<(u32, String)>>, Executor);

impl Spawn for Places {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.1.spawn(task)
    }
    #[track_caller]
    fn spawn_named<F>(&self, name: Option<&str>, task: F) -> Result<(), Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        assert_eq!(Location::caller().file(), file!());
        self.0
            .lock()
            .unwrap()
            .push((Location::caller().line(), name.unwrap_or_default().to_owned()));
        self.spawn(Box::pin(task))
    }
}

#[test]
fn r01_an_executor_sees_the_place_and_the_name_of_each_spawn() {
    let executor = Places::default();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let line = line!();
    group.spawn_on(&executor, async { Ok(()) });
    group.try_spawn_on(&executor, async { Ok(()) }).unwrap();
    group.spawn_named_on("named", &executor, async { Ok(()) });
    group.spawner().spawn_on(&executor, async { Ok(()) }).unwrap();
    group.spawner().spawn_named_on("afar", &executor, async { Ok(()) }).unwrap();
    let seen = std::mem::take(&mut *executor.0.lock().unwrap());
    let expected = ["", "", "named", "", "afar"];
    let expected = (line + 1..).zip(expected.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(seen, expected);
    executor.1.run();
    run(group.run(async { Ok(()) })).unwrap();
}

#[test]
fn values_come_in_the_order_in_which_children_end() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let group: TaskGroup<'_, &str> = TaskGroup::new().keep_going();
    let log = Log::new();
    let mut polled = hand(group.run(async {
        let mut values = Values::new();
        for (n, gate) in gates.iter().enumerate() {
            let wait = gate.wait();
            values.push(group.spawn(async move {
                wait.await;
                if n == 1 { Err("the second") } else { Ok(n) }
            }));
        }
        assert_eq!((values.len(), values.is_empty()), (3, false));
        while let Some((_, value)) = values.next().await {
            log.add(match value {
                Ok(value) => format!("{value}"),
                Err(ChildError::Failed(_)) => "failed".to_owned(),
                Err(other) => other.to_string(),
            });
        }
        assert!(values.is_empty() && values.next().await.is_none());
        Ok(())
    }));
    polled.idle();
    for n in [2, 1, 0] {
        gates[n].open();
        if n > 0 {
            polled.idle();
        }
    }
    polled.drive().unwrap_err();
    log.is(&["2", "failed", "0"]);
}

#[test]
fn r19_waiting_for_the_next_value_polls_only_those_that_ended() {
    // A thousand children, of which one ends at a time. Only that child is polled again.
    let gates: Vec<_> = (0..1_000).map(|_| Gate::new()).collect();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut values: Values<usize> = gates
        .iter()
        .enumerate()
        .map(|(n, gate)| {
            let wait = gate.wait();
            group.spawn(async move {
                wait.await;
                Ok(n)
            })
        })
        .collect();
    let mut polled = hand(group.run(async {
        let mut seen = Vec::new();
        while let Some((_, value)) = values.next().await {
            seen.push(value.unwrap());
        }
        Ok(seen)
    }));
    polled.idle();
    for gate in gates.iter().rev() {
        gate.open();
        if !std::ptr::eq(gate, &gates[0]) {
            polled.idle();
        }
    }
    let seen = polled.drive().unwrap();
    assert!(seen.iter().copied().eq((0..1_000).rev()));
}

#[test]
fn a_child_that_is_pushed_while_somebody_waits_for_a_value_is_seen() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let gate = Gate::new();
    let mut values = Values::default();
    let wait = gate.wait();
    values.push(group.spawn(async move {
        wait.await;
        Ok("first")
    }));
    let mut polled = hand(group.run(async {
        {
            let mut next = Box::pin(values.next());
            assert!(crate::support::poll_once(&mut next).await.is_pending());
        }
        values.extend([group.spawn(async { Ok("second") })]);
        let second = values.next().await.unwrap().1.unwrap();
        gate.open();
        Ok((second, values.next().await.unwrap().1.unwrap()))
    }));
    assert_eq!(polled.drive().unwrap(), ("second", "first"));
}

fn panic_places(failure: &Failure<&str>) -> Vec<String> {
    let text = |cause: &Cause<&str>| match cause {
        Cause::Exit(ExitFailure::Panicked { message, .. }) => Some(message.clone()),
        _ => None,
    };
    failure.causes().filter_map(text).collect()
}

#[test]
fn r15_an_isolated_panic_is_an_error_of_its_handle_and_the_others_go_on() {
    for on_executor in [false, true] {
        let (executor, log) = (Executor::new(), Log::new());
        let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
        let mut results = group.results();
        let mut polled = hand(group.run(async {
            let child = async {
                yield_now().await;
                boom("a bug");
                Ok(())
            };
            let broken = match on_executor {
                true => group.spawn_on(&executor, child),
                false => group.spawn(child),
            };
            let sound = group.spawn(async {
                yield_now().await;
                yield_now().await;
                log.add("the other goes on");
                Ok(())
            });
            let joined = broken.join().await;
            assert!(matches!(joined, Err(ChildError::Panicked)), "{joined:?}");
            sound.join().await.unwrap();
            Ok(7)
        }));
        polled.pending();
        executor.run();
        assert_eq!(polled.drive().unwrap(), 7);
        log.is(&["the other goes on"]);
        let told = run(async {
            use futures::StreamExt;
            results.next().await.unwrap().1
        });
        assert!(matches!(told, Outcome::Panicked), "{told:?}");
    }
}

#[test]
fn r15_an_isolated_panic_of_a_child_without_a_handle_stands_in_the_groups_failure() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
    let failure = run(group.run(async {
        group.spawn(async {
            boom("nobody knows");
            Ok(())
        });
        for _ in 0..3 {
            yield_now().await;
        }
        assert!(!group.is_cancelled());
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(panic_places(&failure), ["nobody knows"]);
    assert_eq!(failure.causes().count(), 1);
}

/// The ends of the handle of a child that has panicked whose result nobody looks at.
type Parting = fn(TaskHandle<()>);

const PARTINGS: [Parting; 4] = [
    drop,
    |handle| drop(handle.join()),
    |handle| drop(Values::from_iter([handle])),
    |handle| std::thread::spawn(move || drop(handle)).join().unwrap(),
];

#[test]
fn r15_an_isolated_panic_that_its_handle_has_not_returned_stands_in_the_groups_failure() {
    for part in PARTINGS {
        for on_executor in [false, true] {
            let executor = Executor::new();
            let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
            let failure = run(group.run(async {
                let child = async {
                    boom("not looked at");
                    Ok(())
                };
                let broken = match on_executor {
                    true => group.spawn_on(&executor, child),
                    false => group.spawn(child),
                };
                while !broken.is_finished() {
                    executor.run();
                    yield_now().await;
                }
                part(broken);
                assert!(!group.is_cancelled());
                Ok(())
            }))
            .unwrap_err();
            assert_eq!(panic_places(&failure), ["not looked at"]);
            assert_eq!(failure.causes().count(), 1);
        }
        let group: local::TaskGroup<'_, &str> = local::TaskGroup::new().isolate_panics();
        let failure = run(group.run(async {
            let broken = group.spawn(async {
                boom("not looked at");
                Ok(())
            });
            while !broken.is_finished() {
                yield_now().await;
            }
            part(broken);
            Ok(())
        }));
        assert_eq!(panic_places(&failure.unwrap_err()), ["not looked at"]);
    }
}

#[test]
fn r15_an_isolated_panic_whose_handle_outlives_the_group_goes_to_the_next_record_outwards() {
    for part in PARTINGS {
        let stack = ExitStack::new();
        let failure = run(stack.run(async {
            let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
            let ended = group.run(async {
                Ok(group.spawn(async {
                    boom("not looked at");
                    Ok(())
                }))
            });
            part(ended.await?);
            Ok::<_, Failure<&str>>(())
        }))
        .map_err(Failure::flatten)
        .unwrap_err();
        assert_eq!(panic_places(&failure), ["not looked at"]);
    }
}

#[test]
fn r15_the_panic_of_a_values_drop_is_isolated_too() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
    let failure = run(group.run(async {
        drop(group.spawn(async { Ok(Loud("of a value")) }));
        for _ in 0..3 {
            yield_now().await;
        }
        assert!(!group.is_cancelled());
        Ok(())
    }))
    .unwrap_err();
    assert_eq!(panic_places(&failure), ["of a value"]);
}

#[test]
fn r15_a_panic_of_the_body_is_not_isolated() {
    let group: TaskGroup<'_, &str> = TaskGroup::new().isolate_panics();
    let text = panic_text(|| {
        run(group.run(async {
            boom("the body's");
            Ok(())
        }))
    });
    assert_eq!(text, "the body's");
    let group: local::TaskGroup<'_, &str> = local::TaskGroup::new().isolate_panics();
    let joined = run(group.run(async {
        let child = group.spawn(async {
            boom("a local bug");
            Ok(())
        });
        Ok(child.join().await)
    }));
    assert!(matches!(joined.unwrap(), Err(ChildError::Panicked)));
}

#[test]
fn r17_the_first_failure_stops_and_cancels_only_when_the_grace_is_over() {
    let (clock, log) = (MockClock::new(), Log::new());
    let second = Duration::from_secs(1);
    let start = moored::Clock::now(&clock);
    let group: TaskGroup<'_, &str> = TaskGroup::new().stop_on_failure().grace(second);
    let body = group.run(async {
        group.spawn(async { Err::<(), _>("first") });
        group.spawn(async {
            stop_requested().await;
            yield_now().await;
            log.add("wound down");
            Err::<(), _>("second")
        });
        group.spawn(async {
            let _dropped = log.on_drop("cancelled");
            pending::<Result<(), _>>().await
        });
        stop_requested().await;
        log.add("the body is asked");
        Ok(())
    });
    let failure =
        moored::testing::hand(task(body).clock(clock.clone())).drive_with(&clock).unwrap_err();
    assert_eq!(moored::Clock::now(&clock) - start, second);
    let errors: Vec<_> = failure.causes().map(ToString::to_string).collect();
    assert!(errors[0].ends_with("first") && errors[1].ends_with("second"), "{errors:?}");
    assert_eq!((errors.len(), log.lines().last().unwrap().as_str()), (2, "cancelled"));

    // The body's, too, and in the local flavour.
    let asked = Log::new();
    let group: local::TaskGroup<'_, &str> = local::TaskGroup::new().stop_on_failure();
    let failure = run(group.run(async {
        group.spawn(async {
            stop_requested().await;
            asked.add("asked");
            Ok(())
        });
        Err::<(), _>("the body's")
    }))
    .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("the body's")));
    asked.is(&["asked"]);
}

#[test]
fn r17_a_panic_cancels_where_a_failure_only_stops() {
    let log = Log::new();
    let group: TaskGroup<'_, &str> = TaskGroup::new().stop_on_failure();
    let text = panic_text(|| {
        run(group.run(async {
            group.spawn(async {
                boom("a bug");
                Ok(())
            });
            group.spawn(async {
                let _dropped = log.on_drop("cancelled");
                pending::<Result<(), _>>().await
            });
            pending::<Result<(), _>>().await
        }))
    });
    assert_eq!(text, "a bug");
    log.is(&["cancelled"]);
}

#[test]
fn r19_a_stream_of_values_that_has_ended_does_not_keep_the_task_that_read_it() {
    let mut values: Values<()> = Values::new();
    let mut next = hand(values.next());
    assert!(next.ready().is_none());
    let wakes = Arc::clone(&next.wakes);
    drop(next);
    assert_eq!(Arc::strong_count(&wakes), 1, "the waker is kept");
}

#[test]
fn r19_a_stream_of_values_that_is_dropped_does_not_keep_the_task_that_read_it() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let child = group.spawn(pending::<Result<(), ()>>());
    let mut values: Values<()> = [child].into_iter().collect();
    let mut next = hand(values.next());
    next.pending();
    let wakes = Arc::clone(&next.wakes);
    drop(next);
    drop(values);
    // The child lives, and its slot has the waker of a row of the stream.
    assert_eq!(Arc::strong_count(&wakes), 1, "the waker is kept");
    drop(group);
}

#[test]
fn a_stream_of_values_knows_how_many_are_left() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut values: Values<()> = (0..2).map(|_| group.spawn(async { Ok(()) })).collect();
    let left = run(group.run(async {
        let before = futures::Stream::size_hint(&values);
        values.next().await.unwrap().1.unwrap();
        Ok((before, futures::Stream::size_hint(&values)))
    }));
    assert_eq!(left.unwrap(), ((2, Some(2)), (1, Some(1))));
}

#[test]
fn r17_a_child_that_ends_between_two_values_comes_after_those_that_had_ended() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let spawned = gates.iter().enumerate().map(|(number, gate)| {
        let wait = gate.wait();
        group.spawn(async move {
            wait.await;
            Ok(number)
        })
    });
    let mut values: Values<usize> = spawned.collect();
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    run.pending();
    hand(values.next()).pending();
    gates[0].open();
    gates[1].open();
    run.pending();
    let mut numbers = vec![hand(values.next()).ready().unwrap().1.unwrap()];
    gates[2].open();
    run.pending();
    for _ in 1..3 {
        numbers.push(hand(values.next()).ready().unwrap().1.unwrap());
    }
    assert_eq!(numbers, [0, 1, 2]);
    assert!(hand(values.next()).ready().is_none());
}
