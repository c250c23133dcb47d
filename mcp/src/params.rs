//! The parameters that a caller sets before a server is started: the servers, and the limits.

mod call;
mod group;
mod http;
mod secret;
mod server;
mod stdio;

use std::collections::BTreeMap;
use std::fmt;

pub use self::call::{CallOptions, CompleteArgs, OnProgress};
pub use self::group::{ClientInfo, GroupOptions, Policy};
pub use self::http::HttpParams;
#[cfg_attr(
    not(feature = "config"),
    allow(unused_imports, reason = "only `config` needs all of it")
)]
pub(crate) use self::secret::{Origin, SHORTEST, SecretTexts, is_secret};
pub use self::server::{Era, ServerParams, Transport};
pub use self::stdio::StdioParams;

/// A map with its values hidden.
struct Hidden<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, format_args!("..")))).finish()
    }
}
