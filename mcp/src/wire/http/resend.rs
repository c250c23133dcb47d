//! A request that met a connection which its server had closed.
//!
//! A server may close a connection that waits in the pool at any time, and the client only learns of it by its next
//! request. RFC 9112, section 9.3.1, lets a client repeat a request that it knows to be safe to repeat. Here that is a
//! request of a [repeatable kind](crate::wire::message::Kind::is_repeatable), on a connection that had served another
//! request before, and of whose answer not one byte has come. It is sent once more, on a new connection.
//!
//! A request that was never written is sent again by the HTTP client itself, for every kind.

use std::cell::Cell;
use std::io::ErrorKind;
use std::task::{Context, Poll};

use reqwest::{RequestBuilder, Response};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::client::Client;

tokio::task_local! {
    /// Whether the request under way has opened a connection of its own.
    static CONNECTED: Cell<bool>;
}

/// Sends a request, and once more if that is safe and may help.
pub(super) async fn send(
    client: &Client,
    repeatable: bool,
    request: impl Fn(&reqwest::Client) -> RequestBuilder,
) -> Result<Response, reqwest::Error> {
    let watched = async {
        let result = request(client.pooled()).send().await;
        (result, CONNECTED.with(Cell::get))
    };
    let (result, connected) = CONNECTED.scope(Cell::new(false), watched).await;
    match result {
        Err(error) if repeatable && !connected && was_closed(&error) => match client.unpooled() {
            Some(unpooled) => request(unpooled).send().await,
            None => Err(error),
        },
        other => other,
    }
}

/// Whether the connection was closed before the head of an answer had come.
fn was_closed(error: &reqwest::Error) -> bool {
    if !error.is_request() || error.is_connect() || error.is_timeout() {
        return false;
    }
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(
            kind,
            Some(
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
            )
        ) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// A connector that marks the request for which it is called. The client asks for a connection while it polls
/// that request, so a task-local value belongs to the request.
#[derive(Debug, Clone)]
pub(super) struct Watched<S>(S);

impl Watched<()> {
    /// Wraps a connector.
    pub(super) fn layer<S>() -> impl Layer<S, Service = Watched<S>> + Clone {
        layer_fn(Watched)
    }
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> S::Future {
        // Outside a request, where the client opens a connection for its pool, there is no value to set.
        let _ = CONNECTED.try_with(|connected| connected.set(true));
        self.0.call(destination)
    }
}
