//! The scopes that a user was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// The scopes that a user was asked for in one session. Clones share them. A server that still wants them has no use for
/// another login.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scopes(Arc<Mutex<BTreeSet<String>>>);

impl Scopes {
    /// Whether the user was asked for all scopes in `named`, which has spaces between them. A server may name none.
    pub(crate) fn have(&self, named: &str) -> bool {
        let known = self.0.lock();
        words(named).all(|scope| known.contains(scope))
    }

    /// Records that the user was asked for the scopes in `named`.
    pub(crate) fn learn(&self, named: &str) {
        self.0.lock().extend(words(named).map(str::to_owned));
    }
}

/// The scopes in a text; for a text without any the empty word, which stands for the rights that are not named.
fn words(named: &str) -> impl Iterator<Item = &str> {
    let unnamed = named.trim().is_empty().then_some("");
    named.split_whitespace().chain(unnamed)
}
