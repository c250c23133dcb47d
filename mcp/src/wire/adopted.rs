//! Sessions that the program has opened itself, with rmcp.

use std::sync::Arc;
use std::time::Duration;

use rmcp::service::{Peer, RoleClient};

/// The pause between two looks at the session. rmcp has no event for its end.
const LOOK: Duration = Duration::from_millis(100);

/// A session of rmcp that the program has opened itself and that a group uses like its own: see
/// [`SessionGroup::adopt`](crate::SessionGroup::adopt).
///
/// The program has to end the session. The group never closes it.
#[derive(Clone)]
pub struct Adopted(Arc<Peer<RoleClient>>);

impl Adopted {
    /// The session behind a peer, for example that of `RunningService::peer`.
    pub fn new(peer: Peer<RoleClient>) -> Self {
        Self(Arc::new(peer))
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        &self.0
    }

    /// Waits for the end of the session.
    pub(super) async fn closed(self) {
        while !self.0.is_transport_closed() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adopted")
    }
}

/// Equal if both are clones of one value.
impl PartialEq for Adopted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Adopted {}
