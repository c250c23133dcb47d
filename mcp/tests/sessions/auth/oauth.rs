//! OAuth against a server that is its own authority: discovery, registration, PKCE, refresh, more scopes.

mod authority;
mod logins;
mod scopes;
mod secrets;
mod tokens;
