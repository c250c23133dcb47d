//! A shield protects the futures inside it and nothing else: a cancellation reaches the children of groups beside the
//! shield while the body waits for the shield (R12).

use crate::support::{Executor, Gate, Log, hand, steps, yield_now};
use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use moored::testing::MockClock;
use moored::{
    CancelScope, ChildError, ExitStack, ReasonKind, TaskGroup, local, move_on_after, shield, task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Never = Result<(), ()>;
type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A child that logs `name` when it is dropped.
fn child(log: &Log, name: &'static str) -> impl Future<Output = Never> + Send + 'static {
    let gone = log.on_drop(name);
    async move {
        let _gone = gone;
        pending::<Never>().await
    }
}

fn sorted(log: &Log) -> Vec<String> {
    let mut lines = log.lines();
    lines.sort();
    lines
}

#[test]
fn r12_the_children_of_a_group_beside_a_shield_are_cancelled_at_once_wherever_they_run() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let outer = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let body = async {
            let _body = log.on_drop("body");
            drop(group.spawn(child(&log, "in the task")));
            let kept = group.spawn(child(&log, "in the task, with a handle"));
            drop(group.spawn_on(&executor, child(&log, "on an executor")));
            pending::<()>().await;
            drop(kept);
            Ok(())
        };
        join(group.run(body), shield(gate.wait())).await.0
    }));
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    run.idle();
    assert_eq!(sorted(&log), ["in the task", "in the task, with a handle", "on an executor"]);
    assert_eq!((executor.len(), group.len()), (0, 0));
    gate.open();
    assert!(run.drive().is_err());
    assert!(log.lines().contains(&"body".to_owned()));
}

#[test]
fn r12_an_executor_child_that_comes_while_its_group_is_not_polled_is_cancelled_beside_a_shield() {
    for named in [false, true] {
        let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
        let outer = CancelScope::new();
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let spawner = group.spawner();
        let mut run = hand(outer.run(async {
            let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
            all.push(Box::pin(async { drop(group.run(pending::<Never>()).await) }));
            all.push(Box::pin(shield(gate.wait())));
            while all.next().await.is_some() {}
        }));
        run.idle();
        drop(match named {
            true => spawner.spawn_named_on("named", &executor, child(&log, "the child")),
            false => spawner.spawn_on(&executor, child(&log, "the child")),
        });
        executor.run();
        outer.cancel();
        run.idle();
        executor.run();
        log.is(&["the child"]);
        gate.open();
        assert!(run.drive().is_err());
    }
}

#[test]
fn r12_a_wait_in_an_entered_scope_beside_a_shield_is_told() {
    let (log, gate, outer) = (Log::new(), Gate::new(), CancelScope::new());
    let mut run = hand(outer.run(async {
        let entered = CancelScope::new().enter().unwrap();
        let waits = entered.run(async {
            moored::cancelled().await;
            log.add("told");
            pending::<()>().await;
        });
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(async { drop(waits.await) }));
        all.push(Box::pin(shield(gate.wait())));
        while all.next().await.is_some() {}
    }));
    run.idle();
    outer.cancel();
    run.idle();
    log.is(&["told"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_children_are_told_what_cancelled_the_region_and_a_late_one_too() {
    let (gate, more, executor) = (Gate::new(), Gate::new(), Executor::new());
    let (outer, log) = (CancelScope::new(), Log::new());
    let stack = ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let body = async {
            let first = group.spawn(pending::<Never>());
            let posted = group.spawn_on(&executor, pending::<Never>());
            more.wait().await;
            let late = group.spawn(async {
                let body = async {
                    stack.defer(log.entry("exit of the late one"));
                    pending::<Never>().await
                };
                stack.run(body).await.map_err(drop)
            });
            for child in [first.join().await, posted.join().await] {
                let Err(ChildError::Cancelled(reason)) = child else { panic!("{child:?}") };
                assert_eq!((reason.kind(), reason.message()), (ReasonKind::Parent, Some("bye")));
            }
            assert!(matches!(late.join().await, Err(ChildError::Cancelled(_))));
            Ok(())
        };
        join(group.run(body), shield(gate.wait())).await.0.map_err(drop)
    }));
    run.pending();
    executor.run();
    outer.cancel_because("bye");
    run.idle();
    executor.run();
    more.open();
    run.idle();
    log.is(&["exit of the late one"]);
    gate.open();
    run.drive().expect("the body ended by itself").unwrap();
}

