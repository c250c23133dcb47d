//! The outcome of a handshake, and the way in which rmcp takes it over.

use rmcp::model::{ClientConfig, Implementation, ProtocolVersion, ServerResult};
use rmcp::service::ClientLifecycleMode;

/// The revision that both sides agreed on, and the server's answer with it.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(super) version: ProtocolVersion,
    pub(super) answer: Box<ServerResult>,
}

impl Agreed {
    /// The revision.
    pub(crate) fn version(&self) -> &ProtocolVersion {
        &self.version
    }

    /// Whether `initialize` was accepted, rather than `server/discover`.
    pub(crate) fn is_legacy(&self) -> bool {
        matches!(*self.answer, ServerResult::InitializeResult(_))
    }

    /// The way in which rmcp has to begin, so that its first request is the one to which
    /// `answer` belongs.
    pub(crate) fn lifecycle(&self) -> (ClientConfig, ClientLifecycleMode) {
        if self.is_legacy() {
            (client(&self.version), ClientLifecycleMode::Initialize)
        } else {
            let preferred_versions = vec![self.version.clone()];
            (client(&self.version), ClientLifecycleMode::Discover { preferred_versions })
        }
    }

    /// The answer to rmcp's own first request.
    pub(crate) fn replay(self) -> Box<ServerResult> {
        self.answer
    }
}

/// The client information of this program.
pub(super) fn client(version: &ProtocolVersion) -> ClientConfig {
    let this_program = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    ClientConfig::new(Default::default(), this_program).with_protocol_version(version.clone())
}
