//! The outcome of a handshake, and how rmcp takes it up.

use rmcp::model::{ClientConfig, Implementation, ProtocolVersion, ServerResult};
use rmcp::service::ClientLifecycleMode;

/// What both sides agreed on, and the server's answer that says so.
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

    /// How rmcp has to begin, so that its first question is the one that `answer` belongs to.
    pub(crate) fn lifecycle(&self) -> (ClientConfig, ClientLifecycleMode) {
        if self.is_legacy() {
            (client(&self.version), ClientLifecycleMode::Initialize)
        } else {
            let preferred_versions = vec![self.version.clone()];
            (client(&self.version), ClientLifecycleMode::Discover { preferred_versions })
        }
    }

    /// The answer to rmcp's own first question.
    pub(crate) fn replay(self) -> Box<ServerResult> {
        self.answer
    }
}

/// This program, as it introduces itself.
pub(super) fn client(version: &ProtocolVersion) -> ClientConfig {
    let this_program = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    ClientConfig::new(Default::default(), this_program).with_protocol_version(version.clone())
}