#[test]
fn r12_each_child_is_held_by_the_shields_of_its_own() {
    let (log, executor) = (Log::new(), Executor::new());
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let outer = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let body = async {
            let shielded = steps(&log, &gates[0]);
            drop(group.spawn(async move {
                shield(shielded).await;
                pending::<Never>().await
            }));
            drop(group.spawn(child(&log, "sibling in the task")));
            let shielded = steps(&log, &gates[1]);
            drop(group.spawn_on(&executor, async move {
                shield(shielded).await;
                pending::<Never>().await
            }));
            drop(group.spawn_on(&executor, child(&log, "sibling on an executor")));
            pending::<Never>().await
        };
        join(group.run(body), shield(gates[2].wait())).await.0
    }));
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    run.idle();
    let gone = ["first", "first", "sibling in the task", "sibling on an executor"];
    assert_eq!(sorted(&log), gone);
    assert_eq!(group.len(), 2);
    gates.iter().for_each(Gate::open);
    while run.poll().is_pending() {
        executor.run();
    }
    assert_eq!(log.lines().iter().filter(|line| *line == "second").count(), 2);
    assert_eq!(executor.len(), 0);
}

#[test]
fn r12_a_shield_in_one_child_holds_neither_its_siblings_nor_the_children_of_another_group() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let (one, two): (TaskGroup<'_, ()>, TaskGroup<'_, ()>) = (TaskGroup::new(), TaskGroup::new());
    let mut run = hand(outer.run(async {
        let first = async {
            drop(one.spawn(async {
                shield(gate.wait()).await;
                log.add("done");
                Ok(())
            }));
            drop(one.spawn(child(&log, "sibling")));
            pending::<Never>().await
        };
        let second = async {
            drop(two.spawn(child(&log, "of the other group")));
            pending::<Never>().await
        };
        let _ = join(one.run(first), two.run(second)).await;
    }));
    run.pending();
    outer.cancel();
    run.idle();
    assert_eq!(sorted(&log), ["of the other group", "sibling"]);
    gate.open();
    assert!(run.drive().is_err());
    assert_eq!(sorted(&log), ["done", "of the other group", "sibling"]);
}

#[test]
fn r12_a_cancellation_reaches_groups_in_groups() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let outer = CancelScope::new();
    let (one, two): (TaskGroup<'_, ()>, TaskGroup<'_, ()>) = (TaskGroup::new(), TaskGroup::new());
    let spawner = executor.clone();
    let (left, held) = (log.clone(), gate.clone());
    let mut run = hand(outer.run(async {
        let nested = async {
            drop(two.spawn(child(&log, "in a group in the body")));
            pending::<Never>().await
        };
        let body = async {
            // A child that a shield of its own holds, beside a group of its own.
            drop(one.spawn_on(&executor, async move {
                let group = TaskGroup::<()>::new();
                drop(group.spawn_on(&spawner, child(&left, "in a group in a child")));
                join(group.run(pending::<Never>()), shield(held.wait())).await.0.map_err(drop)
            }));
            two.run(nested).await.map_err(drop)
        };
        join(one.run(body), shield(gate.wait())).await.0
    }));
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    run.idle();
    assert_eq!(sorted(&log), ["in a group in a child", "in a group in the body"]);
    gate.open();
    while run.poll().is_pending() {
        executor.run();
    }
    assert_eq!(executor.len(), 0);
}

