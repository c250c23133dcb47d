//! The uses that must not be rejected: one task leaves its regions in any order, and an unknown identity accuses nobody (R5).

use super::affinity::{as_owner, wrong_task};
use crate::support::{Gate, Log, block_on, hand, poll_once, yield_now};
use futures::StreamExt;
use futures::future::{Either, join, select};
use futures::stream::FuturesUnordered;
use moored::{CancelScope, ExitStack, Failure, ReasonKind, TaskGroup, task};
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};

// The group.

#[test]
fn r05_an_in_task_child_is_a_task_of_its_own_for_an_outer_stack() {
    let log = Log::new();
    let stack = ExitStack::new().named("outer");
    let result: Result<(), Failure<()>> = hand(
        task(stack.run(async {
            stack.defer(log.entry("own"));
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            let child = group.spawn(async {
                let rejected = stack.try_defer(async {}).unwrap_err();
                let wrong = wrong_task(rejected.error());
                assert_eq!(wrong.current, task::current().unwrap());
                assert_eq!(wrong.owner.name(), Some("owner"));
                Ok(())
            });
            group
                .run(async { Ok(child.join().await.is_ok()) })
                .await
                .map(|ok| assert!(ok))
                .map_err(drop)
        }))
        .named("owner"),
    )
    .drive();
    result.unwrap();
    log.is(&["own"]);
}

