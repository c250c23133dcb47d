//! Places where a hot loop can be cancelled (R6).

use crate::region::ambient;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Yields once to the executor, and goes no further where the current region, or one around it, is
/// cancelled: there the body is dropped.
///
/// It makes a loop that never waits for anything cancellable. After Trio's `checkpoint`.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// # Examples
///
/// ```
/// # futures::executor::block_on(async {
/// let scope = moored::CancelScope::new();
/// let handle = scope.handle();
/// let mut rounds = 0;
/// scope
///     .run(async {
///         loop {
///             rounds += 1;
///             if rounds == 3 {
///                 handle.cancel();
///             }
///             moored::checkpoint().await;
///         }
///     })
///     .await
///     .unwrap_err();
/// assert_eq!(rounds, 3);
/// # });
/// ```
pub fn checkpoint() -> Checkpoint {
    Checkpoint { yielded: false }
}

/// Whether the current region, or one around it up to a shield, is cancelled. `false` where nothing of
/// `moored` is current.
pub fn is_cancelled() -> bool {
    // An exit that runs is shielded from what cancelled its region (R14).
    ambient::with_current(|node, in_exit| match node {
        Some(node) if !in_exit => node.is_cancelled(),
        _ => false,
    })
}

/// The future of [`checkpoint`].
#[must_use = "futures do nothing unless polled"]
pub struct Checkpoint {
    yielded: bool,
}

impl Future for Checkpoint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if is_cancelled() {
            // The region that is cancelled drops what is pending; nothing has to wake this.
            return Poll::Pending;
        }
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkpoint")
    }
}
