//! Where tokens are kept between runs of a program.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BoxError;

/// What an authorisation server has given: tokens, and the client that they belong to. It is written and read as JSON of
/// which only this crate knows the shape.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub(crate) Value);

/// Shows nothing: all of it is secret.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// A place for the tokens of one server: a file, the keys of the operating system, a database.
pub trait TokenStore: Send + Sync + 'static {
    /// What was saved; `None` where nothing was, or where it was cleared.
    fn load(&self) -> BoxFuture<'_, Result<Option<Tokens>, BoxError>>;
    /// Keeps `tokens` in place of what was saved before.
    fn save(&self, tokens: Tokens) -> BoxFuture<'_, Result<(), BoxError>>;
    /// Forgets what was saved.
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
