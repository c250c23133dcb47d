//! The classification of a failed exchange, made where status, headers and error chain are still
//! available.

use std::io::ErrorKind;
use std::time::Duration;

use reqwest::StatusCode;

use super::client::MAX_HEADERS;
use super::{HttpError, HttpSession, headers, proxy};
use crate::duration::show_duration;
use crate::fault::{Fault, Flattened};
use crate::report::Outcome;
use crate::wire::body::{self, BodyError};
use crate::wire::message::{Kind, rejection};

/// A failed exchange.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request could not be sent.
    Send(reqwest::Error),
    /// The answer was cut off, or is too large.
    Body(BodyError),
    /// An error status, with the challenges of a 401 or 403, the time that the server asks to wait, and its error text.
    Status {
        status: StatusCode,
        challenges: Vec<String>,
        wait: Option<Duration>,
        words: Option<String>,
    },
    /// A redirect that is not followed.
    Redirect { status: StatusCode, location: Option<String> },
    /// 404 or 410 to a request of a session: rmcp begins a new one.
    Expired(StatusCode),
    /// An answer of another kind.
    Unexpected(String),
    /// A body that is not an answer to the request.
    NotAnAnswer(String),
    /// An event of the response stream is too large; a retry would bring the same event.
    Unreadable(String),
    /// The response stream broke off.
    Broken(Flattened),
    /// The response stream ended before the answer. It contained this text that was not a message, if there
    /// was one.
    NoAnswer { noise: Option<String> },
    /// The response stream was lost, and requests for the rest of it failed.
    NotResumed { tries: u32, over: Duration, wait: Duration, last: Box<Failure> },
    /// It has been recorded already.
    Told(Fault),
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Send(error.without_url())
    }
}

impl Failure {
    /// The failure of an answer with an error status, with the server's error text, and the whole body.
    pub(super) async fn of(response: reqwest::Response) -> (Self, Vec<u8>) {
        let status = response.status();
        let location = headers::location(&response);
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            || (status.is_redirection() && location.is_some())
        {
            return (Self::Redirect { status, location }, Vec::new());
        }
        let challenges = headers::challenges(&response);
        let wait = headers::retry_after(&response);
        let text = body::beginning(response).await;
        (Self::Status { status, challenges, wait, words: words(&text) }, text)
    }

