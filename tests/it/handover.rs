//! Regions that change hands: released by one task and adopted by another (R4).

use crate::support::{
    Gate, Log, Reports, as_owner, as_thief, block_on, hand, is_rejection, me, poll_once,
    wrong_task, yield_now,
};
use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use moored::{CancelScope, EnteredScope, ExitStack, ReasonKind, Released, TaskGroup, task};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Mutex;

#[test]
fn r04_a_released_stack_is_left_by_the_task_that_adopts_it() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        let released = stack.release().unwrap();
        let adopter = async {
            let stack = released.adopt();
            assert_eq!(stack.owner(), Some(me()));
            assert_eq!(stack.len(), 1);
            stack.defer(log.entry("the adopter's"));
            stack.close().await.unwrap();
        };
        as_thief(adopter).await;
    });
    log.is(&["the adopter's", "exit"]);
}

#[test]
fn r04_after_the_handover_the_former_owner_is_rejected() {
    as_owner(async {
        let stack = ExitStack::new().named("moved");
        stack.defer(async {});
        let released = stack.release().unwrap();
        let stack = as_thief(async { released.adopt() }).await;
        let rejected = stack.try_defer(async {}).unwrap_err();
        let wrong = wrong_task(rejected.error());
        assert_eq!((wrong.owner.name(), wrong.current.name()), (Some("thief"), Some("owner")));
        let rejected = stack.close().await.unwrap_err();
        assert!(rejected.rejected().is_some());
        drop(rejected);
        yield_now().await;
    });
}

#[test]
fn r04_release_from_another_task_is_rejected_and_hands_back_what_it_got() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("kept");
        stack.defer(log.entry("exit"));
        let rejected = as_thief(async { stack.release().unwrap_err() }).await;
        is_rejection(rejected.error(), "release", "exit stack `kept`");
        let stack = rejected.into_inner();
        assert_eq!((stack.owner(), stack.len()), (Some(me()), 1));
        stack.close().await.unwrap();

        let entered = CancelScope::new().named("kept too").enter().unwrap();
        let rejected = as_thief(async { entered.release().unwrap_err() }).await;
        is_rejection(rejected.error(), "release", "cancel scope `kept too`");
        rejected.into_inner().exit().unwrap();
    });
    log.is(&["exit"]);
}

#[test]
fn r04_an_adopted_scope_belongs_to_the_region_that_is_current_there() {
    as_owner(async {
        let entered = CancelScope::new().enter().unwrap();
        let handle = entered.handle();
        let mut told = Box::pin(handle.cancelled());
        assert!(poll_once(&mut told).await.is_pending());
        let released = entered.release().unwrap();
        let outer = CancelScope::new();
        let body = async {
            let entered = released.adopt();
            assert!(poll_once(&mut told).await.is_pending());
            outer.cancel();
            assert!(handle.is_cancelled(), "the region around it is the adopter's");
            assert_eq!(handle.reason().unwrap().kind(), ReasonKind::Parent);
            assert!(poll_once(&mut told).await.is_ready());
            entered
        };
        let entered = outer.run(body).await.unwrap();
        assert!(!handle.is_cancelled(), "what was only lent survives what it was lent to");
        entered.exit().unwrap();
    });
}

#[test]
fn r04_the_former_parent_does_not_reach_an_adopted_scope() {
    as_owner(async {
        let former = CancelScope::new();
        let former_handle = former.handle();
        let body = async {
            let entered = CancelScope::new().enter().unwrap();
            entered.release().unwrap()
        };
        let mut kept = None;
        let _ = former.run(async { kept = Some(body.await) }).await;
        let entered = kept.unwrap().adopt();
        former_handle.cancel();
        assert!(!entered.handle().is_cancelled());
        assert_eq!(entered.run(async { 1 }).await.unwrap(), 1);
        entered.exit().unwrap();
    });
}

