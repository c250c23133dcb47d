//! Resources: asynchronous enter and exit. The exit is registered only once enter has succeeded
//! (R14, R8).

use crate::support::{Gate, Log, Reports, boom, hand, lose, panic_text, poll_once, yield_now};
use moored::{
    BoxError, CancelScope, Cause, ExitFailure, ExitStack, Misuse, Resource, TaskGroup, task,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection that takes a step to open and a step to close.
struct Connection {
    log: Log,
    gate: Gate,
    fails: bool,
}

impl Connection {
    fn new(log: &Log, gate: &Gate) -> Self {
        Connection { log: log.clone(), gate: gate.clone(), fails: false }
    }

    fn open(log: &Log) -> Self {
        let gate = Gate::new();
        gate.open();
        Connection::new(log, &gate)
    }
}

struct Open {
    log: Log,
    used: u32,
}

impl Resource for Connection {
    type Value = Open;
    type Error = &'static str;

    async fn enter(self) -> Result<Open, &'static str> {
        self.log.add("entering");
        self.gate.wait().await;
        if self.fails {
            return Err("refused");
        }
        self.log.add("entered");
        Ok(Open { log: self.log, used: 0 })
    }

    async fn exit(open: Open) -> Result<(), BoxError> {
        yield_now().await;
        open.log.add(format!("left after {} uses", open.used));
        Ok(())
    }
}

#[test]
fn r14_a_resource_is_held_used_and_left_with_what_became_of_it() {
    let log = Log::new();
    let stack = ExitStack::new();
    hand(stack.run(async {
        let mut open = stack.enter(Connection::open(&log)).await.map_err(drop)?;
        open.used += 2;
        log.add("body ends");
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap();
    log.is(&["entering", "entered", "body ends", "left after 2 uses"]);
}

#[test]
fn r14_nothing_is_registered_before_it_was_entered() {
    let (log, gate) = (Log::new(), Gate::new());
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        {
            let mut entering = Box::pin(stack.enter(Connection::new(&log, &gate)));
            assert!(stack.is_empty());
            assert!(poll_once(&mut entering).await.is_pending());
            assert!(stack.is_empty());
            gate.open();
            drop(entering.await.unwrap());
            assert_eq!(stack.len(), 1);
        }
        stack.close().await.unwrap();
    }));
    run.drive();
    log.is(&["entering", "entered", "left after 0 uses"]);
}

#[test]
fn r14_an_enter_that_is_not_polled_does_nothing() {
    let log = Log::new();
    let stack = ExitStack::new();
    drop(stack.enter(Connection::open(&log)));
    assert_eq!(stack.owner(), None);
    hand(stack.close()).ready().unwrap();
    log.is(&[]);
}

#[test]
fn r14_an_enter_that_is_dropped_half_way_leaves_nothing_to_leave() {
    let reports = Reports::watch();
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new().named("half-entered");
        lose(stack.enter(Connection::new(&log, &Gate::new()))).await;
        assert!(stack.is_empty());
        stack.close().await.unwrap();
    }))
    .drive();
    log.is(&["entering"]);
    assert!(reports.of("half-entered").is_empty());
}

#[test]
fn r14_an_enter_that_is_cancelled_half_way_leaves_nothing_to_leave() {
    let log = Log::new();
    let scope = CancelScope::new();
    let stack = ExitStack::new();
    let mut run = hand(scope.run(stack.run(async {
        drop(stack.enter(Connection::open(&log)).await.map_err(drop)?);
        let _ = stack.enter(Connection::new(&log, &Gate::new())).await;
        Ok::<_, ()>(())
    })));
    run.pending();
    scope.cancel();
    assert!(run.drive().is_err());
    log.is(&["entering", "entered", "entering", "left after 0 uses"]);
}

