//! The clients of a gateway.

use tokio_util::sync::CancellationToken;

/// One client: a session of the older era, the other end of a pipe, or the sender of one request of the newer era.
#[derive(Debug)]
pub(super) struct Client {
    /// Cancelled when it has gone, or to make it go.
    pub(super) end: CancellationToken,
}

impl Client {
    pub(super) fn new(end: CancellationToken) -> Self {
        Self { end }
    }
}