    /// The time that the server asks to wait before the next request.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether a retry has no use.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Send(error) => error.is_builder(),
            Self::Status { .. } => self.is_refusal(),
            Self::Body(_) | Self::Broken(_) | Self::NoAnswer { .. } => false,
            _ => true,
        }
    }

    /// Whether a stream that was lost may be available later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NotResumed { last, .. } => match &**last {
                Self::Told(fault) => !fault.is_refusal,
                _ => true,
            },
            _ => false,
        }
    }

    /// Whether the server does not know the session that the request named, or does not know the request.
    pub(super) fn may_be_an_expiry(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. })
    }

    /// Whether the server has refused the request, and would refuse it again.
    fn is_refusal(&self) -> bool {
        use StatusCode as Code;
        match self {
            Self::Status { status, .. } => {
                let is_of_the_moment =
                    matches!(*status, Code::TOO_MANY_REQUESTS | Code::REQUEST_TIMEOUT);
                status.is_client_error() && !is_of_the_moment
            }
            _ => false,
        }
    }

    /// The error for rmcp. It contains the whole fault, so that a call gets its own cause back and not another
    /// one's.
    pub(super) fn error(&self, fault: Fault) -> HttpError {
        match self {
            Self::Expired(_) => HttpError::SessionExpired,
            _ => HttpError::Client(fault),
        }
    }

    /// The fault for the caller. A server may repeat the credentials that it was sent; they are hidden in it.
    pub(super) fn fault(&self, session: &HttpSession, kind: &Kind) -> Fault {
        self.unhidden(session, kind)
            .reworded(|text| session.recorder.secrets().hide(text).into_owned())
    }

    fn unhidden(&self, session: &HttpSession, kind: &Kind) -> Fault {
        let url = &session.shown_url;
        let to = kind.subject();
        match self {
            Self::Send(error) | Self::Body(BodyError::Broken(error)) => sending(session, to, error),
            Self::Broken(cause) => Fault::caused(
                Outcome::Unreachable,
                format!("the answer of {url} to {to} broke off"),
                cause.clone(),
            ),
            Self::Unreadable(why) => Fault::new(
                Outcome::ProtocolError,
                format!("the answer of {url} to {to} cannot be read: {why}"),
            ),
            Self::Body(error @ BodyError::TooLarge(_)) => Fault::new(
                Outcome::ProtocolError,
                format!("the answer of {url} to {to} cannot be read: {error}"),
            ),
            Self::NoAnswer { noise } => {
                let mut text =
                    format!("the response stream of {url} to {to} ended without an answer");
                if let Some(noise) = noise {
                    text.push_str(&format!(" (it held an event that is {noise})"));
                }
                Fault::new(Outcome::ProtocolError, text)
            }
            Self::NotAnAnswer(what) => Fault::new(
                Outcome::ProtocolError,
                format!("{url} answered {to} with what is no answer: {what}"),
            ),
            Self::Unexpected(what) => {
                Fault::new(Outcome::ProtocolError, format!("{url} answered {to} with {what}"))
            }
            Self::Expired(status) => Fault::new(
                Outcome::UpstreamError,
                format!("{url} no longer knows the session (HTTP {} to {to})", status.as_u16()),
            ),
            Self::NotResumed { tries, over, wait, last } => {
                let last = last.fault(session, kind);
                let how = match tries {
                    0 => format!(
                        ": the server asks for a wait of {}, which is too long",
                        show_duration(*wait)
                    ),
                    1 => format!(" in 1 try over {}", show_duration(*over)),
                    _ => format!(" in {tries} tries over {}", show_duration(*over)),
                };
                let text =
                    format!("the response stream of {url} to {to} was lost and not resumed{how}");
                let asked = last.wait;
                Fault::caused(last.outcome, text, last).asking_to_wait(asked)
            }
            Self::Redirect { status, location } => {
                let to_where = location.as_deref().unwrap_or("nowhere: it names no location");
                let text = format!(
                    "{url} answered {to} with a redirect that is not followed (HTTP {status}) to {to_where}"
                );
                Fault::new(Outcome::UpstreamError, text)
            }
            Self::Status { status, challenges, wait, words } => {
                let fault = refused(session, kind, *status, *wait, challenges, words.as_deref());
                fault.asking_to_wait(*wait).refused(self.is_refusal())
            }
            Self::Told(fault) => fault.clone(),
        }
    }
}

/// An error status, with the texts beside it.
fn refused(
    session: &HttpSession,
    kind: &Kind,
    status: StatusCode,
    wait: Option<Duration>,
    challenges: &[String],
    words: Option<&str>,
) -> Fault {
    let url = &session.shown_url;
    let mut text = match status {
        StatusCode::UNAUTHORIZED => format!("{url} asks for authorization (HTTP 401)"),
        StatusCode::FORBIDDEN => format!("{url} forbids access (HTTP 403)"),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => match proxy::on_the_way_to(&session.url) {
            Some(proxy) => format!("the proxy {proxy} asks for authorization (HTTP 407)"),
            None => format!("{url} asks for authorization as a proxy does (HTTP 407)"),
        },
        _ => format!("{url} answered HTTP {status} to {}", kind.subject()),
    };
    if kind.is_initialize()
        && matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
    {
        text.push_str(" (so does a server that speaks only the removed HTTP+SSE transport)");
    }
    if let Some(wait) = wait {
        text.push_str(&format!(" (the server asks to wait {})", show_duration(wait)));
    }
    for more in challenges.iter().map(String::as_str).chain(words) {
        text.push_str(": ");
        text.push_str(more);
    }
    Fault::new(by_status(status), text)
}

