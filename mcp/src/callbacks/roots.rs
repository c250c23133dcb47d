//! Roots: the places that a client makes known to its servers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Root {
    /// Its address, which begins with `file://`.
    pub uri: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Root {
    /// The place at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: None, more: Map::new() }
    }

    /// Gives it a name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// The places, which may change while servers are connected. Clones are the same list.
#[derive(Debug, Clone)]
pub struct Roots(
    // A watch, because it is a value that is read and followed.
    Arc<watch::Sender<Vec<Root>>>,
);

impl Roots {
    /// These places.
    pub fn new(roots: impl IntoIterator<Item = Root>) -> Self {
        Self(Arc::new(watch::channel(roots.into_iter().collect()).0))
    }

    /// Replaces the places. Servers are notified if that is a change.
    pub fn set(&self, roots: impl IntoIterator<Item = Root>) {
        let roots: Vec<Root> = roots.into_iter().collect();
        self.0.send_if_modified(|current| {
            let changed = *current != roots;
            *current = roots;
            changed
        });
    }

    /// The places as they are now.
    pub fn get(&self) -> Vec<Root> {
        self.0.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Vec<Root>> {
        self.0.subscribe()
    }

    /// The answer to `roots/list`.
    pub(super) fn answer(&self) -> Value {
        json!({"roots": *self.0.borrow()})
    }
}
