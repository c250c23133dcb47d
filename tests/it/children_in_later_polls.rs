//! A child of a group in its second poll and later ones: regions, exits, shields and panics in it (R1, R8, R12, R15).

use super::new_children::{Group, Leaves, OnDrop};
use crate::support::{Log, hand, yield_now};
use futures::FutureExt;
use moored::{CancelScope, Cause, ChildError, ExitStack, ReasonKind};
use std::future::pending;
use std::sync::{Arc, Mutex};

#[test]
fn r16_a_waker_of_a_child_that_has_ended_wakes_nobody_else_for_long() {
    let kept = Arc::new(Mutex::new(None));
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let waker = Arc::clone(&kept);
        group.spawn(async move {
            std::future::poll_fn(|cx| {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                std::task::Poll::Ready(())
            })
            .await;
            Ok(())
        });
        yield_now().await;
        // The child takes the place of the child that has left.
        group.spawn(async {
            for turn in 0..3 {
                log.add(format!("turn {turn}"));
                yield_now().await;
            }
            Ok(())
        });
        yield_now().await;
        kept.lock().unwrap().take().unwrap().wake();
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["turn 0", "turn 1", "turn 2"]);
}

#[test]
fn r06_a_late_waker_of_a_child_that_has_ended_does_not_hide_the_wake_ups_of_the_next_child() {
    let kept = Arc::new(Mutex::new(None));
    let group = Group::new();
    let mut run = hand(group.run(async {
        let waker = Arc::clone(&kept);
        group.spawn(async move {
            std::future::poll_fn(|cx| {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                std::task::Poll::Ready(())
            })
            .await;
            Ok(())
        });
        yield_now().await;
        kept.lock().unwrap().take().unwrap().wake();
        yield_now().await;
        // It takes the place of the first child, which nobody had when it was woken.
        group.spawn(async {
            yield_now().await;
            yield_now().await;
            Ok(())
        });
        Ok(())
    }));
    run.drive().unwrap();
}

#[test]
fn r06_children_are_polled_in_the_order_in_which_they_were_woken() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        for child in 0..4 {
            let (kept, log) = (&kept, &log);
            group.spawn(async move {
                let mut first = true;
                std::future::poll_fn(|cx| {
                    if std::mem::take(&mut first) {
                        kept.lock().unwrap().push(cx.waker().clone());
                        return std::task::Poll::Pending;
                    }
                    std::task::Poll::Ready(())
                })
                .await;
                log.add(format!("{child}"));
                Ok(())
            });
        }
        Ok(())
    }));
    run.idle();
    for child in [2, 0, 3, 0, 1] {
        kept.lock().unwrap()[child].wake_by_ref();
    }
    run.drive().unwrap();
    log.is(&["2", "0", "3", "1"]);
}

#[test]
fn r03_a_waiting_child_is_cancelled_by_its_handle() {
    let log = Log::new();
    let group = Group::new();
    let handle = Mutex::new(None);
    let mut run = hand(group.run(async {
        *handle.lock().unwrap() = Some(group.spawn(async {
            let _gone = OnDrop(log.clone());
            yield_now().await;
            log.add("second poll");
            pending::<()>().await;
            Ok(())
        }));
        Ok(())
    }));
    run.idle();
    log.is(&["second poll"]);
    let child = handle.lock().unwrap().take().unwrap();
    let before = run.wakes.count();
    child.cancel();
    assert!(run.wakes.count() > before, "who cancels a child wakes its group");
    run.drive().unwrap();
    log.is(&["second poll", "gone"]);
    let Err(ChildError::Cancelled(reason)) = hand(child.join()).drive() else { panic!() };
    assert_eq!(reason.kind(), ReasonKind::Requested);
}

