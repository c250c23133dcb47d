//! User code that panics without a report hook, and at the end of a thread: no such panic leaves a drop (R18). A binary
//! of its own, because a hook cannot be unset.
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use moored::{CancelScope, ExitStack, local};
use std::fmt;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// An error that panics in its `Display` and in its drop.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("so far ")?;
        panic!("no text")
    }
}

impl std::error::Error for Unspeakable {}

impl Drop for Unspeakable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(LoudPayload);
        }
    }
}

/// A panic payload that panics in its drop.
struct LoudPayload;

impl Drop for LoudPayload {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the payload's drop");
        }
    }
}

/// Adopts an exit that fails with an error that can neither be formatted nor dropped.
fn scope_with_an_unspeakable_failure() {
    let scope = CancelScope::new();
    let left = poll(scope.run(async { ExitStack::new().defer(async { Err(Unspeakable) }) }));
    assert!(matches!(left, Poll::Ready(Ok(()))));
}

#[test]
fn r18_an_error_whose_text_panics_comes_out_of_no_report() {
    scope_with_an_unspeakable_failure();
}

#[test]
fn r18_an_error_whose_text_panics_does_not_abort_while_unwinding() {
    struct Unwinds;
    impl Drop for Unwinds {
        fn drop(&mut self) {
            scope_with_an_unspeakable_failure();
            drop(ExitStack::new());
        }
    }
    let caught = std::panic::catch_unwind(|| {
        let _unwinds = Unwinds;
        panic!("first");
    });
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"first"));
}

/// Panics when it is dropped, with a payload that panics in its own drop.
struct Loud(Arc<AtomicUsize>);

impl Drop for Loud {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !std::thread::panicking() {
            std::panic::panic_any(LoudPayload);
        }
    }
}

#[test]
fn r18_local_exits_that_panic_in_their_drops_when_their_thread_ends_do_not_abort_the_process() {
    let drops = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&drops);
    let left = std::thread::spawn(move || {
        let stack = local::ExitStack::new();
        for _ in 0..3 {
            let loud = Loud(Arc::clone(&theirs));
            stack.defer(async move {
                let _loud = loud;
            });
        }
        std::mem::forget(stack);
    });
    left.join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

#[test]
fn r18_a_local_exit_that_is_registered_while_its_thread_is_taken_down_does_not_abort_the_process() {
    struct Registers(local::ExitStack);
    impl Drop for Registers {
        fn drop(&mut self) {
            self.0.defer(async {});
            let closed = poll(std::mem::take(&mut self.0).close());
            assert!(
                matches!(closed, Poll::Ready(Err(_))),
                "nothing keeps it any more: it has failed"
            );
        }
    }
    std::thread_local! {
        static AT_THE_END: std::cell::RefCell<Option<Registers>> = const { std::cell::RefCell::new(None) };
    }
    let ended = std::thread::spawn(|| {
        AT_THE_END.with_borrow_mut(|end| *end = Some(Registers(local::ExitStack::new())));
        // A thread-local that was used later is dropped first.
        let stack = local::ExitStack::new();
        stack.defer(async {});
        assert!(poll(stack.close()).is_ready());
    });
    ended.join().unwrap();
}

#[test]
fn r18_a_waker_whose_payload_panics_in_its_drop_does_not_starve_the_next() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any(LoudPayload);
        }
    }
    struct Counts(AtomicUsize);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut waits: Vec<_> = (0..6).map(|_| handle.cancelled()).collect();
    for (at, wait) in waits.iter_mut().enumerate() {
        let waker = match at % 3 {
            2 => Waker::from(Arc::clone(&counts)),
            _ => Waker::from(Arc::new(Panics)),
        };
        assert!(pin!(wait).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scope.cancel()));
    std::mem::forget(caught.unwrap_err());
    assert_eq!(counts.0.load(Ordering::SeqCst), 2);
}

#[test]
fn r18_a_body_that_panics_in_its_drop_with_a_loud_payload_comes_out_of_no_drop() {
    let drops = Arc::new(AtomicUsize::new(0));
    let scope = CancelScope::new();
    let mut run = Box::pin(scope.run(async {
        let _loud = Loud(Arc::clone(&drops));
        pending::<()>().await
    }));
    assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(run);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}
