//! A page of a list without the items that cannot be read.
//!
//! rmcp reads a page as a whole, so one tool without an `inputSchema` makes the whole page unreadable. Our transports
//! see the page first: they pass on the readable items, typed as rmcp expects them. The same items as they came and the
//! problems go into the page's `_meta`, from where [`read`](super::read) takes them, because rmcp's types keep no field
//! that they do not know.
//!
//! The answer to a call and to similar requests is not typed at all: it is passed on as it is (see
//! [`answers`](super::super::answers)).

use std::collections::HashMap;

use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde_json::Value;

use super::super::{answers, raw};
use super::kind::List;
use super::page::page;

/// The form in which the answer of a request is passed on.
#[derive(Debug, Clone, Copy)]
enum Mesh {
    /// A page of a list, sifted.
    Page(List),
    /// Unchanged.
    Whole,
}

/// The requests under way with answers that rmcp must not read itself.
#[derive(Debug, Default)]
pub(crate) struct Sieve(Mutex<HashMap<RequestId, Mesh>>);

impl Sieve {
    /// Remembers a request with an answer that rmcp must not read.
    pub(crate) fn watch(&self, message: &ClientJsonRpcMessage) {
        let watched = match List::asked_by(message) {
            Some((id, list)) => Some((id, Mesh::Page(list))),
            None => answers::asked_by(message).map(|id| (id, Mesh::Whole)),
        };
        if let Some((id, mesh)) = watched {
            self.0.lock().insert(id, mesh);
        }
    }

    /// Reads a message of the server; the answer to a watched request is sifted.
    pub(crate) fn read(&self, text: &[u8]) -> serde_json::Result<ServerJsonRpcMessage> {
        if self.0.lock().is_empty() {
            return serde_json::from_slice(text);
        }
        self.sift(serde_json::from_slice(text)?).or_else(serde_json::from_value)
    }

    /// A request has its answer, or no longer waits for it.
    pub(crate) fn forget(&self, id: &RequestId) {
        self.0.lock().remove(id);
    }

    /// `message` as an answer; the message itself if it is something else.
    fn sift(&self, mut message: Value) -> Result<ServerJsonRpcMessage, Value> {
        let is_result = message["jsonrpc"] == "2.0"
            && message.get("result").is_some()
            && message.get("error").is_none();
        let id = message.get("id").and_then(|id| RequestId::deserialize(id).ok());
        let Some(id) = id.filter(|_| is_result) else { return Err(message) };
        let Some((id, mesh)) = self.watched(&id) else { return Err(message) };
        let result = message["result"].take();
        let result = match mesh {
            Mesh::Page(list) => page(list, result),
            Mesh::Whole => raw::result(result),
        };
        Ok(JsonRpcMessage::response(result, id))
    }

    /// The request for which an answer with this id is; it is watched no more. `"7"` is taken for `7`, as rmcp does.
    fn watched(&self, id: &RequestId) -> Option<(RequestId, Mesh)> {
        let mut watched = self.0.lock();
        watched.remove_entry(id).or_else(|| match id {
            RequestId::String(text) => watched.remove_entry(&RequestId::Number(text.parse().ok()?)),
            RequestId::Number(_) => None,
        })
    }
}
