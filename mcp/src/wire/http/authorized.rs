//! Requests with the headers of a provider, sent once more with other headers if the server has refused the first.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response};
use rmcp::model::ServerJsonRpcMessage;
use serde_json::Value;

use super::failure::Failure;
use super::{HttpSession, headers, resend};
use crate::auth::{Authorize, HeaderMap as Given, HeadersWanted, Refused};
use crate::fault::{Fault, Flattened};
use crate::report::Outcome;

/// The number of times that a request is sent again after a 403, with more rights. After a 401 it is sent again once.
const UPGRADES: u32 = 3;

/// The credentials of a session: the provider of headers, and the secrets that no text may show.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    provider: Option<Authorize>,
    secrets: Secrets,
}

impl Credentials {
    pub(super) fn new(provider: Option<Authorize>, headers: &headers::Headers) -> Self {
        let secrets = Secrets::default();
        secrets.know(headers.values().filter_map(|value| value.to_str().ok()));
        Self { provider, secrets }
    }

    /// `text`, which comes from the server, without the secrets that it may repeat.
    pub(super) fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// Removes secrets from an error of the server, because people read its text. A result is passed on unchanged.
    pub(super) fn hide_in(&self, message: &mut ServerJsonRpcMessage) {
        let ServerJsonRpcMessage::Error(answer) = message else { return };
        answer.error.message = self.hide(&answer.error.message).into();
        if let Some(data) = &mut answer.error.data {
            self.hide_in_value(data);
        }
    }

    fn hide_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|it| self.hide_in_value(it)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl HttpSession {
    /// Sends a request. It is built from the client that it is sent with.
    pub(super) async fn send(
        &self,
        repeatable: bool,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let Some(provider) = &self.credentials.provider else {
            return Ok(resend::send(&self.client, repeatable, request).await?);
        };
        let mut given = self.given(provider, None).await?;
        let mut before = 0;
        loop {
            let own = self.headers_of(&given)?;
            let authorized = |client: &reqwest::Client| request(client).headers(own.clone());
            let response = resend::send(&self.client, repeatable, authorized).await?;
            let status = response.status();
            let most = match status {
                StatusCode::UNAUTHORIZED => 1,
                StatusCode::FORBIDDEN => UPGRADES,
                _ => return Ok(response),
            };
            if before >= most {
                return Ok(response);
            }
            let refused = Refused {
                status: status.as_u16(),
                challenges: headers::challenges(&response),
                headers: given.clone(),
                before,
                connecting: !self.recorder.is_connected(),
            };
            let others = self.given(provider, Some(refused)).await?;
            if others == given {
                return Ok(response);
            }
            given = others;
            before += 1;
        }
    }

    /// Asks the provider.
    async fn given(
        &self,
        provider: &Authorize,
        refused: Option<Refused>,
    ) -> Result<Given, Failure> {
        let wanted = HeadersWanted { url: self.url.clone(), refused };
        let asked = AssertUnwindSafe(async { provider.headers(wanted).await }).catch_unwind();
        let text = format!("the credentials for {} cannot be had", self.shown_url);
        let fault = match asked.await {
            Ok(Ok(given)) => {
                self.credentials.secrets.know(given.values().map(String::as_str));
                return Ok(given);
            }
            Ok(Err(error)) => {
                Fault::caused(Outcome::AuthRequired, text, Flattened::of(error.as_ref()))
            }
            Err(_panic) => {
                Fault::new(Outcome::AuthRequired, format!("{text}: their provider panicked"))
            }
        };
        Err(Failure::Told(fault))
    }

    /// The headers as they are sent. The provider sets no header of the protocol.
    fn headers_of(&self, given: &Given) -> Result<HeaderMap, Failure> {
        let mut own = HeaderMap::new();
        for (name, value) in given {
            let (Ok(parsed), Ok(mut sent)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            else {
                let text = format!("the header {name:?} of its provider cannot be sent as it is");
                return Err(Failure::Told(Fault::new(Outcome::Other, text)));
            };
            if headers::is_reserved(&parsed) {
                continue;
            }
            sent.set_sensitive(true);
            own.insert(parsed, sent);
        }
        Ok(own)
    }
}

/// Texts that must not be seen.
#[derive(Default)]
struct Secrets(Mutex<Vec<String>>);

/// A shorter text stands everywhere.
const SHORTEST: usize = 6;
/// A bound, because a provider may return new secrets without end. The newest are kept.
const MOST: usize = 32;

impl Secrets {
    /// Keeps the values of headers, and what follows the scheme in one of `Authorization`.
    fn know<'a>(&self, values: impl Iterator<Item = &'a str>) {
        let mut known = self.0.lock();
        for value in values {
            let bare = value.split_once(' ').map(|(_scheme, bare)| bare.trim());
            for secret in [Some(value), bare].into_iter().flatten() {
                if secret.len() >= SHORTEST && !known.iter().any(|it| it == secret) {
                    known.push(secret.to_owned());
                }
            }
        }
        let surplus = known.len().saturating_sub(MOST);
        known.drain(..surplus);
    }

    fn hide(&self, text: &str) -> String {
        let known = self.0.lock();
        let mut hidden = text.to_owned();
        // Longer secrets first, because they may contain shorter ones.
        for secret in known.iter() {
            if hidden.contains(secret.as_str()) {
                hidden = hidden.replace(secret.as_str(), "(hidden)");
            }
        }
        hidden
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_a_server_repeats_is_not_shown() {
        let secrets = Secrets::default();
        secrets.know(["Bearer t0ken-1234", "short", "a"].into_iter());
        assert_eq!(secrets.hide("bad token t0ken-1234!"), "bad token (hidden)!");
        assert_eq!(secrets.hide("got Bearer t0ken-1234"), "got (hidden)");
        assert_eq!(secrets.hide("a short word"), "a short word");
        for round in 0..100 {
            secrets.know([format!("secret {round}").as_str()].into_iter());
        }
        assert_eq!(secrets.0.lock().len(), MOST);
        assert_eq!(secrets.hide("secret 99"), "(hidden)");
    }
}