#[test]
fn r05_an_in_task_child_is_rejected_though_nothing_of_moored_encloses_the_stack() {
    let stack = ExitStack::new();
    hand(stack.run(async {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(stack.try_defer(async {}).is_err()) });
        let rejected = group.run(async { Ok(child.join().await.unwrap()) }).await;
        assert!(rejected.unwrap());
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap();
}

// No false alarm.

#[test]
fn r05_two_scopes_in_two_arms_of_a_join_are_left_in_any_order() {
    for first_out in [0, 1] {
        let gates = [Gate::new(), Gate::new()];
        let (left, right) = (CancelScope::new(), CancelScope::new());
        let mut run =
            hand(task(async { join(left.run(gates[0].wait()), right.run(gates[1].wait())).await }));
        run.pending();
        gates[first_out].open();
        run.pending();
        gates[1 - first_out].open();
        let (left, right) = run.ready();
        left.unwrap();
        right.unwrap();
    }
}

#[test]
fn r05_cancelling_one_arm_of_a_join_leaves_the_other_alone() {
    for cancelled in [0, 1] {
        let scopes = [CancelScope::new(), CancelScope::new()];
        let gate = Gate::new();
        let mut run = hand(task(join(scopes[0].run(gate.wait()), scopes[1].run(gate.wait()))));
        run.pending();
        scopes[cancelled].cancel();
        run.pending();
        gate.open();
        let (left, right) = run.ready();
        assert_eq!([left.is_err(), right.is_err()], [cancelled == 0, cancelled == 1]);
    }
}

#[test]
fn r05_regions_in_a_futures_unordered_are_left_in_any_order() {
    let log = Log::new();
    let gates: Vec<_> = (0..8).map(|_| Gate::new()).collect();
    let mut run = hand(task(async {
        let mut many: FuturesUnordered<_> = gates
            .iter()
            .enumerate()
            .map(|(n, gate)| {
                let log = log.clone();
                async move {
                    let stack = ExitStack::new();
                    let scope = CancelScope::new();
                    let body = async {
                        stack.defer(log.entry(format!("exit {n}")));
                        scope.run(gate.wait()).await.map_err(drop)
                    };
                    stack.run(body).await.unwrap();
                }
            })
            .collect();
        while many.next().await.is_some() {}
    }));
    run.pending();
    for n in [3, 0, 7, 1, 6, 2, 5, 4] {
        gates[n].open();
        let _ = run.poll();
        assert_eq!(log.lines().last().unwrap(), &format!("exit {n}"));
    }
    assert_eq!(log.lines().len(), 8);
}

#[test]
fn r05_two_stacks_opened_in_one_task_are_closed_in_any_order() {
    // The bug that this crate began with: closing the older one first kills the newer.
    for older_first in [true, false] {
        let log = Log::new();
        as_owner(async {
            let (older, newer) = (ExitStack::new(), ExitStack::new());
            older.defer(log.entry("older"));
            newer.defer(log.entry("newer"));
            let (first, second) = if older_first { (older, newer) } else { (newer, older) };
            first.close().await.unwrap();
            yield_now().await;
            second.close().await.unwrap();
        });
        log.is(if older_first { &["older", "newer"] } else { &["newer", "older"] });
    }
}

#[test]
fn r05_a_select_may_poll_a_region_and_leave_it_for_later() {
    as_owner(async {
        let gate = Gate::new();
        let scope = CancelScope::new();
        let mut run = Box::pin(scope.run(gate.wait()));
        for _ in 0..3 {
            match select(&mut run, pin!(yield_now())).await {
                Either::Left(_) => panic!("nobody opened the gate"),
                Either::Right(_) => {}
            }
        }
        gate.open();
        run.await.unwrap();
    });
}

#[test]
fn r05_an_unknown_identity_is_never_rejected() {
    let log = Log::new();
    let stack = Arc::new(ExitStack::new());
    as_owner(async { stack.defer(log.entry("owner's")) });
    // A thread without a known task may do everything that the owner may do.
    let theirs = Arc::clone(&stack);
    let entry = log.entry("unknown thread's");
    std::thread::spawn(move || theirs.try_defer(entry).unwrap()).join().unwrap();
    hand(async { stack.run(async { Ok::<_, ()>(()) }).await.unwrap() }).ready();
    log.is(&["unknown thread's", "owner's"]);
}

#[test]
fn r05_a_stack_entered_by_an_unknown_identity_rejects_nobody() {
    let log = Log::new();
    let stack = ExitStack::new();
    block_on(async { stack.defer(log.entry("unknown")) });
    assert_eq!(stack.owner(), None);
    as_owner(async {
        stack.defer(log.entry("known"));
        stack.close().await.unwrap();
    });
    log.is(&["known", "unknown"]);
}

#[test]
fn r05_a_root_region_may_be_polled_by_one_task_after_another() {
    let gate = Gate::new();
    let scope = CancelScope::new();
    let inner = CancelScope::new();
    let mut run = Box::pin(scope.run(async { inner.run(gate.wait()).await.unwrap() }));
    assert!(hand(async { poll_once(&mut run).await.is_pending() }).ready());
    assert!(hand(task(async { poll_once(&mut run).await.is_pending() })).ready());
    gate.open();
    hand(task(async { (&mut run).await.unwrap() })).ready();
}

#[test]
fn r05_what_is_nested_in_a_task_cannot_leave_it() {
    let gate = Gate::new();
    let scope = Arc::new(CancelScope::new());
    let slot = Arc::new(Mutex::new(None));
    let mut owner = hand(
        task({
            let (gate, slot) = (gate.clone(), Arc::clone(&slot));
            async move {
                let mut run = Box::pin(async move { scope.run(pending::<()>()).await });
                assert!(poll_once(&mut run).await.is_pending());
                *slot.lock().unwrap() = Some(run);
                gate.wait().await;
            }
        })
        .named("owner"),
    );
    owner.pending();
    let run = slot.lock().unwrap().take().unwrap();
    let cancelled = std::thread::spawn(move || hand(task(run).named("thief")).ready())
        .join()
        .unwrap()
        .unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::WrongTask);
    gate.open();
    owner.ready();
}

// tokio's ids.

#[test]
fn r05_a_stack_first_used_where_nothing_is_known_may_be_run_inside_a_region() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("exit"));
    let scope = CancelScope::new();
    let value = hand(scope.run(stack.run(async {
        yield_now().await;
        stack.defer(log.entry("inside"));
        Ok::<_, ()>(7)
    })))
    .drive();
    assert_eq!(value.unwrap().unwrap(), 7);
    log.is(&["inside", "exit"]);
}

#[test]
fn r05_a_stack_first_used_where_nothing_is_known_may_be_closed_inside_a_region() {
    let log = Log::new();
    let stack = ExitStack::new();
    stack.defer(log.entry("exit"));
    stack.defer(async { yield_now().await });
    let scope = CancelScope::new();
    hand(scope.run(stack.close())).drive().unwrap().unwrap();
    log.is(&["exit"]);
}