/// The error text in a body with an error status: that of its JSON-RPC error, or the beginning of the body.
fn words(body: &[u8]) -> Option<String> {
    error_in(body).or_else(|| body::preview(body))
}

/// The text of the JSON-RPC error that a body is.
pub(super) fn error_in(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Error {
        error: rmcp::model::ErrorData,
    }
    serde_json::from_slice::<Error>(body).ok().map(|it| rejection(&it.error))
}

/// A request that could not be sent, classified by `reqwest`'s reason.
fn sending(session: &HttpSession, to: &str, error: &reqwest::Error) -> Fault {
    let url = &session.shown_url;
    let (outcome, text) = if error.is_timeout() {
        (Outcome::TimedOut, format!("{url} did not answer {to} in time"))
    } else if error.is_builder() {
        (Outcome::Other, format!("{url:?} is not an address to connect to"))
    } else if error.is_redirect() {
        (Outcome::UpstreamError, format!("{url} redirects without end"))
    } else if (error.is_body() || error.is_decode()) && is_malformed(error) {
        (Outcome::ProtocolError, format!("the answer of {url} to {to} cannot be read"))
    } else if error.is_body() || error.is_decode() {
        (Outcome::Unreachable, format!("the answer of {url} to {to} broke off"))
    } else if found::<hyper::Error>(error).is_some_and(is_too_large) {
        let text = format!(
            "the head of the answer of {url} to {to} is too large: it has more than {MAX_HEADERS} header fields, or more than 400 KiB"
        );
        (Outcome::ProtocolError, text)
    } else if found::<hyper::Error>(error).is_some_and(is_no_http) {
        (Outcome::ProtocolError, format!("the answer of {url} to {to} is not HTTP"))
    } else if error.is_connect()
        && let Some(proxy) = proxy::on_the_way_to(&session.url)
    {
        if proxy::wants_authorization(error) {
            let text = format!("the proxy {proxy} asks for authorization (HTTP 407)");
            return Fault::caused(Outcome::AuthRequired, text, Flattened::of(error));
        }
        let text = if proxy::is_of_the_network(error) {
            format!("cannot reach the proxy {proxy} on the way to {url}")
        } else {
            format!("cannot reach {url} through the proxy {proxy}")
        };
        (Outcome::Unreachable, text)
    } else {
        (Outcome::Unreachable, format!("cannot reach {url}"))
    };
    Fault::caused(outcome, text, Flattened::of(error))
}

/// Whether the head of an answer is beyond a limit of the HTTP client.
fn is_too_large(error: &hyper::Error) -> bool {
    // hyper has a question for that only for servers.
    error.is_parse() && error.to_string() == "message head is too large"
}

/// Whether the connection works, and speaks something else than HTTP.
fn is_no_http(error: &hyper::Error) -> bool {
    // A server of mail or of a database speaks first. hyper has no name for that error; all others have one or a cause.
    let speaks_first = std::error::Error::source(error).is_none()
        && !error.is_incomplete_message()
        && !error.is_canceled()
        && !error.is_closed()
        && !error.is_timeout()
        && !error.is_user();
    error.is_parse() || speaks_first
}

/// Whether a body came and cannot be decoded as its head says. The connection is not at fault then.
fn is_malformed(error: &reqwest::Error) -> bool {
    let is_of_the_connection = found::<hyper::Error>(error).is_some();
    found::<std::io::Error>(error).is_some_and(|error| match error.kind() {
        // A decoder that misses its end, behind a connection that had not missed its own.
        ErrorKind::UnexpectedEof => !is_of_the_connection,
        ErrorKind::InvalidInput | ErrorKind::InvalidData => true,
        _ => !is_of_the_connection && error.raw_os_error().is_none(),
    })
}

/// The innermost cause of this type.
fn found<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut found = None;
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        found = cause.downcast_ref::<E>().or(found);
        // An error inside an `io::Error` is not its source.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    found
}

fn by_status(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Outcome::AuthRequired
        }
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        _ => Outcome::UpstreamError,
    }
}