#[test]
fn r04_a_released_stack_keeps_nothing_of_its_former_parent_after_it_was_cancelled() {
    as_owner(async {
        let former = CancelScope::new();
        let slot: std::sync::Mutex<Option<Released<EnteredScope>>> = std::sync::Mutex::default();
        let body = async {
            let entered = CancelScope::new().enter().unwrap();
            *slot.lock().unwrap() = Some(entered.release().unwrap());
            former.cancel();
            pending::<()>().await
        };
        assert!(former.run(body).await.is_err());
        let entered = slot.into_inner().unwrap().unwrap().adopt();
        assert_eq!(entered.run(yield_now()).await.map_err(drop), Ok(()));
        assert!(entered.exit().unwrap().reason().is_none());
    });
}

#[test]
fn r04_a_dropped_released_stack_goes_to_the_region_current_at_the_drop() {
    let reports = Reports::watch();
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new().named("let-go");
        stack.defer(log.entry("exit"));
        let released = stack.release().unwrap();
        let scope = CancelScope::new();
        as_thief(scope.run(async {
            drop(released);
            yield_now().await;
            log.add("still in the thief's scope");
        }))
        .await
        .unwrap();
        log.add("home");
    });
    log.is(&["exit", "still in the thief's scope", "home"]);
    assert!(reports.of("let-go").is_empty(), "letting go is no foreign drop");
}

#[test]
fn r04_a_released_stack_dropped_where_nothing_is_current_is_reported_lost() {
    let reports = Reports::watch();
    let released = as_owner(async {
        let stack = ExitStack::new().named("adrift");
        stack.defer(async {});
        stack.release().unwrap()
    });
    drop(released);
    let lines = reports.of("adrift");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("1 exit of exit stack `adrift` is lost"), "{lines:?}");
}

#[test]
fn r04_a_released_stack_may_be_adopted_on_another_thread() {
    let log = Log::new();
    let released = as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        stack.release().unwrap()
    });
    let adopter = std::thread::spawn(move || {
        block_on(task(async move { released.adopt().close().await.unwrap() }));
    });
    adopter.join().unwrap();
    log.is(&["exit"]);
}

#[test]
fn r04_an_adopted_exit_runs_as_the_adopter() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        let who = log.clone();
        stack.defer(async move { who.add(me().name().unwrap()) });
        let released = stack.release().unwrap();
        as_thief(async { released.adopt().close().await.unwrap() }).await;
    });
    log.is(&["thief"]);
}

#[test]
fn r04_an_adopted_stack_that_is_dropped_goes_to_the_adopters_region() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("exit"));
        let released = stack.release().unwrap();
        as_thief(async {
            drop(released.adopt());
            yield_now().await;
            log.add("thief goes on");
        })
        .await;
    });
    log.is(&["exit", "thief goes on"]);
}

#[test]
fn r04_a_stack_that_was_never_used_may_be_released() {
    as_owner(async {
        let released = ExitStack::new().release().unwrap();
        as_thief(async {
            let stack = released.adopt();
            stack.defer(async {});
            assert_eq!(stack.owner(), Some(me()));
            stack.close().await.unwrap();
        })
        .await;
    });
}

#[test]
fn r04_pop_all_moves_the_exits_in_their_order_and_the_stack_goes_on() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        stack.defer(log.entry("1"));
        stack.defer(log.entry("2"));
        let kept = stack.pop_all();
        assert_eq!((stack.len(), kept.len()), (0, 2));
        assert_eq!(kept.owner(), Some(me()));
        stack.defer(log.entry("3"));
        stack.close().await.unwrap();
        log.add("closed");
        kept.close().await.unwrap();
    });
    log.is(&["3", "closed", "2", "1"]);
}

#[test]
fn r04_pop_all_inside_run_keeps_the_exits_when_everything_worked() {
    let log = Log::new();
    as_owner(async {
        let stack = ExitStack::new();
        let kept = stack.run(async {
            stack.defer(log.entry("exit"));
            Ok::<_, ()>(stack.pop_all())
        });
        let kept = kept.await.unwrap();
        log.add("left");
        kept.close().await.unwrap();
    });
    log.is(&["left", "exit"]);
}

