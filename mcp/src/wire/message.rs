//! The kind of an outgoing message: whether it is part of the handshake, whether it expects an answer, and its name
//! in texts.

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ClientResult, ErrorData, RequestId,
    ServerJsonRpcMessage, ServerRequest,
};

use super::body::{clipped, preview};
use crate::error::said;

/// The kind of an outgoing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `server/discover`: asks for the era of the server.
    Probe,
    /// `initialize`.
    Initialize,
    /// `notifications/initialized`.
    Initialized,
    /// Any other request.
    Request(String),
    /// An answer or a notification.
    OneWay,
    /// The stream for messages that a server sends without a request.
    Stream,
    /// The end of the session on the server.
    Delete,
}

/// The requests that may be sent twice: they read, or the second one changes nothing.
const REPEATABLE: [&str; 15] = [
    "completion/complete",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/list",
];

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

    /// Whether it opens a stream of notifications. Its answer is the end of the stream, and no caller waits for it.
    pub(crate) fn listens(&self) -> bool {
        matches!(self, Self::Request(method) if method == "subscriptions/listen")
    }

    /// Whether it is the first question of a connection, in one era or the other.
    pub(crate) fn opens(&self) -> bool {
        matches!(self, Self::Probe | Self::Initialize)
    }

    /// Whether it comes before the session is up.
    pub(crate) fn is_lifecycle(&self) -> bool {
        matches!(self, Self::Probe | Self::Initialize | Self::Initialized)
    }

    /// Whether it requests a page of a list.
    pub(crate) fn is_list(&self) -> bool {
        const LISTS: [&str; 4] =
            ["prompts/list", "resources/list", "resources/templates/list", "tools/list"];
        matches!(self, Self::Request(method) if LISTS.contains(&method.as_str()))
    }

    /// Whether it is a request that a caller of ours waits for.
    pub(crate) fn is_call(&self) -> bool {
        const CALLS: [&str; 4] =
            ["completion/complete", "prompts/get", "resources/read", "tools/call"];
        matches!(self, Self::Request(method) if CALLS.contains(&method.as_str()))
    }

    /// Whether it changes a setting of the server, for which the order of such requests counts.
    pub(crate) fn is_setting(&self) -> bool {
        const SETTINGS: [&str; 3] =
            ["logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
        matches!(self, Self::Request(method) if SETTINGS.contains(&method.as_str()))
    }

    pub(crate) fn expects_answer(&self) -> bool {
        matches!(self, Self::Probe | Self::Initialize | Self::Request(_))
    }

    /// Whether it may be sent again if it is not known whether the server has seen it. A tool may have effects, so a
    /// call may not. A second `initialize` may leave a first session whose id is lost: the server has to let that
    /// expire.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Request(method) => REPEATABLE.contains(&method.as_str()),
            _ => true,
        }
    }

    /// Its name in a text.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Self::Probe => "server/discover",
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::Request(method) => method,
            Self::OneWay => "a message",
            Self::Stream => "the request for its stream of events",
            Self::Delete => "DELETE",
        }
    }

    /// The wait that a time-out names.
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

/// The request that a message cancels.
pub(crate) fn cancelled_id(message: &ClientJsonRpcMessage) -> Option<&RequestId> {
    match message {
        ClientJsonRpcMessage::Notification(notification) => match &notification.notification {
            ClientNotification::CancelledNotification(it) => it.params.request_id.as_ref(),
            _ => None,
        },
        _ => None,
    }
}

/// The request that a message answers.
pub(crate) fn answered_id(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        ServerJsonRpcMessage::Response(response) => Some(&response.id),
        ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
        _ => None,
    }
}

/// A server's error in one line, with its data.
pub(crate) fn rejection(error: &ErrorData) -> String {
    let said = clipped(said(&error.message));
    let mut line = format!("{said} (code {})", error.code.0);
    let data = error.data.as_ref().filter(|data| !data.is_null()).map(ToString::to_string);
    if let Some(data) = data.and_then(|data| preview(data.as_bytes())) {
        line.push_str(": ");
        line.push_str(&data);
    }
    line
}

/// The answer to a request that comes before the session is up. A server may only send a ping so early.
pub(crate) fn early_answer(id: RequestId, request: &ServerRequest) -> ClientJsonRpcMessage {
    match request {
        ServerRequest::PingRequest(_) => {
            ClientJsonRpcMessage::response(ClientResult::empty(()), id)
        }
        _ => {
            let error = ErrorData::invalid_request("not before the session is up", None);
            ClientJsonRpcMessage::error(error, Some(id))
        }
    }
}
