//! What a server asks or tells, and the refusal of a request.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A request or a notification of a server, with its parameters as `P`: raw JSON where nothing else is said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerMessage<P = Value> {
    /// The name of the server.
    pub server: Arc<str>,
    /// Its method.
    pub method: String,
    /// Its parameters; `null` where there are none.
    pub params: P,
    /// The tag of the call that it belongs to, where that is known and has one: see [`CallOptions::tag`](crate::CallOptions::tag).
    ///
    /// It is known where the message came on the stream that answers the call, inside of its answer, or with the token of its progress.
    /// Otherwise it is taken to belong to the only call that is under way, where there is only one.
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
    /// -32602 where they are none of that type.
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

/// A value of the caller's own that goes with a call, and comes back with what the server asks or tells on behalf of that call.
#[derive(Clone)]
pub struct Tag(Arc<dyn Any + Send + Sync>);

impl Tag {
    /// Tags with `value`.
    pub fn new(value: impl Any + Send + Sync) -> Self {
        Self(Arc::new(value))
    }

    /// The value, where it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// The same tag, not one with an equal value.
impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tag {}

/// Why a request of a server is not answered: the JSON-RPC error that it gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
#[non_exhaustive]
pub struct RequestError {
    /// The JSON-RPC code.
    pub code: i32,
    /// The reason in words.
    pub message: String,
    /// What is given beside them.
    pub data: Option<Value>,
}

impl RequestError {
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters are not those of the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something failed here.
    pub const INTERNAL: i32 = -32603;
    /// A person said no.
    pub const REJECTED_BY_USER: i32 = -1;

    /// An error of this code.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Something failed here.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Self::INTERNAL, message)
    }

    /// Gives `data` beside the words.
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}
