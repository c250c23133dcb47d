//! What kind of message goes out: whether it is part of the handshake, whether it wants an answer, what to call it.

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, ProtocolVersion,
    RequestId, ServerJsonRpcMessage,
};

/// The kind of an outgoing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `server/discover`: asks which era the server is of.
    Probe,
    /// `initialize`.
    Initialize,
    /// `notifications/initialized`.
    Initialized,
    /// Any other request.
    Request(String),
    /// An answer or a notification.
    OneWay,
}

impl Kind {
    /// The kind of `message`.
    pub(crate) fn of(message: &ClientJsonRpcMessage) -> Self {
        match message {
            ClientJsonRpcMessage::Request(request) => match &request.request {
                ClientRequest::DiscoverRequest(_) => Self::Probe,
                ClientRequest::InitializeRequest(_) => Self::Initialize,
                other => Self::Request(other.method().to_owned()),
            },
            ClientJsonRpcMessage::Notification(notification)
                if matches!(
                    notification.notification,
                    ClientNotification::InitializedNotification(_)
                ) =>
            {
                Self::Initialized
            }
            _ => Self::OneWay,
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        matches!(self, Self::Probe)
    }

    pub(crate) fn is_initialize(&self) -> bool {
        matches!(self, Self::Initialize)
    }

    /// Whether it comes before the session is up.
    pub(crate) fn is_lifecycle(&self) -> bool {
        matches!(self, Self::Probe | Self::Initialize | Self::Initialized)
    }

    pub(crate) fn expects_answer(&self) -> bool {
        matches!(self, Self::Probe | Self::Initialize | Self::Request(_))
    }

    /// What it is called in a text.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Self::Probe => "server/discover",
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::Request(method) => method,
            Self::OneWay => "a message",
        }
    }

    /// What a time-out says the connection was waiting for.
    pub(crate) fn phase(&self) -> String {
        if self.expects_answer() {
            format!("waiting for the answer to {}", self.subject())
        } else {
            format!("sending {}", self.subject())
        }
    }
}

/// The id of a request.
pub(crate) fn request_id(message: &ClientJsonRpcMessage) -> Option<&RequestId> {
    match message {
        ClientJsonRpcMessage::Request(request) => Some(&request.id),
        _ => None,
    }
}

/// The answer that a legacy server should have given to the probe: it does not know the method.
///
/// rmcp waits ten seconds for a server that ignores the probe, and takes some answers of legacy servers for failures;
/// with this one it goes on to `initialize`.
pub(crate) fn probe_answer(probe: &ClientJsonRpcMessage) -> ServerJsonRpcMessage {
    method_not_found(request_id(probe).cloned())
}

/// "Method not found", to `id`.
pub(crate) fn method_not_found(id: Option<RequestId>) -> ServerJsonRpcMessage {
    let error =
        ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "server/discover was not understood", None);
    ServerJsonRpcMessage::error(error, id)
}

/// The answer as rmcp is to see it: a refused probe that makes the server a legacy one says so.
pub(crate) fn probe_aware(
    message: &ClientJsonRpcMessage,
    kind: &Kind,
    answer: ServerJsonRpcMessage,
) -> ServerJsonRpcMessage {
    match &answer {
        ServerJsonRpcMessage::Error(error)
            if kind.is_probe() && refuses_as_legacy(&error.error) =>
        {
            probe_answer(message)
        }
        _ => answer,
    }
}

/// Whether a refused probe names revisions that all have a handshake. rmcp takes that for the end; it is the answer to
/// the question that the probe asks.
pub(crate) fn refuses_as_legacy(error: &ErrorData) -> bool {
    let supported = error.data.as_ref().and_then(|data| data.get("supported")).cloned();
    let supported: Vec<ProtocolVersion> =
        supported.and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default();
    error.code == ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        && !supported.is_empty()
        && supported.iter().all(ProtocolVersion::has_initialize)
}