#[test]
fn r16_waiting_children_are_cancelled_with_their_group() {
    let log = Log::new();
    let group = Group::new();
    let handle = group.handle();
    let mut run = hand(group.run(async {
        for _ in 0..3 {
            group.spawn(async {
                let _gone = OnDrop(log.clone());
                pending::<()>().await;
                Ok(())
            });
        }
        Ok(())
    }));
    run.idle();
    let before = run.wakes.count();
    handle.cancel();
    assert!(run.wakes.count() > before);
    drop(run.drive());
    log.is(&["gone", "gone", "gone"]);
}

#[test]
fn r17_a_failure_cancels_a_waiting_child() {
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn(async {
            let _gone = OnDrop(log.clone());
            pending::<()>().await;
            Ok(())
        });
        group.spawn(async {
            yield_now().await;
            Err::<(), _>("broken")
        });
        Ok(())
    }));
    let failure = run.drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }), "{failure}");
    log.is(&["gone"]);
}

#[test]
fn r17_the_first_success_cancels_waiting_children() {
    let log = Log::new();
    let group = Group::new().first_success();
    let mut run = hand(group.run(async {
        group.spawn(async {
            let _gone = OnDrop(log.clone());
            pending::<()>().await;
            Ok(())
        });
        group.spawn(async {
            yield_now().await;
            Ok(())
        });
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["gone"]);
}

#[test]
fn r13_a_waiting_child_sees_a_stop_at_its_next_poll() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            yield_now().await;
            yield_now().await;
            assert!(moored::stop_requested().now_or_never().is_some());
            Ok(())
        });
        yield_now().await;
        group.stop();
        Ok(child.join().await)
    }));
    assert!(matches!(run.drive().unwrap(), Ok(())));
}

#[test]
fn r01_what_a_child_enters_in_a_later_poll_is_inside_the_child() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            yield_now().await;
            let own = moored::task::current();
            let scope = CancelScope::new();
            let inside = scope
                .run(async {
                    yield_now().await;
                    moored::task::current()
                })
                .await
                .unwrap();
            assert_eq!(own, inside);
            Ok(own.unwrap())
        });
        assert_eq!(child.id(), child.join().await.unwrap());
        Ok(())
    }));
    run.drive().unwrap();
}

#[test]
fn r08_an_exit_that_a_child_abandons_in_a_later_poll_runs_before_the_child_leaves() {
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            yield_now().await;
            let stack = ExitStack::new();
            stack.defer(log.entry("exit"));
            drop(stack);
            Ok(())
        });
        child.join().await.unwrap();
        log.add("joined");
        Ok(())
    }));
    run.drive().unwrap();
    log.is(&["exit", "joined"]);
}

#[test]
fn r12_a_shield_that_a_child_enters_in_a_later_poll_holds() {
    let log = Log::new();
    let group = Group::new();
    let handle = group.handle();
    let mut run = hand(group.run(async {
        group.spawn(async {
            yield_now().await;
            moored::shield(async {
                yield_now().await;
                log.add("shielded");
            })
            .await;
            pending::<()>().await;
            Ok(())
        });
        yield_now().await;
        yield_now().await;
        handle.cancel();
        pending::<()>().await;
        Ok(())
    }));
    drop(run.drive());
    log.is(&["shielded"]);
}

#[test]
fn r08_a_waiting_child_is_dropped_in_its_own_region() {
    let log = Log::new();
    let around = ExitStack::new();
    let mut outer = hand(around.run(async {
        let group = Group::new();
        let mut id = None;
        {
            let mut run = hand(group.run(async {
                let leaves = Leaves(log.clone());
                let child = group.spawn(async move {
                    let _leaves = leaves;
                    pending::<()>().await;
                    Ok(())
                });
                id = Some(child.id().to_string());
                Ok(())
            }));
            run.idle();
        }
        drop(group);
        Ok::<_, &str>(id.unwrap())
    }));
    let id = outer.drive().unwrap();
    log.is(&[&id, "exit"]);
}

#[test]
fn r15_a_panic_of_a_child_in_a_later_poll_is_the_groups() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.spawn(async {
            yield_now().await;
            if true {
                panic!("later");
            }
            Ok(())
        });
        Ok(())
    }));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.drive())).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "later");
}
