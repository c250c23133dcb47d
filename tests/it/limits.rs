//! Children that wait for their turn, and children that are started: dropped, cancelled and polled without a wake-up
//! meanwhile.

use crate::support::{Gate, Hand, Log, hand};
use moored::{
    BoxTask, Cause, ChildError, ExitStack, Leaving, ReasonKind, Refused, Spawn, TaskGroup, task,
};
use std::future::pending;
use std::sync::{Arc, Mutex};

#[test]
fn r16_a_child_that_waits_for_its_turn_is_dropped_with_its_group_unpolled() {
    let log = Log::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(1);
    let mut run = hand(group.run(pending::<Result<(), ()>>()));
    let first = group.spawn(pending::<Result<(), ()>>());
    let in_line = group.spawn({
        let log = log.clone();
        async move {
            log.add("polled");
            Ok(())
        }
    });
    run.pending();
    assert_eq!(group.len(), 2);
    drop(run);
    for child in [first, in_line] {
        let ended = hand(child.join()).ready().unwrap_err();
        let ChildError::Cancelled(reason) = ended else { panic!("{ended}") };
        assert_eq!(reason.kind(), ReasonKind::OwnerGone);
    }
    assert!(group.is_empty());
    log.is(&[]);
}

/// Keeps the spawned tasks, to be polled by hand, woken or not.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Hand<BoxTask>>>>);

impl Shelf {
    fn poll(&self, at: usize) -> bool {
        self.0.lock().unwrap()[at].poll().is_ready()
    }
}

impl Spawn for Shelf {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.lock().unwrap().push(hand(task));
        Ok(())
    }
}

#[test]
fn r16_a_child_that_is_polled_for_nothing_keeps_its_place_in_the_line() {
    let (log, gate, shelf) = (Log::new(), Gate::new(), Shelf::default());
    let group: TaskGroup<'_, ()> = TaskGroup::new().limit(1);
    let mut run = hand(group.run(async { Ok(()) }));
    for name in ["first", "second", "third"] {
        let (log, gate) = (log.clone(), gate.clone());
        let child = async move {
            log.add(name);
            gate.wait().await;
            Ok(())
        };
        group.spawn_on(&shelf, child);
    }
    run.pending();
    for at in [0, 1, 2, 2, 1, 2] {
        assert!(!shelf.poll(at));
    }
    log.is(&["first"]);
    gate.open();
    assert!(shelf.poll(0));
    assert!(!shelf.poll(2), "the second came before it");
    assert!(shelf.poll(1) && shelf.poll(2));
    log.is(&["first", "second", "third"]);
    run.ready().unwrap();
}

#[test]
fn r17_a_start_whose_child_is_cancelled_tells_why() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut start = hand(group.start(|_ready: moored::Ready<'_, ()>| pending()));
    let mut run = hand(group.run(pending::<Result<(), &str>>()));
    run.pending();
    start.pending();
    group.cancel_because("enough");
    run.ready().unwrap_err();
    let failure = start.ready().unwrap_err();
    let Cause::Cancelled(reason) = failure.cause() else { panic!("{failure}") };
    assert_eq!((reason.kind(), reason.message()), (ReasonKind::Parent, Some("enough")));
}

#[test]
fn r16_a_spawner_whose_group_is_gone_hands_back_what_an_executor_was_to_run() {
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let spawner = group.spawner();
    hand(group.run(async { Ok(()) })).ready().unwrap();
    drop(group);
    let shelf = Shelf::default();
    let rejected = spawner.spawn_on(&shelf, async { Ok(7) }).unwrap_err();
    assert!(rejected.to_string().starts_with("cannot spawn into task group at "), "{rejected}");
    assert_eq!(hand(rejected.into_inner()).ready(), Ok(7));
    assert!(shelf.0.lock().unwrap().is_empty());
}

#[test]
fn r14_a_value_is_put_back_by_one_who_knows_why() {
    let log = Log::new();
    let put_back = |log: &Log| {
        let log = log.clone();
        move |value: i32, why: Leaving| async move { log.add(format!("{value} {why:?}")) }
    };
    let stack = ExitStack::new();
    drop(stack.hold_with(1, put_back(&log)));
    hand(stack.close()).ready().unwrap();
    let stack = ExitStack::new();
    let body = async {
        *stack.hold_with(2, put_back(&log)) += 1;
        Err::<(), _>("broken")
    };
    hand(stack.run(body)).ready().unwrap_err();
    log.is(&["1 Completed", "3 Failed"]);
    hand(task(async {
        let rejected = task(async { stack.try_hold(4, |_| async {}).unwrap_err() }).await;
        assert_eq!(rejected.into_inner().0, 4);
    }))
    .drive();
}

#[test]
fn r01_a_stack_is_run_once() {
    let stack = ExitStack::new().named("once");
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    let text =
        crate::support::panic_text(|| hand(stack.run(async { Ok::<_, ()>(()) })).poll().is_ready());
    assert!(text.starts_with("cannot run exit stack `once` at "), "{text}");
    assert!(text.matches("limits.rs").count() == 2, "it names both places: {text}");
}