#[test]
fn r04_who_waits_for_an_adopted_scope_is_told_though_nothing_was_around_it_before() {
    let entered = CancelScope::new().enter().unwrap();
    let handle = entered.handle();
    let mut told = hand(handle.cancelled());
    told.pending();
    let released = entered.release().unwrap();
    let outer = CancelScope::new();
    let stop = outer.handle();
    let mut run = hand(outer.run(async {
        let entered = released.adopt();
        let _ = entered.run(pending::<()>()).await;
    }));
    run.pending();
    stop.cancel();
    assert_eq!(told.wakes.count(), 1, "who waits is woken");
    told.ready();
    assert!(run.drive().is_err());
}

#[test]
fn r04_a_released_stack_dropped_outside_every_task_goes_where_it_would_have_gone() {
    let (log, gate) = (Log::new(), Gate::new());
    let post = Mutex::new(None);
    let around = ExitStack::new();
    let waits = gate.wait();
    let mut run = hand(around.run(async {
        let owner = task::current();
        let stack = ExitStack::new();
        let exit = log.entry("exit");
        stack.defer(async move {
            assert_eq!(task::current(), owner);
            exit.await;
        });
        *post.lock().unwrap() = Some(stack.release().unwrap());
        waits.await;
        log.add("body");
        Ok::<(), ()>(())
    }));
    run.pending();
    let released: Option<Released<ExitStack>> = post.lock().unwrap().take();
    drop(released);
    run.idle();
    log.is(&["exit"]);
    gate.open();
    run.drive().unwrap();
    log.is(&["exit", "body"]);
}

#[tokio::test]
async fn r05_a_released_stack_dropped_in_a_bare_task_of_the_runtime_is_no_foreign_drop() {
    let reports = Reports::watch();
    let released = tokio::spawn(async {
        let scope = CancelScope::new();
        let body = async {
            let stack = ExitStack::new().named("posted-away");
            stack.defer(async {});
            stack.release().unwrap()
        };
        scope.run(body).await.unwrap()
    });
    let released = released.await.unwrap();
    tokio::spawn(async move { drop(released) }).await.unwrap();
    let lines = reports.of("posted-away");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("lost"), "nothing around it lives: {lines:?}");
}

#[test]
fn r04_regions_inside_a_stack_that_makes_way_for_an_adopted_scope_hear_of_its_new_surroundings() {
    let (log, gate) = (Log::new(), Gate::new());
    let outer = CancelScope::new();
    let released: Mutex<Option<Released<EnteredScope>>> = Mutex::default();
    let mut run = hand(outer.run(async {
        let entered = CancelScope::new().enter().unwrap();
        let stack = ExitStack::new();
        let inside = async {
            let group = TaskGroup::<Infallible>::new();
            let told = group.run(async {
                moored::cancelled().await;
                log.add("told");
                Ok(())
            });
            let adopts = async {
                gate.wait().await;
                let adopted = released.lock().unwrap().take().map(Released::adopt);
                pending::<()>().await;
                drop(adopted);
            };
            let _ = join(told, adopts).await;
            Ok::<_, Infallible>(())
        };
        // Begun inside the scope, and polled outside it from then on.
        let mut lent = Box::pin(stack.run(inside));
        assert!(entered.run(poll_once(&mut lent)).await.unwrap().is_pending());
        *released.lock().unwrap() = Some(entered.release().unwrap());
        let mut all = FuturesUnordered::from_iter([lent]);
        while all.next().await.is_some() {}
    }));
    run.idle();
    gate.open();
    run.idle();
    log.is(&[]);
    outer.cancel();
    assert!(run.drive().is_err());
    log.is(&["told"]);
}

#[test]
fn r04_who_waits_for_a_scope_of_a_task_is_told_of_the_scope_that_it_is_adopted_in() {
    let outer = CancelScope::new();
    let stop = outer.handle();
    let post = Mutex::new(None);
    let mut run = hand(task(async {
        let entered = CancelScope::new().enter().unwrap();
        let handle = entered.handle();
        let mut told = hand(async move { handle.cancelled().await });
        told.pending();
        *post.lock().unwrap() = Some(told);
        let released = entered.release().unwrap();
        let adopts = async { released.adopt().run(pending::<()>()).await };
        outer.run(adopts).await
    }));
    run.pending();
    stop.cancel();
    let mut told = post.lock().unwrap().take().unwrap();
    assert_eq!(told.wakes.count(), 1, "who waits is woken");
    told.ready();
    assert!(run.drive().is_err());
}
