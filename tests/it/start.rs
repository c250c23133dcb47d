//! The handshake of `start`: a child tells when it is ready (R16, R17).

use super::groups::Group;
use crate::support::{Gate, Log, boom, hand, panic_text, poll_once, yield_now};
use moored::{Cause, ExitStack, Failure, Ready, ReasonKind};
use std::future::pending;
use std::sync::{Arc, Mutex};

// The handshake of `start`.

#[test]
fn r16_start_gives_the_value_and_the_child_goes_on() {
    let (log, gate) = (Log::new(), Gate::new());
    let group = Group::new();
    let mut run = hand(group.run(async {
        let port = group.start(|ready| async {
            yield_now().await;
            ready(8080);
            gate.wait().await;
            log.add("served");
            Ok(())
        });
        log.add(format!("port {}", port.await.unwrap()));
        Ok(())
    }));
    for _ in 0..4 {
        run.pending();
    }
    log.is(&["port 8080"]);
    gate.open();
    run.drive().unwrap();
    log.is(&["port 8080", "served"]);
}

#[test]
fn r16_an_error_before_ready_is_the_callers_and_not_the_groups() {
    let group = Group::new();
    let body = async {
        let sibling = group.spawn(async {
            yield_now().await;
            yield_now().await;
            Ok("unharmed")
        });
        let failed = group.start(|_: Ready<'_, ()>| async {
            yield_now().await;
            Err("the port is taken")
        });
        let failure = failed.await.unwrap_err();
        assert!(matches!(failure.cause(), Cause::Child { error: "the port is taken", .. }));
        assert_eq!(failure.rest().count(), 0);
        Ok(sibling.join().await.unwrap())
    };
    assert_eq!(hand(group.run(body)).drive().unwrap(), "unharmed");
}

#[test]
fn r17_an_error_after_ready_is_the_groups() {
    let group = Group::new();
    let body = async {
        let started = group.start(|ready| async {
            ready(1);
            yield_now().await;
            Err("later")
        });
        assert_eq!(started.await.unwrap(), 1);
        pending::<Result<(), _>>().await
    };
    let failure = hand(group.run(body)).drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "later", .. }), "{failure:?}");
}

#[test]
fn r16_ready_and_failed_in_one_breath_is_a_value_for_the_caller_and_an_error_of_the_group() {
    let group = Group::new();
    let seen = Mutex::new(None);
    let body = async {
        let started = group.start(|ready| async {
            ready(1);
            Err("at once")
        });
        *seen.lock().unwrap() = Some(started.await.map_err(|failure| failure.to_string()));
        Ok(())
    };
    let failure = hand(group.run(body)).drive().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: "at once", .. }));
    assert_eq!(seen.lock().unwrap().take(), Some(Ok(1)));
}

#[test]
fn r16_a_child_that_ends_without_a_word_was_not_ready() {
    let group = Group::new();
    let body = async {
        let silent = group.start(|ready: Ready<'_, ()>| async {
            drop(ready);
            yield_now().await;
            Ok(())
        });
        Ok(silent.await.unwrap_err())
    };
    let failure: Failure<_> = hand(group.run(body)).drive().unwrap();
    assert!(matches!(failure.cause(), Cause::NotReady { .. }));
    assert!(failure.to_string().ends_with(" ended without saying that it is ready"), "{failure}");
}

#[test]
fn r15_a_panic_before_ready_is_resumed_by_the_group_and_told_as_not_ready() {
    let group = Group::new();
    let told = Mutex::new(None);
    let mut run = hand(group.run(async {
        let started = group.start(|_: Ready<'_, ()>| async {
            boom("before it was ready");
            Ok(())
        });
        *told.lock().unwrap() = Some(started.await.unwrap_err().to_string());
        Ok(())
    }));
    assert_eq!(panic_text(|| run.drive()), "before it was ready");
    drop(run);
    let told = told.lock().unwrap().take();
    assert!(told.is_none_or(|told| told.contains("without saying that it is ready")));
}