#[test]
fn r12_a_group_that_no_poll_of_the_body_reaches_is_told_all_the_same() {
    let (log, gate, executor) = (Log::new(), Gate::new(), Executor::new());
    let outer = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let body = async {
            drop(group.spawn(child(&log, "in the task")));
            drop(group.spawn_on(&executor, child(&log, "on an executor")));
            pending::<Never>().await
        };
        let mut all: FuturesUnordered<Boxed<'_>> = FuturesUnordered::new();
        all.push(Box::pin(async { drop(group.run(body).await) }));
        all.push(Box::pin(shield(gate.wait())));
        while all.next().await.is_some() {}
    }));
    run.idle();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    run.idle();
    assert_eq!(sorted(&log), ["in the task", "on an executor"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_what_is_inside_a_shield_is_reached_when_that_gives_way_and_not_before() {
    let (clock, log, gate, executor) = (MockClock::new(), Log::new(), Gate::new(), Executor::new());
    let outer = CancelScope::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = async {
        let inside = async {
            drop(group.spawn(child(&log, "in the task")));
            drop(group.spawn_on(&executor, child(&log, "on an executor")));
            pending::<Never>().await
        };
        let shielded = CancelScope::new().shielded().grace(SECOND);
        let _ = join(shielded.run(group.run(inside)), shield(gate.wait())).await;
    };
    let mut run = hand(task(outer.run(body)).clock(clock.clone()));
    run.pending();
    executor.run();
    outer.cancel();
    run.idle();
    executor.run();
    log.is(&[]);
    clock.advance(SECOND);
    run.idle();
    executor.run();
    run.idle();
    assert_eq!(sorted(&log), ["in the task", "on an executor"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_group_that_an_arm_enters_later_has_its_children_cancelled_too() {
    let (log, gate, more) = (Log::new(), Gate::new(), Gate::new());
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let arm = async {
            more.wait().await;
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            drop(group.spawn(child(&log, "child")));
            let _ = group.run(pending::<Never>()).await;
        };
        join(arm, shield(gate.wait())).await;
    }));
    run.pending();
    outer.cancel();
    run.idle();
    more.open();
    run.idle();
    log.is(&["child"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_later_group_beside_an_earlier_one_in_the_same_scope_has_its_children_cancelled_too() {
    let (log, gate, more) = (Log::new(), Gate::new(), Gate::new());
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let early = TaskGroup::<()>::new();
        drop(early.spawn(child(&log, "early")));
        let late = async {
            more.wait().await;
            let late = TaskGroup::<()>::new();
            drop(late.spawn(child(&log, "late")));
            let _ = late.run(pending::<Never>()).await;
        };
        let arm = CancelScope::new();
        let groups = arm.run(join(early.run(pending::<Never>()), late));
        drop(join(groups, shield(gate.wait())).await);
    }));
    run.pending();
    outer.cancel();
    run.idle();
    log.is(&["early"]);
    more.open();
    run.idle();
    log.is(&["early", "late"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_timeout_an_entered_scope_and_a_group_reach_the_children_beside_a_shield() {
    let (clock, gate) = (MockClock::new(), Gate::new());
    let log = Log::new();
    let beside = |name| {
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let body = async {
                drop(group.spawn(child(&log, name)));
                pending::<Never>().await
            };
            let _ = join(group.run(body), shield(gate.wait())).await;
        }
    };
    let around: TaskGroup<'_, ()> = TaskGroup::new();
    let body = async {
        let entered = CancelScope::new().enter().unwrap();
        let asks = async {
            yield_now().await;
            entered.handle().cancel();
            around.cancel();
        };
        let grouped = around.run(async {
            beside("group").await;
            Ok(())
        });
        let timed = move_on_after(SECOND, beside("timeout"));
        let _ = futures::join!(timed, entered.run(beside("entered scope")), grouped, asks);
    };
    let mut run = hand(task(body).clock(clock.clone()));
    run.idle();
    clock.advance(SECOND);
    run.idle();
    assert_eq!(sorted(&log), ["entered scope", "group", "timeout"]);
    gate.open();
    run.drive();
}

#[test]
fn r12_the_arms_of_a_join_beside_a_shield_live_on() {
    let (log, gate, more) = (Log::new(), Gate::new(), Gate::new());
    let outer = CancelScope::new();
    let mut run = hand(outer.run(async {
        let arm = async {
            more.wait().await;
            log.add("the arm went on");
        };
        join(arm, shield(gate.wait())).await;
    }));
    run.pending();
    outer.cancel();
    run.idle();
    more.open();
    run.idle();
    log.is(&["the arm went on"]);
    gate.open();
    assert!(run.drive().is_ok(), "the body ended in the poll that would have dropped it");
}

#[test]
fn r12_a_local_group_is_reached_as_well() {
    let (log, gate, outer) = (Log::new(), Gate::new(), CancelScope::new());
    let group: local::TaskGroup<'_, ()> = local::TaskGroup::new();
    let mut run = hand(outer.run(async {
        let body = async {
            drop(group.spawn(child(&log, "child")));
            pending::<Never>().await
        };
        let _ = join(group.run(body), shield(gate.wait())).await;
    }));
    run.pending();
    outer.cancel();
    run.idle();
    log.is(&["child"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r07_r12_a_group_that_was_lent_to_a_timeout_keeps_its_children_where_no_shield_holds() {
    let (clock, log, executor) = (MockClock::new(), Log::new(), Executor::new());
    let gate = Gate::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = async {
        let inside = async {
            let waits = gate.wait();
            let posted = group.spawn_on(&executor, async move {
                waits.await;
                Ok(2)
            });
            let waits = gate.wait();
            let inside = group.spawn(async move {
                waits.await;
                Ok(1)
            });
            Ok((inside.join().await.unwrap(), posted.join().await.unwrap()))
        };
        let mut run = Box::pin(group.run(inside));
        for _ in 0..3 {
            assert!(move_on_after(SECOND, &mut run).await.is_none());
            log.add("not yet");
        }
        run.await.unwrap()
    };
    let mut run = hand(task(body).clock(clock.clone()));
    for _ in 0..3 {
        run.idle();
        executor.run();
        clock.advance(SECOND);
    }
    run.idle();
    log.is(&["not yet"; 3]);
    gate.open();
    executor.run();
    assert_eq!(run.drive(), (1, 2));
}

#[test]
fn r12_a_group_whose_children_were_cancelled_beside_a_shield_ends_with_its_body() {
    let (gate, more, outer) = (Gate::new(), Gate::new(), CancelScope::new());
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(outer.run(async {
        let arm = async {
            let body = async {
                drop(group.spawn(pending::<Never>()));
                more.wait().await;
                Ok(7)
            };
            group.run(body).await.unwrap()
        };
        join(arm, shield(gate.wait())).await.0
    }));
    run.pending();
    outer.cancel();
    run.idle();
    more.open();
    run.idle();
    gate.open();
    assert_eq!(run.drive().unwrap(), 7);
    assert!(group.is_empty());
}

#[test]
fn r12_a_shield_that_is_polled_by_hand_inside_the_body_holds_that_body_only() {
    let (gate, log) = (Gate::new(), Log::new());
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut run = hand(outer.run(async {
        let mut kept = Box::pin(shield(gate.wait()));
        let beside = inner.run(async {
            let _gone = log.on_drop("inner body");
            pending::<()>().await
        });
        let polls = std::future::poll_fn(|cx| kept.as_mut().poll(cx));
        let _ = join(polls, beside).await;
    }));
    run.pending();
    inner.cancel();
    outer.cancel();
    run.idle();
    log.is(&["inner body"]);
    gate.open();
    assert!(run.drive().is_err());
}

#[test]
fn r12_a_group_in_the_body_of_a_group_beside_a_shield_has_its_pending_children_cancelled() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let (one, two): (TaskGroup<'_, ()>, TaskGroup<'_, ()>) = (TaskGroup::new(), TaskGroup::new());
    let mut run = hand(outer.run(async {
        let nested = async {
            two.spawn(async {
                let _dropped = log.on_drop("the child");
                pending::<Result<(), ()>>().await
            });
            pending::<Result<(), ()>>().await
        };
        let body = async { two.run(nested).await.map_err(drop) };
        let mut arms: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + '_>>> =
            FuturesUnordered::new();
        arms.push(Box::pin(async { drop(one.run(body).await) }));
        arms.push(Box::pin(shield(gate.wait())));
        while arms.next().await.is_some() {}
    }));
    run.idle();
    outer.cancel();
    run.idle();
    log.is(&["the child"]);
    gate.open();
    assert!(run.drive().is_err());
}