#[test]
fn r14_an_enter_that_fails_gives_its_error_and_registers_nothing() {
    let log = Log::new();
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        drop(stack.enter(Connection::open(&log)).await?);
        let broken = Connection { fails: true, ..Connection::open(&log) };
        drop(stack.enter(broken).await?);
        Ok::<_, &str>(())
    }))
    .drive()
    .unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body("refused")), "it works with `?`");
    assert_eq!(failure.rest().count(), 0);
    log.is(&["entering", "entered", "entering", "left after 0 uses"]);
}

#[test]
fn r14_resources_are_left_last_in_first_out_among_other_exits() {
    let log = Log::new();
    let stack = ExitStack::new();
    hand(stack.run(async {
        stack.defer(log.entry("first exit"));
        let open = stack.enter(Connection::open(&log)).await.map_err(drop)?;
        stack.defer(log.entry("last exit"));
        drop(open);
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap();
    log.is(&["entering", "entered", "last exit", "left after 0 uses", "first exit"]);
}

#[test]
fn r08_a_resource_of_a_select_loser_is_left_by_the_region_around() {
    let log = Log::new();
    let scope = CancelScope::new();
    hand(scope.run(async {
        let stack = ExitStack::new();
        let loser = stack.run(async {
            let _open = stack.enter(Connection::open(&log)).await.map_err(drop)?;
            pending::<Result<(), ()>>().await
        });
        lose(loser).await;
        log.add("goes on");
    }))
    .drive()
    .unwrap();
    log.is(&["entering", "entered", "goes on", "left after 0 uses"]);
}

#[test]
fn r02_entering_from_another_task_panics_before_anything_is_entered() {
    let log = Log::new();
    hand(task(async {
        let stack = ExitStack::new().named("session");
        stack.defer(async {});
        let text = task(async {
            let mut entering = hand(stack.enter(Connection::open(&log)));
            panic_text(move || drop(entering.poll()))
        })
        .await;
        assert!(text.contains("may not enter exit stack `session`"), "{text}");
        assert_eq!(stack.len(), 1);
        stack.close().await.unwrap();
    }))
    .drive();
    log.is(&[]);
}

#[test]
fn r02_entering_a_stack_that_was_left_panics_before_anything_is_entered() {
    let log = Log::new();
    let stack = ExitStack::new();
    hand(stack.run(async { Ok::<_, ()>(()) })).ready().unwrap();
    let mut entering = hand(stack.enter(Connection::open(&log)));
    let text = panic_text(|| drop(entering.poll()));
    assert!(text.contains("cannot enter exit stack"), "{text}");
    log.is(&[]);
}

#[test]
fn r15_a_panic_while_entering_goes_on_and_registers_nothing() {
    struct Panics;
    impl Resource for Panics {
        type Value = ();
        type Error = ();
        async fn enter(self) -> Result<(), ()> {
            boom("while entering");
            Ok(())
        }
        async fn exit((): ()) -> Result<(), BoxError> {
            Err("never".into())
        }
    }
    let stack = ExitStack::new();
    let mut run = hand(stack.run(async {
        drop(stack.enter(Panics).await);
        Ok::<_, ()>(())
    }));
    assert_eq!(panic_text(|| drop(run.poll())), "while entering");
}

#[test]
fn r15_an_exit_that_fails_is_recorded_where_the_resource_was_entered() {
    struct Sticky;
    impl Resource for Sticky {
        type Value = ();
        type Error = ();
        async fn enter(self) -> Result<(), ()> {
            Ok(())
        }
        async fn exit((): ()) -> Result<(), BoxError> {
            Err("it does not come off".into())
        }
    }
    let stack = ExitStack::new();
    let mut line = 0;
    let failure = hand(stack.run(async {
        let held = stack.enter(Sticky).await;
        line = line!() - 1;
        drop(held);
        Ok::<_, ()>(())
    }))
    .drive()
    .unwrap_err();
    match failure.cause() {
        Cause::Exit(failed @ ExitFailure::Failed { error, .. }) => {
            assert_eq!(error.to_string(), "it does not come off");
            assert_eq!(failed.registered_at().line(), line);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn r14_a_resource_that_is_still_held_is_recorded_and_left_after_its_last_use() {
    let log = Log::new();
    let scope = CancelScope::new();
    hand(scope.run(async {
        let stack = ExitStack::new();
        let (held, failure) = {
            let mut kept = None;
            let failed = stack
                .run(async {
                    kept = stack.enter(Connection::open(&log)).await.ok();
                    Ok::<_, ()>(())
                })
                .await;
            (kept.unwrap(), failed.unwrap_err())
        };
        assert!(matches!(failure.cause(), Cause::Exit(ExitFailure::StillHeld { .. })));
        drop(held);
        yield_now().await;
        yield_now().await;
        log.add("goes on");
    }))
    .drive()
    .unwrap();
    log.is(&["entering", "entered", "left after 0 uses", "goes on"]);
}

#[test]
fn r16_a_child_enters_resources_of_its_own_stack_and_not_of_its_parents() {
    let log = Log::new();
    let outer = ExitStack::new();
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let body = outer.run(async {
        outer.defer(async {});
        let child = group.spawn(async {
            let stack = ExitStack::new();
            let run = stack.run(async {
                let open = stack.enter(Connection::open(&log)).await.map_err(drop)?;
                let misuse = outer.try_defer(async {}).unwrap_err();
                assert!(matches!(misuse.error(), Misuse::WrongTask(_)));
                drop(open);
                Ok::<_, ()>(())
            });
            run.await.map_err(drop)
        });
        group.run(async { child.join().await.map_err(drop) }).await.map_err(drop)
    });
    hand(task(body)).drive().unwrap();
    log.is(&["entering", "entered", "left after 0 uses"]);
}

#[test]
fn r02_an_enter_that_was_moved_to_another_task_half_way_loses_nothing_that_was_entered() {
    let (log, gate) = (Log::new(), Gate::new());
    let reports = Reports::watch();
    hand(task(async {
        let stack = ExitStack::new().named("moved-enter");
        let mut entering = Box::pin(stack.enter(Connection::new(&log, &gate)));
        assert!(poll_once(&mut entering).await.is_pending());
        gate.open();
        let ended = task(async {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hand(entering).poll()))
        })
        .await;
        // Whether the other task sees a panic or nothing, a resource that was entered is left.
        drop(ended);
        stack.close().await.unwrap();
    }))
    .drive();
    let lines = log.lines();
    assert_eq!(lines[0], "entering");
    let entered = lines.contains(&"entered".to_owned());
    let left = lines.contains(&"left after 0 uses".to_owned());
    assert!(!entered || left || !reports.of("moved-enter").is_empty(), "{lines:?}");
}

#[test]
fn r08_what_was_entered_is_left_though_the_future_that_entered_it_panics_in_its_drop() {
    struct Door(Log);

    struct EntersLoudly(Option<Log>);

    impl Future for EntersLoudly {
        type Output = Result<Log, ()>;
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(self.0.take().unwrap()))
        }
    }

    impl Drop for EntersLoudly {
        fn drop(&mut self) {
            boom("in the drop of what entered");
        }
    }

    impl Resource for Door {
        type Value = Log;
        type Error = ();

        fn enter(self) -> impl Future<Output = Result<Log, ()>> + Send + 'static {
            EntersLoudly(Some(self.0))
        }

        async fn exit(log: Log) -> Result<(), BoxError> {
            log.add("left");
            Ok(())
        }
    }

    let log = Log::new();
    let stack = ExitStack::new();
    let mut entering = hand(stack.enter(Door(log.clone())));
    assert_eq!(panic_text(|| entering.poll().map(drop)), "in the drop of what entered");
    drop(entering);
    log.is(&[]);
    hand(stack.close()).ready().unwrap();
    log.is(&["left"]);
}

#[test]
fn r14_an_enter_that_has_resolved_is_idle_also_after_its_stack_was_left() {
    let log = Log::new();
    let stack = ExitStack::new();
    let mut entering = hand(stack.enter(Connection::open(&log)));
    let body = async {
        drop(entering.drive());
        Ok::<_, ()>(())
    };
    hand(stack.run(body)).drive().unwrap();
    entering.pending();
}
