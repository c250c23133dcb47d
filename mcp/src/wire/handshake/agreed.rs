//! The outcome of a handshake, and the way in which rmcp takes it over.

use rmcp::model::{
    ClientConfig, Implementation, ProtocolVersion, ServerCapabilities, ServerResult,
};
use rmcp::service::ClientLifecycleMode;
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::params::ClientInfo;
use crate::report::Outcome;

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

    /// The capabilities of a server that may be sent requests from now on; `None` if it has to be told before that it is
    /// initialized.
    pub(crate) fn capabilities(&self) -> Option<&ServerCapabilities> {
        match &*self.answer {
            ServerResult::DiscoverResult(discovered) => Some(&discovered.capabilities),
            _ => None,
        }
    }

    /// The way in which rmcp has to begin on behalf of `client`, so that its first request is the one to which
    /// `answer` belongs.
    pub(crate) fn lifecycle(&self, client: &ClientConfig) -> (ClientConfig, ClientLifecycleMode) {
        let client = client.clone().with_protocol_version(self.version.clone());
        if self.is_legacy() {
            (client, ClientLifecycleMode::Initialize)
        } else {
            let preferred_versions = vec![self.version.clone()];
            (client, ClientLifecycleMode::Discover { preferred_versions })
        }
    }

    /// The answer to rmcp's own first request.
    pub(crate) fn replay(self) -> Box<ServerResult> {
        self.answer
    }
}

/// The client as it introduces itself.
///
/// # Errors
///
/// A capability has a shape that the protocol does not know.
pub(crate) fn client(
    info: &ClientInfo,
    capabilities: Map<String, Value>,
) -> Result<ClientConfig, Fault> {
    let capabilities = serde_json::from_value(capabilities.into()).map_err(|error| {
        let text = "the capabilities given to `Callbacks::announce` cannot be read";
        Fault::caused(Outcome::Other, text, error)
    })?;
    let mut program = Implementation::new(&info.name, &info.version);
    program.title.clone_from(&info.title);
    program.website_url.clone_from(&info.website_url);
    Ok(ClientConfig::new(capabilities, program))
}
