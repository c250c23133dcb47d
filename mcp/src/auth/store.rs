//! The storage of tokens between runs of a program.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BoxError;

/// Tokens from an authorisation server, and the client to which they belong. It is written and read as JSON, in a form
/// that only this crate knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub(crate) Value);

/// Shows no field, because all of them are secret.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// A place for the tokens of one server: a file, the keys of the operating system, a database.
pub trait TokenStore: Send + Sync + 'static {
    /// The saved tokens; `None` if none were saved, or if they were cleared.
    fn load(&self) -> BoxFuture<'_, Result<Option<Tokens>, BoxError>>;
    /// Saves `tokens`, and replaces earlier ones.
    fn save(&self, tokens: Tokens) -> BoxFuture<'_, Result<(), BoxError>>;
    /// Deletes the saved tokens.
    fn clear(&self) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// Keeps tokens as long as the program runs.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Option<Tokens>>);

impl TokenStore for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Option<Tokens>, BoxError>> {
        std::future::ready(Ok(self.0.lock().clone())).boxed()
    }

    fn save(&self, tokens: Tokens) -> BoxFuture<'_, Result<(), BoxError>> {
        *self.0.lock() = Some(tokens);
        std::future::ready(Ok(())).boxed()
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        *self.0.lock() = None;
        std::future::ready(Ok(())).boxed()
    }
}