#[test]
fn r16_a_child_cancelled_before_ready_is_told_as_cancelled() {
    let group = Group::new();
    let mut run = hand(group.run(async {
        let started = group.start(|_: Ready<'_, ()>| pending());
        let failure = {
            let mut started = Box::pin(started);
            assert!(poll_once(&mut started).await.is_pending());
            group.cancel();
            started.await.unwrap_err()
        };
        match failure.cause() {
            Cause::Cancelled(reason) => assert_eq!(reason.kind(), ReasonKind::Parent),
            other => panic!("{other:?}"),
        }
        Ok("told")
    }));
    // The body is cancelled as well: neither order of the two polls may hang.
    match run.drive() {
        Ok(told) => assert_eq!(told, "told"),
        Err(failure) => assert!(matches!(failure.cause(), Cause::Cancelled(_)), "{failure:?}"),
    }
}

#[test]
fn r16_dropping_the_wait_cancels_a_child_that_is_not_ready_and_the_group_waits_for_it() {
    let (log, gate) = (Log::new(), Gate::new());
    let stack = ExitStack::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        let mut started = Box::pin(group.start(|_: Ready<'_, ()>| {
            let (stack, log, gate) = (&stack, log.clone(), gate.clone());
            async move {
                let body = async {
                    stack.defer(async move {
                        gate.wait().await;
                        log.add("exit");
                    });
                    pending().await
                };
                stack.run(body).await.map_err(|_: Failure<&str>| "failed")
            }
        }));
        assert!(poll_once(&mut started).await.is_pending());
        yield_now().await;
        drop(started);
        Ok(())
    }));
    run.pending();
    run.pending();
    run.pending();
    gate.open();
    run.drive().unwrap();
    log.is(&["exit"]);
}

#[test]
fn r16_dropping_the_wait_after_ready_cancels_nothing() {
    let log = Log::new();
    let group = Group::new();
    let body = async {
        let mut started = Box::pin(group.start(|ready| async {
            ready(Arc::new(()));
            yield_now().await;
            log.add("went on");
            Ok(())
        }));
        assert!(poll_once(&mut started).await.is_pending());
        yield_now().await;
        drop(started);
        Ok(())
    };
    hand(group.run(body)).drive().unwrap();
    log.is(&["went on"]);
}

#[test]
fn r16_ready_may_be_called_by_another_thread() {
    let group = Group::new();
    let body = async {
        let started = group.start(|ready| async {
            std::thread::spawn(move || ready("from a thread")).join().unwrap();
            Ok(())
        });
        Ok(started.await.unwrap())
    };
    // The thread may borrow nothing, and neither does `ready` here.
    assert_eq!(hand(group.run(body)).drive().unwrap(), "from a thread");
}

#[test]
fn r16_start_in_a_group_that_has_closed_panics() {
    let group = Group::new();
    hand(group.run(async { Ok(()) })).drive().unwrap();
    let text = panic_text(|| group.start(|_: Ready<'_, ()>| async { Ok(()) }));
    assert!(text.contains("cannot spawn into task group"), "{text}");
}

#[test]
fn r16_start_in_a_cancelled_group_runs_to_the_first_await() {
    let log = Log::new();
    let group = Group::new();
    let mut run = hand(group.run(async {
        group.cancel();
        let started = group.start(|ready| async {
            log.add("before");
            ready(1);
            yield_now().await;
            yield_now().await;
            log.add("after");
            Ok(())
        });
        started.await.map(drop).map_err(|_| "not ready")
    }));
    let _ = run.drive();
    log.is(&["before"]);
}

// A hundred thousand.

#[test]
fn r19_a_hundred_thousand_starts_leave_nothing_behind() {
    let before = moored::testing::live_regions();
    let group = Group::new();
    let body = async {
        for n in 0..50_000 {
            let started = group.start(|ready| async move {
                ready(n);
                Ok(())
            });
            assert_eq!(started.await.unwrap(), n);
        }
        Ok(moored::testing::live_regions() - before)
    };
    let mut run = moored::testing::hand(group.run(body));
    let inside = run.drive().unwrap();
    assert!(inside <= 4, "{inside} regions were alive at the end");
}
