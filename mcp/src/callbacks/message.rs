//! The requests and notifications of a server, and the refusal of a request.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A request or a notification of a server. `P` is the type of its parameters, raw JSON by default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerMessage<P = Value> {
    /// The name of the server.
    pub server: Arc<str>,
    /// Its method.
    pub method: String,
    /// Its parameters; `null` if there are none.
    pub params: P,
    /// The tag of the call to which it belongs, if that call is known and has one: see
    /// [`CallOptions::tag`](crate::CallOptions::tag).
    ///
    /// The call is known if the message came on the stream of the call's answer, inside the answer, or with the token
    /// of the call's progress. Otherwise, if only one call is under way, the message is assumed to belong to it.
    pub tag: Option<Tag>,
}

impl ServerMessage {
    pub(crate) fn new(server: Arc<str>, method: String, params: Value, tag: Option<Tag>) -> Self {
        Self { server, method, params, tag }
    }

    /// The same message with its parameters as a type.
    ///
    /// # Errors
    ///
    /// -32602 if the parameters are not of that type.
    pub fn read<P: DeserializeOwned>(self) -> Result<ServerMessage<P>, RequestError> {
        let Self { server, method, params, tag } = self;
        match serde_json::from_value(params) {
            Ok(params) => Ok(ServerMessage { server, method, params, tag }),
            Err(error) => {
                let text = format!("the parameters of {method} cannot be read: {error}");
                Err(RequestError::new(RequestError::INVALID_PARAMS, text))
            }
        }
    }
}

/// A value that a caller gives to a call, and that comes with the server's requests and notifications on behalf of that
/// call.
#[derive(Clone)]
pub struct Tag {
    value: Arc<dyn Any + Send + Sync>,
    why: Option<Why>,
}

/// The place for the reason for which a request is given up, which the server is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Why(Arc<OnceLock<String>>);

impl Why {
    /// Sets the reason; the first one counts.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only `serve` has reasons"))]
    pub(crate) fn is(&self, reason: &str) {
        // A failure is ignored, because there is a reason already.
        let _told = self.0.set(reason.to_owned());
    }

    /// The reason, if there is one.
    pub(crate) fn told(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

impl Tag {
    /// Tags with `value`.
    pub fn new(value: impl Any + Send + Sync) -> Self {
        Self { value: Arc::new(value), why: None }
    }

    /// The same tag with a place for the reason for which its request is given up.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only `serve` has reasons"))]
    pub(crate) fn given_up_because(self, why: Why) -> Self {
        Self { why: Some(why), ..self }
    }

    /// That place.
    pub(crate) fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    /// The value, if it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// Equal if they are the same tag, not if their values are equal.
impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl Eq for Tag {}

/// The reason why a request of a server is refused: the JSON-RPC error that the server gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
#[non_exhaustive]
pub struct RequestError {
    /// The JSON-RPC code.
    pub code: i32,
    /// The reason in words.
    pub message: String,
    /// Further data for the server.
    pub data: Option<Value>,
}

impl RequestError {
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters are not those of the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something failed here.
    pub const INTERNAL: i32 = -32603;
    /// A person refused.
    pub const REJECTED_BY_USER: i32 = -1;

    /// An error of this code.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Something failed here.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Self::INTERNAL, message)
    }

    /// Adds `data` to the error.
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}
