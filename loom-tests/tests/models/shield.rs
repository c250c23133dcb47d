//! Shields that are entered and left while a region around them is cancelled.

use crate::support::{Count, Gate, coarse_model, model, yield_now};
use loom::future::block_on;
use loom::thread;
use moored::{CancelScope, ReasonKind, shield};
use std::future::pending;
use std::sync::Arc;

/// A shielded future comes to its end whether the cancellation comes before, while or after it is polled. The code
/// after the shield is cancelled, because leaving a shield does not end the cancellation.
#[test]
fn r12_cancel_against_a_shield_that_waits() {
    model(|| {
        let ended = Count::new();
        let gate = Gate::new();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                handle.cancel();
                gate.open();
            }
        });
        let body = async {
            shield(gate.wait()).await;
            ended.add();
            pending::<()>().await;
        };
        let cancelled = block_on(scope.run(body)).unwrap_err();
        assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
        assert_eq!(ended.get(), 1, "a shielded region was dropped");
        other.join().unwrap();
    });
}

/// A shield that is entered while the cancellation arrives: the shielded future did not begin, or came to
/// its end.
#[test]
fn r12_cancel_against_a_shield_that_comes_up() {
    model(|| {
        let (began, ended) = (Count::new(), Count::new());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let canceller = thread::spawn(move || handle.cancel());
        let body = async {
            yield_now().await;
            let covered = async {
                began.add();
                yield_now().await;
                ended.add();
            };
            shield(covered).await;
            pending::<()>().await;
        };
        block_on(scope.run(body)).unwrap_err();
        assert_eq!(began.get(), ended.get(), "a shielded region was dropped");
        canceller.join().unwrap();
    });
}

/// A shielded scope's own cancellation counts, even if a region around it is cancelled at the
/// same time.
#[test]
fn r12_cancel_of_the_shield_against_cancel_around_it() {
    coarse_model(|| {
        let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded());
        let handles = [outer.handle(), inner.handle()];
        let canceller = thread::spawn(move || handles.map(|handle| handle.cancel()));
        let reason = std::cell::Cell::new(None);
        let body = async {
            let left = inner.run(pending::<()>()).await;
            reason.set(Some(left.unwrap_err().reason().kind()));
            pending::<()>().await;
        };
        block_on(outer.run(body)).unwrap_err();
        assert_eq!(reason.get(), Some(ReasonKind::Requested));
        canceller.join().unwrap();
    });
}
