//! What a failed exchange is called, decided where status, headers and error chain are still at hand.

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::{HttpError, HttpSession, header};
use crate::fault::Fault;
use crate::report::Outcome;
use crate::wire::body::{BodyError, Flattened};
use crate::wire::message::Kind;

/// A failed exchange.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request did not get through.
    Send(reqwest::Error),
    /// The answer did not come whole, or is no message.
    Body(BodyError),
    /// An error status, with the challenge of a 401 or 403 and the server's words.
    Status { status: StatusCode, challenge: Option<String>, words: Option<String> },
    /// 404 to a request of a session: rmcp begins a new one.
    Expired,
    /// An answer of another kind.
    Unexpected(String),
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl Failure {
    /// The status of an answer, with its challenge.
    pub(super) fn status(response: &reqwest::Response) -> Self {
        Self::Status {
            status: response.status(),
            challenge: header(response, WWW_AUTHENTICATE.as_str()),
            words: None,
        }
    }

    /// The same with the server's words.
    pub(super) fn saying(self, said: Option<String>) -> Self {
        match self {
            Self::Status { status, challenge, .. } => {
                Self::Status { status, challenge, words: said }
            }
            other => other,
        }
    }

    /// The error rmcp is given. It holds the fault whole, so that a call gets its own cause back and not another's.
    pub(super) fn error(&self, fault: Fault) -> HttpError {
        match self {
            Self::Expired => HttpError::SessionExpired,
            _ => HttpError::Client(fault),
        }
    }

    /// What the caller is told.
    pub(super) fn fault(&self, session: &HttpSession, kind: &Kind) -> Fault {
        let url = &session.shown_url;
        let to = kind.subject();
        match self {
            Self::Send(error) | Self::Body(BodyError::Broken(error)) => sending(url, to, error),
            Self::Body(BodyError::Stream(cause)) => Fault::caused(
                Outcome::Unreachable,
                format!("the answer of {url} to {to} broke off"),
                cause.clone(),
            ),
            Self::Body(error) => Fault::new(
                Outcome::ProtocolError,
                format!("{url} answered {to} with what is not MCP: {error}"),
            ),
            Self::Unexpected(what) => {
                Fault::new(Outcome::ProtocolError, format!("{url} answered {to} with {what}"))
            }
            Self::Expired => Fault::new(
                Outcome::UpstreamError,
                format!("{url} no longer knows the session (HTTP 404 to {to})"),
            ),
            Self::Status { status, challenge, words } => {
                let mut text = match *status {
                    StatusCode::UNAUTHORIZED => format!("{url} asks for authorization (HTTP 401)"),
                    StatusCode::FORBIDDEN => format!("{url} forbids access (HTTP 403)"),
                    _ => format!("{url} answered HTTP {status} to {to}"),
                };
                if kind.is_initialize()
                    && matches!(*status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
                {
                    text.push_str(
                        " (so does a server that speaks only the removed HTTP+SSE transport)",
                    );
                }
                for more in [challenge, words].into_iter().flatten() {
                    text.push_str(": ");
                    text.push_str(more);
                }
                Fault::new(by_status(*status), text)
            }
        }
    }
}

/// A request that did not get through, by what `reqwest` knows of the reason.
fn sending(url: &str, to: &str, error: &reqwest::Error) -> Fault {
    let (outcome, text) = if error.is_timeout() {
        (Outcome::TimedOut, format!("{url} did not answer {to} in time"))
    } else if error.is_builder() {
        (Outcome::Other, format!("{url:?} is not an address to connect to"))
    } else if error.is_redirect() {
        (Outcome::UpstreamError, format!("{url} redirects without end"))
    } else if error.is_body() || error.is_decode() {
        (Outcome::Unreachable, format!("the answer of {url} to {to} broke off"))
    } else {
        (Outcome::Unreachable, format!("cannot reach {url}"))
    };
    Fault::caused(outcome, text, Flattened::of(error))
}

fn by_status(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED => Outcome::AuthRequired,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        _ => Outcome::UpstreamError,
    }
}
