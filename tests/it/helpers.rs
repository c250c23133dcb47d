//! The helpers of the feature `testing`: their messages about a future that is not in the state that
//! the test expected.

use crate::support::panic_text;
use moored::testing::{MockClock, hand};
use std::future::{pending, poll_fn, ready};
use std::task::Poll;

#[test]
fn a_hand_says_what_it_found_instead() {
    assert_eq!(panic_text(|| hand(ready(())).pending()), "ready too early");
    assert_eq!(panic_text(|| hand(pending::<()>()).ready()), "still pending");
    assert_eq!(panic_text(|| hand(pending::<()>()).drive()), "pending, and nobody woke it");
    let clock = MockClock::new();
    assert_eq!(
        panic_text(|| hand(pending::<()>()).drive_with(&clock)),
        "pending, nobody woke it and nobody sleeps"
    );
}

#[test]
fn a_hand_gives_up_on_what_wakes_itself_for_ever() {
    let restless = poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert_eq!(panic_text(|| hand(restless).drive()), "no end in 100,000 polls");
}
