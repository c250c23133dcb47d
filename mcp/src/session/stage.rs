//! The stages of a session, and the part of it that each stage has.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::Listing;
use crate::error::ConnectError;
use crate::fault::Fault;
use crate::report::{ErrorReport, ServerReport, SessionInfo};
use crate::state::Profile;
use crate::wire::Caller;
use crate::wire::pending::Pending;

/// The stage of a session. It only goes forward, except that a session that is down comes up again.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// The attempt is under way.
    Connecting,
    /// Connected.
    Up(Arc<Live>),
    /// Its exits are running. `fault` is the cause, if it ended without a request.
    Leaving { fault: Option<Fault> },
    /// It was lost and has been left, and its server will be started again.
    Down(Arc<Down>),
    /// It has been left.
    Left(Arc<Finished>),
}

/// A stage, and the time at which it was reached.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) stage: Stage,
    pub(super) at: SystemTime,
}

/// A connected session, as its users see it. It is replaced when the lists of the server change.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) info: SessionInfo,
    pub(crate) listing: Arc<Listing>,
    pub(super) profile: Arc<Profile>,
    pub(super) connection: Arc<Connection>,
}

impl Live {
    /// Whether the server has no handshake.
    pub(crate) fn is_modern(&self) -> bool {
        self.connection.caller.is_modern()
    }
}

/// The connection of one start of a server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) caller: Caller,
    pub(super) pending: Arc<Pending>,
    /// The cause of its end, if it has ended without a request.
    pub(super) ended_by: OnceLock<Fault>,
}

/// A session between two starts of its server.
#[derive(Debug)]
pub(crate) struct Down {
    pub(super) fault: Fault,
    pub(super) report: ErrorReport,
}

/// A session that has been left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: ServerReport,
    /// The reason why it never came up.
    pub(crate) error: Option<ConnectError>,
    /// The cause of its end, if it ended without a request.
    pub(crate) ended_by: Option<Fault>,
}
