//! Requests with the headers of a provider, sent once more with other headers if the server has refused the first.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::FutureExt;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{RequestBuilder, Response};

use super::failure::Failure;
use super::{HttpSession, headers, resend};
use crate::auth::{Authorize, HeaderMap as Given, HeadersWanted, Refused};
use crate::fault::{Fault, Flattened};
use crate::panics;
use crate::report::Outcome;

/// The number of times that a request is sent again after a 403, with more rights. After a 401 it is sent again once.
const UPGRADES: u32 = 3;

impl HttpSession {
    /// Sends a request. It is built from the client that it is sent with.
    pub(super) async fn send(
        &self,
        repeatable: bool,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let has_own = self.headers.contains_key(&COOKIE);
        let Some(provider) = &self.provider else {
            return self.send_with_cookies(repeatable, has_own, request).await;
        };
        let mut given = self.given(provider, None).await?;
        let mut before = 0;
        loop {
            let own = self.headers_of(&given)?;
            let authorized = |client: &reqwest::Client| request(client).headers(own.clone());
            let has_own = has_own || own.contains_key(COOKIE);
            let response = self.send_with_cookies(repeatable, has_own, authorized).await?;
            let status = response.status();
            let most = match status {
                StatusCode::UNAUTHORIZED => 1,
                StatusCode::FORBIDDEN => UPGRADES,
                _ => {
                    if status.is_success() {
                        // The credentials of the provider were accepted.
                        self.has_asked.store(false, Relaxed);
                    }
                    return Ok(response);
                }
            };
            if before >= most {
                return Ok(response);
            }
            let is_first =
                status != StatusCode::UNAUTHORIZED || !self.has_asked.swap(true, Relaxed);
            let refused = Refused {
                status: status.as_u16(),
                challenges: headers::challenges(&response),
                headers: given.clone(),
                before,
                // The DELETE after a failed attempt is no part of connecting. A login that did not help is not repeated for
                // the next request of the attempt.
                connecting: is_first && !self.recorder.is_connected() && !self.stop.is_requested(),
                #[cfg(feature = "auth")]
                scopes: self.scopes.clone(),
            };
            let others = self.given(provider, Some(refused)).await?;
            if others == given {
                return Ok(response);
            }
            given = others;
            before += 1;
        }
    }

    /// Sends a request with the cookies of the session, unless it `has_own` ones.
    async fn send_with_cookies(
        &self,
        repeatable: bool,
        has_own: bool,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let with_cookies = |client: &reqwest::Client| match has_own {
            true => request(client),
            false => self.cookies.on(request(client), &self.target),
        };
        let response = resend::send(&self.client, repeatable, with_cookies).await?;
        self.cookies.learn(&response);
        Ok(response)
    }

    /// Asks the provider.
    async fn given(
        &self,
        provider: &Authorize,
        refused: Option<Refused>,
    ) -> Result<Given, Failure> {
        let wanted = HeadersWanted { url: self.url.clone(), refused };
        let _waits = self.recorder.unauthorized();
        let asked = AssertUnwindSafe(async { provider.headers(wanted).await }).catch_unwind();
        let text = format!("the credentials for {} cannot be had", self.shown_url);
        let fault = match asked.await {
            Ok(Ok(given)) => {
                self.recorder.secrets().learn(given.values().map(String::as_str));
                return Ok(given);
            }
            Ok(Err(error)) => {
                Fault::caused(Outcome::AuthRequired, text, Flattened::of(error.as_ref()))
            }
            Err(panic) => {
                // Its text may be secret.
                let _text = panics::text(panic);
                Fault::new(Outcome::AuthRequired, format!("{text}: their provider panicked"))
            }
        };
        // A user is not asked again by the next request, which needs the same credentials.
        Err(Failure::Told(fault.of_the_attempt()))
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
