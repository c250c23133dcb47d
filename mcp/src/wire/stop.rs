//! The end of a connection, which leaving asks for and everything below rmcp obeys.

use std::convert::Infallible;

use moored::{CancelHandle, GroupGuard, GroupSpawner, TaskGroup};
use tokio_util::sync::CancellationToken;

/// The group of the exchanges of a connection. They run in rmcp's tasks, so each of them keeps a guard of the group.
/// Leaving stops the group, and waits for the exchanges by running it.
pub(crate) type Exchanges = TaskGroup<'static, Infallible>;

/// The view of that group from inside of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    handle: CancelHandle,
    spawner: GroupSpawner<'static, Infallible>,
    /// The same stop for rmcp, whose interface takes tokens.
    token: CancellationToken,
}

impl Stop {
    pub(crate) fn of(exchanges: &Exchanges) -> Self {
        let (handle, spawner) = (exchanges.handle(), exchanges.spawner());
        Self { handle, spawner, token: CancellationToken::new() }
    }

    /// Asks everything to end: from here on no message is sent.
    pub(crate) fn request(&self) {
        self.handle.stop();
        self.token.cancel();
    }

    /// Ready once the end was asked for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn requested(&self) {
        self.handle.stop_requested().await;
    }

    /// Whether the end was asked for.
    pub(crate) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Counts an exchange until the guard is dropped; `None` if the connection has ended.
    pub(crate) fn exchange(&self) -> Option<GroupGuard> {
        self.spawner.guard().ok()
    }

    /// A token for rmcp. It is a child token, because rmcp cancels its token when its service is dropped.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.child_token()
    }
}
