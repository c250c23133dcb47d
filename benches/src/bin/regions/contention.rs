//! The cost of sharing: two threads use the same object at the same time.
//!
//! The figure is the time of one operation on one thread while another thread does the same. Rounds in which the two did not
//! run on two processors at the same time are done again.

use benches::{Bench, Wakes, finish, inside_a_task, on_two_threads, poll_with};
use event_listener::Event;
use moored::CancelScope;
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::task::Waker;
use tokio_util::sync::CancellationToken;

pub(crate) fn ask(bench: &mut Bench) {
    let (_wakes, waker) = Wakes::new();
    inside_a_task(|| {
        waits(bench, &waker);
        handles(bench);
        scopes(bench);
    });
}

fn waits(bench: &mut Bench, waker: &Waker) {
    let scope = CancelScope::new().enter().unwrap();
    let (handle, token, event) = (scope.handle(), CancellationToken::new(), Event::<()>::new());
    bench
        .question("two threads wait for one cancellation, polled once and dropped", 2)
        .custom("moored: CancelHandle::cancelled", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    assert!(poll_with(pin!(handle.cancelled()), waker).is_pending());
                }
            });
        })
        .custom("tokio-util: CancellationToken::cancelled", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    assert!(poll_with(pin!(token.cancelled()), waker).is_pending());
                }
            });
        })
        .custom("event-listener: listen (no flag)", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    assert!(poll_with(pin!(event.listen()), waker).is_pending());
                }
            });
        })
        .ask();
}

fn handles(bench: &mut Bench) {
    let scope = CancelScope::new().enter().unwrap();
    let (handle, token) = (scope.handle(), CancellationToken::new());
    bench
        .question("two threads clone and drop one handle", 2)
        .custom("moored: CancelHandle", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    drop(black_box(handle.clone()));
                }
            });
        })
        .custom("tokio-util: CancellationToken", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                for _ in 0..step {
                    drop(black_box(token.clone()));
                }
            });
        })
        .ask();
}

/// Each thread has a task of its own, as two connections of a server have; the tokens share their parent.
fn scopes(bench: &mut Bench) {
    let parent = CancellationToken::new();
    bench
        .question("two threads enter and leave, each its own", 2)
        .custom("moored: scope", |iterations, watch| {
            on_two_threads(iterations, watch, |_, step| {
                inside_a_task(|| {
                    for _ in 0..step {
                        finish(CancelScope::new().run(ready(black_box(1)))).unwrap();
                    }
                });
            });
        })
        .custom(
            "tokio-util: child token of one parent, run_until_cancelled",
            |iterations, watch| {
                on_two_threads(iterations, watch, |_, step| {
                    for _ in 0..step {
                        let child = parent.child_token();
                        finish(child.run_until_cancelled(ready(black_box(1)))).unwrap();
                    }
                });
            },
        )
        .ask();
}
