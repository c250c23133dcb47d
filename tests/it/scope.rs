use crate::support::hand;
use moored::{CancelScope, ReasonKind};

#[test]
fn r06_a_cancelled_body_is_polled_once_more_then_dropped() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let mut polls = 0;
    let mut run = hand(scope.run(std::future::poll_fn(|_| {
        polls += 1;
        std::task::Poll::<()>::Pending
    })));
    run.pending();
    handle.cancel_because("enough");
    assert_eq!(run.wakes.count(), 1);
    let cancelled = run.ready().unwrap_err();
    assert_eq!(cancelled.reason().kind(), ReasonKind::Requested);
    assert_eq!(cancelled.reason().message(), Some("enough"));
    drop(run);
    assert_eq!(polls, 2);
}
